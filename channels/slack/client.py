"""Calls to Slack's Web API, and what their failures mean for a post.

A failure says whether the call was done, may have been done, or wasn't; the delivery repeats what was not, and asks
before it repeats what may have been.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from gateway.channel import DeliveryError

Payload = dict[str, Any]
SECONDS = 30
PAUSE = "ratelimited"
BUSY = frozenset((PAUSE, "rate_limited"))
TRANSIENT = frozenset(("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"))
"""Slack's fault; it may have done what was asked for."""
ACCESS = frozenset(("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"))
"""Slack refuses the app itself, whatever it asks for: that has nothing to do with the post, and ends when the app is
installed again."""
ACCESS_SECONDS = 60.0
ADVICE = {
    "invalid_auth": "the token is wrong: channels.slack.botToken",
    "not_authed": "no token was sent: channels.slack.botToken",
    "token_revoked": "the token was revoked: channels.slack.botToken",
    "account_inactive": "the app was removed from the workspace",
    "not_in_channel": "the assistant isn't in that channel: /invite it",
    "channel_not_found": "there is no such channel, or the assistant may not see it",
    "is_archived": "the channel is archived",
    "missing_scope": "the app lacks a scope: laneway channels setup slack",
    "thread_not_found": "the thread was deleted",
}
SERVER_ERROR = 500
TOO_MANY = 429


class Api:
    """A client of the Web API.

    The library's methods are called by their names: `await api("chat_postMessage", channel=…)`.
    """

    def __init__(self, token: str, api_url: str | None, session: aiohttp.ClientSession | None = None) -> None:
        """
        Args:
            token: a bot's, or an app's for opening a socket.
            api_url: another server than Slack's.
            session: shared by the account's calls.
        """
        base = {"base_url": f"{api_url.rstrip('/')}/"} if api_url else {}
        self.token = token
        # No retries of the library's own: it would post a second time where only the answer was lost.
        self.client = AsyncWebClient(
            token=token, timeout=SECONDS, session=session, retry_handlers=[], **cast("dict[str, Any]", base)
        )

    async def __call__(self, method: str, *, ignore: frozenset[str] = frozenset(), **arguments: Any) -> Payload:
        """What a method has answered; of an error in `ignore` the answer with that error.

        Raises:
            DeliveryError: with whether it may be tried again, and when.
        """
        return (await self.with_headers(method, ignore=ignore, **arguments))[0]

    async def with_headers(
        self, method: str, *, ignore: frozenset[str] = frozenset(), **arguments: Any
    ) -> tuple[Payload, dict[str, str]]:
        """The same with the answer's headers, their names in lower case."""
        call: Callable[..., Awaitable[Any]] = getattr(self.client, method)
        try:
            response = await call(**arguments)
        except SlackApiError as error:
            code = _code(error)
            if code and code in ignore:
                return {"ok": False, "error": code}, {}
            raise _failure(error, code) from error
        except aiohttp.ClientConnectorError as error:
            raise DeliveryError(f"Slack can't be reached: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DeliveryError(f"Slack's answer was lost: {type(error).__name__} {error}", uncertain=True) from error
        return cast("Payload", response.data), _headers(response)


def part(payload: Payload, name: str) -> Payload:
    """An object inside a payload; an empty one where there is none."""
    value: object = payload.get(name)
    return cast("Payload", value) if isinstance(value, dict) else {}


def _code(error: SlackApiError) -> str:
    data: object = getattr(cast("Any", error.response), "data", None)  # of an answer that is no JSON there is none
    return str(cast("Payload", data).get("error", "")) if isinstance(data, dict) else ""


def _headers(response: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in response.headers.items()}


def _failure(error: SlackApiError, code: str) -> DeliveryError:
    response: Any = error.response
    status = int(getattr(response, "status_code", SERVER_ERROR))
    if status == TOO_MANY or code in BUSY:
        return DeliveryError("Slack asks for a pause", retry_after=_retry_after(_headers(response)), code=PAUSE)
    if status >= SERVER_ERROR or code in TRANSIENT or not code:
        return DeliveryError(f"Slack has a problem: {code or status}", uncertain=True)
    advice = f" ({ADVICE[code]})" if code in ADVICE else ""
    if code in ACCESS:
        return DeliveryError(f"Slack says {code}{advice}", retry_after=ACCESS_SECONDS, code=code)
    return DeliveryError(f"Slack says {code}{advice}", permanent=True, code=code)


def _retry_after(headers: dict[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return 1.0

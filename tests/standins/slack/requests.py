"""HTTP: events, commands and presses posted to the app's request URL, signed.

docs.slack.dev/authentication/verifying-requests-from-slack and docs.slack.dev/apis/events-api/using-http-request-urls.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp

from tests.standins.slack.model import Json
from tests.standins.slack.workspace import Workspace

_FORM = "application/x-www-form-urlencoded"
_OK = range(200, 300)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the app answered to a request."""

    status: int
    headers: dict[str, str]
    text: str


def signed(secret: str, body: bytes, timestamp: int) -> dict[str, str]:
    """The two headers of a signature."""
    digest = hmac.new(secret.encode(), b"v0:%d:%s" % (timestamp, body), hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": str(timestamp), "X-Slack-Signature": f"v0={digest}"}


class Requests:
    """Posts to the request URL."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Begins; needs a running loop."""
        self._http = aiohttp.ClientSession(headers={"User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)"})

    async def close(self) -> None:
        """Ends."""
        if self._http is not None:
            await self._http.close()

    async def post(
        self,
        body: bytes,
        *,
        form: bool = False,
        secret: str | None = None,
        age: float = 0,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One signed request, for tests also a wrongly signed one.

        Args:
            body: as it is sent.
            form: whether it is a form; else it is JSON.
            secret: that it is signed with; the app's own unless given.
            age: seconds that its timestamp lies back.
            headers: further ones.
        """
        assert self._http is not None and self._ws.app.request_url is not None, "there is no request URL"
        timestamp = int(time.time() + self._ws.options.clock_offset - age)
        signature = signed(self._ws.app.signing_secret if secret is None else secret, body, timestamp)
        kind = {"Content-Type": _FORM if form else "application/json"}
        timeout = aiohttp.ClientTimeout(total=self._ws.options.ack_seconds)
        async with self._http.post(
            self._ws.app.request_url, data=body, headers=kind | signature | (headers or {}), timeout=timeout
        ) as response:
            return Answer(response.status, dict(response.headers), await response.text())

    async def verify(self, url: str) -> bool:
        """Asks a URL whether it is the app's (`url_verification`), and uses it from then on if it is."""
        before, self._ws.app.request_url = self._ws.app.request_url, url
        challenge = uuid.uuid4().hex
        body = {"token": "unused-verification-token", "challenge": challenge, "type": "url_verification"}
        answer = await self.post(json.dumps(body).encode())
        if answer.status not in _OK or challenge not in answer.text:
            self._ws.app.request_url = before
            return False
        return True

    # ------------------------------------------------------------------ Transport

    async def event(self, payload: Json, number: int, reason: str) -> str | None:
        """An event; anything but 2xx in time is a failure."""
        headers = {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason} if number else {}
        try:
            answer = await self.post(json.dumps(payload).encode(), headers=headers)
        except (aiohttp.ClientError, TimeoutError) as error:
            return _reason(error)
        if answer.status in _OK:
            return None
        return "no_retry" if answer.headers.get("X-Slack-No-Retry") == "1" else "http_error"

    async def interaction(self, kind: str, payload: Json) -> tuple[bool, Any]:
        """A command as a form of its fields, a press as a form with one JSON field."""
        fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        try:
            answer = await self.post(urlencode(fields).encode(), form=True)
        except (aiohttp.ClientError, TimeoutError) as error:
            return False, _reason(error)
        if answer.status not in _OK:
            return False, f"http_{answer.status}"
        return True, _said(answer.text)


def _reason(error: Exception) -> str:
    return "http_timeout" if isinstance(error, TimeoutError) else "connection_failed"


def _said(text: str) -> Json | None:
    """The body of an acknowledgement: nothing, a message as JSON, or its plain text."""
    if not text.strip():
        return None
    try:
        said = json.loads(text)
    except ValueError:
        return {"text": text}
    return cast("Json", said) if isinstance(said, dict) else {"text": text}

"""The API client: how the command line, the terminal and the tests speak to a running gateway.

Owns one HTTP session to one gateway, found through `gateway.json` and the token in the state folder. Every method is
one request; nothing is kept between them. Errors come as `ApiError` (the gateway said no, and why) or `Unreachable`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote
from uuid import uuid4

import aiohttp

from gateway.client import records
from gateway.client.events import Event, EventParser, StreamLost

REQUEST_SECONDS = 60.0
STREAM_SILENCE_SECONDS = 90.0
"""A stream without even a keep-alive for so long is taken for dead."""
LONGEST_EVENT_BYTES = 32 * 1024 * 1024

R = TypeVar("R", bound=records.Record)


class ApiError(Exception):
    """The gateway refused a request. The text is for a person, hint included."""

    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.status = status
        self.message = message
        self.hint = hint


class Unreachable(Exception):
    """No gateway answers at the address."""


class ApiClient:
    """Speaks to one gateway. Use it as an async context manager, or call `close`.

    Args:
        url: such as `http://127.0.0.1:7878`.
        token: the bearer token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._http: aiohttp.ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> ApiClient:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections. Whoever still uses it finds the gateway unreachable."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    # ---- the gateway -------------------------------------------------------------------------------------------

    async def status(self) -> records.Status:
        """What runs, where, on which model."""
        return await self._get(records.Status, "/api/status")

    async def reload(self) -> records.Reloaded:
        """Reads the configuration again."""
        return await self._post(records.Reloaded, "/api/reload")

    async def commands(self) -> list[records.CommandInfo]:
        """The slash commands."""
        return (await self._get(records.CommandPage, "/api/commands")).commands

    async def usage(self, *, since: str | None = None, until: str | None = None, by: str = "day") -> records.UsagePage:
        """What was used from one day to another (`2026-11-27`), grouped by some of day, agent, model, channel, person
        and kind."""
        given = {"from": since, "to": until, "by": by}
        return await self._get(records.UsagePage, "/api/usage", **given)

    # ---- sessions ----------------------------------------------------------------------------------------------

    async def sessions(
        self, kind: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> records.SessionPage:
        """One page of sessions, newest first."""
        return await self._get(records.SessionPage, "/api/sessions", kind=kind, limit=limit, cursor=cursor)

    async def session(self, key: str) -> records.Session:
        """One session by its key."""
        return await self._get(records.Session, f"/api/sessions/{_part(key)}")

    async def transcript(
        self,
        key: str,
        *,
        limit: int = 50,
        after: int | None = None,
        before: int | None = None,
        tools: bool = False,
    ) -> records.MessagePage:
        """A piece of a session's transcript, oldest first; `after` and `before` are sequence numbers."""
        return await self._get(
            records.MessagePage,
            f"/api/sessions/{_part(key)}/transcript",
            limit=limit,
            after=after,
            before=before,
            tools=int(tools) or None,
        )

    async def send(
        self,
        key: str,
        text: str,
        *,
        channel: str = "api",
        thread: str | None = None,
        idempotency: str | None = None,
    ) -> records.Sent:
        """Sends a person's message, or a slash command, to a session.

        Args:
            key: the session's key; a session that doesn't exist yet is made.
            text: what was typed.
            channel: the pull channel that shows the answer.
            thread: a conversation inside the session whose answers are told apart by their route.
            idempotency: the same value sends the message once, however often it is tried.
        """
        body = {"text": text, "channel": channel}
        if thread is not None:
            body["thread"] = thread
        return await self._post(records.Sent, f"/api/sessions/{_part(key)}/messages", body, idempotency)

    # ---- runs --------------------------------------------------------------------------------------------------

    async def runs(
        self,
        *,
        status: str | None = None,
        outcome: str | None = None,
        session: str | None = None,
        agent: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> records.RunPage:
        """One page of runs that match every filter given."""
        return await self._get(
            records.RunPage,
            "/api/runs",
            status=status,
            outcome=outcome,
            session=session,
            agent=agent,
            limit=limit,
            cursor=cursor,
        )

    async def run(self, run_id: str) -> records.Run:
        """One run, by its id or a prefix of it that no other run has."""
        return await self._get(records.Run, f"/api/runs/{_part(run_id)}")

    async def run_log(self, run_id: str, limit: int = 20, *, tools: bool = False) -> records.MessagePage:
        """The last messages of a run."""
        return await self._get(
            records.MessagePage, f"/api/runs/{_part(run_id)}/log", limit=limit, tools=int(tools) or None
        )

    async def run_action(self, run_id: str, action: str, body: Mapping[str, Any] | None = None) -> records.ActionReply:
        """Does one of `stop send steer pause resume retry`; `send` and `steer` take a `message`."""
        return await self._post(records.ActionReply, f"/api/runs/{_part(run_id)}/{action}", body)

    async def spawn(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Starts a sub-agent as a user: `sessionKey` and `task`, and what else `sessions_spawn` takes."""
        return await self.request("POST", "/api/runs", body=body, idempotency=uuid4().hex)

    # ---- posts and questions -----------------------------------------------------------------------------------

    async def outbox(self, state: str | None = None) -> list[records.OutboxPost]:
        """Posts that are not delivered, or those in one state."""
        return (await self._get(records.OutboxPage, "/api/outbox", state=state)).posts

    async def outbox_action(self, post_id: int, action: str) -> dict[str, Any]:
        """`retry` or `drop` of one post."""
        return await self.request("POST", f"/api/outbox/{post_id}/{action}")

    async def approvals(self) -> list[records.Approval]:
        """Questions that wait for a person."""
        return (await self._get(records.ApprovalPage, "/api/approvals")).approvals

    async def decide(self, approval_id: int, decision: str) -> dict[str, Any]:
        """Answers a question with `allow`, `always` or `deny`."""
        return await self.request("POST", f"/api/approvals/{approval_id}", body={"decision": decision})

    # ---- events ------------------------------------------------------------------------------------------------

    async def stream(
        self, session: str | None, last_event_id: int | None, on_open: Callable[[], None]
    ) -> AsyncGenerator[Event]:
        """One connection to the events stream. Use a `Subscription` for one that connects again.

        Raises:
            StreamLost: it ended or never began.
            ApiError: the gateway refuses it.
        """
        params = {"session": session} if session else {}
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=STREAM_SILENCE_SECONDS)
        try:
            async with self._session().get(
                self.url + "/api/events", params=params, headers=headers, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise _refusal(response.status, await response.text())
                on_open()
                parser = EventParser()
                async for line in _lines(response.content):
                    if (event := parser.feed(line)) is not None:
                        yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StreamLost(_reason(error)) from error
        raise StreamLost("the gateway closed the stream")

    # ---- channels and people ------------------------------------------------------------------------------------

    async def channels(self) -> records.ChannelPage:
        """The channels and how they are connected."""
        return await self._get(records.ChannelPage, "/api/channels")

    async def people(self) -> records.PeoplePage:
        """Who waits to be let in, and who was."""
        return await self._get(records.PeoplePage, "/api/pairing")

    async def approve_person(self, code: str) -> records.Person:
        """Lets in who was told this code."""
        return await self._post(records.Person, "/api/pairing/approve", {"code": code})

    async def revoke_person(self, channel: str, peer: str, account: str | None) -> None:
        """Takes somebody's permission back."""
        body = {"channel": channel, "peer": peer, **({"account": account} if account else {})}
        await self.request("POST", "/api/pairing/revoke", body=body)

    # ---- browsers ----------------------------------------------------------------------------------------------

    async def signin_link(self, scope: str, name: str | None) -> records.SignInLink:
        """A link that signs a browser in, once."""
        return await self._post(
            records.SignInLink, "/api/signins", {"scope": scope, **({"name": name} if name else {})}
        )

    async def signins(self) -> records.SignInPage:
        """Who is signed in."""
        return await self._get(records.SignInPage, "/api/signins")

    async def revoke_signin(self, signin_id: str) -> records.SignIn:
        """Ends a sign-in."""
        return await self._post(records.SignIn, f"/api/signins/{_part(signin_id)}/revoke")

    # ---- mcp servers --------------------------------------------------------------------------------------------

    async def mcp_servers(self) -> records.McpServerPage:
        """The MCP servers whose tools the agents use."""
        return await self._get(records.McpServerPage, "/api/mcp/servers")

    async def mcp_approve(self, server: str, tool: str | None) -> records.McpApproved:
        """Accepts what has changed of a tool, or of all of a server."""
        body = {"server": server, **({"tool": tool} if tool else {})}
        return await self._post(records.McpApproved, "/api/mcp/approve", body)

    # ---- requests ----------------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency: str | None = None,
    ) -> dict[str, Any]:
        """One request; the answer as it came.

        Raises:
            ApiError: any status from 400 on.
            Unreachable: no answer at all.
        """
        headers = {"Idempotency-Key": idempotency} if idempotency else {}
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=5)
        try:
            async with self._session().request(
                method, self.url + path, params=params, json=body, headers=headers, timeout=timeout
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"the gateway at {self.url} doesn't answer: {_reason(error)}") from error
        if response.status >= 400:
            raise _refusal(response.status, text)
        return _object(text)

    async def _get(self, record: type[R], path: str, **params: Any) -> R:
        given = {name: str(value) for name, value in params.items() if value is not None}
        return record.model_validate(await self.request("GET", path, params=given))

    async def _post(
        self,
        record: type[R],
        path: str,
        body: Mapping[str, Any] | None = None,
        idempotency: str | None = None,
    ) -> R:
        answer = await self.request("POST", path, body=body or {}, idempotency=idempotency or uuid4().hex)
        return record.model_validate(answer)

    def _session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise aiohttp.ClientConnectionError("this connection is closed")
        if self._http is None:
            headers = {"Authorization": f"Bearer {self._token}"}
            self._http = aiohttp.ClientSession(headers=headers, trust_env=False)
        return self._http


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    # StreamReader's own lines end with an error beyond 128 KiB, and one event may hold a longer message.
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_EVENT_BYTES:
            raise StreamLost("the gateway sent an event that is too long")
        for line in lines:
            yield line.rstrip(b"\r").decode("utf-8", "replace")


def _part(text: str) -> str:
    return quote(text, safe=":")


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _object(text: str) -> dict[str, Any]:
    try:
        answer: object = json.loads(text) if text else {}
    except ValueError:
        raise ApiError(502, "the answer is not JSON; is something else listening at that address?") from None
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {"value": answer}


def _refusal(status: int, text: str) -> ApiError:
    try:
        error = json.loads(text)["error"]
        return ApiError(status, str(error["message"]), error.get("hint"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiError(status, f"the gateway answered with status {status}: {text[:200].strip() or 'no text'}")

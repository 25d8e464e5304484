"""The web API over HTTP: arguments from query, form and JSON, tokens, scopes, limits, faults on demand, answers."""

from __future__ import annotations

import json
import time
from typing import Any, cast

from aiohttp import web

from tests.standins.slack.errors import Refusal
from tests.standins.slack.faults import Fault, Faults
from tests.standins.slack.limits import Limits
from tests.standins.slack.methods import METHODS, Method, Token
from tests.standins.slack.model import Call, Channel, Json
from tests.standins.slack.scopes import check_scopes
from tests.standins.slack.signature import checked
from tests.standins.slack.workspace import Workspace

_LIMITED = 429
_NO_JSON = "(a body that is no JSON object)"
"""Stands among the arguments, where it is refused as unknown."""


class Api:
    """Answers calls. Each stands in `Workspace.calls` with its outcome."""

    def __init__(self, ws: Workspace, faults: Faults, log: Any) -> None:
        self._ws = ws
        self._faults = faults
        self._limits = Limits(ws.options.burst)
        self._log = log

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        name = request.match_info["method"]
        args, typed = await _arguments(request)
        call = self._arrived(name, args)
        try:
            return await self._serve(request, call, typed=typed)
        finally:
            self._log({"event": "answered", "number": call.number, "outcome": call.outcome, "applied": call.applied})
            self._ws.touch()

    def _arrived(self, name: str, args: Json) -> Call:
        shown = {key: value for key, value in args.items() if key != "token"}
        call = Call(number=len(self._ws.calls) + 1, at=time.monotonic(), method=name, args=shown)
        self._ws.calls.append(call)
        self._log({"event": "call", "number": call.number, "method": name, "args": shown})
        self._ws.touch()
        return call

    async def _serve(self, request: web.Request, call: Call, *, typed: bool) -> web.StreamResponse:
        fault = self._faults.take(call.method, call.args)
        if fault and not fault.applied:
            await self._faults.wait(fault)
            if fault.ends:
                return await self._fail(request, call, fault)
        try:
            body = {"ok": True, **self._result(request, call, typed=typed)}
            call.applied = True
            status, headers = 200, dict[str, str]()
        except _TooMany as error:
            return await self._fail(request, call, Fault(status=_LIMITED, retry_after=error.seconds))
        except Refusal as refusal:
            body, status, headers = self._refused(call, refusal), 200, {}
        if fault and fault.applied:
            await self._faults.wait(fault)
            if fault.ends:
                return await self._fail(request, call, fault)
        call.outcome = "ok" if body["ok"] else str(body["error"])
        return await self._write(request, call, body, status, headers)

    # ------------------------------------------------------------------ the real answer

    def _result(self, request: web.Request, call: Call, *, typed: bool) -> Json:
        """Checks everything and lets the method act.

        Raises:
            Refusal: Slack says no.
            _TooMany: a rate limit holds.
        """
        if (method := METHODS.get(call.method)) is None:
            raise Refusal("unknown_method", f"{call.method} is unknown, or the stand-in doesn't model it")
        self._authorize(request, method)
        channel = self._channel(call.args)
        if self._ws.options.limits and (wait := self._limits.wait(method.name, method.tier, channel and channel.id)):
            raise _TooMany(wait)
        if method.token is Token.BOT:
            check_scopes(self._ws.app, method.scopes, channel)
        values = checked(call.method, call.args, typed=typed)
        return method.handler(self._ws, values)

    def _channel(self, args: Json) -> Channel | None:
        return self._ws.channels.get(str(args.get("channel") or args.get("channel_id")))

    def _authorize(self, request: web.Request, method: Method) -> None:
        app = self._ws.app
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer":
            token = request.query.get("token", "")
        wanted = {Token.BOT: app.bot_token, Token.APP: app.app_token, Token.CONFIG: app.config_token}.get(method.token)
        if wanted is None:
            return
        if not token:
            raise Refusal("not_authed", fault=False)
        if token != wanted:
            known = token in (app.bot_token, app.app_token, app.config_token)
            raise Refusal("not_allowed_token_type" if known else "invalid_auth", fault=known)
        if app.broken and method.token is Token.BOT:
            raise Refusal(app.broken, fault=False)

    def _refused(self, call: Call, refusal: Refusal) -> Json:
        if refusal.fault:
            self._ws.fault(f"{call.method}: {refusal.said}")
        body: Json = {"ok": False, "error": refusal.error, **refusal.extra}
        if refusal.details:
            body["response_metadata"] = {"messages": list(refusal.details)}
        return body

    # ------------------------------------------------------------------ how it leaves

    async def _write(
        self, request: web.Request, call: Call, body: Json, status: int, headers: dict[str, str]
    ) -> web.StreamResponse:
        app = self._ws.app
        usual = {
            "x-oauth-scopes": ",".join(sorted(app.scopes)),
            "x-slack-req-id": f"{call.number:032x}",
            "x-accepted-oauth-scopes": ",".join(METHODS[call.method].scopes) if call.method in METHODS else "",
        }
        response = web.json_response(body, status=status, headers=usual | self.clock() | headers)
        try:
            await response.prepare(request)
            await response.write_eof()
            call.answered = True
        except ConnectionError:  # who asked has gone
            call.outcome = "unheard"
        return response

    def clock(self) -> dict[str, str]:
        """The header `Date` where Slack's clock differs from this machine's."""
        if not self._ws.options.clock_offset:
            return {}
        now = time.gmtime(time.time() + self._ws.options.clock_offset)
        return {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", now)}

    async def _fail(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse:
        """Answers as a fault wants it."""
        if fault.drop:
            call.outcome = "dropped"
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if fault.status is None or fault.status == _LIMITED:
            error = fault.error or "ratelimited"
            limited = error == "ratelimited"
            call.outcome = error
            if limited:
                self._ws.limited[call.method] += 1
            headers = {"Retry-After": str(fault.retry_after or 1)} if limited else {}
            body = {"ok": False, "error": error}
            return await self._write(request, call, body, fault.status or 200, headers)
        call.outcome = str(fault.status)
        text = f"<html><body>{fault.status} from the edge</body></html>"
        response = web.Response(status=fault.status, text=text, content_type="text/html")
        if fault.retry_after is not None:
            response.headers["Retry-After"] = str(fault.retry_after)
        return response


class _TooMany(Exception):
    """A rate limit holds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


async def _arguments(request: web.Request) -> tuple[Json, bool]:
    """The arguments of a call, and whether they came as JSON. Those in the query always count too, as the client
    library sends most of its POSTs with them and an empty body."""
    args: Json = dict(request.query)
    if request.method != "POST" or not request.can_read_body:
        return args, False
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read() or b"{}")
        except ValueError:
            body = None
        return args | (cast("Json", body) if isinstance(body, dict) else {_NO_JSON: True}), True
    form = await request.post()
    return args | {name: str(value) for name, value in form.items()}, False

"""The HTTP side: `/bot<token>/<method>`, `/file/bot<token>/<path>` and, for tests, `/_admin/<operation>`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

from aiohttp import web

from tests.standins.telegram.calls import Call
from tests.standins.telegram.description import METHODS as DESCRIBED
from tests.standins.telegram.description import Upload, check
from tests.standins.telegram.faults import PROXY_PAGE, TITLES, Fault
from tests.standins.telegram.limits import COUNTED
from tests.standins.telegram.methods import METHODS, receiving
from tests.standins.telegram.operations import OPERATIONS
from tests.standins.telegram.parts import Parts
from tests.standins.telegram.refusals import NOT_FOUND, UNAUTHORIZED, Refusal, too_many

Json = dict[str, Any]

OK = 200


class Server:
    """Answers calls. One of it serves one bot."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def app(self) -> web.Application:
        """The application, ready to be served."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/bot{token:[^/]+}/{method}", self._api)
        app.router.add_get("/file/bot{token:[^/]+}/{path:.+}", self._file)
        app.router.add_post("/_admin/{operation}", self._admin)
        return app

    # ------------------------------------------------------------------ the API

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if request.match_info["token"] != self._parts.world.bot.token:
            return _json(Refusal("Unauthorized", code=UNAUTHORIZED).body(), UNAUTHORIZED)
        raw, uploads = await _parameters(request)
        call = self._parts.calls.arrived(method, raw, self._parts.world.clock.now())
        try:
            call.params = check(method, raw, uploads)
        except Refusal as refusal:
            return self._refused(call, refusal)
        finally:
            self._parts.world.changes.mark()
        fault = self._parts.plan.take(method, call.params)
        if fault is None:
            return await self._usual(call)
        call.trouble = True
        return await self._troubled(request, call, fault)

    async def _usual(self, call: Call) -> web.Response:
        try:
            result = await self._perform(call)
        except Refusal as refusal:
            return self._refused(call, refusal)
        call.status = OK
        return self._done(call, {"ok": True, "result": result})

    async def _troubled(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse:
        answer: web.StreamResponse | None = None
        if fault.applied:
            answer = await self._usual(call)
            self._lost(call)
        if fault.hold:
            await self._parts.plan.pass_gate(fault.hold)
        if fault.drop:
            call.status = 0
            self._parts.calls.answered(call)
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if fault.status:
            call.status, call.description = fault.status, fault.description
            self._parts.calls.answered(call)
            if fault.page:
                page = PROXY_PAGE.format(title=TITLES.get(fault.status, str(fault.status)))
                return web.Response(text=page, status=fault.status, content_type="text/html")
            return _json(fault.body(), fault.status)
        return answer or await self._usual(call)

    async def _perform(self, call: Call) -> Any:
        world, webhook = self._parts.world, self._parts.webhook
        method, params = call.method, call.params
        if method == "getUpdates":
            return await receiving.get_updates(world, webhook, params)
        if method in RECEIVING:
            return RECEIVING[method](world, webhook, params)
        self._slow_down(method, params)
        result: Any = METHODS[method](world, params)
        if isinstance(result, dict):
            call.message = cast("Json", result).get("message_id")
        for note in world.ignored:
            self._parts.calls.fault(method, note)
        world.ignored.clear()
        return cast("Any", result)

    def _slow_down(self, method: str, params: Json) -> None:
        chat = params.get("chat_id")
        if method in COUNTED and isinstance(chat, int):
            now = self._parts.world.clock.now()
            if (wait := self._parts.flood.wait(chat, now)) is not None:
                raise too_many(wait)
            self._parts.flood.count(chat, now)

    def _lost(self, call: Call) -> None:
        """The bot won't learn of what has just been done, and may do it again."""
        world = self._parts.world
        chat = world.chats.get(call.params.get("chat_id", 0))
        message = chat.messages.get(call.message or call.params.get("message_id", 0)) if chat else None
        if message is not None:
            message.unsure = True
        if (query := world.queries.get(call.params.get("callback_query_id", ""))) is not None:
            query.unsure = True

    def _refused(self, call: Call, refusal: Refusal) -> web.Response:
        call.status, call.description = refusal.code, refusal.description
        if refusal.fault:
            self._parts.calls.fault(call.method, refusal.description)
        return self._done(call, refusal.body())

    def _done(self, call: Call, body: Json) -> web.Response:
        self._parts.calls.answered(call)
        self._parts.world.changes.mark()
        return _json(body, call.status)

    # ------------------------------------------------------------------ files and tests

    async def _file(self, request: web.Request) -> web.Response:
        files = {file.path: file for file in self._parts.world.files.values()}
        file = files.get(request.match_info["path"])
        if request.match_info["token"] != self._parts.world.bot.token or file is None:
            return _json(Refusal("Not Found", code=NOT_FOUND).body(), NOT_FOUND)
        return web.Response(body=file.data, content_type="application/octet-stream")

    async def _admin(self, request: web.Request) -> web.Response:
        operation = request.match_info["operation"]
        arguments = cast("Json", await request.json())
        if operation == "after":
            await self._parts.world.changes.after(arguments["version"], arguments["seconds"])
            return web.json_response(self._parts.world.changes.version)
        try:
            return web.json_response(OPERATIONS[operation](self._parts, **arguments))
        except (AssertionError, LookupError, StopIteration) as error:
            return web.json_response(f"{operation}: {error!r}", status=422)


RECEIVING = {
    "setWebhook": receiving.set_webhook,
    "deleteWebhook": receiving.delete_webhook,
    "getWebhookInfo": receiving.webhook_info,
}
assert DESCRIBED.keys() == METHODS.keys() | RECEIVING.keys() | {"getUpdates"}, "a described method isn't modelled"


def _json(body: Json, status: int) -> web.Response:
    return web.json_response(body, status=status)


async def _parameters(request: web.Request) -> tuple[Json, dict[str, Upload]]:
    """What a call carries: in its address, as a form, as multipart or as JSON."""
    values: Json = dict(request.query)
    uploads: dict[str, Upload] = {}
    if request.content_type == "application/json":
        body: Any = json.loads(await request.read() or b"{}")
        return values | cast("Json", body), uploads
    form = cast("Mapping[str, str | web.FileField]", await request.post())
    for name, value in form.items():
        if isinstance(value, str):
            values[name] = value
        else:
            data = await asyncio.to_thread(value.file.read)
            uploads[name] = Upload(value.filename, value.content_type, data)
    return values, uploads

"""The driver over HTTP, for tests whose workspace is a process of its own: `POST /_admin/<verb>` with JSON arguments.

Each verb is a method of `_Verbs`, named as in the Python driver; `remote.py` speaks it.
"""

from __future__ import annotations

import base64
import inspect
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from tests.standins.slack.blocks import buttons
from tests.standins.slack.errors import NotThere
from tests.standins.slack.faults import Fault
from tests.standins.slack.model import Call, Json, Message
from tests.standins.slack.people import room_of
from tests.standins.slack.render import view

if TYPE_CHECKING:
    from tests.standins.slack.people import Person
    from tests.standins.slack.server import SlackWorkspace

_PERSON = frozenset(
    {"says", "edits", "deletes", "reacts", "unreacts", "presses", "forges", "commands", "stops", "joins", "leaves"}
    | {"invites_bot", "removes_bot", "opens_chat", "opens_assistant", "sees"}
)
"""What a person can be told to do."""


def snapshot(ws: SlackWorkspace, message: Message) -> Json:
    """A message as JSON for tests: what it is and what it looks like."""
    found = [*(buttons(message.stream.extra) if message.stream else ()), *buttons(message.blocks)]
    return {
        "channel": message.channel,
        "ts": message.ts,
        "user": message.user,
        "text": message.text,
        "thread_ts": message.thread_ts,
        "by_app": message.by_app,
        "blocks": message.blocks,
        "metadata": message.metadata,
        "reactions": message.reactions,
        "edits": message.edits,
        "ephemeral_for": message.ephemeral_for,
        "streaming": message.stream.state if message.stream else None,
        "view": view(ws, message),
        "buttons": [str(element.get("text", {}).get("text", element["action_id"])) for _, element in found],
    }


def call_json(call: Call) -> Json:
    """A call as JSON."""
    return asdict(call)


class Admin:
    """Answers the admin surface."""

    def __init__(self, ws: SlackWorkspace) -> None:
        self._ws = ws
        self._verbs = _Verbs(ws)

    async def answer(self, request: web.Request) -> web.Response:
        """One verb. What a test has got wrong comes back as 400 with the text."""
        verb = request.match_info["verb"]
        arguments = cast("Json", json.loads(await request.read() or b"{}"))
        try:
            result = await self._do(verb, arguments)
        except (NotThere, LookupError, TypeError, AssertionError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"result": result})

    async def _do(self, verb: str, arguments: Json) -> Any:
        if verb in _PERSON:
            return await self._person(verb, arguments)
        action = getattr(self._verbs, verb, None)
        if verb.startswith("_") or action is None:
            raise NotThere(f"no verb {verb!r}")
        result = action(**arguments)
        return await result if inspect.isawaitable(result) else result

    async def _person(self, verb: str, arguments: Json) -> Any:
        person: Person = self._ws.user(str(arguments.pop("user")))
        if "files" in arguments:
            arguments["files"] = {name: base64.b64decode(data) for name, data in arguments["files"].items()}
        result = getattr(person, verb)(**arguments)
        result = await result if inspect.isawaitable(result) else result
        return asdict(result) if hasattr(result, "__dataclass_fields__") else result


class _Verbs:
    """Everything else."""

    def __init__(self, ws: SlackWorkspace) -> None:
        self._ws = ws

    def about(self) -> Json:
        ws = self._ws
        tokens = {"bot_token": ws.app.bot_token, "app_token": ws.app.app_token, "signing_secret": ws.app.signing_secret}
        return tokens | {
            "team_id": ws.team_id,
            "bot_user": ws.app.user_id,
            "bot_id": ws.app.bot_id,
            "app_id": ws.app.id,
        }

    def user(self, name: str) -> Json:
        person = self._ws.user(name)
        return {"id": person.id, "name": person.name, "dm": person.dm}

    def channel(self, name: str, members: list[str], **how: Any) -> str:
        return self._ws.channel(name, *members, **how)

    def archive(self, channel: str) -> None:
        self._ws.archive(channel)

    def thread(self, channel: str, ts: str) -> list[Json]:
        return [snapshot(self._ws, one) for one in self._ws.thread(channel, ts)]

    def messages(self, channel: str | None = None, thread: str | None = None, private: bool = False) -> list[Json]:
        """Of a channel, of a thread; with those that only one person sees, if asked for."""
        room = channel and room_of(self._ws, channel).id
        found = [*self._ws.messages(room), *(self._ws.ephemerals if private else ())]
        return [snapshot(self._ws, one) for one in found if room in (None, one.channel) and thread in (None, one.root)]

    def status(self, channel: str, thread: str) -> str:
        return self._ws.status(channel, thread)

    def calls(self, method: str | None = None) -> list[Json]:
        return [call_json(call) for call in self._ws.calls if method in (None, call.method)]

    def faults(self) -> list[str]:
        return self._ws.faults

    def take_faults(self) -> list[str]:
        return self._ws.take_faults()

    def limited(self) -> Json:
        return dict(self._ws.limited)

    def next(self, method: str, faults: list[Json], where: Json | None = None) -> None:
        self._ws.next(method, *(Fault(**one) for one in faults), where=where)

    def release(self, name: str) -> None:
        self._ws.release(name)

    def twist(self, twists: list[Any]) -> None:
        self._ws.twist(*twists)

    def redeliver(self) -> None:
        self._ws.redeliver()

    def deliveries(self) -> list[Json]:
        return [asdict(delivery) for delivery in self._ws.deliveries]

    def sockets(self) -> Json:
        sockets = self._ws.sockets
        return {"open": len(sockets.connections), "opened": sockets.opened, "acknowledged": sockets.acknowledged}

    async def drop_sockets(self) -> int:
        return await self._ws.drop_sockets()

    async def say_goodbye(self, reason: Any = "refresh_requested") -> None:
        await self._ws.say_goodbye(reason)

    def listening(self, sockets: bool) -> None:
        self._ws.sockets.listening = sockets

    async def verify_url(self, url: str) -> bool:
        return await self._ws.verify_url(url)

    def install(self, manifest: Json) -> None:
        self._ws.install(manifest)

    def request_url(self, url: str | None) -> None:
        self._ws.app.request_url = url

    def broken(self, error: str | None) -> None:
        self._ws.app.broken = error

    async def wait(self, version: int, seconds: float) -> int:
        """Until something has changed since that version, or the time is over."""
        await self._ws.until_version(version, seconds)
        return self._ws.version

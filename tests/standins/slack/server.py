"""The workspace, served: web API, sockets, files, response URLs and the admin surface in one aiohttp application."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from aiohttp import web

from tests.standins.slack.admin import Admin
from tests.standins.slack.api import Api
from tests.standins.slack.delivery import Delivery, Dispatcher, Twist
from tests.standins.slack.events import Events
from tests.standins.slack.faults import Fault, Faults, Where
from tests.standins.slack.filestore import FileStore
from tests.standins.slack.hooks import Hooks
from tests.standins.slack.interactions import Interactions
from tests.standins.slack.manifest import manifest_faults
from tests.standins.slack.methods.agents import STATUS_SECONDS
from tests.standins.slack.model import Call, Json, Kind, Message, Session
from tests.standins.slack.options import Options
from tests.standins.slack.people import Person, room_of
from tests.standins.slack.render import view
from tests.standins.slack.requests import Requests
from tests.standins.slack.sockets import Goodbye, Sockets
from tests.standins.slack.workspace import PATIENCE_SECONDS, Workspace

Match = Callable[[Message], bool] | str
"""Which message: a test of it, or a pattern that is searched in what the app's messages look like."""


class SlackWorkspace(Workspace):
    """A Slack workspace on loopback, and what people do and see there. Use it as an async context manager.

    Args:
        options: how it begins.
        log: gets a JSON line for each call and its outcome.
    """

    def __init__(self, options: Options | None = None, *, log: TextIO | None = None) -> None:
        super().__init__(options or Options())
        self._log = log
        self._runner: web.AppRunner | None = None
        self._on_demand = Faults()
        self.sockets = Sockets(self)
        self.requests = Requests(self)
        self.dispatcher = Dispatcher(self, self.sockets, self.requests)
        self._events = Events(self, self.dispatcher.send)
        self._hooks = Hooks(self)
        self._interactions = Interactions(self, self.dispatcher, self._hooks)
        self.ears, self.link = self._events, self.sockets.link

    # ------------------------------------------------------------------ serving

    @property
    def api_url(self) -> str:
        """For `AsyncWebClient(base_url=…)` and `channels.slack.apiUrl`."""
        return f"{self.base_url}/api/"

    async def start(self, port: int = 0) -> None:
        """Listens on 127.0.0.1 and sets `base_url`."""
        api = Api(self, self._on_demand, self.write)
        files = FileStore(self)
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/api/{method}", api.answer)
        app.router.add_get("/link/", self.sockets.accept)
        app.router.add_get("/files-pri/{file}/{name:.*}", files.download)
        app.router.add_post("/upload/{file}/{length}", files.upload)
        app.router.add_get("/login", files.login)
        app.router.add_post("/hooks/{name}", self._hooks.answer)
        app.router.add_post("/_admin/{verb}", Admin(self).answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        await self.requests.open()

    async def stop(self) -> None:
        """Closes every connection and ends every delivery."""
        await self.dispatcher.close()
        await self.sockets.close()
        await self.requests.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> SlackWorkspace:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def write(self, record: Json) -> None:
        """A line in the log."""
        if self._log is not None:
            self._log.write(json.dumps({"at": time.time(), **record}, default=str) + "\n")
            self._log.flush()

    # ------------------------------------------------------------------ who and where

    def user(self, name: str) -> Person:
        """Somebody, new or known."""
        return Person(self, self.add_user(name), self._events, self._interactions)

    def channel(
        self, name: str, *members: str, private: bool = False, group: bool = False, bot: bool | None = None
    ) -> str:
        """A channel, new or known, with these people in it, and the bot unless it is not to be. Returns its id.

        Args:
            name: with or without `#`; that of a direct conversation of several is a stand-in for their names.
            members: people.
            private: whether a new one is private.
            group: whether a new one is a direct conversation of several.
            bot: whether the bot is in it.
        """
        inside = [self.add_user(member).id for member in members]
        kind = Kind.GROUP if group else Kind.PRIVATE if private else Kind.PUBLIC
        return self.add_channel(name.lstrip("#"), kind=kind, members=inside, bot=bot).id

    def archive(self, channel: str) -> None:
        """Nothing can be written there any more."""
        room_of(self, channel).archived = True

    def install(self, manifest: Json) -> None:
        """Makes the app what a manifest says: its scopes, events, commands.

        Raises:
            AssertionError: Slack would refuse the manifest.
        """
        faults = manifest_faults(manifest)
        assert not faults, f"the manifest is refused: {faults}"
        settings, features = manifest.get("settings", {}), manifest.get("features", {})
        self.app.scopes = set(manifest.get("oauth_config", {}).get("scopes", {}).get("bot", ()))
        self.app.events = set(settings.get("event_subscriptions", {}).get("bot_events", ()))
        self.app.commands = {command["command"] for command in features.get("slash_commands", ())}

    # ------------------------------------------------------------------ what is to be seen

    def thread(self, channel: str, ts: str) -> list[Message]:
        """A thread: its root and the replies, oldest first."""
        room = room_of(self, channel)
        root = room.messages.get(ts)
        return [*([root] if root else []), *room.replies(ts)]

    def messages(self, channel: str | None = None) -> list[Message]:
        """All messages of a channel or of all, oldest first."""
        rooms = self.channels.values() if channel is None else (room_of(self, channel),)
        return sorted((one for room in rooms for one in room.messages.values()), key=lambda one: one.ts)

    def posts(self, channel: str | None = None, thread: str | None = None) -> list[Message]:
        """The app's messages, of a channel, of a thread."""
        return [one for one in self.messages(channel) if one.by_app and thread in (None, one.root)]

    def view(self, message: Message) -> str:
        """A message as its reader sees it."""
        return view(self, message)

    def texts(self, channel: str | None = None, thread: str | None = None) -> list[str]:
        """What the app's messages look like."""
        return [view(self, one) for one in self.posts(channel, thread)]

    def status(self, channel: str, thread: str) -> str:
        """What a thread shows the app to be doing; empty if nothing."""
        status, since = self.statuses.get((room_of(self, channel).id, thread), ("", 0.0))
        return status if time.monotonic() - since < STATUS_SECONDS else ""

    def session(self, channel: str, thread: str) -> Session | None:
        """The agent session of a thread."""
        return self.sessions.get((room_of(self, channel).id, thread))

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(call.method == method for call in self.calls)

    # ------------------------------------------------------------------ waiting

    async def wait_message(
        self,
        match: Match,
        *,
        channel: str | None = None,
        thread: str | None = None,
        timeout: float = PATIENCE_SECONDS,  # noqa: ASYNC109 - the driver's word for it
    ) -> Message:
        """Waits for a message, one that only one person sees included.

        Raises:
            Timeout: there was none in that time.
        """

        def fits(one: Message) -> bool:
            if not isinstance(match, str):
                return match(one)
            return one.by_app and re.search(match, view(self, one), re.DOTALL) is not None

        def found() -> Message | None:
            room = channel and room_of(self, channel).id
            for one in (*self.messages(), *self.ephemerals):
                if room in (None, one.channel) and thread in (None, one.root) and fits(one):
                    return one
            return None

        return await self.until(found, f"message {match!r}; the app's are {self.texts()}", timeout)

    async def wait_calls(self, method: str, count: int = 1, *, seconds: float = PATIENCE_SECONDS) -> list[Call]:
        """Waits until a method was called so often; returns its calls."""

        def found() -> list[Call] | None:
            calls = [call for call in self.calls if call.method == method]
            return calls if len(calls) >= count else None

        return await self.until(found, f"{count} calls of {method}", seconds)

    async def wait_connected(self, opened: int = 1, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until a socket is open, and so many were opened since the beginning."""
        await self.until(
            lambda: bool(self.sockets.connections) and self.sockets.opened >= opened, f"{opened}. socket", seconds
        )

    async def wait_delivered(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until every event so far is acknowledged, or lost."""
        await self.until(lambda: not self.dispatcher.pending, "acknowledgement of all events", seconds)

    # ------------------------------------------------------------------ making trouble

    def next(self, method: str, *faults: Fault, where: Where | Mapping[str, Any] | None = None) -> None:
        """What goes wrong with the next calls of a method, or of any with `*`.

        Args:
            method: of the web API.
            faults: one for each of the next calls, in order.
            where: which calls: a test of their arguments, or values that they must have.
        """
        test = where if where is None or callable(where) else _with(where)
        self._on_demand.add(method, *faults, where=test)

    @property
    def unused(self) -> int:
        """How many faults on demand wait for their calls."""
        return self._on_demand.waiting

    def release(self, name: str) -> None:
        """Lets go what is held under this name, now and later."""
        self._on_demand.release(name)

    def twist(self, *twists: Twist) -> None:
        """How the next events are delivered: `duplicate`, `deaf`, `hold`."""
        self.dispatcher.twist(*twists)

    def redeliver(self) -> None:
        """Sends again now whatever isn't acknowledged."""
        self.dispatcher.redeliver()

    @property
    def deliveries(self) -> list[Delivery]:
        """Every event that was sent."""
        return self.dispatcher.all

    async def drop_sockets(self) -> int:
        """Cuts every socket. Returns how many there were."""
        return await self.sockets.drop()

    async def say_goodbye(self, reason: Goodbye = "refresh_requested") -> None:
        """Asks for new sockets, as Slack does every few hours."""
        await self.sockets.say_goodbye(reason)

    async def verify_url(self, url: str) -> bool:
        """Sends events to this URL from now on, if it answers Slack's challenge."""
        return await self.requests.verify(url)

    # ------------------------------------------------------------------ judging

    def assert_clean(self, *allowed: str) -> None:
        """Fails on everything that a correct client wouldn't have done.

        Args:
            allowed: patterns of faults that this test has made unavoidable.
        """
        faults = [fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in allowed)]
        assert not faults, "the Slack stand-in saw what it should not:\n" + "\n".join(faults)

    def take_faults(self) -> list[str]:
        """The faults so far, which are forgotten then."""
        taken, self.faults = self.faults, []
        return taken


def _with(values: Mapping[str, Any]) -> Where:
    """Whether a call has these arguments."""
    return lambda args: all(args.get(name) == value for name, value in values.items())

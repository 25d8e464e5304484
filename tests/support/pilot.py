"""Drives a whole gateway as people and programs do: says something, waits until it rests, looks.

    async with pilot(tmp_path) as p:
        p.on(role="main", user="^go$", turn_step=1, reply=call("sessions_spawn", task="count"))
        await p.say("go")
        await p.wait_idle()
        assert [run["outcome"] for run in await p.runs()] == ["ok"]

The gateway is the real one, in this process, on a real SQLite file, listening on a free port; the models are a scripted
server on loopback. What nothing in a test's script answers says `ok` (a main session) or `child done` (a sub-agent).
Waiting is for events, never for time.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import aiohttp
from sqlalchemy import func, select

from gateway.app import Gateway, ServeOptions
from gateway.config import Paths, load_config
from gateway.events import Event
from gateway.plugins import Plugin
from gateway.store.database import Database, Transaction
from gateway.store.migrate import migrate
from gateway.store.open import open_database
from gateway.store.schema import events
from tests.support import databases
from tests.support.model_script import Answer, Call, Reply, Rule, Seen, calls, say, text_of
from tests.support.model_server import ScriptedModelServer

Json = dict[str, Any]
KEY = "agent:main:main"
MODEL = "test/scripted"
REPORT = r"\[Report of a sub-agent"
"""How an announcement begins, as the requester's model reads it."""
PATIENCE = 30.0
"""seconds after which waiting is a fault"""
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of the HTTP API."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.text)


class Pilot:
    """A running gateway, and everything that a test does with it."""

    def __init__(self, folder: Path, model: ScriptedModelServer, http: aiohttp.ClientSession) -> None:
        self.paths = Paths(folder / "state")
        self.model = model
        self.plugins: Mapping[str, Plugin] = {}
        """Plugins beside the installed ones; taken at each start."""
        self.environ: Mapping[str, str] = {}
        """More variables of the gateway's environment; taken at each start."""
        self.events: list[Event] = []
        """All that has happened, oldest first, over restarts too."""
        self._seen = 0
        """The id of the last durable one."""
        self._home = folder
        self._wishes = 0
        self._http = http
        self._changed = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None
        self._gateway: Gateway | None = None
        self._database: Database | None = None
        self._fallback = [Rule(lambda _: say("child done"), role="child"), Rule(lambda _: say("ok"))]
        model.rules.extend(self._fallback)

    # ------------------------------------------------------------------ life

    @property
    def gateway(self) -> Gateway:
        """The gateway that runs now."""
        assert self._gateway is not None, "the gateway is stopped"
        return self._gateway

    @property
    def workspace(self) -> Path:
        """The default agent's workspace."""
        return self.paths.state / "workspace"

    @property
    def token(self) -> str:
        """The operator's token."""
        return self.paths.token.read_text("utf-8").strip()

    async def start(self) -> None:
        """Starts a gateway on the state folder."""
        usual = {"HOME": str(self._home), "LANEWAY_HOME": str(self.paths.state), "LANEWAY_OFFLINE": "1"}
        environ = {**usual, "PATH": os.environ["PATH"], **self.environ}
        config = load_config(None, paths=self.paths, environ=environ)
        self._database = open_database(config)
        options = ServeOptions(self.paths, environ=environ, handle_signals=False, plugins=self.plugins)
        self._gateway = Gateway(options, config, self._database)
        following = asyncio.Event()
        self._watch = asyncio.create_task(self._follow(self._gateway, following), name="pilot:events")
        await following.wait()  # or the first events of the start could be missed
        await self._gateway.start()

    async def stop(self) -> None:
        """Stops it gracefully; the state stays."""
        if self._gateway is not None:
            await self._gateway.stop()
            self._gateway = None
        if self._watch is not None:
            await self._watch
            self._watch = None
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def restart(self, **config: Any) -> None:
        """A graceful stop and a new start.

        Args:
            config: sections that go over the configuration file.
        """
        await self.stop()
        self.configure(config)
        await self.start()

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Changes the configuration file."""
        known = json.loads(self.paths.config_file.read_text("utf-8"))
        self.paths.config_file.write_text(json.dumps(merged(known, changes)), "utf-8")

    async def _follow(self, gateway: Gateway, following: asyncio.Event) -> None:
        async with gateway.events.subscribe(last_id=None) as stream:
            self._seen = stream.position
            following.set()
            async for event in stream:
                async with self._changed:
                    self.events.append(event)
                    self._seen = event.id or self._seen
                    self._changed.notify_all()

    # ------------------------------------------------------------------ the script

    def on(self, answer: Answer | None = None, *, reply: Reply | None = None, **conditions: Any) -> Rule:
        """Adds a rule to the models' script, before what answers all the rest. See `Rule` for the conditions."""
        rule = self.model.on(answer, reply=reply, **conditions)
        self.model.rules.remove(rule)
        self.model.rules.insert(len(self.model.rules) - len(self._fallback), rule)
        return rule

    def strict(self) -> None:
        """From here on only what the test's own script says is answered."""
        self.model.rules[-len(self._fallback) :] = []
        self._fallback = []

    def child_requests(self) -> list[Seen]:
        """The model requests of sub-agents."""
        return [seen for seen in self.model.requests if seen.role == "child"]

    def main_requests(self) -> list[Seen]:
        """The model requests of conversations."""
        return [seen for seen in self.model.requests if seen.role == "main"]

    # ------------------------------------------------------------------ talking

    async def say(self, text: str, session: str = KEY, **more: Any) -> Json:
        """Says something in a conversation; returns what became of it.

        Args:
            text: a message, or a slash command.
            session: the conversation's key.
            more: other fields of the body, such as `thread`, which makes another route.
        """
        response = await self.post(f"/api/sessions/{session}/messages", {"text": text, **more})
        assert response.status in (200, 202), response.text
        return cast("Json", response.json)

    async def command(self, text: str, session: str = KEY, **more: Any) -> str:
        """The answer to a slash command."""
        return str((await self.say(text, session, **more))["reply"])

    async def spawn(self, session: str = KEY, **arguments: Any) -> Json:
        """Lets the assistant call `sessions_spawn` with these arguments; returns the tool's result."""
        return (await self.spawn_many([arguments], session))[0]

    async def spawn_many(self, several: Sequence[Mapping[str, Any]], session: str = KEY, **more: Any) -> list[Json]:
        """Lets the assistant make several spawn calls in one step; returns their results in the calls' order."""
        return [
            json.loads(text) for text in await self.use([("sessions_spawn", each) for each in several], session, **more)
        ]

    async def use(
        self, several: Sequence[tuple[str, Mapping[str, Any] | str]], session: str = KEY, **more: Any
    ) -> list[str]:
        """Lets the assistant call tools in one step; returns the results in the calls' order.

        Args:
            several: names and arguments.
            session: the conversation.
            more: other fields of the message that leads to it.
        """
        self._wishes += 1
        wish = f"wish number {self._wishes};"
        ids = [f"wish{self._wishes}_{index}" for index in range(len(several))]
        made = calls(*(Call(name, arguments, ids[index]) for index, (name, arguments) in enumerate(several)))

        def grant(seen: Seen) -> Reply | None:
            return made if wish in seen.users and not answers_to(seen, ids[0]) else None

        self.model.on(grant, first=True, role="main", once=True)
        await self.say(wish, session, **more)
        seen, *_ = await self.model.wait_for(lambda seen: answers_to(seen, ids[0]) != "")
        return [answers_to(seen, each) for each in ids]

    # ------------------------------------------------------------------ looking

    async def ask(self, method: str, path: str, body: Any = None, token: str | None = None, **more: Any) -> Response:
        """One HTTP request, with the operator's token unless another one is given."""
        headers = {"Authorization": f"Bearer {token or self.token}", **more.pop("headers", {})}
        async with self._http.request(method, self.gateway.url + path, json=body, headers=headers, **more) as response:
            return Response(response.status, await response.text())

    async def get(self, path: str) -> Any:
        """The JSON of a page."""
        response = await self.ask("GET", path)
        assert response.status == 200, response.text
        return response.json

    async def post(self, path: str, body: Any = None, **more: Any) -> Response:
        """A POST with a JSON body."""
        return await self.ask("POST", path, {} if body is None else body, **more)

    async def session(self, key: str = KEY) -> Json:
        """A session's record."""
        return cast("Json", await self.get(f"/api/sessions/{key}"))

    async def _rests(self, key: str) -> bool:
        response = await self.ask("GET", f"/api/sessions/{key}")
        return response.status == NOT_FOUND or bool(response.json["idle"])

    async def transcript(self, key: str = KEY) -> list[Json]:
        """A session's messages, tool calls and results included."""
        return cast("list[Json]", (await self.get(f"/api/sessions/{key}/transcript?limit=500&tools=1"))["messages"])

    async def runs(self, **filters: str) -> list[Json]:
        """The runs, oldest first."""
        query = "&".join(f"{name}={value}" for name, value in {"limit": "500", **filters}.items())
        return cast("list[Json]", (await self.get(f"/api/runs?{query}"))["runs"])[::-1]

    async def run(self, run_id: str) -> Json:
        """One run."""
        return cast("Json", await self.get(f"/api/runs/{run_id}"))

    async def sessions(self, **filters: str) -> list[Json]:
        """The current sessions."""
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        return cast("list[Json]", (await self.get(f"/api/sessions?{query}"))["sessions"])

    def posts(self, session: str | None = KEY, role: str = "assistant") -> list[Json]:
        """What was posted for people, oldest first; `text` and `route` tell what and where."""
        found = [event.data for event in self.events if event.type == "message" and event.data["role"] == role]
        return [dict(data) for data in found if session in (None, data["sessionKey"])]

    def said(self, session: str | None = KEY) -> list[str]:
        """The texts of the assistant's posts."""
        return [post["text"] for post in self.posts(session)]

    def changes(self, run_id: str) -> list[str]:
        """What has happened to a run: `created`, `started`, …, `done`."""
        return [e.data["change"] for e in self.events if e.type == "run" and e.data["run"]["runId"] == run_id]

    # ------------------------------------------------------------------ waiting

    async def wait_until(self, holds: Callable[[], Any], what: str = "") -> None:
        """Waits for an event after which a condition holds.

        Raises:
            AssertionError: it doesn't come to hold in time.
        """
        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(holds)
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what or 'a condition'}; {self._trace()}") from None

    async def wait_idle(self, session: str = KEY) -> None:
        """Waits until a session rests: no turn, nothing waiting, nothing at work below it.

        Raises:
            AssertionError: it doesn't in time.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            seen = len(self.events)
            if await self._rests(session):
                await self._catch_up()
                return
            left = max(0.0, deadline - time.monotonic())
            try:
                async with asyncio.timeout(left), self._changed:
                    await self._changed.wait_for(lambda seen=seen: len(self.events) > seen)
            except TimeoutError:
                raise AssertionError(f"{session} doesn't come to rest; {self._trace()}") from None

    async def _catch_up(self) -> None:
        """Waits for the events of all that is committed: what a reader sees may not have been told yet."""
        newest = await self.gateway.database.run(_newest_event)
        await self.wait_until(lambda: self._seen >= newest, f"event {newest}")

    async def wait_run(self, run_id: str, change: str = "done") -> Json:
        """Waits for a change in a run's life; returns the run as it is then."""
        await self.wait_until(lambda: change in self.changes(run_id), f"run {run_id[:8]} {change}")
        return await self.run(run_id)

    async def wait_said(self, text: str, session: str | None = KEY) -> Json:
        """Waits for a post of the assistant that holds a text; returns it."""
        await self.wait_until(lambda: any(text in each for each in self.said(session)), f"a post “{text}”")
        return next(post for post in self.posts(session) if text in post["text"])

    async def wait_asked(self, matches: Callable[[Seen], bool], count: int = 1) -> list[Seen]:
        """Waits until so many model requests that match have arrived."""
        return await self.model.wait_for(matches, count=count)

    def _trace(self) -> str:
        last = [(e.type, e.data.get("change") or e.data.get("text") or "") for e in self.events[-12:]]
        faults = [*self.model.unexpected, *self.model.invalid]
        return f"last events: {last}; model faults: {faults}"


@asynccontextmanager
async def pilot(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    plugins: Mapping[str, Plugin] | None = None,
    model: ScriptedModelServer | None = None,
    environ: Mapping[str, str] | None = None,
    start: bool = True,
    postgres: bool = databases.ON_POSTGRES,
) -> AsyncGenerator[Pilot]:
    """A gateway with its models; both are stopped at the end, and a request that broke a provider's rules is a fault.

    Args:
        folder: for the state.
        config: goes over the usual configuration, key by key.
        plugins: plugins beside the installed ones.
        model: a server that runs already, instead of a new one.
        environ: more variables of the gateway's environment.
        start: False leaves starting to the test.
        postgres: works on PostgreSQL.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(databases.owned(folder / "state"))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        server = await stack.enter_async_context(_served(model))
        p = Pilot(folder, server, http)
        usual = merged(base_config(server), {"database": databases.section(p.paths.state, postgres=postgres)})
        _prepare(p.paths, merged(usual, config or {}))
        try:
            p.plugins = plugins or {}
            p.environ = environ or {}
            if start:
                await p.start()
            yield p
        finally:
            await p.stop()
        assert not server.invalid, server.invalid
        assert not server.unexpected, server.unexpected


@asynccontextmanager
async def _served(model: ScriptedModelServer | None) -> AsyncGenerator[ScriptedModelServer]:
    if model is not None:
        yield model
        return
    async with ScriptedModelServer() as server:
        yield server


def _newest_event(tx: Transaction) -> int:
    return int(tx.execute(select(func.max(events.c.id))).scalar() or 0)


def answers_to(seen: Seen, call_id: str) -> str:
    """The result of one call in a request; empty if it isn't there."""
    return next((text_of(m) for m in seen.messages if m.get("tool_call_id") == call_id), "")


def base_config(server: ScriptedModelServer) -> Json:
    """What every test's gateway begins with; `test/scripted` has a price of 1 and 2 micro-USD a token."""
    models = [
        {"id": "scripted", "contextWindow": 100_000, "maxTokens": 1_000, "cost": {"input": 1, "output": 2}},
        {"id": "other", "contextWindow": 100_000, "maxTokens": 1_000, "cost": {"input": 1, "output": 2}},
        {"id": "unpriced", "contextWindow": 100_000, "maxTokens": 1_000},
        {"id": "small", "contextWindow": 8_000, "maxTokens": 500},
    ]
    provider = {"baseUrl": server.base_url, "api": "openai-completions", "apiKey": "scripted-key", "models": models}
    return {
        "gateway": {"port": 0, "drainSeconds": 0},
        "database": {"durability": "process"},
        "models": {"providers": {"test": provider}},
        "agents": {"defaults": {"model": {"primary": MODEL}}},
        "tools": {"exec": {"ask": "off", "sandbox": "off"}},
    }


def subagents(**settings: Any) -> Json:
    """A configuration of `agents.defaults.subagents`."""
    return {"agents": {"defaults": {"subagents": settings}}}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Json:
    """Two configurations as one; records are merged, everything else is replaced."""
    result = dict(below)
    for key, value in above.items():
        known = result.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            result[key] = merged(cast("Json", known), cast("Json", value))
        else:
            result[key] = value
    return result


def _prepare(paths: Paths, config: Mapping[str, Any]) -> None:
    paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    (paths.state / "workspace").mkdir(exist_ok=True)
    paths.config_file.write_text(json.dumps(config), "utf-8")
    if not paths.database.exists():
        paths.database.write_bytes(_migrated())
        paths.database.chmod(0o600)


@cache
def _migrated() -> bytes:
    """An empty database of today's schema: migrating one for every test would take most of its time."""
    with tempfile.TemporaryDirectory(prefix="laneway-tests-") as folder:
        file = Path(folder) / "laneway.db"
        migrate(file)
        return file.read_bytes()

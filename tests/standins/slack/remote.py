"""The driver from another process: the same words as in `server.py`, each of them awaited.

async with slack_process(folder / "slack.jsonl") as ws:
    ann = await ws.user("ann")
    await ws.channel("general", "ann")
    ts = await ann.says("general", "hello", mention=True)
    answer = await ws.wait_message("hello", thread=ts)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.standins.slack.delivery import Twist
from tests.standins.slack.errors import Timeout
from tests.standins.slack.faults import Fault
from tests.standins.slack.model import Call, Json
from tests.standins.slack.remote_person import RemotePerson
from tests.standins.slack.sockets import Goodbye
from tests.standins.slack.workspace import PATIENCE_SECONDS

T = TypeVar("T")
_ROUND_SECONDS = 5.0
"""How long one request waits for a change."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as it was when it was asked for."""

    channel: str
    ts: str
    user: str
    text: str
    thread_ts: str | None
    by_app: bool
    blocks: list[Json]
    metadata: Json | None
    reactions: dict[str, list[str]]
    edits: int
    ephemeral_for: str | None
    streaming: str | None
    """The state of its stream, if it is one."""
    view: str
    """What its reader sees."""
    buttons: list[str]
    """What can be pressed."""

    @property
    def root(self) -> str:
        """The ts of its thread, or of itself."""
        return self.thread_ts or self.ts


class RemoteSlack:
    """A workspace that another process serves."""

    def __init__(self, base_url: str, http: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self.api_url = f"{base_url}/api/"
        self._http = http

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """One verb of the admin surface.

        Raises:
            AssertionError: the workspace says what the test has got wrong.
        """
        async with self._http.post(f"{self.base_url}/_admin/{verb}", json=arguments) as response:
            answer = await response.json()
        assert "error" not in answer, f"{verb}: {answer['error']}"
        return answer["result"]

    async def about(self) -> Json:
        """Tokens and ids."""
        return await self.ask("about")

    async def user(self, name: str) -> RemotePerson:
        """Somebody, new or known."""
        person = await self.ask("user", name=name)
        return RemotePerson(self, name, person["id"], person["dm"])

    async def channel(
        self, name: str, *members: str, private: bool = False, group: bool = False, bot: bool | None = None
    ) -> str:
        """A channel, new or known; returns its id."""
        how = {"private": private, "group": group, "bot": bot}
        return str(await self.ask("channel", name=name, members=list(members), **how))

    async def thread(self, channel: str, ts: str) -> list[Seen]:
        """A thread, its root first."""
        return [Seen(**one) for one in await self.ask("thread", channel=channel, ts=ts)]

    async def messages(self, channel: str | None = None) -> list[Seen]:
        """All messages of a channel or of all."""
        return [Seen(**one) for one in await self.ask("messages", channel=channel)]

    async def posts(self, channel: str | None = None, thread: str | None = None) -> list[Seen]:
        """The app's messages."""
        found = await self.ask("messages", channel=channel, thread=thread)
        return [Seen(**one) for one in found if one["by_app"]]

    async def calls(self, method: str | None = None) -> list[Call]:
        """The calls so far."""
        return [Call(**one) for one in await self.ask("calls", method=method)]

    async def next(self, method: str, *faults: Fault, where: Json | None = None) -> None:
        """What goes wrong with the next calls of a method; gates are given by name."""
        await self.ask("next", method=method, faults=[asdict(fault) for fault in faults], where=where)

    async def release(self, name: str) -> None:
        """Opens a gate."""
        await self.ask("release", name=name)

    async def twist(self, *twists: Twist) -> None:
        """How the next events are delivered."""
        await self.ask("twist", twists=list(twists))

    async def redeliver(self) -> None:
        """Sends again now whatever isn't acknowledged."""
        await self.ask("redeliver")

    async def drop_sockets(self) -> int:
        """Cuts every socket."""
        return int(await self.ask("drop_sockets"))

    async def say_goodbye(self, reason: Goodbye = "refresh_requested") -> None:
        """Asks for new sockets."""
        await self.ask("say_goodbye", reason=reason)

    async def listening(self, *, sockets: bool) -> None:
        """Whether new sockets are accepted, or Slack is out."""
        await self.ask("listening", sockets=sockets)

    async def verify_url(self, url: str) -> bool:
        """Sends events to this URL from now on, if it answers Slack's challenge."""
        return bool(await self.ask("verify_url", url=url))

    async def request_url(self, url: str | None) -> None:
        """Sends events to this URL without asking it; None is Socket Mode."""
        await self.ask("request_url", url=url)

    async def install(self, manifest: Json) -> None:
        """Makes the app what a manifest says."""
        await self.ask("install", manifest=manifest)

    async def broken(self, error: str | None) -> None:
        """What every call of the bot token is answered: account_inactive, token_revoked, …; None ends it."""
        await self.ask("broken", error=error)

    async def archive(self, channel: str) -> None:
        """Nothing can be written there any more."""
        await self.ask("archive", channel=channel)

    async def status(self, channel: str, thread: str) -> str:
        """What a thread shows the app to be doing."""
        return str(await self.ask("status", channel=channel, thread=thread))

    async def limited(self) -> dict[str, int]:
        """How often each method was answered 429."""
        return dict(await self.ask("limited"))

    async def deliveries(self) -> list[Json]:
        """Every event that was sent, as JSON of `Delivery`."""
        return list(await self.ask("deliveries"))

    async def pending(self) -> list[Json]:
        """Events that are neither acknowledged nor lost."""
        return [one for one in await self.deliveries() if not (one["acknowledged"] or one["lost"])]

    async def faults(self) -> list[str]:
        """What a correct client wouldn't have done."""
        return list(await self.ask("faults"))

    async def take_faults(self) -> list[str]:
        """The faults so far, which are forgotten then."""
        return list(await self.ask("take_faults"))

    async def assert_clean(self, *allowed: str) -> None:
        """Fails on faults that match none of the patterns."""
        faults = [one for one in await self.faults() if not any(re.search(pattern, one) for pattern in allowed)]
        assert not faults, "the Slack stand-in saw what it should not:\n" + "\n".join(faults)

    async def until(
        self, look: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = PATIENCE_SECONDS
    ) -> T:
        """Looks again after each change until it finds something.

        Raises:
            Timeout: after so many seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                version = 0  # the first wait returns at once, so that a change during the first look isn't missed
                while not (found := await look()):
                    version = await self.ask("wait", version=version, seconds=_ROUND_SECONDS)
                return found
        except TimeoutError:
            raise Timeout(f"no {what} within {seconds} s; faults: {await self.faults()}") from None

    async def wait_message(
        self,
        match: Callable[[Seen], bool] | str,
        *,
        channel: str | None = None,
        thread: str | None = None,
        seconds: float = PATIENCE_SECONDS,
    ) -> Seen:
        """Waits for a message, a private one included; a pattern is searched in what the app's messages look like."""

        def fits(one: Seen) -> bool:
            if not isinstance(match, str):
                return match(one)
            return one.by_app and re.search(match, one.view, re.DOTALL) is not None

        async def look() -> Seen | None:
            found = await self.ask("messages", channel=channel, thread=thread, private=True)
            return next((one for one in (Seen(**message) for message in found) if fits(one)), None)

        return await self.until(look, f"message {match!r}", seconds=seconds)

    async def wait_calls(self, method: str, count: int = 1, *, seconds: float = PATIENCE_SECONDS) -> list[Call]:
        """Waits until a method was called so often; returns its calls."""

        async def look() -> list[Call] | None:
            calls = await self.calls(method)
            return calls if len(calls) >= count else None

        return await self.until(look, f"{count} calls of {method}", seconds=seconds)

    async def wait_connected(self, opened: int = 1, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until a socket is open, and so many were opened since the beginning."""

        async def look() -> bool:
            sockets = await self.ask("sockets")
            return bool(sockets["open"]) and sockets["opened"] >= opened

        await self.until(look, f"{opened}. socket", seconds=seconds)

    async def wait_delivered(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until every event so far is acknowledged, or lost."""

        async def look() -> bool:
            return not await self.pending()

        await self.until(look, "acknowledgement of all events", seconds=seconds)


@asynccontextmanager
async def remote_slack(base_url: str) -> AsyncGenerator[RemoteSlack]:
    """The driver of a workspace that runs somewhere."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield RemoteSlack(base_url, http)


@asynccontextmanager
async def slack_process(log: Path | None = None, **options: Any) -> AsyncGenerator[RemoteSlack]:
    """A workspace as a process of its own, which ends with the test.

    Args:
        log: file for a JSON line of each call.
        options: fields of `Options`.
    """
    more = ("--log", str(log)) if log else ()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.standins.slack", "--options", json.dumps(options), *more,
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            base_url = (await process.stdout.readline()).decode().strip()
        assert base_url, "the stand-in didn't start"
        async with remote_slack(base_url) as remote:
            yield remote
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

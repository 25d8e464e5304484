"""`laneway chat -m "…"`: one message from a script, its answer on stdout.

The message gets a route of its own, so that its answer is told from everything else that the session says. With
`--wait` it goes on until the session has nothing left to do: sub-agents ended, their announcements answered.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from channels.terminal import texts
from channels.terminal.link import Link
from channels.terminal.plugin import NAME
from gateway.cli.context import FAILED, OK, TIMED_OUT, CliContext
from gateway.cli.format import clean
from gateway.cli.output import print_json
from gateway.client import ApiError
from gateway.client.events import Event, Subscription
from gateway.client.records import Sent, Session

CHECK_SECONDS = 2.0
"""How often the end is asked for when no event tells of it."""
MAY_END = frozenset({"message", "run", "idle", "delivery"})


@dataclass(frozen=True, slots=True)
class OnceOptions:
    """What was asked for on the command line."""

    text: str
    session_key: str
    wait: bool
    as_json: bool
    timeout: float | None
    """Seconds; None: no limit."""


@dataclass
class _Outcome:
    """What has come so far."""

    posts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    notices: list[str] = field(default_factory=list[str])
    runs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    reply: str | None = None
    details: Any = None

    @property
    def answered(self) -> bool:
        return bool(self.posts or self.notices)


async def run(context: CliContext, options: OnceOptions) -> int:
    """Sends the message and shows what comes; returns the exit code."""
    call = _Once(Link(context, _aside), options)
    try:
        async with asyncio.timeout(options.timeout):
            code = await call.run()
    except TimeoutError:
        _aside(f"laneway: no answer within {options.timeout:g} s; it goes on without this command")
        code = TIMED_OUT
    finally:
        await call.close()
    call.report({OK: "ok", TIMED_OUT: "timeout"}.get(code, "error"))
    return code


class _Once:
    def __init__(self, link: Link, options: OnceOptions) -> None:
        self._link = link
        self._options = options
        self._thread = f"once-{uuid4().hex[:12]}"
        self._outcome = _Outcome()
        self._subscription = Subscription(link.connect, options.session_key)
        self._stirred = asyncio.Event()
        self._helpers: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        await self._link.connect()
        following = asyncio.create_task(self._follow(), name="once:follow")
        self._helpers.append(following)
        await _either(self._subscription.connected, following, None)
        sent = await self._send()
        self._outcome.reply, self._outcome.details = sent.reply, sent.details
        if sent.reply and not self._options.as_json:
            print(clean(sent.reply), flush=True)
        if sent.inbox_id is not None or self._options.wait:
            await self._until_done(following, needs_answer=sent.inbox_id is not None)
        refused = sent.inbox_id is None and sent.reply is None
        return FAILED if self._outcome.notices or refused or not (self._outcome.posts or sent.reply) else OK

    async def close(self) -> None:
        for task in self._helpers:
            task.cancel()
        await asyncio.gather(*self._helpers, return_exceptions=True)
        active = 0
        if self._link.hosting:
            runs = await self._link.call(lambda client: client.runs(session=self._options.session_key, status="open"))
            active = len(runs.runs)
        if left := texts.leaving(active, hosting=True, pid=0):
            _aside(left)
        await self._link.close()

    def report(self, status: str) -> None:
        """Prints the JSON document, if one is wanted."""
        if not self._options.as_json:
            return
        outcome = self._outcome
        print_json(
            {
                "status": status,
                "sessionKey": self._options.session_key,
                "text": "\n\n".join(post["text"] for post in outcome.posts) or outcome.reply or "",
                "answers": outcome.posts,
                "notices": outcome.notices,
                "runs": list(outcome.runs.values()),
                "details": outcome.details,
            }
        )

    async def _send(self) -> Sent:
        options, key = self._options, uuid4().hex
        return await self._link.call(
            lambda client: client.send(
                options.session_key, options.text, channel=NAME, thread=self._thread, idempotency=key
            )
        )

    async def _follow(self) -> None:
        async for event in self._subscription.events():
            self._take(event)
            if event.type in MAY_END:
                self._stirred.set()

    def _take(self, event: Event) -> None:
        if event.type == "run":
            run = cast("dict[str, Any]", event.data.get("run") or {})
            if "runId" in run:
                self._outcome.runs[str(run["runId"])] = run
        elif event.type == "message" and self._is_for_us(event.data):
            self._take_post(event)

    def _take_post(self, event: Event) -> None:
        text = clean(event.text("text"))
        if event.text("role") == "notice":
            self._outcome.notices.append(text)
            _aside(text)
        elif event.text("role") == "assistant":
            names = ("messageId", "text", "createdAt", "seq")
            self._outcome.posts.append({name: event.data.get(name) for name in names} | {"text": text})
            if not self._options.as_json:
                print(text, end="\n\n" if self._options.wait else "\n", flush=True)

    def _is_for_us(self, data: Mapping[str, Any]) -> bool:
        """Whether a post is on our route: an answer to our message, or to what was spawned because of it."""
        route: object = data.get("route")
        return isinstance(route, dict) and cast("dict[str, Any]", route).get("thread") == self._thread

    async def _until_done(self, following: asyncio.Task[None], *, needs_answer: bool) -> None:
        while True:
            self._stirred.clear()
            if self._outcome.answered and not self._options.wait:
                return
            if await self._at_end(needs_answer=needs_answer):
                return
            await _either(self._stirred, following, CHECK_SECONDS)

    async def _at_end(self, *, needs_answer: bool) -> bool:
        """Whether nothing will come any more. Whatever was said by then is on its way: it is waited for."""
        session = await self._session()
        over = session is None or (session.idle if self._options.wait else not session.busy and not session.waiting)
        return over and (self._outcome.answered or not needs_answer)

    async def _session(self) -> Session | None:
        try:
            return await self._link.call(lambda client: client.session(self._options.session_key))
        except ApiError as error:
            if error.status != 404:
                raise
            return None


async def _either(event: asyncio.Event, task: asyncio.Task[None], seconds: float | None) -> None:
    """Waits for the event, at most so long; raises what the task failed with."""
    waiting = asyncio.create_task(event.wait(), name="once:wait")
    try:
        await asyncio.wait([waiting, task], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if task.done():
        task.result()


def _aside(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

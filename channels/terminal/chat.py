"""A chat at work: joins a gateway, follows the session's events, sends what was typed, in order, each once.

Owns the link, the subscription and the tasks that serve them. The interactive and the plain front end only show what
the conversation holds and hand over what was typed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

from channels.terminal import texts
from channels.terminal.conversation import Conversation, Screen
from channels.terminal.link import Link
from channels.terminal.plugin import NAME
from channels.terminal.seen import Seen
from gateway.cli.context import CliContext
from gateway.cli.format import clean
from gateway.client import ApiError
from gateway.client.events import Event, EventSource, Subscription
from gateway.client.records import CommandInfo, Session, Status

SETTLE_SECONDS = 2.0
"""How often the end of all work is asked for when no event tells of it."""
LEAVING_SECONDS = 2.0
"""How long leaving waits for what was just typed to reach the gateway."""
RUNS = 500


class Chat:
    """One chat.

    Args:
        context: the state folder and the configuration.
        session_key: the conversation.
        screen: where it is shown.
    """

    def __init__(self, context: CliContext, session_key: str, screen: Screen) -> None:
        self._screen = screen
        self.link = Link(context, screen.notice)
        self.conversation = Conversation(session_key, screen)
        self._seen = Seen(context.paths.state / "terminal", session_key)
        self._subscription = Subscription(self._source, session_key, self._seen.load(), lambda _reason: self._lost())
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._in_flight = 0
        self._landed = asyncio.Event()
        self._landed.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._was_lost = False
        self._began = datetime.now(UTC)
        self._away = True
        """Whether what arrives may be from before this chat."""
        self.commands: list[CommandInfo] = []
        self.status = Status()
        self.session: Session | None = None

    @property
    def key(self) -> str:
        """The session's key."""
        return self.conversation.key

    async def start(self) -> None:
        """Joins or starts a gateway and follows the session.

        Raises:
            CliError, ApiError, …: there is no gateway to be had.
        """
        await self.link.connect()
        self.status = await self.link.call(lambda client: client.status())
        self.commands = await self.link.call(lambda client: client.commands())
        await self._sync()
        await self._ask_again()
        opened = asyncio.create_task(self._subscription.connected.wait(), name="chat:connected")
        self._tasks = [
            asyncio.create_task(self._follow(), name="chat:follow"),
            asyncio.create_task(self._send_all(), name="chat:send"),
        ]
        await asyncio.wait([opened, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        self._raise_failure()

    async def failure(self) -> None:
        """Waits until the chat can't go on, and raises why."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()

    async def stop(self) -> None:
        """Ends the tasks once what was said has been sent, and the gateway if it is inside this process."""
        if not any(task.done() for task in self._tasks):
            with suppress(TimeoutError):  # no gateway answers, and who leaves doesn't wait for another
                async with asyncio.timeout(LEAVING_SECONDS):
                    await self._outgoing.join()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.mark_read()
        await self.link.close()

    def mark_read(self) -> None:
        """Everything that was shown so far has been read."""
        self._seen.store(self._subscription.last_event_id)

    def say(self, text: str) -> None:
        """Sends what was typed, after what was typed before."""
        self.conversation.sending(+1)
        self._outgoing.put_nowait(text)

    async def stop_turn(self) -> None:
        """Aborts the turn under way and drops what waits to be sent. Sub-agents go on."""
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
            self._sent()
        # A message that is just being sent would begin its turn after the stop.
        await self._landed.wait()
        await self._post("/stop turn")

    async def settled(self) -> None:
        """Waits until nothing is left to do: no turn, no message, no sub-agent, every announcement answered."""
        await self._until(lambda session: session.idle)

    async def turn_over(self) -> None:
        """Waits until everything that was said has been answered; sub-agents may still be at work."""
        await self._until(lambda session: not session.busy and not session.waiting)

    async def _until(self, reached: Callable[[Session], bool]) -> None:
        while True:
            self.conversation.stirred.clear()
            if not self.conversation.sends:
                session = await self._session()
                if session is None or reached(session):
                    return
            try:
                async with asyncio.timeout(SETTLE_SECONDS):
                    await self.conversation.stirred.wait()
            except TimeoutError:
                continue  # the net below: an event may have been lost with a connection

    # ---- sending -----------------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        while True:
            text = await self._outgoing.get()
            try:
                await self._post(text)
            finally:
                self._sent()

    def _sent(self) -> None:
        self._outgoing.task_done()
        self.conversation.sending(-1)

    async def _post(self, text: str) -> None:
        key = uuid4().hex
        self._in_flight += 1
        self._landed.clear()
        try:
            sent = await self.link.call(lambda client: client.send(self.key, text, channel=NAME, idempotency=key))
            if sent.inbox_id is not None:
                self.conversation.is_own(sent.inbox_id)
        except ApiError as error:
            self._screen.notice(str(error), loud=True)
            return
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._landed.set()
        if sent.reply:
            self._screen.notice(clean(sent.reply), loud=True)

    # ---- following ---------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        async for event in self._subscription.events():
            if event.type == "reset":
                await self._catch_up()
                continue
            if event.type == "message":
                self._tell_if_away(event)
                if event.text("role") == "user":
                    # It may be one that is just being posted: its id is known once that is answered.
                    await self._landed.wait()
            self.conversation.handle(event)
            if event.type == "message":
                self.mark_read()

    def _tell_if_away(self, event: Event) -> None:
        if not self._away:
            return
        self._away = False
        if _moment(event.text("createdAt"), self._began) < self._began:
            self._screen.notice(texts.AWAY)

    async def _source(self) -> EventSource:
        client = await self.link.connect()
        if self._was_lost:
            self._was_lost = False
            await self._sync()
        return client

    def _lost(self) -> None:
        self._was_lost = True

    async def _sync(self) -> None:
        self.session = await self._session()
        runs = (await self.link.call(lambda client: client.runs(session=self.key, status="open", limit=RUNS))).runs
        self.conversation.sync(self.session, runs)

    async def _ask_again(self) -> None:
        """Shows the questions of this session, and of sub-agents below it, that are still open."""
        keys = {self.key, *(view.run.session_key for view in self.conversation.active)}
        for question in await self.link.call(lambda client: client.approvals()):
            if question.session_key in keys:
                self.conversation.ask(question)

    async def _catch_up(self) -> None:
        after = self.conversation.last_seq
        if after:
            page = await self.link.call(lambda client: client.transcript(self.key, after=after, tools=True))
            self._screen.notice(texts.MISSED)
            self.conversation.catch_up(page.messages)
        await self._sync()

    async def _session(self) -> Session | None:
        try:
            return await self.link.call(lambda client: client.session(self.key))
        except ApiError as error:
            if error.status != 404:
                raise
            return None  # nobody has said anything in it yet

    def _raise_failure(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error


def _moment(stamp: str, default: datetime) -> datetime:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return default

"""Reception: what platforms deliver, decided upon and taken in (spec/channels.md 1–3).

Everything that a decision depends on is looked up in the unit of work that commits the message, so that nobody is let
in on what was true before. A command's answer is remembered under its message's key and posted in one unit of work;
what a platform delivers again is recognised by that key, whichever of its events it comes in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gateway import access
from gateway.access import Verdict
from gateway.config import Config
from gateway.guests import Guests
from gateway.inbound import COMMAND, Inbound, NotAccepted, Queues
from gateway.keys import conversation_key
from gateway.lifecycle import agent_of
from gateway.media import fetch_all
from gateway.posting import Posting
from gateway.routes import (
    IGNORED,
    Accepted,
    Attachment,
    InboundMessage,
    Incoming,
    Press,
    Route,
    Sender,
    dedupe_key,
)
from gateway.store import buttons, chats, idempotency, inbox, people, sessions
from gateway.store.database import Database, Transaction
from gateway.views import capped

ADDRESSED_ONLY = "(addressed you without saying anything)"
STALE = "This button is no longer valid."
NOT_YOURS = "You may not do that here."


@dataclass(frozen=True, slots=True)
class Judged:
    """What was decided on a message."""

    verdict: Verdict
    message: InboundMessage
    bound: bool = False
    """It is for the sub-agent to whom the thread belongs."""


class Reception:
    """The `Intake` of every channel."""

    def __init__(
        self,
        database: Database,
        inbound: Inbound,
        queues: Queues,
        guests: Guests,
        posting: Posting,
        config: Callable[[], Config],
    ) -> None:
        self._database = database
        self._inbound = inbound
        self._queues = queues
        self._guests = guests
        self._posting = posting
        self._config = config
        self._answering: dict[str, asyncio.Event] = {}
        """Commands under way, by key: the same one in another event waits for its end."""

    async def accept(self, message: InboundMessage) -> Accepted:
        """See `Intake.accept`."""
        return await self._inbound.accept(message)

    async def receive(self, incoming: Incoming, *, quiet: bool = False) -> Accepted:
        """See `Intake.receive`."""
        text = incoming.text.strip()
        if not text and not incoming.files:
            if not incoming.addressed:
                return IGNORED
            incoming = replace(incoming, text=ADDRESSED_ONLY)
        if COMMAND.match(text):
            return await self._command(incoming, quiet=quiet)
        kept: tuple[Attachment, ...] = ()
        if incoming.files:
            judged = await self._database.run(self._judge_or_pair, incoming)
            if judged.verdict is not Verdict.ALLOW:
                return IGNORED
            kept, faults = await fetch_all(incoming.files, self._config().paths, self._workspace(judged.message))
            incoming = replace(incoming, text="\n".join(filter(None, (incoming.text, *faults))))
        accepted = await self._database.run(self._take, incoming, kept)
        if accepted.reply is not None and not quiet:
            await self._database.run(self._reply, incoming.route, accepted)
        return accepted

    async def changed(self, route: Route, message_id: str, text: str | None) -> bool:
        """See `Intake.changed`."""
        return await self._database.run(_change, dedupe_key(route, message_id), text)

    async def press(self, press: Press) -> Accepted:
        """See `Intake.press`."""
        meaning = await self._database.read(buttons.meaning, press.token)
        if meaning is None or not _same_place(Route.from_json(meaning.route), press.route):
            return Accepted(None, reply=STALE)
        route = Route.from_json(meaning.route)
        incoming = Incoming(
            route, press.kind, press.peer, press.peer_name, meaning.command, press.event_id, addressed=True
        )
        key = f"press:{incoming.dedupe_key}"
        async with self._once(key) as answered:
            if answered:
                return Accepted(None, duplicate=True)
            judged = await self._database.read(self._judge, incoming)
            if judged.verdict is not Verdict.ALLOW:
                return Accepted(None, reply=NOT_YOURS)
            return await self._run(replace(judged.message, session_key=meaning.session_key), key)

    async def newest_thread(self, route: Route, peer: str) -> Route | None:
        """See `Intake.newest_thread`."""
        found = await self._database.read(inbox.newest_route, f"{route.channel}:{peer}", replace(route, thread=None))
        return Route.from_json(found) if found else None

    async def moved(self, route: Route, now: str) -> None:
        """See `Intake.moved`."""
        await self._database.run(chats.move, route, now)

    async def moves(self, channel: str, account: str) -> Mapping[str, str]:
        """See `Intake.moves`."""
        return await self._database.read(chats.moves, channel, account)

    # ---- commands ----

    async def _command(self, incoming: Incoming, *, quiet: bool) -> Accepted:
        key = f"answered:{incoming.dedupe_key}"
        async with self._once(key) as answered:
            if answered:
                return Accepted(None, duplicate=True)
            judged = await self._database.run(self._judge_or_pair, incoming)
            if judged.verdict is not Verdict.ALLOW:
                return IGNORED
            return await self._run(judged.message, key, post=not quiet)

    async def _run(self, message: InboundMessage, key: str, *, post: bool = False) -> Accepted:
        try:
            accepted = await self._inbound.accept(message)
        except NotAccepted as error:
            accepted = Accepted(None, reply=str(error), session_key=message.session_key)
        await self._database.run(self._answered, key, message.route if post else None, accepted)
        return accepted

    def _answered(self, tx: Transaction, key: str, route: Route | None, accepted: Accepted) -> None:
        idempotency.remember(tx, key, "", {"reply": accepted.reply})
        if route is not None and accepted.reply:
            self._reply(tx, route, accepted)

    def _reply(self, tx: Transaction, route: Route, accepted: Accepted) -> None:
        session = sessions.by_key(tx, accepted.session_key) if accepted.session_key else None
        self._posting.reply(tx, session, route.to_json(), accepted.reply or "")

    @asynccontextmanager
    async def _once(self, key: str) -> AsyncGenerator[bool]:
        """Lets one of several events with this key through at a time; says whether it has been answered."""
        while (other := self._answering.get(key)) is not None:
            await other.wait()
        done = self._answering[key] = asyncio.Event()
        try:
            yield await self._database.read(idempotency.recall, key, "") is not None
        finally:
            del self._answering[key]
            done.set()

    # ---- decisions ----

    def _take(self, tx: Transaction, incoming: Incoming, kept: tuple[Attachment, ...]) -> Accepted:
        judged = self._judge_or_pair(tx, incoming)
        if judged.verdict is not Verdict.ALLOW:
            return IGNORED
        message = replace(judged.message, attachments=kept)
        if not message.private:  # several people speak here: the model must know who
            message = replace(message, text=f"{capped(message.sender.name or message.sender.id, 80)}: {message.text}")
        try:
            if judged.bound:
                return self._guests.take(tx, message)
            return self._queues.accept(tx, message)
        except NotAccepted as error:
            return Accepted(None, reply=str(error))

    def _workspace(self, message: InboundMessage) -> Path:
        return agent_of(self._config(), message.session_key.split(":")[1]).workspace

    def _judge_or_pair(self, tx: Transaction, incoming: Incoming) -> Judged:
        judged = self._judge(tx, incoming)
        if judged.verdict is Verdict.PAIR:
            self._invite(tx, incoming)
        return judged

    def _judge(self, tx: Transaction, incoming: Incoming) -> Judged:
        config, route = self._config(), incoming.route
        names = chats.names(tx, route)
        owner = access.is_owner(config.owners, route.channel, incoming.peer)
        key = conversation_key(
            incoming, config.session.dm_scope, access.agent_for(config, incoming, names), owner=owner
        )
        guest = self._guests.of_thread(tx, route)
        verdict = access.judge(
            config.channels.policy(route.channel, route.account),
            incoming,
            names,
            owner=owner,
            paired=people.approved(tx, route.channel, route.account, incoming.peer),
            takes_part=guest is not None or sessions.by_key(tx, key) is not None,
        )
        sender = Sender(f"{route.channel}:{incoming.peer}", capped(incoming.peer_name, 80), owner=owner)
        message = InboundMessage(
            route,
            guest.key if guest else key,
            incoming.text,
            sender,
            incoming.dedupe_key,
            message_id=incoming.message_id,
            private=incoming.kind == "direct",
        )
        return Judged(verdict, message, guest is not None)

    def _invite(self, tx: Transaction, incoming: Incoming) -> None:
        """Tells a stranger his code, unless he has just been told or too many wait."""
        route = incoming.route
        person = people.ask(tx, route.channel, route.account, incoming.peer, incoming.peer_name)
        if person is not None:
            text = (
                "👋 I don't know you yet. An owner can let you in with:\n"
                f"```\nlaneway pairing approve {person.code}\n```\nThe code is valid for an hour."
            )
            self._posting.reply(tx, None, route.to_json(), text)


def _change(tx: Transaction, dedupe: str, text: str | None) -> bool:
    row = inbox.find(tx, dedupe)
    if row is None or row.state != "pending":
        return False
    if text is None:
        inbox.drop(tx, row)
    else:
        who = f"{row.sender}: "
        inbox.reword(tx, row, who + text if row.text.startswith(who) else text)
    return True


def _same_place(stored: Route, pressed: Route) -> bool:
    """Whether a button is pressed where it was posted. Not every platform tells the thread."""
    same = replace(stored, thread=None) == replace(pressed, thread=None)
    return same and pressed.thread in (None, stored.thread)

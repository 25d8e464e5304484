"""Intake: how a message of a person gets into a session, or a slash command gets its answer.

A message is accepted once: its dedupe key is unique, and it is committed before the channel is told. What happens to a
message that comes while a session works is the queue mode's to say (spec/channels.md 4).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gateway.agent.steps import Steps
from gateway.commands.base import Command, CommandContext, CommandError
from gateway.config import Config
from gateway.events import EventLog
from gateway.lanes.base import FRESH, RESUMED, Lanes
from gateway.metrics import Metrics
from gateway.routes import Accepted, InboundMessage
from gateway.store import inbox, sessions
from gateway.store.database import Database, Transaction
from gateway.store.sessions import Session
from gateway.views import capped, iso, route_json

if TYPE_CHECKING:
    from gateway.app import Gateway

KEY = re.compile(r"agent:(?P<agent>[a-z0-9][a-z0-9_-]{0,63}):[^\s]{1,400}")
COMMAND = re.compile(r"/([a-zA-Z][\w-]*)(?:@\S+)?(?:\s+|$)")

log = logging.getLogger(__name__)


class NotAccepted(Exception):
    """The message can't be accepted; the text says why and what would be right."""


@dataclass(frozen=True, slots=True)
class Queues:
    """Puts messages into inboxes. Its methods are units of work."""

    steps: Steps
    lanes: Lanes
    events: EventLog
    config: Callable[[], Config]
    due: Callable[[int], None]
    """Tells the alarm that a row has been put off until then (milliseconds)."""

    def accept(self, tx: Transaction, message: InboundMessage) -> Accepted:
        """Commits a message to its session's inbox, creating the session if need be."""
        known = inbox.find(tx, message.dedupe_key)
        if known is not None:
            return Accepted(known.id, duplicate=True, session_key=message.session_key)
        session = self.session(tx, message.session_key, owned=message.sender.owner and message.private)
        mode = session.queue_mode or self.config().messages.queue.mode
        notice = self._make_room(tx, session, message)
        if notice is not None and self.config().messages.queue.drop == "new":
            return Accepted(None, reply=notice, session_key=session.key)
        row, _ = inbox.put(
            tx,
            session.id,
            "user",
            message.dedupe_key,
            message.text,
            route=message.route.to_json(),
            sender=message.sender.name or message.sender.id,
            sender_id=message.sender.id,
            message_id=message.message_id,
            attachments=[asdict(item) for item in message.attachments] or None,
        )
        sessions.change(tx, session.id, last_route=message.route.to_json(), needs_user=False)
        self.tell(tx, session, row, message)
        if mode == "collect":
            quiet = tx.now + self.config().messages.queue.debounce_ms
            inbox.postpone(tx, session.id, quiet)
            tx.after_commit(lambda: self.due(quiet))
            return Accepted(row.id, reply=notice, session_key=session.key)
        if mode == "interrupt":
            self.steps.stop_turn(tx, session, "interrupted by a newer message of the user")
        self.lanes.enqueue(tx, session.lane, session.id, RESUMED if session.turn_seq else FRESH)
        return Accepted(row.id, reply=notice, session_key=session.key)

    def session(self, tx: Transaction, key: str, *, owned: bool) -> Session:
        """The session that a key names, created if there is none.

        Raises:
            NotAccepted: the key isn't one that people may write to.
        """
        found = sessions.hold_by_key(tx, key)
        if found is not None:
            if found.kind != "main":
                raise NotAccepted(
                    f"{key} is a sub-agent's session; write to it with /subagents send or steer, "
                    "or POST /api/runs/{id}/send"
                )
            return found
        match = KEY.fullmatch(key)
        if match is None or ":subagent:" in key:
            raise NotAccepted(
                f"`{capped(key, 80)}` is not a session key; one looks like agent:<agentId>:main, "
                f"and the agents are: {', '.join(self.config().agent_ids())}"
            )
        agent_id = match["agent"]
        if agent_id not in self.config().agent_ids():
            raise NotAccepted(f"no agent `{agent_id}` is configured; there are: {', '.join(self.config().agent_ids())}")
        return sessions.create(tx, key=key, agent_id=agent_id, owned=owned)

    def _make_room(self, tx: Transaction, session: Session, message: InboundMessage) -> str | None:
        """Applies the cap on a user's waiting messages; says what was dropped."""
        queue = self.config().messages.queue
        waiting = [row for row in inbox.pending(tx, session.id, due=False) if row.kind == "user"]
        if len(waiting) < queue.cap:
            return None
        if queue.drop == "new":
            return (
                f"{len(waiting)} messages are waiting already (messages.queue.cap); this one was not taken. "
                "/stop drops them."
            )
        oldest = waiting[0]
        inbox.drop(tx, oldest)
        if queue.drop == "summarize":
            began = capped(oldest.text, 200)
            text = f"(a message of the user was dropped because too many were waiting; it began: {began})"
            inbox.put(tx, session.id, "event", f"dropped:{oldest.id}", text, route=oldest.route)
        return f"Too many messages are waiting (messages.queue.cap {queue.cap}); dropped: “{capped(oldest.text, 80)}”"

    def tell(self, tx: Transaction, session: Session, row: inbox.Row, message: InboundMessage) -> None:
        """Shows a person's message to who watches."""
        self.events.append(
            tx,
            "message",
            {
                "sessionKey": session.key,
                "sessionId": session.id,
                "seq": None,
                "inboxId": row.id,
                "messageId": None,
                "role": "user",
                "text": message.text,
                "route": route_json(message.route.to_json()),
                "createdAt": iso(tx.now),
            },
            session_id=session.id,
            session_key=session.key,
        )


class Inbound:
    """Takes in what people say whose rights and sessions are known."""

    def __init__(
        self, gateway: Gateway, database: Database, queues: Queues, commands: Mapping[str, Command], metrics: Metrics
    ) -> None:
        self._gateway = gateway
        self._database = database
        self._queues = queues
        self._commands = commands
        self._metrics = metrics

    async def accept(self, message: InboundMessage) -> Accepted:
        """See `channel.Intake.accept`.

        Raises:
            NotAccepted: the session key leads nowhere.
        """
        command = COMMAND.match(message.text.strip())
        if command is not None:
            return await self._answer(message, command[1].lower(), message.text.strip()[command.end() :].strip())
        if not message.text.strip() and not message.attachments:
            raise NotAccepted("the message is empty")
        started = time.monotonic()
        accepted = await self._database.run(self._queues.accept, message)
        self._metrics.accepted(time.monotonic() - started)
        return accepted

    async def _answer(self, message: InboundMessage, name: str, rest: str) -> Accepted:
        command = self._commands.get(name)
        if command is None:
            return Accepted(
                None,
                reply=f"There is no command /{name}. /help lists those there are.",
                session_key=message.session_key,
            )
        if command.operator and not message.sender.owner:
            return Accepted(
                None,
                reply=f"/{name} is for owners; an owner is listed under `owners` in the configuration.",
                session_key=message.session_key,
            )
        context = CommandContext(
            self._gateway,
            message.session_key,
            message.route,
            message.sender,
            message.dedupe_key,
            private=message.private,
        )
        try:
            reply = await command.run(context, rest)
        except (CommandError, NotAccepted) as error:
            return Accepted(None, reply=str(error), details={"error": str(error)}, session_key=message.session_key)
        return Accepted(None, reply=reply.text, details=reply.details, session_key=message.session_key)

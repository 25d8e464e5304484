"""Rooms: threads of their own for sub-agents, opened by a spawn or given by hand (spec/channels.md, thread-bound).

Opening a thread is an effect on a platform, so that it comes before the spawn's transaction: it is noted first, done,
and noted as done. The transaction that creates the sub-agent binds the thread; a spawn that is refused after all takes
it back. A crash in between finds the note, and opens none that may be open without asking the platform or marking it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from gateway import failpoints
from gateway.channel import Channel, DeliveryError, Opening
from gateway.commands.base import Command, CommandContext, CommandError, CommandReply
from gateway.guests import CannotBind
from gateway.plugins import Registry
from gateway.routes import Route
from gateway.store import runs, sessions, threads
from gateway.store.database import Transaction
from gateway.store.sessions import Session
from gateway.tools.base import ToolContext, ToolResult
from subagents import targets, texts
from subagents.admission import Refused, Requester, SpawnArguments, admit, label_of
from subagents.viewers import viewer_of

PATIENCE_SECONDS = 20.0
"""How long a spawn waits for a platform in trouble before its call says that there is no thread."""
FIRST_RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


class Rooms:
    """Opens threads, and gives them to sub-agents."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def open(self, context: ToolContext, args: SpawnArguments) -> ToolResult | None:
        """Before a spawn: opens the thread that it asks for; returns why there can be none, as the call's result."""
        if not args.thread:
            return None
        gateway = self._registry.gateway
        key = opening_key(context)
        try:
            route, known = await gateway.database.run(self._begin, context, args, key)
            if known.opened is not None:
                return None
            opening = Opening(
                route,
                label_of(args),
                texts.room_text(label_of(args), args.task),
                key,
                recovered=known.created_at < gateway.started_at,
                created_at=known.created_at,
            )
            failpoints.hit("effect:open_thread")
            made = await _opened(gateway.registry.channels[route.channel], opening)
            failpoints.hit("effected:open_thread")
        except Refused as refused:
            return texts.refusal(str(refused), refused.status)
        except DeliveryError as error:
            if not error.uncertain:
                await gateway.database.run(threads.forget_opening, key)
            return texts.refusal(f"the thread couldn't be opened: {error}", "error")
        await gateway.database.run(threads.opened, key, made.to_json())
        return None

    async def undo(self, context: ToolContext, args: SpawnArguments) -> None:
        """After a spawn that was refused: takes the thread back that was opened for it."""
        if not args.thread:
            return
        gateway = self._registry.gateway
        known = await gateway.database.read(threads.find_opening, opening_key(context))
        if known is None or known.opened is None:
            return
        route = Route.from_json(known.opened)
        try:
            await gateway.registry.channels[route.channel].close_thread(route)
        except DeliveryError as error:
            log.warning("session %s: an empty thread is left behind: %s", context.session_key, error)
        await gateway.database.run(threads.forget_opening, known.key)

    def move_in(self, tx: Transaction, key: str, session: Session, by: str) -> None:
        """In the spawn's transaction: the thread that was opened belongs to the new session.

        Raises:
            Refused: none was opened.
        """
        known = threads.find_opening(tx, key)
        if known is None or known.opened is None:
            raise Refused(NO_THREADS)
        self._registry.gateway.guests.bind(tx, session, Route.from_json(known.opened), by)
        threads.forget_opening(tx, key)

    def _begin(
        self, tx: Transaction, context: ToolContext, args: SpawnArguments, key: str
    ) -> tuple[Route, threads.Opening]:
        """Checks whether the spawn would be admitted, and notes that its thread is about to be opened."""
        session = sessions.owned(tx, context.session_id, context.fence)
        run = runs.find(tx, session.run_id) if session.run_id else None
        gateway = self._registry.gateway
        admit(gateway.config, tx, Requester(session, run, session.turn_route, context.assistant_seq - 1), args)
        if session.turn_route is None or not gateway.posting.capabilities(session.turn_route).threads:
            raise Refused(NO_THREADS)
        return Route.from_json(session.turn_route), threads.begin_opening(tx, key, session.turn_route)

    # ---- commands ----

    async def focus(self, context: CommandContext, rest: str) -> CommandReply:
        """`/focus <target>`: gives the thread that it is typed in to a sub-agent."""
        return await context.gateway.database.run(self._focus, context, rest)

    async def unfocus(self, context: CommandContext, rest: str) -> CommandReply:
        """`/unfocus`, `/unbind`: gives the thread back."""
        if rest:
            raise CommandError("Usage: /unbind, in the thread that is to be given back")
        return await context.gateway.database.run(self._unfocus, context)

    def _focus(self, tx: Transaction, context: CommandContext, rest: str) -> CommandReply:
        run = targets.resolve(tx, viewer_of(tx, context), rest)
        session = sessions.find(tx, run.session_id)
        if session is None:
            raise CommandError(texts.archived(run))
        try:
            self._registry.gateway.guests.bind(tx, session, context.route, context.sender.id)
        except CannotBind as error:
            raise CommandError(f"It can't have this place: {error}") from None
        # Given by hand it stays until it is taken back by hand, whatever the spawn had asked for.
        runs.change(tx, session.run_id or run.id, mode="session", cleanup="keep")
        return CommandReply(
            f"🧵 This thread is {texts.name_of(run)}'s now: what you write here goes to it. /unfocus gives it back.",
            {"runId": run.id, "sessionKey": session.key},
        )

    def _unfocus(self, tx: Transaction, context: CommandContext) -> CommandReply:
        session = self._registry.gateway.guests.unbind(tx, context.route.to_json())
        if session is None:
            raise CommandError("This thread belongs to no sub-agent. /focus <target> gives it to one.")
        return CommandReply("🧵 This thread is given back; what you write here goes to the assistant.")


async def _opened(channel: Channel, opening: Opening) -> Route:
    """Opens a thread; what may pass (429, 502) is waited out for a while (spec/channels.md 6).

    Raises:
        DeliveryError: it can't be opened, or not soon enough.
    """
    now = asyncio.get_running_loop().time
    until, backoff = now() + PATIENCE_SECONDS, FIRST_RETRY_SECONDS
    while True:
        try:
            return await channel.open_thread(opening)
        except DeliveryError as error:
            pause = backoff if error.retry_after is None else error.retry_after
            if error.permanent or now() + pause > until:
                raise
            opening = replace(opening, recovered=opening.recovered or error.uncertain)
        await asyncio.sleep(pause)
        backoff *= 2


NO_THREADS = (
    "`thread: true` needs a place where a thread can be opened (a Slack channel, a Telegram group with topics); "
    "this conversation has none. Leave it out: the result is announced here in any case"
)


def opening_key(context: ToolContext) -> str:
    """Stands for the thread of one spawn call, over retries."""
    return f"{context.session_id}:{context.assistant_seq}:{context.call_index}"


def room_commands(rooms: Rooms) -> tuple[Command, ...]:
    """`/focus`, `/unfocus` and `/unbind`."""
    return (
        Command("focus", "<target>", "give this thread to a sub-agent", rooms.focus),
        Command("unfocus", "", "give this thread back to the assistant", rooms.unfocus),
        Command("unbind", "", "the same for a thread that was opened for a sub-agent", rooms.unfocus),
    )

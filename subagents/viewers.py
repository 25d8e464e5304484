"""Who looks at sub-agents from a chat."""

from __future__ import annotations

from gateway.commands.base import CommandContext
from gateway.store import sessions
from gateway.store.database import Transaction
from subagents.scope import Viewer


def viewer_of(tx: Transaction, context: CommandContext) -> Viewer:
    """Who looks from where; a conversation in which nothing has been said yet is begun."""
    session = sessions.by_key(tx, context.session_key)
    if session is None:
        session = context.gateway.queues.session(tx, context.session_key, owned=context.owned)
    return Viewer(session, context.sender.id)

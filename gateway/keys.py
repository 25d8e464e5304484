"""Session keys: one pure function makes the key of every conversation on a platform (spec/channels.md 3)."""

from __future__ import annotations

import re
from typing import Literal

from gateway.routes import Incoming

DmScope = Literal["auto", "main", "per-peer", "per-channel-peer"]
_UNFIT = re.compile(r"[^\w.@+-]+")


def conversation_key(incoming: Incoming, scope: DmScope, agent_id: str, *, owner: bool) -> str:
    """The conversation that a message belongs to.

    Args:
        incoming: the message.
        scope: `session.dmScope`; `auto` is `main` for owners and `per-channel-peer` for everybody else.
        agent_id: who answers.
        owner: who writes is one of `owners`.
    """
    route = incoming.route
    if incoming.kind == "direct":
        key = direct_key(scope, agent_id, route.channel, incoming.peer, owner=owner)
    else:
        key = f"agent:{agent_id}:{route.channel}:{incoming.kind}:{_fit(route.chat)}"
    if route.thread is None:
        return key
    return f"{key}:{'topic' if incoming.topics else 'thread'}:{_fit(route.thread)}"


def direct_key(scope: DmScope, agent_id: str, channel: str, peer: str, *, owner: bool) -> str:
    """The conversation of one person who writes directly; the arguments are those of `conversation_key`."""
    if scope == "main" or (scope == "auto" and owner):
        return f"agent:{agent_id}:main"
    name = _fit(peer)
    return f"agent:{agent_id}:dm:{name}" if scope == "per-peer" else f"agent:{agent_id}:{channel}:dm:{name}"


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)[:100] or "_"

"""Session keys: one pure function for each kind of conversation (spec/channels.md 3)."""

from __future__ import annotations

import re
from typing import Literal

DmScope = Literal["auto", "main", "per-peer", "per-channel-peer"]
_UNFIT = re.compile(r"[^\w.@+-]+")


def direct_key(scope: DmScope, agent_id: str, channel: str, peer: str, *, owner: bool) -> str:
    """The conversation of one person who writes directly.

    Args:
        scope: `session.dmScope`; `auto` is `main` for owners and `per-channel-peer` for everybody else.
        agent_id: who answers.
        channel: where he writes.
        peer: his id there.
        owner: he is one of `owners`.
    """
    if scope == "main" or (scope == "auto" and owner):
        return f"agent:{agent_id}:main"
    name = _UNFIT.sub("_", peer)[:100] or "_"
    return f"agent:{agent_id}:dm:{name}" if scope == "per-peer" else f"agent:{agent_id}:{channel}:dm:{name}"

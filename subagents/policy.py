"""Which tools a child has (spec/subagents.md 11).

A deny-list by default; where it may nest, it gets the tools back that control its own children. The configured
`tools.subagents.tools.deny` always wins, and `.allow` can't restore what is denied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.config import Config
from gateway.lifecycle import agent_of
from gateway.store.sessions import Session
from gateway.tools import policy

DENIED: Final = frozenset(
    {
        "sessions_list",
        "sessions_history",
        "sessions_send",
        "sessions_spawn",
        "fanout",
        "subagents",
        "gateway",
        "agents_list",
        "whatsapp_login",
        "session_status",
        "cron",
        "memory_search",
        "memory_get",
        "message",
    }
)
"""Session management, system administration and memory: the main agent's business."""
NESTING: Final = frozenset({"sessions_spawn", "fanout", "sessions_list", "sessions_history", "subagents"})
"""What a child gets back where it may have children of its own."""


def denied_tools(config: Config, session: Session, known: Iterable[str]) -> frozenset[str]:
    """The tools that a child doesn't get.

    Args:
        config: the configuration.
        session: the child's.
        known: names of all tools.
    """
    lists = config.tools.subagents.tools
    may_nest = session.depth < agent_of(config, session.agent_id).subagents.max_spawn_depth
    denied = DENIED - NESTING if may_nest else DENIED
    names = frozenset(known)
    refused = policy.matching(names, lists.deny)
    unlisted = names - policy.matching(names, lists.allow) if lists.allow is not None else frozenset[str]()
    return denied | refused | unlisted

"""Which tools a session gets: profile, allow-list, deny-list, and whether its person is an owner.

Pure functions over names. What depends on the configuration only is computed once for each agent (`grant`). Deny
always wins; an allow-list, where there is one, is allow-only (spec/subagents.md 11). Names are compared without
regard to case; a name may be a group (`group:fs`) or a pattern (`sessions_*`, `*`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from gateway.config import Agent, Config
from gateway.tools.base import Tool

_GROUPS: dict[str, tuple[str, ...]] = {
    "group:fs": ("read", "write", "edit", "ls", "glob", "grep"),
    "group:runtime": ("exec",),
    "group:web": ("web_fetch",),
    "group:memory": ("memory_search", "memory_get"),
    "group:sessions": (
        "sessions_list",
        "sessions_history",
        "sessions_send",
        "sessions_spawn",
        "session_status",
        "subagents",
        "agents_list",
    ),
}
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(_GROUPS)

PROFILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "full": ("*",),
        "coding": ("group:fs", "group:runtime", "group:web", "group:memory", "group:sessions"),
        "minimal": ("session_status",),
    }
)
"""What each profile begins with. Only `full` has the tools of other plugins; `allow` can't add to a profile."""


@dataclass(frozen=True, slots=True)
class Lists:
    """One allow-list (None: everything) and one deny-list, of names, groups and patterns."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What an agent's policy gives, before anything that only one session knows."""

    owner: frozenset[str]
    """To sessions of owners."""
    other: frozenset[str]
    """To all other sessions."""

    def of(self, *, owner: bool, denied: Iterable[str] = ()) -> frozenset[str]:
        """The tools of one session.

        Args:
            owner: the session belongs to an owner.
            denied: names, groups and patterns that it doesn't get, such as the deny-list of sub-agents.
        """
        names = self.owner if owner else self.other
        taken = matching(names, denied)
        return names - taken if taken else names


def grant(tools: Iterable[Tool[Any]], config: Config, agent: Agent) -> Grant:
    """The policy of one agent, with the shared one."""
    offered = {tool.name: tool for tool in tools}
    own = agent.settings.tools
    names = granted(
        offered, agent.tools.profile, Lists(config.tools.allow, config.tools.deny), Lists(own.allow, own.deny)
    )
    return Grant(names, frozenset(name for name in names if not offered[name].owners_only))


def granted(names: Iterable[str], profile: str, *lists: Lists) -> frozenset[str]:
    """What a profile and any number of lists leave of `names`; every list must agree."""
    known = frozenset(names)
    left = matching(known, PROFILES[profile])
    for one in lists:
        if one.allow is not None:
            left &= matching(known, one.allow)
        left -= matching(known, one.deny)
    return left


def matching(names: Iterable[str], entries: Iterable[str]) -> frozenset[str]:
    """Those of `names` that an entry means: itself, its group, or its pattern."""
    patterns = _expanded(entries)
    if not patterns:
        return frozenset()
    return frozenset(name for name in names if any(fnmatchcase(name.casefold(), pattern) for pattern in patterns))


def unnamed(tools: Iterable[Tool[Any]], entries: Iterable[str]) -> frozenset[str]:
    """Tools that sub-agents have by name only, and that no entry names in full."""
    named = {entry.strip().casefold() for entry in entries}
    return frozenset(tool.name for tool in tools if tool.by_name_only and tool.name.casefold() not in named)


def vague(tools: Mapping[str, Tool[Any]], entries: Iterable[str]) -> tuple[str, ...]:
    """Entries that mean nothing but tools that would have to be named in full."""
    found: list[str] = []
    for entry in entries:
        meant = matching(tools, (entry,))
        if meant and meant <= unnamed((tools[name] for name in meant), (entry,)):
            found.append(entry)
    return tuple(found)


def unknown(names: Iterable[str], entries: Iterable[str]) -> tuple[str, ...]:
    """Entries that mean no tool that there is; for warnings only, since other programs' lists are read here too."""
    known = frozenset(names)
    return tuple(entry for entry in entries if not matching(known, (entry,)))


def warnings(tools: Iterable[str], config: Config, agents: Iterable[Agent]) -> tuple[str, ...]:
    """A sentence for each list of the configuration that names tools which don't exist."""
    known = frozenset(tools)
    shared = config.tools
    lists = {
        "tools.allow": shared.allow or (),
        "tools.deny": shared.deny,
        "tools.subagents.tools.allow": shared.subagents.tools.allow or (),
        "tools.subagents.tools.deny": shared.subagents.tools.deny,
    }
    for agent in agents:
        lists[f"tools.allow of agent {agent.id}"] = agent.settings.tools.allow or ()
        lists[f"tools.deny of agent {agent.id}"] = agent.settings.tools.deny
    return tuple(
        f"{place}: there is no tool {', '.join(missing)}; there are {', '.join(sorted(known))}"
        for place, entries in lists.items()
        if (missing := unknown(known, entries))
    )


def _expanded(entries: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for entry in entries:
        name = entry.strip().casefold()
        found.update(GROUPS.get(name, (name,)))
    return frozenset(found)

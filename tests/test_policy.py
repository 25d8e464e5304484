"""Which tools a session gets."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, Paths, parse_config
from gateway.tools import policy
from gateway.tools.core import core_tools
from gateway.tools.policy import GROUPS, Lists, granted, matching, unknown
from gateway.tools.web import Fetcher

TOOLS = core_tools(Fetcher())
NAMES = frozenset(tool.name for tool in TOOLS) | set(GROUPS["group:sessions"]) | {"weather"}
OWNERS_ONLY = {"exec", "memory_search", "memory_get"}


NONE: frozenset[str] = frozenset()
CASES: list[tuple[str, list[Lists], Set[str]]] = [
    ("full", [], NAMES),
    ("coding", [], NAMES - {"weather"}),
    ("minimal", [], {"session_status"}),
    ("minimal", [Lists(allow=("read",))], NONE),
    ("full", [Lists(deny=("group:fs", "EXEC"))], NAMES - set(GROUPS["group:fs"]) - {"exec"}),
    ("full", [Lists(allow=("Read", "group:WEB"))], {"read", "web_fetch"}),
    ("full", [Lists(allow=("group:fs",)), Lists(allow=("read", "exec"))], {"read"}),
    ("full", [Lists(allow=("*",), deny=("*",))], NONE),
    ("full", [Lists(allow=("read",), deny=("read",))], NONE),
    ("full", [Lists(deny=("read",)), Lists(allow=("read", "ls"))], {"ls"}),
    ("full", [Lists(allow=("sessions_*",))], {name for name in NAMES if name.startswith("sessions_")}),
    ("full", [Lists(allow=())], NONE),
    ("full", [Lists(deny=("browser", "group:nothing"))], NAMES),
]


@pytest.mark.parametrize(("profile", "lists", "expected"), CASES)
def test_profiles_and_lists(profile: str, lists: list[Lists], expected: Set[str]) -> None:
    assert granted(NAMES, profile, *lists) == expected


names = st.lists(st.sampled_from([*sorted(NAMES), *GROUPS, "*", "sessions_*", "nonsense", "READ"])).map(tuple)


@given(st.none() | names, names, st.none() | names, names)
def test_deny_always_wins_and_lists_only_narrow(
    allow: tuple[str, ...] | None, deny: tuple[str, ...], second: tuple[str, ...] | None, also: tuple[str, ...]
) -> None:
    first = granted(NAMES, "full", Lists(allow, deny))
    both = granted(NAMES, "full", Lists(allow, deny), Lists(second, also))
    assert both <= first <= NAMES
    assert not both & matching(NAMES, (*deny, *also))
    assert both == granted(NAMES, "full", Lists(second, also), Lists(allow, deny))


def config(tmp_path: Path, **sections: object) -> Config:
    return parse_config(sections, paths=Paths(tmp_path))


def test_an_agent_gets_what_both_lists_agree_on(tmp_path: Path) -> None:
    settings = config(
        tmp_path,
        tools={"allow": ["group:fs", "exec"], "deny": ["write"]},
        agents={"list": [{"id": "main", "tools": {"allow": ["read", "write", "exec", "web_fetch"]}}, {"id": "b"}]},
    )
    main = policy.grant(TOOLS, settings, settings.agent("main"))
    assert main.of(owner=True) == {"read", "exec"}
    assert main.of(owner=False) == {"read"}
    assert main.of(owner=True, denied=("EXE*",)) == {"read"}
    assert policy.grant(TOOLS, settings, settings.agent("b")).other == set(GROUPS["group:fs"]) - {"write"}


def test_only_owners_run_commands_and_search_memory(tmp_path: Path) -> None:
    settings = config(tmp_path)
    grant = policy.grant(TOOLS, settings, settings.agent("main"))
    assert grant.owner - grant.other == OWNERS_ONLY


def test_unknown_names_are_warnings(tmp_path: Path) -> None:
    assert unknown(NAMES, ("read", "browser", "group:fs", "x_*")) == ("browser", "x_*")
    settings = config(tmp_path, tools={"subagents": {"tools": {"deny": ["browser", "firecrawl"]}}})
    warnings = policy.warnings(NAMES, settings, [settings.agent("main")])
    assert len(warnings) == 1 and "tools.subagents.tools.deny: there is no tool browser, firecrawl" in warnings[0]

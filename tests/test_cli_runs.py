"""`laneway subagents …` against a running gateway (spec/subagents.md, Control)."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.tree import tree_lines
from gateway.client.records import Run
from tests.support.laneway import Home

PARALLEL = "spawn two sub-agents: one to count the Markdown files and another to list the headings"


@pytest.fixture
def home(tmp_path: Path) -> Generator[Home]:
    """A gateway with two sub-agents that have ended."""
    home = Home(tmp_path)
    home.run("init")
    with home.gateway():
        assert home.run("chat", "-m", PARALLEL, "--wait").code == 0
        yield home


def runs(home: Home) -> list[dict[str, Any]]:
    return home.run("subagents", "list", "--json").json["runs"]


def test_runs_are_listed_described_and_logged(home: Home) -> None:
    listed = runs(home)
    assert {run["label"] for run in listed} == {"Count the Markdown files", "List the headings"}
    table = home.run("subagents", "list").out
    assert all(run["sessionKey"] in table and run["runId"][:8] in table for run in listed)
    first = listed[0]
    for target in (first["runId"], first["runId"][:8], first["sessionKey"], first["label"]):
        info = home.run("subagents", "info", target)
        assert first["runId"] in info.out, info.err
    assert home.run("subagents", "info", "last", "--json").json["label"] in table
    log = home.run("subagents", "log", first["runId"], "--tools")
    assert "→" in log.out
    assert "→" not in home.run("subagents", "log", first["runId"]).out
    tree = home.run("subagents", "tree").out.splitlines()
    assert tree[0] == "agent:main:main"
    assert len(tree) == 3


def test_an_ambiguous_or_unknown_target_is_refused_with_candidates(home: Home) -> None:
    unknown = home.run("subagents", "info", "nothing")
    assert unknown.code != 0
    assert "laneway: " in unknown.err
    session = runs(home)[0]["requesterKey"]
    home.run("subagents", "retry", runs(home)[0]["runId"])
    same = home.run("subagents", "info", runs(home)[0]["label"], "--session", session)
    assert same.code == 2
    assert all(run["runId"][:8] in same.err for run in runs(home) if run["label"] == runs(home)[0]["label"])


def test_a_spawned_run_can_be_stopped(home: Home) -> None:
    spawned = home.run("subagents", "spawn", "main", "list the Markdown files", "--label", "mine", "--json")
    assert spawned.code == 0, spawned.err
    run_id = spawned.json["runId"]
    assert home.run("subagents", "info", run_id, "--json").json["label"] == "mine"
    stopped = home.run("subagents", "stop", run_id)
    assert stopped.out.strip() or stopped.err.strip()
    assert home.run("subagents", "stop", "all").code == 0


def test_the_tree_has_a_line_for_each_run() -> None:
    def run(run_id: str, parent: str | None, requester: str) -> Run:
        return Run(run_id=run_id, parent_run_id=parent, requester_key=requester, label=run_id, status="running")

    lines = tree_lines([run("a", None, "main"), run("b", "a", "child"), run("c", None, "main")])
    assert [line[:6] for line in lines] == ["main", "├─ 🔄 a", "│  └─ ", "└─ 🔄 c"]

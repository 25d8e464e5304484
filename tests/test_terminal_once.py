"""`laneway chat` for scripts: one message, a pipe, exit codes; inside a gateway of its own or of another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.laneway import Home

SPAWN = "spawn two sub-agents: one to count the Markdown files and another to list the headings"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_answer_is_printed_and_nothing_else(home: Home) -> None:
    done = home.run("chat", "-m", "hello")
    assert (done.code, done.err) == (0, "")
    assert "stand-in" in done.out
    assert not (home.state / "gateway.json").exists()


def test_a_running_gateway_is_used(home: Home) -> None:
    with home.gateway() as gateway:
        assert home.run("chat", "-m", "hello").code == 0
        assert home.run("status", "--json").json["pid"] == gateway.pid
        assert home.run("status", "--json").json["sessions"] == 1


def test_wait_goes_on_until_every_result_was_answered(home: Home) -> None:
    home.run("init")
    done = home.run("chat", "-m", SPAWN, "--wait", "--json")
    assert done.code == 0, done.err
    answer = done.json
    assert answer["status"] == "ok"
    assert {run["outcome"] for run in answer["runs"]} == {"ok"}
    assert len(answer["runs"]) == 2
    text = answer["text"].lower()
    assert "count the markdown files" in text
    assert "list the headings" in text


def test_without_wait_unfinished_sub_agents_are_named_and_go_on_at_the_next_start(home: Home) -> None:
    home.env["LANEWAY_DEMO_DELAY"] = "0.5"
    done = home.run("chat", "-m", SPAWN)
    assert done.code == 0
    assert "2 sub-agents pause" in done.err
    home.env["LANEWAY_DEMO_DELAY"] = "0"
    with home.gateway():
        assert home.run("chat", "-m", "hello", "--wait").code == 0
        runs = home.run("subagents", "list", "--json").json["runs"]
    assert [run["outcome"] for run in runs] == ["ok", "ok"]


def test_a_slash_command_is_answered_at_once(home: Home) -> None:
    done = home.run("chat", "-m", "/help")
    assert done.code == 0
    assert "/subagents" in done.out


def test_the_timeout_has_its_own_exit_code(home: Home) -> None:
    home.env |= {"LANEWAY_DEMO_DELAY": "5", "LANEWAY__GATEWAY__DRAIN_SECONDS": "0"}
    with home.gateway():
        done = home.run("chat", "-m", "list the Markdown files", "--timeout", "1", "--json")
    assert done.code == 3
    assert done.json["status"] == "timeout"
    assert "no answer within 1 s" in done.err


@pytest.mark.parametrize("line", [["--wait"], ["--json"], ["-m", "  "], ["-m", "x", "--timeout", "0"], ["--nonsense"]])
def test_usage_errors_exit_with_2(home: Home, line: list[str]) -> None:
    assert home.run("chat", *line).code == 2


def test_a_message_can_come_from_stdin(home: Home) -> None:
    done = home.run("chat", "-m", "-", "--session", "agent:main:other", "--json", stdin="hello\nyou\n")
    assert (done.code, done.json["sessionKey"]) == (0, "agent:main:other")


def test_a_session_key_that_is_none_is_refused(home: Home) -> None:
    done = home.run("chat", "-m", "hello", "--session", "nonsense")
    assert done.code == 1
    assert done.err.startswith("laneway: ")


def test_a_pipe_is_a_conversation_line_by_line(home: Home) -> None:
    home.run("init")
    done = home.run("chat", stdin=f"hello\n\n/status\n{SPAWN}\n")
    assert done.code == 0, done.err
    first, second = done.out.index("stand-in"), done.out.index("agent:main:main")
    assert first < second
    assert done.err.count("spawned") == 2
    assert done.err.count("completed") == 2
    with home.gateway():
        assert home.run("sessions", "list", "--json").json["sessions"][0]["idle"] is True


def test_quit_ends_a_pipe(home: Home) -> None:
    done = home.run("chat", stdin="/quit\nhello\n")
    assert (done.code, done.out) == (0, "")

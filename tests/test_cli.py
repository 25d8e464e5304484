"""The command line as people and scripts use it: real processes, exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.words import command_of
from gateway.starter import WORKSPACE_FILES
from tests.support.laneway import REPOSITORY, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", None),
        ("--help", None),
        ("start", "start"),
        ("--config start chat", "chat"),
        ("--config=x start --log-level info", "start"),
        ("chat -m start", "chat"),
    ],
)
def test_the_command_is_found_before_typer_is_loaded(line: str, command: str | None) -> None:
    assert command_of(line.split()) == command


def test_the_gateway_process_loads_no_terminal_libraries() -> None:
    code = (
        "import sys, gateway.cli.start, channels.terminal.plugin;"
        "print([m for m in ('typer', 'rich', 'prompt_toolkit', 'alembic', 'litellm', 'openai') if m in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "[]"


def test_version(home: Home) -> None:
    assert home.run("version").out == "laneway 0.1.0\n"
    assert home.run("version", "--json").json == {"version": "0.1.0"}


def test_help_names_every_command(home: Home) -> None:
    done = home.run("--help")
    assert done.code == 0
    names = "chat start status reload doctor init config sessions subagents outbox backup restore version"
    for name in names.split():
        assert f" {name} " in done.out, name


@pytest.mark.parametrize(
    "line",
    ["nonsense", "sessions nonsense", "status --nonsense", "subagents info", "outbox retry x", "start --nonsense"],
)
def test_a_wrong_command_line_exits_with_2(home: Home, line: str) -> None:
    assert home.run(*line.split()).code == 2


@pytest.mark.parametrize("line", ["status", "reload", "sessions list", "subagents list", "outbox list"])
def test_without_a_gateway_it_says_how_to_start_one(home: Home, line: str) -> None:
    done = home.run(*line.split())
    assert (done.code, done.out) == (1, "")
    assert f"no gateway is running on {home.state}" in done.err
    assert "laneway start" in done.err


def test_a_broken_configuration_is_named_with_its_line(home: Home) -> None:
    home.state.mkdir()
    (home.state / "config.json5").write_text('{\n  agents: { defaults: { modle: "x" } },\n}\n')
    for line in ("start", "chat -m hello", "init"):
        done = home.run(*line.split())
        assert done.code == 1
        assert "config.json5:2:" in done.err
        assert "model" in done.err


def test_init_writes_what_is_missing_and_overwrites_nothing(home: Home) -> None:
    first = home.run("init", "--json").json
    assert len(first["written"]) == len(WORKSPACE_FILES) + 1
    soul = home.state / "workspace" / "SOUL.md"
    soul.write_text("my own")
    soul.with_name("USER.md").unlink()
    second = home.run("init", "--json").json
    assert second["written"] == [str(soul.with_name("USER.md"))]
    assert soul.read_text() == "my own"
    assert home.run("config", "check").code == 0
    assert oct(home.state.stat().st_mode)[-3:] == "700"


def test_a_gateway_from_start_to_stop(home: Home) -> None:
    with home.gateway() as gateway:
        assert "http://127.0.0.1:" in gateway.line
        assert "demo/offline" in gateway.line
        assert str(home.state) in gateway.line
        status = home.run("status", "--json").json
        assert (status["pid"], status["offline"]) == (gateway.pid, True)
        assert str(gateway.pid) in home.run("status").out

        second = home.run("start")
        assert second.code == 1
        assert str(gateway.pid) in second.err

        assert home.run("reload").code == 0
        assert home.run("outbox", "list").out == "Nothing is waiting to be delivered.\n"
        assert home.run("sessions", "list").out == "No conversations yet.\n"
        os.kill(gateway.pid, signal.SIGTERM)
        assert gateway.process.wait(60) == 0


def test_reload_keeps_the_old_configuration_when_the_new_one_is_wrong(home: Home) -> None:
    with home.gateway():
        (home.state / "config.json5").write_text("{ agents: { list: 7 } }")
        done = home.run("reload")
        assert done.code == 1
        assert "config.json5:1:" in done.out
        (home.state / "config.json5").write_text("{ gateway: { port: 7990 } }")
        done = home.run("reload", "--json")
        assert done.code == 0
        assert done.json["reloaded"] is True


def test_sessions_are_listed_shown_and_exported(home: Home, tmp_path: Path) -> None:
    with home.gateway():
        assert home.run("chat", "-m", "hello there").code == 0
        listed = home.run("sessions", "list", "--json").json["sessions"]
        assert [session["key"] for session in listed] == ["agent:main:main"]
        assert "agent:main:main" in home.run("sessions", "list").out
        shown = home.run("sessions", "show")
        assert "user: hello there" in shown.out
        target = tmp_path / "talk.jsonl"
        assert home.run("sessions", "export", "-o", str(target)).code == 0
        rows = [json.loads(line) for line in target.read_text().splitlines()]
        assert [row["role"] for row in rows][:2] == ["user", "assistant"]
        assert home.run("sessions", "export").out == target.read_text()
        missing = home.run("sessions", "show", "agent:main:nothing")
        assert missing.code == 1
        assert "no such session" in missing.err


def test_another_configuration_file_is_used(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "other.json5"
    other.write_text('{ agents: { list: [{ id: "helper" }] } }')
    assert "helper" in home.run("--config", str(other), "doctor").out
    with home.gateway("--config", str(other)):
        done = home.run("--config", str(other), "chat", "-m", "hello", "--json")
        assert done.json["sessionKey"] == "agent:helper:main"


def test_a_closed_pipe_is_no_error(home: Home) -> None:
    command = f"{sys.executable} -m gateway.cli config schema | head -1"
    done = subprocess.run(  # noqa: S603 - our own code
        ["/bin/sh", "-c", command], capture_output=True, text=True, env=home.environ(), cwd=home.folder, check=True
    )
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr

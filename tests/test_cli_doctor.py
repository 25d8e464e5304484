"""`laneway doctor`: what it finds, what it says to do, and that it changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway import doctor
from tests.support.laneway import Home
from tests.support.model_script import say
from tests.support.model_server import ScriptedModelServer


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def findings(home: Home, *more: str) -> list[dict[str, Any]]:
    return home.run("doctor", "--json", *more).json["findings"]


def about(found: list[dict[str, Any]], part: str) -> list[tuple[str, str]]:
    return [(finding["level"], finding["text"] + " " + finding["fix"]) for finding in found if finding["part"] == part]


def test_a_fresh_machine_is_in_order_and_stays_untouched(home: Home) -> None:
    done = home.run("doctor")
    assert done.code == 0
    assert "the offline demo answers" in done.out
    assert "✗" not in done.out
    assert not home.state.exists()


def test_a_running_gateway_is_named(home: Home) -> None:
    with home.gateway() as gateway:
        found = findings(home)
    assert about(found, "gateway")[0][1].startswith(f"running as process {gateway.pid}")
    assert "whole" in about(found, "database")[0][1]


def test_others_must_not_read_private_files(home: Home) -> None:
    with home.gateway():
        pass
    (home.state / "token").chmod(0o644)
    level, text = about(findings(home), "state folder")[1]
    assert (level, f"chmod 600 {home.state / 'token'}" in text) == ("warn", True)


def test_a_damaged_database_fails(home: Home) -> None:
    home.state.mkdir()
    (home.state / "laneway.db").write_bytes(b"no database at all, but long enough to be read" * 100)
    done = home.run("doctor")
    assert done.code == 1
    assert "✗ database" in done.out
    assert "laneway restore" in done.out


def test_every_problem_of_the_configuration_is_listed(home: Home) -> None:
    home.state.mkdir()
    (home.state / "config.json5").write_text("{\n  nonsense: 1,\n  gateway: { host: 7 },\n}")
    done = home.run("doctor", "--json")
    assert done.code == 1
    levels = about(done.json["findings"], "configuration")
    assert [level for level, _ in levels] == ["fail", "fail"]


def test_what_is_open_or_dear_gets_a_remark(home: Home) -> None:
    home.state.mkdir()
    (home.state / "config.json5").write_text(
        """{
          agents: { defaults: { subagents: { maxChildrenPerAgent: 21 } } },
          gateway: { host: "0.0.0.0" },
          tools: { exec: { sandbox: "off", ask: "off" } },
        }"""
    )
    found = findings(home)
    assert about(found, "network")[0][0] == "warn"
    assert "21" in about(found, "sub-agents")[0][1]
    assert [level for level, _ in about(found, "exec")] == ["warn", "warn"]
    assert "isn't confined" in about(found, "exec")[0][1]


def test_a_provider_without_a_key_fails(home: Home) -> None:
    home.state.mkdir()
    (home.state / "config.json5").write_text('{ agents: { defaults: { model: "anthropic/claude-sonnet-4-5" } } }')
    assert any(level == "fail" and "key" in text for level, text in about(findings(home), "providers"))
    home.env["ANTHROPIC_API_KEY"] = "sk-ant-test"
    found = findings(home)
    assert all(level == "ok" for level, _ in about(found, "providers"))
    assert "sk-ant-test" not in str(found)


def test_bad_releases_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(_name: str) -> str:
        return "1.82.8"

    monkeypatch.setattr(doctor, "version", installed)
    (finding,) = doctor.packages()
    assert (finding.level, "malicious" in finding.fix) == (doctor.Level.FAIL, True)


async def test_online_makes_one_tiny_call_to_each_provider(home: Home) -> None:
    async with ScriptedModelServer() as server:
        server.on(lambda request: say("ready") if request.model == "good" else None)
        home.state.mkdir()
        (home.state / "config.json5").write_text(
            f"""{{ models: {{ providers: {{
              good: {{ baseUrl: "{server.base_url}", apiKey: "k", api: "openai-completions",
                       models: [{{ id: "good" }}] }},
              gone: {{ baseUrl: "http://127.0.0.1:1/v1", apiKey: "k", api: "openai-completions",
                       models: [{{ id: "gone" }}] }},
            }} }} }}"""
        )
        found = await run_online(home)
        assert len(server.requests) == 1
    levels = {text.split()[0].rstrip(":"): level for level, text in about(found, "online")}
    assert levels == {"good/good": "ok", "gone": "fail"}


async def run_online(home: Home) -> list[dict[str, Any]]:
    return await asyncio.to_thread(findings, home, "--online")

"""The log of a process: its two formats, what a line is about, what it never holds, and what a reload changes."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway import logs
from gateway.config.server import LogConfig
from gateway.plugins import Plugin, Registry
from gateway.telemetry import context
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from tests.standins.otlp import Collector
from tests.support.job_kinds import WorkPlugin
from tests.support.laneway import Home
from tests.support.model_script import call
from tests.support.pilot import pilot
from tests.support.web_person import person

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
log = logging.getLogger("laneway.test")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process that was told to log has written; afterwards logging is as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(None)
    yield stream
    logs.forget()
    root.handlers[:], root.level = before


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    """The lines as JSON."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_for_people(written: io.StringIO) -> None:
    log.warning("post %s failed", 7, extra={"attempt": 2, "why": "no route"})
    log.info("not at this level")
    [line] = written.getvalue().splitlines()
    stamp, rest = line.split(" ", 1)
    assert stamp.endswith("Z") and len(stamp) == 20
    assert rest == "WARNING laneway.test: post 7 failed attempt=2 why='no route'"


async def test_a_line_as_json_says_what_it_is_about(written: io.StringIO) -> None:
    """Brief: each line with time, level, logger, message, session/run/job ids and trace id where known."""
    logs.follow(LogConfig(format="json", level="info"), str)

    async def work(name: str) -> None:
        logs.bind(session=name, run="r1", job=None)
        context.current.set(TRACE)
        await asyncio.sleep(0)
        log.info("at work", extra={"attempt": 2})

    await asyncio.gather(work("one"), work("two"))
    log.info("elsewhere")
    one, two, other = lines(written)
    assert (one["session"], two["session"]) == ("one", "two"), "each task has its own"
    assert set(one) == {"time", "level", "logger", "message", "session", "run", "trace", "attempt"}
    assert (one["level"], one["logger"], one["message"], one["run"]) == ("info", "laneway.test", "at work", "r1")
    assert (one["trace"], one["attempt"]) == ("0af7651916cd43dd8448eb211c80319c", 2)
    assert set(other) == {"time", "level", "logger", "message"}


@pytest.mark.parametrize("format", ["text", "json"])
def test_secrets_are_redacted_everywhere(written: io.StringIO, format: Any) -> None:
    """Brief: secrets redacted: in the message, in what stands beside it, and in a traceback."""
    logs.follow(LogConfig(format=format), lambda text: text.replace("sk-12345", "[redacted]"))
    try:
        {}["sk-12345"]
    except KeyError:
        log.exception("the key %s", "sk-12345", extra={"key": "sk-12345"})
    text = written.getvalue()
    assert "sk-12345" not in text
    assert text.count("[redacted]") >= 3
    assert "Traceback" in text


def test_the_command_line_s_level_goes_first(written: io.StringIO) -> None:
    logs.configure("error")
    logs.follow(LogConfig(level="debug"), str)
    log.warning("no")
    assert written.getvalue() == ""


class Broken:
    """A plugin with a tool that breaks."""

    name = "broken"

    def register(self, registry: Registry) -> None:
        """Registers it."""
        registry.tool(Tool(name="broken", description="Breaks.", args=ToolArguments, run=self._run))

    async def _run(self, _context: ToolContext, _args: ToolArguments) -> ToolResult:
        raise RuntimeError("the key scripted-key was refused")


async def test_a_gateway_s_lines_say_which_run_they_are_about(tmp_path: Path, written: io.StringIO) -> None:
    """Brief: session/run/job ids where known, secrets redacted; format and level follow a reload."""
    config = {"gateway": {"log": {"format": "json"}}}
    async with pilot(tmp_path, config=config, plugins={"broken": Broken()}) as p:
        p.on(reply=call("broken"), task="^t$", step=1)
        accepted = await p.spawn(task="t")
        run = await p.wait_run(accepted["runId"])
        [line] = lines(written)
        assert (line["level"], line["logger"]) == ("error", "gateway.agent.turn")
        assert (line["session"], line["run"], line["job"]) == (run["sessionKey"], run["runId"], "1")
        assert "[redacted]" in line["exception"] and "scripted-key" not in written.getvalue()
        p.configure({"gateway": {"log": {"format": "text", "level": "info"}}})
        assert (await p.post("/api/reload")).json["reloaded"]
        assert "INFO gateway.app: the configuration is reloaded" in written.getvalue()
        await p.wait_idle()


async def test_run_page_log_and_collector_name_one_trace(tmp_path: Path, written: io.StringIO) -> None:
    """Issue part 5: trace ids in logs and on the Run page are those under which the spans arrive, of sub-agents and of
    jobs alike."""
    plugins: dict[str, Plugin] = {"broken": Broken(), "work": WorkPlugin()}
    async with Collector() as collector, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        config = {"gateway": {"log": {"format": "json"}}, "telemetry": {"otlp": {"endpoint": collector.url}}}
        async with pilot(tmp_path, config=config, plugins=plugins) as p:
            p.on(reply=call("broken"), task="^t$", step=1)
            agent = (await p.spawn(task="t"))["runId"]
            job = (await p.post("/api/jobs", {"name": "work", "data": {"fail": 1}, "maxAttempts": 1})).json["runId"]
            who = await person(p, http)
            shown: dict[str, str] = {}
            for run in (agent, job):
                await p.wait_run(run)
                page = await who.get(f"/web/runs/{run}")
                [shown[run]] = re.findall(r"Trace id</dt><dd><code>([0-9a-f]{32})</code>", page.text)
            await p.wait_idle()
        logged = {line["run"]: line["trace"] for line in lines(written)}
        assert logged == shown and len(set(shown.values())) == 2
        for name, run in (("execute_tool broken", agent), ("run_job work", job)):
            assert [span.trace for span in collector.named(name)] == [shown[run]]


def test_laneway_start_logs_as_configured(tmp_path: Path) -> None:
    """Brief: applies to `laneway start`."""
    home = Home(tmp_path, {"LANEWAY__GATEWAY__LOG__FORMAT": "json", "LANEWAY__GATEWAY__LOG__LEVEL": "info"})
    home.run("init")
    with home.gateway() as running:
        assert home.run("reload").code == 0
        running.process.send_signal(signal.SIGTERM)
        _, errors = running.process.communicate(timeout=20)
    found = [json.loads(line) for line in errors.splitlines()]
    assert "the configuration is reloaded" in [line["message"] for line in found]

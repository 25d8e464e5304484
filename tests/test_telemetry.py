"""Traces: from a question over its sub-agents to the answer, over restarts, without text, and never in the way."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.telemetry import context, names
from tests.standins.otlp import Collector, Seen
from tests.support.chat_channel import ChatChannel, Verdict, chat_platform
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import Call, Tokens, call, calls, fail, say
from tests.support.pilot import REPORT, Pilot, merged, pilot
from tests.support.probes import Probes


def traced(collector: Collector, **settings: Any) -> dict[str, Any]:
    """A configuration that sends traces to the collector; a stop waits for the span of what has just ended."""
    return {
        "gateway": {"drainSeconds": 1},
        "telemetry": merged({"otlp": {"endpoint": collector.url}}, settings),
    }


@asynccontextmanager
async def watched(
    folder: Path, config: Mapping[str, Any] | None = None, **more: Any
) -> AsyncGenerator[tuple[Pilot, Collector]]:
    """A gateway whose traces arrive at a collector."""
    settings = dict(config or {})
    async with (
        Collector() as collector,
        pilot(folder, config=merged(traced(collector, **settings.pop("telemetry", {})), settings), **more) as p,
    ):
        yield p, collector


def below(spans: list[Seen], above: Seen) -> list[str]:
    """Names of the spans right below one, in the order of their beginnings."""
    return [span.name for span in spans if span.parent == above.id and span.trace == above.trace]


async def test_one_trace_from_the_question_to_the_answer(tmp_path: Path) -> None:
    """Issue part 5: spans for turn, model call, tool, spawn, announce; links parent → child across both."""
    async with watched(tmp_path) as (p, collector):
        p.on(reply=call("sessions_spawn", task="count"), user="^go$", turn_step=1)
        p.on(reply=say("the secret is 42", tokens=Tokens(500, 10), hold="child"), task="^count$")
        await p.say("go")
        await p.wait_said("ok")
        p.model.release("child")
        await p.wait_idle()
        await p.stop()
        spans = sorted(collector.spans, key=lambda span: (span.start, span.end))
        assert len({span.trace for span in spans}) == 1
        first, child, second = (span for span in spans if span.name == "invoke_agent main")
        [spawn], [announce] = collector.named("spawn"), collector.named("announce")
        [tool] = collector.named("execute_tool")
        assert first.parent == "" and set(below(spans, first)) == {"chat scripted", "execute_tool sessions_spawn"}
        assert tool.parent == first.id and spawn.parent == tool.id and child.parent == spawn.id
        assert set(below(spans, child)) == {"chat scripted", "announce"}
        assert announce.links == ((spawn.trace, spawn.id),)
        assert second.parent == announce.id
        [asked] = [span for span in spans if span.parent == child.id and span.name == "chat scripted"]
        assert asked.kind == 3, "a client's span"
        attributes = asked.attributes
        assert (attributes[names.OPERATION], attributes[names.PROVIDER]) == ("chat", "test")
        assert (attributes[names.INPUT_TOKENS], attributes[names.OUTPUT_TOKENS]) == (500, 10)
        assert attributes[names.COST] == pytest.approx(520e-6)
        assert attributes[names.FINISH_REASONS] == ["stop"]
        assert child.attributes[names.RUN_ID] == spawn.attributes[names.RUN_ID]
        assert asked.resource["service.name"] == "laneway"


async def test_the_trace_s_id_stands_with_the_run(tmp_path: Path) -> None:
    """Issue part 5: trace ids in logs and on the Run page."""
    async with watched(tmp_path) as (p, collector):
        accepted = await p.spawn(task="count")
        await p.wait_idle()
        run = await p.run(accepted["runId"])
        await collector.wait(lambda: collector.named("announce"))
        assert run["traceId"] == collector.named("spawn")[0].trace


async def test_no_text_of_anybody_is_recorded(tmp_path: Path) -> None:
    """Brief: no prompt or completion text unless `telemetry.captureContent`."""
    async with watched(tmp_path, plugins={"probes": Probes()}) as (p, collector):
        p.on(reply=calls(Call("echo", {"text": "zebra"}), Call("echo", {"wrong": "zebra"}), text="zebra"), task="zebra")
        p.on(reply=say("zebra"), task="zebra", step=2)
        p.on(reply=fail(400, "zebra"), user=f"^zebra|{REPORT}")
        await p.spawn(task="zebra", label="zebra")
        await p.wait_idle()
        await p.say("zebra")
        await p.wait_idle()
        await p.stop()
        assert collector.named("execute_tool echo")
        assert any(span.failed for span in collector.named("chat"))
        assert "zebra" not in repr(collector.spans)


async def test_text_is_recorded_where_it_is_wanted_without_secrets(tmp_path: Path) -> None:
    config = {"telemetry": {"captureContent": True}}
    async with watched(tmp_path, config, plugins={"probes": Probes()}) as (p, collector):
        p.on(reply=call("echo", text="zebra"), user="^hello", turn_step=1)
        p.on(reply=say("zebra crossing"), user="^hello")
        await p.say("hello, my key is scripted-key")
        await p.wait_idle()
        await p.stop()
        asked, answered = collector.named("chat")
        assert json.loads(asked.attributes[names.OUTPUT_MESSAGES])[0]["parts"][0]["name"] == "echo"
        prompt = json.loads(answered.attributes[names.INPUT_MESSAGES])
        assert prompt[0]["role"] == "user"
        assert [part["type"] for message in prompt for part in message["parts"]][-1] == "tool_call_response"
        assert "zebra crossing" in answered.attributes[names.OUTPUT_MESSAGES]
        [tool] = collector.named("execute_tool")
        assert json.loads(tool.attributes[names.TOOL_ARGUMENTS]) == {"text": "zebra"}
        assert tool.attributes[names.TOOL_RESULT] == "zebra"
        assert "scripted-key" not in repr(collector.spans)


async def test_a_restart_goes_on_with_the_trace(tmp_path: Path) -> None:
    """Brief: trace context stored durably with run/inbox so that a restart continues the trace."""
    async with watched(tmp_path) as (p, collector):
        p.on(reply=say("never", hold="h"), task="^count$", once=True)
        accepted = await p.spawn(task="count")
        await p.wait_asked(lambda seen: seen.first_user == "count")
        before = (await p.run(accepted["runId"]))["traceId"]
        await p.restart()
        await p.wait_idle()
        assert (await p.run(accepted["runId"]))["traceId"] == before
        await p.stop()
        p.model.release("h")
        [turn] = [span for span in collector.named("invoke_agent") if names.RUN_ID in span.attributes]
        assert turn.trace == before and turn.attributes[names.CONTINUED] is True
        cut_off, answered = (span for span in collector.named("chat") if span.parent == turn.id)
        assert (cut_off.failed, cut_off.attributes[names.ERROR_TYPE]) == (True, "cancelled")
        assert not answered.failed and turn.start <= cut_off.start
        assert {span.trace for span in collector.spans} == {before}


async def test_a_turn_that_is_stopped_or_fails_says_so(tmp_path: Path) -> None:
    async with watched(tmp_path, {"gateway": {"drainSeconds": 10}}) as (p, collector):
        p.on(reply=fail(401, "no"), user="^fail$")
        await p.say("fail")
        await p.wait_idle()
        p.on(reply=say("never", hold="h"), user="^hang$")
        await p.say("hang")
        await p.wait_asked(lambda seen: seen.last_user == "hang")
        await p.command("/stop")
        await p.wait_idle()
        p.model.release("h")
        await p.stop()
        failed, stopped = collector.named("invoke_agent")
        assert (failed.failed, failed.attributes[names.ERROR_TYPE]) == (True, "model")
        assert stopped.attributes[names.ERROR_TYPE] == "stopped"
        assert failed.trace != stopped.trace, "each question begins a trace of its own"


async def test_a_delivery_belongs_to_its_turn(tmp_path: Path) -> None:
    async with chat_platform() as platform:
        channel = ChatChannel(platform.url)
        async with watched(tmp_path, plugins={"chat": channel}) as (p, collector):
            platform.verdicts.append(Verdict(500))
            await channel.receive("hello")
            await platform.wait_posts(2)
            await p.wait_until(lambda: any(event.type == "delivery" for event in p.events))
            await p.stop()
            [turn], [refused, taken] = collector.named("invoke_agent"), collector.named("deliver chat")
            assert refused.trace == taken.trace == turn.trace
            assert (refused.failed, refused.attributes[names.ERROR_TYPE]) == (True, "DeliveryError")
            assert [span.attributes[names.POST_ATTEMPT] for span in (refused, taken)] == [1, 2]
            assert turn.attributes[names.CHANNEL] == "chat"


async def test_a_caller_s_trace_goes_on(tmp_path: Path) -> None:
    given = context.root(1)
    async with watched(tmp_path) as (p, collector):
        made = await p.post("/api/jobs", {"name": "subagent", "data": {"task": "t"}}, headers={"traceparent": given})
        await p.wait_run(made.json["runId"])
        other = (await p.post("/api/jobs", {"name": "subagent", "data": {"task": "u"}})).json
        await p.wait_run(other["runId"])
        await p.stop()
        [spawn] = collector.named("spawn")
        assert (spawn.trace, spawn.parent) == (context.trace_id(given), context.span_id(given))
        own, foreign = (span.trace for span in collector.named("invoke_agent"))
        assert own == spawn.trace != foreign


async def test_jobs_are_traced_by_attempt(tmp_path: Path) -> None:
    async with watched(tmp_path, plugins={"work": WorkPlugin()}) as (p, collector):
        made = {"name": "work", "data": {"fail": 1, "children": 1}, "backoff": {"type": "fixed", "delayMs": 10}}
        job = (await p.post("/api/jobs", made)).json
        await p.wait_run(job["runId"])
        run = await p.run(job["runId"])
        await p.stop()
        attempts = collector.named("run_job work")
        assert [span.attributes[names.JOB_ATTEMPT] for span in attempts][:2] == [1, 2]
        assert attempts[0].attributes[names.ERROR_TYPE] == "RuntimeError"
        assert {span.trace for span in collector.spans} == {run["traceId"]}
        assert collector.named("spawn")[0].parent in {span.id for span in attempts}


@pytest.mark.parametrize("trouble", ["refuses", "hangs", "is away"])
async def test_a_collector_in_trouble_disturbs_nobody(
    tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Brief: exporter failures never disturb work."""
    async with watched(tmp_path, {"telemetry": {"otlp": {"headers": {"x-token": "collector-secret"}}}}) as (
        p,
        collector,
    ):
        collector.status = 400 if trouble == "refuses" else 200
        collector.hang = trouble == "hangs"
        if trouble == "is away":
            p.configure({"telemetry": {"otlp": {"endpoint": "http://127.0.0.1:9"}}})
            await p.restart()
        for text in ("one", "two"):
            await p.say(text)
            await p.wait_idle()
        if trouble == "refuses":
            await collector.wait(lambda: collector.headers)
            assert collector.headers[0]["x-token"] == "collector-secret"
        began = time.monotonic()
        await p.stop()
        assert time.monotonic() - began < 5
        assert p.said() == ["ok", "ok"]
        complaints = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(complaints) <= 2, [record.getMessage() for record in complaints]


async def test_of_a_sample_only_so_many_are_recorded(tmp_path: Path) -> None:
    async with watched(tmp_path, {"telemetry": {"sampleRatio": 0}}) as (p, collector):
        accepted = await p.spawn(task="count")
        await p.wait_idle()
        assert (await p.run(accepted["runId"]))["traceId"] is None
        await p.stop()
        assert collector.spans == []


async def test_without_the_library_everything_else_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Brief: an extra, `laneway[otlp]`."""
    monkeypatch.setitem(sys.modules, "gateway.telemetry.otlp", None)
    async with watched(tmp_path) as (p, collector):
        assert "laneway[otlp]" in caplog.text
        await p.say("hello")
        await p.wait_idle()
        assert p.said() == ["ok"]
        await p.stop()
        assert collector.headers == []


async def test_nothing_is_traced_where_nobody_asks_for_it(tmp_path: Path) -> None:
    async with pilot(tmp_path) as p:
        accepted = await p.spawn(task="count")
        await p.wait_idle()
        assert (await p.run(accepted["runId"]))["traceId"] is None
        assert not p.gateway.tracing.on


def test_the_gateway_doesn_t_import_the_library() -> None:
    """Brief: imported only if configured."""
    code = "import sys, gateway.app, gateway.cli.start; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"

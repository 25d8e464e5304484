"""The run's life against a small reference model (Hypothesis): whatever is done in whatever order, both agree.

Every child's model call hangs until the machine lets it go, so that the model of a run is exact: where it stands, how
it ended, and that it is announced once. The gateway is restarted in between, gracefully.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from tests.support.model_script import Seen, say
from tests.support.pilot import KEY, Json, Pilot, pilot, subagents

T = TypeVar("T")
CAP = 3
"""Runs of the lane at once."""
MOST = 6
"""Active children."""
NONE = cast("Any", multiple())
"""A rule that made nothing."""
FEW = 8
EXAMPLES = int(os.environ.get("LANEWAY_EXAMPLES", FEW))
"""How many lives are lived; more than a few are other ones each time."""


@dataclass
class Model:
    """What a run should be."""

    run_id: str
    session_key: str
    label: str
    outcome: str | None = None
    paused: bool = False
    told: list[str] = field(default_factory=list[str])
    """What it was told after its task, in order."""


class Lives(RuleBasedStateMachine):
    """Spawns, steers, pauses, resumes, stops, finishes, fails, times out, revives and restarts."""

    open_runs: Bundle[Model] = Bundle("open")
    ended_runs: Bundle[Model] = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="laneway-lives-"))
        self.count = 0
        self.models: list[Model] = []
        self.expected_posts = 0

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end."""
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        """Starts the gateway and its models."""
        config = subagents(maxConcurrent=CAP, maxChildrenPerAgent=MOST, archiveAfterMinutes=0)
        self.p: Pilot = self.wait(self.stack.enter_async_context(pilot(Path(self.folder), config=config)))
        self.p.on(self._answer, role="child")

    def _answer(self, seen: Seen) -> Any:
        return say(f"result of {seen.last_user}", hold=f"{seen.first_user}/{seen.last_user}")

    def teardown(self) -> None:
        """Stops everything; hanging calls are let go first."""
        self.wait(self.stack.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    # ------------------------------------------------------------------ what may happen

    @rule(target=open_runs)
    def spawn(self) -> Any:
        """A run is accepted, if a slot is free."""
        self.count += 1
        label = f"r{self.count}"
        answer = self.wait(self.p.post("/api/runs", {"sessionKey": KEY, "task": label, "label": label}))
        if len(self.active) >= MOST:
            assert answer.status >= 400, answer.text
            assert f"{MOST}/{MOST}" in answer.text
            return NONE
        accepted: Json = answer.json
        model = Model(accepted["runId"], accepted["childSessionKey"], label)
        self.models.append(model)
        return model

    @rule(model=open_runs)
    def steer(self, model: Model) -> None:
        """A message reaches it, and is read at its next boundary."""
        if model.outcome is not None:
            return
        text = f"s{len(model.told)}"
        assert "Steered" in self.wait(self.p.command(f"/subagents steer {model.run_id} {text}"))
        model.told.append(text)

    @rule(model=open_runs)
    def pause(self, model: Model) -> None:
        """It is frozen; twice changes nothing."""
        self.wait(self.p.command(f"/subagents pause {model.run_id}"))
        model.paused = model.paused or model.outcome is None

    @rule(model=open_runs)
    def resume(self, model: Model) -> None:
        """It goes on."""
        self.wait(self.p.command(f"/subagents resume {model.run_id}"))
        model.paused = False

    @rule(target=ended_runs, model=consumes(open_runs))
    def stop(self, model: Model) -> Model:
        """It ends at once, wherever it stands."""
        said = self.wait(self.p.command(f"/subagents stop {model.run_id}"))
        assert ("1 run stopped" in said) == (model.outcome is None)
        model.outcome = model.outcome or "stopped"
        return model

    @rule(target=ended_runs, model=consumes(open_runs))
    def finish(self, model: Model) -> Model:
        """Its calls are answered until it ends; a queued one gets its turn when others make room."""
        self.wait(self._finish(model))
        return model

    async def _finish(self, model: Model) -> None:
        if model.paused:
            await self.p.command(f"/subagents resume {model.run_id}")
            model.paused = False
        ahead = [other for other in self.active if other is not model]
        run = await self.p.run(model.run_id)
        if run["status"] == "queued":
            for other in ahead:
                if other.outcome is None and not other.paused and other is not model:
                    await self._end(other)
        await self._end(model)

    async def _end(self, model: Model) -> None:
        for text in (model.label, *model.told):
            self.p.model.release(f"{model.label}/{text}")
        await self.p.wait_until(lambda: "done" in self.p.changes(model.run_id), f"the end of {model.label}")
        model.outcome = "ok"

    @rule(model=open_runs)
    def time_out(self, model: Model) -> None:
        """A short-lived run beside it ends by its own clock."""
        if len(self.active) >= CAP:
            return
        self.count += 1
        label = f"t{self.count}"
        body = {"sessionKey": KEY, "task": label, "label": label, "runTimeoutSeconds": 1}
        accepted: Json = self.wait(self.p.post("/api/runs", body)).json
        short = Model(accepted["runId"], accepted["childSessionKey"], label)
        self.models.append(short)
        self.wait(self.p.wait_run(short.run_id))
        short.outcome = "timeout"

    @rule(target=open_runs, model=consumes(ended_runs))
    def revive(self, model: Model) -> Any:
        """A message to a finished session starts a new run on it, if a slot is free."""
        self.count += 1
        text = f"again{self.count}"
        said = self.wait(self.p.say(f"/subagents send {model.run_id} {text}"))
        if len(self.active) >= MOST:
            assert f"{MOST}/{MOST}" in said["reply"]
            return NONE
        newest = next(m for m in reversed(self.models) if m.session_key == model.session_key)
        if newest.outcome is None:
            newest.told.append(text)
            return NONE
        new = Model(said["details"]["runId"], model.session_key, model.label, told=[text])
        assert new.run_id not in {each.run_id for each in self.models}
        self.models.append(new)
        return new

    @rule()
    def restart(self) -> None:
        """A graceful stop and a start: nothing is lost, nothing counts."""
        self.wait(self.p.restart())

    @rule(words=st.sampled_from(["list", "tree", "info last", "log last 5 tools", "info 1"]))
    def look(self, words: str) -> None:
        """Looking changes nothing and always gets an answer."""
        assert self.wait(self.p.command(f"/subagents {words}"))

    # ------------------------------------------------------------------ what must be true

    @property
    def active(self) -> list[Model]:
        """Runs that haven't ended."""
        return [model for model in self.models if model.outcome is None]

    @invariant()
    def agrees(self) -> None:
        """The gateway's records are those of the model."""
        if not hasattr(self, "p"):
            return
        runs = {run["runId"]: run for run in self.wait(self.p.runs())}
        assert set(runs) == {model.run_id for model in self.models}
        for model in self.models:
            run = runs[model.run_id]
            assert run["outcome"] == model.outcome, (model, run)
            assert (run["status"] == "done") == (model.outcome is not None)
            if model.outcome is None:
                assert (run["status"] == "paused") == model.paused, (model, run)
        lane = self.wait(self.p.get("/api/status"))["lanes"]["subagent"]
        assert lane["running"] <= CAP

    @invariant()
    def announces_once(self) -> None:
        """Each ended run has one `done` event, and not more than one announcement; at the end exactly one."""
        if not hasattr(self, "p") or not self.models:
            return
        done = Counter(e.data["run"]["runId"] for e in self.p.events if e.type == "run" and e.data["change"] == "done")
        assert done == Counter({model.run_id: 1 for model in self.models if model.outcome is not None})


class Settled(Lives):
    """Lets everything come to rest at the end, and looks at what was announced."""

    def teardown(self) -> None:
        """All that is open is stopped; then each run has been announced exactly once, and transcripts are whole."""
        if hasattr(self, "p"):
            self.wait(self._settle())
        super().teardown()

    async def _settle(self) -> None:
        await self.p.command("/subagents stop all")
        await self.p.wait_idle()
        if not self.models:
            return
        texts = [m["text"] for m in await self.p.transcript() if m["kind"] == "announce"]
        labels = Counter(text.split("“")[1].split("”")[0] for text in texts)
        assert labels == Counter(model.label for model in self.models)
        for key in {model.session_key for model in self.models}:
            rows = await self.p.transcript(key)
            assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
            told = [row["text"] for row in rows if row["kind"] in ("task", "steer")]
            assert len(told) == len(set(told)), "nothing is read twice"


TestLives = Settled.TestCase
TestLives.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=15,
    deadline=None,
    derandomize=EXAMPLES == FEW,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

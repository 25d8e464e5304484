"""The states of jobs against a reference model (Hypothesis), over HTTP: whatever is done in whatever order, trees
included, both agree about every job, and every end is told once.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.jobs.puppets import ATTEMPTS, DEPTH, Policy, Puppet, Strings
from tests.jobs.scene import jobs
from tests.support import databases
from tests.support.pilot import PATIENCE, Json, Pilot, pilot

T = TypeVar("T")
FEW = 4 if databases.ON_POSTGRES else 10
EXAMPLES = int(os.environ.get("LANEWAY_EXAMPLES", FEW))
STEPS = 30
MANY = 16
"""Jobs, and there come no more."""
PICKS = st.integers(0, 999)
RESTARTS = 2
"""At most, in one life."""
HOUR_MS = 3_600_000
POLICIES = st.sampled_from(get_args(Policy))
CONFIG: Json = {"jobs": {"maxConcurrent": 200, "maxDepth": DEPTH}}


class Trees(RuleBasedStateMachine):
    """Submits, adds children, finishes, fails, stops, pauses, resumes, retries, replays, deletes and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="laneway-trees-"))
        self.all: list[Puppet] = []
        self.restarts = 0
        self.strings = self.wait(_made(Strings))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end."""
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        """Starts the gateway, and has something to begin with: one at work with a child, and a tree."""
        opened = pilot(Path(self.folder), config=CONFIG, plugins={"puppets": self.strings})
        self.p: Pilot = self.wait(self.stack.enter_async_context(opened))
        alone = self.accepted(_body(False, "fail_parent", False), None)
        self.accepted(_body(False, "continue", False), alone)
        self.fan_out(["fail_parent", "continue"], True)

    def teardown(self) -> None:
        """Looks at what was told, and stops everything."""
        if hasattr(self, "p"):
            self.wait(self._told_once())
        self.wait(self.stack.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def one(self, pick: int, *fitting: Callable[[Puppet], bool]) -> Puppet:
        """One of the jobs for which the first of these conditions holds that holds for any."""
        there = [each for each in self.all if not each.deleted]
        for fits in fitting:
            if found := [each for each in there if fits(each)]:
                return found[pick % len(found)]
        return there[pick % len(there)]

    # ------------------------------------------------------------------ what may happen

    @precondition(lambda self: len(self.all) < MANY)
    @rule(joins=st.booleans(), policy=POLICIES, delayed=st.booleans())
    def submit(self, joins: bool, policy: Policy, delayed: bool) -> None:
        """A job that belongs to none."""
        self.accepted(_body(joins, policy, delayed and not joins), None)

    @precondition(lambda self: len(self.all) < MANY)
    @rule(pick=PICKS, joins=st.booleans(), policy=POLICIES, delayed=st.booleans())
    def add_child(self, pick: int, joins: bool, policy: Policy, delayed: bool) -> None:
        """A child of an open job; a finished one takes none, and no tree gets too deep."""
        body, parent = _body(joins, policy, delayed and not joins), self.one(pick)
        if parent.open and parent.depth < DEPTH:
            self.accepted(body, parent)
        else:
            refused = self.wait(self.p.post("/api/jobs", {**body, "parent": parent.run_id}))
            assert refused.status == 400, refused.text

    @precondition(lambda self: len(self.all) < MANY)
    @rule(policies=st.lists(POLICIES, min_size=1, max_size=3), nested=st.booleans())
    def fan_out(self, policies: list[Policy], nested: bool) -> None:
        """A tree in one submission."""
        body = {**_body(True, "ignore", False), "children": [_body(False, policy, False) for policy in policies]}
        if nested:
            body = {**_body(True, "ignore", False), "children": [body, _body(False, "fail_parent", False)]}
        self.accepted(body, None)

    def accepted(self, body: Json, parent: Puppet | None) -> Puppet:
        """Submits."""
        named = {**body, "parent": parent.run_id} if parent else body
        answer = self.wait(self.p.post("/api/jobs", named))
        assert answer.status == 202, answer.text
        return self.puppets(answer.json["id"], body, parent)

    def puppets(self, number: int, body: Json, parent: Puppet | None) -> Puppet:
        """The models of a job that is there now and of those that came with it."""
        job = self.wait(self.p.get(f"/api/jobs/{number}"))
        made = Puppet(number, job["runId"], body["name"] == "aggregate", body["onChildFail"], parent)
        made.delayed = "delayMs" in body
        self.all.append(made)
        with_it: list[Json] = body.get("children", [])
        numbers: list[int] = job["children"] if with_it else []
        pairs = zip(numbers, with_it, strict=True)
        made.came_with = tuple(self.puppets(each, below, made) for each, below in pairs)
        if parent is not None:
            parent.children.append(made)
        return made

    @rule(pick=PICKS, word=st.sampled_from(["ok", "ok", "fail", "again"]))
    def finish(self, pick: int, word: str) -> None:
        """A handler comes to an end."""
        job = self.one(pick, lambda each: each.status == "running")
        if job.status == "running":
            self.strings.pull(job.number, word)
            job.give_back(word)

    @rule(pick=PICKS)
    def stop(self, pick: int) -> None:
        """It ends at once, with all below it."""
        job = self.one(pick)
        count = sum(each.open for each in job.tree()) if job.open else 0
        assert self.change(job, "stop")["changed"] == count
        job.end("stopped")

    @rule(pick=PICKS)
    def pause(self, pick: int) -> None:
        """It is frozen, with all below it."""
        job = self.one(pick, lambda each: each.open)
        assert self.change(job, "pause")["changed"] == job.pause()

    @rule(pick=PICKS)
    def resume(self, pick: int) -> None:
        """It goes on, with all below it."""
        job = self.one(pick, lambda each: each.paused)
        assert self.change(job, "resume")["changed"] == job.resume()

    @rule(pick=PICKS)
    def rest(self, pick: int) -> None:
        """It is frozen for a moment."""
        job = self.one(pick, lambda each: each.open)
        assert self.change(job, "pause")["changed"] == job.pause()
        self.agrees()
        assert self.change(job, "resume")["changed"] == job.resume()

    @rule(pick=PICKS)
    def retry(self, pick: int) -> None:
        """It is opened again if it hasn't ended well."""
        job = self.one(pick, lambda each: each.outcome not in (None, "ok"))
        self.change(job, "retry", 200 if job.may_retry else 400)
        if job.may_retry:
            job.retry()

    @precondition(lambda self: len(self.all) < MANY)
    @rule(pick=PICKS)
    def replay(self, pick: int) -> None:
        """A new one with all that it was given."""
        job = self.one(pick)
        answer = self.wait(self.p.post(f"/api/jobs/{job.number}/replay"))
        assert answer.status == 202, answer.text
        self.puppets(answer.json["id"], _given(job), None)

    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        """It goes if nobody needs it."""
        job = self.one(pick, lambda each: not each.open)
        answer = self.wait(self.p.ask("DELETE", f"/api/jobs/{job.number}"))
        assert answer.status == (200 if job.may_go else 400), answer.text
        job.deleted = job.may_go

    @precondition(lambda self: self.restarts < RESTARTS)
    @rule()
    def restart(self) -> None:
        """A graceful stop and a start."""
        self.restarts += 1
        self.wait(self.p.restart())

    def change(self, job: Puppet, name: str, status: int = 200) -> Json:
        """One of the four changes."""
        answer = self.wait(self.p.post(f"/api/jobs/{job.number}/{name}"))
        assert answer.status == status, answer.text
        return cast("Json", answer.json)

    # ------------------------------------------------------------------ what must be true

    @invariant()
    def agrees(self) -> None:
        """Every record comes to be what the model says."""
        if hasattr(self, "p"):
            self.wait(self._agrees())

    async def _agrees(self) -> None:
        wanted = {each.number: (each.status, each.outcome, each.attempt) for each in self.all if not each.deleted}
        held = {each.number for each in self.all if each.status == "running"}
        found: dict[int, tuple[str, str | None, int]] = {}
        try:
            async with asyncio.timeout(PATIENCE / 3):
                while True:
                    seen = len(self.p.events)
                    found = {job["id"]: (job["status"], job["outcome"], job["attempt"]) for job in await jobs(self.p)}
                    if found == wanted and self.strings.held == held:
                        return
                    await self.p.wait_until(lambda seen=seen: len(self.p.events) > seen, "an event")
        except TimeoutError:
            wrong = {number: (found.get(number), each) for number, each in wanted.items() if found.get(number) != each}
            raise AssertionError(f"found and wanted: {wrong}; held: {self.strings.held} and {held}") from None

    async def _told_once(self) -> None:
        """Each end is one event, and one message in its parent's inbox."""
        for job in self.all:
            assert self.p.changes(job.run_id).count("done") == job.ends, job
            if job.children and not job.deleted:
                found = (await self.p.get(f"/api/jobs/{job.number}/inbox?limit=500"))["messages"]
                told = [each for each in found if each["kind"] == "child_done"]
                assert len(told) == sum(child.ends for child in job.children), job


def _body(joins: bool, policy: Policy, delayed: bool) -> Json:
    body: Json = {"name": "aggregate" if joins else "puppet", "onChildFail": policy}
    if not joins:
        body |= {"maxAttempts": ATTEMPTS, "backoff": {"type": "fixed", "delayMs": 0}}
    return {**body, "delayMs": HOUR_MS} if delayed else body


def _given(job: Puppet) -> Json:
    """As it was submitted, but for its delay, which was for that once."""
    body = _body(job.joins, job.policy, False)
    return {**body, "children": [_given(child) for child in job.came_with if not child.deleted]}


async def _made(make: type[T]) -> T:
    """Makes something that belongs to the running loop."""
    return make()


TestTrees = Trees.TestCase
TestTrees.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=EXAMPLES == FEW,
    database=None,
    phases=[Phase.generate],  # what fails takes its time: the steps as they were found say enough
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

"""A reference model of the states of jobs, trees included, and a kind whose jobs do what the test says.

The model is what docs/jobs.md says in prose: it knows nothing of transactions, lanes or time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.jobs.kinds import AttemptFailed, JobContext, JobKind, Payload, Unrecoverable
from gateway.plugins import Registry

Policy = Literal["fail_parent", "continue", "remove_dep", "ignore"]
ATTEMPTS = 2
DEPTH = 4


@dataclass(eq=False)
class Puppet:
    """What a job should be."""

    number: int
    run_id: str
    joins: bool
    """An `aggregate`: without work of its own."""
    policy: Policy
    parent: Puppet | None = None
    came_with: tuple[Puppet, ...] = ()
    """The children of its own submission."""
    delayed: bool = False
    children: list[Puppet] = field(default_factory=list["Puppet"])
    outcome: str | None = None
    paused: bool = False
    returned: bool = False
    """Its handler has, while children were open."""
    attempt: int = 1
    ends: int = 0
    deleted: bool = False

    def __repr__(self) -> str:
        return f"#{self.number}"

    @property
    def open(self) -> bool:
        """It hasn't ended."""
        return self.outcome is None

    @property
    def status(self) -> str:
        """As its record says."""
        if not self.open:
            return "done"
        if self.paused:
            return "paused"
        if self.delayed:
            return "delayed"
        return "waiting" if self.joins or self.returned else "running"

    @property
    def depth(self) -> int:
        """1 for one that belongs to none."""
        return 1 + (self.parent.depth if self.parent else 0)

    @property
    def above(self) -> Puppet | None:
        """Its parent, if that is still there."""
        return None if self.parent is None or self.parent.deleted else self.parent

    def tree(self) -> Iterator[Puppet]:
        """It and all below it."""
        yield self
        for child in self.children:
            yield from child.tree()

    # ---- what may happen to it ----

    def end(self, outcome: str, *, downward: bool = False) -> None:
        """The one way in which it ends."""
        if not self.open:
            return
        if outcome != "ok":
            for child in self.children:
                child.end("stopped", downward=True)
        self.outcome, self.paused = outcome, False
        self.ends += 1
        above = self.above
        if downward or above is None or not above.open:
            return
        if outcome != "ok" and self.policy == "fail_parent":
            above.end("error")
        else:
            above.settle()

    def settle(self) -> None:
        """It ends if it has only been waiting for children, and all have ended."""
        waits = self.open and self.status == "waiting"
        if waits and not any(child.open for child in self.children) and (self.children or self.returned):
            self.end("ok")

    def give_back(self, word: str) -> None:
        """Its handler has come to an end."""
        if word == "ok":
            self.returned = True
            self.settle()
        elif word == "again" and self.attempt < ATTEMPTS:
            self.attempt += 1
        else:
            self.end("dead" if word == "again" else "error")

    def pause(self) -> int:
        """Returns how many were paused."""
        found = [each for each in self.tree() if each.open and not each.paused]
        for each in found:
            each.paused = True
        return len(found)

    def resume(self) -> int:
        """Returns how many were resumed."""
        found = [each for each in self.tree() if each.open and each.paused]
        for each in found:
            each.paused = False
        for each in found:
            each.settle()
        return len(found)

    @property
    def may_retry(self) -> bool:
        """Whether it can be opened again."""
        return self.outcome not in (None, "ok") and (self.above is None or self.above.open)

    def retry(self) -> None:
        """Opens it again, with what failed or was stopped with it."""
        for each in (again := list(self._reopened())):
            each.outcome, each.returned, each.delayed, each.attempt = None, False, False, 1
        for each in again:
            each.settle()

    def _reopened(self) -> Iterator[Puppet]:
        yield self
        for child in self.children:
            failed = child.outcome not in (None, "ok") and not child.deleted
            if failed and (child.policy == "fail_parent" or child.outcome == "stopped"):
                yield from child._reopened()

    @property
    def may_go(self) -> bool:
        """Whether it can be deleted."""
        nobody = self.above is None or not self.above.open
        return not self.open and nobody and not any(child.open for child in self.children)


class Strings:
    """The kind `puppet`: its handler waits for a word of the test: `ok`, `fail` or `again`."""

    name = "puppets"

    def __init__(self) -> None:
        self.held: set[int] = set()
        """Numbers of the jobs whose handlers wait."""
        self._words: dict[int, str] = {}
        self._pulled = asyncio.Event()

    def register(self, registry: Registry) -> None:
        """Registers the kind."""
        registry.job_kind(JobKind("puppet", Payload, self._wait, max_attempts=ATTEMPTS))

    def pull(self, number: int, word: str) -> None:
        """Tells a handler."""
        self._words[number] = word
        self._pulled.set()

    async def _wait(self, job: JobContext, _payload: Payload) -> Any:
        number = job.run.number
        assert number not in self.held, f"job #{number} has two owners"
        self.held.add(number)
        try:
            await job.progress("waits for a word")  # an event for the test
            while number not in self._words:
                self._pulled.clear()
                await self._pulled.wait()
        finally:
            self.held.discard(number)
        word = self._words.pop(number)
        if word == "fail":
            raise Unrecoverable("it was told to")
        if word == "again":
            raise AttemptFailed("it was told to, once more")
        return number

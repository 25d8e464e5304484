"""The jobs of the chaos: what is submitted, and what must have become of each when everything has settled.

Drawn from a seeded generator, so that a seed gives the same jobs. Each has a label of its own, which is its idempotency
key as well: a submission is repeated until it is acknowledged.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.model_script import Reply, Seen, call, say
from tests.support.model_server import ScriptedModelServer

Body = dict[str, Any]
MARK = "laneway-chaos:"
"""Begins, in the command line of every process of a shell job, the job's label."""
TALK = "agent:main:talk-"
"""Begins the keys of the conversations."""
TALKS = 0.06
TREES = 0.16
"""Shares of the orders."""
LINKS = 0.2
"""Share of the others that come after others."""
QUICK: Mapping[str, Any] = {"backoff": {"type": "fixed", "delayMs": 20}}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must have become of a job."""

    outcomes: Sequence[str] = ("ok",)
    attempts: Sequence[int] = (1,)
    output: Any = None
    """None: not looked at."""
    parent: str | None = None
    """Its label."""
    command: bool = False
    """It is a shell job."""
    again: bool = False
    """Its key may be free again before its submission is acknowledged, so that it may be there twice."""


@dataclass(slots=True)
class Order:
    """One submission: a job with all below it, or something that is said in a conversation."""

    label: str
    body: Body
    wanted: dict[str, Wanted] = field(default_factory=dict[str, Wanted])
    """By label."""
    after: Sequence[str] = ()
    """Labels of the jobs that must have ended well before."""
    said: bool = False
    """`body` is a message, to the conversation of this name."""


class Mix:
    """Makes orders, until there are so many jobs."""

    def __init__(self, rng: random.Random, log: str, jobs: int) -> None:
        """
        Args:
            rng: decides.
            log: the file to which shell jobs write what they do.
            jobs: how many; children count.
        """
        self._rng = rng
        self._log = log
        self._jobs = jobs
        self.made = 0
        self._sure: list[str] = []
        """The last jobs that end well."""
        self._makers: Mapping[Callable[[str], tuple[Body, Wanted]], int] = {
            self._noop: 40,
            self._slow: 10,
            self._retried: 10,
            self._dead: 3,
            self._shell: 16,
            self._shell_retried: 6,
            self._subagent: 8,
        }

    def __iter__(self) -> Iterator[Order]:
        while self.made < self._jobs:
            yield self._order()

    def _order(self) -> Order:
        label = self._label()
        chance = self._rng.random()
        if chance < TALKS:
            return Order(label, {"text": f"DO {label}"}, {label: Wanted()}, said=True)
        order = Order(label, {})
        if chance < TALKS + TREES:
            order.body = self._tree(order, label, None, deep=self._rng.random() < 0.3)
        else:
            order.body = self._leaf(order, label, None)
            if self._rng.random() < 0.1:
                order.body["delayMs"] = self._rng.randrange(50, 1_500)
            if self._rng.random() < LINKS and self._sure:
                order.after = self._rng.sample(self._sure, min(2, len(self._sure)))
            if order.wanted[label].outcomes == ("ok",):
                self._sure = [*self._sure[-3:], label]
        order.body |= {"idempotencyKey": label, "priority": self._rng.choice((0, 0, 0, -5, 5))}
        return order

    def _label(self) -> str:
        self.made += 1
        return f"j{self.made}"

    def _leaf(self, order: Order, label: str, parent: str | None) -> Body:
        [make] = self._rng.choices(tuple(self._makers), tuple(self._makers.values()))
        body, wanted = make(label)
        order.wanted[label] = replace(wanted, parent=parent)
        return {"label": label, **body}

    # ---- kinds ----

    def _noop(self, label: str) -> tuple[Body, Wanted]:
        return {"name": "noop", "data": {"give": label}}, Wanted(output=label)

    def _slow(self, label: str) -> tuple[Body, Wanted]:
        return {"name": "noop", "data": {"give": label, "ms": self._rng.randrange(30, 500)}}, Wanted(output=label)

    def _retried(self, label: str) -> tuple[Body, Wanted]:
        fails = self._rng.randrange(1, 4)
        body: Body = {"name": "noop", "data": {"give": label, "fail": fails}, "maxAttempts": 4, **QUICK}
        return body, Wanted(attempts=(fails + 1,), output=label)

    def _dead(self, label: str) -> tuple[Body, Wanted]:
        body: Body = {"name": "noop", "data": {"fail": 9}, "maxAttempts": 2, "onChildFail": "continue", **QUICK}
        return body, Wanted(("dead",), (2,), again=True)

    def _shell(self, label: str) -> tuple[Body, Wanted]:
        return self._command(label, f"sleep 0.{self._rng.randrange(0, 60):02d}"), Wanted(command=True)

    def _shell_retried(self, label: str) -> tuple[Body, Wanted]:
        # One that dies after it has failed, and before that is stored, is called again in the same attempt.
        mark = f"{self._log}.{label}"
        return self._command(label, f"test -e {mark} || {{ : > {mark}; exit 7; }}"), Wanted(
            attempts=(1, 2), command=True
        )

    def _command(self, label: str, work: str) -> Body:
        # The fifth field is its process group, which is the `pid` of its result.
        begin = f": {MARK}{label}; read -r _ _ _ _ g _ < /proc/$$/stat; echo begin {label} $g >> {self._log}"
        text = f"{begin}; {work}; echo effect {label} $g >> {self._log}"
        return {"name": "shell", "data": {"cmd": text, "cwd": "/"}, **QUICK}

    def _subagent(self, label: str) -> tuple[Body, Wanted]:
        return {"name": "subagent", "data": {"task": f"TASK {label}"}}, Wanted()

    # ---- trees ----

    def _tree(self, order: Order, label: str, parent: str | None, *, deep: bool) -> Body:
        """A fan-out; in some of them a child fails, which means the end of the whole."""
        order.wanted[label] = Wanted(parent=parent)
        names = [self._label() for _ in range(2 if deep else self._rng.randrange(2, 6))]
        if deep:
            children = [self._tree(order, name, label, deep=False) for name in names]
        else:
            children = [self._leaf(order, name, label) for name in names]
        body: Body = {"name": "aggregate", "label": label, "children": children, "onChildFail": "continue"}
        if self._rng.random() < 0.15:
            body |= {"name": "subagent", "data": {"task": f"TASK {label}"}}
        if not deep and self._rng.random() < 0.15:
            self._spoil(order, label, children)
        return body

    def _spoil(self, order: Order, label: str, children: list[Body]) -> None:
        """One more child, which fails, and its parent with it; its siblings are stopped unless they have ended."""
        for child in children:
            known = order.wanted[child["label"]]
            spared = (*known.outcomes, "stopped")
            order.wanted[child["label"]] = replace(known, outcomes=spared, attempts=range(1, 9), output=None)
        bad = self._label()
        fails: Body = {"name": "noop", "label": bad, "data": {"fail": 9}, "maxAttempts": 1}
        children.append({**fails, "onChildFail": "fail_parent"})
        order.wanted[bad] = Wanted(("error",), parent=label)
        order.wanted[label] = replace(order.wanted[label], outcomes=("error",))


def rules(server: ScriptedModelServer) -> None:
    """What the models say: a function of the conversation alone."""
    server.keep = False
    server.on(_answer)


def _answer(seen: Seen) -> Reply | None:
    if seen.role == "child":
        return call("ls", path=".") if seen.step == 1 else say(f"done with {seen.first_user}")
    wish = re.search(r"DO (j\d+)", seen.last_user)
    if wish is not None and seen.turn_step == 1:
        return call("sessions_spawn", task=f"TASK {wish[1]}", label=wish[1])
    return say("ok")

"""Kinds of jobs: what a plugin registers so that jobs of its kind can be submitted and run.

A kind has a payload model, a handler and defaults. A handler may be called again: after a crash, after a failed
attempt, and whenever the children that it waits for have settled; what it must remember it keeps with
`JobContext.save`. One without a handler does nothing itself: it waits for its children and returns what they return.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from gateway.config import Config
from gateway.store.database import Transaction
from gateway.store.runs import Run

if TYPE_CHECKING:
    from gateway.agent.clock import RunClock
    from gateway.app import Gateway
    from gateway.jobs.owner import Owner
    from gateway.jobs.submission import Submission
    from gateway.tools.base import ProcessLedger

LANE = "jobs"
"""Where jobs run whose kind names no other lane."""
RETURNED = "__returned"
"""Key in a job's kept state: its handler has returned, and its children are still open."""


class Payload(BaseModel):
    """Base of a kind's payload: camelCase outside, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True)


class Unrecoverable(Exception):
    """A job has failed in a way that no further attempt would change."""


class AttemptFailed(Exception):
    """An attempt has failed, and has something to show for it.

    Args:
        text: why, for people.
        output: what the job returns if no attempt follows.
    """

    def __init__(self, text: str, output: Any = None) -> None:
        super().__init__(text)
        self.output = output


class Bounce(Exception):
    """A job can't go on now through no fault of its own (a rate limit, a full lane); it burns no attempt.

    Args:
        seconds: after which it is to be tried again.
        reason: for people.
    """

    word = "rate_limited"
    """For programs."""

    def __init__(self, seconds: float, reason: str = "bounced") -> None:
        super().__init__(reason)
        self.seconds = seconds


class Unavailable(Bounce):
    """A job's kind has been switched off, or its plugin isn't there; it is looked at again after a minute."""

    word = "unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(60.0, reason)


class WaitForChildren(Exception):
    """A handler has nothing to do until its children have settled; it is called again then and holds no slot."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in a job's inbox."""

    kind: str
    """`child_done`, or `send` and `steer` for messages of people, parents and operators."""
    text: str
    sender: str | None


@dataclass(frozen=True, slots=True)
class Child:
    """How a child of a job stands."""

    id: str
    number: int
    kind: str
    label: str
    status: str
    outcome: str | None
    output: Any
    error: str | None


class JobContext(Protocol):
    """What a handler works with. Every write carries the job's fence: who has lost it writes nothing."""

    @property
    def run(self) -> Run:
        """The job, as it was when the handler was called."""
        ...

    @property
    def config(self) -> Config: ...

    @property
    def gateway(self) -> Gateway: ...

    @property
    def state(self) -> Mapping[str, Any]:
        """What `save` has kept."""
        ...

    @property
    def poked(self) -> asyncio.Event:
        """Set when something about the job has changed: it was paused, resumed, or has a message."""
        ...

    @property
    def clock(self) -> RunClock:
        """The attempt's clock, which stands still while it is held."""
        ...

    @property
    def processes(self) -> ProcessLedger:
        """Where process groups are recorded before they do anything."""
        ...

    async def children(self) -> Sequence[Child]:
        """The job's children, in the order in which they were submitted."""
        ...

    async def submit(self, submission: Submission) -> Run:
        """Adds a child.

        Raises:
            JobRefused: with what would be allowed.
        """
        ...

    async def progress(self, message: str, step: int | None = None, total: int | None = None) -> None:
        """Writes how far the job is."""
        ...

    async def log(self, text: str) -> None:
        """Appends a line to the job's log."""
        ...

    async def inbox(self) -> Sequence[Letter]:
        """Takes the messages that have come; each is handed over once, and its receipt is stored with that."""
        ...

    async def save(self, **state: Any) -> None:
        """Keeps JSON values for the next call of the handler."""
        ...

    async def is_paused(self) -> bool:
        """Whether the job is paused now; for a kind that freezes what it has started."""
        ...

    async def audit(self, what: str, **data: Any) -> None:
        """Writes a line of the audit trail."""
        ...

    async def still_mine(self) -> None:
        """To be awaited before an effect on the outside world.

        Raises:
            FenceLost: somebody else has taken the job; the effect must not happen.
        """
        ...


Handler = Callable[[JobContext, Any], Awaitable[Any]]
"""Gets the validated payload and returns a JSON value."""
Create = Callable[[Transaction, "Submission", Any, "Owner"], Run]
"""Creates a job of a kind that lives in a conversation of its own."""


def always(_config: Config) -> str | None:
    """The kind can always be submitted."""
    return None


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job."""

    name: str
    payload: type[Payload]
    handler: Handler | None = None
    """None: it waits for its children and returns what they return."""
    create: Create | None = None
    """Of a kind whose jobs aren't run by a handler (sub-agents)."""
    lane: str = LANE
    protected: bool = False
    """Only an operator may submit it: never a model, MCP or HTTP without an operator's token."""
    max_attempts: int = 3
    timeout_ms: int = 0
    """Of one attempt; 0: none."""
    unavailable: Callable[[Config], str | None] = always
    """Why it can't be submitted or run under a configuration; None: it can."""
    check: Callable[[Config, Any], str | None] = lambda _config, _payload: None
    """What is wrong with a payload under a configuration; None: nothing."""
    freezes: bool = False
    """Pausing leaves its handler alone: it freezes what it has started (`JobContext.is_paused`)."""
    given: Callable[[Transaction, Run], dict[str, Any]] | None = None
    """What a job of the kind was given, where no submission has made it (`sessions_spawn`)."""

"""What a tool is: its name and schema, what it may do, and what it gets to do it with.

There are two kinds. An *effect* tool (`run`) acts on the outside world; its result is stored as it comes, and if a
crash leaves its call open it is run again only if it is `idempotent`. A *store* tool (`apply`) has its whole effect
in the database; effect and result are committed in one transaction (spec/architecture.md, protocol 3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from gateway.agent.messages import ToolSpec
from gateway.config import Agent, Config
from gateway.routes import Route
from gateway.store.database import Transaction
from gateway.tools.lean import lean_schema

MAX_RESULT_CHARS = 100_000
"""A longer result is cut in the middle with a visible mark before it is stored."""


class ToolArguments(BaseModel):
    """Base of every tool's arguments: camelCase outside, unknown parameters refused by name."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True, str_strip_whitespace=False
    )


A = TypeVar("A", bound=ToolArguments)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model gets back."""

    text: str
    error: bool = False


class ToolArgumentError(Exception):
    """The arguments don't fit; the text names each parameter and says what is allowed."""


class ProcessLedger(Protocol):
    """Remembers the process groups that tools start, so that survivors of a crash are killed at start-up."""

    async def record(self, pgid: int) -> int:
        """Commits pgid, its start time and the boot id before the command does anything; returns an id."""
        ...

    async def forget(self, entry: int) -> None:
        """The group is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A command that waits for a person's yes."""

    tool: str
    summary: str
    """What would be done, in full, as a person should see it."""
    pattern: str | None = None
    """What `always allow` would add to the agent's allow-list; None: this can't be allowed for ever."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer, or why there was none."""

    allowed: bool
    reason: str = ""


class Approver(Protocol):
    """Asks the person behind a turn. While it waits the run's clock stands still."""

    async def ask(self, question: Question) -> Decision:
        """Asks on the turn's route (a child's: its requester's); denied after 10 minutes or where nobody can answer."""
        ...

    async def allowed_patterns(self) -> tuple[str, ...]:
        """Patterns that `always allow` has added for this agent."""
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Everything a tool may know of the turn it runs in, and the services it may use."""

    config: Config
    agent: Agent
    session_id: str
    session_key: str
    depth: int
    route: Route | None
    owner: bool
    """The session belongs to an owner: `exec` and the memory tools are for those only."""
    cwd: Path
    """Where file and exec tools run; relative paths start here."""
    roots: tuple[Path, ...]
    """Folders that paths may lie in."""
    state: Path
    """The state folder, refused to every file tool."""
    assistant_seq: int
    call_index: int
    run_id: str | None = None
    fence: int = 0
    processes: ProcessLedger | None = None
    approver: Approver | None = None
    progress: Callable[[str], None] = lambda _text: None
    """Shows a short line of what the tool is doing."""


@dataclass(frozen=True)
class Tool(Generic[A]):
    """One tool. Exactly one of `run` and `apply` is set."""

    name: str
    description: str
    args: type[A]
    run: Callable[[ToolContext, A], Awaitable[ToolResult]] | None = None
    apply: Callable[[Transaction, ToolContext, A], ToolResult] | None = None
    prepare: Callable[[ToolContext, A], Awaitable[ToolResult | None]] | None = None
    """Of a store tool: what has to be done outside before its transaction; a result ends the call. Must bear being
    repeated after a crash."""
    undo: Callable[[ToolContext, A], Awaitable[None]] | None = None
    """Of a store tool: takes back what `prepare` has done, where `apply` has refused."""
    idempotent: bool = False
    """May be run again when a crash left its call open."""
    timeout_seconds: float | None = 60.0
    """None: the tool keeps its own time."""
    owners_only: bool = False
    by_name_only: bool = False
    """Sub-agents have it only where a list names it in full: no pattern and no profile is enough."""
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters that people try → what to say of them (`timeoutSeconds` → `use runTimeoutSeconds`)."""
    on_bad_arguments: Callable[[str], ToolResult] = lambda text: ToolResult(text, error=True)
    on_denied: Callable[[ToolContext], ToolResult | None] = lambda _context: None
    """Why a session doesn't have it, where a model calls it all the same; None: nothing but that it hasn't."""

    @cached_property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it; built once."""
        return ToolSpec(self.name, self.description, lean_schema(self.args))

    def parse(self, arguments: str) -> A:
        """Validates a call's raw JSON.

        Raises:
            ToolArgumentError: naming every parameter that is wrong.
        """
        try:
            return self.args.model_validate_json(arguments or "{}")
        except ValidationError as error:
            raise ToolArgumentError(self._explain(error)) from None

    def _explain(self, error: ValidationError) -> str:
        lines: list[str] = []
        for item in error.errors(include_url=False, include_context=False):
            place = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                lines.append(self._unknown(place))
            elif item["type"] == "json_invalid":
                lines.append(f"the arguments are not valid JSON ({item['msg']})")
            elif item["type"] == "missing":
                lines.append(f"`{place}` is required")
            else:
                lines.append(f"`{place}`: {item['msg'][:1].lower()}{item['msg'][1:]}")
        return f"{self.name}: " + "; ".join(lines)

    def _unknown(self, name: str) -> str:
        known = sorted(f.alias or n for n, f in self.args.model_fields.items())
        hint = self.renamed.get(name) or f"known are {', '.join(known)}"
        return f"unknown parameter `{name}` ({hint})"

"""A small world for tests of tools: a state folder, a configuration, a database, and calls as a turn makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.config import Config, Paths, parse_config
from gateway.routes import Route
from gateway.store.database import Database
from gateway.tools.base import Decision, ProcessLedger, Question, Tool, ToolArgumentError, ToolContext, ToolResult
from gateway.tools.core import core_tools
from gateway.tools.web import Fetcher
from tests.support import databases

ROUTE = Route("terminal", chat="agent:main:main")


@dataclass
class World:
    """One state folder with the default agent's workspace inside it."""

    state: Path
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    fetcher: Fetcher = field(default_factory=Fetcher)

    def __post_init__(self) -> None:
        self.workspace.mkdir(parents=True, exist_ok=True)
        (self.state / "token").write_text("sesame-sesame")
        self.tools: dict[str, Tool[Any]] = {tool.name: tool for tool in core_tools(self.fetcher)}

    @property
    def workspace(self) -> Path:
        return self.state / "workspace"

    @property
    def config(self) -> Config:
        return parse_config(self.settings, paths=Paths(self.state))

    def context(self, **changes: Any) -> ToolContext:
        config = self.config
        base = ToolContext(
            config=config,
            agent=config.agent("main"),
            session_id="s1",
            session_key="agent:main:main",
            depth=0,
            route=ROUTE,
            owner=True,
            cwd=self.workspace,
            roots=(self.workspace,),
            state=self.state,
            assistant_seq=2,
            call_index=0,
        )
        return replace(base, **changes)

    async def call(self, tool: str, /, ctx: ToolContext | None = None, **arguments: object) -> ToolResult:
        """Parses and runs a call as a turn does; bad arguments are a result too."""
        return await self.call_json(tool, json.dumps(arguments), ctx)

    async def call_json(self, name: str, arguments: str, ctx: ToolContext | None = None) -> ToolResult:
        tool = self.tools[name]
        try:
            args = tool.parse(arguments)
        except ToolArgumentError as error:
            return tool.on_bad_arguments(str(error))
        assert tool.run is not None
        return await tool.run(ctx or self.context(), args)


def open_database(folder: Path) -> Database:
    """A migrated database."""
    return databases.opened(folder)


@dataclass
class ScriptedApprover:
    """Answers what it was told to and remembers the questions."""

    allowed: bool = True
    patterns: tuple[str, ...] = ()
    questions: list[Question] = field(default_factory=list[Question])

    async def ask(self, question: Question) -> Decision:
        self.questions.append(question)
        return Decision(self.allowed, "" if self.allowed else "not today")

    async def allowed_patterns(self) -> tuple[str, ...]:
        return self.patterns


@dataclass
class ListLedger(ProcessLedger):
    """A ledger in memory."""

    groups: dict[int, int] = field(default_factory=dict[int, int])
    seen: list[int] = field(default_factory=list[int])

    async def record(self, pgid: int) -> int:
        self.seen.append(pgid)
        self.groups[len(self.seen)] = pgid
        return len(self.seen)

    async def forget(self, entry: int) -> None:
        del self.groups[entry]

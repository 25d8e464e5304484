"""The setting of a turn: which agent, model, tools and prompt a session has right now.

Resolved anew for every model call from the current configuration, so that a reload counts at the next call; a run
keeps its stored `resolvedModel`. What depends on the configuration alone (toolsets) is built once per configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gateway.agent.clock import RunClock
from gateway.agent.messages import ModelRef, ThinkingLevel
from gateway.agent.prompt import WorkspaceFiles, main_prompt
from gateway.agent.resolve import default_model, fallback_models, find_model
from gateway.agent.toolset import Toolset
from gateway.approvals import ApprovalBook, Call
from gateway.config import Agent, Config, UnknownAgent, UnknownModel
from gateway.config.agents import SubagentDef
from gateway.plugins import Registry
from gateway.posting import Posting
from gateway.store.database import Database, Transaction
from gateway.store.runs import Run
from gateway.store.sessions import Session
from gateway.tools import policy
from gateway.tools.base import Approver, Decision, Question, Tool, ToolContext
from gateway.tools.processes import StoreLedger

PROMPT_TOKENS = 3_000
"""What a system prompt is taken to be where its real size isn't known yet."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything that one model call depends on beside the transcript."""

    agent: Agent
    model: ModelRef
    fallbacks: tuple[ModelRef, ...]
    thinking: ThinkingLevel | None
    tools: Toolset
    cwd: Path
    streams: bool
    definitions: Mapping[str, SubagentDef]
    """Named kinds of sub-agents (`agents.subagentDefs`)."""

    @property
    def overhead(self) -> int:
        """Estimated tokens of everything in a request but the messages."""
        return PROMPT_TOKENS + self.tools.tokens

    @property
    def agent_day_micro(self) -> int | None:
        """micro-USD that the agent may spend per UTC day."""
        budget = self.agent.budget_usd
        return None if budget is None else round(budget * 1_000_000)


@dataclass(frozen=True, slots=True)
class _Made:
    """Toolsets, and what they were made of. Another configuration makes new ones, and so do other tools: those of MCP
    servers come and go."""

    config: Config
    tools: Mapping[str, Tool[Any]]
    toolsets: dict[tuple[object, ...], Toolset]


class Settings:
    """Resolves settings."""

    def __init__(
        self,
        config: Callable[[], Config],
        database: Database,
        registry: Registry,
        posting: Posting,
        approvals: ApprovalBook,
    ) -> None:
        self._config = config
        self._database = database
        self._registry = registry
        self._posting = posting
        self._approvals = approvals
        self._files = WorkspaceFiles()
        self._made: _Made | None = None

    def of(self, session: Session, run: Run | None) -> Setting | str:
        """The setting of a session, or a sentence that says why it can't work."""
        config = self._config()
        try:
            agent = config.agent(session.agent_id)
            model, fallbacks = self._models(config, agent, session, run)
        except (UnknownAgent, UnknownModel) as error:
            return str(error)
        thinking = run.thinking if run else session.thinking or agent.thinking
        return Setting(
            agent,
            model,
            fallbacks,
            cast(ThinkingLevel | None, thinking),
            self.toolset(session, run),
            Path(session.cwd) if session.cwd else agent.workspace,
            (run is None or not run.open) and self._posting.capabilities(session.turn_route).streaming,
            config.agents.subagent_defs,
        )

    def toolset(self, session: Session, run: Run | None) -> Toolset:
        """The tools of a session."""
        config, tools, made = self._config(), self._registry.tools, self._made
        if made is None or made.config is not config or made.tools is not tools:
            made = self._made = _Made(config, tools, {})
        denied = self._denied(made, session, run)
        key = (session.agent_id, session.owned, denied)
        found = made.toolsets.get(key)
        if found is None:
            grant = policy.grant(tools.values(), config, config.agent(session.agent_id))
            allowed = grant.of(owner=session.owned, denied=denied)
            found = made.toolsets[key] = Toolset.of(tools, allowed)
        return found

    def _denied(self, made: _Made, session: Session, run: Run | None) -> frozenset[str]:
        """Tools that a session doesn't get whatever its agent's policy says."""
        if run is None or run.kind not in self._registry.run_kinds:
            return frozenset()
        config, tools = made.config, made.tools
        denied = self._registry.run_kinds[run.kind].denied_tools(config, session) | frozenset(run.denied_tools or ())
        named = (*(run.allowed_tools or ()), *(config.tools.subagents.tools.allow or ()))
        denied |= policy.unnamed(tools.values(), named)
        if run.allowed_tools is None:
            return denied
        return denied | (frozenset(tools) - policy.matching(tools, run.allowed_tools))

    def sections(self, tx: Transaction, session: Session, run: Run | None) -> list[str]:
        """Unit of work: what plugins add to a conversation's system prompt. Of a run's prompt only its kind says."""
        if run is not None and run.kind in self._registry.run_kinds:
            return []
        return [text for section in self._registry.prompt_sections if (text := section(tx, session))]

    def system_prompt(self, setting: Setting, session: Session, run: Run | None, sections: Sequence[str]) -> str:
        """The system prompt of a session.

        Args:
            setting: of the session.
            session: whose.
            run: what lives in it.
            sections: what `sections` has found.
        """
        kind = self._registry.run_kinds.get(run.kind) if run else None
        if kind is not None and run is not None:
            return kind.system_prompt(setting, session, run, self._files)
        return main_prompt(
            setting.agent,
            session.key,
            owned=session.owned,
            tools=setting.tools.names,
            model=setting.model,
            thinking=setting.thinking,
            cwd=setting.cwd,
            files=self._files,
            extra=sections,
        )

    def context(
        self,
        setting: Setting,
        session: Session,
        run: Run | None,
        seq: int,
        index: int,
        clock: RunClock,
        progress: Callable[[str], None],
    ) -> ToolContext:
        """What a tool call gets to work with."""
        config = self._config()
        route = session.route
        return ToolContext(
            config=config,
            agent=setting.agent,
            session_id=session.id,
            session_key=session.key,
            depth=session.depth,
            route=route,
            owner=session.owned,
            cwd=setting.cwd,
            roots=tuple(dict.fromkeys((setting.agent.workspace, setting.cwd))),
            state=config.paths.state,
            assistant_seq=seq,
            call_index=index,
            run_id=run.id if run else None,
            fence=session.fence,
            processes=StoreLedger(self._database, session.id, self._registry.gateway.instance),
            approver=_ClockedApprover(
                self._approvals.approver(
                    Call(session.id, session.key, session.agent_id, seq, index, route, run.id if run else None)
                ),
                clock,
            ),
            progress=progress,
        )

    async def was_only_asked(self, session_id: str, seq: int, index: int) -> bool:
        """Whether an open call was still waiting for a person's yes, so that it has done nothing yet."""
        return await self._approvals.was_only_asked(session_id, seq, index)

    def _models(
        self, config: Config, agent: Agent, session: Session, run: Run | None
    ) -> tuple[ModelRef, tuple[ModelRef, ...]]:
        if run is not None:
            names = run.fallbacks or ()
            return find_model(config, agent.id, run.model), tuple(find_model(config, agent.id, n) for n in names)
        if session.model:
            return find_model(config, agent.id, session.model), ()
        return default_model(config, agent.id), fallback_models(config, agent.id, agent.model)


class _ClockedApprover:
    """An `Approver` during whose questions the run's clock stands still."""

    def __init__(self, inner: Approver, clock: RunClock) -> None:
        self._inner = inner
        self._clock = clock

    async def ask(self, question: Question) -> Decision:
        with self._clock.held():
            return await self._inner.ask(question)

    async def allowed_patterns(self) -> tuple[str, ...]:
        return await self._inner.allowed_patterns()

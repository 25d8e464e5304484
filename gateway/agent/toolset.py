"""Which tools a session has, and how one of its calls is run.

A call's result is stored as it comes. A store tool's effect and result are one transaction; an effect tool runs
outside, its text is redacted and capped, and then stored (spec/architecture.md, protocol 3 and 10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import failpoints
from gateway.agent.messages import ToolCall, ToolSpec
from gateway.agent.tokens import estimate_tools
from gateway.store import transcript
from gateway.store.database import Database, Transaction
from gateway.store.transcript import Message
from gateway.tools.base import MAX_RESULT_CHARS, Tool, ToolArgumentError, ToolContext, ToolResult

INTERRUPTED = "A restart interrupted this call. Its outcome is unknown: check what it has done before you do it again."


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools of one session, in the order of their names."""

    tools: Mapping[str, Tool[Any]]
    specs: tuple[ToolSpec, ...]
    names: tuple[str, ...]
    tokens: int
    """Estimated size of the schemas in a request."""
    denied: Mapping[str, Tool[Any]]
    """What there is and the session doesn't have."""

    @classmethod
    def of(cls, tools: Mapping[str, Tool[Any]], allowed: frozenset[str]) -> Toolset:
        """The tools of a registry that are allowed."""
        kept = {name: tools[name] for name in sorted(tools) if name in allowed}
        specs = tuple(tool.spec for tool in kept.values())
        denied = {name: tool for name, tool in tools.items() if name not in kept}
        return cls(kept, specs, tuple(kept), estimate_tools(specs), denied)


def may_run_again(tool: Tool[Any] | None) -> bool:
    """Whether a call that a crash left open is run (again): it has no effect, or none that a repeat would change."""
    return tool is not None and (tool.apply is not None or tool.idempotent)


class ToolRunner:
    """Runs calls."""

    def __init__(
        self, database: Database, clean: Callable[[str], str], check: Callable[[str, int], Awaitable[None]]
    ) -> None:
        """
        Args:
            database: where results are stored.
            clean: takes known secrets out of a text.
            check: is given session and fence before an effect on the outside world; raises `FenceLost` if the session
                may be somebody else's by now.
        """
        self._check = check
        self._database = database
        self._clean = clean

    async def run(
        self, toolset: Toolset, call: ToolCall, context: ToolContext, decorate: Callable[[str], str]
    ) -> Message:
        """Runs one call and stores its result.

        Args:
            toolset: what the session has.
            call: what the model asked for.
            context: where and for whom.
            decorate: may add a note to the result.
        """
        tool = toolset.tools.get(call.name)
        if tool is None:
            return await self._store(context, _unavailable(call.name, toolset, context), decorate)
        try:
            arguments = tool.parse(call.arguments)
        except ToolArgumentError as error:
            return await self._store(context, tool.on_bad_arguments(str(error)), decorate)
        if tool.apply is not None:
            return await self._run_store_tool(tool, arguments, context, decorate)
        await self._check(context.session_id, context.fence)
        failpoints.hit(f"effect:{tool.name}")
        result = await _timed(tool, arguments, context)
        failpoints.hit(f"effected:{tool.name}")
        return await self._store(context, result, decorate)

    async def _run_store_tool(
        self, tool: Tool[Any], arguments: Any, context: ToolContext, decorate: Callable[[str], str]
    ) -> Message:
        if tool.prepare is not None and (result := await tool.prepare(context, arguments)) is not None:
            return await self._store(context, result, decorate)
        async with self._database.in_order(context.session_id):
            message = await self._database.run(self._apply, tool, arguments, context, decorate)
        if message.error and tool.undo is not None:
            await tool.undo(context, arguments)
        return message

    async def _store(self, context: ToolContext, result: ToolResult, decorate: Callable[[str], str]) -> Message:
        text = decorate(_capped(self._clean(result.text)))
        return await self._database.run(tool_result, context, text, result.error)

    def _apply(
        self,
        tx: Transaction,
        tool: Tool[Any],
        arguments: Any,
        context: ToolContext,
        decorate: Callable[[str], str],
    ) -> Message:
        """A store tool's effect and its result, in one transaction: that the result is stored checks the fence, and
        undoes the effect of who has lost it."""
        if tool.apply is None:
            raise TypeError(f"tool `{tool.name}` has no `apply`")
        result = tool.apply(tx, context, arguments)
        return tool_result(tx, context, decorate(_capped(self._clean(result.text))), result.error)


def tool_result(tx: Transaction, context: ToolContext, text: str, error: bool) -> Message:
    """Stores the result of the call that a context belongs to."""
    return transcript.append_result(
        tx, context.session_id, context.fence, context.assistant_seq, context.call_index, text, error=error
    )


async def _timed(tool: Tool[Any], arguments: Any, context: ToolContext) -> ToolResult:
    if tool.run is None:
        raise TypeError(f"tool `{tool.name}` has neither `run` nor `apply`")
    scope = asyncio.timeout(tool.timeout_seconds)
    try:
        async with scope:
            return await tool.run(context, arguments)
    except TimeoutError:
        if not scope.expired():
            raise
        return ToolResult(f"{tool.name} was ended after {tool.timeout_seconds:g} s", error=True)


def _unavailable(name: str, toolset: Toolset, context: ToolContext) -> ToolResult:
    why = toolset.denied[name].on_denied(context) if name in toolset.denied else None
    return why or ToolResult(
        f"the tool `{name[:64]}` is not available to this session; available are: {', '.join(toolset.names) or 'none'}",
        error=True,
    )


def _capped(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARS:
        return text
    half = MAX_RESULT_CHARS // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"

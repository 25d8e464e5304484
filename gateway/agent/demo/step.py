"""What the script does next, and what it can see: a request, read the way the scripts need it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway.agent.messages import ModelRequest, PromptMessage, ToolCall


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the script wants."""

    tool: str
    arguments: Mapping[str, Any]

    def as_tool_call(self, index: int) -> ToolCall:
        """The call as a model would make it."""
        return ToolCall(f"demo_{index}", self.tool, json.dumps(self.arguments, ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class Step:
    """One answer of the script."""

    text: str
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """A call that was made, with its result."""

    tool: str
    arguments: Mapping[str, Any]
    result: str


@dataclass(frozen=True)
class Scene:
    """A request as the scripts see it."""

    request: ModelRequest

    @cached_property
    def tools(self) -> frozenset[str]:
        """Names of the tools on offer."""
        return frozenset(tool.name for tool in self.request.tools)

    @property
    def is_child(self) -> bool:
        """The session is a sub-agent's (its key says so, spec/subagents.md 2)."""
        return ":subagent:" in self.request.session_key

    @property
    def messages(self) -> Sequence[PromptMessage]:
        return self.request.messages

    @cached_property
    def news(self) -> tuple[PromptMessage, ...]:
        """The user messages that nothing has answered yet."""
        return tuple(m for m in self._tail if m.role == "user")

    @cached_property
    def results(self) -> tuple[Done, ...]:
        """Results that came since the last assistant message, in call order."""
        return done_in(self.messages[len(self.messages) - len(self._tail) - 1 :])

    @cached_property
    def has_answered(self) -> bool:
        """An earlier answer in this conversation was one that people saw."""
        return any(m.role == "assistant" and m.text and not m.calls for m in self.messages)

    @cached_property
    def _tail(self) -> tuple[PromptMessage, ...]:
        last = max((i for i, m in enumerate(self.messages) if m.role == "assistant"), default=-1)
        return tuple(self.messages[last + 1 :])


def done_in(messages: Sequence[PromptMessage]) -> tuple[Done, ...]:
    """Every call in these messages that has a result, in order."""
    done: list[Done] = []
    open_calls: dict[str, ToolCall] = {}
    for message in messages:
        if message.role == "assistant":
            open_calls = {call.id: call for call in message.calls}
        elif message.role == "tool" and (call := open_calls.pop(message.call_id or "", None)):
            done.append(Done(call.name, _arguments(call), message.text))
    return tuple(done)


def _arguments(call: ToolCall) -> Mapping[str, Any]:
    try:
        return json.loads(call.arguments)
    except ValueError:
        return {}

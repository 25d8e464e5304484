"""An answer in the OpenAI chat format, whole or in the pieces of a stream, as a `ModelReply`.

Both model libraries answer in this format. Owns the answer while it comes in; nothing survives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.agent.messages import ModelReply, ModelRequest, ToolCall, TransientModelError, Usage
from gateway.agent.pricing import with_cost
from gateway.agent.tokens import estimate_calls, estimate_request, estimate_text

Json = Mapping[str, Any]

_REASONING = ("reasoning_content", "reasoning")
_KEPT_LISTS = ("reasoning_details", "thinking_blocks")


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])
    extra: Json | None = None


class ReplyBuilder:
    """Puts an answer together.

    Args:
        request: what was asked; for the estimate where the provider reports no usage.
    """

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self._text: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._reasoning: dict[str, list[str]] = {}
        self._kept: dict[str, list[Any]] = {}
        self._fields: Json | None = None
        self._usage: Json | None = None
        self._finish: str | None = None
        self._choice_seen = False

    def whole(self, body: Json) -> None:
        """Takes a complete answer."""
        self._take(body, "message")

    def piece(self, body: Json) -> str:
        """Takes one piece of a stream and returns the visible text in it."""
        return self._take(body, "delta")

    def reply(self) -> ModelReply:
        """The answer.

        Raises:
            TransientModelError: it is incomplete.
        """
        name = self._request.model.name
        if not self._choice_seen:
            raise TransientModelError(f"{name}: the provider's answer was empty")
        if self._finish is None and self._usage is None:
            raise TransientModelError(f"{name}: the answer broke off in the middle")
        calls = self._tool_calls()
        usage = self._real_usage() if self._usage else self._estimate(calls)
        return ModelReply(
            text="".join(self._text),
            calls=calls,
            usage=with_cost(self._request.model, usage),
            usage_known=self._usage is not None,
            provider_state=self._state(),
            finish_reason=self._finish or "stop",
        )

    def _take(self, body: Json, key: str) -> str:
        self._usage = _mapping(body.get("usage")) or self._usage
        choices = _sequence(body.get("choices"))
        if not choices:
            return ""
        choice = _mapping(choices[0]) or {}
        self._choice_seen = True
        self._finish = choice.get("finish_reason") or self._finish
        return self._message(_mapping(choice.get(key)) or {})

    def _message(self, message: Json) -> str:
        text = _text(message.get("content")) or _text(message.get("refusal"))
        if text:
            self._text.append(text)
        for position, call in enumerate(_sequence(message.get("tool_calls"))):
            self._add_call(position, cast("Json", call))
        for name in _REASONING:
            if isinstance(part := message.get(name), str) and part:
                self._reasoning.setdefault(name, []).append(part)
        for name in _KEPT_LISTS:
            if parts := _sequence(message.get(name)):
                self._kept.setdefault(name, []).extend(parts)
        self._fields = _mapping(message.get("provider_specific_fields")) or self._fields
        return text

    def _add_call(self, position: int, part: Json) -> None:
        index = part.get("index")
        call = self._calls.setdefault(index if isinstance(index, int) else position, _Call())
        function = _mapping(part.get("function")) or {}
        call.id = call.id or part.get("id") or ""
        call.name = call.name or function.get("name") or ""
        if arguments := function.get("arguments"):
            call.arguments.append(str(arguments))
        call.extra = _mapping(part.get("provider_specific_fields")) or call.extra

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        made: list[ToolCall] = []
        taken: set[str] = set()
        for index, (_, call) in enumerate(sorted(self._calls.items())):
            # A result names its call by id alone, so that two calls of one answer must not share it.
            unique = call.id if call.id and call.id not in taken else f"call_{index}_{len(taken)}"
            taken.add(unique)
            made.append(ToolCall(unique, call.name, "".join(call.arguments) or "{}"))
        return tuple(made)

    def _state(self) -> Mapping[str, Any] | None:
        state: dict[str, Any] = {name: "".join(parts) for name, parts in self._reasoning.items()}
        state |= {name: _merged(parts) for name, parts in self._kept.items()}
        if self._fields:
            state["provider_specific_fields"] = dict(self._fields)
        if any(call.extra for call in self._calls.values()):
            state["call_fields"] = [call.extra for _, call in sorted(self._calls.items())]
        return state or None

    def _real_usage(self) -> Usage:
        usage = self._usage or {}
        details = _mapping(usage.get("prompt_tokens_details")) or {}
        read = _count(details.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens"))
        written = _count(details.get("cache_write_tokens")) or _count(usage.get("cache_creation_input_tokens"))
        return Usage(
            input=_count(usage.get("prompt_tokens")),
            output=_count(usage.get("completion_tokens")),
            cache_read=read or _count(usage.get("cache_read_input_tokens")),
            cache_write=written or _count(details.get("cache_creation_tokens")),
        )

    def _estimate(self, calls: Sequence[ToolCall]) -> Usage:
        out = estimate_text("".join(self._text)) + estimate_calls(calls)
        out += sum(estimate_text("".join(parts)) for parts in self._reasoning.values())
        return Usage(input=estimate_request(self._request), output=out)


def _merged(parts: Sequence[Any]) -> list[Any]:
    """Blocks of a stream that continue each other as one: an Anthropic signature comes after its text."""
    merged: list[Any] = []
    for part in parts:
        block = _mapping(part)
        last = _mapping(merged[-1]) if merged else None
        if block and last and last.get("type") == block.get("type") == "thinking" and not last.get("signature"):
            joined = str(last.get("thinking") or "") + str(block.get("thinking") or "")
            merged[-1] = {**last, **block, "thinking": joined}
        else:
            merged.append(part)
    return merged


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = (_mapping(part) or {} for part in _sequence(content))
    return "".join(str(part.get("text") or "") for part in parts)


def _mapping(value: object) -> Json | None:
    return cast("Json", value) if isinstance(value, Mapping) else None


def _sequence(value: object) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) else 0

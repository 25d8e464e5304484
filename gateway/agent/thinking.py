"""Thinking levels in each provider's own words. Pure functions: level and model in, request fields out.

A model that doesn't think gets no field, and no level (`None`) always means no field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.agent.messages import ModelRef, PromptMessage, ThinkingLevel

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_COMMON: Final = ("low", "medium", "high")
_GPT_5: Final = ("minimal", *_COMMON)

_FAMILIES: Final[Sequence[tuple[re.Pattern[str], tuple[str, ...]]]] = tuple(
    (re.compile(pattern), efforts)
    for pattern, efforts in (
        (r"gpt-5(\.\d+)?-(chat|search)", ()),
        (r"gpt-5(\.\d+)?-pro", ("high",)),
        (r"gpt-5(?![.\d])", _GPT_5),
        (r"gpt-5\.1(?!\d)", ("none", *_COMMON)),
        (r"gpt-([6-9]|5\.\d+)", ("none", *_COMMON, "xhigh")),
        (r"o1-(mini|preview)", ()),
        (r"o[1-9](-|$)", _COMMON),
        (r"gpt-oss", _COMMON),
        (r"grok-3-mini", ("low", "high")),
        (r"kimi-k3", ("low", "high", "max")),
        (r"mistral-large-4", ("none", "high")),
    )
)
"""Which efforts a family takes, by the start of the model's name, whoever serves it; first match."""

_SWITCHED: Final = frozenset({"deepseek", "zai", "moonshot"})
"""Providers where thinking is on or off and has no degrees."""

_BUDGETS: Final[Mapping[ThinkingLevel, int]] = {
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 65_536,
}
"""Thinking tokens for models that take a budget."""
_SMALLEST_BUDGET: Final = 1_024
_ANSWER_RESERVE: Final = 2_048
"""Tokens of a reply that thinking must leave for the answer."""


def openai_fields(model: ModelRef, level: ThinkingLevel | None) -> dict[str, Any]:
    """Fields of an OpenAI-compatible request."""
    if level is None or model.reasoning is False:
        return {}
    if model.provider == "openrouter":
        if level == "off":
            return {"reasoning": {"enabled": False}}
        return {"reasoning": {"effort": nearest(level, _EFFORTS[1:6])}}
    if model.provider in _SWITCHED:
        return {"thinking": {"type": "disabled" if level == "off" else "enabled"}}
    return _effort(level, efforts_of(model))


def litellm_fields(model: ModelRef, level: ThinkingLevel | None, *, family: str, knows: bool) -> dict[str, Any]:
    """Fields of a litellm call to a provider other than Anthropic.

    Args:
        model: the model.
        level: the wished level.
        family: litellm's name of the provider.
        knows: litellm's table says that the model thinks.
    """
    if level is None or model.reasoning is False or not (knows or model.reasoning):
        return {}
    if family in ("gemini", "vertex_ai"):
        return {"reasoning_effort": nearest(level, _EFFORTS[:5])}
    efforts = efforts_of(model)
    if not efforts and level != "off":
        efforts = _COMMON
    return _effort(level, efforts)


def anthropic_fields(
    level: ThinkingLevel | None, max_tokens: int, efforts: Sequence[str], messages: Sequence[PromptMessage]
) -> dict[str, Any]:
    """Fields of a litellm call to Anthropic.

    Args:
        level: the wished level.
        max_tokens: of the reply; a budget has to fit into it and leave room for the answer.
        efforts: what an adaptive model takes; empty for a model with a token budget.
        messages: the prompt. A tool loop that was begun without thinking has to be ended without it.
    """
    if level is None or level == "off" or _loop_without_thinking(messages):
        return {}
    if efforts:
        return {"reasoning_effort": nearest(level, efforts)}
    budget = min(_BUDGETS[level], max_tokens - _ANSWER_RESERVE)
    if budget < _SMALLEST_BUDGET:
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def efforts_of(model: ModelRef) -> tuple[str, ...]:
    """The efforts that a model's family takes; the usual three if only the configuration knows it."""
    name = model.id.rsplit("/", 1)[-1].lower()
    for pattern, efforts in _FAMILIES:
        if pattern.match(name):
            return efforts
    return _COMMON if model.reasoning else ()


def nearest(level: ThinkingLevel, efforts: Sequence[str]) -> str:
    """The effort closest to a level, the lower of two; only `off` becomes `none`, where that exists."""
    if level == "off" and "none" in efforts:
        return "none"
    place = _EFFORTS.index("none" if level == "off" else level)
    usable = [effort for effort in efforts if effort != "none"]
    return min(usable, key=lambda effort: (abs(_EFFORTS.index(effort) - place), _EFFORTS.index(effort)))


def _effort(level: ThinkingLevel, efforts: Sequence[str]) -> dict[str, Any]:
    return {"reasoning_effort": nearest(level, efforts)} if efforts else {}


def _loop_without_thinking(messages: Sequence[PromptMessage]) -> bool:
    for message in reversed(messages):
        if message.role == "user":
            return False
        if message.role == "assistant" and message.calls:
            return not (message.provider_state or {}).get("thinking_blocks")
    return False

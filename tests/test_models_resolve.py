"""Names become models, levels become fields, tokens become money: the pure parts of issue part 6."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.agent.messages import ModelRef, Price, PromptMessage, ThinkingLevel, ToolCall, Usage
from gateway.agent.pricing import cost_micro, price_of, with_cost
from gateway.agent.resolve import (
    DEMO_MODEL,
    UnknownThinkingLevel,
    configured_models,
    default_model,
    fallback_models,
    find_model,
    resolve_thinking,
)
from gateway.agent.thinking import anthropic_fields, litellm_fields, nearest, openai_fields
from gateway.config import Config, ModelChoice, Paths, UnknownModel, parse_config

LOCAL: dict[str, Any] = {
    "baseUrl": "http://127.0.0.1:1/v1",
    "api": "openai-completions",
    "models": [
        {"id": "small", "contextWindow": 9000, "maxTokens": 700, "cost": {"input": 1, "output": 2, "cacheRead": 0.1}},
        {"id": "seeing", "input": ["text", "image"], "reasoning": True},
    ],
}


def config(data: dict[str, object], tmp_path: Path, **environ: str) -> Config:
    return parse_config(data, paths=Paths(tmp_path), environ=environ)


def test_a_configured_model_by_full_name_alias_and_bare_name(tmp_path: Path) -> None:
    made = config({"models": {"providers": {"local": LOCAL}, "aliases": {"fast": "local/small"}}}, tmp_path)
    full = find_model(made, "main", "local/small")
    assert full == find_model(made, "main", "fast") == find_model(made, "main", "small")
    assert (full.provider, full.id, full.api, full.base_url) == (
        "local", "small", "openai-completions", "http://127.0.0.1:1/v1"
    )  # fmt: skip
    assert (full.context_window, full.max_tokens, full.price) == (9000, 700, Price(1, 2, 0.1, 1))
    seeing = find_model(made, "main", "seeing")
    assert (seeing.images, seeing.reasoning, seeing.price) == (True, True, None)


def test_an_ambiguous_or_unknown_name_is_an_error_that_helps(tmp_path: Path) -> None:
    made = config({"models": {"providers": {"local": LOCAL, "other": LOCAL}}}, tmp_path)
    with pytest.raises(UnknownModel, match="local, other"):
        find_model(made, "main", "small")
    with pytest.raises(UnknownModel, match="nothing-like-it"):
        find_model(made, "main", "nothing-like-it")


def test_a_usual_provider_works_from_its_key_alone_and_says_which_it_misses(tmp_path: Path) -> None:
    made = config({}, tmp_path, ANTHROPIC_API_KEY="sk-ant")
    model = find_model(made, "main", "anthropic/claude-sonnet-5")
    assert (model.api, model.api_key, model.images) == ("litellm", "sk-ant", True)
    assert "sk-ant" not in repr(model)
    with pytest.raises(UnknownModel, match="OPENAI_API_KEY"):
        find_model(made, "main", "openai/gpt-5.2")


def test_credentials_are_the_agent_s_own_and_then_the_shared_ones(tmp_path: Path) -> None:
    made = config(
        {
            "models": {"providers": {"openai": {"apiKey": "shared"}}},
            "agents": {"list": [{"id": "main"}, {"id": "b", "models": {"providers": {"openai": {"apiKey": "own"}}}}]},
        },
        tmp_path,
    )
    assert find_model(made, "main", "openai/gpt-5").api_key == "shared"
    assert find_model(made, "b", "openai/gpt-5").api_key == "own"


def test_the_default_is_the_first_provider_with_a_key_and_else_the_demo(tmp_path: Path) -> None:
    assert default_model(config({}, tmp_path), "main") == DEMO_MODEL
    assert default_model(config({}, tmp_path, OPENAI_API_KEY="k"), "main").provider == "openai"
    chosen = config({"agents": {"defaults": {"model": "demo/offline"}}}, tmp_path, OPENAI_API_KEY="k")
    assert default_model(chosen, "main") == DEMO_MODEL
    assert configured_models(chosen) == (DEMO_MODEL,)


def test_a_fallback_without_a_key_is_left_out(tmp_path: Path) -> None:
    made = config({}, tmp_path, OPENAI_API_KEY="k")
    choice = ModelChoice(primary="openai/gpt-5", fallbacks=("anthropic/claude-sonnet-5", "openai/gpt-4o"))
    assert [model.name for model in fallback_models(made, "main", choice)] == ["openai/gpt-4o"]


def test_the_explicit_thinking_level_goes_before_the_chain() -> None:
    assert resolve_thinking(" HIGH ", "low") == "high"
    assert resolve_thinking(None, None, "low", "max") == "low"
    assert resolve_thinking(None, None) is None
    with pytest.raises(UnknownThinkingLevel, match="off, minimal, low, medium, high, xhigh, max"):
        resolve_thinking("hard")


@pytest.mark.parametrize(
    ("provider", "name", "level", "fields"),
    [
        ("openai", "gpt-5", "off", {"reasoning_effort": "minimal"}),
        ("openai", "gpt-5.1", "off", {"reasoning_effort": "none"}),
        ("openai", "gpt-5.1", "minimal", {"reasoning_effort": "low"}),
        ("openai", "gpt-5.2", "max", {"reasoning_effort": "xhigh"}),
        ("openai", "o3", "xhigh", {"reasoning_effort": "high"}),
        ("openai", "gpt-4o", "high", {}),
        ("openai", "gpt-5.2", None, {}),
        ("groq", "openai/gpt-oss-120b", "low", {"reasoning_effort": "low"}),
        ("deepseek", "deepseek-chat", "off", {"thinking": {"type": "disabled"}}),
        ("openrouter", "any/thing", "max", {"reasoning": {"effort": "xhigh"}}),
        ("openrouter", "any/thing", "off", {"reasoning": {"enabled": False}}),
        ("local", "unheard-of", "high", {}),
    ],
)
def test_levels_in_the_words_of_openai_compatible_providers(
    provider: str, name: str, level: ThinkingLevel | None, fields: dict[str, Any]
) -> None:
    assert openai_fields(ModelRef(provider, name, "openai-completions"), level) == fields


def test_the_configuration_says_whether_an_unknown_model_thinks() -> None:
    assert openai_fields(ModelRef("x", "m", "openai-completions", reasoning=True), "max") == {
        "reasoning_effort": "high"
    }
    assert openai_fields(ModelRef("x", "gpt-5", "openai-completions", reasoning=False), "max") == {}
    gemini = ModelRef("gemini", "gemini-3", "litellm")
    assert litellm_fields(gemini, "max", family="gemini", knows=True) == {"reasoning_effort": "high"}
    assert litellm_fields(gemini, "max", family="gemini", knows=False) == {}


def test_anthropic_gets_a_budget_that_fits_or_an_effort() -> None:
    asked = [PromptMessage("user", "x")]
    assert anthropic_fields("high", 32_000, (), asked) == {"thinking": {"type": "enabled", "budget_tokens": 16_384}}
    assert anthropic_fields("high", 8_192, (), asked) == {"thinking": {"type": "enabled", "budget_tokens": 6_144}}
    assert anthropic_fields("high", 2_000, (), asked) == {}
    assert anthropic_fields("max", 8_192, ("low", "high"), asked) == {"reasoning_effort": "high"}
    assert anthropic_fields("off", 8_192, ("low", "high"), asked) == {}
    loop = [*asked, PromptMessage("assistant", "", calls=(ToolCall("1", "ls", "{}"),)), PromptMessage("tool", "")]
    assert anthropic_fields("high", 32_000, (), loop) == {}


def test_the_nearest_effort_is_the_lower_of_two() -> None:
    assert nearest("medium", ("low", "high")) == "low"
    assert nearest("off", ("low", "high")) == "low"
    assert nearest("minimal", ("none", "low")) == "low"


def test_money_is_whole_micro_dollars_rounded_half_up() -> None:
    price = Price(3.0, 15.0, 0.3, 3.75)
    assert cost_micro(price, Usage(1000, 100, cache_read=600, cache_write=100)) == 900 + 180 + 375 + 1500
    assert cost_micro(Price(0.5, 0, 0, 0), Usage(1)) == 1
    assert cost_micro(Price(0.15, 0, 0, 0), Usage(3)) == 0
    assert cost_micro(Price(0, 0, 0, 0), Usage(5, 5)) == 0


def test_the_price_is_the_configured_one_then_the_table_s_then_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    model = ModelRef("openai", "gpt-5", "openai-completions")
    assert price_of(model) is None
    assert with_cost(model, Usage(5, 5)).cost_micro is None
    entry = {"litellm_provider": "openai", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05}
    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(model_cost={"gpt-5": entry}))  # pyright: ignore[reportArgumentType]
    assert price_of(model) == Price(1.25, 10.0, 1.25, 1.25)
    assert price_of(ModelRef("somewhere", "gpt-5", "openai-completions")) is None

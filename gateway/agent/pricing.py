"""What a model call costs, in whole micro-USD: configured price, else litellm's table, else unknown.

Nothing here imports litellm, which costs 184 MB: its table counts only where the process has loaded it
already.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, cast

from gateway.agent.messages import ModelRef, Price, Usage

_MILLION = 1_000_000


def with_cost(model: ModelRef, usage: Usage) -> Usage:
    """The usage with its cost; `cost_micro` stays None where no price is known (never 0 in that case)."""
    price = price_of(model)
    return usage if price is None else replace(usage, cost_micro=cost_micro(price, usage))


def price_of(model: ModelRef) -> Price | None:
    """The configured price, else that of litellm's table if litellm is loaded, else None."""
    return model.price or _table_price(model)


def no_price(budget: str, model: ModelRef) -> str:
    """Why a call that a budget in USD watches isn't made, and what to do (spec/subagents.md, `budgetUsd`).

    Args:
        budget: which one, with its key.
        model: the model without a price.
    """
    return (
        f"{budget} needs a price, and none is known for {model.name}: set "
        f"models.providers.{model.provider}.models[].cost"
    )


def cost_micro(price: Price, usage: Usage) -> int:
    """micro-USD of a usage, rounded half up.

    USD per million tokens is micro-USD per token, so that tokens times price is the answer. Cached tokens
    are part of `usage.input` and are paid at their own price.
    """
    fresh = max(0, usage.input - usage.cache_read - usage.cache_write)
    parts = (
        (fresh, price.input),
        (usage.cache_read, price.cache_read),
        (usage.cache_write, price.cache_write),
        (usage.output, price.output),
    )
    total = sum((Decimal(tokens) * Decimal(str(each)) for tokens, each in parts), Decimal(0))
    return int(total.quantize(Decimal(1), ROUND_HALF_UP))


def table_entry(model: ModelRef) -> Mapping[str, Any] | None:
    """What litellm's table knows of a model; None if it knows nothing or litellm isn't loaded.

    A bare model name counts only for the provider that the table names, so that a private server that calls
    its model `gpt-5` isn't billed at OpenAI's price.
    """
    litellm = sys.modules.get("litellm")
    table = cast("Mapping[str, Mapping[str, Any]] | None", getattr(litellm, "model_cost", None))
    if table is None:
        return None
    family = model.provider if model.api in ("openai-completions", "litellm") else model.api
    if (entry := table.get(f"{family}/{model.id}")) is not None:
        return entry
    entry = table.get(model.id)
    return entry if entry and entry.get("litellm_provider") == family else None


def _table_price(model: ModelRef) -> Price | None:
    entry = table_entry(model) or {}
    into, out = _per_million(entry, "input_cost_per_token"), _per_million(entry, "output_cost_per_token")
    if into is None or out is None:
        return None
    read = _per_million(entry, "cache_read_input_token_cost")
    write = _per_million(entry, "cache_creation_input_token_cost")
    return Price(into, out, into if read is None else read, into if write is None else write)


def _per_million(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    return float(Decimal(str(value)) * _MILLION) if isinstance(value, int | float) else None

"""What is known of well-known model families without loading a price table: window, reply length, sight.

A configured entry always goes before. The numbers are on the low side where members of a family differ: a
window that is taken for too small only compacts earlier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Family:
    """What members of a family have in common."""

    context_window: int = 128_000
    """tokens"""
    max_tokens: int = 8_192
    """tokens of one reply, thinking included"""
    images: bool = False


UNKNOWN: Final = Family()

_FAMILIES: Final[Sequence[tuple[re.Pattern[str], Family]]] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"claude-3-", Family(200_000, 4_096, images=True)),
        (r"claude-", Family(200_000, 16_384, images=True)),
        (r"gpt-4o|gpt-4-turbo", Family(128_000, 4_096, images=True)),
        (r"gpt-4\.1", Family(1_000_000, 16_384, images=True)),
        (r"gpt-5(\.\d+)?-chat", Family(128_000, 16_384, images=True)),
        (r"gpt-[5-9]", Family(272_000, 32_768, images=True)),
        (r"gpt-oss", Family(128_000, 16_384)),
        (r"o[1-9](-|$)", Family(200_000, 32_768, images=True)),
        (r"gemini-", Family(1_000_000, 32_768, images=True)),
        (r"grok-[4-9]", Family(250_000, 16_384, images=True)),
        (r"deepseek-", Family(128_000, 8_192)),
        (r"kimi-", Family(200_000, 16_384)),
        (r"glm-\d[\d.]*v", Family(64_000, 8_192, images=True)),
        (r"(gemma-?3|llava|pixtral|qwen[\d.]*-?vl)", Family(32_000, 4_096, images=True)),
    )
)


def family_of(model_id: str) -> Family:
    """What is known by the model's name, whoever serves it."""
    name = model_id.rsplit("/", 1)[-1].lower()
    return next((family for pattern, family in _FAMILIES if pattern.match(name)), UNKNOWN)

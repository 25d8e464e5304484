"""What a tool of the MCP server answers, whoever is asked in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Code = Literal["invalid", "not_found", "permission_denied", "unavailable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool returns."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    error: bool = False


class UnknownTool(Exception):
    """There is no such tool."""


def refusal(text: str, code: Code, where: str | None = None) -> Answer:
    """An answer that says what is wrong.

    Args:
        text: for whoever called.
        code: for programs.
        where: the parameter that is wrong.
    """
    fault = {"code": code, "message": text, **({"parameter": where} if where else {})}
    return Answer(f"{code}: {text}", {"error": fault}, error=True)

"""Spans of time as people type them: `30s`, `5m`, `1h30m`, `30d`, `250ms`. A number alone is refused: of what?"""

from __future__ import annotations

import re

from gateway.cli.context import USAGE, CliError

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def milliseconds(text: str | None, option: str) -> int | None:
    """The span in milliseconds; None for None.

    Args:
        text: what was typed.
        option: where, for the error.

    Raises:
        CliError: it is none.
    """
    if text is None:
        return None
    parts = _PART.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise CliError(f"{option}: `{text}` is no span of time; write 250ms, 30s, 5m, 1h30m or 30d", USAGE)
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))

"""Spans of time as people type them: `30s`, `5m`, `1h30m`, `30d`, `250ms`. A number alone is refused: of what?"""

from __future__ import annotations

import re

from gateway.cli.context import USAGE, CliError

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def timeout_of(text: str | None, given_ms: int | None) -> int | None:
    """A time limit in milliseconds, given as `--timeout` or as `--timeout-ms`; None: neither is.

    Raises:
        CliError: both are, or the first is no span.
    """
    if text is not None and given_ms is not None:
        raise CliError("give either --timeout or --timeout-ms", USAGE)
    return milliseconds(text, "--timeout") if given_ms is None else given_ms


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

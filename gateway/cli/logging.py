"""Logging of a gateway process, as the command line asks for it: see `gateway/logs.py`."""

from __future__ import annotations

import os

from gateway.logs import LEVELS as LEVELS
from gateway.logs import configure as configure

VARIABLE = "LANEWAY_LOG"


def level_from_environment() -> str | None:
    """The level that `LANEWAY_LOG` asks for; None: what the configuration says."""
    level = os.environ.get(VARIABLE, "").lower()
    return level if level in LEVELS else None

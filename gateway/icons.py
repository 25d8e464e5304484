"""Signs for the states of runs. On its own, so that the command line loads nothing else for them."""

from __future__ import annotations

from collections.abc import Mapping

ICONS: Mapping[str, str] = {
    "queued": "⏳",
    "delayed": "⏰",
    "running": "🔄",
    "waiting": "💤",
    "paused": "⏸",
    "ok": "✅",
    "error": "❌",
    "timeout": "⏱",
    "stopped": "⏹",
    "budget": "💸",
    "dead": "💀",
}
"""One sign for each status of an open run and each outcome of an ended one."""

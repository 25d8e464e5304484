"""How times, tokens and money are written for people, everywhere alike: in chats, announcements, the command line and
the terminal. Imports nothing, so that the lightest command may use it.
"""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`45s`, `2m31s`, `3h05m`, `2d4h`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"


def tenths(seconds: float) -> str:
    """A short time with its tenths, a long one without: `0.4s`, `2m31s`."""
    return f"{max(0.0, seconds):.1f}s" if seconds < 10 else duration(seconds)


def count(number: int) -> str:
    """`950`, `12.3k`, `4.5M`."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 999_950 else f"{number / 1_000_000:.1f}M"


def money(usd: float) -> str:
    """`$0.0123`, `$4.56`."""
    return f"${usd:.4f}" if usd < 1 else f"${usd:.2f}"

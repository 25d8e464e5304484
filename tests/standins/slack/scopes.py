"""Which scope a call needs, and how often it may be made."""

from __future__ import annotations

from enum import Enum

from tests.standins.slack.errors import Refusal
from tests.standins.slack.model import App, Channel

BY_KIND = "*:"
"""A scope that begins so is that of the conversation's kind: `*:history` is `channels:history` in a public channel."""
_KINDS = ("channels", "groups", "im", "mpim")


class Tier(Enum):
    """Calls a minute (docs.slack.dev/apis/web-api/rate-limits)."""

    ONE = 5
    """Slack says one, and that it tolerates a small burst."""
    TWO = 20
    THREE = 50
    FOUR = 100
    SPECIAL = 600
    """Hundreds: auth.test, the status of a thread; posts have a limit per channel besides."""


def check_scopes(app: App, needed: tuple[str, ...], channel: Channel | None) -> None:
    """Refuses a call that the token has no scope for.

    Args:
        app: whose bot token it is.
        needed: any one of these is enough; none is needed if there are none.
        channel: that it is about, if it is about one.

    Raises:
        Refusal: missing_scope, with `needed` and `provided`.
    """
    if not needed:
        return
    possible = [scope for name in needed for scope in _expanded(name, channel)]
    if not app.scopes.intersection(possible):
        raise Refusal("missing_scope", fault=False, needed=",".join(possible), provided=",".join(sorted(app.scopes)))


def _expanded(scope: str, channel: Channel | None) -> list[str]:
    if not scope.startswith(BY_KIND):
        return [scope]
    what = scope.removeprefix(BY_KIND)
    return [f"{kind}:{what}" for kind in ((channel.kind.scope,) if channel else _KINDS)]

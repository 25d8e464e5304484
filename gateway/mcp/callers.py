"""Who calls a tool of the MCP server."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.jobs.owner import Owner


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls."""

    owner: Owner
    """As whom he submits and steers."""
    looker: Owner
    """As whom he looks: a token that may read sees everything."""
    may_change: bool = True

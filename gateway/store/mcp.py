"""The tools of MCP servers: what was accepted of each, and what its server has made of it since (docs/mcp.md, trust).

Owns the table `mcp_tools`. What a server offers when it is first seen under its configuration is accepted as it is: an
owner has just configured it. Whatever changes or comes later waits for an owner's approval, and survives restarts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select, update

from gateway.store import rows
from gateway.store.database import Transaction, insert_into
from gateway.store.schema import mcp_tools

FIRST_USE = "first use"
"""Who approved what came with the server's first connection."""

Standing = Literal["usable", "new", "changed", "gone"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as a server describes it, cleaned; its fingerprint is of what came."""

    name: str
    description: str
    input_schema: dict[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Known:
    """One row of `mcp_tools`."""

    server: str
    name: str
    source: str
    """A fingerprint of the configuration that it was last seen under."""
    present: bool
    """The server has listed it the last time."""
    fingerprint: str | None
    """Of what was accepted; None: nothing yet."""
    description: str
    input_schema: dict[str, Any]
    new_fingerprint: str | None
    """Of what waits for an approval; None: nothing does."""
    new_description: str | None
    new_schema: dict[str, Any] | None
    seen_at: int
    approved_at: int | None
    approved_by: str | None

    @property
    def standing(self) -> Standing:
        """Whether it can be used, or why not."""
        if not self.present:
            return "gone"
        if self.new_fingerprint is None:
            return "usable"
        return "new" if self.fingerprint is None else "changed"


_ALL = select(*rows.columns(mcp_tools, Known)).order_by(mcp_tools.c.server, mcp_tools.c.name)


def known(tx: Transaction, server: str | None = None) -> list[Known]:
    """The tools of a server, or of all."""
    statement = _ALL if server is None else _ALL.where(mcp_tools.c.server == server)
    return [Known(*row) for row in tx.execute(statement)]


def listed(tx: Transaction, server: str, source: str, offers: Iterable[Offer]) -> list[Known]:
    """A server has listed its tools.

    Args:
        tx: the unit of work.
        server: its name.
        source: a fingerprint of its configuration.
        offers: everything that it lists.
    """
    before = {each.name: each for each in known(tx, server)}
    first_seen = all(each.source != source for each in before.values())
    it = mcp_tools.c.server == server
    tx.execute(update(mcp_tools).where(it).values(present=False, source=source))
    for offer in offers:
        old = before.get(offer.name)
        if old is None:
            # Another process may see it in the same moment.
            row = insert_into(mcp_tools, tx.dialect).on_conflict_do_nothing()
            values = _fresh(tx, source, offer, accepted=first_seen)
            tx.execute(row.values(server=server, name=offer.name, **values))
        else:
            changed = old.fingerprint != offer.fingerprint
            this = update(mcp_tools).where(it, mcp_tools.c.name == offer.name)
            tx.execute(this.values(present=True, seen_at=tx.now, **_pending(offer if changed else None)))
    return known(tx, server)


def approve(tx: Transaction, server: str, name: str | None, by: str) -> list[Known]:
    """Accepts what waits of one tool, or of all of a server; returns what it was.

    Args:
        tx: the unit of work.
        server: its name.
        name: the tool, as the server calls it; None: all.
        by: who approves.
    """
    waiting = [
        each
        for each in known(tx, server)
        if name in (None, each.name) and each.present and each.new_fingerprint is not None
    ]
    for each in waiting:
        this = update(mcp_tools).where(mcp_tools.c.server == server, mcp_tools.c.name == each.name)
        accepted = {
            "fingerprint": each.new_fingerprint,
            "description": each.new_description,
            "input_schema": each.new_schema,
        }
        tx.execute(this.values(**accepted, approved_at=tx.now, approved_by=by, **_pending(None)))
    return waiting


def _fresh(tx: Transaction, source: str, offer: Offer, *, accepted: bool) -> dict[str, Any]:
    return {
        "source": source,
        "present": True,
        "fingerprint": offer.fingerprint if accepted else None,
        "description": offer.description,
        "input_schema": offer.input_schema,
        "seen_at": tx.now,
        "approved_at": tx.now if accepted else None,
        "approved_by": FIRST_USE if accepted else None,
        **_pending(None if accepted else offer),
    }


def _pending(offer: Offer | None) -> dict[str, Any]:
    return {
        "new_fingerprint": offer.fingerprint if offer else None,
        "new_description": offer.description if offer else None,
        "new_schema": offer.input_schema if offer else None,
    }

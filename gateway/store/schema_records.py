"""The tables of what is kept for people to look at: usage and starts. Nothing is decided by them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from gateway.store.columns import Serial, count, metadata

usage = Table(
    "usage",
    metadata,
    Column("day", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    count("calls"),
    count("tokens_in"),
    count("tokens_out"),
    count("cache_read"),
    count("cost_micro"),
    count("unpriced"),
)
"""The ledger: what was used on each UTC day, of which model, where and for whom. Outlives runs and sessions."""

process_starts = Table(
    "process_starts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("instance", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("down_since", BigInteger),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("stopped_at", BigInteger),
    sqlite_autoincrement=True,
)
"""Every start of a process, and how the one before it had ended: for the picture of what a restart has cost."""
Index("process_starts_started", process_starts.c.started_at)

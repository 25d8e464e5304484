"""The tables about platforms: people, and what stands on their screens."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text, text

from gateway.store.columns import metadata

people = Table(
    "people",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("code", Text, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("told_at", BigInteger),
    Column("approved_at", BigInteger),
    Column("approved_by", Text),
)
"""Who may write directly: people who have asked to be paired, and those whom an owner has approved."""

buttons = Table(
    "buttons",
    metadata,
    Column("token", Text, primary_key=True),
    Column("post_id", BigInteger, nullable=False),
    Column("route", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""What a button stands for: a slash command in the conversation that it was posted in."""
Index("buttons_post", buttons.c.post_id)

cards = Table(
    "cards",
    metadata,
    Column("post_id", BigInteger, primary_key=True),
    Column("route", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False, server_default=text("false")),
)
"""Cards that show what a conversation's sub-agents do; at most one on a route isn't done."""
Index(
    "cards_open_route",
    cards.c.route,
    unique=True,
    sqlite_where=cards.c.done.is_(False),
    postgresql_where=cards.c.done.is_(False),
)

threads = Table(
    "threads",
    metadata,
    Column("route", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("bound_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
)
"""Threads that belong to a sub-agent: what people write there goes to it."""
Index("threads_session", threads.c.session_id)

openings = Table(
    "openings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("route", Text, nullable=False),
    Column("opened", Text),
    Column("created_at", BigInteger, nullable=False),
)
"""Threads that are being opened: a crash in between must not open a second one."""

moved_chats = Table(
    "moved_chats",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("chat", Text, primary_key=True),
    Column("now", Text, nullable=False),
    Column("moved_at", BigInteger, nullable=False),
)
"""Chats that their platform knows by another id than the one that is stored everywhere else."""

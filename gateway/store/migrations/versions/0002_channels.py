"""Platforms: who may speak, what stands on them, and threads that belong to sub-agents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds columns and tables; what is there stays as it is."""
    op.add_column("inbox", sa.Column("sender_id", sa.Text(), nullable=True))
    op.add_column("inbox", sa.Column("message_id", sa.Text(), nullable=True))
    op.create_index("inbox_sender", "inbox", ["sender_id", "id"])
    op.create_index("inbox_consumed", "inbox", ["session_id", "consumed_seq"])
    op.add_column("outbox", sa.Column("kind", sa.Text(), server_default=sa.text("'text'"), nullable=False))
    op.add_column("outbox", sa.Column("card", sa.JSON(), nullable=True))
    op.add_column("outbox", sa.Column("buttons", sa.JSON(), nullable=True))
    op.add_column("outbox", sa.Column("streamed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("runs", sa.Column("mode", sa.Text(), server_default=sa.text("'run'"), nullable=False))
    op.create_index("runs_route", "runs", ["route", "ended_at"])
    _people()
    _posts()
    _threads()


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("channel", "account", "peer"),
        sa.UniqueConstraint("code"),
    )


def _posts() -> None:
    op.create_table(
        "buttons",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("session_key", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("buttons_post", "buttons", ["post_id"])
    op.create_table(
        "cards",
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("session_key", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("post_id"),
    )
    op.create_index(
        "cards_open_route",
        "cards",
        ["route"],
        unique=True,
        sqlite_where=sa.text("done IS 0"),
        postgresql_where=sa.text("done IS false"),
    )


def _threads() -> None:
    op.create_table(
        "threads",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("session_key", sa.Text(), nullable=False),
        sa.Column("bound_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_index("threads_session", "threads", ["session_id"])
    op.create_table(
        "openings",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("opened", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )

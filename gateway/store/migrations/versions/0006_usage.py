"""Usage, timings and traces: what was used by whom, when everything began, and what led to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_COUNTS = ("calls", "tokens_in", "tokens_out", "cache_read", "cost_micro", "unpriced")
_KEY = ("day", "agent_id", "model", "channel", "person", "kind")


def upgrade() -> None:
    """Adds columns and tables. What is there has no times of its own: it is drawn by what stands before and after."""
    op.add_column("sessions", sa.Column("turn_trace", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("person", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("started_at", sa.BigInteger(), nullable=True))
    op.add_column("messages", sa.Column("waits", sa.JSON(), nullable=True))
    op.add_column("inbox", sa.Column("trace", sa.Text(), nullable=True))
    op.add_column("outbox", sa.Column("trace", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("trace", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("phases", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("approvals", sa.Column("decided_at", sa.BigInteger(), nullable=True))
    _tables()


def _tables() -> None:
    op.create_table(
        "usage",
        *(sa.Column(name, sa.Text(), nullable=False) for name in _KEY),
        *(sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint(*_KEY),
    )
    op.create_table(
        "process_starts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("down_since", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("process_starts_started", "process_starts", ["started_at"])

"""Platforms: posts that may stand there twice, and chats that have got another id."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds a column and a table; of what was before nothing of the kind is known."""
    op.add_column("outbox", sa.Column("copied", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "moved_chats",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("now", sa.Text(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "account", "chat"),
    )

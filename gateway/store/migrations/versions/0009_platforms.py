"""Platforms: posts that may stand there twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds a column; of what was delivered before nothing of the kind is known."""
    op.add_column("outbox", sa.Column("copied", sa.Boolean(), server_default=sa.text("false"), nullable=False))

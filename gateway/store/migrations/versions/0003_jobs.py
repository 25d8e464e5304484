"""Jobs: the runs of sub-agents become jobs of one kind among others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_COUNTS = ("backoff_ms", "backoff_jitter", "backoff_most_ms", "reopened")


def upgrade() -> None:
    """Adds columns and tables; runs that there are keep their state and get numbers in the order of their age."""
    _columns()
    _carry_over()
    op.create_index("runs_idempotency", "runs", ["idempotency_key"], unique=True)
    op.create_index("runs_number", "runs", ["number"])
    op.create_index("runs_delayed", "runs", ["status", "not_before"])
    _tables()


def _columns() -> None:
    def text(name: str, default: str | None = None) -> sa.Column[str]:
        if default is None:
            return sa.Column(name, sa.Text(), nullable=True)
        return sa.Column(name, sa.Text(), server_default=sa.text(f"'{default}'"), nullable=False)

    def whole(name: str, default: int | None, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
        if default is None:
            return sa.Column(name, kind(), nullable=True)
        return sa.Column(name, kind(), server_default=sa.text(str(default)), nullable=False)

    added: list[sa.Column[int] | sa.Column[str] | sa.Column[object]] = [
        whole("number", 0),
        text("lane", "subagent"),
        sa.Column("allowed_tools", sa.JSON(), nullable=True),
        text("definition"),
        whole("max_turns", None, sa.Integer),
        sa.Column("payload", sa.JSON(), nullable=True),
        text("submitted_by"),
        text("idempotency_key"),
        whole("attempt", 1, sa.Integer),
        whole("max_attempts", 1, sa.Integer),
        text("backoff", "exponential"),
        *(whole(name, 0) for name in _COUNTS),
        text("on_child_fail", "ignore"),
        whole("max_children", None, sa.Integer),
        whole("not_before", None),
        whole("remaining_ms", None),
        sa.Column("output", sa.JSON(), nullable=True),
        sa.Column("state", sa.JSON(), nullable=True),
        whole("step", None),
        whole("steps", None),
        text("replay_of"),
    ]
    for column in added:
        op.add_column("runs", column)


def _carry_over() -> None:
    op.execute(
        "update runs set number = (select count(*) from runs as older where older.created_at < runs.created_at "
        "or (older.created_at = runs.created_at and older.id <= runs.id))"
    )


def _tables() -> None:
    op.create_table(
        "run_after",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("after_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "after_id"),
    )
    op.create_index("run_after_other", "run_after", ["after_id"])
    op.create_table(
        "rate_leases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("rate_leases_provider", "rate_leases", ["provider", "until"])
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )

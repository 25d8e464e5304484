"""Numbers of jobs are unique: on PostgreSQL they come from a sequence, so that submitters don't wait for each other."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

_RENUMBER = """
update runs set number = (select max(number) from runs)
    + (select count(*) from runs as others where others.id <= runs.id and exists
        (select 1 from runs as twins where twins.number = others.number and twins.id < others.id))
where exists (select 1 from runs as twins where twins.number = runs.number and twins.id < runs.id)
"""
"""Of several that have one number, all but one get new ones."""


def upgrade() -> None:
    """Renumbers what has been numbered twice."""
    op.execute(_RENUMBER)
    op.drop_index("runs_number", "runs")
    op.create_index("runs_number", "runs", ["number"], unique=True)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("create sequence run_numbers owned by runs.number")
        op.execute("select setval('run_numbers', (select coalesce(max(number), 0) + 1 from runs), false)")

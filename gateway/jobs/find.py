"""Which job a word means, and who may see which.

An operator sees every job. Everybody else sees those that he has submitted and those below his conversation; a job of
somebody else and one that doesn't exist look the same (spec/jobs.md, views).
"""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, select, true

from gateway.jobs.owner import JobRefused, Owner
from gateway.store import jobs, rows, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import runs as table
from gateway.views import capped

_NUMBER = re.compile(r"#?([0-9]{1,15})", re.ASCII)
_PREFIX = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)
_ALL = select(*rows.columns(table, Run))


def job(tx: Transaction, owner: Owner, word: str) -> Run:
    """The job that a number (`12`, `#12`) or the beginning of an id means to somebody.

    Raises:
        JobRefused: he sees none, or several.
    """
    word = word.strip().lower()
    found: dict[str, Run] = {}
    number = _NUMBER.fullmatch(word)
    if number is not None and (run := jobs.by_number(tx, int(number[1]))) is not None:
        found[run.id] = run
    elif _PREFIX.fullmatch(word):
        found = {each.id: each for each in runs.matching(tx, word)}
    seen = [each for each in found.values() if visible(tx, owner, each)]
    if len(seen) == 1:
        return seen[0]
    if not seen:
        text = f"there is no job `{capped(word, 60)}`; the list of jobs has all that you may see"
        raise JobRefused(text, status="not_found")
    names = ", ".join(f"#{each.number} ({each.id[:8]})" for each in seen)
    raise JobRefused(f"`{capped(word, 60)}` fits several jobs: {names}", status="not_found")


def visible(tx: Transaction, owner: Owner, run: Run) -> bool:
    """Whether somebody sees a job."""
    if owner.operator or run.submitted_by == owner.name:
        return True
    if owner.session is None:
        return any(above.submitted_by == owner.name for above in runs.ancestors(tx, run))
    asked = set(sessions.same_conversation(tx, owner.session))
    return bool(asked & {run.requester_id, *(each.requester_id for each in runs.ancestors(tx, run))})


def visibility(tx: Transaction, owner: Owner) -> ColumnElement[bool]:
    """The same as a condition on the table `runs`."""
    if owner.operator:
        return true()
    mine = table.c.submitted_by == owner.name
    if owner.session is not None:
        mine = mine | table.c.requester_id.in_(sessions.same_conversation(tx, owner.session))
    top = select(table.c.id, table.c.session_id).where(mine).cte("mine", recursive=True)
    below = select(table.c.id, table.c.session_id).where(table.c.requester_id == top.c.session_id)
    return table.c.id.in_(select(top.union(below).c.id))

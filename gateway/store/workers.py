"""Workers: the processes that work on sessions, and who of them is alive.

Owns the table `workers`: one row for each process, with one lease for all that it has claimed. A process of this
machine is known by its number and start time, others only by their leases, which run by the database's clock. Empty on
SQLite, where one process is alone. Its functions are units of work, or parts of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import meta, sessions, workers

CAPS = "lanes"
"""Key in `meta`: each lane's cap, as the gateway's configuration has it."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One row of `workers`."""

    id: str
    role: str
    """`gateway` or `worker`"""
    host: str
    """The machine's name, for people."""
    machine: str
    """Boot and process namespace: where `pid` means something."""
    pid: int
    process_started: str
    version: str
    lanes: dict[str, int]
    """What it works on; 0: as much as the lane allows, else at most so many at once over all of them."""
    started_at: int
    lease_until: int


_ALL = select(*rows.columns(workers, Worker))
_HOLD = select(workers.c.id).where(workers.c.id == bindparam("of_worker")).with_for_update(read=True, key_share=True)


def join(tx: Transaction, worker: Worker, lease_ms: int) -> Worker:
    """Adds this process; its lease begins now."""
    values = {name: getattr(worker, name) for name in Worker.__slots__}
    values |= {"started_at": tx.now, "lease_until": tx.now + lease_ms}
    tx.execute(insert(workers).values(values))
    return Worker(**values)


def hold(tx: Transaction, worker_id: str) -> bool:
    """Keeps others from taking a process for dead until this unit is over; False: somebody has."""
    return tx.execute(_HOLD, {"of_worker": worker_id}).first() is not None


def renew(tx: Transaction, worker_id: str, lease_ms: int) -> bool:
    """Renews a lease; False: the process has been taken for dead, and owns nothing any more."""
    changed = update(workers).where(workers.c.id == worker_id).values(lease_until=tx.now + lease_ms)
    return bool(tx.execute(changed).rowcount)


def listed(tx: Transaction) -> list[Worker]:
    """All processes, the gateway first."""
    return [Worker(*row) for row in tx.execute(_ALL.order_by(workers.c.role, workers.c.started_at, workers.c.id))]


def find(tx: Transaction, worker_id: str) -> Worker | None:
    """One process."""
    row = tx.execute(_ALL.where(workers.c.id == worker_id)).first()
    return Worker(*row) if row else None


def lapsed(tx: Transaction) -> list[Worker]:
    """The processes whose leases are over."""
    return [Worker(*row) for row in tx.execute(_ALL.where(workers.c.lease_until < tx.now))]


def next_lapse(tx: Transaction, but: str) -> int | None:
    """When the first lease of another process is over, unless it is renewed (milliseconds)."""
    return tx.execute(select(func.min(workers.c.lease_until)).where(workers.c.id != but)).scalar()


def remove(tx: Transaction, worker_id: str, *, lapsed_only: bool) -> bool:
    """Takes a process off the list, so that whoever does it is the one who takes over; False: it isn't there.

    Args:
        tx: the unit of work.
        worker_id: which.
        lapsed_only: only if its lease is over: it isn't known to be dead.
    """
    gone = delete(workers).where(workers.c.id == worker_id)
    if lapsed_only:
        gone = gone.where(workers.c.lease_until < tx.now)
    return bool(tx.execute(gone).rowcount)


def claimed(tx: Transaction, worker_id: str) -> list[str]:
    """The sessions that a process has claimed, held from here on."""
    found = select(sessions.c.id).where(sessions.c.claimed_by == worker_id)
    tx.lock(sessions, *(str(row[0]) for row in tx.execute(found).all()))
    return [str(row[0]) for row in tx.execute(found.order_by(sessions.c.depth, sessions.c.id)).all()]


def busy(tx: Transaction) -> dict[str, int]:
    """How many sessions each process has claimed."""
    held = select(sessions.c.claimed_by, func.count().label("number")).where(sessions.c.claimed_by.is_not(None))
    return {str(row.claimed_by): int(row.number) for row in tx.execute(held.group_by(sessions.c.claimed_by))}


def ownerless(tx: Transaction) -> list[str]:
    """The ids by which sessions are claimed that belong to no process on the list."""
    known = select(workers.c.id)
    found = select(sessions.c.claimed_by).where(sessions.c.claimed_by.is_not(None), sessions.c.claimed_by.not_in(known))
    return [str(row[0]) for row in tx.execute(found.distinct())]


def set_caps(tx: Transaction, caps: dict[str, int]) -> None:
    """Tells all processes the lanes' caps."""
    text = json.dumps(caps)
    new = tx.insert(meta).values(key=CAPS, value=text)
    tx.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": text}))


def caps(tx: Transaction) -> dict[str, int]:
    """The lanes' caps; empty before the first gateway has started."""
    text: Any = tx.execute(select(meta.c.value).where(meta.c.key == CAPS)).scalar()
    return dict(json.loads(text)) if text else {}

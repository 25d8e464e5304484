"""The company that a process keeps: its bus, its lanes and its membership, chosen by the database that it works on.

The one place beside `store/open.py` that knows which databases there are. With SQLite a process is alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.bus import Bus, LocalBus
from gateway.config import Config
from gateway.lanes.base import Lanes
from gateway.lanes.local import LocalLanes
from gateway.membership import Alone, Membership
from gateway.recovery import Recovery
from gateway.store import workers
from gateway.store.database import Database, StoreError, Transaction
from gateway.store.sqlite import SqliteDatabase

GATEWAY_LOCK = 0x67617465
"""The advisory lock that the one gateway of a PostgreSQL database holds."""

OnStart = Callable[[str, float], None]
log = logging.getLogger(__name__)


class DatabaseHeld(StoreError):
    """Another gateway works on this database. The text names it."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a process is there for."""

    name: str = "gateway"
    lanes: tuple[str, ...] | None = None
    """The lanes that it works on; None: all that there are."""
    concurrency: int = 0
    """How many activations at once; 0: as many as the lanes allow."""

    @property
    def is_gateway(self) -> bool:
        """It owns the HTTP server, the channels, the delivery and the alarms."""
        return self.name == "gateway"


@dataclass
class Company:
    """What connects a process with the others."""

    database: Database
    own_id: str
    role: Role
    bus: Bus
    lanes: Lanes
    on_displaced: Callable[[], None] = field(default=lambda: None)
    """Is called if another gateway has taken this one's place."""
    members: Membership = field(init=False)

    async def start(self) -> None:
        """Begins to listen, and makes this process known; before its first claim.

        Raises:
            DatabaseHeld: another gateway works on this database.
            StoreError: the database can't be used.
        """
        if self.bus.others:
            await self._listen()
        await self.members.join()

    async def stop(self) -> None:
        """Leaves the others, who go on with what is left."""
        await self.members.leave()
        await self.bus.stop()

    async def tell_caps(self, caps: Mapping[str, int]) -> None:
        """Lets all processes know the lanes' caps."""
        self.lanes.set_caps(caps)
        if self.bus.others:
            await self.database.run(self._tell_caps, dict(caps))

    def _tell_caps(self, tx: Transaction, caps: dict[str, int]) -> None:
        workers.set_caps(tx, caps)
        self.bus.send(tx, "caps")

    async def _listen(self) -> None:
        from gateway.store.notify import PostgresBus, Taken  # only with PostgreSQL

        if self.role.is_gateway and isinstance(self.bus, PostgresBus):
            self.bus.hold(GATEWAY_LOCK, self._displaced)
        try:
            await self.bus.start()
        except Taken:
            holder = next((each for each in await self.database.read(workers.listed) if each.role == "gateway"), None)
            who = f"process {holder.pid} on {holder.host}" if holder else "another process"
            raise DatabaseHeld(
                f"a gateway already works on this database: {who}; stop it first, start a `laneway worker` instead, "
                "or name another database in database.url"
            ) from None

    def _displaced(self) -> None:
        log.error("another gateway has taken this database while the connection was lost: this one stops")
        self.on_displaced()


def keep_company(database: Database, own_id: str, role: Role, caps: Mapping[str, int], on_start: OnStart) -> Company:
    """The bus and the lanes of a process; its membership is made by `join_in`, once it can take over.

    Args:
        database: what it works on.
        own_id: by which it claims sessions.
        role: what it is there for.
        caps: each lane's name and cap.
        on_start: gets lane and wait in seconds whenever an activation starts.
    """
    if isinstance(database, SqliteDatabase):
        return Company(database, own_id, role, LocalBus(), LocalLanes(caps, on_start))
    # Only now: with SQLite neither the driver nor the queue engine need be installed.
    from gateway.lanes.postgres import PostgresLanes
    from gateway.store.notify import PostgresBus  # as above
    from gateway.store.postgres import PostgresDatabase  # as above

    if not isinstance(database, PostgresDatabase):
        raise TypeError(f"no lanes are known for {type(database).__name__}")
    bus = PostgresBus(database, own_id)
    lanes = PostgresLanes(
        database, bus, own_id, caps, serves=role.lanes, concurrency=role.concurrency, on_start=on_start
    )
    return Company(database, own_id, role, bus, lanes)


def join_in(company: Company, recovery: Recovery, config: Config, release: Callable[[Transaction], None]) -> Membership:
    """The membership of a process.

    Args:
        company: its bus and lanes.
        recovery: what the death of another one means.
        config: how long leases last.
        release: gives back all claims of a process that is alone.
    """
    if not company.bus.others:

        async def released() -> None:
            await company.database.run(release)

        return Alone(released)
    from gateway.lanes.postgres import PostgresLanes  # only with PostgreSQL
    from gateway.members import Members, Self  # as above
    from gateway.store.postgres import PostgresDatabase  # as above

    if not isinstance(company.database, PostgresDatabase) or not isinstance(company.lanes, PostgresLanes):
        raise TypeError("several processes need PostgreSQL")
    lanes = company.role.lanes or tuple(company.lanes.caps)
    own = Self(company.own_id, company.role.name, dict.fromkeys(lanes, company.role.concurrency))
    return Members(company.database, company.bus, company.lanes, recovery, own, config.workers.lease_seconds)

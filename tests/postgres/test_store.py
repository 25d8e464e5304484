"""The store on PostgreSQL: units side by side, executed again when they must be, and what people are told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.lanes import queue
from gateway.store import inbox, postgres_migrate, sessions
from gateway.store.database import StoreError, Transaction
from gateway.store.postgres import PostgresDatabase
from gateway.store.postgres_connect import explain
from gateway.store.schema import meta
from tests.support import databases
from tests.support.postgres import PostgresServer

PATIENCE = 20.0


class _Deaf(PostgresDatabase):
    """Hears the answer to no first commit: the connection is cut between the two."""

    cut = False

    def _begin(self, raw: psycopg.Connection[Any], begin: bytes) -> tuple[int, str]:
        found = super()._begin(raw, begin)
        if not self.cut and b"read write" in begin:
            self.cut = True
            execute = raw.execute

            def cutting(query: Any, *more: Any, **named: Any) -> Any:
                done = execute(query, *more, **named)
                if query == "commit":
                    raw.close()
                    raise psycopg.OperationalError("the connection was lost")
                return done

            raw.execute = cutting
        return found


@pytest.fixture
def url() -> Iterator[str]:
    """A migrated database."""
    made = databases.server().migrated()
    yield made
    databases.server().drop(made)


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    """The same, opened."""
    opened = PostgresDatabase(url, "process")
    yield opened
    await opened.close()


def _note(tx: Transaction, key: str, value: str) -> None:
    tx.execute(insert(meta).values(key=key, value=value))


def _session(tx: Transaction, key: str) -> sessions.Session:
    return sessions.create(tx, key=key, agent_id="main")


def _value(tx: Transaction, key: str) -> str | None:
    return tx.execute(select(meta.c.value).where(meta.c.key == key)).scalar()


async def test_a_unit_that_loses_a_deadlock_is_executed_again(database: PostgresDatabase) -> None:
    """Two units that want each other's rows both come through."""
    await database.run(_note, "a", "0")
    await database.run(_note, "b", "0")
    both = threading.Barrier(2, timeout=PATIENCE)
    tries: list[str] = []

    def cross(tx: Transaction, first: str, second: str) -> None:
        tries.append(first)
        tx.execute(update(meta).where(meta.c.key == first).values(value=meta.c.value + "x"))
        if len(tries) <= 2:
            both.wait()
        tx.execute(update(meta).where(meta.c.key == second).values(value=meta.c.value + "x"))

    await asyncio.gather(database.run(cross, "a", "b"), database.run(cross, "b", "a"))
    assert len(tries) == 3
    assert [await database.read(_value, key) for key in "ab"] == ["0xx", "0xx"]


async def test_a_key_that_was_taken_meanwhile_is_found_the_second_time(database: PostgresDatabase) -> None:
    """Check, then insert: of many at once one inserts, and the others find its row."""

    def once(tx: Transaction, value: str) -> str | None:
        known = _value(tx, "k")
        if known is None:
            _note(tx, "k", value)
        return known

    found = await asyncio.gather(*(database.run(once, str(number)) for number in range(20)))
    assert found.count(None) == 1
    assert len(set(found) - {None}) == 1


async def test_a_broken_rule_is_the_unit_s_own_error(database: PostgresDatabase) -> None:
    """What breaks the schema every time isn't tried for ever."""
    await database.run(_note, "k", "v")
    with pytest.raises(IntegrityError):
        await database.run(_note, "k", "v")


async def test_units_together_hold_their_sessions_in_one_order(url: str) -> None:
    """Two processes that end jobs of the same two parents don't lose deadlocks against each other."""
    one, two = PostgresDatabase(url, "process"), PostgresDatabase(url, "process")
    tries: list[str] = []

    def unit(tx: Transaction, session_id: str) -> None:
        tries.append(session_id)
        sessions.hold_all(tx, [session_id])
        time.sleep(0.01)  # in a thread of the database's

    async def many(database: PostgresDatabase, *ids: str) -> None:
        await asyncio.gather(*(database.run_together([each], unit, each) for each in ids * 8))

    ids = [(await one.run(_session, key)).id for key in ("agent:main:a", "agent:main:b")]
    await asyncio.gather(many(one, *ids), many(two, *reversed(ids)))
    assert len(tries) == 32, "none was executed again"
    await one.close()
    await two.close()


async def test_units_together_whose_commit_was_lost_stand_if_the_server_has_it(url: str) -> None:
    """The server is asked, once for all of them; none is executed again."""
    database = _Deaf(url, "process")
    database.cut = True
    tries: list[str] = []

    def unit(tx: Transaction, key: str) -> str:
        tries.append(key)
        _note(tx, key, "v")
        database.cut = key != "first"
        return key

    keys = ["first", "second", "third", "fourth"]
    assert await asyncio.gather(*(database.run_together([], unit, key) for key in keys)) == keys
    assert database.cut
    assert tries == keys
    assert [await database.read(_value, key) for key in keys] == ["v"] * 4
    await database.close()


async def test_callbacks_run_once_whatever_was_repeated(database: PostgresDatabase) -> None:
    """Of a unit that was executed twice only the second one's callbacks count."""
    called: list[int] = []
    attempts: list[int] = []

    def unit(tx: Transaction) -> None:
        attempts.append(1)
        tx.after_commit(lambda: called.append(1))
        if len(attempts) == 1:
            with contextlib.closing(psycopg.connect(database.url, autocommit=True)) as other:
                other.execute("insert into meta (key, value) values ('taken', '')")
            _note(tx, "taken", "")

    await database.run(unit)
    assert (len(attempts), called) == (2, [1])


@pytest.mark.parametrize("noticed", ["by the commit", "by a statement"])
async def test_a_lost_connection_is_made_again_and_the_unit_executed_again(
    database: PostgresDatabase, noticed: str
) -> None:
    """Nothing of the first try is stored."""
    tries: list[int] = []

    def unit(tx: Transaction) -> None:
        tries.append(1)
        _note(tx, f"try{len(tries)}", "")
        if len(tries) == 1:
            pid = tx.execute(select(func.pg_backend_pid())).scalar()
            with contextlib.closing(psycopg.connect(database.url, autocommit=True)) as other:
                other.execute("select pg_terminate_backend(%s)", [pid])
            if noticed == "by a statement":
                tx.execute(select(func.now()))

    await database.run(unit)
    assert await database.read(_value, "try1") is None
    assert await database.read(_value, "try2") == ""


async def test_a_commit_whose_answer_was_lost_is_asked_for(url: str) -> None:
    """It was kept: the unit isn't executed again, and its callbacks run once."""
    database = _Deaf(url, "process")
    called: list[int] = []

    def unit(tx: Transaction) -> None:
        _note(tx, f"try{len(called)}", "")
        tx.after_commit(lambda: called.append(1))

    try:
        await database.run(unit)
        assert called == [1]
        assert (await database.read(_value, "try0"), await database.read(_value, "try1")) == ("", None)
    finally:
        await database.close()


async def test_a_row_that_is_inserted_while_a_release_waits_is_seen_by_it(database: PostgresDatabase) -> None:
    """Protocol 4: the time that counts is read after the lock, so that the row is due."""
    session = await database.run(lambda tx: sessions.create(tx, key="agent:main:x", agent_id="main"))
    held, waiting = threading.Event(), threading.Event()

    def put(tx: Transaction) -> None:
        inbox.put(tx, session.id, "user", "k", "hello")
        held.set()
        assert waiting.wait(PATIENCE)

    def release(tx: Transaction) -> list[inbox.Row]:
        assert held.wait(PATIENCE)
        threading.Timer(0.1, waiting.set).start()
        sessions.hold(tx, session.id)
        return inbox.pending(tx, session.id)

    release_first = asyncio.create_task(database.run(release))
    await database.run(put)
    assert [row.text for row in await release_first] == ["hello"]


async def test_units_of_one_key_are_executed_in_the_order_of_the_calls(database: PostgresDatabase) -> None:
    """A batch of spawns queues in the order in which the model asked."""
    done: list[int] = []

    async def one(number: int) -> None:
        async with database.in_order("s"):
            await database.run(lambda tx: done.append(number))

    await asyncio.gather(*(one(number) for number in range(30)))
    assert done == list(range(30))


async def test_texts_without_nul_and_times_that_rise(database: PostgresDatabase) -> None:
    """What PostgreSQL can't hold is replaced; of two units of a process the later one's time is later."""
    await database.run(_note, "k", "a\0b")
    assert await database.read(_value, "k") == "a\ufffdb"
    times = [await database.run(lambda tx: tx.now) for _ in range(20)]
    assert times == sorted(set(times))


async def test_event_ids_rise_in_commit_order(database: PostgresDatabase) -> None:
    """A reader that follows the table by ids never steps over one that becomes visible later."""
    from gateway.events import EventLog

    log = EventLog(database)
    stop = asyncio.Event()
    seen: list[int] = []

    def append(tx: Transaction, number: int) -> None:
        log.append(tx, "message", {"n": number}, session_id=None, session_key=None)

    async def follow() -> None:
        last = 0
        while not stop.is_set() or last < await database.read(_newest):
            for number in await database.read(_after, last):
                assert number > last
                last = number
                seen.append(number)

    following = asyncio.create_task(follow())
    await asyncio.gather(*(database.run(append, number) for number in range(300)))
    stop.set()
    await following
    assert len(seen) == 300


async def test_an_event_keeps_whatever_text_it_has(database: PostgresDatabase) -> None:
    """Also what PostgreSQL has no letter for."""
    from gateway.events import EventLog
    from gateway.store.schema import events

    log = EventLog(database)
    told: dict[str, Any] = {"text": 'a\0b \ud800 \\u0000 "q" {,} \\', "nothing": None, "list": [1, {}]}

    def append(tx: Transaction) -> None:
        for key in (None, "agent:main:a,b"):
            log.append(tx, "message", told, session_id=None, session_key=key)

    await database.run(append)
    found = await database.read(lambda tx: tx.execute(select(events).order_by(events.c.id)).all())
    assert [row.data for row in found] == [told, told]
    assert [row.session_key for row in found] == [None, "agent:main:a,b"]


def _newest(tx: Transaction) -> int:
    from gateway.store.schema import events

    return tx.execute(select(func.max(events.c.id))).scalar() or 0


def _after(tx: Transaction, last: int) -> list[int]:
    from gateway.store.schema import events

    return [int(row[0]) for row in tx.execute(select(events.c.id).where(events.c.id > last).order_by(events.c.id))]


def test_two_processes_that_start_at_once_migrate_once() -> None:
    """DDL is run by one of them; the other one finds it done."""
    server = databases.server()
    url = server.create()
    try:
        faults: list[BaseException] = []

        def run() -> None:
            try:
                postgres_migrate.migrate(url)
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults
        with contextlib.closing(psycopg.connect(url)) as raw:
            assert queue.installed(raw)
    finally:
        server.drop(url)


def test_a_newer_schema_and_a_stranger_s_tables_are_refused() -> None:
    """As with a file."""
    server = databases.server()
    newer, strange = server.migrated(), server.create()
    try:
        with contextlib.closing(psycopg.connect(newer, autocommit=True)) as raw:
            raw.execute("update alembic_version set version_num = '9999'")
        with pytest.raises(StoreError, match="written by a newer Laneway"):
            postgres_migrate.migrate(newer)
        with contextlib.closing(psycopg.connect(strange, autocommit=True)) as raw:
            raw.execute("create table sessions (id text)")
        with pytest.raises(StoreError, match="aren't Laneway's"):
            postgres_migrate.migrate(strange)
    finally:
        server.drop(newer)
        server.drop(strange)


def test_texts_name_the_server_and_never_the_password() -> None:
    """Whatever the driver says."""
    url = "postgresql://me:s3cret%21@127.0.0.1:1/laneway"
    for text in ("password s3cret! refused", "s3cret%21"):
        told = str(explain(psycopg.OperationalError(text), url))
        assert "s3cret" not in told
        assert "postgresql://me:***@127.0.0.1:1/laneway" in told
    with pytest.raises(StoreError, match="check that the server runs"):
        postgres_migrate.migrate(url)


async def test_a_restart_of_the_server_is_waited_for(tmp_path: Path) -> None:
    """Units that come while it is down are executed when it is back; reads too."""
    with PostgresServer.start() as server:
        url = await asyncio.to_thread(server.migrated)
        database = PostgresDatabase(url, "process")
        try:
            await database.run(_note, "before", "1")
            restart = asyncio.create_task(asyncio.to_thread(server.restart))
            results: list[Any] = await asyncio.gather(
                *(database.run(_note, f"k{number}", "") for number in range(20)),
                *(database.read(_value, "before") for _ in range(5)),
                return_exceptions=True,
            )
            await restart
            assert await database.read(_value, "before") == "1"
            assert not [each for each in results if isinstance(each, BaseException)]
            assert all([await database.read(_value, f"k{number}") == "" for number in range(20)])
        finally:
            await database.close()

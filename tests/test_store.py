"""The embedded database: its schema, its units of work, and what it refuses."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import IntegrityError

from gateway.store.database import StoreError, Transaction
from gateway.store.migrate import HEAD, current, migrate
from gateway.store.schema import meta, metadata
from gateway.store.sqlite import SqliteDatabase

VERSIONS = Path(__file__).parent.parent / "gateway" / "store" / "migrations" / "versions"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """A migrated one."""
    file = tmp_path / "laneway.db"
    migrate(file)
    opened = SqliteDatabase(file, "process")
    yield opened
    await opened.close()


def put(tx: Transaction, key: str, value: str = "v") -> str:
    """Writes one row."""
    tx.execute(insert(meta).values(key=key, value=value))
    return key


def keys(tx: Transaction) -> set[str]:
    """The keys that are stored."""
    return {str(row[0]) for row in tx.execute(select(meta.c.key))}


class Faulty(Exception):
    """What a unit raises."""


def put_and_fail(tx: Transaction, key: str) -> None:
    """Writes, and then thinks better of it."""
    put(tx, key)
    raise Faulty(key)


def test_the_migrated_schema_is_the_one_of_the_tables(tmp_path: Path) -> None:
    """Store, schema: every change comes with a migration; the two are compared here."""
    file = tmp_path / "laneway.db"
    migrate(file)
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    fresh = create_engine("sqlite://")
    metadata.create_all(fresh)
    with fresh.connect() as made, closing(sqlite3.connect(file)) as migrated:
        sql = "select name, sql from sqlite_master where type = 'index' and sql is not null order by name"
        wanted = {name: " ".join(text.split()).lower() for name, text in made.exec_driver_sql(sql)}
        found = {name: " ".join(text.split()).lower() for name, text in migrated.execute(sql).fetchall()}
        assert found == wanted, "partial indexes and their conditions too"
    fresh.dispose()


def test_head_is_the_newest_file() -> None:
    """Store, migrate: `HEAD` says what a start with nothing to do compares with."""
    assert max(path.name.split("_")[0] for path in VERSIONS.glob("[0-9]*.py")) == HEAD


def test_migrating_twice_changes_nothing_and_the_file_is_private(tmp_path: Path) -> None:
    """Architecture protocol 10: the database is 0600; a second start finds nothing to do."""
    file = tmp_path / "laneway.db"
    migrate(file)
    before = file.read_bytes()
    migrate(file)
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600
    assert current(file) == HEAD


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """Issue part 2: refused with a clear text if the file is newer than the program; nothing is touched."""
    file = tmp_path / "laneway.db"
    migrate(file)
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("update alembic_version set version_num = '9999'")
    before = file.read_bytes()
    with pytest.raises(StoreError, match=r"laneway\.db.*9999.*newer.*update the program"):
        migrate(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is no database at all, but it is long enough" * 100, "isn't a SQLite database"),
        (b"SQLite format 3\0" + b"x" * 5000, "laneway.db"),
    ],
)
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    """Issue part 2: a corrupt file is an error that names the file; it is left as it is."""
    file = tmp_path / "laneway.db"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"laneway\.db") as caught:
        migrate(file)
    assert words in str(caught.value)
    assert file.read_bytes() == content


def test_somebody_else_s_database_is_not_taken(tmp_path: Path) -> None:
    """Store, migrate: a file with other tables is refused."""
    file = tmp_path / "laneway.db"
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("create table recipes (name text)")
    with pytest.raises(StoreError, match="tables that aren't Laneway's"):
        migrate(file)


async def test_units_that_wait_together_are_committed_together(database: SqliteDatabase) -> None:
    """Architecture, engine room: units of work that wait together are committed together, in their order."""
    done: list[str] = []

    def unit(tx: Transaction, key: str) -> int:
        put(tx, key)
        tx.after_commit(lambda: done.append(key))
        return len(keys(tx))

    names = [f"k{n:03}" for n in range(200)]
    counts = await asyncio.gather(*(database.run(unit, name) for name in names))
    assert counts == list(range(1, 201)), "each sees those before it"
    assert done == names
    assert await database.read(keys) == set(names)


async def test_a_unit_that_fails_takes_no_other_with_it(database: SqliteDatabase) -> None:
    """Store, sqlite: each in a savepoint of its own, so that one that fails takes no other with it."""
    answers = await asyncio.gather(
        *(database.run(put_and_fail if n % 3 == 0 else put, f"k{n}") for n in range(60)), return_exceptions=True
    )
    assert all(isinstance(answer, Faulty) == (n % 3 == 0) for n, answer in enumerate(answers))
    assert await database.read(keys) == {f"k{n}" for n in range(60) if n % 3}


async def test_a_unit_that_fails_alone_leaves_nothing(database: SqliteDatabase) -> None:
    """Store, database: whatever the unit raised; nothing of it is stored, and its callbacks are never called."""
    called: list[str] = []

    def unit(tx: Transaction) -> None:
        put(tx, "gone")
        tx.after_commit(lambda: called.append("gone"))
        raise Faulty("gone")

    with pytest.raises(Faulty):
        await database.run(unit)
    await database.run(put, "kept")
    assert await database.read(keys) == {"kept"}
    assert called == []


async def test_a_broken_rule_of_the_schema_is_the_unit_s_own_error(database: SqliteDatabase) -> None:
    """Store, sqlite: an integrity error is no fault of the storage."""
    await database.run(put, "one")
    with pytest.raises(IntegrityError):
        await database.run(put, "one")
    assert await database.read(keys) == {"one"}


async def test_a_callback_that_breaks_keeps_nobody_waiting(database: SqliteDatabase) -> None:
    """Store, sqlite: what is committed is told to its caller, whatever a callback does."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["exception"]))

    def unit(tx: Transaction) -> str:
        def broken() -> None:
            raise Faulty("callback")

        tx.after_commit(broken)
        return put(tx, "stored")

    async with asyncio.timeout(30):
        assert await database.run(unit) == "stored"
    assert [str(each) for each in complaints] == ["callback"]


async def test_a_cancelled_caller_still_waits_for_its_unit(database: SqliteDatabase) -> None:
    """Store, database: a cancelled caller still waits for its unit, and is cancelled then."""
    task = asyncio.create_task(database.run(put, "one"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.read(keys) == {"one"}


async def test_reads_see_what_was_committed_before_and_write_nothing(database: SqliteDatabase) -> None:
    """Store, database: a read sees everything committed before the call, on a read-only connection."""
    for number in range(20):
        await database.run(put, f"k{number}")
        assert len(await database.read(keys)) == number + 1
    with pytest.raises(StoreError, match=r"laneway\.db"):
        await database.read(put, "not this way")
    assert len(await database.read(keys)) == 20


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """Store, database: `close` waits for the units under way; afterwards there is an error that names the file."""
    file = tmp_path / "laneway.db"
    migrate(file)
    database = SqliteDatabase(file, "process")
    under_way = [asyncio.create_task(database.run(put, f"k{n}")) for n in range(50)]
    await asyncio.sleep(0)
    await database.close()
    assert len(await asyncio.gather(*under_way)) == 50
    with pytest.raises(StoreError, match=r"laneway\.db"):
        await database.run(put, "late")
    await database.close()

"""Statements that are executed again go to the driver as they are; what comes of them is the same as the first time.

And units of work that are committed together. All of it on the database that the tests run on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, bindparam, exists, func, insert, literal, select, text, union, update
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from gateway.store.database import Database, Transaction
from gateway.store.schema import events, meta, sessions
from tests.support import databases

TIMES = 3
"""SQLAlchemy's way, prepared and executed for the first time, executed again."""
SESSION: dict[str, Any] = {"agent_id": "main", "kind": "main", "lane": "main", "created_at": 1, "updated_at": 1}
_ADD = insert(sessions).returning(sessions.c.id, sessions.c.owned, sessions.c.current, sessions.c.next_seq)
_PAUSE = update(sessions).where(sessions.c.id == bindparam("of_session"))
_NOTE = insert(events).returning(events.c.data, events.c.run_id, events.c.type)
_PUT = insert(meta)
_COUNT = select(func.count()).where(meta.c.key != literal("nothing"))
_BOTH = union(select(meta.c.key), select(sessions.c.id)).order_by("key")
_NAMES = select(
    sessions.c.id, sessions.c.key.label("name"), exists().where(meta.c.key == sessions.c.key).label("noted")
).order_by(sessions.c.id)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated one."""
    opened = databases.opened(tmp_path)
    yield opened
    await opened.close()


def put(tx: Transaction, key: str) -> str:
    """Writes one row."""
    tx.execute(_PUT, {"key": key, "value": "v"})
    return key


def keys(tx: Transaction) -> list[str]:
    """What is stored beside what the migration has written."""
    found = tx.execute(select(meta.c.key).where(meta.c.value == "v").order_by(meta.c.key)).scalars()
    return [str(key) for key in found]


async def test_values_come_in_and_out_as_their_types_say(database: Database) -> None:
    """Truth values, JSON, NULL, defaults of the database: the same rows by each way, with their columns' names."""

    def unit(tx: Transaction) -> None:
        for n in range(TIMES):
            row = tx.execute(_ADD, {"id": f"s{n}", "key": f"k{n}", "owned": True, **SESSION}).one()
            assert (row.id, row.owned, row.current, row.next_seq) == (f"s{n}", True, True, 1)
            assert row.owned is True
            data = {"n": n, "of": ["ä", None, {"deep": 1.5}]}
            noted = tx.execute(_NOTE, {"type": "run", "run_id": None, "data": data, "created_at": n}).one()
            assert tuple(noted) == (data, None, "run")
        for _ in range(TIMES):
            found = tx.execute(_NAMES).all()
            assert [(row.id, row.name, row.noted) for row in found] == [(f"s{n}", f"k{n}", False) for n in range(TIMES)]

    await database.run(unit)


async def test_what_is_changed_is_counted_and_only_named_columns_change(database: Database) -> None:
    """One statement with different columns: each form of it is its own."""

    def unit(tx: Transaction) -> None:
        tx.execute(_ADD, {"id": "s", "key": "k", **SESSION})
        for n in range(TIMES):
            assert tx.execute(_PAUSE, {"of_session": "s", "paused": True}).rowcount == 1
            assert tx.execute(_PAUSE, {"of_session": "s", "model": f"m{n}", "depth": n}).rowcount == 1
            assert tx.execute(_PAUSE, {"of_session": "nobody", "depth": 9}).rowcount == 0
            [row] = tx.execute(select(sessions.c.paused, sessions.c.model, sessions.c.depth)).all()
            assert tuple(row) == (True, f"m{n}", n)

    await database.run(unit)


async def test_results_are_read_in_every_way(database: Database) -> None:
    """`first`, `scalar`, `scalars`, `one`, iteration; none found."""

    def unit(tx: Transaction) -> None:
        before = tx.execute(_COUNT).scalar_one()
        for n in range(TIMES):
            put(tx, f"key{n}")
            assert tx.execute(_COUNT).scalar_one() == before + n + 1
            assert list(tx.execute(_BOTH).scalars())[: n + 1] == [f"key{m}" for m in range(n + 1)]
            assert [row[0] for row in tx.execute(_BOTH)][: n + 1] == [f"key{m}" for m in range(n + 1)]
            assert tx.execute(_NAMES).first() is None
            assert tx.execute(_NAMES).scalar() is None

    await database.run(unit)


async def test_errors_are_the_same_by_each_way(database: Database) -> None:
    """A key that is taken, a parameter that is missing, a table that isn't there; nothing of their units is kept."""
    await database.run(put, "taken")
    for _ in range(TIMES):
        with pytest.raises(IntegrityError, match="meta"):
            await database.run(put, "taken")
    missing = select(meta.c.value).where(meta.c.key == bindparam("of_key"))
    nowhere = update(meta).where(meta.c.key == text("no_such_column")).values(value="v")

    def without(tx: Transaction) -> None:
        tx.execute(missing, {})

    def wrong(tx: Transaction) -> None:
        tx.execute(nowhere)

    for _ in range(TIMES):
        with pytest.raises(StatementError, match="of_key"):
            await database.run(without)
    for _ in range(TIMES):
        with pytest.raises(Exception, match="no_such_column") as caught:
            await database.run(wrong)
        assert not isinstance(caught.value, DBAPIError), "it is told as what it means, with the database's name"
    assert await database.read(keys) == ["taken"]


async def test_what_needs_more_than_a_text_goes_the_old_way(database: Database) -> None:
    """Several rows at once, lists in the text, plain text."""
    several = insert(meta)
    some = select(meta.c.key).where(meta.c.key.in_(bindparam("wanted", expanding=True))).order_by(meta.c.key)
    plain = text("select value from meta where key = :key")

    def unit(tx: Transaction) -> None:
        for n in range(TIMES):
            tx.execute(several, [{"key": f"{n}{letter}", "value": "v"} for letter in "ab"])
            assert tx.execute(some, {"wanted": [f"{n}a", f"{n}b", "none"]}).scalars().all() == [f"{n}a", f"{n}b"]
            assert tx.execute(some, {"wanted": []}).all() == []
            assert tx.execute(plain, {"key": f"{n}a"}).scalar_one() == "v"

    await database.run(unit)


async def test_a_literal_with_a_percent_sign_and_a_colon_stays_one(database: Database) -> None:
    """What drivers read as the place of a parameter."""
    odd = select(literal("100 % of %(it)s, $1, ? and :it").label("said"), literal({"a": "%s"}, JSON))

    def unit(tx: Transaction) -> None:
        for _ in range(TIMES):
            assert tuple(tx.execute(odd).one()) == ("100 % of %(it)s, $1, ? and :it", {"a": "%s"})

    await database.run(unit)


async def test_units_together_are_executed_in_their_order_each_for_itself(database: Database) -> None:
    """`run_together`: each sees those before it, has a later time, and is told before its caller goes on."""
    done: list[str] = []

    def unit(tx: Transaction, key: str) -> tuple[int, int, int]:
        put(tx, key)
        tx.kept.setdefault("mine", []).append(key)
        tx.after_commit(lambda: done.append(key))
        return len(keys(tx)), tx.now, len(tx.kept["mine"])

    async def one(key: str) -> tuple[int, int, int]:
        found = await database.run_together([], unit, key)
        assert key in done
        return found

    names = [f"k{n:02}" for n in range(60)]
    found = await asyncio.gather(*(one(name) for name in names))
    assert [count for count, _, _ in found] == list(range(1, 61))
    assert all(earlier < later for (_, earlier, _), (_, later, _) in itertools.pairwise(found))
    assert {kept for _, _, kept in found} == {1}, "what one unit keeps isn't another's"
    assert done == names
    assert await database.read(keys) == names


async def test_one_that_fails_takes_no_other_with_it(database: Database) -> None:
    """`run_together`: errors of their own, and keys that are taken; the others are committed."""

    def unit(tx: Transaction, n: int) -> int:
        put(tx, f"k{n:02}")
        if n % 5 == 3:
            raise LookupError(str(n))
        if n % 5 == 4:
            put(tx, "k00")
        return n

    await database.run(put, "k99")
    found = await asyncio.gather(*(database.run_together([], unit, n) for n in range(30)), return_exceptions=True)
    for n, each in enumerate(found):
        if n % 5 == 3:
            assert isinstance(each, LookupError)
        elif n % 5 == 4:
            assert isinstance(each, IntegrityError)
        else:
            assert each == n
    assert await database.read(keys) == [*(f"k{n:02}" for n in range(30) if n % 5 < 3), "k99"]


async def test_a_database_that_is_closed_finishes_what_it_was_given_together(tmp_path: Path) -> None:
    """`run_together`, `close`: what waits is committed; what comes later is refused."""
    database = databases.opened(tmp_path)
    waiting = [asyncio.ensure_future(database.run_together([], put, f"k{n:02}")) for n in range(40)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*waiting) == [f"k{n:02}" for n in range(40)]
    again = databases.opened(tmp_path)
    assert len(await again.read(keys)) == len(waiting)
    await again.close()

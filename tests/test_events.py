"""The event log: replay and live meet without a gap or a double, and slow or late readers are told so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import delete, insert, update

from gateway import events as module
from gateway.events import Event, EventLog, Subscription
from gateway.store.database import Database, Transaction
from gateway.store.schema import events
from tests.support import databases

KEY = "agent:main:main"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = databases.opened(tmp_path)
    yield database
    await database.close()


@pytest.fixture
async def log(database: Database) -> AsyncIterator[EventLog]:
    log = EventLog(database)
    await log.open()
    yield log
    await log.close()


def note(tx: Transaction, log: EventLog, number: int, key: str = KEY) -> None:
    log.append(tx, "session", {"number": number}, session_id=None, session_key=key)


async def take(subscription: Subscription, count: int) -> list[Event]:
    async with asyncio.timeout(30):
        return [await anext(subscription) for _ in range(count)]


def numbers(found: list[Event]) -> list[int]:
    return [event.data["number"] for event in found]


async def test_from_now_on_gives_only_what_is_committed_later(database: Database, log: EventLog) -> None:
    await database.run(note, log, 1)
    async with log.subscribe(last_id=None) as watch:
        assert watch.position == 1
        await database.run(note, log, 2)
        assert numbers(await take(watch, 1)) == [2]


async def test_a_unit_that_fails_tells_nobody(database: Database, log: EventLog) -> None:
    def fails(tx: Transaction) -> None:
        note(tx, log, 1)
        raise ValueError("no")

    async with log.subscribe(last_id=0) as watch:
        with pytest.raises(ValueError, match="no"):
            await database.run(fails)
        await database.run(note, log, 2)
        found = await take(watch, 1)
    assert numbers(found) == [2]


@pytest.mark.parametrize("seed", range(4))
async def test_subscribers_that_come_while_others_write_miss_nothing(
    database: Database, log: EventLog, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - a test's order, not a secret
    total = 1500

    async def write(begin: int) -> None:
        for number in range(begin, total, 3):
            await database.run(note, log, number)

    async def read(last_id: int) -> list[Event]:
        for _ in range(random.randrange(200)):
            await asyncio.sleep(0)
        async with log.subscribe(last_id=last_id) as watch:
            return await take(watch, total - last_id)

    for _ in range(3):
        await database.run(note, log, -1)
    total += 3
    starts = [random.randrange(3) for _ in range(5)]
    readers = [asyncio.create_task(read(start)) for start in starts]
    await asyncio.gather(*(write(begin) for begin in range(3)))
    results = await asyncio.gather(*readers)
    for start, found in zip(starts, results, strict=True):
        assert [event.id for event in found] == list(range(start + 1, total + 1))


async def test_replay_of_many_batches_asks_the_filter_once_for_each(database: Database, log: EventLog) -> None:
    def many(tx: Transaction) -> None:
        for number in range(1300):
            note(tx, log, number)

    await database.run(many)
    asked: list[int] = []

    def wanted(event: Event) -> bool:
        asked.append(event.id or 0)
        return event.data["number"] in (5, 1299)

    async with log.subscribe(last_id=0, wanted=wanted) as watch:
        assert numbers(await take(watch, 2)) == [5, 1299]
    assert asked == list(range(1, 1301))


@pytest.mark.parametrize("last_id", [0, 3, 12])
async def test_an_id_that_is_too_old_or_of_the_future_is_answered_with_reset(
    database: Database, log: EventLog, last_id: int
) -> None:
    def fill(tx: Transaction) -> None:
        for number in range(1, 11):
            note(tx, log, number)

    def forget(tx: Transaction) -> None:
        tx.execute(delete(events).where(events.c.id <= 5))

    await database.run(fill)
    await database.run(forget)
    async with log.subscribe(last_id=last_id) as watch:
        await database.run(note, log, 11)
        reset, following = await take(watch, 2)
    assert (reset.type, reset.id) == ("reset", 10)
    assert following.data == {"number": 11}


async def test_the_last_kept_id_is_not_too_old(database: Database, log: EventLog) -> None:
    def fill(tx: Transaction) -> None:
        for number in range(1, 11):
            note(tx, log, number)
        tx.execute(delete(events).where(events.c.id <= 5))

    await database.run(fill)
    async with log.subscribe(last_id=5) as watch:
        assert numbers(await take(watch, 5)) == [6, 7, 8, 9, 10]


async def test_a_slow_subscriber_goes_back_to_the_table(
    database: Database, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_CAP", 10)
    async with log.subscribe(last_id=None) as watch:
        await database.run(note, log, 0)
        assert numbers(await take(watch, 1)) == [0]
        for number in range(1, 51):
            await database.run(note, log, number)
            log.delta(KEY, "7", "x")
        found = await take(watch, 51)
    durable = [event for event in found if event.id is not None]
    assert numbers(durable) == list(range(1, 51))
    assert [event.data["text"] for event in found if event.type == "snapshot"] == ["x" * 50]


async def test_a_slow_subscriber_whose_events_are_gone_is_reset(
    database: Database, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_CAP", 2)

    def forget(tx: Transaction) -> None:
        tx.execute(delete(events).where(events.c.id < 9))

    async with log.subscribe(last_id=None) as watch:
        await database.run(note, log, 1)
        assert numbers(await take(watch, 1)) == [1]
        for number in range(2, 10):
            await database.run(note, log, number)
        await database.run(forget)
        assert (await take(watch, 1))[0].type == "reset"
        await database.run(note, log, 10)
        assert numbers(await take(watch, 1)) == [10]


async def test_deltas_are_joined_and_stay_before_what_follows_them(database: Database, log: EventLog) -> None:
    async with log.subscribe(last_id=None) as watch:
        await database.run(note, log, 0)
        await take(watch, 1)
        for piece in ("a", "b", "c"):
            log.delta(KEY, "7", piece)
        log.publish("idle", {"sessionKey": KEY}, session_key=KEY)
        log.delta(KEY, "7", "d")
        found = await take(watch, 3)
    assert [(event.type, event.data.get("text")) for event in found] == [
        ("delta", "abc"),
        ("idle", None),
        ("delta", "d"),
    ]


async def test_a_reader_who_comes_late_gets_the_partial_text_once(log: EventLog) -> None:
    log.delta(KEY, "7", "Hel")
    async with log.subscribe(last_id=None) as watch:
        log.delta(KEY, "7", "lo")
        found = await take(watch, 1)
        log.delta(KEY, "7", "!")
        found += await take(watch, 1)
    assert [(event.type, event.data["text"]) for event in found] == [("snapshot", "Hello"), ("delta", "!")]


async def test_a_restarted_try_replaces_the_partial(log: EventLog, database: Database) -> None:
    async with log.subscribe(last_id=None) as watch:
        await database.run(note, log, 0)
        await take(watch, 1)
        log.delta(KEY, "7", "wrong")
        log.restart(KEY, "7")
        log.delta(KEY, "7", "right")
        found = await take(watch, 3)
    assert [(event.type, event.data["text"]) for event in found] == [
        ("delta", "wrong"),
        ("snapshot", ""),
        ("delta", "right"),
    ]


async def test_a_stored_message_ends_its_partial(database: Database, log: EventLog) -> None:
    def store(tx: Transaction) -> None:
        log.append(tx, "message", {"messageId": "7"}, session_id=None, session_key=KEY)

    log.delta(KEY, "7", "Hello")
    await database.run(store)
    async with log.subscribe(last_id=0) as watch:
        assert [event.type for event in await take(watch, 1)] == ["message"]
        log.publish("idle", {"sessionKey": KEY}, session_key=KEY)
        assert [event.type for event in await take(watch, 1)] == ["idle"]


async def test_waiting_may_be_cancelled_without_loss(database: Database, log: EventLog) -> None:
    async with log.subscribe(last_id=None) as watch:
        for number in range(20):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 0.001)
            await database.run(note, log, number)
            assert numbers(await take(watch, 1)) == [number]


async def test_closing_ends_every_subscription(log: EventLog) -> None:
    async with log.subscribe(last_id=None) as watch:

        async def drain() -> list[Event]:
            return [event async for event in watch]

        waiting = asyncio.create_task(drain())
        await asyncio.sleep(0)
        await log.close()
        assert await asyncio.wait_for(waiting, 30) == []


async def test_prune_keeps_a_day_and_always_the_newest(database: Database, log: EventLog) -> None:
    def fill(tx: Transaction) -> None:
        for number in range(1, 6):
            note(tx, log, number)

    def date_back(tx: Transaction) -> None:
        tx.execute(update(events).where(events.c.id <= 3).values(created_at=tx.now - module.KEPT_MILLISECONDS - 1))

    await database.run(fill)
    await database.run(date_back)
    assert await database.run(log.prune) == 3

    def age(tx: Transaction) -> None:
        tx.execute(update(events).values(created_at=0))

    await database.run(age)
    assert await database.run(log.prune) == 1
    async with log.subscribe(last_id=5) as watch:
        await database.run(note, log, 6)
        assert numbers(await take(watch, 1)) == [6]


async def test_prune_keeps_a_hundred_thousand(
    database: Database, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_ROWS", 100)

    def fill(tx: Transaction) -> None:
        rows: list[dict[str, object]] = [{"type": "session", "data": {}, "created_at": tx.now} for _ in range(250)]
        tx.execute(insert(events), rows)

    await database.run(fill)
    assert await database.run(log.prune) == 150


async def test_activity_is_followed_until_the_session_rests(log: EventLog) -> None:
    log.publish("progress", {"text": "exec git status", "lastTool": "exec"}, session_key=KEY)
    log.publish("progress", {"text": "thinking"}, session_key=KEY)
    activity = log.live.activity(KEY)
    assert activity is not None
    assert (activity.text, activity.last_tool) == ("thinking", "exec")
    log.publish("idle", {}, session_key=KEY)
    assert log.live.activity(KEY) is None

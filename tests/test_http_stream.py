"""The events stream over HTTP: what a reader gets, and what he gets when he comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.client.events import POSITION, Event, EventParser
from gateway.http import stream as module
from gateway.store.database import Transaction
from tests.support.http_gateway import KEY, House, http_gateway
from tests.support.model_script import say


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with http_gateway(tmp_path) as running:
        yield running


class Reader:
    """One connection to the stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._parser = EventParser()
        self.lines: list[str] = []

    async def next(self) -> Event:
        """The next event."""
        async with asyncio.timeout(30):
            while True:
                line = (await self._response.content.readline()).decode().rstrip("\n")
                self.lines.append(line)
                event = self._parser.feed(line)
                if event is not None and event.type != POSITION:
                    return event

    async def until(self, type: str) -> list[Event]:
        """All events up to the next one of a type."""
        found = [await self.next()]
        while found[-1].type != type:
            found.append(await self.next())
        return found


@asynccontextmanager
async def reading(house: House, last_id: int | None = None, **query: Any) -> AsyncGenerator[Reader]:
    headers = {"Authorization": f"Bearer {house.bearer}"}
    if last_id is not None:
        headers["Last-Event-ID"] = str(last_id)
    url = house.gateway.url + "/api/events"
    async with house.http.get(url, params=query, headers=headers) as response:
        assert response.status == 200
        yield Reader(response)


def note(tx: Transaction, house: House, key: str, number: int) -> None:
    house.gateway.events.append(tx, "session", {"n": number}, session_id=None, session_key=key)


def run_event(tx: Transaction, house: House, requester: str, child: str) -> None:
    data = {"change": "created", "run": {"requesterKey": requester, "sessionKey": child}}
    house.gateway.events.append(tx, "run", data, session_id=None, session_key=child)


async def test_a_conversation_is_seen_as_it_happens(house: House) -> None:
    house.models.on(reply=say("Hello you."))
    async with reading(house) as reader:
        await house.post(f"/api/sessions/{KEY}/messages", {"text": "hello"})
        found = await reader.until("idle")
    told = [(event.data["role"], event.data["text"]) for event in found if event.type == "message"]
    assert told == [("user", "hello"), ("assistant", "Hello you.")]
    assert "".join(event.data["text"] for event in found if event.type == "delta") == "Hello you."
    answer = next(event for event in found if event.type == "message" and event.data["role"] == "assistant")
    assert answer.data["messageId"] == next(event.data["messageId"] for event in found if event.type == "delta")
    assert answer.id is not None


async def test_who_comes_back_gets_all_he_missed(house: House) -> None:
    async with reading(house, session=KEY) as reader:
        await house.gateway.database.run(note, house, KEY, 1)
        first = await reader.next()
    for number in range(2, 5):
        await house.gateway.database.run(note, house, KEY, number)
    async with reading(house, last_id=first.id, session=KEY) as reader:
        assert [(await reader.next()).data["n"] for _ in range(3)] == [2, 3, 4]
    async with reading(house, session=KEY, lastEventId=str(first.id)) as reader:
        assert (await reader.next()).data["n"] == 2


async def test_the_position_is_told_before_the_first_event(house: House) -> None:
    await house.gateway.database.run(note, house, KEY, 1)
    async with reading(house) as reader:
        await house.gateway.database.run(note, house, KEY, 2)
        event = await reader.next()
    assert reader.lines[0] == f"id: {(event.id or 0) - 1}"


async def test_an_unknown_id_is_answered_with_reset(house: House) -> None:
    async with reading(house, last_id=10**6) as reader:
        assert (await reader.next()).type == "reset"
        await house.gateway.database.run(note, house, KEY, 1)
        assert (await reader.next()).data == {"n": 1}


async def test_a_session_is_followed_with_everything_below_it(house: House) -> None:
    run = house.gateway.database.run
    async with reading(house, session=KEY) as reader:
        await run(note, house, "agent:main:other", 1)
        await run(run_event, house, KEY, "agent:main:subagent:a")
        await run(run_event, house, "agent:main:subagent:a", "agent:main:subagent:b")
        await run(run_event, house, "agent:main:other", "agent:main:subagent:c")
        await run(note, house, "agent:main:subagent:c", 2)
        await run(note, house, "agent:main:subagent:b", 3)
        found = [await reader.next() for _ in range(3)]
    assert [event.type for event in found] == ["run", "run", "session"]
    assert found[2].data == {"n": 3}


async def test_a_partial_text_is_sent_as_a_snapshot(house: House) -> None:
    house.gateway.events.delta(KEY, "7", "Hel")
    async with reading(house) as reader:
        snapshot = await reader.next()
        assert (snapshot.type, snapshot.data["text"], snapshot.id) == ("snapshot", "Hel", None)
        house.gateway.events.delta(KEY, "7", "lo")
        assert (await reader.next()).data["text"] == "lo"


async def test_silence_is_filled_and_carries_the_position(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.01)
    async with reading(house, session=KEY) as reader:
        await house.gateway.database.run(note, house, "agent:main:other", 1)
        waiting = asyncio.create_task(reader.next())
        async with asyncio.timeout(30):
            while reader.lines.count(": keep-alive") < 3:
                await asyncio.wait({waiting}, timeout=0.01)
        await house.gateway.database.run(note, house, KEY, 2)
        event = await waiting
    assert f"id: {(event.id or 0) - 1}" in reader.lines


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_an_id_must_be_a_number(house: House, last_id: str) -> None:
    assert (await house.get("/api/events", headers={"Last-Event-ID": last_id})).status == 400
    assert (await house.get("/api/events", params={"lastEventId": last_id})).status == 400

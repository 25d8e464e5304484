"""The life of a question to a person: asked, answered, remembered, expired, found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.approvals import Approval, ApprovalBook, ApprovalError, Call, State, of_call
from gateway.store.database import Database, Transaction
from gateway.tools.base import Question
from tests.support.tools import ROUTE, World, open_database

CALL = Call("s1", "agent:main:main", "main", 2, 0, ROUTE)
QUESTION = Question("exec", "git push", "git push")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path)
    yield opened
    await opened.close()


class Notices:
    """Hears of every change and can wait for the next one."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self._queue: asyncio.Queue[Approval] = asyncio.Queue()

    def __call__(self, tx: Transaction, approval: Approval) -> None:
        self.states.append(approval.state)
        tx.after_commit(lambda: self._queue.put_nowait(approval))

    async def next(self) -> Approval:
        return await asyncio.wait_for(self._queue.get(), 30)


async def test_allowed_once(database: Database) -> None:
    notices = Notices()
    book = ApprovalBook(database, notify=notices)
    asking = asyncio.create_task(book.approver(CALL).ask(QUESTION))
    question = await notices.next()
    assert await book.pending("agent:main:main") == (question,) == await book.pending()
    assert await book.pending("agent:other:main") == ()
    assert question.summary == "git push" and question.route == ROUTE
    await book.decide(question.id, allowed=True, by="terminal:me")
    decision = await asking
    assert decision.allowed and decision.reason == "allowed by terminal:me"
    assert await book.pending() == () and notices.states == [State.PENDING, State.ALLOWED]
    assert await book.approver(CALL).allowed_patterns() == ()
    with pytest.raises(ApprovalError, match="already"):
        await book.decide(question.id, allowed=False, by="x")
    with pytest.raises(ApprovalError, match="no question 99"):
        await book.decide(99, allowed=False, by="x")


async def test_always_extends_the_list_of_that_agent_alone(database: Database) -> None:
    notices = Notices()
    book = ApprovalBook(database, notify=notices)
    for index in range(2):  # the second time it is known already
        call = Call("s1", "agent:main:main", "main", 2, index, ROUTE)
        asking = asyncio.create_task(book.ask(call, QUESTION))
        await book.decide((await notices.next()).id, allowed=True, always=True, by="me")
        assert (await asking).allowed
        await notices.next()
    assert await book.patterns("main") == ("git push",)
    assert await book.patterns("other") == ()


async def test_denied_and_nothing_learned(database: Database) -> None:
    notices = Notices()
    book = ApprovalBook(database, notify=notices)
    asking = asyncio.create_task(book.ask(CALL, QUESTION))
    await book.decide((await notices.next()).id, allowed=False, always=True, by="me")
    decision = await asking
    assert not decision.allowed and decision.reason == "denied by me"
    assert await book.patterns("main") == ()


async def test_nobody_answers(database: Database) -> None:
    notices = Notices()
    book = ApprovalBook(database, notify=notices, expire_seconds=0.05)
    decision = await book.ask(CALL, QUESTION)
    assert not decision.allowed and "nobody answered" in decision.reason
    assert notices.states == [State.PENDING, State.EXPIRED]
    question = await notices.next()
    with pytest.raises(ApprovalError, match="expired"):
        await book.decide(question.id, allowed=True, by="me")


async def test_nobody_can_answer(database: Database) -> None:
    book = ApprovalBook(database, answerable=lambda _route: False)
    for route in (ROUTE, None):
        decision = await book.ask(Call("s1", "agent:main:main", "main", 2, 0, route), QUESTION)
        assert not decision.allowed and "tools.exec.allow" in decision.reason
    assert await database.read(of_call, "s1", 2, 0) is None


async def test_a_restarted_turn_finds_its_question_again(database: Database) -> None:
    notices = Notices()
    before = asyncio.create_task(ApprovalBook(database, notify=notices).ask(CALL, QUESTION))
    question = await notices.next()
    before.cancel()
    with pytest.raises(asyncio.CancelledError):
        await before
    assert await database.read(of_call, "s1", 2, 0) == question
    again = ApprovalBook(database, notify=notices)
    after = asyncio.create_task(again.ask(CALL, QUESTION))
    await again.pending()  # gives the question time to be read
    await again.decide(question.id, allowed=True, by="me")
    assert (await after).allowed
    assert notices.states == [State.PENDING, State.ALLOWED]
    assert (await ApprovalBook(database).ask(CALL, QUESTION)).allowed  # the answer came, then the process died


async def test_a_question_that_expired_while_nothing_ran_is_denied(database: Database) -> None:
    notices = Notices()
    book = ApprovalBook(database, notify=notices, expire_seconds=0)
    task = asyncio.create_task(book.ask(CALL, QUESTION))
    await notices.next()
    task.cancel()
    await asyncio.wait({task})
    assert await book.pending() == ()
    assert not (await ApprovalBook(database).ask(CALL, QUESTION)).allowed


async def test_a_stopped_session_withdraws_its_questions(database: Database) -> None:
    notices = Notices()
    book = ApprovalBook(database, notify=notices)
    asking = asyncio.create_task(book.ask(CALL, QUESTION))
    question = await notices.next()
    assert await database.run(book.withdraw, "s1") == 1
    assert not (await asking).allowed
    with pytest.raises(ApprovalError, match="withdrawn"):
        await book.decide(question.id, allowed=True, by="me")


async def test_exec_asks_and_learns(database: Database, tmp_path: Path) -> None:
    notices = Notices()
    book = ApprovalBook(database, notify=notices)
    world = World(tmp_path / "state", {"tools": {"exec": {"sandbox": "off"}}})
    ctx = world.context(approver=book.approver(CALL))
    running = asyncio.create_task(world.call("exec", ctx, command="seq 3"))
    await book.decide((await notices.next()).id, allowed=True, always=True, by="me")
    assert "3" in (await running).text
    second = world.context(approver=book.approver(Call("s1", "agent:main:main", "main", 4, 0, ROUTE)))
    assert "3" in (await world.call("exec", second, command="seq 3")).text
    assert notices.states == [State.PENDING, State.ALLOWED]

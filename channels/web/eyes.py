"""Eyes: what somebody who is signed in sees, and whose conversations are his.

An operator sees everything, and his first conversation is the one that an owner has everywhere (`session.dmScope`).
Anybody else has conversations of his own name alone, `agent:<id>:web:dm:<name>` and threads of it, and sees what was
asked for in them; what is somebody else's and what doesn't exist look the same. His words must never reach an owner's
session, where they would have an owner's rights: so `session.dmScope` doesn't hold for him.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, true

from gateway.config import Config
from gateway.http.auth import Caller
from gateway.http.errors import ApiError
from gateway.inbound import KEY
from gateway.jobs.owner import Owner
from gateway.keys import direct_key
from gateway.routes import Route, Sender
from gateway.store import rows, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as sessions_table
from gateway.store.sessions import Session

CHANNEL = "web"
_ALL = select(*rows.columns(runs_table, Run))
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_ID_CHARS = 36
_RUN_ID = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Eyes:
    """One person's view."""

    who: Caller
    config: Config

    @property
    def operator(self) -> bool:
        """Sees and may do everything."""
        return self.who.operator

    @property
    def sender(self) -> Sender:
        """As whom he writes."""
        return self.who.sender(CHANNEL)

    @property
    def owner(self) -> Owner:
        """As whom he acts on jobs."""
        return Owner(self.who.owner_name, operator=self.operator)

    # ---- conversations ----

    def home(self, agent_id: str | None = None) -> str:
        """The key of his first conversation with an agent; without one, with the default agent."""
        scope = self.config.session.dm_scope if self.operator else "per-channel-peer"
        agent = agent_id or self.config.default_agent_id
        return direct_key(scope, agent, CHANNEL, self.who.name, owner=self.operator)

    def fresh(self) -> str:
        """The key of a conversation that nobody has begun yet."""
        return f"{self.home()}:thread:{secrets.token_hex(4)}"

    def own(self, key: str) -> bool:
        """Whether a conversation is one of his own name."""
        match = KEY.fullmatch(key)
        if match is None:
            return False
        home = self.home(match["agent"])
        rest = key.removeprefix(home)
        return key == home or (rest != key and re.fullmatch(r":thread:[0-9a-z]{1,32}", rest) is not None)

    def may_open(self, key: str) -> bool:
        """Whether he may read and write in a conversation, which need not exist yet."""
        if self.operator:
            return KEY.fullmatch(key) is not None and ":subagent:" not in key and key.isprintable()
        return self.own(key)

    def check(self, key: str) -> str:
        """The key, if he may open it.

        Raises:
            ApiError: 404.
        """
        if not self.may_open(key):
            raise ApiError(404, "there is no such conversation", hint="the list of conversations has yours")
        return key

    def session(self, tx: Transaction, key: str) -> Session | None:
        """The session behind a conversation of his; None if nothing has been said in it yet.

        Raises:
            ApiError: 404 if it isn't his.
        """
        found = sessions.by_key(tx, self.check(key))
        if found is not None and (found.kind != "main" or (found.owned and not self.operator)):
            raise ApiError(404, "there is no such conversation")
        return found

    def route(self, key: str) -> Route:
        """Where answers go to what he says in a conversation."""
        return Route(CHANNEL, "default", key)

    # ---- runs ----

    def keys(self) -> ColumnElement[bool]:
        """The condition on `sessions` that picks the conversations of his own name."""
        homes = [self.home(agent) for agent in self.config.agent_ids()]
        condition = sessions_table.c.key.in_(homes)
        for home in homes:
            condition = condition | sessions_table.c.key.startswith(f"{home}:thread:", autoescape=True)
        return condition

    def runs(self) -> ColumnElement[bool]:
        """The condition on `runs` that picks what he sees."""
        if self.operator:
            return true()
        table = runs_table
        asked = table.c.requester_id.in_(select(sessions_table.c.id).where(self.keys()))
        mine = asked | (table.c.submitted_by == self.who.owner_name)
        top = select(table.c.id, table.c.session_id).where(mine).cte("mine", recursive=True)
        below = select(table.c.id, table.c.session_id).where(table.c.requester_id == top.c.session_id)
        return table.c.id.in_(select(top.union(below).c.id))

    def run(self, tx: Transaction, run_id: str) -> Run:
        """A run that he sees.

        Raises:
            ApiError: 404 if there is none, or it isn't his.
        """
        row = None
        if _RUN_ID.fullmatch(run_id):
            row = tx.execute(_ALL.where(runs_table.c.id == run_id, self.runs())).first()
        if row is None:
            raise ApiError(404, "there is no such run")
        return Run(*row)

    def sees_run(self, tx: Transaction, run_id: str) -> bool:
        """Whether a run is in his view."""
        return tx.execute(select(runs_table.c.id).where(runs_table.c.id == run_id, self.runs())).first() is not None

    def run_named(self, tx: Transaction, word: str) -> Run:
        """The run that a number (`12`), an id or the beginning of one means to him.

        Raises:
            ApiError: 404 if he sees none, or several.
        """
        if _NUMBER.fullmatch(word):
            row = tx.execute(_ALL.where(runs_table.c.number == int(word), self.runs())).first()
            if row is not None:
                return Run(*row)
        if _RUN_ID.fullmatch(word) and len(word) < _ID_CHARS:
            begins = runs_table.c.id.startswith(word, autoescape=True)
            found = tx.execute(_ALL.where(begins, self.runs()).limit(2)).all()
            if len(found) == 1:
                return Run(*found[0])
        return self.run(tx, word)

    def sees_session(self, tx: Transaction, session: Session) -> bool:
        """Whether a session is in his view."""
        return self.operator or (not session.owned and self.sees_key(tx, session.key))

    def asker(self, tx: Transaction, run: Run) -> Owner:
        """As whom he acts on a run that he sees: from the conversation that it was asked for in."""
        if self.operator:
            return self.owner
        top = [*runs.ancestors(tx, run), run]
        for each in top:
            session = sessions.find(tx, each.requester_id) if each.requester_id else None
            if session is not None and session.kind == "main":
                return Owner(self.who.owner_name, session=session)
        return self.owner

    def sees_key(self, tx: Transaction, key: str) -> bool:
        """Whether a session is in his view: a conversation of his, or a sub-agent's below one."""
        if self.operator or self.own(key):
            return True
        found = tx.execute(select(runs_table.c.id).where(runs_table.c.session_key == key, self.runs()).limit(1))
        return found.first() is not None

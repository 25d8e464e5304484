"""The control of sub-agents: one core under the slash command, the tools, the command line and the HTTP API.

May be asked to list, show, message, stop, pause, resume, run again and spawn. Every method is a unit of work, or a part
of one, and answers with a text for people and the same as data; who may see which run is `targets.py`'s to say.
Survives a crash: whatever was answered, because the answer is given after the commit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from gateway.commands.base import CommandError
from gateway.http.runs import read_transcript
from gateway.http.sessions import messages_json
from gateway.lanes.base import FRESH, RESUMED
from gateway.plugins import Registry
from gateway.store import inbox, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import outbox
from gateway.store.sessions import Session
from gateway.views import run_json
from subagents import render, targets, texts
from subagents.admission import Requester, SpawnArguments
from subagents.replies import REPLY_SECONDS, Replies
from subagents.revive import Reviver
from subagents.scope import Viewer, visible
from subagents.spawn import Spawner

LOG_DEFAULT = 20
LOG_MOST = 200
TREE_MOST = 100
PAGE_FACTOR = 5
"""A log without tools is picked out of this many times as many messages."""


class ControlError(CommandError):
    """It can't be done to this run now; the text says why and what can."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    route: str | None
    """Where a new run is to be announced; None: where the run before it was."""
    sender: str | None
    dedupe: str
    """Stands for the request: a message that it sends is accepted once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found or done."""

    text: str
    details: dict[str, Any]
    """The same as data, in camelCase."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was put into a sub-agent's inbox."""

    run: Run
    """The run that reads it: a new one if the session had finished."""
    inbox_id: int
    revived: bool


class Control:
    """Sees and steers runs."""

    def __init__(self, registry: Registry, spawner: Spawner, reply_seconds: float = REPLY_SECONDS) -> None:
        """
        Args:
            registry: for the gateway, once it runs.
            spawner: creates runs.
            reply_seconds: how long a person waits for the reply to a message.
        """
        self.registry = registry
        self.replies = Replies(registry, reply_seconds)
        self._spawner = spawner
        self._reviver = Reviver(registry, spawner)

    async def open(self) -> None:
        """At start-up: takes up the replies that a stopped process still owed."""
        await self.replies.recover()

    async def close(self) -> None:
        """When the gateway stops."""
        await self.replies.close()

    # ---- looking ----

    def list(self, tx: Transaction, viewer: Viewer) -> Answer:
        """The numbered list, remembered so that an index means what its reader saw (spec/subagents.md 25)."""
        found = targets.show(tx, viewer)
        text = render.list_text(found.shown, found.active, found.done, tx.now, everywhere=viewer.session is None)
        return Answer(
            text,
            {
                "active": found.active,
                "done": found.done,
                "runs": [run_json(run, tx.now) for run in found.shown],
            },
        )

    def tree(self, tx: Transaction, viewer: Viewer) -> Answer:
        """Who asked for whom; each run's tokens and cost include those of the runs below it."""
        found = visible(tx, viewer, limit=TREE_MOST + 1)
        hidden = len(found) > TREE_MOST
        found = found[:TREE_MOST]
        details = {"runs": [run_json(run, tx.now) for run in found], "complete": not hidden}
        return Answer(render.tree_text(found, tx.now, complete=not hidden), details)

    def info(self, tx: Transaction, run: Run) -> Answer:
        """Everything about one run."""
        delivery = self._delivery(tx, run)
        extra = {"delivery": delivery, "cleanup": run.cleanup, "sessionId": run.session_id, "context": run.context}
        return Answer(render.info_text(run, tx.now, delivery), run_json(run, tx.now) | extra)

    def log(self, tx: Transaction, run: Run, limit: int = LOG_DEFAULT, *, tools: bool = False) -> Answer:
        """The last messages of a run; of an archived one from its transcript file (spec/subagents.md 30).

        Args:
            tx: the unit of work.
            run: whose.
            limit: how many, 1 to 200.
            tools: with tool calls and results.

        Raises:
            ControlError: the limit is out of range.
        """
        if not 1 <= limit <= LOG_MOST:
            raise ControlError(f"The limit is 1 to {LOG_MOST}. {texts.usage('log')}")
        rows = messages_of(tx, run.session_id, run.transcript_path, limit, tools=tools)
        return Answer(render.log_text(run, rows), {"runId": run.id, "messages": rows})

    # ---- messages ----

    def send(self, tx: Transaction, run: Run, message: str, origin: Origin, *, steer: bool = False) -> Sent:
        """Puts a message into a run's inbox; a session that has finished goes on with it as a new run.

        Raises:
            ControlError: the message is blank.
            CannotRevive: the session is gone, not kept, or has no free slot.
        """
        kind: inbox.Kind = "steer" if steer else "send"
        message = message.strip()
        if not message:
            raise ControlError(f"The message is empty. {texts.usage(kind)}")
        reader = self._reviver.newest(tx, run)
        if not reader.open:
            revived = self._reviver.revive(tx, reader, message, origin.route)
            row = inbox.find(tx, f"task:{revived.id}")
            return Sent(revived, row.id if row else 0, revived=True)
        session = sessions.get(tx, reader.session_id)
        row, _ = inbox.put(
            tx,
            session.id,
            kind,
            f"{origin.dedupe}:{kind}",
            message,
            sender=origin.sender,
            run_id=reader.id,
        )
        gateway = self.registry.gateway
        gateway.lanes.enqueue(tx, session.lane, session.id, RESUMED if reader.started_at else FRESH)
        if steer:
            gateway.lifecycle.tell(tx, reader.id, "steered")
        return Sent(reader, row.id, revived=False)

    def sent(self, tx: Transaction, sent: Sent, *, steer: bool = False) -> Answer:
        """What the sender of a message is told at once."""
        text = texts.revived(sent.run) if sent.revived else texts.sent(sent.run, steer=steer)
        details = {"runId": sent.run.id, "inboxId": sent.inbox_id, "revived": sent.revived}
        return Answer(text, details | {"run": run_json(sent.run, tx.now)})

    # ---- stopping, freezing ----

    def stop(self, tx: Transaction, run: Run, why: str) -> Answer:
        """Stops a run and its descendants; the count includes them."""
        number = self.registry.gateway.lifecycle.stop(tx, run, why)
        return self._changed(tx, run, texts.stopped(run, number), "stopped", number)

    def stop_all(self, tx: Transaction, viewer: Viewer, why: str) -> Answer:
        """Stops every active run that the viewer sees."""
        number = 0
        for seen in reversed(visible(tx, viewer, open_only=True)):
            run = runs.find(tx, seen.id)
            number += self.registry.gateway.lifecycle.stop(tx, run, why) if run else 0
        return Answer(texts.stopped_all(number), {"stopped": number})

    def pause(self, tx: Transaction, run: Run) -> Answer:
        """Freezes a run and its descendants without losing state."""
        number = len(self.registry.gateway.lifecycle.pause(tx, run))
        return self._changed(tx, run, texts.paused(run, number), "paused", number)

    def resume(self, tx: Transaction, run: Run) -> Answer:
        """Lets a paused run and its descendants go on."""
        number = len(self.registry.gateway.lifecycle.resume(tx, run))
        return self._changed(tx, run, texts.resumed(run, number), "resumed", number)

    # ---- new runs ----

    def spawn(self, tx: Transaction, session: Session, args: SpawnArguments, route: str | None, person: str) -> Answer:
        """Starts a sub-agent as a user, with the checks of the tool `sessions_spawn`.

        Args:
            tx: the unit of work.
            session: the conversation.
            args: what for.
            route: where it is announced.
            person: the user.

        Raises:
            Refused: with what would be allowed.
        """
        requester = replace(self._requester(tx, session, route), person=person)
        accepted = self._spawner.spawn(tx, requester, args)
        return Answer(texts.spawned(accepted), accepted)

    def retry(self, tx: Transaction, run: Run, route: str | None) -> Answer:
        """Runs a task again as a new run: a message to a finished session in that session, all else in a fresh one.

        Raises:
            ControlError: it hasn't ended, or nobody is left to report to.
            CannotRevive: as in `send`.
            Refused: as in `spawn`.
        """
        if run.open:
            raise ControlError(texts.still_open(run))
        if run.revived_from is not None and self._reviver.can(tx, run):
            again = self._reviver.revive(tx, run, run.task, route, retry_of=run.id)
            accepted = {
                "status": "accepted",
                "runId": again.id,
                "childSessionKey": again.session_key,
                "label": again.label,
                "resolvedModel": again.model,
            }
        else:
            session = self._reviver.requester(tx, run)
            args = SpawnArguments.model_validate(_arguments(tx, run))
            requester = self._requester(tx, session, route or run.route, sessions.find(tx, run.session_id))
            accepted = self._spawner.spawn(tx, requester, args, retry_of=run.id)
        return Answer(texts.spawned(accepted, again=True), accepted)

    def _requester(
        self, tx: Transaction, session: Session, route: str | None, forked: Session | None = None
    ) -> Requester:
        """Who gets the announcement; a fork ends where that of `forked` ended, or at the last boundary."""
        run = runs.find(tx, session.run_id) if session.run_id else None
        if forked is not None and forked.fork_session_id == session.id and forked.fork_upto is not None:
            return Requester(session, run, route, forked.fork_upto)
        pending = transcript.open_calls(tx, session.id)
        return Requester(session, run, route, (pending[0].seq if pending else session.next_seq) - 1)

    def _changed(self, tx: Transaction, run: Run, text: str, what: str, number: int) -> Answer:
        now = runs.find(tx, run.id) or run
        return Answer(text, {what: number, "run": run_json(now, tx.now)})

    def _delivery(self, tx: Transaction, run: Run) -> str:
        row = inbox.find(tx, f"announce:{run.id}")
        post = None
        if row is not None and row.consumed_seq is not None:
            found = tx.execute(
                select(outbox.c.state, outbox.c.error)
                .where(outbox.c.session_id == row.session_id, outbox.c.seq > row.consumed_seq)
                .order_by(outbox.c.seq)
                .limit(1)
            ).first()
            post = (str(found.state), found.error) if found else None
        return render.delivery_text(run, waiting=row is not None and row.state == "pending", post=post)


def messages_of(tx: Transaction, session_id: str, path: str | None, limit: int, *, tools: bool) -> list[dict[str, Any]]:
    """The last messages of a session, oldest first; of one that is archived from its file."""
    if sessions.find(tx, session_id) is None:
        return read_transcript(Path(path), limit, tools=tools) if path else []
    found = transcript.page(tx, session_id, limit=limit if tools else limit * PAGE_FACTOR, tools=tools)
    return messages_json(tx, found, tools=tools)[-limit:]


def _arguments(tx: Transaction, run: Run) -> dict[str, Any]:
    """What a run was asked for, as the arguments of a spawn."""
    session = sessions.find(tx, run.session_id)
    wanted: dict[str, Any] = {
        "task": run.task,
        "label": run.label,
        "agentId": run.agent_id,
        "model": run.model,
        "thinking": run.thinking,
        "runTimeoutSeconds": run.timeout_ms // 1000,
        "cleanup": run.cleanup,
        "context": run.context,
        "cwd": session.cwd if session else None,
        "budgetUsd": run.budget_micro / 1_000_000 if run.budget_micro else None,
        "budgetTokens": run.budget_tokens,
        "outputSchema": run.output_schema,
    }
    return {name: value for name, value in wanted.items() if value is not None}

"""The life of a run: starting, waiting, pausing, and the one way in which it ends.

`finish` is the only place where a run ends, whatever ended it. Announcement, roll-up, slot, archive time and children
are handled there, in one transaction, so that they can't differ by cause of death (spec/architecture.md, protocol 5).
Every method is a unit of work, or a part of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.config import Agent, Config, UnknownAgent
from gateway.events import EventLog
from gateway.jobs import texts, tree
from gateway.jobs.kinds import RETURNED, JobKind, Payload
from gateway.lanes.base import RESUMED, Lanes, place
from gateway.metrics import Metrics
from gateway.posting import Posting
from gateway.store import inbox, jobs, runs, sessions, threads, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run, Seen, Status
from gateway.telemetry import context, spans
from gateway.telemetry.tracing import Span, Tracing
from gateway.transcripts import TranscriptFiles
from gateway.views import ERROR_CHARS, capped, run_json

MINUTE_MS = 60_000
NO_KIND = JobKind("", Payload)
"""Stands in for kinds of plugins that aren't loaded."""
FREES_KEY = (Outcome.STOPPED, Outcome.DEAD)
"""After these the idempotency key may be used again (spec/jobs.md 3)."""


def announcement_key(run: Run) -> str:
    """Under which a run's end is announced once; a run that was opened again ends once more."""
    return f"announce:{run.id}:{run.reopened}" if run.reopened else f"announce:{run.id}"


def agent_of(config: Config, agent_id: str) -> Agent:
    """An agent that a stored row names; if it is no longer configured, the default one stands in."""
    try:
        return config.agent(agent_id)
    except UnknownAgent:
        return config.agent(config.default_agent_id)


class Announcer(Protocol):
    """What a run's kind says when it has ended; see `plugins.RunKind`."""

    def announcement(self, tx: Transaction, run: Run) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Moves runs through their lives."""

    lanes: Lanes
    events: EventLog
    metrics: Metrics
    files: TranscriptFiles
    posting: Posting
    kinds: Mapping[str, Announcer]
    """Kinds of runs that live in conversations of their own."""
    job_kinds: Mapping[str, JobKind]
    config: Callable[[], Config]
    withdraw: Callable[[Transaction, str], int]
    """Voids the questions that a session has put to people."""
    due: Callable[[int], None]
    """Tells the alarms that a due time (milliseconds) has been written."""
    tracing: Tracing

    def start(self, tx: Transaction, run: Run) -> Run:
        """Its session has begun to work: the time spent waiting for children counts, time in the queue doesn't."""
        first = run.started_at is None
        now = runs.changed(
            tx,
            run.id,
            status=Status.RUNNING,
            started_at=run.started_at or tx.now,
            **self._stop_waiting(tx, run),
        )
        return self.told(tx, now, "started" if first else "resumed")

    def wait(self, tx: Transaction, run: Run) -> Run:
        """It has nothing to do until its children have settled."""
        deadline = tx.now + max(0, run.timeout_ms - run.active_ms) if run.timeout_ms else None
        now = runs.changed(
            tx,
            run.id,
            status=Status.WAITING,
            waiting_since=tx.now,
            deadline_at=deadline,
        )
        self._wake_at(tx, deadline)
        return self.told(tx, now, "waiting")

    def delay(self, tx: Transaction, run: Run, until: int) -> Run:
        """It isn't started before a time (milliseconds): it was submitted so, or waits for its next attempt."""
        now = runs.changed(tx, run.id, status=Status.DELAYED, not_before=until, **self._stop_waiting(tx, run))
        self._wake_at(tx, until)
        return self.told(tx, now, "delayed")

    def hold(self, tx: Transaction, run: Run) -> Run:
        """It isn't started before the jobs that it comes after have ended well."""
        now = runs.changed(tx, run.id, status=Status.DELAYED, not_before=None, **self._stop_waiting(tx, run))
        return self.told(tx, now, "held")

    def enqueue(self, tx: Transaction, run: Run) -> None:
        """Asks for the activation of a run's session: what is urgent first, what was at work before what is new."""
        where = place(run.started_at is not None, run.priority)
        self.lanes.enqueue(tx, run.lane, run.session_id, where, age=run.created_at)

    def release_due(self, tx: Transaction, run: Run) -> None:
        """The time of a delayed run has come; it may have to wait for other jobs still. One that was stopped or paused
        meanwhile stays so."""
        sessions.hold(tx, run.session_id)
        run = runs.find(tx, run.id) or run
        if run.status is not Status.DELAYED or (run.not_before is not None and run.not_before > tx.now):
            return
        if self._held(tx, run):
            self.hold(tx, run)
            return
        now = runs.changed(tx, run.id, status=Status.QUEUED, not_before=None, cause=None)
        self.enqueue(tx, self.told(tx, now, "due"))

    def pause(self, tx: Transaction, run: Run) -> list[Run]:
        """Freezes a run and all under it; what is in flight comes to its next boundary. Returns what was paused."""
        sessions.hold_tree(tx, run.session_id)
        run = runs.find(tx, run.id) or run
        frozen: list[Run] = []
        for each in [run, *runs.below(tx, [run.session_id], open_only=True)]:
            if not each.open or each.paused:
                continue
            left = None if each.not_before is None else max(0, each.not_before - tx.now)
            stopped = self._stop_waiting(tx, each)
            runs.change(tx, each.id, paused=True, status=Status.PAUSED, remaining_ms=left, not_before=None, **stopped)
            sessions.change(tx, each.session_id, paused=True)
            self._freeze(tx, each)
            frozen.append(self.tell(tx, each.id, "paused"))
        return frozen

    def resume(self, tx: Transaction, run: Run) -> list[Run]:
        """Lets a paused run and all under it go on. Returns what was resumed."""
        sessions.hold_tree(tx, run.session_id)
        run = runs.find(tx, run.id) or run
        woken: list[Run] = []
        for each in [run, *runs.below(tx, [run.session_id], open_only=True)]:
            if not each.open or not each.paused:
                continue
            session = sessions.get(tx, each.session_id)
            sessions.change(tx, session.id, paused=False)
            runs.change(tx, each.id, paused=False, status=Status.QUEUED, remaining_ms=None)
            busy = each.started_at and (
                self._works(each) or session.turn_seq is not None or inbox.pending(tx, session.id)
            )
            if each.remaining_ms is not None:
                self.delay(tx, each, tx.now + each.remaining_ms)
            elif self._held(tx, each):
                self.hold(tx, each)
            elif not busy and runs.any_open(tx, session.id):
                self.wait(tx, each)
            if self.job_kinds.get(each.kind, NO_KIND).freezes:
                self.lanes.poke(tx, session.id)
            self.enqueue(tx, each)
            woken.append(self.tell(tx, each.id, "resumed"))
        return woken

    def stop(self, tx: Transaction, run: Run, why: str) -> int:
        """Stops a run and all under it; returns how many were open."""
        sessions.hold_tree(tx, run.session_id)
        run = runs.find(tx, run.id) or run
        if not run.open:
            return 0
        count = 1 + len(runs.below(tx, [run.session_id], open_only=True))
        self.finish(tx, run.id, Outcome.STOPPED, error=why)
        return count

    def finish(
        self,
        tx: Transaction,
        run_id: str,
        outcome: Outcome,
        *,
        error: str | None = None,
        cause: str | None = None,
        result: str | None = None,
        output: Any = None,
        by_owner: bool = False,
        spare: bool = False,
        downward: bool = False,
        seen: Seen | None = None,
    ) -> Run:
        """Ends a run. Ending one that has ended changes nothing.

        Args:
            tx: the unit of work.
            run_id: which.
            outcome: how it ended; for all but `ok` every open run below is stopped with it.
            error: for people, capped at 500 characters.
            cause: a machine-readable reason beside the outcome.
            result: what it has to say; by default the last visible text of its session.
            output: what a job returns, as JSON.
            by_owner: the caller works on the session himself, and stops after this unit.
            spare: lets its children run on.
            downward: what asked for it is ending, so that its own end means nothing for that one.
            seen: what the caller knows of it.

        Raises:
            FenceLost: its session isn't the caller's any more (`seen.fence`).
        """
        run = seen.run if seen else runs.find(tx, run_id)
        if run is None:
            raise LookupError(f"run {run_id} doesn't exist")
        if run.open and self._hold(tx, run, outcome):
            run = runs.find(tx, run_id) or run
        if not run.open:
            return run
        if outcome is not Outcome.OK and not spare:
            for child in runs.children(tx, run.session_id, open_only=True):
                why = f"“{run.label}”, which asked for it, ended"
                self.finish(tx, child.id, Outcome.STOPPED, error=why, downward=True)
        session = self._close_session(tx, run, outcome, by_owner=by_owner, seen=seen)
        ended = runs.changed(
            tx,
            run.id,
            cause=cause,
            error=capped(error, ERROR_CHARS) if error else None,
            **self._at_rest(tx, run, outcome, more_ms=seen.more_ms if seen else 0),
            **self._last_words(tx, run, session, result, output),
        )
        tx.after_commit(lambda: self.metrics.run_ended(outcome.value))
        ended = self._announce(tx, ended)
        if not downward:
            self._tell_parent(tx, ended)
        self._tell_others(tx, ended, session, followed=seen is None or seen.followed)
        return ended

    def _hold(self, tx: Transaction, run: Run, outcome: Outcome) -> bool:
        """Holds all sessions that an end concerns: who is told, its own, and those that are stopped with it. Returns
        whether some weren't held."""
        if outcome is Outcome.OK:
            return sessions.hold_all(tx, [run.requester_id, run.session_id])
        return sessions.hold_tree(tx, run.session_id)

    def release_parent(self, tx: Transaction, parent: Run) -> None:
        """A parent that waits has nothing more to wait for."""
        runs.change(tx, parent.id, status=Status.QUEUED, **self._stop_waiting(tx, parent))
        self.enqueue(tx, self.tell(tx, parent.id, "released"))

    def leave(self, tx: Transaction, session: sessions.Session, run: Run) -> None:
        """A session whose run has ended belongs to no thread any more: it is closed, and its archive time runs."""
        sessions.take_over(tx, session.id)
        self.lanes.cancel(tx, session.id)
        sessions.change(tx, session.id, closed=True, turn_seq=None, turn_route=None)
        runs.change(tx, run.id, transcript_path=str(self.files.write(tx, session)))
        moment = self._archive_at(tx, run, since=tx.now, soon=True)
        runs.change(tx, run.id, archive_at=moment)
        self._wake_at(tx, moment)

    def tell(self, tx: Transaction, run_id: str, change: str) -> Run:
        """Appends an event about a run and returns it as it is now."""
        run = runs.find(tx, run_id)
        if run is None:
            raise LookupError(f"run {run_id} doesn't exist")
        return self.told(tx, run, change)

    def told(self, tx: Transaction, run: Run, change: str) -> Run:
        """Appends an event about a run that has just been read, or written, and returns it."""
        if change == "created":
            self._trace(tx, spans.spawned(run, tx.trace))
        self.events.append(
            tx,
            "run",
            {"change": change, "run": run_json(run, tx.now)},
            session_id=run.session_id,
            session_key=run.session_key,
            run_id=run.id,
        )
        return run

    def requester(self, tx: Transaction, run: Run) -> tuple[sessions.Session, str] | None:
        """The session that a run's announcement goes to, and a note if it isn't the one that asked."""
        session_id, note = run.requester_id, ""
        while session_id:
            session = sessions.find(tx, session_id)
            if session is not None and session.current:
                return session, note
            if session is not None:
                note = "It was asked for in an earlier conversation, before /new."
                heir = sessions.by_key(tx, session.key)
                return (heir, note) if heir else None
            above = runs.of_session(tx, session_id)
            if not above:
                return None
            session_id = above[0].requester_id
            note = f"“{above[0].label}”, which asked for it, no longer exists."
        return None

    def _announce(self, tx: Transaction, run: Run) -> Run:
        self.told(tx, run, "done")
        found = self.requester(tx, run)
        if found is None:
            self._plan_archive(tx, run, soon=True, **({"announced_at": tx.now} if run.requester_id else {}))
            return run
        session, note = found
        trace = context.child_of(tx.trace or run.trace)
        self._trace(tx, spans.announced(run, trace, tx.trace or run.trace, tx.now))
        text = self._words(tx, run, session)
        if text is None:
            self._plan_archive(tx, run, soon=True, announced_at=tx.now)
            return run
        inbox.put(
            tx,
            session.id,
            "child_done" if session.kind == "job" else "announce",
            announcement_key(run),
            f"{text}\n{note}" if note else text,
            route=run.route,
            run_id=run.id,
            trace=trace,
        )
        self._plan_archive(tx, run, soon=session.closed)
        if not session.closed and session.kind != "job":
            self.lanes.enqueue(tx, session.lane, session.id, RESUMED)
        return run

    def _words(self, tx: Transaction, run: Run, session: sessions.Session) -> str | None:
        """What the requester of a run that has ended is told."""
        if session.kind == "job":
            return texts.child_done(run)
        if run.kind in self.kinds:
            return self.kinds[run.kind].announcement(tx, run)
        return texts.announcement(run, tx.now)

    def _tell_others(self, tx: Transaction, run: Run, session: sessions.Session, *, followed: bool) -> None:
        if run.kind in self.kinds:
            self._tell_thread(tx, session, run)
        if followed:
            self._tell_dependents(tx, run)

    def _tell_parent(self, tx: Transaction, child: Run) -> None:
        """What the end of a child means for its parent: the child's own policy says it (spec/jobs.md 16–18)."""
        parent = runs.find(tx, child.parent_run_id) if child.parent_run_id else None
        if parent is None or not parent.open:
            return
        if tree.failed(child) and child.on_child_fail == "fail_parent":
            text = f"#{child.number} “{child.label}” {texts.ended(child)}"
            spare = self.config().jobs.siblings == "let_run"
            self.finish(tx, parent.id, Outcome.ERROR, error=text, cause="child_failed", spare=spare)
        elif parent.status is Status.WAITING:
            self._child_settled(tx, parent, child)

    def _child_settled(self, tx: Transaction, parent: Run, child: Run) -> None:
        """A child of a waiting parent has ended. What lives in a conversation is woken by what it is told."""
        if tree.must_wait(tx, parent):
            kind = self.job_kinds.get(parent.kind, NO_KIND)
            wants_to_know = tree.failed(child) and child.on_child_fail == "continue"
            if wants_to_know and kind.handler is not None and parent.started_at is not None:
                self.release_parent(tx, parent)
        elif self._held(tx, parent):
            self.hold(tx, parent)
        elif parent.kind not in self.kinds:
            self.release_parent(tx, parent)

    def _works(self, run: Run) -> bool:
        """Whether a job's handler has work left, or can tell that it waits: it is called again."""
        return self.job_kinds.get(run.kind, NO_KIND).handler is not None and RETURNED not in (run.state or {})

    def _held(self, tx: Transaction, run: Run) -> bool:
        """Whether a run has to wait for the jobs that it comes after. One that has begun is not held again."""
        return run.started_at is None and tree.blocked(tx, run)

    def _tell_dependents(self, tx: Transaction, run: Run) -> None:
        """Lets jobs begin that have waited for this one alone; those whose dependency has failed go on waiting."""
        dependents = jobs.dependents(tx, run.id)
        # Of two that end at the same moment the later one must see the earlier one's end; and if at this moment the
        # time of a dependent comes, which then waits for this end alone, that must be seen.
        if sessions.hold_all(tx, [each.session_id for each in dependents]):
            dependents = jobs.dependents(tx, run.id)
        for each in dependents:
            held = each.status is Status.DELAYED and each.not_before is None
            if held and not tree.blocked(tx, each):
                self.release_due(tx, each)
            else:
                self.tell(tx, each.id, "dependency")

    def _at_rest(self, tx: Transaction, run: Run, outcome: Outcome, *, more_ms: int) -> dict[str, Any]:
        """What of a run is over with it; one that nobody has asked for is announced to nobody."""
        over: dict[str, Any] = {"status": Status.DONE, "outcome": outcome, "paused": False, "ended_at": tx.now}
        over |= {"not_before": None, "remaining_ms": None}
        if outcome in FREES_KEY:
            over["idempotency_key"] = None
        if not run.requester_id:
            over["announced_at"] = tx.now
        return {**over, "active_ms": run.active_ms + more_ms, **self._stop_waiting(tx, run)}

    def _last_words(
        self, tx: Transaction, run: Run, session: sessions.Session, result: str | None, output: Any
    ) -> dict[str, Any]:
        """What a run leaves behind. Only what lives in a conversation has a transcript worth a file."""
        if run.kind not in self.kinds:
            return {"result": result, "output": output}
        said = transcript.last_text(tx, run.session_id, self._since(tx, run)) if result is None else result
        return {"result": said, "output": output, "transcript_path": str(self.files.write(tx, session))}

    def _freeze(self, tx: Transaction, run: Run) -> None:
        """Brings a running job to rest. A conversation rests at its next boundary by itself."""
        kind = self.job_kinds.get(run.kind)
        if kind is None or kind.handler is None:
            return
        if kind.freezes:
            self.lanes.poke(tx, run.session_id)
        else:
            sessions.take_over(tx, run.session_id)
            self.lanes.cancel(tx, run.session_id)

    def announced(self, tx: Transaction, run_id: str) -> None:
        """A run's announcement has been consumed by its requester."""
        run = runs.find(tx, run_id)
        if run is not None and run.announced_at is None:
            if run.archived_at is None:
                self._plan_archive(tx, run, soon=True, announced_at=tx.now)
            else:
                runs.change(tx, run_id, announced_at=tx.now)
            tx.after_commit(lambda: self.metrics.announced((tx.now - (run.ended_at or tx.now)) / 1000))

    def _tell_thread(self, tx: Transaction, session: sessions.Session, run: Run) -> None:
        """Says in a session's own thread how its run has ended; gives the thread back if that was all."""
        for thread in threads.of_session(tx, session.id):
            text = run.result if run.outcome is Outcome.OK else f"⚠️ {run.error or run.outcome or ''}"
            self.posting.elsewhere(tx, session, thread.route, text or "(no output)", None)
            if not self._stays(run, run.outcome):
                threads.unbind(tx, thread.route)

    def _lives_on(self, tx: Transaction, run: Run) -> bool:
        """Whether its session goes on without it: in a thread of its own, or under a newer run."""
        session = sessions.find(tx, run.session_id)
        revived = session is not None and session.run_id != run.id
        return revived or (self._stays(run, run.outcome) and bool(threads.of_session(tx, run.session_id)))

    def _stays(self, run: Run, outcome: Outcome | None) -> bool:
        """Whether a session goes on in its thread after its run has ended so."""
        return run.mode == "session" and outcome is not Outcome.STOPPED

    def _plan_archive(self, tx: Transaction, run: Run, *, soon: bool, **fields: int) -> None:
        if run.kind not in self.kinds:  # it is pruned, not archived
            if fields:
                runs.change(tx, run.id, **fields)
            return
        moment = None
        if not self._lives_on(tx, run):
            moment = self._archive_at(tx, run, since=run.ended_at or tx.now, soon=soon)
        runs.change(tx, run.id, archive_at=moment, **fields)
        self._wake_at(tx, moment)

    def _wake_at(self, tx: Transaction, moment: int | None) -> None:
        if moment is not None:
            tx.after_commit(lambda: self.due(moment))

    def _archive_at(self, tx: Transaction, run: Run, *, since: int, soon: bool) -> int | None:
        if run.kind not in self.kinds:
            return None
        if run.cleanup == "delete":
            return tx.now if soon else None
        minutes = agent_of(self.config(), run.agent_id).subagents.archive_after_minutes
        return since + int(minutes * MINUTE_MS) if minutes else None

    def _close_session(
        self, tx: Transaction, run: Run, outcome: Outcome, *, by_owner: bool, seen: Seen | None
    ) -> sessions.Session:
        closed = not (self._stays(run, outcome) and threads.of_session(tx, run.session_id))
        over: dict[str, Any] = {"closed": closed, "paused": False, "needs_user": False, "turn_seq": None}
        session = sessions.take_over(tx, run.session_id, fence=seen.fence if seen else None, **over, turn_route=None)
        if session.kind != "job":  # a handler asks nobody
            self.withdraw(tx, run.session_id)
        if not by_owner:
            self.lanes.cancel(tx, run.session_id)
        if outcome is Outcome.OK:
            return session
        transcript.close_open_calls(tx, run.session_id, None, f"(not finished: the run ended, {outcome.value})")
        return sessions.get(tx, run.session_id)

    def _stop_waiting(self, tx: Transaction, run: Run) -> dict[str, int | None]:
        if run.waiting_since is None:
            return {}
        waited = max(0, tx.now - run.waiting_since)
        return {"active_ms": run.active_ms + waited, "waiting_since": None, "deadline_at": None}

    def _trace(self, tx: Transaction, span: Span | None) -> None:
        if span is not None:
            tx.after_commit(lambda: self.tracing.emit(span))

    def _since(self, tx: Transaction, run: Run) -> int:
        """The seq before the first message of this run: a revived session holds earlier runs too."""
        if run.revived_from is None:
            return 0
        first = inbox.find(tx, f"task:{run.id}")
        return (first.consumed_seq or 1) - 1 if first else 0

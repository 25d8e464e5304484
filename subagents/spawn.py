"""sessions_spawn: check → admit → create, in one transaction with the tool's own result (spec/subagents.md 1–8).

Nothing created stays behind after a refusal: the checks only read, and what follows them is one unit of work.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from gateway.agent.compaction import fork_too_large
from gateway.agent.prompt import prompt_messages
from gateway.config import Agent
from gateway.plugins import Registry
from gateway.store import inbox, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.sessions import Session
from gateway.tools import policy
from subagents.admission import Admitted, Refused, Requester, SpawnArguments, admit, agent_named, label_of
from subagents.kind import KIND, LANE
from subagents.rooms import NO_THREADS, Rooms

UNTRUSTED = frozenset(("exec", "write", "edit"))
"""What a sub-agent lacks that was submitted by somebody who isn't an operator."""
NOTE = "It works on its own and announces its result here. Don't wait and don't poll: end your turn."


class Spawner:
    """Creates sub-agents. Its methods are units of work."""

    def __init__(self, registry: Registry, rooms: Rooms) -> None:
        self._registry = registry
        self._rooms = rooms

    def spawn(
        self,
        tx: Transaction,
        requester: Requester,
        args: SpawnArguments,
        *,
        room: str | None = None,
        **links: str | None,
    ) -> dict[str, Any]:
        """Checks, admits and creates; returns the accepted result.

        Args:
            tx: the unit of work.
            requester: who asks.
            args: what for.
            room: under which key its thread was opened, if it asks for one.
            links: `retry_of`, where the task is run again.

        Raises:
            Refused: with what would be allowed.
        """
        admitted = admit(self._registry.gateway.config, tx, requester, args)
        if args.thread and room is None:
            raise Refused(NO_THREADS)
        run = self.create(tx, requester, args, admitted, links=links)
        self.begin(tx, run, args.task)
        if args.thread and room is not None:
            self._rooms.move_in(tx, room, sessions.get(tx, run.session_id), run.requester_key)
        return self._accepted(tx, run, self._compacts(tx, requester, args, admitted))

    def create(
        self,
        tx: Transaction,
        requester: Requester,
        args: SpawnArguments,
        admitted: Admitted,
        *,
        fork: Mapping[str, int | str] | None = None,
        lane: str | None = None,
        links: Mapping[str, str | None] | None = None,
        **columns: Any,
    ) -> Run:
        """Creates run and session; what they begin with is `begin`'s.

        Args:
            tx: the unit of work.
            requester: who asks.
            args: what for.
            admitted: the same, checked and resolved.
            fork: another transcript than the requester's that it starts with.
            lane: another one than that of sub-agents.
            links: `retry_of`, where the task is run again.
            columns: more columns of the run.
        """
        parent, agent = requester.parent, admitted.agent
        run_id = str(uuid.uuid4())
        if fork is None:
            fork = _fork(tx, requester) if args.context == "fork" else {}
        session = self._session(tx, requester, admitted, run_id, fork, lane or LANE)
        return runs.create(
            tx,
            id=run_id,
            kind=KIND,
            lane=session.lane,
            session_id=session.id,
            session_key=session.key,
            requester_id=parent.id if parent else "",
            requester_key=parent.key if parent else "",
            parent_run_id=requester.parent_run.id if requester.parent_run else None,
            route=requester.route,
            agent_id=agent.id,
            label=label_of(args),
            task=args.task,
            depth=session.depth,
            model=admitted.model.ref.name,
            fallbacks=list(admitted.model.fallbacks) or None,
            thinking=admitted.thinking,
            cleanup=args.cleanup,
            context=args.context,
            mode="session" if args.keeps_session else "run",
            timeout_ms=admitted.timeout_ms,
            budget_micro=admitted.budget_micro,
            budget_tokens=args.budget_tokens,
            output_schema=args.output_schema,
            denied_tools=sorted(self._denied(requester, agent)) or None,
            status=Status.QUEUED,
            **columns,
            **(links or {}),
        )

    def _session(
        self,
        tx: Transaction,
        requester: Requester,
        admitted: Admitted,
        run_id: str,
        fork: Mapping[str, int | str],
        lane: str,
    ) -> Session:
        parent, agent = requester.parent, admitted.agent
        return sessions.create(
            tx,
            key=f"agent:{agent.id}:subagent:{uuid.uuid4()}",
            agent_id=agent.id,
            kind="subagent",
            lane=lane,
            parent_id=parent.id if parent else None,
            run_id=run_id,
            depth=parent.depth + 1 if parent else 1,
            owned=requester.trusted and (parent is None or parent.owned),
            cwd=str(admitted.cwd) if admitted.cwd else None,
            person=requester.person or (parent.person if parent else None),
            **fork,
        )

    def begin(self, tx: Transaction, run: Run, message: str) -> None:
        """Gives a run its first message and asks for its activation."""
        key = f"task:{run.id}"
        inbox.put(tx, run.session_id, "task", key, message, route=run.route, run_id=run.id, trace=run.trace)
        self._registry.gateway.lanes.enqueue(tx, run.lane, run.session_id)
        self._registry.gateway.lifecycle.told(tx, run, "created")

    def _denied(self, requester: Requester, agent: Agent) -> frozenset[str]:
        """What the child lacks because its requester does (spec/subagents.md 11)."""
        known = self._registry.tools
        own = requester.conversation
        if own is None:
            return frozenset(known) & (frozenset[str]() if requester.trusted else UNTRUSTED)
        if agent.id == own.agent_id:
            has = self._registry.gateway.settings.toolset(own, requester.run).tools
            return frozenset(known) - frozenset(has)
        denied = agent_named(self._registry.gateway.config, own.agent_id).tools.deny
        return policy.matching(known, denied)

    def _compacts(self, tx: Transaction, requester: Requester, args: SpawnArguments, admitted: Admitted) -> bool:
        """Whether a forked transcript is over half of the child's window, so that it is summarised first."""
        if args.context != "fork" or requester.session is None:
            return False
        rows = transcript.load(tx, requester.session.id, after=0, upto=requester.upto)
        return fork_too_large(prompt_messages(rows, admitted.model.ref), admitted.model.ref)

    def _accepted(self, tx: Transaction, run: Run, compacts: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "status": "accepted",
            "runId": run.id,
            "childSessionKey": run.session_key,
            "mode": run.mode,
            "context": run.context,
            "label": run.label,
            "resolvedModel": run.model,
            "note": NOTE,
        }
        if compacts:
            answer["compacted"] = "the conversation is over half of the child's window; it gets a summary of it"
        position = self._queue_position(tx, run)
        if position:
            cap = self._registry.gateway.lanes.cap(LANE)
            answer["queued"] = (
                f"position {position} ({cap} sub-agents run at once: agents.defaults.subagents.maxConcurrent)"
            )
        return answer

    def _queue_position(self, tx: Transaction, run: Run) -> int:
        """Its place among those that wait for a slot; 0 if one is free. Read from the table, so that a batch of
        spawns that are committed together counts right."""
        cap = self._registry.gateway.lanes.cap(LANE)
        running, ahead = runs.lane_load(tx, run)
        return max(0, ahead + 1 - max(0, cap - running))


def _fork(tx: Transaction, requester: Requester) -> dict[str, int | str]:
    """A reference to the requester's transcript; the child's own rows are numbered after it."""
    session = requester.session
    if session is None:
        raise Refused('context "fork" needs a conversation to fork; this task was submitted from outside of any')
    return fork_of(tx, session, requester.upto)


def fork_of(tx: Transaction, session: Session, upto: int) -> dict[str, int | str]:
    """A reference to a transcript up to a seq, from its last compaction on."""
    first = 1
    if session.summary_seq is not None:
        summary = transcript.page(tx, session.id, limit=1, after=session.summary_seq - 1)
        first = (summary[0].summary_upto or 0) + 1 if summary else 1
    return {
        "fork_session_id": session.id,
        "fork_from": first,
        "fork_upto": upto,
        "next_seq": upto + 1,
    }

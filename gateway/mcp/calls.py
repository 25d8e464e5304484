"""What the tools of the MCP server do: units of work on the control of jobs, for an authenticated caller.

The same core as that of the HTTP API and the command line (`gateway.jobs.control`). Who asks is never a parameter, and
nobody can submit a protected kind this way, whatever his token: behind an MCP client there is a model.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.jobs import find
from gateway.jobs.owner import JobRefused
from gateway.jobs.submission import Submission
from gateway.jobs.submit import DryRun, Submitted
from gateway.mcp import arguments as given
from gateway.mcp import submissions, texts
from gateway.mcp.answers import Answer, Code, UnknownTool, refusal
from gateway.mcp.callers import Client
from gateway.mcp.catalogue import TOOLS, BadArguments, ToolInfo
from gateway.store import runs, sessions, standing, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.views import message_json

if TYPE_CHECKING:
    from gateway.app import Gateway

_WORDS: Mapping[str, dict[str, str]] = {
    "active": {"status": "running"},
    "waiting-children": {"status": "waiting"},
    "completed": {"outcome": "ok"},
    "failed": {"outcome": "error"},
    "cancelled": {"outcome": "stopped"},
    "dead": {"outcome": "dead"},
    "timeout": {"outcome": "timeout"},
    "budget": {"outcome": "budget"},
}
"""Words of a status that aren't ours, and those for an outcome."""
_CODES: Mapping[str, Code] = {"error": "invalid", "not_found": "not_found", "permission_denied": "permission_denied"}
_ACTIONS = {"cancel_job": "stop", "pause_job": "pause", "resume_job": "resume", "retry_job": "retry"}


class JobTools:
    """Runs the tools."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._control = gateway.jobs

    async def call(self, name: str, values: Mapping[str, Any], client: Client) -> Answer:
        """Runs one call; whatever is wrong with it is an answer.

        Raises:
            UnknownTool: there is no such tool.
        """
        tool = TOOLS.get(name)
        if tool is None:
            raise UnknownTool(f"there is no tool `{name[:64]}`; there are: {', '.join(TOOLS)}")
        try:
            args = tool.parse(values)
        except BadArguments as bad:
            return refusal(str(bad), "invalid", bad.field)
        if tool.changes and not client.may_change:
            return refusal("this token may only look: it needs the scope chat", "permission_denied")
        agent = name == "submit_agent"
        try:
            return await self._run(tool, client, args)
        except JobRefused as refused:
            where = texts.field_name(refused.field, agent=agent) if refused.field else None
            return refusal(texts.in_their_words(str(refused), agent=agent), _CODES[refused.status], where)
        except DryRun as ended:
            return self._would_be(ended.submitted, args)

    async def _run(self, tool: ToolInfo, client: Client, args: given.Arguments) -> Answer:
        unit = self._units()[tool.name]
        database = self._gateway.database
        return await (database.run(unit, client, args) if tool.changes else database.read(unit, client, args))

    def _units(self) -> Mapping[str, Callable[[Transaction, Client, Any], Answer]]:
        return {
            "submit_job": self._submit_job,
            "submit_agent": self._submit_agent,
            "list_jobs": self._list,
            "get_job": self._get,
            "get_job_progress": self._progress,
            "get_job_stats": self._stats,
            **{name: partial(self._change, action) for name, action in _ACTIONS.items()},
            "replay_job": self._replay,
            "send_job_message": self._send,
        }

    # ---- submitting ----

    def _submit_job(self, tx: Transaction, client: Client, args: given.SubmitJob) -> Answer:
        return self._submit(tx, client, submissions.job(args), dry_run=args.dry_run)

    def _submit_agent(self, tx: Transaction, client: Client, args: given.SubmitAgent) -> Answer:
        return self._submit(tx, client, submissions.agent(args), dry_run=args.dry_run)

    def _submit(self, tx: Transaction, client: Client, submission: Submission, *, dry_run: bool) -> Answer:
        done = self._control.submitter.submit(tx, submission, client.owner, dry_run=dry_run)
        run = runs.find(tx, done.run.id) or done.run
        children = len(runs.children(tx, run.session_id))
        text = texts.submitted(run, coalesced=done.coalesced, dry_run=False, children=children)
        data = {**self._control.json(tx, run), "dryRun": False, "coalesced": done.coalesced}
        return Answer(text, data)

    def _would_be(self, done: Submitted, args: object) -> Answer:
        run = done.run
        below = len(args.children) if isinstance(args, given.SubmitJob) else 0
        below += len(args.fanout) if isinstance(args, given.SubmitAgent) else 0
        data = {"dryRun": True, "coalesced": False, "name": run.kind, "label": run.label, "queue": run.lane}
        text = texts.submitted(run, coalesced=False, dry_run=True, children=below)
        return Answer(text, {**data, "model": run.model or None})

    # ---- looking ----

    def _list(self, tx: Transaction, client: Client, args: given.ListJobs) -> Answer:
        filters = _WORDS.get(args.status, {"status": args.status}) if args.status else {}
        found = self._control.list(
            tx,
            client.looker,
            **filters,
            kind=args.name,
            parent=args.parent_job_id,
            before=args.before,
            limit=args.limit,
        )
        more = found[-1].number if len(found) == args.limit else None
        jobs = [self._control.json(tx, run) for run in found]
        return Answer(texts.listed(found, more), {"jobs": jobs, "next": more})

    def _get(self, tx: Transaction, client: Client, args: given.GetJob) -> Answer:
        run = find.job(tx, client.looker, args.id)
        log: list[dict[str, Any]] = []
        if args.log_limit and sessions.find(tx, run.session_id) is not None:
            log = [message_json(each) for each in transcript.page(tx, run.session_id, limit=args.log_limit)]
        run, *children = standing.now(tx, [run, *runs.children(tx, run.session_id)])
        text = texts.details(run, children, self._control.reason(tx, run), tx.now, log)
        return Answer(text, {**self._control.json(tx, run), "log": log})

    def _progress(self, tx: Transaction, client: Client, args: given.OneJob) -> Answer:
        run = standing.of(tx, find.job(tx, client.looker, args.id))
        children = runs.children(tx, run.session_id)
        whole = self._control.json(tx, run)
        wanted = ("id", "runId", "name", "label", "status", "outcome", "waitingReason", "progress", "tokens")
        pending = sum(each.open for each in children)
        data = {name: whole[name] for name in (*wanted, "runtimeSeconds")}
        text = texts.snapshot(run, children, whole["waitingReason"], tx.now)
        return Answer(text, {**data, "childrenPending": pending, "childrenCompleted": len(children) - pending})

    def _stats(self, tx: Transaction, client: Client, _args: given.NoArguments) -> Answer:
        if not client.looker.operator:
            raise JobRefused(
                "the statistics count everybody's jobs: only an operator's token, or one that may read, gets them; "
                "list_jobs shows your own",
                status="permission_denied",
            )
        data = self._control.stats(tx)
        return Answer(texts.health(data), data)

    # ---- steering ----

    def _replay(self, tx: Transaction, client: Client, args: given.ReplayJob) -> Answer:
        old = find.job(tx, client.owner, args.id)
        # What an operator has submitted as it is may be run again as it is; a protected kind is never changed here.
        owner = client.owner if args.data_overrides else replace(client.owner, guarded=False)
        overrides = {"data": dict(args.data_overrides)} if args.data_overrides else {}
        run = self._control.replay(tx, owner, old, overrides, from_turn=args.from_turn)
        return Answer(texts.replayed(run, old), self._control.json(tx, run))

    def _send(self, tx: Transaction, client: Client, args: given.SendMessage) -> Answer:
        run = find.job(tx, client.owner, args.id)
        text = self._control.message_text(args.payload)
        row = self._control.send(tx, client.owner, run, text, f"mcp:{uuid.uuid4().hex}")
        return Answer(f"✉️ Sent to job #{run.number}.", {"id": run.number, "inboxId": row.id})

    def _change(self, action: str, tx: Transaction, client: Client, args: given.OneJob) -> Answer:
        run = find.job(tx, client.owner, args.id)
        text, changed = self._control.change(tx, run, action, by=client.owner.name)
        now: Run = find.job(tx, client.owner, run.id)
        return Answer(text, {**self._control.json(tx, now), "changed": changed})

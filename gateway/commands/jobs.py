"""`/jobs` and `/job`: background work of every kind, as seen and steered from a chat (spec/jobs.md, views).

Jobs are named by their numbers. Whoever types in his own conversation as an owner sees all; in a room, and everybody
else, what was asked for there (`jobs/find.py`). Answered without a model call and while a turn runs; a command that a
channel delivers twice is done once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from gateway.commands.base import Command, CommandContext, CommandError, CommandReply
from gateway.commands.core import current
from gateway.jobs import find, texts
from gateway.jobs.owner import JobRefused, Owner
from gateway.store import idempotency, runs, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run

SHOWN = 30
ENDED = 10
"""Ended jobs below the open ones."""
LOG_SHOWN = 20
CHANGES = ("stop", "pause", "resume", "retry")
ACTIONS = (*CHANGES, "log", "send", "replay")
USAGE = f"Usage: /job <number> [{'|'.join(ACTIONS)}]; numbers are those of /jobs"

Unit = Callable[[Transaction, Owner], CommandReply]


def job_commands() -> tuple[Command, ...]:
    """Both commands."""
    return (
        Command(
            "jobs",
            "[open|done|all|<kind>]",
            "background jobs, with the reason why each waits",
            _jobs,
            words=("open", "done", "all"),
        ),
        Command("job", f"<number> [{'|'.join(ACTIONS)}]", "see and steer one background job", _job),
    )


async def _jobs(context: CommandContext, rest: str) -> CommandReply:
    word = rest.strip().lower()
    control = context.gateway.jobs
    if word and word not in ("open", "done", "all") and word not in context.gateway.registry.job_kinds:
        kinds = ", ".join(sorted(context.gateway.registry.job_kinds))
        raise CommandError(f"`{word[:40]}` is neither open, done, all nor a kind of job; kinds are: {kinds}")
    kind = word if word in context.gateway.registry.job_kinds else None

    def unit(tx: Transaction, owner: Owner) -> CommandReply:
        still_open = control.list(tx, owner, status="open", kind=kind, limit=SHOWN) if word != "done" else []
        most = 0 if word == "open" else ENDED if not word else SHOWN
        ended = control.list(tx, owner, status="done", kind=kind, limit=most) if most else []
        found = [*still_open, *ended]
        shown = [(run, control.reason(tx, run)) for run in found]
        more = len(still_open) == SHOWN or (len(ended) == most and word in ("done", "all"))
        details = {"jobs": [control.json(tx, run) for run in found]}
        return CommandReply(texts.listed(shown, len(still_open), more), details)

    return await _look(context, unit)


async def _job(context: CommandContext, rest: str) -> CommandReply:
    word, _, rest = rest.strip().partition(" ")
    action, _, more = rest.strip().partition(" ")
    action, more = action.lower(), more.strip()
    if not word:
        raise CommandError(USAGE)
    if action and action not in ACTIONS:
        raise CommandError(f"There is no `{action[:40]}`. {USAGE}")
    if action == "send" and not more:
        raise CommandError("What is it to be told? Usage: /job <number> send <message>")
    if action in ("", "log"):
        return await _look(context, lambda tx, owner: _show(context, tx, find.job(tx, owner, word), action))
    return await _once(
        context,
        f"job {word} {action} {more}",
        lambda tx, owner: _change(context, tx, owner, find.job(tx, owner, word), action, more),
    )


def _show(context: CommandContext, tx: Transaction, run: Run, action: str) -> CommandReply:
    control = context.gateway.jobs
    if action == "log":
        rows = transcript.page(tx, run.session_id, limit=LOG_SHOWN)
        return CommandReply(texts.log(run, rows), {"id": run.number})
    return CommandReply(control.report(tx, run), control.json(tx, run))


def _change(context: CommandContext, tx: Transaction, owner: Owner, run: Run, action: str, more: str) -> CommandReply:
    control = context.gateway.jobs
    if action == "send":
        control.send(tx, owner, run, more, context.dedupe_key)
        text = f"✉️ Sent to job #{run.number}."
    elif action == "replay":
        run = control.replay(tx, owner, run, {})
        text = f"🔁 Job #{run.number} is a replay; it runs as a new job."
    else:
        text, _ = control.change(tx, run, action, by=owner.name)
    now = runs.find(tx, run.id) or run
    return CommandReply(text, control.json(tx, now))


# ---- who asks, and how ----


def _owner(tx: Transaction, context: CommandContext) -> Owner:
    session = current(tx, context)
    run = runs.find(tx, session.run_id) if session.run_id else None
    private = context.sender.owner and session.owned
    return Owner(context.sender.id, operator=private, session=session, run=run, route=context.route.to_json())


async def _look(context: CommandContext, unit: Unit) -> CommandReply:
    """Answers without changing anything, beside whatever is being written."""
    owner = await context.gateway.database.run(_owner, context)
    try:
        return await context.gateway.database.read(unit, owner)
    except JobRefused as refused:
        raise CommandError(str(refused)) from None


async def _once(context: CommandContext, request: str, unit: Unit) -> CommandReply:
    """Does something once for each message that asks for it."""

    def work(tx: Transaction) -> dict[str, Any]:
        return asdict(unit(tx, _owner(tx, context)))

    def once(tx: Transaction) -> idempotency.Answer:
        digest = idempotency.digest(context.session_key, request)
        return idempotency.once(tx, f"command:{context.dedupe_key}", digest, lambda: work(tx))

    try:
        answer = await context.gateway.database.run(once)
    except JobRefused as refused:
        raise CommandError(str(refused)) from None
    except idempotency.KeyReused:
        raise CommandError("Another command was accepted under this message's key; nothing was done.") from None
    return CommandReply(answer["text"], answer["details"])

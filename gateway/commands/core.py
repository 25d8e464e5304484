"""The slash commands of the gateway itself. Each is answered without a model call and while a turn runs."""

from __future__ import annotations

from gateway.agent.messages import THINKING_LEVELS
from gateway.agent.resolve import UnknownThinkingLevel, default_model, find_model, resolve_thinking
from gateway.approvals import ApprovalError
from gateway.commands.base import Command, CommandContext, CommandError, CommandReply
from gateway.config import UnknownModel
from gateway.routes import Sender
from gateway.store import inbox, runs, sessions
from gateway.store.database import Transaction
from gateway.store.sessions import Session
from gateway.views import capped, count, money, usd

QUEUE_MODES = ("steer", "followup", "collect", "interrupt")


def core_commands() -> tuple[Command, ...]:
    """All of them."""
    return (
        Command("help", "", "what you can type here", _help),
        Command("status", "", "session, model, lanes and what is under way", _status),
        Command("stop", "[turn]", "stop the turn and every sub-agent (`turn`: the turn alone)", _stop, words=("turn",)),
        Command("new", "", "begin a fresh conversation here", _new),
        Command("model", "[provider/model|default]", "show or choose the model of this conversation", _model),
        Command(
            "think",
            f"[{'|'.join(THINKING_LEVELS)}|default]",
            "show or choose how hard the model thinks",
            _think,
            words=(*THINKING_LEVELS, "default"),
        ),
        Command("usage", "", "tokens and cost of this conversation", _usage),
        Command(
            "queue",
            f"[{'|'.join(QUEUE_MODES)}|default]",
            "what happens to messages that come while a turn runs",
            _queue,
            words=(*QUEUE_MODES, "default"),
        ),
        Command("approve", "<id> [always]", "allow a command that waits for your yes", _approve, operator=True),
        Command("deny", "<id>", "refuse a command that waits for your yes", _deny, operator=True),
    )


def current(tx: Transaction, context: CommandContext) -> Session:
    """The session that a command is typed in, created if nothing has been said there yet."""
    known = sessions.by_key(tx, context.session_key)
    return known or context.gateway.queues.session(tx, context.session_key, owned=context.owned)


async def _help(context: CommandContext, _rest: str) -> CommandReply:
    shown = [
        command
        for command in context.gateway.registry.commands.values()
        if context.sender.owner or not command.operator
    ]
    lines = [f"`/{c.name}{' ' + c.usage if c.usage else ''}` — {c.help}" for c in shown]
    return CommandReply("\n".join(["Commands:", *lines]), {"commands": [c.name for c in shown]})


async def _status(context: CommandContext, _rest: str) -> CommandReply:
    session = await context.gateway.database.run(current, context)
    open_runs = await context.gateway.database.read(_open_runs, session)
    waiting = await context.gateway.database.read(inbox.pending, session.id, due=False)
    model = _model_name(context, session)
    lanes = await context.gateway.database.read(context.gateway.lanes.stats)
    busy = "a turn is running" if session.turn_seq is not None else "idle"
    lines = [
        f"Session `{session.key}` · {busy} · {len(waiting)} waiting",
        f"Model `{model}` · thinking {session.thinking or 'default'} · queue {_mode(context, session)}",
        f"Sub-agents active: {len(open_runs)}",
        "Lanes: " + ", ".join(f"{n} {s.running}/{s.cap} (+{s.waiting} waiting)" for n, s in lanes.items()),
    ]
    return CommandReply("\n".join(lines), {"model": model, "activeRuns": len(open_runs), "waiting": len(waiting)})


def _open_runs(tx: Transaction, session: Session) -> list[runs.Run]:
    return runs.below(tx, sessions.same_conversation(tx, session), open_only=True)


async def _stop(context: CommandContext, rest: str) -> CommandReply:
    if rest not in ("", "turn"):
        raise CommandError("Usage: /stop, or /stop turn for the turn alone")
    done = await context.gateway.database.run(_stop_all, context, turn_only=rest == "turn")
    return CommandReply(_stop_text(done, turn_only=rest == "turn" and not done["runs"]), done)


def _stop_all(tx: Transaction, context: CommandContext, *, turn_only: bool) -> dict[str, int]:
    session = current(tx, context)
    steps, lifecycle = context.gateway.steps, context.gateway.lifecycle
    run = runs.find(tx, session.run_id) if session.run_id else None
    if turn_only and session.turn_seq is not None and not (run and run.open):
        return {"turns": int(steps.stop_turn(tx, session, "stopped by the user")), "runs": 0, "dropped": 0}
    dropped = [row for row in inbox.pending(tx, session.id, due=False) if row.kind == "user"]
    for row in dropped:
        inbox.drop(tx, row)
    if run is not None and run.open:  # typed in a sub-agent's own thread: its turn is its run
        return {"turns": 0, "runs": lifecycle.stop(tx, run, "stopped by /stop"), "dropped": len(dropped)}
    if turn_only:  # its turn hasn't begun yet, and now never will
        return {"turns": 0, "runs": 0, "dropped": len(dropped)}
    asked = sessions.same_conversation(tx, session)
    children = [run for each in asked for run in runs.children(tx, each, open_only=True)]
    stopped = sum(lifecycle.stop(tx, run, "stopped by /stop") for run in children)
    return {
        "turns": int(steps.stop_turn(tx, session, "stopped by the user")),
        "runs": stopped,
        "dropped": len(dropped),
    }


def _stop_text(done: dict[str, int], *, turn_only: bool) -> str:
    turn = "Turn stopped" if done["turns"] else "No turn was running"
    number = done["dropped"]
    dropped = f" · {number} waiting message{'s' if number != 1 else ''} dropped" if number else ""
    if turn_only:
        return f"⚙️ {turn}{dropped}; sub-agents go on."
    return f"⚙️ {turn} · {done['runs']} sub-agent{'s' if done['runs'] != 1 else ''} stopped{dropped}."


async def _new(context: CommandContext, _rest: str) -> CommandReply:
    fresh, open_runs = await context.gateway.database.run(_renew, context)
    note = f" {open_runs} sub-agent(s) still at work will report here." if open_runs else ""
    return CommandReply(f"✨ A fresh conversation.{note}", {"sessionId": fresh.id, "activeRuns": open_runs})


def _renew(tx: Transaction, context: CommandContext) -> tuple[Session, int]:
    old = current(tx, context)
    fresh = sessions.renew(tx, old)
    gateway = context.gateway
    gateway.events.append(
        tx, "session", {"sessionKey": fresh.key, "change": "new"}, session_id=fresh.id, session_key=fresh.key
    )
    gateway.lanes.enqueue(tx, fresh.lane, fresh.id)
    return fresh, len(_open_runs(tx, fresh))


async def _model(context: CommandContext, rest: str) -> CommandReply:
    session = await context.gateway.database.run(current, context)
    if not rest:
        name = _model_name(context, session)
        source = "chosen here" if session.model else "from the configuration"
        return CommandReply(f"Model `{name}` ({source}). Choose another with /model provider/model.", {"model": name})
    if rest == "default":
        await context.gateway.database.run(_set, session.id, model=None)
        return CommandReply(f"Model back to `{_default_name(context, session)}`.")
    try:
        ref = find_model(context.gateway.config, session.agent_id, rest)
    except UnknownModel as error:
        raise CommandError(str(error)) from None
    await context.gateway.database.run(_set, session.id, model=ref.name)
    await context.gateway.models.prepare([ref])
    return CommandReply(f"Model `{ref.name}` from the next turn on.", {"model": ref.name})


async def _think(context: CommandContext, rest: str) -> CommandReply:
    session = await context.gateway.database.run(current, context)
    if not rest:
        return CommandReply(f"Thinking: {session.thinking or 'default'}. Levels: {', '.join(THINKING_LEVELS)}.")
    if rest == "default":
        await context.gateway.database.run(_set, session.id, thinking=None)
        return CommandReply("Thinking back to the default.")
    try:
        level = resolve_thinking(rest)
    except UnknownThinkingLevel as error:
        raise CommandError(str(error)) from None
    await context.gateway.database.run(_set, session.id, thinking=level)
    return CommandReply(f"Thinking: {level} from the next turn on.", {"thinking": level})


async def _usage(context: CommandContext, _rest: str) -> CommandReply:
    session = await context.gateway.database.run(current, context)
    below = await context.gateway.database.read(runs.below, [session.id])
    top = [run for run in below if run.requester_id == session.id]
    total_in = session.tokens_in + sum(run.total.input for run in top)
    total_out = session.tokens_out + sum(run.total.output for run in top)
    unknown = session.cost_unknown or any(run.cost_unknown for run in below)
    cost = None if unknown else session.cost_micro + sum(run.total.cost_micro or 0 for run in top)
    lines = [
        f"This conversation: {count(session.tokens_in)} in / {count(session.tokens_out)} out"
        + (f" ({count(session.cache_read)} cached)" if session.cache_read else ""),
        f"With its {len(below)} sub-agents: {count(total_in)} in / {count(total_out)} out · "
        + (money(cost) or "cost unknown (no price is configured: models.providers.*.models[].cost)"),
    ]
    return CommandReply("\n".join(lines), {"input": total_in, "output": total_out, "costUsd": usd(cost)})


async def _queue(context: CommandContext, rest: str) -> CommandReply:
    session = await context.gateway.database.run(current, context)
    if not rest:
        return CommandReply(f"Queue mode: {_mode(context, session)}. Modes: {', '.join(QUEUE_MODES)}.")
    if rest != "default" and rest not in QUEUE_MODES:
        raise CommandError(f"There is no queue mode `{rest[:40]}`; there are: {', '.join(QUEUE_MODES)}, default")
    await context.gateway.database.run(_set, session.id, queue_mode=None if rest == "default" else rest)
    return CommandReply(f"Queue mode: {rest}.", {"queueMode": rest})


async def _approve(context: CommandContext, rest: str) -> CommandReply:
    number, _, more = rest.partition(" ")
    if more.strip() not in ("", "always"):
        raise CommandError("Usage: /approve <id> [always]")
    return await _decide(context, number, allowed=True, always=more.strip() == "always")


async def _deny(context: CommandContext, rest: str) -> CommandReply:
    return await _decide(context, rest, allowed=False, always=False)


async def _decide(context: CommandContext, number: str, *, allowed: bool, always: bool) -> CommandReply:
    if not number.isdecimal():
        raise CommandError("Which one? Usage: /approve <id> [always], /deny <id>")
    try:
        approval = await context.gateway.approvals.decide(
            int(number), allowed=allowed, always=always, by=_by(context.sender)
        )
    except ApprovalError as error:
        raise CommandError(str(error)) from None
    done = "Allowed" if allowed else "Denied"
    more = f"; `{approval.pattern}` is allowed from now on" if always and approval.pattern else ""
    return CommandReply(f"{done}: {capped(approval.summary, 200)}{more}", {"id": approval.id, "allowed": allowed})


def _by(sender: Sender) -> str:
    return f"{sender.name} ({sender.id})" if sender.name and sender.name != sender.id else sender.id


def _set(tx: Transaction, session_id: str, **fields: str | None) -> None:
    sessions.change(tx, session_id, **fields)


def _mode(context: CommandContext, session: Session) -> str:
    return session.queue_mode or context.gateway.config.messages.queue.mode


def _default_name(context: CommandContext, session: Session) -> str:
    try:
        return default_model(context.gateway.config, session.agent_id).name
    except UnknownModel as error:
        return str(error)


def _model_name(context: CommandContext, session: Session) -> str:
    return session.model or _default_name(context, session)

"""`/subagents …`: the control of sub-agents as typed in a chat (spec/subagents.md, Control).

Answered without a model call and while a turn runs. A command that a channel delivers twice is done once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

from gateway.commands.base import Command, CommandContext, CommandError, CommandReply
from gateway.config.suggest import nearest
from gateway.store import idempotency
from gateway.store.database import Transaction
from gateway.store.runs import Run
from subagents import targets, texts
from subagents.admission import Refused, SpawnArguments
from subagents.control import LOG_DEFAULT, Answer, Control, Origin
from subagents.scope import Viewer
from subagents.viewers import viewer_of

ALL = "all"
HELP = "help"
WHY = "stopped by /subagents stop"
LONGEST_NUMBER = 9
"""Digits; a longer one is no limit anybody means."""

_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»"}
_OPTION = r"(?:--|—|–)(model|thinking)(?:\s+|=)(\S+)"
# Phones turn two hyphens into a dash, so that a dash counts as well.
_LEADING = re.compile(_OPTION + r"\s+")
_TRAILING = re.compile(r"(?:\s|^)" + _OPTION + r"$")

Unit = Callable[[Transaction, Viewer], Answer]
Handler = Callable[[CommandContext, str], Awaitable[CommandReply]]


def subagent_commands(control: Control) -> tuple[Command, ...]:
    """The slash command `/subagents`."""
    subcommands = Subcommands(control)
    return (
        Command(
            "subagents",
            f"[{'|'.join(texts.USAGE)}] …",
            "see and steer sub-agents; `/subagents help` says how",
            subcommands.run,
            words=(*texts.USAGE, HELP),
        ),
    )


class Subcommands:
    """What can follow `/subagents`."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._handlers: Mapping[str, Handler] = {
            "list": self._list,
            "info": self._info,
            "log": self._log,
            "send": self._send,
            "steer": self._steer,
            "stop": self._stop,
            "spawn": self._spawn,
            "pause": self._pause,
            "resume": self._resume,
            "retry": self._retry,
            "tree": self._tree,
            HELP: self._help,
        }

    async def run(self, context: CommandContext, rest: str) -> CommandReply:
        """Answers one command; alone it lists.

        Raises:
            CommandError: it can't be done as typed; the text says what would be right.
        """
        word, rest = first_word(rest)
        name = word.lower() or "list"
        handler = self._handlers.get(name)
        if handler is None:
            raise CommandError(texts.unknown_command(word, nearest(name, texts.USAGE)))
        return await handler(context, rest)

    async def _help(self, _context: CommandContext, _rest: str) -> CommandReply:
        return CommandReply(texts.help_text(), {"commands": list(texts.USAGE)})

    async def _list(self, context: CommandContext, _rest: str) -> CommandReply:
        return _reply(await context.gateway.database.run(self._in_view, context, self._control.list))

    async def _tree(self, context: CommandContext, _rest: str) -> CommandReply:
        return await self._look(context, self._control.tree)

    async def _info(self, context: CommandContext, rest: str) -> CommandReply:
        target = _whole_target("info", rest)
        return await self._look(context, lambda tx, viewer: self._control.info(tx, targets.resolve(tx, viewer, target)))

    async def _log(self, context: CommandContext, rest: str) -> CommandReply:
        target, limit, tools = log_arguments(rest)
        return await self._look(
            context,
            lambda tx, viewer: self._control.log(tx, targets.resolve(tx, viewer, target), limit, tools=tools),
        )

    async def _send(self, context: CommandContext, rest: str) -> CommandReply:
        target, message = _target_and_message("send", rest)

        def unit(tx: Transaction, viewer: Viewer) -> Answer:
            run = targets.resolve(tx, viewer, target)
            sent = self._control.send(tx, run, message, _origin(context))
            self._control.replies.expect(tx, sent.inbox_id, sent.run, context.session_key, context.route.to_json())
            return self._control.sent(tx, sent)

        return await self._once(context, f"send {rest}", unit)

    async def _steer(self, context: CommandContext, rest: str) -> CommandReply:
        target, message = _target_and_message("steer", rest)

        def unit(tx: Transaction, viewer: Viewer) -> Answer:
            run = targets.resolve(tx, viewer, target)
            sent = self._control.send(tx, run, message, _origin(context), steer=True)
            return self._control.sent(tx, sent, steer=True)

        return await self._once(context, f"steer {rest}", unit)

    async def _stop(self, context: CommandContext, rest: str) -> CommandReply:
        target = _whole_target("stop", rest)
        # `all` always means all: a label that a model chose must not keep anybody from stopping everything.
        if target.lower() == ALL:
            return await self._once(
                context, "stop all", lambda tx, viewer: self._control.stop_all(tx, viewer, f"{WHY} all")
            )
        return await self._on_run(context, "stop", target, lambda tx, run: self._control.stop(tx, run, WHY))

    async def _pause(self, context: CommandContext, rest: str) -> CommandReply:
        return await self._on_run(context, "pause", _whole_target("pause", rest), self._control.pause)

    async def _resume(self, context: CommandContext, rest: str) -> CommandReply:
        return await self._on_run(context, "resume", _whole_target("resume", rest), self._control.resume)

    async def _retry(self, context: CommandContext, rest: str) -> CommandReply:
        route = context.route.to_json()
        target = _whole_target("retry", rest)
        return await self._on_run(context, "retry", target, lambda tx, run: self._control.retry(tx, run, route))

    async def _spawn(self, context: CommandContext, rest: str) -> CommandReply:
        args = spawn_arguments(rest)

        def unit(tx: Transaction, viewer: Viewer) -> Answer:
            if viewer.session is None:
                raise CommandError(texts.usage("spawn"))
            return self._control.spawn(tx, viewer.session, args, context.route.to_json(), context.sender.id)

        return await self._once(context, f"spawn {rest}", unit)

    async def _on_run(
        self, context: CommandContext, name: str, target: str, act: Callable[[Transaction, Run], Answer]
    ) -> CommandReply:
        return await self._once(
            context, f"{name} {target}", lambda tx, viewer: act(tx, targets.resolve(tx, viewer, target))
        )

    async def _look(self, context: CommandContext, unit: Unit) -> CommandReply:
        """Answers without changing anything, beside whatever is being written."""
        database = context.gateway.database
        viewer = await database.run(viewer_of, context)
        return _reply(await database.read(unit, viewer))

    async def _once(self, context: CommandContext, request: str, unit: Unit) -> CommandReply:
        """Does something once for each message that asks for it."""

        def work(tx: Transaction) -> idempotency.Answer:
            key = f"command:{context.dedupe_key}"
            return idempotency.once(
                tx,
                key,
                idempotency.digest(context.session_key, request),
                lambda: asdict(self._in_view(tx, context, unit)),
            )

        try:
            answer = await context.gateway.database.run(work)
        except Refused as refused:
            raise CommandError(str(refused)) from None
        except idempotency.KeyReused:
            raise CommandError("Another command was accepted under this message's key; nothing was done.") from None
        return CommandReply(answer["text"], answer["details"])

    def _in_view(self, tx: Transaction, context: CommandContext, unit: Unit) -> Answer:
        return unit(tx, viewer_of(tx, context))


# ---- reading what was typed ----


def first_word(text: str) -> tuple[str, str]:
    """The first word, or what stands in quotes at the beginning, and the rest. Quotes need not be balanced."""
    text = text.strip()
    closing = _QUOTES.get(text[:1])
    if closing is not None:
        end = text.find(closing, 1)
        if end > 0 and (end + 1 == len(text) or text[end + 1].isspace()):
            return text[1:end].strip(), text[end + 1 :].strip()
    word, *more = text.split(maxsplit=1) or [""]
    return word, more[0] if more else ""


def unquoted(text: str) -> str:
    """The text without one pair of quotes around the whole of it."""
    text = text.strip()
    closing = _QUOTES.get(text[:1])
    inner = text[1:-1]
    if (
        len(text) > 1
        and closing is not None
        and text.endswith(closing)
        and text[0] not in inner
        and closing not in inner
    ):
        return inner.strip()
    return text


def log_arguments(rest: str) -> tuple[str, int, bool]:
    """Target, limit and whether tools are wanted, from `<target> [limit] [tools]`."""
    limit, tools = None, False
    while len(parts := rest.rsplit(maxsplit=1)) == 2:
        word = parts[1]
        if word.lower() == "tools" and not tools:
            tools = True
        elif word.isascii() and word.isdecimal() and len(word) <= LONGEST_NUMBER and limit is None:
            limit = int(word)
        else:
            break
        rest = parts[0]
    return _whole_target("log", rest), LOG_DEFAULT if limit is None else limit, tools


def spawn_arguments(rest: str) -> SpawnArguments:
    """What `spawn <agentId> <task> [--model M] [--thinking L]` asks for; options stand before or after the task."""
    agent_id, rest = first_word(rest)
    options: dict[str, str] = {}
    while match := _LEADING.match(rest):
        options[match[1]] = match[2]
        rest = rest[match.end() :].strip()
    while match := _TRAILING.search(rest):
        options.setdefault(match[1], match[2])
        rest = rest[: match.start()].strip()
    task = unquoted(rest)
    if not agent_id or not task:
        raise CommandError(texts.usage("spawn"))
    return SpawnArguments.model_validate({"agentId": agent_id, "task": task, **options})


def _whole_target(name: str, rest: str) -> str:
    target = unquoted(rest)
    if not target:
        raise CommandError(f"{texts.NO_TARGET}\n{texts.usage(name)}")
    return target


def _target_and_message(name: str, rest: str) -> tuple[str, str]:
    target, message = first_word(rest)
    if not target or not message:
        raise CommandError(texts.usage(name))
    return target, unquoted(message)


def _origin(context: CommandContext) -> Origin:
    return Origin(context.route.to_json(), context.sender.name or context.sender.id, context.dedupe_key)


def _reply(answer: Answer) -> CommandReply:
    return CommandReply(answer.text, answer.details)

"""What a test may ask of the stand-in, as functions of plain JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.standins.telegram.methods.asking import scope_key
from tests.standins.telegram.model import Message
from tests.standins.telegram.parts import Parts
from tests.standins.telegram.reading import marked
from tests.standins.telegram.world import World

Json = dict[str, Any]


def shown(world: World, message: Message) -> Json:
    """A message with all that the API doesn't tell."""
    return {
        "api": world.to_json(message),
        "name": world.user(message.sender)["first_name"],
        "topic": message.thread if message.topic else None,
        "replyTo": message.reply_to,
        "marked": marked(message.text, message.entities),
        "history": [content.get("text") or content.get("caption") or "" for content in message.history],
        "deleted": message.deleted,
        "service": message.service,
        "reactions": {str(user): emoji for user, emoji in message.reactions.items()},
        "update": message.update,
    }


def version(parts: Parts) -> int:
    """Counts changes; `/_admin/after` waits for the next."""
    return parts.world.changes.version


def bot_name(parts: Parts) -> str:
    """The bot's user name, without `@`."""
    return parts.world.bot.username


def messages(parts: Parts, *, chat: int | None) -> list[Json]:
    """All messages of one chat or of all, deleted ones too."""
    chats = [c for c in parts.world.chats.values() if chat in (None, c.id)]
    return [shown(parts.world, message) for c in chats for message in c.messages.values()]


def drafts(parts: Parts, *, chat: int) -> list[Json]:
    """All drafts that were shown in a private chat, oldest first; `live` marks the one that is seen now."""
    now = parts.world.clock.now()
    found = [draft for draft in parts.world.drafts if draft.chat == chat]
    return [
        {
            "id": draft.id,
            "thread": draft.thread,
            "text": draft.content["text"],
            "marked": marked(draft.content["text"], draft.content.get("entities", [])),
            "live": draft is found[-1] and draft.until > now,
        }
        for draft in found
    ]


def actions(parts: Parts) -> list[Json]:
    """All chat actions; `live` marks those that are seen now."""
    now = parts.world.clock.now()
    return [
        {"chat": a.chat, "thread": a.thread, "action": a.action, "at": a.at, "live": a.until > now}
        for a in parts.world.actions
    ]


def topics(parts: Parts, *, chat: int) -> list[Json]:
    """Topics of a chat, without General."""
    found = parts.world.chats[chat].topics.values()
    return [{"id": t.id, "name": t.name, "closed": t.closed, "creator": t.creator} for t in found]


def commands(parts: Parts, *, scope: Json | None, language: str) -> list[Json]:
    """Commands as set for a scope."""
    return parts.world.commands.get(scope_key(scope, language), [])


def answer(parts: Parts, *, query: str) -> Json | None:
    """What the bot answered to a pressed button; None if it hasn't."""
    return parts.world.queries[query].answer


def calls(parts: Parts, *, method: str | None) -> list[Json]:
    """All calls, or those of one method."""
    return [call.to_json() for call in parts.calls.calls if method in (None, call.method)]


def faults(parts: Parts) -> list[str]:
    """What the bot did wrong, and troubles that never came to pass."""
    return [
        *parts.calls.faults,
        *(f"{method}: the fault that was asked for never came" for method in parts.plan.left()),
    ]


def taken(parts: Parts) -> list[int]:
    """Updates that the bot has confirmed."""
    return sorted(parts.world.updates.confirmed)


def pending(parts: Parts) -> list[Json]:
    """Updates that it hasn't."""
    return [update.to_json() for update in parts.world.updates.pending]


def webhook(parts: Parts) -> Json:
    """The webhook's state and tries."""
    return {**parts.webhook.info(), "attempts": [list(attempt) for attempt in parts.webhook.attempts]}


def busiest(parts: Parts, *, chat: int | None, seconds: float) -> int:
    """Most messages and edits within so many seconds."""
    return parts.flood.busiest(chat, seconds)


QUESTIONS: tuple[Callable[..., Any], ...] = (
    *(
        version,
        bot_name,
        messages,
        drafts,
        actions,
        topics,
        commands,
        answer,
        calls,
        faults,
        taken,
        pending,
        webhook,
        busiest,
    ),
)

"""What a test may do and ask, as functions of plain JSON: the driver calls them in-process or over `/_admin/…`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tests.standins.telegram import acts, asked
from tests.standins.telegram.faults import Fault
from tests.standins.telegram.limits import Limits
from tests.standins.telegram.methods import topics
from tests.standins.telegram.model import RIGHTS, Account, Chat, Member, Message
from tests.standins.telegram.parts import Parts

Json = dict[str, Any]


def person(parts: Parts, *, name: str, username: str | None, language: str, started: bool) -> Json:
    """A new account; with `started` it has opened its chat with the bot."""
    account = parts.world.new_person(name, username, language)
    if started:
        parts.world.private_chat(account)
    return account.user()


def group(parts: Parts, *, title: str, members: list[int], kind: Any, forum: bool, rights: list[str] | None) -> Json:
    """A new group with the bot in it; the first member has created it. Nobody is told."""
    chat = parts.world.new_group(title, kind, forum=forum)
    for number, member in enumerate(members):
        chat.members[member] = Member("member" if number else "creator")
    chat.members[parts.world.bot.id] = (
        Member("administrator", _rights(rights)) if rights is not None else Member("member")
    )
    return chat.to_json()


def join(parts: Parts, *, user: int, chat: int) -> None:
    """A person joins a group. Nobody is told."""
    _chat(parts, chat).members[user] = Member("member")


def topic(parts: Parts, *, user: int, chat: int, name: str) -> int:
    """A person opens a topic; returns its id."""
    where = _chat(parts, chat)
    assert where.forum, f"{where.title} has no topics"
    opened = topics.open_topic(parts.world, where, name, user)
    acts.tell(parts.world, where.messages[opened.id])
    return opened.id


def change_topic(parts: Parts, *, user: int, chat: int, thread: int, change: str) -> None:
    """A person closes, reopens or deletes a topic."""
    where = _chat(parts, chat)
    if change == "delete":
        topics.remove_topic(parts.world, where, where.topics[thread])
        return
    where.topics[thread].closed = change == "close"
    event = "forum_topic_closed" if change == "close" else "forum_topic_reopened"
    acts.tell(parts.world, parts.world.post(where, user, {event: {}}, thread=thread, topic=True))


def say(parts: Parts, *, user: int, text: str, chat: int | None, thread: int | None, reply_to: int | None) -> Json:
    """A person writes."""
    where = _where(parts, user, chat)
    return asked.shown(parts.world, acts.say(parts.world, user, where, acts.written(text), thread, reply_to))


def send_file(
    parts: Parts,
    *,
    user: int,
    kind: str,
    name: str,
    data: str,
    media_type: str,
    caption: str,
    size: int | None,
    chat: int | None,
    thread: int | None,
    reply_to: int | None,
) -> Json:
    """A person sends a photo, document or voice message; `data` is Base64."""
    where = _where(parts, user, chat)
    media = parts.world.media(kind, base64.b64decode(data), name, media_type, size)
    message = acts.say(parts.world, user, where, acts.captioned(media, caption), thread, reply_to)
    return asked.shown(parts.world, message)


def edit(parts: Parts, *, chat: int, message: int, text: str) -> Json:
    """A person edits his message."""
    found = _message(parts, chat, message)
    acts.edit(parts.world, found, text)
    return asked.shown(parts.world, found)


def remove(parts: Parts, *, chat: int, message: int) -> None:
    """A person deletes a message, of which bots aren't told."""
    _message(parts, chat, message).deleted = True
    parts.world.changes.mark()


def press(parts: Parts, *, user: int, chat: int, message: int, label: str | None, data: str | None) -> str:
    """A person presses the button with this label, or forges one with this data. Returns the query's id."""
    found = _message(parts, chat, message)
    if data is None:
        rows: list[list[Json]] = (found.markup or {}).get("inline_keyboard", [])
        buttons = {button["text"]: button for row in rows for button in row}
        assert label in buttons, f"no button {label!r} among {list(buttons)}"
        data = str(buttons[label]["callback_data"])
    return acts.press(parts.world, user, found, data).id


def react(parts: Parts, *, user: int, chat: int, message: int, emoji: str | None) -> None:
    """A person's reaction, None to take it back."""
    acts.react(parts.world, user, _message(parts, chat, message), emoji)


def set_bot(parts: Parts, *, by: int, chat: int, status: Any, rights: list[str] | None) -> None:
    """A person adds, promotes, restricts or removes the bot."""
    acts.set_bot_member(parts.world, _chat(parts, chat), by, status, _rights(rights or []))


def block(parts: Parts, *, user: int, blocked: bool) -> None:
    """A person blocks the bot, or lets it in again."""
    acts.set_blocked(parts.world, user, blocked)


def upgrade(parts: Parts, *, by: int, chat: int) -> int:
    """A group becomes a supergroup; returns its new id."""
    return acts.upgrade(parts.world, _chat(parts, chat), by).id


def stop_draft(parts: Parts, *, user: int) -> None:
    """A person presses Stop beside a draft."""
    acts.stop_draft(parts.world, user)


def trouble(parts: Parts, *, method: str, fault: Json, chat: int | None, times: int) -> None:
    """The next calls of a method go wrong."""
    parts.plan.next(method, Fault(**fault), chat=chat, times=times)


def release(parts: Parts, *, name: str) -> None:
    """Opens a gate."""
    parts.plan.release(name)


def allow(parts: Parts, *, pattern: str, method: str) -> None:
    """Faults that match are none."""
    parts.calls.allow(pattern, method)


def advance(parts: Parts, *, seconds: float) -> None:
    """Lets the stand-in's time pass."""
    parts.world.clock.advance(seconds)
    parts.world.changes.mark()


def enforce_limits(parts: Parts, *, limits: Json | None) -> None:
    """Enforces flood limits, or no longer."""
    parts.flood.limits = None if limits is None else Limits(**limits)


def redeliver(parts: Parts, *, update: int) -> None:
    """Delivers an update once more."""
    parts.world.updates.again(update)


def _rights(rights: list[str]) -> frozenset[str]:
    given = frozenset(RIGHTS if rights == ["*"] else rights) | {"can_manage_chat"}
    assert given <= set(RIGHTS), f"no rights: {sorted(given - set(RIGHTS))}"
    return given


def _account(parts: Parts, user: int) -> Account:
    return parts.world.people[user]


def _chat(parts: Parts, chat: int) -> Chat:
    assert chat in parts.world.chats, f"there is no chat {chat}"
    return parts.world.chats[chat]


def _where(parts: Parts, user: int, chat: int | None) -> Chat:
    return parts.world.private_chat(_account(parts, user)) if chat in (None, user) else _chat(parts, chat)


def _message(parts: Parts, chat: int, message: int) -> Message:
    return _chat(parts, chat).messages[message]


ACTS: tuple[Callable[..., Any], ...] = (
    *(person, group, join, topic, change_topic, say, send_file, edit, remove, press, react, set_bot, block),
    *(upgrade, stop_draft, trouble, release, allow, advance, enforce_limits, redeliver),
)
OPERATIONS: dict[str, Callable[..., Any]] = {act.__name__: act for act in (*ACTS, *asked.QUESTIONS)}

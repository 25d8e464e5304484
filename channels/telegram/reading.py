"""A message of Telegram's, read: who wrote it where, what it says, whether it is for the assistant, what came with it.

Pure functions. The mention of the assistant is taken out of the text, links that stand behind words are written out,
and what somebody else has written is quoted if the message replies to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from telegram import Message, MessageEntity, PhotoSize, User

from gateway.routes import PlaceKind
from gateway.views import capped

NAME = "telegram"
GENERAL = 1
"""A forum's General topic: nothing may be posted to it by its number."""
QUOTE_CHARS = 1_000
_AUTOMATIC = 777_000
"""Telegram itself, which forwards a channel's posts into its group."""


@dataclass(frozen=True, slots=True)
class Me:
    """The bot."""

    id: int
    username: str
    """Without `@`."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who has written a message: a person, or a chat that an administrator writes as."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that came with a message."""

    file_id: str
    name: str
    media_type: str
    size: int | None


def kind_of(message: Message) -> PlaceKind:
    """What kind of place a message stands in."""
    return "direct" if message.chat.type == message.chat.PRIVATE else "group"


def thread_of(message: Message) -> str | None:
    """The topic that a message stands in; None outside of topics and in General."""
    thread = message.message_thread_id
    if not message.is_topic_message or thread is None or (thread == GENERAL and kind_of(message) == "group"):
        return None  # the number of a chain of replies is no topic
    return str(thread)


def speaker_of(message: Message) -> Speaker | None:
    """Who has written a message; None for bots, the assistant itself among them, and for what Telegram forwards."""
    chat, user = message.sender_chat, message.from_user
    if message.is_automatic_forward or (user is not None and user.id == _AUTOMATIC):
        return None
    if chat is not None and chat.type != chat.PRIVATE:
        name = chat.title or "a channel"
        return Speaker(str(chat.id), f"{name} (anonymous)" if chat.id == message.chat.id else name)
    if user is None or user.is_bot:
        return None
    return Speaker(str(user.id), user.full_name)


def text_of(message: Message, me: Me) -> str:
    """What its writer meant: without the mention of the assistant."""
    text = message.text if message.text is not None else message.caption
    if text is None:
        return message.sticker.emoji or "" if message.sticker else ""
    units = text.encode("utf-16-le")
    parts: list[bytes] = []
    at = 0
    for entity in sorted(_entities(message), key=lambda each: each.offset):
        start, end = 2 * entity.offset, 2 * (entity.offset + entity.length)
        if start < at:
            continue
        words = units[start:end]
        if _names(entity, words.decode("utf-16-le"), me):
            words = b""
        elif entity.type == MessageEntity.TEXT_LINK and entity.url:
            words = b"".join(("[".encode("utf-16-le"), words, f"]({entity.url})".encode("utf-16-le")))
        else:
            continue
        parts += [units[at:start], words]
        at = end
    return b"".join([*parts, units[at:]]).decode("utf-16-le").strip()


def addressed(message: Message, me: Me, commands: Iterable[str]) -> bool:
    """Whether a message is for the assistant: a mention, a reply to it, one of its commands.

    Args:
        message: in a group.
        me: the assistant.
        commands: the names of its commands.
    """
    replied = message.reply_to_message
    # A message in a topic that replies to nothing replies to the topic's beginning.
    if replied is not None and _is(replied.from_user, me) and replied.forum_topic_created is None:
        return True
    text = message.text if message.text is not None else message.caption or ""
    units = text.encode("utf-16-le")
    for entity in _entities(message):
        words = units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")
        if _names(entity, words, me):
            return True
    name, bot = command_in(text)
    return name in commands and bot in ("", me.username.lower())


def command_in(text: str) -> tuple[str, str]:
    """The name of the command that a text begins with, and the bot that it names, both in lower case, or empty."""
    if not text.startswith("/"):
        return "", ""
    name, _, bot = text[1:].split(maxsplit=1)[0].lower().partition("@") if text[1:].strip() else ("", "", "")
    return name, bot


def quoted(message: Message, me: Me) -> str:
    """What a message replies to, if somebody else has written it, as lines to be put before the text."""
    replied = message.reply_to_message
    if replied is None or replied.forum_topic_created is not None:
        return ""
    if _is(replied.from_user, me) and message.quote is None:
        return ""  # the conversation holds it
    text = message.quote.text if message.quote else replied.text or replied.caption or ""
    text = text.strip()
    if not text:
        return ""
    name = _name_of(replied.from_user, me)
    lines = (text if len(text) <= QUOTE_CHARS else f"{text[:QUOTE_CHARS]}…").splitlines()
    return "\n".join([f"> {name}: {lines[0]}" if name else f"> {lines[0]}", *(f"> {line}" for line in lines[1:])])


def files_of(message: Message) -> Iterator[Sent]:
    """What came with a message; of a photo the largest."""
    if message.photo:
        photo = max(message.photo, key=lambda each: (each.file_size or 0, each.width))
        yield _photo(photo)
    if message.animation:  # comes as a document too
        yield _sent(message.animation, "animation.mp4", "video/mp4")
    elif message.document:
        yield _sent(message.document, "file", "")
    if message.voice:
        yield _sent(message.voice, "voice.oga", "audio/ogg")
    if message.audio:
        yield _sent(message.audio, "audio.mp3", "audio/mpeg")
    if message.video:
        yield _sent(message.video, "video.mp4", "video/mp4")
    if message.video_note:
        yield _sent(message.video_note, "video.mp4", "video/mp4")


def _photo(photo: PhotoSize) -> Sent:
    return Sent(photo.file_id, "photo.jpg", "image/jpeg", photo.file_size)


def _sent(file: object, name: str, media_type: str) -> Sent:
    """Any of the library's kinds of files, of which not all have a name and a type."""
    return Sent(
        str(getattr(file, "file_id", "")),
        getattr(file, "file_name", None) or name,
        getattr(file, "mime_type", None) or media_type,
        getattr(file, "file_size", None),
    )


def _entities(message: Message) -> tuple[MessageEntity, ...]:
    return tuple(message.entities if message.text is not None else message.caption_entities)


def _names(entity: MessageEntity, words: str, me: Me) -> bool:
    """Whether an entity is a mention of the assistant."""
    if entity.type == MessageEntity.MENTION:
        return words.lower() == f"@{me.username.lower()}"
    return entity.type == MessageEntity.TEXT_MENTION and entity.user is not None and entity.user.id == me.id


def _is(user: User | None, me: Me) -> bool:
    return user is not None and user.id == me.id


def _name_of(user: User | None, me: Me) -> str:
    if user is None:
        return ""
    return "you" if user.id == me.id else capped(user.full_name, 80)

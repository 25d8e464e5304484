"""The state of the stand-in: who and what there is, and the few changes that everything else is made of."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.standins.telegram.changes import Changes
from tests.standins.telegram.clock import Clock
from tests.standins.telegram.model import Account, BotAccount, Chat, Json, Kind, Member, Message, StoredFile
from tests.standins.telegram.updates import Updates

PHOTO_SIZES = ((90, 60), (320, 213), (800, 533))


@dataclass
class Query:
    """A button that was pressed."""

    id: str
    user: int
    chat: int
    message: int
    data: str
    pressed: float
    """By the stand-in's clock."""
    answer: Json | None = None
    """What the bot answered: text, show_alert, …"""
    unsure: bool = False
    """The bot never learned that its answer was taken."""


@dataclass
class Draft:
    """A text that streams into a private chat."""

    id: int
    chat: int
    thread: int | None
    content: Json
    until: float
    can_stop: bool


@dataclass
class Action:
    """A chat action, such as typing."""

    chat: int
    thread: int | None
    action: str
    at: float
    until: float


@dataclass
class World:
    """Everything that the stand-in remembers."""

    bot: BotAccount
    clock: Clock = field(default_factory=Clock)
    changes: Changes = field(default_factory=Changes)
    people: dict[int, Account] = field(default_factory=dict[int, Account])
    chats: dict[int, Chat] = field(default_factory=dict[int, Chat])
    files: dict[str, StoredFile] = field(default_factory=dict[str, StoredFile])
    queries: dict[str, Query] = field(default_factory=dict[str, Query])
    drafts: list[Draft] = field(default_factory=list[Draft])
    """All that were ever shown, oldest first."""
    actions: list[Action] = field(default_factory=list[Action])
    commands: dict[str, list[Json]] = field(default_factory=dict[str, "list[Json]"])
    """Scope and language → commands."""
    ignored: list[str] = field(default_factory=list[str])
    """What the server has dropped from texts without a word since the last call."""
    callback_seconds: float = 15
    """How long a callback query can be answered."""

    def __post_init__(self) -> None:
        self.updates = Updates(self.changes)
        self._people = itertools.count(1001)
        self._groups = itertools.count(1)
        self._files = itertools.count(1)
        self._queries = itertools.count(4_000_000_000_000)

    # ------------------------------------------------------------------ making things

    def new_person(self, name: str, username: str | None, language: str) -> Account:
        """An account without a chat with the bot."""
        person = Account(next(self._people), name, username, language)
        self.people[person.id] = person
        self.changes.mark()
        return person

    def private_chat(self, person: Account) -> Chat:
        """The person's chat with the bot, opened if it wasn't."""
        if person.id not in self.chats:
            chat = Chat(person.id, "private", person.name, username=person.username, forum=self.bot.topics)
            self.chats[chat.id] = chat
        return self.chats[person.id]

    def new_group(self, title: str, kind: Kind, *, forum: bool = False) -> Chat:
        """An empty group."""
        number = next(self._groups)
        chat = Chat(-(10**12) - number if kind == "supergroup" else -number, kind, title, forum)
        self.chats[chat.id] = chat
        if kind == "supergroup":
            self.post(chat, self.bot.id, {"supergroup_chat_created": True})
        self.changes.mark()
        return chat

    def new_file(self, data: bytes, name: str, media_type: str, folder: str, size: int | None = None) -> StoredFile:
        """A file on the server."""
        number = next(self._files)
        unique = hashlib.blake2s(f"{number}".encode(), digest_size=8).hexdigest()
        suffix = name[name.rfind(".") :] if "." in name else ""
        file = StoredFile(
            f"AgAD{unique}{number}",
            unique,
            f"{folder}/file_{number}{suffix}",
            data,
            name,
            media_type,
            len(data) if size is None else size,
        )
        self.files[file.id] = file
        return file

    def media(self, kind: str, data: bytes, name: str, media_type: str, size: int | None = None) -> Json:
        """Content of a message with a photo, document or voice."""
        file = self.new_file(data, name, media_type, f"{kind}s", size)
        shared: Json = {"file_id": file.id, "file_unique_id": file.unique, "file_size": file.size}
        if kind == "photo":
            smaller = [self.new_file(data, name, media_type, "photos", size) for _ in PHOTO_SIZES[1:]]
            return {
                "photo": [
                    {"file_id": f.id, "file_unique_id": f.unique, "width": w, "height": h, "file_size": f.size}
                    for f, (w, h) in zip([*smaller, file], PHOTO_SIZES, strict=True)
                ]
            }
        if kind == "voice":
            return {"voice": {**shared, "duration": 3, "mime_type": media_type}}
        return {"document": {**shared, "file_name": name, "mime_type": media_type}}

    def new_query(self, user: int, message: Message, data: str) -> Query:
        """A press of a button."""
        query = Query(str(next(self._queries)), user, message.chat, message.id, data, self.clock.now())
        self.queries[query.id] = query
        self.changes.mark()
        return query

    # ------------------------------------------------------------------ messages

    def post(self, chat: Chat, sender: int, content: Json, **more: Any) -> Message:
        """Appends a message to a chat."""
        number = len(chat.messages) + 1
        message = Message(number, chat.id, sender, self.clock.unix(), content, **more)
        chat.messages[number] = message
        if sender == self.bot.id:
            self._cleared(message)
        self.changes.mark()
        return message

    def rewrite(self, message: Message, content: Json, markup: Json | None) -> None:
        """Edits a message."""
        message.history.append(message.content)
        message.content = content
        message.markup = markup
        message.edited = self.clock.unix()
        self.changes.mark()

    def _cleared(self, message: Message) -> None:
        """A message of the bot ends its typing and its drafts there."""
        now = self.clock.now()
        for shown in (*self.actions, *self.drafts):
            if (shown.chat, shown.thread) == (message.chat, message.thread):
                shown.until = min(shown.until, now)

    def user(self, user_id: int) -> Json:
        """`User` of a person or the bot."""
        return self.bot.user() if user_id == self.bot.id else self.people[user_id].user()

    def member(self, chat: Chat, user_id: int) -> Member:
        """Somebody's standing in a chat."""
        return chat.members.get(user_id) or Member("left")

    def to_json(self, message: Message, *, nested: bool = False) -> Json:
        """As `Message`; the message that it replies to stands in it, but not that one's own."""
        chat = self.chats[message.chat]
        body: Json = {
            "message_id": message.id,
            "from": self.user(message.sender),
            "chat": chat.to_json(),
            "date": message.date,
            **message.content,
        }
        if message.thread is not None:
            body["message_thread_id"] = message.thread
        if message.topic:
            body["is_topic_message"] = True
        if message.edited is not None:
            body["edit_date"] = message.edited
        if message.markup is not None:
            body["reply_markup"] = message.markup
        if message.external_reply is not None:
            body["external_reply"] = message.external_reply
        replied = chat.messages.get(message.reply_to or 0)
        if replied is None and message.topic and message.id != message.thread:
            # Every message of a topic that replies to nothing replies to the one that created the topic.
            replied = chat.messages.get(message.thread or 0)
        if replied is not None and not replied.deleted and not nested:
            body["reply_to_message"] = self.to_json(replied, nested=True)
        return body

"""People and groups as a test holds them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.standins.telegram.views import Seen

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""The smallest PNG."""


class _Doer(Protocol):
    async def do(self, operation: str, **arguments: Any) -> Any: ...


@dataclass(frozen=True)
class Group:
    """A group or supergroup."""

    _tg: _Doer
    id: int
    title: str


@dataclass(frozen=True)
class Person:
    """Somebody with an account. Without a chat he writes to the bot privately."""

    _tg: _Doer
    id: int
    name: str

    async def say(
        self,
        text: str,
        chat: Group | None = None,
        *,
        topic: int | None = None,
        reply_to: Seen | None = None,
        mention: bool = False,
    ) -> Seen:
        """Writes a text; `mention` puts the bot's name before it."""
        if mention:
            text = f"@{await self._tg.do('bot_name')} {text}"
        place = self._place(chat, topic, reply_to)
        return Seen.from_json(await self._tg.do("say", user=self.id, text=text, **place))

    async def send_photo(
        self, data: bytes = PIXEL, chat: Group | None = None, *, caption: str = "", topic: int | None = None
    ) -> Seen:
        """Sends a photo."""
        return await self._send("photo", "photo.png", data, "image/png", caption, None, self._place(chat, topic, None))

    async def send_document(
        self,
        name: str,
        data: bytes,
        chat: Group | None = None,
        *,
        media_type: str = "text/plain",
        caption: str = "",
        topic: int | None = None,
        size: int | None = None,
    ) -> Seen:
        """Sends a file; `size` is what the API says that it has, if not its own."""
        place = self._place(chat, topic, None)
        return await self._send("document", name, data, media_type, caption, size, place)

    async def send_voice(self, data: bytes = b"OggS", chat: Group | None = None, *, topic: int | None = None) -> Seen:
        """Sends a voice message."""
        return await self._send("voice", "voice.oga", data, "audio/ogg", "", None, self._place(chat, topic, None))

    async def edit(self, message: Seen, text: str) -> Seen:
        """Edits his message."""
        return Seen.from_json(await self._tg.do("edit", chat=message.chat, message=message.id, text=text))

    async def delete(self, message: Seen) -> None:
        """Deletes a message, of which bots aren't told."""
        await self._tg.do("remove", chat=message.chat, message=message.id)

    async def press(self, message: Seen, label: str | None = None, *, data: str | None = None) -> str:
        """Presses a button, or forges one with any data. Returns the query's id for `wait_answer`."""
        where = {"chat": message.chat, "message": message.id}
        return await self._tg.do("press", user=self.id, label=label, data=data, **where)

    async def react(self, message: Seen, emoji: str | None) -> None:
        """Reacts to a message; None takes it back."""
        await self._tg.do("react", user=self.id, chat=message.chat, message=message.id, emoji=emoji)

    async def join(self, group: Group) -> None:
        """Joins a group."""
        await self._tg.do("join", user=self.id, chat=group.id)

    async def open_topic(self, chat: Group | None, name: str) -> int:
        """Opens a topic in a forum, or (None) in his private chat."""
        return await self._tg.do("topic", user=self.id, chat=chat.id if chat else self.id, name=name)

    async def close_topic(self, chat: Group, topic: int) -> None:
        """Closes a topic."""
        await self._tg.do("change_topic", user=self.id, chat=chat.id, thread=topic, change="close")

    async def reopen_topic(self, chat: Group, topic: int) -> None:
        """Reopens a topic."""
        await self._tg.do("change_topic", user=self.id, chat=chat.id, thread=topic, change="reopen")

    async def delete_topic(self, chat: Group, topic: int) -> None:
        """Deletes a topic with everything in it."""
        await self._tg.do("change_topic", user=self.id, chat=chat.id, thread=topic, change="delete")

    async def block_bot(self) -> None:
        """Blocks the bot."""
        await self._tg.do("block", user=self.id, blocked=True)

    async def unblock_bot(self) -> None:
        """Lets the bot in again."""
        await self._tg.do("block", user=self.id, blocked=False)

    async def add_bot(self, group: Group, *, rights: Sequence[str] | None = None) -> None:
        """Adds the bot to a group, or promotes it; with rights as an administrator."""
        await self._set_bot(group, "member" if rights is None else "administrator", rights)

    async def restrict_bot(self, group: Group) -> None:
        """Takes the right to write from the bot."""
        await self._set_bot(group, "restricted", None)

    async def kick_bot(self, group: Group) -> None:
        """Throws the bot out."""
        await self._set_bot(group, "kicked", None)

    async def upgrade(self, group: Group) -> Group:
        """Makes a group a supergroup, which has another id."""
        new: int = await self._tg.do("upgrade", by=self.id, chat=group.id)
        return Group(self._tg, new, group.title)

    async def stop_draft(self) -> None:
        """Presses Stop beside the draft that streams to him."""
        await self._tg.do("stop_draft", user=self.id)

    async def _set_bot(self, group: Group, status: str, rights: Sequence[str] | None) -> None:
        given = None if rights is None else list(rights)
        await self._tg.do("set_bot", by=self.id, chat=group.id, status=status, rights=given)

    async def _send(
        self, kind: str, name: str, data: bytes, media_type: str, caption: str, size: int | None, place: dict[str, Any]
    ) -> Seen:
        file = {"kind": kind, "name": name, "data": base64.b64encode(data).decode(), "media_type": media_type}
        return Seen.from_json(await self._tg.do("send_file", user=self.id, caption=caption, size=size, **file, **place))

    @staticmethod
    def _place(chat: Group | None, topic: int | None, reply_to: Seen | None) -> dict[str, Any]:
        return {"chat": chat.id if chat else None, "thread": topic, "reply_to": reply_to.id if reply_to else None}


def chat_id(chat: Group | Person | int | None) -> int | None:
    """The id behind however a chat is given."""
    return chat if chat is None or isinstance(chat, int) else chat.id

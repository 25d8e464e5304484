"""What a test gets to see: a message, a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A message as it stands now."""

    id: int
    chat: int
    topic: int | None
    """The topic that it stands in; None outside of topics and in General."""
    sender: int
    name: str
    text: str
    """Text or caption."""
    marked: str
    """The same with its entities as simple Markdown: what a reader sees."""
    entities: tuple[Json, ...]
    buttons: tuple[tuple[str, ...], ...]
    """Labels of the inline keyboard, by row."""
    reply_to: int | None
    history: tuple[str, ...]
    """Earlier texts, oldest first: as many as there were edits."""
    deleted: bool
    service: bool
    reactions: dict[int, str]
    update: int | None
    """Id of the update that the bot got for it."""
    raw: Json
    """As the API gives it."""

    @classmethod
    def from_json(cls, body: Json) -> Seen:
        """The inverse of `asked.shown`."""
        api: Json = body["api"]
        rows: list[list[Json]] = api.get("reply_markup", {}).get("inline_keyboard", [])
        return cls(
            id=api["message_id"],
            chat=api["chat"]["id"],
            topic=body["topic"],
            sender=api["from"]["id"],
            name=body["name"],
            text=api.get("text") or api.get("caption") or "",
            marked=body["marked"],
            entities=tuple(api.get("entities") or api.get("caption_entities") or ()),
            buttons=tuple(tuple(str(button["text"]) for button in row) for row in rows),
            reply_to=body["replyTo"],
            history=tuple(body["history"]),
            deleted=body["deleted"],
            service=body["service"],
            reactions={int(user): emoji for user, emoji in body["reactions"].items()},
            update=body["update"],
            raw=api,
        )

    @property
    def callback_data(self) -> dict[str, str]:
        """Label → data of its buttons."""
        rows: list[list[Json]] = self.raw.get("reply_markup", {}).get("inline_keyboard", [])
        return {str(b["text"]): str(b["callback_data"]) for row in rows for b in row if "callback_data" in b}


@dataclass(frozen=True)
class Called:
    """A call of the bot."""

    number: int
    method: str
    params: Json
    at: float
    """By the stand-in's clock, in seconds."""
    status: int
    """What it was answered with; 0: nothing, or nothing yet."""
    description: str
    message: int | None
    trouble: bool
    """A test had asked for a fault."""

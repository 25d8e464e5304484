"""What a post is as messages: texts with entities, and buttons in one keyboard below the last.

Telegram has one keyboard for a message, so that a card's buttons name their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, MessageEntity

from channels import chunks
from channels.telegram import markdown
from channels.telegram.entities import Entity, units
from channels.telegram.markdown import LIMIT, Rendered
from gateway.cards import Button, Card
from gateway.channel import Post

ROOM = 3_900
"""UTF-16 units of a piece: what it is marked with after a crash must fit as well."""
LABEL_CHARS = 24
NOTHING = "(nothing to show)"
SENT_AGAIN = "(sent again after an interruption; you may have it already)"
CUT_OFF = "(this answer may have been cut off; here it is whole)"
OPENED_AGAIN = " (opened again)"


@dataclass(frozen=True, slots=True)
class Content:
    """The messages of a post."""

    messages: tuple[Rendered, ...]
    """Never empty; more than one only where one can't hold it."""
    keyboard: InlineKeyboardMarkup | None = None
    """Below the last."""


def pieces(text: str) -> list[str]:
    """A text in pieces, each of which is one message; never empty."""
    parts = chunks.split(markdown.cleaned(text), lambda part: units(part) <= ROOM)
    return [message.source for part in parts for message in markdown.render(part)] or [text]


def content_of(post: Post) -> Content:
    """A post's messages; marked if another copy of it may be there."""
    if post.card is not None:
        return Content((_card(post.card, note=SENT_AGAIN if _marked(post) else ""),), _keyboard(post.card))
    text = post.text
    if _marked(post):
        text = f"{CUT_OFF if post.streamed else SENT_AGAIN}\n\n{text}"
    messages = tuple(markdown.render(text)) or (Rendered(NOTHING, (), NOTHING),)
    return Content(messages, _markup([[_button(each, each.text) for each in post.buttons]]))


def entities_of(message: Rendered) -> list[MessageEntity]:
    """The entities as the library takes them."""
    return [
        MessageEntity(each.type, each.offset, each.length, url=each.url or None, language=each.language or None)
        for each in message.entities
    ]


def _marked(post: Post) -> bool:
    """Whether an earlier try may have arrived, and can't be found (spec/channels.md 6).

    An edit is the same however often it is done; one of a message that is marked keeps its mark, because the other copy
    stays as it is.
    """
    return post.copied or (post.recovered and post.replaces is None)


def _card(card: Card, note: str) -> Rendered:
    """A card as one message: the title and the labels are bold, and nothing in it is read as Markdown."""
    text = ""
    bold: list[Entity] = []
    for before, strong, after in _lines(card, note):
        line = f"{before}{strong}{after}"
        if units(f"{text}\n{line}") > LIMIT:
            break
        text = f"{text}\n{line}" if text else line
        if strong.strip():
            start = units(text) - units(f"{strong}{after}")
            bold.append(Entity("bold", start, units(strong)))
    return Rendered(text, tuple(bold), text)


def _lines(card: Card, note: str) -> Iterable[tuple[str, str, str]]:
    """Each line: what stands before what is bold, that, and what stands behind it."""
    if note:
        yield note, "", ""
    yield "", _flat(card.title), ""
    for row in card.rows:
        detail = f" · {_flat(row.detail)}" if row.detail else ""
        yield f"{row.icon} ", _flat(row.label), detail
    if card.footer:
        yield _flat(card.footer), "", ""


def _flat(text: str) -> str:
    return " ".join(markdown.cleaned(text).split())


def _keyboard(card: Card) -> InlineKeyboardMarkup | None:
    return _markup([[_button(each, f"{each.text} · {_short(row.label)}") for each in row.buttons] for row in card.rows])


def _markup(rows: Sequence[Sequence[InlineKeyboardButton]]) -> InlineKeyboardMarkup | None:
    kept = [row for row in rows if row]
    return InlineKeyboardMarkup(kept) if kept else None


def _button(button: Button, text: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(text, callback_data=button.token, style=button.style or None)


def _short(label: str) -> str:
    flat = _flat(label)
    return flat if len(flat) <= LABEL_CHARS else f"{flat[: LABEL_CHARS - 1]}…"

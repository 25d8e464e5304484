"""Cards and buttons as Slack's blocks, within its limits: 50 blocks, 3,000 characters a section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from channels.slack.markdown import harmless, plain
from gateway.cards import Button, Card, CardRow

SECTION_CHARS = 3_000
BUTTON_CHARS = 75
MARKDOWN_CHARS = 12_000
NOTICE_CHARS = 3_900
"""Of the `text` beside blocks, for notifications; an edit takes 4,000."""
PRIVATE_CHARS = 11_000


def card_blocks(card: Card) -> list[dict[str, Any]]:
    """A card: a line for the title, one for each row with its buttons, one for the footer."""
    found: list[dict[str, Any]] = [_section(f"*{plain(card.title)}*")]
    for row in card.rows:
        found.append(_section(_row_text(row)))
        if row.buttons:
            found.append(button_block(row.buttons))
    if card.footer:
        found.append({"type": "context", "elements": [{"type": "mrkdwn", "text": plain(card.footer)}]})
    return found


def text_blocks(text: str, buttons: Sequence[Button]) -> list[dict[str, Any]]:
    """A text with buttons below it."""
    return [{"type": "markdown", "text": harmless(text)[:MARKDOWN_CHARS]}, button_block(buttons)]


def bare(text: str) -> dict[str, Any]:
    """A text as it is, which nothing can be wrong with."""
    pieces = [text[at : at + SECTION_CHARS] for at in range(0, len(text), SECTION_CHARS)]
    sections = [{"type": "section", "text": {"type": "plain_text", "text": piece, "emoji": False}} for piece in pieces]
    return {"text": notice(text), "blocks": sections}


def private(text: str) -> dict[str, Any]:
    """A text that only one person sees; a long one is shortened."""
    block = {"type": "markdown", "text": harmless(shortened(text, PRIVATE_CHARS))}
    return {"text": notice(text), "blocks": [block]}


def notice(text: str) -> str:
    """What stands for a message in notifications."""
    short = shortened(text, NOTICE_CHARS)
    while len(escaped := plain(short)) > NOTICE_CHARS:
        short = shortened(short, len(short) * NOTICE_CHARS // len(escaped))
    return escaped


def shortened(text: str, limit: int) -> str:
    """At most so many characters, the last of which shows that there were more."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def button_block(buttons: Sequence[Button]) -> dict[str, Any]:
    """A row of buttons; what one does is behind its token."""
    return {"type": "actions", "elements": [_button(button, index) for index, button in enumerate(buttons)]}


def _button(button: Button, index: int) -> dict[str, Any]:
    element: dict[str, Any] = {
        "type": "button",
        "text": {"type": "plain_text", "text": button.text[:BUTTON_CHARS], "emoji": True},
        "action_id": f"laneway:{index}",
        "value": button.token,
    }
    return {**element, "style": button.style} if button.style else element


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:SECTION_CHARS]}}


def _row_text(row: CardRow) -> str:
    """A label may be a model's: its marks are shown as they are, and mean nothing."""
    label = plain(row.label).replace("*", "∗").replace("`", "ˋ").replace("~", "∼").replace("_", "_\u2060")
    return f"{row.icon} *{label}* · {plain(row.detail)}"

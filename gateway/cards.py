"""What a post may hold beside text: buttons, and cards that show what is going on and are edited in place.

Plain data that any channel can render: one with buttons and edits shows it natively, another one shows `Card.text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Style = Literal["", "primary", "danger"]


@dataclass(frozen=True, slots=True)
class Button:
    """One button. What it does stands in the table `buttons`; the platform sees its token (spec/channels.md 8)."""

    text: str
    token: str
    style: Style = ""


@dataclass(frozen=True, slots=True)
class CardRow:
    """One thing that is going on."""

    id: str
    """Stable over edits."""
    icon: str
    label: str
    """Text that a model may have made: a channel escapes it."""
    detail: str
    """What stands behind the label: runtime, last action, tokens."""
    state: Literal["pending", "in_progress", "complete", "error"] = "in_progress"
    buttons: tuple[Button, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """A message that is edited in place while something goes on, and is a summary of it afterwards."""

    title: str
    rows: tuple[CardRow, ...]
    done: bool = False
    """Nothing goes on any more: this is the summary."""
    footer: str = ""

    def text(self) -> str:
        """The card as lines of text, for channels that can't show it, notifications and logs."""
        lines = [self.title, *(f"{row.icon} {row.label} · {row.detail}" for row in self.rows), self.footer]
        return "\n".join(line for line in lines if line)

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Card:
        """The inverse of `to_json`."""
        rows = tuple(replace(CardRow(**row), buttons=buttons_from(row["buttons"])) for row in data["rows"])
        return cls(data["title"], rows, data["done"], data["footer"])


def buttons_from(data: Sequence[dict[str, Any]] | None) -> tuple[Button, ...]:
    """Buttons from their stored form."""
    return tuple(Button(**each) for each in data or ())

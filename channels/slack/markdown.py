"""Markdown for Slack, which renders it natively: only what would call people together is made harmless.

A model's text may hold `<!channel>` or a mention of somebody who isn't in the conversation. Both stay readable, with a
character of no width after the bracket, and mean nothing. Control characters, which nobody sees, are left out. Slack's
own notation in people's messages is read into Markdown on the way in.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Collection

LIMIT = 12_000
"""Characters of one `markdown_text` (Slack's limit)."""
ROOM = 11_000
"""What of it is used: making a text harmless may lengthen it."""
BREAK = "\u2060"
"""A character of no width, after which a bracket means nothing."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SPECIAL = re.compile(
    r"<(?=!(?i:channel|here|everyone|group|subteam))|<(?=@[UW][A-Z0-9])(?:@([UW][A-Z0-9]+)(?:\|[^>]*)?>)?"
)
"""Not all that looks so: `<!doctype html>` and `List<@NonNull T>` are code."""
_LINK = re.compile(r"<([^<>|]+)(?:\|([^<>]*))?>")


def fits(text: str, room: int = ROOM) -> bool:
    """Whether a text is short enough for one message, also once it is made harmless."""
    return len(text) + text.count("<") <= room


def harmless(text: str, known: Collection[str] = (), *, partial: bool = False) -> str:
    """A text that calls nobody but people who take part.

    Args:
        text: Markdown.
        known: ids of users who may be mentioned.
        partial: more will follow: what may still become a mention at the end is held back.
    """
    if partial:
        start = text.rfind("<")
        if start >= 0 and ">" not in text[start:]:
            text = text[:start]

    def soften(match: re.Match[str]) -> str:
        return match[0] if match[1] and match[1] in known else "<" + BREAK + match[0][1:]

    return _SPECIAL.sub(soften, _CONTROL.sub("", text))


def plain(text: str) -> str:
    """A text as Slack shows it without any formatting."""
    return html.escape(text, quote=False)


def incoming(text: str, bot: str, name_of: Callable[[str], str]) -> str:
    """What a person has written, as Markdown, without the mention of the assistant.

    Args:
        text: in Slack's notation.
        bot: the assistant's user id.
        name_of: the name of a user.
    """

    def read(match: re.Match[str]) -> str:
        target, label = match[1], match[2]
        if target.startswith("@"):
            return "" if target[1:] == bot else f"@{label or name_of(target[1:])}"
        if target.startswith("#"):
            return f"#{label or target[1:]}"
        if target.startswith("!"):
            return f"@{label or target[1:].partition('^')[0]}"
        return f"[{label}]({target})" if label and label != target else target

    return html.unescape(_LINK.sub(read, text)).strip()


def mentions(text: str) -> list[str]:
    """Ids of the users whom a text in Slack's notation mentions."""
    return [match[1][1:] for match in _LINK.finditer(text) if match[1].startswith("@")]

"""Texts: Slack's limits, mentions that would wake a crowd, and how what a person types arrives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from tests.standins.slack.errors import Refusal

TEXT_LIMIT = 40_000
"""docs.slack.dev/changelog/2018-truncating-really-long-messages. Slack cuts there; here it is refused."""
UPDATE_TEXT_LIMIT = 4_000
"""docs.slack.dev/reference/methods/chat.update: "The `text` field cannot exceed 4,000 characters"."""
MARKDOWN_LIMIT = 12_000
"""docs.slack.dev/reference/methods/chat.postMessage, `markdown_text`."""

_MASS = re.compile(r"<!(?:channel|here|everyone|group|subteam\^[^>]*)(?:\|[^>]*)?>")
_BARE_MASS = re.compile(r"(?<![\w<!])@(?:channel|here|everyone)\b")
_USER = re.compile(r"<@([UW][A-Z0-9]*)(?:\|[^>]*)?>")
_ROOM = re.compile(r"<#([^>|]*)(?:\|([^>]*))?>")
_LINK = re.compile(r"<((?:https?|mailto):[^>|]*)(?:\|([^>]*))?>")
_TYPED_LINK = re.compile(r"https?://[^\s<>]+[^\s<>.,;:!?)]")
_TYPED_NAME = re.compile(r"(?<!\w)([@#])([a-z0-9][a-z0-9._-]*)")


def too_long(name: str, text: str, limit: int) -> None:
    """Refuses a text over its limit.

    Raises:
        Refusal: msg_too_long.
    """
    if len(text) > limit:
        raise Refusal("msg_too_long", f"`{name}` has {len(text):,} characters, {limit:,} are allowed")


def crowds(text: str, known: Callable[[str], bool], *, names: bool = False) -> Iterator[str]:
    """Mentions in a text that notify a crowd, or nobody that the workspace knows.

    Args:
        text: as the app sent it.
        known: whether a user id exists.
        names: whether Slack looks for plain `@channel` too (`link_names`, `parse=full`).
    """
    yield from (match[0] for match in _MASS.finditer(text))
    yield from (match[0] for match in _USER.finditer(text) if not known(match[1]))
    if names:
        yield from (match[0] for match in _BARE_MASS.finditer(text))


def parsed(value: Any) -> Iterator[str]:
    """Every text in blocks, chunks or attachments that Slack looks for mentions; `plain_text` it shows as it is."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        if fields.get("type") != "plain_text":
            for name, inner in fields.items():
                if name not in ("action_id", "block_id", "value", "url", "type"):
                    yield from parsed(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from parsed(inner)


def escaped(text: str) -> str:
    """As Slack writes a literal text: `&`, `<` and `>` are entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescaped(text: str) -> str:
    """As a person reads it."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def typed(text: str, names: Mapping[str, str]) -> str:
    """What a person's typing becomes in events and history.

    Args:
        text: as typed; `@name`, `#name` and links are what they are in Slack's composer.
        names: the mention by what is typed: `{"@ann": "<@U…>", "#general": "<#C…|general>"}`.
    """

    def mention(match: re.Match[str]) -> str:
        return names.get(match[1] + match[2], match[0])

    pieces: list[str] = []
    end = 0
    for match in _TYPED_LINK.finditer(text):
        pieces += [_TYPED_NAME.sub(mention, escaped(text[end : match.start()])), f"<{escaped(match[0])}>"]
        end = match.end()
    return "".join((*pieces, _TYPED_NAME.sub(mention, escaped(text[end:]))))


def shown(text: str, users: Callable[[str], str], rooms: Callable[[str], str]) -> str:
    """A text with its mentions, links and entities as its reader sees them."""
    text = _USER.sub(lambda match: f"@{users(match[1])}", text)
    text = _ROOM.sub(lambda match: f"#{match[2] or rooms(match[1])}", text)
    text = _LINK.sub(lambda match: f"{match[2]} ({match[1]})" if match[2] else match[1], text)
    return unescaped(text)


def rich(text: str) -> list[dict[str, Any]]:
    """The `rich_text` block that Slack's composer makes of a message."""
    elements: list[dict[str, Any]] = []
    end = 0
    for match in _USER.finditer(text):
        if match.start() > end:
            elements.append({"type": "text", "text": unescaped(text[end : match.start()])})
        elements.append({"type": "user", "user_id": match[1]})
        end = match.end()
    if end < len(text):
        elements.append({"type": "text", "text": unescaped(text[end:])})
    section = {"type": "rich_text_section", "elements": elements}
    return [{"type": "rich_text", "block_id": "typed", "elements": [section]}]

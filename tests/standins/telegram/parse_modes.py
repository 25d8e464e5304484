"""`parse_mode`: text with tags or marks into text with entities, refusing what the server refuses.

HTML and MarkdownV2 are modelled; the old "Markdown" isn't.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

from tests.standins.telegram.refusals import bad, not_modelled
from tests.standins.telegram.text import units

Json = dict[str, Any]

TAGS = {
    **dict.fromkeys(("b", "strong"), "bold"),
    **dict.fromkeys(("i", "em"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strikethrough"),
    **dict.fromkeys(("tg-spoiler", "span"), "spoiler"),
    **dict.fromkeys(("a", "code", "pre", "blockquote"), ""),
}
RESERVED = frozenset("_*[]()~`>#+-=|{}.!")
MARKS = (("||", "spoiler"), ("__", "underline"), ("*", "bold"), ("_", "italic"), ("~", "strikethrough"))

_TAG = re.compile(r"<(/?)([a-zA-Z0-9-]+)((?:\s+[^<>]*)?)>|(<)")
_ATTRIBUTE = re.compile(r"([a-z-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")


def parse(text: str, mode: str) -> tuple[str, list[Json]]:
    """Text and entities.

    Raises:
        Refusal: "can't parse entities: …".
    """
    if mode == "HTML":
        return _html(text)
    if mode == "MarkdownV2":
        return _markdown(text)
    raise not_modelled(f"parse_mode {mode}")


@dataclass
class _Output:
    """Text as it grows, with the entities that are open."""

    text: str = ""
    entities: list[Json] = field(default_factory=list[Json])
    open: list[tuple[str, Json, int]] = field(default_factory=list[tuple[str, Json, int]])
    """Mark or tag, the entity's fields, its offset."""

    def begin(self, mark: str, entity: Json) -> None:
        self.open.append((mark, entity, units(self.text)))

    def end(self) -> None:
        _, entity, offset = self.open.pop()
        length = units(self.text) - offset
        if length and entity.get("type"):
            self.entities.append({**entity, "offset": offset, "length": length})


def _problem(reason: str) -> Exception:
    return bad(f"can't parse entities: {reason}")


# ---------------------------------------------------------------------- HTML


def _html(text: str) -> tuple[str, list[Json]]:
    out = _Output()
    at = 0
    for match in _TAG.finditer(text):
        out.text += html.unescape(text[at : match.start()])
        at = match.end()
        offset = len(text[: match.start()].encode())
        closing, name, attributes, stray = (
            match.group(1),
            (match.group(2) or "").lower(),
            match.group(3),
            match.group(4),
        )
        if stray:
            raise _problem(f"Unexpected character at byte offset {offset}")
        if closing:
            if not out.open:
                raise _problem(f"Unexpected end tag at byte offset {offset}")
            if out.open[-1][0] != name:
                expected = out.open[-1][0]
                raise _problem(
                    f'Unmatched end tag at byte offset {offset}, expected "</{expected}>", found "</{name}>"'
                )
            out.end()
            continue
        if name not in TAGS:
            raise _problem(f'Unsupported start tag "{name}" at byte offset {offset}')
        out.begin(name, _tagged(name, attributes, out, offset))
    out.text += html.unescape(text[at:])
    if out.open:
        raise _problem(f'Can\'t find end tag corresponding to start tag "{out.open[-1][0]}"')
    return out.text, out.entities


def _tagged(name: str, attributes: str, out: _Output, offset: int) -> Json:
    given = {key: a or b or c for key, a, b, c in _ATTRIBUTE.findall(attributes)}
    if name == "a":
        return {"type": "text_link", "url": html.unescape(given.get("href", ""))}
    if name == "span" and given.get("class") != "tg-spoiler":
        raise _problem(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
    if name == "blockquote":
        return {"type": "expandable_blockquote" if "expandable" in given else "blockquote"}
    if name == "code" and out.open and out.open[-1][0] == "pre":
        language = given.get("class", "").removeprefix("language-")
        if language:
            out.open[-1][1]["language"] = language
        return {}
    return {"type": TAGS[name] or name}


# ---------------------------------------------------------------------- MarkdownV2


def _markdown(text: str) -> tuple[str, list[Json]]:
    out = _Output()
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\" and at + 1 < len(text) and 0 < ord(text[at + 1]) <= 126:
            out.text += text[at + 1]
            at += 2
        elif character == "`":
            at = _code(text, at, out)
        elif character == "[":
            out.begin("]", {"type": "text_link"})
            at += 1
        elif character == "]" and out.open and out.open[-1][0] == "]":
            at = _link(text, at, out)
        elif mark := next((mark for mark, _ in MARKS if text.startswith(mark, at)), None):
            _toggle(mark, out)
            at += len(mark)
        elif character in RESERVED:
            raise _problem(f"Character '{character}' is reserved and must be escaped with the preceding '\\'")
        else:
            out.text += character
            at += 1
    if out.open:
        kind = out.open[-1][1]["type"]
        raise _problem(f"Can't find end of {str(kind).title()} entity at byte offset {out.open[-1][2]}")
    return out.text, out.entities


def _toggle(mark: str, out: _Output) -> None:
    if out.open and out.open[-1][0] == mark:
        out.end()
    else:
        out.begin(mark, {"type": dict(MARKS)[mark]})


def _code(text: str, at: int, out: _Output) -> int:
    fence = "```" if text.startswith("```", at) else "`"
    end = re.compile(rf"(?<!\\){fence}").search(text, at + len(fence))
    if end is None:
        name = "PreCode" if fence == "```" else "Code"
        raise _problem(f"Can't find end of {name} entity at byte offset {len(text[:at].encode())}")
    content = re.sub(r"\\([\\`])", r"\1", text[at + len(fence) : end.start()])
    entity: Json = {"type": "pre" if fence == "```" else "code"}
    language, newline, rest = content.partition("\n")
    if fence == "```" and newline:
        content = rest
        if language:
            entity["language"] = language
    out.begin(fence, entity)
    out.text += content
    out.end()
    return end.end()


def _link(text: str, at: int, out: _Output) -> int:
    if not text.startswith("](", at):
        raise _problem("Character ']' is reserved and must be escaped with the preceding '\\'")
    end = re.compile(r"(?<!\\)\)").search(text, at + 2)
    if end is None:
        raise _problem(f"Can't find end of a URL at byte offset {len(text[:at].encode())}")
    out.open[-1][1]["url"] = re.sub(r"\\(.)", r"\1", text[at + 2 : end.start()])
    out.end()
    return end.end()

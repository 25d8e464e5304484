"""What a server says about its tools, made fit for a prompt: names, descriptions and schemas. Pure functions.

All of it is data of somebody who isn't trusted: control characters and invisible ones are taken out, texts are capped,
and a schema that is too large or too deep makes its tool unusable. The fingerprint is of what came, not of what is
kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, cast

from gateway.store.mcp import Offer

PREFIX = "mcp__"
LONGEST_NAME = 64
"""Characters; providers take no longer names of tools."""
DESCRIPTION_CHARS = 2_000
INNER_CHARS = 400
"""Of a description inside a schema."""
SCHEMA_CHARS = 30_000
DEEPEST = 24
MOST_TOOLS = 256

_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


class Unfit(Exception):
    """A tool can't be offered; the text says why."""


def tool_name(server: str, name: str) -> str:
    """The name that agents know a server's tool by.

    One that isn't made of the usual characters, or is too long, ends with a few characters of its hash, so that no two
    tools get the same name.
    """
    fit = _UNFIT.sub("_", name)
    whole = f"{PREFIX}{server}__{fit}"
    if fit == name and len(whole) <= LONGEST_NAME:
        return whole
    mark = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:6]
    return f"{whole[: LONGEST_NAME - 7]}_{mark}"


def group(server: str) -> str:
    """How the names of all its tools begin."""
    return f"{PREFIX}{server}__"


def source_of(*parts: object) -> str:
    """A fingerprint of the configuration that leads to a server."""
    return _digest(parts)


def offer(name: str, description: str | None, schema: Mapping[str, Any]) -> Offer:
    """A tool as it may stand in a prompt.

    Args:
        name: the server's own name for it.
        description: what it says the tool does.
        schema: of its arguments.

    Raises:
        Unfit: the name, or the schema.
    """
    if not name or len(name) > 200 or not name.isprintable():
        raise Unfit("its name is empty, too long or holds characters that can't be shown")
    fit = _fit(dict(schema), 0)
    kept: dict[str, Any] = {
        "type": "object",
        "properties": {},
        **(cast("dict[str, Any]", fit) if isinstance(fit, dict) else {}),
    }
    if kept["type"] != "object":
        raise Unfit("its arguments aren't an object")
    if (size := len(json.dumps(kept))) > SCHEMA_CHARS:
        raise Unfit(f"its schema has {size:,} characters; {SCHEMA_CHARS:,} are allowed")
    fingerprint = _digest({"name": name, "description": description, "inputSchema": schema})
    return Offer(name, clean(description or "", DESCRIPTION_CHARS), kept, fingerprint)


def clean(text: str, limit: int) -> str:
    """A text without control, invisible and private characters, and not too long; lines are kept."""
    cut = text[: 4 * limit]
    kept = "".join(each for each in cut if each == "\n" or unicodedata.category(each)[0] != "C")
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def _fit(value: object, depth: int) -> object:
    if depth > DEEPEST:
        raise Unfit(f"its schema is nested more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        found: dict[str, object] = {}
        for key, inner in cast("dict[str, object]", value).items():
            if key == "$schema" or (key == "title" and isinstance(inner, str)):
                continue  # they tell a model nothing
            short = isinstance(inner, str) and key in ("description", "$comment")
            found[clean(key, 200)] = clean(str(inner), INNER_CHARS) if short else _fit(inner, depth + 1)
        return found
    if isinstance(value, list):
        return [_fit(inner, depth + 1) for inner in cast("list[object]", value)]
    return clean(value, SCHEMA_CHARS) if isinstance(value, str) else value


def _digest(value: object) -> str:
    raw = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(raw.encode()).hexdigest()

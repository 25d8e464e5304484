"""What a tool of an MCP server has returned, as text for a model. Pure functions over the library's types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import mcp_types as types

from gateway.tools.base import MAX_RESULT_CHARS
from gateway.views import capped


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result."""

    text: str
    error: bool


def outcome_of(result: types.CallToolResult) -> Outcome:
    """The texts of a result, one below the other; a line for everything that isn't text."""
    parts = list(_parts(result.content))
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(parts)
    if len(text) > 2 * MAX_RESULT_CHARS:  # it is cut again, in the middle, when it is stored
        text = text[:MAX_RESULT_CHARS] + text[-MAX_RESULT_CHARS:]
    return Outcome(text.replace("\0", "\ufffd") or "(no output)", bool(result.is_error))


def _parts(blocks: list[types.ContentBlock]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, types.TextContent):
            yield block.text
        elif isinstance(block, types.ImageContent | types.AudioContent):
            kind = "picture" if isinstance(block, types.ImageContent) else "sound"
            yield f"[a {kind}, {capped(block.mime_type, 40)}, {len(block.data) * 3 // 4:,} bytes: not shown]"
        elif isinstance(block, types.EmbeddedResource):
            inner = block.resource
            if isinstance(inner, types.TextResourceContents):
                yield inner.text
            else:
                yield f"[a file, {capped(str(inner.uri), 200)}: not shown]"
        else:
            yield f"[a link: {capped(str(block.uri), 500)}]"

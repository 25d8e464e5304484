"""What a call says: text, markdown, blocks, metadata, each within its limits and without mass mentions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.standins.slack.blocks import check_blocks
from tests.standins.slack.errors import Refusal
from tests.standins.slack.model import Json
from tests.standins.slack.texts import MARKDOWN_LIMIT, TEXT_LIMIT, crowds, parsed, too_long
from tests.standins.slack.workspace import Workspace

METADATA_LIMIT = 8_000
"""Characters of a message's metadata as JSON, about; then metadata_too_large."""
_MOST_ATTACHMENTS = 100


@dataclass(frozen=True, slots=True)
class Content:
    """The checked content of a message."""

    text: str
    markdown: bool
    blocks: list[Json]
    attachments: list[Json]
    metadata: Json | None

    def fields(self) -> dict[str, Any]:
        """As attributes of a `Message`."""
        return {
            "text": self.text,
            "markdown": self.markdown,
            "blocks": self.blocks,
            "attachments": self.attachments,
            "metadata": self.metadata,
        }


def content_of(ws: Workspace, args: Json, *, limit: int = TEXT_LIMIT) -> Content:
    """The content that a call's arguments carry.

    Raises:
        Refusal: markdown_text_conflict, msg_too_long, no_text, invalid_blocks, invalid_metadata_format, …
    """
    text, markdown = str(args.get("text", "")), args.get("markdown_text")
    blocks, attachments = list[Json](args.get("blocks", [])), list[Json](args.get("attachments", []))
    if markdown is not None and ("text" in args or "blocks" in args):
        raise Refusal("markdown_text_conflict", "`markdown_text` goes with neither `text` nor `blocks`")
    too_long("text", text, limit)
    too_long("markdown_text", markdown or "", MARKDOWN_LIMIT)
    if not (text.strip() or (markdown or "").strip() or blocks or attachments):
        raise Refusal("no_text")
    if len(attachments) > _MOST_ATTACHMENTS:
        raise Refusal("too_many_attachments")
    check_blocks(blocks)
    watch(ws, [text, markdown or "", blocks, attachments], names=bool(args.get("link_names")) or _full(args))
    return Content(markdown or text, markdown is not None, blocks, attachments, metadata_of(args))


def _full(args: Json) -> bool:
    return args.get("parse") == "full"


def watch(ws: Workspace, value: Any, *, names: bool = False) -> None:
    """Records mass mentions and mentions of nobody in whatever the app has sent; Slack takes them all the same."""
    for text in parsed(value):
        for mention in crowds(text, ws.users.__contains__, names=names):
            ws.fault(f"mass mention: {mention} in {text[:200]!r}")


def metadata_of(args: Json) -> Json | None:
    """The metadata that a call carries.

    Raises:
        Refusal: invalid_metadata_format, metadata_too_large.
    """
    metadata = args.get("metadata")
    if not metadata:
        return None
    if set(metadata) != {"event_type", "event_payload"}:
        raise Refusal("invalid_metadata_format", f"has {sorted(metadata)}, not event_type and event_payload")
    if not isinstance(metadata["event_type"], str) or not 0 < len(metadata["event_type"]) <= 255:
        raise Refusal("invalid_metadata_format", "event_type must be 1 to 255 characters")
    if not isinstance(metadata["event_payload"], dict):
        raise Refusal("invalid_metadata_format", "event_payload must be an object")
    if len(json.dumps(metadata)) > METADATA_LIMIT:
        raise Refusal("metadata_too_large")
    return metadata

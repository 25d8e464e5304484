"""Block Kit as strictly as Slack reads it: known blocks, no further fields, every limit.

Limits are those of docs.slack.dev/reference/block-kit; blocks that no test of ours sends yet are refused as unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tests.standins.slack.elements import BUTTONS, CONTEXT, ELEMENTS, Fields, Flaws, needs, strange, text_faults
from tests.standins.slack.errors import Refusal
from tests.standins.slack.model import Json

MOST_BLOCKS = 50
MOST_TEXT = 13_200
"""Characters over all blocks of a message, about; then msg_blocks_too_long."""
STATUSES = ("pending", "in_progress", "complete", "error")


@dataclass(frozen=True, slots=True)
class Shape:
    """A block's fields and its own check."""

    fields: Mapping[str, bool]
    """Whether each is required; `type` and `block_id` go without saying."""
    check: Callable[[Json], Flaws]


def check_blocks(blocks: list[Any]) -> None:
    """Refuses blocks that break a rule.

    Raises:
        Refusal: invalid_blocks with every fault and its place, msg_blocks_too_long, invalid_blocks_format.
    """
    if len(blocks) > MOST_BLOCKS:
        raise Refusal("invalid_blocks", f"[ERROR] no more than {MOST_BLOCKS} items allowed [json-pointer:/blocks]")
    faults: list[str] = []
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            raise Refusal("invalid_blocks_format", f"[ERROR] must be an object [json-pointer:/blocks/{index}]")
        where = f"/blocks/{index}"
        faults += [f"[ERROR] {text} [json-pointer:{where}{place}]" for place, text in block_faults(cast("Json", block))]
    ids = Counter(str(block["block_id"]) for block in blocks if "block_id" in block)
    faults += [f"[ERROR] block_id {name!r} stands {count} times" for name, count in ids.items() if count > 1]
    if faults:
        raise Refusal("invalid_blocks", *faults)
    if (length := sum(map(_length, blocks))) > MOST_TEXT:
        raise Refusal("msg_blocks_too_long", f"{length:,} characters in all blocks, about {MOST_TEXT:,} are allowed")


def block_faults(block: Json) -> Flaws:
    """What is wrong with one block: place within it and reason."""
    kind = str(block.get("type"))
    if (shape := _SHAPES.get(kind)) is None:
        yield "/type", f"unsupported type: {kind}"
        return
    known = {"type": False, "block_id": False, **shape.fields}
    yield from strange(block, known)
    missing = list(needs(block, known))
    yield from missing
    block_id = block.get("block_id", "id")
    if not isinstance(block_id, str) or not 0 < len(block_id) <= 255:
        yield "/block_id", "must be 1 to 255 characters"
    if not missing:
        yield from shape.check(block)


def _length(value: Any) -> int:
    """Characters of all texts within; a button's are not counted."""
    if isinstance(value, list):
        return sum(map(_length, cast("list[Any]", value)))
    if not isinstance(value, dict):
        return 0
    fields = cast("Json", value)
    if fields.get("type") == "button":
        return 0
    own = fields.get("text")
    return (len(own) if isinstance(own, str) else 0) + sum(map(_length, fields.values()))


# ---------------------------------------------------------------------- block by block


def _section(block: Json) -> Flaws:
    if "text" not in block and "fields" not in block:
        yield "", "needs `text` or `fields`"
    if "text" in block:
        yield from _inside("/text", text_faults(block["text"], 3000))
    if "fields" in block:
        yield from _several(block["fields"], "/fields", 10, lambda one: text_faults(one, 2000))
    if "accessory" in block:
        yield from _inside("/accessory", _element(block["accessory"], {**BUTTONS, "image": ELEMENTS["image"]}))


def _header(block: Json) -> Flaws:
    yield from _inside("/text", text_faults(block["text"], 150, kinds=("plain_text",)))


def _markdown(block: Json) -> Flaws:
    if not isinstance(block["text"], str) or not 0 < len(block["text"]) <= 12_000:
        yield "/text", "must be 1 to 12000 characters"


def _divider(block: Json) -> Flaws:
    yield from ()


def _image(block: Json) -> Flaws:
    if ("image_url" in block) is ("slack_file" in block):
        yield "", "needs either `image_url` or `slack_file`"
    if not isinstance(block["alt_text"], str) or len(block["alt_text"]) > 2000:
        yield "/alt_text", "must be at most 2000 characters"


def _actions(block: Json) -> Flaws:
    yield from _several(block["elements"], "/elements", 25, lambda one: _element(one, BUTTONS))
    ids = Counter(str(one["action_id"]) for one in _dicts(block["elements"]) if "action_id" in one)
    for name, count in ids.items():
        if count > 1:
            yield "/elements", f"action_id {name!r} already exists"


def _context(block: Json) -> Flaws:
    yield from _several(block["elements"], "/elements", 10, lambda one: _element(one, CONTEXT))


def _rich_text(block: Json) -> Flaws:
    kinds = ("rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote")
    for index, one in enumerate(_dicts(block["elements"])):
        if one.get("type") not in kinds:
            yield f"/elements/{index}/type", f"must be one of {', '.join(kinds)}"
        elif not isinstance(one.get("elements"), list):
            yield f"/elements/{index}", "missing required field: elements"


def _table(block: Json) -> Flaws:
    rows = block["rows"]
    if not isinstance(rows, list) or not 0 < len(cast("list[Any]", rows)) <= 100:
        yield "/rows", "must be 1 to 100 rows"
        return
    for index, row in enumerate(cast("list[Any]", rows)):
        cells = _dicts(row)
        if not isinstance(row, list) or len(cells) != len(cast("list[Any]", row)) or not 0 < len(cells) <= 20:
            yield f"/rows/{index}", "must be 1 to 20 cells"
        for place, cell in enumerate(cells):
            if cell.get("type") not in ("raw_text", "rich_text", "raw_number"):
                yield f"/rows/{index}/{place}/type", "must be raw_text, raw_number or rich_text"


def _task_card(block: Json) -> Flaws:
    if block.get("status", "pending") not in STATUSES:
        yield "/status", f"must be one of {', '.join(STATUSES)}"
    for name in ("task_id", "title"):
        if not isinstance(block[name], str) or not block[name]:
            yield f"/{name}", "must be a string with at least 1 character"
    for name in ("details", "output"):
        if name in block and (not isinstance(block[name], dict) or block[name].get("type") != "rich_text"):
            yield f"/{name}", "must be a rich_text block"


def _plan(block: Json) -> Flaws:
    for index, task in enumerate(_dicts(block.get("tasks", []))):
        if task.get("type") != "task_card":
            yield f"/tasks/{index}/type", "must be task_card"
        else:
            yield from _inside(f"/tasks/{index}", block_faults(task))


_SHAPES = {
    "section": Shape({"text": False, "fields": False, "accessory": False, "expand": False}, _section),
    "header": Shape({"text": True}, _header),
    "markdown": Shape({"text": True}, _markdown),
    "divider": Shape({}, _divider),
    "image": Shape({"alt_text": True, "image_url": False, "slack_file": False, "title": False}, _image),
    "actions": Shape({"elements": True}, _actions),
    "context": Shape({"elements": True}, _context),
    "rich_text": Shape({"elements": True}, _rich_text),
    "table": Shape({"rows": True, "column_settings": False}, _table),
    "task_card": Shape(
        {"task_id": True, "title": True, "status": False, "details": False, "output": False, "sources": False},
        _task_card,
    ),
    "plan": Shape({"title": True, "tasks": False}, _plan),
}


# ---------------------------------------------------------------------- within blocks


def _element(value: Any, allowed: Mapping[str, Fields]) -> Flaws:
    if not isinstance(value, dict):
        yield "", "must be an object"
        return
    element = cast("Json", value)
    if (fields := allowed.get(str(element.get("type")))) is None:
        yield "/type", f"unsupported type: {element.get('type')}"
        return
    yield from fields(element)


def _inside(place: str, faults: Flaws) -> Flaws:
    yield from ((place + inner, text) for inner, text in faults)


def _several(value: Any, place: str, most: int, check: Callable[[Any], Flaws]) -> Flaws:
    if not isinstance(value, list) or not 0 < len(cast("list[Any]", value)) <= most:
        yield place, f"must be 1 to {most} items"
        return
    for index, one in enumerate(cast("list[Any]", value)):
        yield from _inside(f"{place}/{index}", check(one))


def _dicts(value: Any) -> list[Json]:
    return [cast("Json", one) for one in cast("list[Any]", value) if isinstance(one, dict)] if _listed(value) else []


def _listed(value: Any) -> bool:
    return isinstance(value, list)


def buttons(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Everything that can be pressed: block and element, in the order of reading."""
    for block in blocks:
        if block["type"] == "actions":
            yield from ((block, element) for element in block["elements"])
        elif block.get("accessory", {}).get("action_id"):
            yield block, block["accessory"]

"""What stands within blocks: text objects, buttons, menus, images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from tests.standins.slack.model import Json

Flaws = Iterator[tuple[str, str]]
"""Place within the value, and what is wrong there."""
Fields = Callable[[Json], Flaws]


def strange(value: Json, known: Mapping[str, bool]) -> Flaws:
    """Fields that don't belong there: Slack refuses them."""
    for name in value:
        if name not in known:
            yield f"/{name}", f"invalid additional property: {name}"


def needs(value: Json, known: Mapping[str, bool]) -> Flaws:
    """Required fields that aren't there."""
    for name, required in known.items():
        if required and name not in value:
            yield "", f"missing required field: {name}"


def text_faults(value: Any, most: int, *, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")) -> Flaws:
    """What is wrong with a text object of at most so many characters."""
    if not isinstance(value, dict):
        yield "", "must be a text object"
        return
    text = cast("Json", value)
    kind = text.get("type")
    if kind not in kinds:
        yield "/type", f"must be one of {', '.join(kinds)}"
    yield from strange(
        text, {"type": True, "text": True, **({"emoji": False} if kind == "plain_text" else {"verbatim": False})}
    )
    content = text.get("text")
    if not isinstance(content, str) or not content:
        yield "/text", "must be more than 0 characters"
    elif len(content) > most:
        yield "/text", f"must be less than {most + 1} characters"


def _capped(value: Json, /, **most: int) -> Flaws:
    for name, limit in most.items():
        given = value.get(name, "")
        if not isinstance(given, str) or len(given) > limit:
            yield f"/{name}", f"must be less than {limit + 1} characters"


def _at(place: str, faults: Flaws) -> Flaws:
    yield from ((place + inner, text) for inner, text in faults)


def _shape(value: Json, /, **known: bool) -> Flaws:
    fields = {"type": True, **known}
    yield from strange(value, fields)
    yield from needs(value, fields)


def _button(value: Json) -> Flaws:
    yield from _shape(
        value, text=True, action_id=False, url=False, value=False, style=False, confirm=False, accessibility_label=False
    )
    yield from _capped(value, action_id=255, url=3000, value=2000, accessibility_label=75)
    if "text" in value:
        yield from _at("/text", text_faults(value["text"], 75, kinds=("plain_text",)))
    if value.get("style", "primary") not in ("primary", "danger"):
        yield "/style", "must be primary or danger"
    if "confirm" in value:
        yield from _at("/confirm", _confirm(value["confirm"]))


def _confirm(value: Any) -> Flaws:
    if not isinstance(value, dict):
        yield "", "must be an object"
        return
    fields = cast("Json", value)
    limits = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
    yield from strange(fields, {**dict.fromkeys(limits, True), "style": False})
    for name, limit in limits.items():
        kinds = ("plain_text", "mrkdwn") if name == "text" else ("plain_text",)
        yield from _at(f"/{name}", text_faults(fields.get(name), limit, kinds=kinds))


def _options(value: Json, most: int) -> Flaws:
    options = value.get("options")
    if not isinstance(options, list) or not 0 < len(cast("list[Any]", options)) <= most:
        yield "/options", f"must be 1 to {most} options"
        return
    for index, option in enumerate(cast("list[Json]", options)):
        yield from _at(f"/options/{index}", strange(option, {"text": True, "value": True, "description": False}))
        yield from _at(f"/options/{index}/text", text_faults(option.get("text"), 75))
        yield from _at(f"/options/{index}", _capped(option, value=150))


def _overflow(value: Json) -> Flaws:
    yield from _shape(value, action_id=False, options=True, confirm=False)
    yield from _capped(value, action_id=255)
    yield from _options(value, 5)


def _select(value: Json) -> Flaws:
    yield from _shape(value, action_id=False, options=True, placeholder=False, initial_option=False, confirm=False)
    yield from _capped(value, action_id=255)
    yield from _options(value, 100)


def _picture(value: Json) -> Flaws:
    yield from _shape(value, image_url=False, slack_file=False, alt_text=True)
    yield from _capped(value, image_url=3000, alt_text=2000)


def _words(value: Json) -> Flaws:
    yield from text_faults(value, 3000)


BUTTONS: Mapping[str, Fields] = {"button": _button, "overflow": _overflow, "static_select": _select}
CONTEXT: Mapping[str, Fields] = {"image": _picture, "mrkdwn": _words, "plain_text": _words}
ELEMENTS: Mapping[str, Fields] = {**BUTTONS, "image": _picture}

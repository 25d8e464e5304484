"""The published description of the Bot API, and the check of every call against it.

`api.json` is derived from the description that aiogram carries (licence beside it): methods with their parameters,
the object types that parameters use, unions, enumerations; `name!` is a required field. It holds the methods that
the stand-in models; `others` names the rest. The real server ignores parameters that it doesn't know; here they are
refused, because nobody sends them on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tests.standins.telegram.refusals import NOT_FOUND, Refusal, bad, not_modelled

Json = dict[str, Any]

_API = cast("dict[str, Any]", json.loads((Path(__file__).parent / "api.json").read_text("utf-8")))
METHODS = cast("dict[str, dict[str, str]]", _API["methods"])
TYPES = cast("dict[str, dict[str, str]]", _API["types"])
UNIONS = cast("dict[str, list[str]]", _API["unions"])
ENUMS = cast("dict[str, list[Any]]", _API["enums"])
OTHERS = frozenset(cast("list[str]", _API["others"]))
UPDATE_TYPES = tuple(ENUMS["update"])
PARSE_MODES = ("HTML", "Markdown", "MarkdownV2")
BOOLEANS = {"true": True, "false": False, "True": True, "False": False, "1": True, "0": False}
ONE_BUTTON_KIND = frozenset(TYPES["InlineKeyboardButton"]) - {"text!", "icon_custom_emoji_id", "style"}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a call."""

    name: str
    media_type: str
    data: bytes


def check(method: str, raw: Mapping[str, Any], uploads: Mapping[str, Upload]) -> Json:
    """The call's parameters in their types.

    Args:
        method: as in the address, with its exact spelling.
        raw: strings of a form or query, or the values of a JSON body.
        uploads: files of a multipart body by their field.

    Raises:
        Refusal: for an unknown method, an unknown or missing parameter, a wrong type, a value outside its enumeration.
    """
    if method not in METHODS:
        if method in OTHERS:
            raise not_modelled(method)
        raise Refusal("Not Found: method not found", code=NOT_FOUND)
    attached = {f"attach://{name}" for name in uploads} & {value for value in raw.values() if isinstance(value, str)}
    direct = {name: upload for name, upload in uploads.items() if f"attach://{name}" not in attached}
    return _fields(method, METHODS[method], {**raw, **direct}, uploads, method)


def _fields(owner: str, fields: Mapping[str, str], raw: Json, uploads: Mapping[str, Upload], path: str) -> Json:
    known = {name.rstrip("!"): (kind, name.endswith("!")) for name, kind in fields.items()}
    if unknown := [name for name in raw if name not in known]:
        raise bad(f"{path}: unknown parameter {', '.join(sorted(unknown))}")
    if missing := [name for name, (_, required) in known.items() if required and raw.get(name) is None]:
        raise bad(f"{path}: parameter {', '.join(missing)} is required")
    values = {
        name: _convert(known[name][0], value, uploads, f"{path}.{name}")
        for name, value in raw.items()
        if value is not None
    }
    for name, value in values.items():
        _enumeration(owner, name, value, path)
    if owner == "InlineKeyboardButton" and len(ONE_BUTTON_KIND & values.keys()) != 1:
        raise bad(f"{path}: a button needs exactly one kind, not {sorted(ONE_BUTTON_KIND & values.keys())}")
    return values


def _enumeration(owner: str, name: str, value: Any, path: str) -> None:
    allowed = ENUMS.get(f"{owner}.{name}")
    if name.endswith("parse_mode"):
        if str(value) not in PARSE_MODES:
            raise bad("unsupported parse_mode")
    elif allowed is not None and value not in allowed:
        if owner == "ReactionTypeEmoji" and name == "emoji":
            raise bad("REACTION_INVALID")
        raise bad(f"{path}.{name}: {value!r} is none of {allowed}")


def _convert(kind: str, raw: Any, uploads: Mapping[str, Upload], path: str) -> Any:
    if kind.startswith("Array of "):
        items = _parsed(raw, path)
        if not isinstance(items, list):
            raise bad(f"{path}: {kind} expected, not {type(raw).__name__}")
        inner = kind.removeprefix("Array of ")
        return [
            _convert(inner, item, uploads, f"{path}[{index}]") for index, item in enumerate(cast("list[Any]", items))
        ]
    if " or " in kind:
        return _first_that_fits(kind.split(" or "), raw, uploads, path)
    if kind in _SIMPLE:
        value = _SIMPLE[kind](raw)
        if value is None:
            raise bad(f"{path}: {kind} expected, not {raw!r}")
        return value
    if kind == "InputFile":
        return _file(raw, uploads, path)
    return _object(kind, _parsed(raw, path), uploads, path)


def _first_that_fits(kinds: list[str], raw: Any, uploads: Mapping[str, Upload], path: str) -> Any:
    problems: list[Refusal] = []
    for kind in kinds:
        try:
            return _convert(kind, raw, uploads, path)
        except Refusal as refusal:
            problems.append(refusal)
    raise problems[0]


def _object(kind: str, value: Any, uploads: Mapping[str, Upload], path: str) -> Any:
    if not isinstance(value, dict):
        raise bad(f"{path}: object {kind} expected, not {value!r}")
    fields = cast("Json", value)
    if kind in UNIONS:
        named = [name for name in UNIONS[kind] if ENUMS.get(f"{name}.type") == [fields.get("type")]]
        if not named:
            raise bad(f"{path}: {fields.get('type')!r} is no type of {kind}")
        kind = named[0]
    if kind not in TYPES:
        raise not_modelled(f"{path} ({kind})")
    return _fields(kind, TYPES[kind], fields, uploads, path)


def _parsed(raw: Any, path: str) -> Any:
    """A value of a form is JSON text; inside a JSON body it is there already."""
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except ValueError as error:
        raise bad(f"{path}: can't parse JSON: {error}") from None


def _file(raw: Any, uploads: Mapping[str, Upload], path: str) -> Upload:
    if isinstance(raw, Upload):
        return raw
    if isinstance(raw, str) and raw.startswith("attach://"):
        if (upload := uploads.get(raw.removeprefix("attach://"))) is not None:
            return upload
        raise bad(f"{path}: {raw} isn't attached")
    raise bad(f"{path}: a file expected")


def _integer(raw: Any) -> int | None:
    if isinstance(raw, bool | float):
        return None
    try:
        return int(raw) if not isinstance(raw, str) or raw.strip() == raw else None
    except (TypeError, ValueError):
        return None


def _float(raw: Any) -> float | None:
    try:
        return None if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        return None


def _boolean(raw: Any) -> bool | None:
    return raw if isinstance(raw, bool) else BOOLEANS.get(str(raw))


def _string(raw: Any) -> str | None:
    return raw if isinstance(raw, str) else None


def _true(raw: Any) -> bool | None:
    return _boolean(raw) or None


_SIMPLE: dict[str, Callable[[Any], Any]] = {
    "Integer": _integer,
    "Float": _float,
    "Boolean": _boolean,
    "True": _true,
    "String": _string,
}

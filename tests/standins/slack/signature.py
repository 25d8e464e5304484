"""What each method may be called with: names from the client library's own methods, types checked here."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any, cast, get_args, get_origin

from slack_sdk.web.async_client import AsyncWebClient

from tests.standins.slack.errors import Refusal

TS = re.compile(r"\d{9,11}\.\d{6}")
_BOUND = re.compile(r"\d+(\.\d+)?")
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})
ALWAYS = frozenset({"token", "team_id"})
"""A token may stand among the arguments, and a client of a whole organisation sends `team_id` with everything."""


class Kind(Enum):
    """What a value must be."""

    TEXT = auto()
    BOOL = auto()
    """true, false, or as text 1, 0, true, false."""
    INT = auto()
    TS = auto()
    """The ts of a message: text, never a number, of which Slack would lose digits."""
    BOUND = auto()
    """A time: `oldest`, `latest`."""
    LIST = auto()
    """Values with commas between them, or an array."""
    ARRAY = auto()
    """A JSON array, in a form written as text."""
    OBJECT = auto()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a method."""

    name: str
    kind: Kind
    required: bool
    choices: tuple[str, ...] = ()


_BY_NAME = {
    **dict.fromkeys(("ts", "thread_ts", "timestamp", "message_ts"), Kind.TS),
    **dict.fromkeys(("oldest", "latest"), Kind.BOUND),
    **dict.fromkeys(("blocks", "attachments", "chunks", "loading_messages", "prompts", "files"), Kind.ARRAY),
    **dict.fromkeys(("users", "channels", "types", "file_ids"), Kind.LIST),
    **dict.fromkeys(("metadata", "manifest"), Kind.OBJECT),
}
_STATUSES = ("active", "processing", "suspended", "closed")
_CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("agents.sessions.setStatus", "status"): _STATUSES,
    ("chat.stopStream", "session_status"): _STATUSES,
    ("chat.startStream", "task_display_mode"): ("timeline", "plan", "dense"),
    ("chat.postMessage", "parse"): ("none", "full", "mrkdwn", "false"),
    ("chat.postEphemeral", "parse"): ("none", "full", "mrkdwn", "false"),
    ("chat.update", "parse"): ("none", "full", "client"),
}
_FOR_THE_LIBRARY = {"app_token"}
"""What its methods take and don't send by that name."""


@cache
def parameters(method: str) -> Mapping[str, Parameter]:
    """The parameters of a method of the web API, as the client library declares them.

    Raises:
        KeyError: the library has no such method.
    """
    function = getattr(AsyncWebClient, method.replace(".", "_"), None)
    if function is None:
        raise KeyError(method)
    found: dict[str, Parameter] = {}
    for name, declared in inspect.signature(function).parameters.items():
        if name == "self" or name in _FOR_THE_LIBRARY or declared.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        required = declared.default is inspect.Parameter.empty
        kind = _BY_NAME.get(name) or _kind(declared.annotation)
        found[name] = Parameter(name, kind, required, _CHOICES.get((method, name), ()))
    return found


def _kind(annotation: Any) -> Kind:
    types = set(_flat(annotation))
    if bool in types:
        return Kind.BOOL
    if int in types:
        return Kind.INT
    return Kind.OBJECT if dict in types else Kind.TEXT


def _flat(annotation: Any) -> list[Any]:
    inner = [found for argument in get_args(annotation) for found in _flat(argument)]
    return [get_origin(annotation) or annotation, *inner]


def checked(method: str, args: Mapping[str, Any], *, typed: bool) -> dict[str, Any]:
    """The arguments of a call as Python values.

    Args:
        method: of the web API.
        args: as they arrived.
        typed: whether they came as JSON, in which a number is no text.

    Raises:
        Refusal: invalid_arguments, naming everything that is unknown, missing or of the wrong type.
    """
    known = parameters(method)
    wrong = [f"unknown argument `{name}`" for name in args if name not in known and name not in ALWAYS]
    wrong += [f"missing required field: {name}" for name, one in known.items() if one.required and name not in args]
    values: dict[str, Any] = {}
    for name, value in args.items():
        if (parameter := known.get(name)) is None:
            continue
        try:
            values[name] = _value(parameter, value, typed=typed)
        except ValueError as error:
            wrong.append(f"{error} [json-pointer:/{name}]")
    if wrong:
        raise Refusal("invalid_arguments", *(f"[ERROR] {line}" for line in wrong))
    return values


def _value(parameter: Parameter, value: Any, *, typed: bool) -> Any:
    if value is None:
        raise ValueError("null is no value")
    result = _CHECKS[parameter.kind](value, typed)
    if parameter.choices and result not in parameter.choices:
        raise ValueError(f"must be one of {', '.join(parameter.choices)}")
    return result


def _text(value: Any, typed: bool) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - the caller collects one kind of error
    return value


def _bool(value: Any, typed: bool) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError("must be a boolean")


def _int(value: Any, typed: bool) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and not typed and value.isdigit():
        return int(value)
    raise ValueError("must be an integer")


def _ts(value: Any, typed: bool) -> str:
    if not isinstance(value, str) or not TS.fullmatch(value):
        raise ValueError(f"{value!r} is not a valid ts")
    return value


def _bound(value: Any, typed: bool) -> str:
    if not isinstance(value, str) or not _BOUND.fullmatch(value):
        raise ValueError(f"{value!r} is not a valid timestamp")
    return value


def _list(value: Any, typed: bool) -> list[str]:
    if isinstance(value, str):
        return [one.strip() for one in value.split(",") if one.strip()]
    if typed and isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value)):
        return cast("list[str]", value)
    raise ValueError("must be a list of strings")


def _array(value: Any, typed: bool) -> list[Any]:
    parsed = _parsed(value)
    if not isinstance(parsed, list):
        raise ValueError("must be a JSON array")  # noqa: TRY004 - the caller collects one kind of error
    return cast("list[Any]", parsed)


def _object(value: Any, typed: bool) -> dict[str, Any]:
    parsed = _parsed(value)
    if not isinstance(parsed, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - the caller collects one kind of error
    return cast("dict[str, Any]", parsed)


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be JSON") from None


_CHECKS = {
    Kind.TEXT: _text,
    Kind.BOOL: _bool,
    Kind.INT: _int,
    Kind.TS: _ts,
    Kind.BOUND: _bound,
    Kind.LIST: _list,
    Kind.ARRAY: _array,
    Kind.OBJECT: _object,
}

"""`LANEWAY__AGENTS__DEFAULTS__MAX_TURNS=20`: settings from the environment, laid over the file's.

Two underscores part the levels. Keys are found whatever their case and with or without underscores. Lists
take JSON5 or a comma-separated text, objects take JSON5. A variable that names no setting is an error.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import cast

import pyjson5

from gateway.config.base import ModelChoice
from gateway.config.positions import KeyPath
from gateway.config.problems import Problem, path_text
from gateway.config.suggest import fold, nearest
from gateway.config.tree import Shape, keys_of

PREFIX = "LANEWAY__"
_MAX_ITEMS = 1000

Json = dict[str, object]


class OverrideFault(Exception):
    """One variable can't be used; the text says why."""


@dataclass(slots=True)
class Overrides:
    """What the environment has set."""

    variables: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    """Each path that was set, with the name of its variable."""
    problems: list[Problem] = field(default_factory=list[Problem])


def apply(data: Json, environ: Mapping[str, str], root: Shape) -> Overrides:
    """Sets in `data` what the `LANEWAY__…` variables of `environ` say; the shorter names first."""
    result = Overrides()
    for variable in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        trial = deepcopy(data)
        try:
            path = _set(trial, variable[len(PREFIX) :].split("__"), environ[variable], root)
        except OverrideFault as fault:
            result.problems.append(Problem(variable, None, None, "", str(fault)))
        else:
            result.variables[path] = variable
            data.update(trial)
    return result


def _set(data: Json, segments: list[str], text: str, shape: Shape) -> KeyPath:
    node: Json | list[object] = data
    path: KeyPath = ()
    for position, segment in enumerate(segments):
        key, shape = _step(node, shape, segment, path)
        path = (*path, key)
        if position == len(segments) - 1:
            _put(node, key, _parse(text, shape))
        else:
            node = _enter(node, key, shape, path)
    return path


def _step(node: Json | list[object], shape: Shape, segment: str, path: KeyPath) -> tuple[str | int, Shape]:
    """The key that a segment names, and the shape of what stands there."""
    if shape.section is not None:
        known = {fold(key): key for key in keys_of(shape.section)}
        key: str | int | None = known.get(fold(segment))
        if key is None:
            raise OverrideFault(_unknown(segment, path, list(known.values())))
    elif shape.items is not None and isinstance(node, list):
        key = _index(node, segment, path)
    elif shape.values is not None and isinstance(node, dict) and segment:
        key = next((name for name in node if name.lower() == segment.lower()), None)
        key = key or (segment if shape.values.secret else segment.lower())
    else:
        raise OverrideFault(f"names no setting: {path_text(path)} is a single value; set that")
    child = shape.child(key)
    if child is None:
        raise OverrideFault(f"names no setting below {path_text(path)}")
    return key, child


def _index(node: list[object], segment: str, path: KeyPath) -> int:
    index = int(segment) if segment.isascii() and segment.isdigit() and len(segment) < 6 else _MAX_ITEMS
    if index > len(node) or index >= _MAX_ITEMS:
        raise OverrideFault(f"names no element of {path_text(path)}; use a number from 0 to {len(node)}")
    return index


def _unknown(segment: str, path: KeyPath, known: list[str]) -> str:
    where = f" in {path_text(path)}" if path else ""
    best = nearest(segment.lower(), known)
    hint = f"did you mean {best}?" if best else f"there are: {', '.join(known)}"
    return f"names no setting: there is no “{segment[:60]}”{where} ({hint})"


def _enter(node: Json | list[object], key: str | int, shape: Shape, path: KeyPath) -> Json | list[object]:
    present: object = _get(node, key)
    if shape.section is ModelChoice and isinstance(present, str):
        present = {"primary": present}
    if present is None:
        present = [] if shape.items else {}
    if not isinstance(present, dict if shape.items is None else list):
        raise OverrideFault(f"can't be set: {path_text(path)} is no object")
    _put(node, key, cast("Json | list[object]", present))
    return cast("Json | list[object]", present)


def _get(node: Json | list[object], key: str | int) -> object:
    if isinstance(node, dict):
        return node.get(str(key))
    return node[key] if isinstance(key, int) and key < len(node) else None


def _put(node: Json | list[object], key: str | int, value: object) -> None:
    if isinstance(node, dict):
        node[str(key)] = value
    elif isinstance(key, int) and key < len(node):
        node[key] = value
    else:
        node.append(value)


def _parse(text: str, shape: Shape) -> object:
    stripped = text.strip()
    if shape.nullable and stripped == "null":
        return None
    compound = shape.section or shape.items or shape.values
    if not compound or (shape.section is ModelChoice and not stripped.startswith("{")):
        return text
    if shape.items and not stripped.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return cast("object", pyjson5.decode(stripped))
    except pyjson5.Json5DecoderException as error:
        raise OverrideFault("is no valid JSON5; give a list as [ … ] and an object as { … }") from error

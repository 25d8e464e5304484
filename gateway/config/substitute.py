"""`${VAR}` and `${VAR:-default}` inside the texts of a configuration; `$${` stands for a plain `${`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from gateway.config.positions import KeyPath

Json = dict[str, object]

_REFERENCE = re.compile(r"\$(?P<escape>\$?)\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\})?")


@dataclass(slots=True)
class Substitution:
    """What one pass over a document has found."""

    variables: dict[str, str] = field(default_factory=dict[str, str])
    """The variables that were put in, with their values."""
    paths: set[KeyPath] = field(default_factory=set[KeyPath])
    """Texts that hold a variable's value; they are not repeated in messages."""
    faults: list[tuple[KeyPath, str, str]] = field(default_factory=list[tuple[KeyPath, str, str]])
    """Path, what is wrong, what to do."""


def substitute(data: object, environ: Mapping[str, str]) -> tuple[object, Substitution]:
    """A copy of `data` with every reference in its texts replaced; keys of objects are left as they are."""
    found = Substitution()
    return _replace(data, (), environ, found), found


def _replace(value: object, path: KeyPath, environ: Mapping[str, str], found: Substitution) -> object:
    if isinstance(value, dict):
        return {key: _replace(inner, (*path, key), environ, found) for key, inner in cast("Json", value).items()}
    if isinstance(value, list):
        return [
            _replace(inner, (*path, index), environ, found) for index, inner in enumerate(cast("list[object]", value))
        ]
    if isinstance(value, str) and "${" in value:
        return _text(value, path, environ, found)
    return value


def _text(text: str, path: KeyPath, environ: Mapping[str, str], found: Substitution) -> str:
    def insert(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match["escape"]:
            return match[0][1:]
        if name is None:
            found.faults.append((path, "holds “${” without a variable's name", "write $${ for a plain ${"))
            return ""
        value = environ.get(name)
        if value is None or (value == "" and default is not None):
            if default is None:
                hint = f"set it, or give a default: ${{{name}:-…}}"
                found.faults.append((path, f"needs the environment variable {name}, which is not set", hint))
            return default or ""
        found.variables[name] = value
        found.paths.add(path)
        return value

    return _REFERENCE.sub(insert, text)

"""The configuration as a person may see it: every key with its value and where it came from, secrets covered.

Changes nothing and reads nothing but a `Config`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from gateway.config.models import Config
from gateway.config.positions import KeyPath
from gateway.config.problems import path_text
from gateway.config.tree import leaves

COVER = "***"
"""Stands in place of a secret."""

Source = Literal["file", "env", "default"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with its value."""

    key: str
    value: object
    """Plain JSON data without secrets."""
    source: Source
    variable: str | None = None
    """The environment variable that set it."""
    line: int | None = None
    """Where in the file."""


def settings(config: Config) -> tuple[Setting, ...]:
    """Every key of the configuration, and the providers' keys that the environment holds."""
    return (*_configured(config), *_from_environment(config))


def _configured(config: Config) -> Iterator[Setting]:
    locator = config.origin.locator
    # Ids and provider names are lower case in the configuration, whatever they are in the file.
    given = {_lower(path): offset for path, offset in locator.positions.values.items()}
    set_by = {_lower(path): name for path, name in locator.overrides.items()}
    for path, _, value in leaves(config, Config.shape):
        steps = [_lower(path[:length]) for length in range(len(path), 0, -1)]
        variable = next((set_by[step] for step in steps if step in set_by), None)
        source: Source = "env" if variable else "file" if _in_file(steps, given) else "default"
        line = _line(config, steps, given) if source == "file" else None
        yield Setting(path_text(path), _plain(value), source, variable, line)


def _line(config: Config, steps: list[KeyPath], given: Mapping[KeyPath, int]) -> int | None:
    lines = config.origin.locator.lines
    offset = next((given[step] for step in steps if step in given), None)
    return None if lines is None or offset is None else lines.at(offset)[0]


def _in_file(steps: list[KeyPath], given: Mapping[KeyPath, int]) -> bool:
    # A model may be written as a plain text, which stands one step above its `primary`.
    return steps[0] in given or (steps[0][-1] == "primary" and steps[1] in given)


def _lower(path: KeyPath) -> KeyPath:
    return tuple(part.lower() if isinstance(part, str) else part for part in path)


def _from_environment(config: Config) -> Iterator[Setting]:
    for name, key in config.origin.keys.items():
        entry = config.models.providers.get(name)
        if entry is None or entry.api_key is None:
            yield Setting(f"models.providers.{name}.apiKey", COVER, "env", key.variable)


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return _cover(value.get_secret_value())
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, str) and "://" in value:
        return _cover_password(value)
    return value


def _cover(secret: str) -> str:
    # Of a database's address only the password is secret.
    return _cover_password(secret) if secret.startswith(("postgresql", "sqlite")) else COVER


def _cover_password(address: str) -> str:
    try:
        parts = urlsplit(address)
        if parts.password is None:
            return address
    except ValueError:
        return COVER
    user, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}:{COVER}@{place}").geturl()

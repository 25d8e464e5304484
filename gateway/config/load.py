"""Reads a configuration: the file, `${…}`, the `LANEWAY__…` variables, and every fault at once.

Reading is all or nothing, a whole `Config` or a `ConfigError`, so that a reload can keep the old one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pyjson5
from pydantic import SecretStr, ValidationError

from gateway.config import checks, overrides
from gateway.config.explain import syntax_problem, validation_problems
from gateway.config.models import Config, Origin
from gateway.config.paths import Paths, expand_home, home_folder
from gateway.config.positions import Lines, Positions, is_blank, scan
from gateway.config.problems import ConfigError, Locator, Problem
from gateway.config.providers import keys_in
from gateway.config.substitute import substitute

CONFIG_VARIABLE = "LANEWAY_CONFIG"
MAX_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class _Document:
    """A file's content and where everything stands in it."""

    data: object
    locator: Locator
    problems: tuple[Problem, ...] = ()


def config_file(path: Path | None, *, paths: Paths, environ: Mapping[str, str]) -> Path:
    """The file that `load_config` would read, whether it is there or not."""
    named = environ.get(CONFIG_VARIABLE)
    return path or (expand_home(named, home_folder(environ)) if named else None) or paths.config_file


def load_config(path: Path | None, *, paths: Paths, environ: Mapping[str, str]) -> Config:
    """Reads the configuration and checks all of it.

    Args:
        path: the file that was asked for; None: `LANEWAY_CONFIG`, else `config.json5` in the state folder,
            which may be absent.
        paths: the state folder.
        environ: the environment; read for `${…}`, `LANEWAY__…`, `HOME` and providers' keys.

    Raises:
        ConfigError: the file can't be read or is wrong; names everything that is.
    """
    file = config_file(path, paths=paths, environ=environ)
    if path is None and not environ.get(CONFIG_VARIABLE) and not file.exists():
        return _build(_Document({}, Locator()), None, paths, environ)
    return _build(_read(file), file, paths, environ)


def parse_config(data: Mapping[str, object], *, paths: Paths, environ: Mapping[str, str] | None = None) -> Config:
    """A configuration from data that is in memory, checked as a file is.

    Args:
        data: what a file would hold, with its camelCase keys.
        paths: the state folder.
        environ: as for `load_config`; default: an empty one.

    Raises:
        ConfigError: names everything that is wrong.
    """
    return _build(_Document(dict(data), Locator()), None, paths, environ or {})


def parse_text(
    text: str,
    file: Path,
    *,
    paths: Paths,
    environ: Mapping[str, str],
    fill: Callable[[object], object] = lambda data: data,
) -> Config:
    """A configuration from JSON5 text, as if it were the content of `file`.

    Args:
        text: the content.
        file: where faults are said to be.
        paths: the state folder.
        environ: as for `load_config`.
        fill: puts in the place of the text's data what it stands for; positions are those of the text.

    Raises:
        ConfigError: names everything that is wrong.
    """
    document = _decode(text, file)
    return _build(replace(document, data=fill(document.data)), file, paths, environ)


def _read(file: Path) -> _Document:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _failed(file, f"can't be read: {reason.lower()}", "check --config and LANEWAY_CONFIG") from error
    if len(content) > MAX_BYTES:
        raise _failed(file, f"is larger than {MAX_BYTES // 1_000_000} MB", "is this the right file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(str(file), line, 1, "", "is no UTF-8 text", "save the file as UTF-8")]) from error
    return _decode(text, file)


def _failed(file: Path, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(str(file), None, None, "", message, hint)])


def _decode(text: str, file: Path) -> _Document:
    lines = Lines(text)
    if is_blank(text):
        return _Document({}, Locator(file, lines, Positions({(): 0})))
    try:
        data = cast("object", pyjson5.decode(text))
    except pyjson5.Json5DecoderException as error:
        raise ConfigError([syntax_problem(error, text, Locator(file, lines))]) from error
    locator = Locator(file, lines, scan(text))
    repeated = tuple(
        locator.at(offset, "stands twice in the same object", "keep one of the two", path)
        for path, offset in locator.positions.duplicates
    )
    return _Document(data, locator, repeated)


def _build(document: _Document, source: Path | None, paths: Paths, environ: Mapping[str, str]) -> Config:
    data, found = substitute(document.data, environ)
    if not isinstance(data, dict):
        raise ConfigError([document.locator.problem((), "must be an object: { … }")])
    values = cast("dict[str, object]", data)
    values.pop("$schema", None)  # names the schema for editors
    override = overrides.apply(values, environ, Config.shape)
    locator = replace(document.locator, overrides=override.variables)
    problems = [*document.problems, *override.problems]
    problems += [locator.problem(path, message, hint) for path, message, hint in found.faults]
    problems += checks.name_problems(values, locator)
    origin = Origin(
        paths=paths,
        home=home_folder(environ),
        source=source,
        locator=locator,
        keys=keys_in(environ),
        variables={name: SecretStr(value) for name, value in found.variables.items()},
    )
    try:
        config = Config.model_validate(values, context=origin, by_alias=True, by_name=False)
    except ValidationError as error:
        # A text whose variable is missing is empty here; that it is empty isn't worth telling as well.
        told = {problem.key_path for problem in problems if problem.key_path}
        invalid = validation_problems(error, Config.shape, locator, found.paths)
        problems += [problem for problem in invalid if problem.key_path not in told]
        raise ConfigError(problems) from error
    if problems:
        raise ConfigError(problems)
    return config

"""What a job is given, as typed on the command line: JSON in a word, in a file or on stdin, and single values."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gateway.cli.context import USAGE, CliError

OPTION = "--params"


def params_of(text: str | None) -> dict[str, Any] | None:
    """The object behind `--params JSON|@FILE|-`; None for None.

    Raises:
        CliError: it is no JSON object, or the file can't be read.
    """
    if text is None:
        return None
    if text == "-":
        return json_object(sys.stdin.read(), f"{OPTION} -")
    if text.startswith("@"):
        return json_object(read_file(Path(text[1:]), OPTION), f"{OPTION} {text}")
    return json_object(text, OPTION)


def read_file(file: Path, where: str) -> str:
    """A file's text.

    Raises:
        CliError: it can't be read, or isn't text.
    """
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't text in UTF-8"
        raise CliError(f"{where}: {file} can't be read: {reason}", USAGE) from None


def json_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CliError: it is none; the text says where it breaks.
    """
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise CliError(f"{where}: not JSON: {error.msg} ({error.lineno}:{error.colno})", USAGE) from None
    if not isinstance(value, dict):
        raise CliError(f"{where}: it must be a JSON object, {{…}}", USAGE)
    return cast("dict[str, Any]", value)


def set_values(pairs: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` pairs as an object; a value that is JSON is taken as that, any other as text.

    Raises:
        CliError: one isn't a pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise CliError(f"--set: `{pair}` is no KEY=VALUE", USAGE)
        try:
            found[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[key.strip()] = value
    return found


def submission_of(**fields: Any) -> dict[str, Any]:
    """The body of a submission, without what was not given."""
    return {name: value for name, value in fields.items() if value is not None}

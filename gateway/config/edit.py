"""Changing the configuration file from outside: its text without secrets goes out, and comes back changed.

Owns no state. What comes back is checked as a whole, with the real secrets in place and positions in the text as it
was sent, before a byte is written. The file is replaced at once or not at all, only if nobody else has changed it
meanwhile, and the one before is kept beside it. Comments and formatting are the sender's.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pyjson5

from gateway.config import masking
from gateway.config.load import MAX_BYTES, parse_text
from gateway.config.masking import Masked
from gateway.config.models import Config
from gateway.config.paths import Paths
from gateway.config.positions import Lines
from gateway.config.problems import ConfigError, Problem

BACKUPS = 10
"""Earlier versions that are kept beside the file."""
_BOM = b"\xef\xbb\xbf"


class SourceChanged(Exception):
    """The file isn't what it was when it was read."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file as it is now."""

    file: Path
    raw: bytes | None
    """None: there is no file."""
    text: str
    masked: Masked
    etag: str
    """Changes with the file, and with what is covered in it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a change would do."""

    text: str
    """With the secrets in place; not to be shown."""
    problems: tuple[Problem, ...]
    config: Config | None
    """None where there are problems."""
    diff: str
    """Unified, secrets covered; empty if nothing would change."""


def read_source(file: Path, known: Collection[str]) -> Source:
    """Reads the file.

    Args:
        file: which; it may be absent.
        known: values that are secret wherever they stand.

    Raises:
        ConfigError: it can't be read as text.
    """
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raw = None
    except OSError as error:
        raise ConfigError([Problem(str(file), None, None, "", f"can't be read: {error.strerror}")]) from error
    try:
        text = (raw or b"").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "save the file as UTF-8"
        raise ConfigError([Problem(str(file), None, None, "", "is no UTF-8 text", hint)]) from error
    masked = masking.mask(text, known)
    seen = hashlib.sha256(raw or b"(none)")
    seen.update(masked.text.encode("utf-8", "surrogatepass"))
    return Source(file, raw, text, masked, seen.hexdigest()[:32])


def check(source: Source, text: str, known: Collection[str], *, paths: Paths, environ: Mapping[str, str]) -> Checked:
    """Says what would come of a text in the place of the file's. Changes nothing.

    Args:
        source: the file that the text was made from.
        text: the masked text, changed.
        known: as for `read_source`.
        paths: the state folder.
        environ: the environment that the configuration is read with.
    """
    text = _with_its_line_ends(text, source.text)
    diff = _diff(source, text)
    try:
        restored = _restored(source, text, known)
        config = parse_text(
            text, source.file, paths=paths, environ=environ, fill=lambda data: _filled(data, source.masked)
        )
        _check_quotes(source, text, restored)
    except ConfigError as error:
        return Checked("", tuple(error.problems), None, diff)
    return Checked(restored, (), config, diff if restored != source.text else "")


def save(source: Source, text: str, known: Collection[str]) -> Path | None:
    """Puts a checked text in the place of the file's; returns where the file before is kept.

    Raises:
        SourceChanged: the file is no longer the one that the text was made from; nothing is written.
        OSError: it can't be written; nothing is changed.
    """
    file = source.file.resolve()
    if read_source(source.file, known).etag != source.etag:
        raise SourceChanged
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = (_BOM if (source.raw or b"").startswith(_BOM) else b"") + text.encode("utf-8")
    backup = _back_up(file, source.raw) if source.raw is not None else None
    mode = file.stat().st_mode & 0o777 if source.raw is not None else 0o600
    _write(file, content, mode)
    return backup


def _diff(source: Source, text: str) -> str:
    """What is different, secrets covered; nothing while the text can't be read: nobody knows what is secret in it."""
    if not masking.readable(text):
        return ""
    before, after = source.masked.text.splitlines(), masking.shown(text, source.masked).splitlines()
    name = source.file.name
    return "\n".join(difflib.unified_diff(before, after, f"{name} (now)", f"{name} (new)", lineterm=""))


def _restored(source: Source, text: str, known: Collection[str]) -> str:
    """The text with its secrets in place, each where a secret is covered: none is shown by being moved."""
    try:
        restored = masking.restore(text, source.masked)
    except LookupError as error:
        problem = _problem(
            source, text, cast("int", error.args[0]), "this placeholder stands for no secret of the file"
        )
        raise ConfigError([problem]) from None
    if len(restored.text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError([Problem(str(source.file), None, None, "", f"is larger than {MAX_BYTES // 1_000_000} MB")])
    covered = masking.spans(restored.text, known)
    moved = [
        _problem(source, text, place.before, "a placeholder may stand only where the configuration takes a secret")
        for place in restored.places
        if place.number in source.masked.sure
        and not any(begin <= place.start and place.stop <= end for begin, end in covered)
    ]
    if moved:
        raise ConfigError(moved)
    return restored.text


def _check_quotes(source: Source, text: str, restored: str) -> None:
    """A secret means the same as before only between the quotes that it was written for."""
    try:
        same = pyjson5.decode(restored or "{}") == _filled(pyjson5.decode(text or "{}"), source.masked)
    except pyjson5.Json5DecoderException:
        same = False
    if not same:
        hint = "keep the quotes around the placeholders as they were"
        raise ConfigError([Problem(str(source.file), None, None, "", "the secrets can't be put back", hint)])


def _filled(data: object, masked: Masked) -> object:
    """Data in which the placeholders are the values that they stand for."""
    if isinstance(data, dict):
        return {key: _filled(value, masked) for key, value in cast("dict[str, object]", data).items()}
    if isinstance(data, list):
        return [_filled(value, masked) for value in cast("list[object]", data)]
    if isinstance(data, str):
        return masked.pattern.sub(lambda match: _value(masked.secrets[int(match[1]) - 1]), data)
    return data


def _value(secret: str) -> str:
    """What the characters between quotes mean."""
    quote = "'" if '"' in secret.replace('\\"', "") else '"'
    try:
        return str(pyjson5.decode(f"{quote}{secret}{quote}"))
    except pyjson5.Json5DecoderException:
        return secret


def _problem(source: Source, text: str, offset: int, message: str) -> Problem:
    line, column = Lines(text).at(offset)
    return Problem(str(source.file), line, column, "", message)


def _with_its_line_ends(text: str, before: str) -> str:
    """A form in a browser sends line ends of its own; the file keeps those that it has."""
    plain = text.replace("\r\n", "\n")
    return plain.replace("\n", "\r\n") if "\r\n" in before and "\n" not in before.replace("\r\n", "") else plain


def _back_up(file: Path, raw: bytes) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    backup = file.with_name(f"{file.name}.{stamp}.bak")
    _write(backup, raw, 0o600)
    for old in sorted(file.parent.glob(f"{file.name}.*Z.bak"))[:-BACKUPS]:
        old.unlink(missing_ok=True)
    return backup


def _write(file: Path, content: bytes, mode: int) -> None:
    """Writes a file whole, by way of a temporary one."""
    temporary = file.with_name(f"{file.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.chmod(mode)
    temporary.replace(file)

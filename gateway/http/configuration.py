"""The configuration over HTTP: what is in force and where it came from, and the file without its secrets, to change.

For operators only. Two who save at the same time: the second is told that the file has changed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import Field

from gateway.config import ConfigError, Problem
from gateway.config.edit import Checked, Source, SourceChanged, check, read_source, save
from gateway.config.load import config_file
from gateway.config.reload import diff_restart
from gateway.config.show import settings
from gateway.http.auth import caller, scope
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.keys import GATEWAY
from gateway.store import audit
from gateway.store.database import Transaction

if TYPE_CHECKING:
    from gateway.app import Gateway

LONGEST_TEXT = 4_000_000
"""characters"""


EDITING: web.AppKey[asyncio.Lock] = web.AppKey("editing", asyncio.Lock)


class TextBody(Body):
    """A text for the file, and the `etag` of the one that it was made from."""

    text: str = Field(max_length=LONGEST_TEXT)
    etag: str = Field(min_length=1, max_length=64)


@scope("operator")
async def show_config(request: web.Request) -> web.Response:
    """`GET /api/config`: every key with its value, secrets covered, and where it came from."""
    gateway = request.app[GATEWAY]
    config = gateway.config
    found = [
        {"key": each.key, "value": each.value, "source": each.source, "line": each.line, "variable": each.variable}
        for each in settings(config)
    ]
    file = str(config.source) if config.source else None
    return answer({"file": file, "settings": found, "warnings": list(config.warnings)})


@scope("operator")
async def show_source(request: web.Request) -> web.Response:
    """`GET /api/config/source`: the file's text with a placeholder for each secret."""
    return answer(source_json(await source_now(request.app[GATEWAY])))


@scope("operator")
async def check_config(request: web.Request) -> web.Response:
    """`POST /api/config/check`: what a text would change, and what is wrong with it; nothing is saved."""
    gateway, body = request.app[GATEWAY], await read_body(request, TextBody)
    source, checked = await _checked(gateway, body)
    return answer(
        {
            "valid": checked.config is not None,
            "problems": [problem_json(each) for each in checked.problems],
            "warnings": list(checked.config.warnings) if checked.config else [],
            "diff": checked.diff,
            "restartNeeded": list(diff_restart(gateway.config, checked.config)) if checked.config else [],
            "etag": source.etag,
        }
    )


@scope("operator")
async def save_config(request: web.Request) -> web.Response:
    """`PUT /api/config`: puts a text in the place of the file's, and reloads."""
    gateway, body = request.app[GATEWAY], await read_body(request, TextBody)
    async with request.app[EDITING]:
        source, checked = await _checked(gateway, body)
        if checked.config is None:
            number = len(checked.problems)
            error = ApiError(400, f"{number} problem{'' if number == 1 else 's'}; nothing is saved", field="text")
            problems = [problem_json(each) for each in checked.problems]
            return answer({**error.body(request.path), "problems": problems, "diff": checked.diff}, 400)
        if not checked.diff:
            return answer({"saved": False, "diff": "", "backup": None, "etag": source.etag, "restartNeeded": []})
        try:
            backup = await asyncio.to_thread(save, source, checked.text, gateway.config.secret_values())
        except SourceChanged:
            raise _changed() from None
        except OSError as error:
            raise ApiError(409, f"{source.file} can't be written: {error.strerror}; nothing is changed") from None
        who, kept = caller(request).name, str(backup) if backup else None
        await gateway.database.run(_note, who, str(source.file), kept)
        done = await gateway.reload()
        now = await source_now(gateway)
    return answer(
        {
            "saved": True,
            "diff": checked.diff,
            "backup": kept,
            "etag": now.etag,
            "reloaded": done.reloaded,
            "problems": list(done.problems),
            "restartNeeded": list(done.restart_needed),
        }
    )


def source_json(source: Source) -> dict[str, Any]:
    """The file as JSON, without its secrets."""
    exists = source.raw is not None
    return {"file": str(source.file), "exists": exists, "text": source.masked.text, "etag": source.etag}


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem of a configuration as JSON."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key_path,
        "message": problem.message,
        "hint": problem.hint,
    }


async def source_now(gateway: Gateway) -> Source:
    """The file as it is.

    Raises:
        ApiError: 409 if it can't be read.
    """
    options = gateway.options
    file = config_file(options.config_path, paths=options.paths, environ=options.environ)
    try:
        return await asyncio.to_thread(read_source, file, gateway.config.secret_values())
    except ConfigError as error:
        raise ApiError(409, str(error)) from None


async def _checked(gateway: Gateway, body: TextBody) -> tuple[Source, Checked]:
    source = await source_now(gateway)
    if source.etag != body.etag:
        raise _changed()
    options, known = gateway.options, gateway.config.secret_values()
    checked = await asyncio.to_thread(check, source, body.text, known, paths=options.paths, environ=options.environ)
    return source, checked


def _changed() -> ApiError:
    return ApiError(
        409, "the file has changed since it was read", field="etag", hint="read it again: GET /api/config/source"
    )


def _note(tx: Transaction, who: str, file: str, backup: str | None) -> None:
    audit.add(tx, who, "config.saved", None, file=file, backup=backup)

"""JSON in and out: bodies and queries become pydantic models, records become camelCase.

A fault in what was sent is an `ApiError` that says where: line and column of bad JSON, the name of an unknown field
and the nearest known one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from gateway.config.suggest import nearest
from gateway.http.errors import ApiError

_PLACE = re.compile(r" at line (\d+) column (\d+)$")


class Body(BaseModel):
    """Base of request bodies and queries: camelCase outside, unknown fields refused.

    What checks one is built when the first one comes: of most pages none ever does, and all together are 5 MB.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True, defer_build=True
    )


B = TypeVar("B", bound=BaseModel)


def dumps(value: Any) -> str:
    """JSON as it is sent. Lone surrogates, which no UTF-8 text may hold, leave as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response."""
    return web.json_response(value, status=status, headers=headers, dumps=dumps)


async def read_body(request: web.Request, model: type[B]) -> B:
    """The body, validated; an empty one counts as `{}`.

    Raises:
        ApiError: 400, naming line and column or the field.
    """
    raw = await request.read()
    try:
        return model.model_validate_json(raw.strip() or b"{}")
    except ValidationError as error:
        raise refusal(error, model, "body") from None


def read_query(request: web.Request, model: type[B]) -> B:
    """The query, validated; of a parameter that comes twice the last one counts.

    Raises:
        ApiError: 400, naming the parameter.
    """
    try:
        return model.model_validate_strings(dict(request.query))
    except ValidationError as error:
        raise refusal(error, model, "query") from None


def refusal(error: ValidationError, model: type[BaseModel], where: str) -> ApiError:
    """What is wrong with a body or query, naming the field."""
    found = error.errors(include_url=False, include_context=False)
    # A field that is unknown is often the one that is missing, mistyped.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body isn't valid JSON: {_placed(first['msg'])}", field=where)
    field = ".".join(str(part) for part in first["loc"]) or where
    if first["type"] == "extra_forbidden":
        known = _known(model, first)
        near = nearest(str(first["loc"][-1]), known)
        hint = f"did you mean `{near}`?" if near else f"known are {', '.join(known) or 'none'}"
        return ApiError(400, f"unknown field `{field}` in the {where}", field=field, hint=hint)
    if first["type"] == "missing":
        return ApiError(400, f"`{field}` is required", field=field)
    return ApiError(400, f"`{field}`: {first['msg'][:1].lower()}{first['msg'][1:]}", field=field)


def _placed(message: str) -> str:
    text = message.removeprefix("Invalid JSON: ")
    return _PLACE.sub(lambda found: f" ({found[1]}:{found[2]})", text)


def _known(model: type[BaseModel], error: ErrorDetails) -> list[str]:
    """The fields that the object has which holds the unknown one, where that is the outermost object."""
    if len(error["loc"]) > 1:
        return []
    return sorted(field.alias or name for name, field in model.model_fields.items())


def cursor_after(moment: int, row_id: str) -> str:
    """Where the next page begins: after the row with this time and id."""
    return f"{moment}.{row_id}"


def read_cursor(text: str | None) -> tuple[int, str] | None:
    """The time and id in a cursor.

    Raises:
        ApiError: 400 if it isn't one.
    """
    if text is None:
        return None
    moment, _, row_id = text.partition(".")
    if not (moment.isascii() and moment.isdecimal() and len(moment) < 19 and row_id):
        raise ApiError(400, "the cursor isn't one", field="cursor", hint="use `next` of the page before")
    return int(moment), row_id

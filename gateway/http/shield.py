"""The outermost layer of the HTTP API: whatever goes wrong leaves as a sentence in JSON, never as a traceback.

`{"error": {"message", "field"?, "hint"?}}` with a proper status. What nobody has foreseen is handled by aiohttp,
which logs it; here it only gets an id, so that the answer and the log can be brought together.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from gateway.commands.base import CommandError
from gateway.http.errors import ApiError
from gateway.http.json import answer, dumps
from gateway.inbound import NotAccepted
from gateway.store.database import StoreError

log = logging.getLogger(__name__)
_request_id: ContextVar[str] = ContextVar("laneway_request_id", default="-")

_TEXTS: Mapping[int, tuple[str, str | None]] = {
    404: ("there is no such page", None),
    405: ("this path doesn't take that method", None),
    413: ("the body is larger than 8 MB", "send less at a time"),
}


@web.middleware
async def explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers what is known to go wrong; the outermost middleware."""
    _request_id.set(uuid.uuid4().hex[:12])
    try:
        return await handler(request)
    except ApiError as error:
        return respond(request, error)
    except (CommandError, NotAccepted) as error:
        return respond(request, ApiError(400, str(error)))
    except StoreError as error:
        log.error("%s %s: %s", request.method, request.path, error)  # noqa: TRY400 - the text says it all
        return respond(request, ApiError(503, str(error), hint="see `laneway doctor`"))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        message, hint = _TEXTS.get(error.status, (error.reason.lower(), None))
        return respond(request, ApiError(error.status, message, hint=hint), error.headers.get("Allow"))


def respond(request: web.Request, error: ApiError, allow: str | None = None) -> web.Response:
    """The response that tells of an error."""
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if allow:
        headers["Allow"] = allow
    return answer(error.body(request.path), error.status, headers)


async def hide_unknown_errors(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Replaces the text that aiohttp answers to an unforeseen error (signal `on_response_prepare`)."""
    known = response.content_type == "application/json"
    if response.status != 500 or known or not isinstance(response, web.Response):
        return
    error = ApiError(
        500,
        f"something went wrong inside the gateway; the log has it under request {_request_id.get()}",
        hint="look for that id in the gateway's log",
    )
    body = dumps(error.body(request.path)).encode()
    response.content_type = "application/json"
    response.headers["Content-Length"] = str(len(body))
    response.body = body


class RequestLog(logging.LoggerAdapter[logging.Logger]):
    """aiohttp's logger, with the id of the request that a line is about."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Puts the id before the line."""
        return f"request {_request_id.get()}: {msg}", kwargs

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        """An error with its traceback; what is no HTTP at all is the sender's fault and gets a quiet line."""
        if isinstance(exc_info, HttpProcessingError):
            self.debug("a request that is no proper HTTP: %s", exc_info.message)
        else:
            self.error(msg, *args, exc_info=exc_info, **kwargs)

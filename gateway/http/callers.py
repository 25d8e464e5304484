"""What a caller may do with a session, and how his retries are recognised."""

from __future__ import annotations

import hashlib
import re

from aiohttp import web

from gateway.http.auth import Caller
from gateway.http.errors import ApiError
from gateway.http.keys import GATEWAY
from gateway.inbound import KEY
from gateway.store import sessions

LONGEST_IDEMPOTENCY_KEY = 255
_API_KEY = re.compile(r"agent:[^:]+:api:")


async def check_key(request: web.Request, who: Caller, key: str, field: str) -> None:
    """Whether the caller may write to the session with this key, which need not exist yet.

    Who isn't an operator stays among the sessions made over the API for people like him: in an owner's session his
    words would have an owner's rights.

    Raises:
        ApiError: 400 if it isn't a session key, 403 if it isn't for him.
    """
    if not (key.isprintable() and KEY.fullmatch(key)):
        raise ApiError(
            400,
            "this isn't a session key",
            field=field,
            hint="one looks like agent:<agentId>:main or agent:<agentId>:api:<name>",
        )
    if who.operator:
        return
    session = await request.app[GATEWAY].database.read(sessions.by_key, key)
    if not _API_KEY.match(key) or (session is not None and session.owned):
        raise ApiError(
            403,
            "this token may not write to that session",
            field=field,
            hint="use a key of the form agent:<agentId>:api:<name> that no operator has begun",
        )


def idempotency_key(request: web.Request, who: Caller) -> str | None:
    """A short text that stands for the caller and the key that he sent with the request; None if he sent none.

    Raises:
        ApiError: 400 if the key is empty or too long.
    """
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    if not text.strip() or len(text) > LONGEST_IDEMPOTENCY_KEY:
        raise ApiError(400, f"the key must have 1 to {LONGEST_IDEMPOTENCY_KEY} characters", field="Idempotency-Key")
    raw = f"{who.owner_name}\n{text.strip()}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(raw).hexdigest()[:32]

"""The pages about channels and the people on them: connections, and who may write directly."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from aiohttp import web
from pydantic import Field

from gateway.http.auth import caller
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.keys import GATEWAY
from gateway.store import people
from gateway.views import iso

WRONG_CODES = 10
"""Wrong codes within a minute before more are refused: a code can't be guessed."""
WRONG_SECONDS = 60.0


class CodeBody(Body):
    """The code that somebody was told."""

    code: str = Field(min_length=1, max_length=64)


class PersonBody(Body):
    """Somebody on a channel."""

    channel: str = Field(min_length=1, max_length=64)
    peer: str = Field(min_length=1, max_length=200)
    account: str | None = Field(None, min_length=1, max_length=64)


class Attempts:
    """Counts wrong codes."""

    def __init__(self) -> None:
        self._wrong: deque[float] = deque()

    def check(self) -> None:
        """Refuses more attempts for a while.

        Raises:
            ApiError: 429.
        """
        now = time.monotonic()
        while self._wrong and now - self._wrong[0] > WRONG_SECONDS:
            self._wrong.popleft()
        if len(self._wrong) >= WRONG_CODES:
            raise ApiError(429, "too many wrong codes", hint="wait a minute and try again")

    def failed(self) -> None:
        """A code was wrong."""
        self._wrong.append(time.monotonic())


ATTEMPTS: web.AppKey[Attempts] = web.AppKey("pairing_attempts", Attempts)


async def list_channels(request: web.Request) -> web.Response:
    """`GET /api/channels`: every channel with what it can do and how its accounts are connected."""
    found = [
        {
            "name": channel.name,
            "accounts": channel.state(),
            "capabilities": {
                name: getattr(channel.capabilities, name)
                for name in ("streaming", "edits", "threads", "buttons", "files", "marks")
            },
        }
        for channel in request.app[GATEWAY].registry.channels.values()
    ]
    return answer({"channels": found})


async def list_people(request: web.Request) -> web.Response:
    """`GET /api/pairing`: who waits to be let in, and who was."""
    found = await request.app[GATEWAY].database.read(people.listed)
    return answer({"people": [_person(each) for each in found]})


async def approve(request: web.Request) -> web.Response:
    """`POST /api/pairing/approve`."""
    body = await read_body(request, CodeBody)
    attempts = request.app[ATTEMPTS]
    attempts.check()
    person = await request.app[GATEWAY].database.run(people.approve, body.code, caller(request).name)
    if person is None:
        attempts.failed()
        raise ApiError(
            404,
            "nobody waits with this code",
            field="code",
            hint="codes are valid for an hour; see laneway pairing list",
        )
    return answer(_person(person))


async def revoke(request: web.Request) -> web.Response:
    """`POST /api/pairing/revoke`."""
    body = await read_body(request, PersonBody)
    gone = await request.app[GATEWAY].database.run(people.revoke, body.channel, body.peer, body.account)
    if not gone:
        raise ApiError(404, "nobody is known under this name", field="peer", hint="see laneway pairing list")
    return answer({"revoked": gone})


def _person(person: people.Person) -> dict[str, Any]:
    return {
        "channel": person.channel,
        "account": person.account,
        "peer": person.peer,
        "name": person.name,
        "state": person.state.value,
        "code": person.code,
        "createdAt": iso(person.created_at),
        "expiresAt": iso(person.expires_at),
        "approvedAt": iso(person.approved_at),
        "approvedBy": person.approved_by,
    }

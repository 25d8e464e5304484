"""The way in for browsers, over the API: links to sign in with, who is signed in, and the end of it.

`POST /api/signins` makes a link whose fragment holds a code; the page behind it swaps the code for a cookie
(`channels/web/signin.py`). A fragment never leaves the browser, so that no log and no `Referer` gets the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import Field

from gateway.http.auth import caller
from gateway.http.cookies import PAGES
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.keys import GATEWAY
from gateway.store import signins
from gateway.store.signins import NameTaken, SignIn, SigninScope
from gateway.views import iso

if TYPE_CHECKING:
    from gateway.app import Gateway

OPERATOR = "operator"
REVOKED = "signin"
"""Type of the fleeting event that tells open pages of the end of a sign-in."""
NAME = r"^[A-Za-z0-9][\w.@+-]{0,63}$"


class CodeBody(Body):
    """For whom a link is to be."""

    name: str = Field(OPERATOR, pattern=NAME)
    scope: SigninScope = "operator"


class Nothing(Body):
    """A body without fields."""


def routes() -> list[web.RouteDef]:
    """The pages."""
    return [
        web.get("/api/signins", list_signins),
        web.post("/api/signins", make_link),
        web.post("/api/signins/{id}/revoke", revoke_signin),
    ]


async def link(gateway: Gateway, name: str = OPERATOR, scope: SigninScope = "operator") -> str:
    """A link with a fresh code.

    Raises:
        NameTaken: somebody of this name has other rights.
    """
    code = await gateway.database.run(signins.make_code, name, scope)
    return f"{gateway.url}{PAGES}#code={code}"


async def make_link(request: web.Request) -> web.Response:
    """`POST /api/signins`."""
    body = await read_body(request, CodeBody)
    if body.scope != "operator" and body.name == OPERATOR:
        raise ApiError(400, "a sign-in that isn't an operator's needs a name of its own", field="name")
    try:
        made = await link(request.app[GATEWAY], body.name, body.scope)
    except NameTaken:
        raise ApiError(
            409,
            f"`{body.name}` has signed in with other rights; one name can't stand for both",
            field="name",
            hint="choose another name",
        ) from None
    return answer({"url": made, "name": body.name, "scope": body.scope, "validSeconds": signins.CODE_MS // 1000}, 201)


async def list_signins(request: web.Request) -> web.Response:
    """`GET /api/signins`: who is signed in."""
    found = await request.app[GATEWAY].database.read(signins.listed)
    return answer({"signIns": [signin_json(each) for each in found]})


async def revoke_signin(request: web.Request) -> web.Response:
    """`POST /api/signins/{id}/revoke`."""
    await read_body(request, Nothing)
    ended = await end(request, request.match_info["id"])
    return answer({**signin_json(ended), "revoked": True, "own": ended.id == caller(request).signin})


async def end(request: web.Request, signin_id: str) -> SignIn:
    """Ends a sign-in, and the streams of its open pages.

    Raises:
        ApiError: 404.
    """
    gateway = request.app[GATEWAY]
    ended = await gateway.database.run(signins.revoke, signin_id) if signin_id.isalnum() else None
    if ended is None:
        raise ApiError(404, "there is no such sign-in", field="id", hint="laneway sessions web list")
    gateway.events.publish(REVOKED, {"signIn": ended.id}, session_key=None)
    return ended


def signin_json(signin: SignIn) -> dict[str, Any]:
    """A sign-in as JSON."""
    return {
        "id": signin.id,
        "name": signin.name,
        "scope": signin.scope,
        "userAgent": signin.user_agent,
        "createdAt": iso(signin.created_at),
        "usedAt": iso(signin.used_at),
    }

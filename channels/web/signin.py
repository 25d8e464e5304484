"""The way in: the page for who isn't signed in, the swap of a code for a cookie, and the way out.

The code comes in the link's fragment, which no browser sends anywhere; the page posts it. The cookie can't be read by
any script, is sent to no other site, and beyond a TLS proxy to no unencrypted one.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web
from pydantic import Field

from channels.web import render
from channels.web.site import Action, View
from gateway.http.auth import scope
from gateway.http.cookies import check_page, cookie_name
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.keys import GATEWAY
from gateway.http.platforms import Attempts
from gateway.http.shield import respond
from gateway.http.signins import end
from gateway.store import signins

COOKIE_SECONDS = signins.UNUSED_MS // 1000


class CodeBody(Body):
    """The code of a link."""

    code: str = Field(min_length=1, max_length=200)


class Nothing(Body):
    """A body without fields."""


class SignIns:
    """The two pages that need no sign-in. Wrong codes are counted, so that none can be guessed."""

    def __init__(self) -> None:
        self._attempts = Attempts()

    def routes(self) -> list[web.RouteDef]:
        """Open to all."""

        @scope()
        async def swap(request: web.Request) -> web.Response:
            try:
                return await self.swap(request)
            except ApiError as error:
                response = respond(request, error)
                response.headers.update(render.SAFE)
                return response

        return [web.post("/web/signin", swap), web.get(render.STATIC + "/{version}/{name}", scope()(render.static))]

    async def page(self, request: web.Request) -> web.Response:
        """What is shown instead of any page."""
        return await render.page(request, "signin.html", {}, status=401)

    async def swap(self, request: web.Request) -> web.Response:
        """`POST /web/signin`: once for each code."""
        check_page(request)
        body = await read_body(request, CodeBody)
        self._attempts.check()
        agent = request.headers.get("User-Agent", "")
        opened = await request.app[GATEWAY].database.run(signins.use_code, body.code.strip(), agent)
        if opened is None:
            self._attempts.failed()
            raise ApiError(
                403,
                "this code was used already, is older than ten minutes, or never was one",
                field="code",
                hint="laneway open makes a new link",
            )
        response = answer({"name": opened.signin.name, "scope": opened.signin.scope}, headers=render.SAFE)
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie(
            cookie_name(request),
            opened.secret,
            max_age=COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="Strict",
            # The browser itself says by which way its page came here.
            secure=urlsplit(request.headers.get("Origin", "")).scheme == "https",
        )
        return response


async def sign_out(view: View) -> web.StreamResponse:
    """`POST /web/signout`."""
    await read_body(view.request, Nothing)
    if view.eyes.who.signin is None:
        raise ApiError(400, "a token can't be signed out")
    await end(view.request, view.eyes.who.signin)
    response = answer({"text": "You are signed out."})
    response.del_cookie(cookie_name(view.request), path="/")
    # What this browser has kept of the page goes with it.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


SIGN_OUT = Action("/web/signout", sign_out)

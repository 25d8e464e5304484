"""The cookie of a sign-in, and what a request by cookie must bring.

A browser adds a cookie to whatever request some page makes it send. So a request that changes something must also come
from a page of the gateway itself (`Origin`), and bring a text that only such a page can have read (`X-Laneway-CSRF`):
it follows from the cookie, and the cookie doesn't follow from it. Somebody who isn't an operator reaches the pages
alone, where each checks what is his; the API has other rules for tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from aiohttp import web

from gateway.http.auth import ALL_SCOPES, Caller, Scope, same_origin
from gateway.http.errors import ApiError
from gateway.http.keys import GATEWAY
from gateway.store import signins

PAGES = "/web"
CSRF_HEADER = "X-Laneway-CSRF"
_SAFE = ("GET", "HEAD")
_CHAT: frozenset[Scope] = frozenset(("chat",))


def cookie_name(request: web.Request) -> str:
    """The cookie's name. Gateways on several ports of a host share its cookies; none must overwrite another's."""
    state = str(request.app[GATEWAY].paths.state)
    return f"laneway_{hashlib.sha256(state.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def csrf_token(request: web.Request) -> str:
    """What pages of this sign-in send back in `X-Laneway-CSRF`; empty without a cookie."""
    secret = request.cookies.get(cookie_name(request), "")
    return hashlib.sha256(f"csrf:{secret}".encode("utf-8", "surrogateescape")).hexdigest()[:43] if secret else ""


async def by_cookie(request: web.Request) -> Caller | None:
    """The caller by the cookie of a sign-in.

    Raises:
        ApiError: 403 if the request changes something and isn't one of our pages', or isn't for this sign-in.
    """
    secret = request.cookies.get(cookie_name(request))
    if not secret:
        return None
    database = request.app[GATEWAY].database
    signin = await database.read(signins.find, secret)
    if signin is None:
        return None
    if request.method not in _SAFE:
        check_page(request)
        _check_csrf(request)
    who = Caller(signin.name, ALL_SCOPES if signin.scope == "operator" else _CHAT, signin.id)
    if not who.operator and not _is_page(request.path):
        raise ApiError(403, "this sign-in is for the pages alone", hint="programs use a token: gateway.auth.tokens")
    if signin.used_at < time.time_ns() // 1_000_000 - signins.TOUCH_MS:
        await database.run(signins.touch, signin.id)
    return who


def check_page(request: web.Request) -> None:
    """Whether the request says that it comes from one of our pages; `auth.guard_host` has refused foreign ones.

    Raises:
        ApiError: 403.
    """
    origin = request.headers.get("Origin")
    if origin is None or not same_origin(origin, request.headers.get("Host", "")):
        raise ApiError(403, "this is for the gateway's own pages alone", field="Origin")


def _check_csrf(request: web.Request) -> None:
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), csrf_token(request).encode()):
        raise ApiError(403, "this request isn't one of a page that is signed in", field=CSRF_HEADER, hint="reload it")


def _is_page(path: str) -> bool:
    return path == PAGES or path.startswith(f"{PAGES}/")

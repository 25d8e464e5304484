"""Who may call: host names, origins, bearer tokens and their scopes.

Owns the file `token` in the state folder. All but the health pages need a token, or the cookie of a sign-in
(`cookies.py`); what a handler needs stands beside it as `@scope(…)`, else its method decides. A page in somebody's
browser can't reach the gateway: its `Host` must be loopback or allowed, and its `Origin` must be the gateway's own.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.config import Config, Paths
from gateway.http.errors import ApiError
from gateway.http.keys import GATEWAY
from gateway.routes import Sender

Scope = Literal["read", "chat", "operator"]
"""`read`: look at everything. `chat`: talk to the assistant, without what only owners may. `operator`: everything."""
ALL_SCOPES: frozenset[Scope] = frozenset(("read", "chat", "operator"))

_MARK = "laneway_scopes"
_PLATFORM = "laneway_platform"
H = TypeVar("H", bound=Callable[..., object])


def scope(*any_of: Scope) -> Callable[[H], H]:
    """Says which scopes open a handler; one of them is enough, and `operator` opens everything.

    A handler without it needs `read` for GET and `operator` for the rest. `@scope()` opens it to everybody.
    """

    def mark(handler: H) -> H:
        setattr(handler, _MARK, frozenset(any_of))
        return handler

    return mark


def open_to_platforms(handler: H) -> H:
    """Opens a handler to anybody under any host name: a platform calls it, and it checks the platform's signature."""
    setattr(handler, _PLATFORM, True)
    return scope()(handler)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token or a sign-in stands for."""

    name: str
    scopes: frozenset[Scope]
    signin: str | None = None
    """Id of the sign-in, if he has come by its cookie."""

    @property
    def owner_name(self) -> str:
        """By what his jobs are known: a token, an operator's sign-in and another's of one name are three people."""
        if self.signin is None:
            return f"http:{self.name}"
        return f"web-operator:{self.name}" if self.operator else f"web:{self.name}"

    @property
    def operator(self) -> bool:
        """May do everything, and counts as an owner."""
        return "operator" in self.scopes

    def sender(self, channel: str) -> Sender:
        """The caller as the sender of a message on a channel."""
        return Sender(f"{channel}:{self.name}", self.name, owner=self.operator)


_CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
Way = Callable[[web.Request], Awaitable[Caller | None]]
"""A way to be known: None if a request doesn't take it, or not rightly.

Raises:
    ApiError: it takes it, and is refused.
"""
WAYS: web.AppKey[tuple[Way, ...]] = web.AppKey("ways")
"""All of them, in the order in which they are tried."""


def caller(request: web.Request) -> Caller:
    """Who makes this request."""
    return request[_CALLER]


async def identify(request: web.Request) -> Caller | None:
    """Who makes this request, found out now; None: nobody who is known.

    Raises:
        ApiError: he is known, and may not do it in this way.
    """
    for way in request.app[WAYS]:
        who = await way(request)
        if who is not None:
            request[_CALLER] = who
            return who
    return None


class Tokens:
    """The tokens that are valid now; follows the configuration."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._config: Config | None = None
        self._known: dict[bytes, Caller] = {}

    def find(self, config: Config, token: str) -> Caller | None:
        """The caller with this token. Takes as long for a wrong token as for a right one."""
        if config is not self._config:
            self._known = self._read(config)
            self._config = config
        given = token.encode("utf-8", "surrogateescape")
        found: Caller | None = None
        for known, who in self._known.items():
            if hmac.compare_digest(known, given):
                found = who
        return found

    async def way(self, request: web.Request) -> Caller | None:
        """The caller by the header `Authorization`."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        return self.find(request.app[GATEWAY].config, token.strip())

    def _read(self, config: Config) -> dict[bytes, Caller]:
        main = own_token(config, self._paths)
        known = {main.encode(): Caller("operator", ALL_SCOPES)}
        for extra in config.gateway.auth.tokens:
            secret = extra.token.get_secret_value().encode()
            name = extra.name or f"token-{hashlib.sha256(secret).hexdigest()[:8]}"
            known.setdefault(secret, Caller(name, frozenset(extra.scopes)))
        return known


def own_token(config: Config, paths: Paths) -> str:
    """The operator's token: that of the configuration, else the one in the state folder, else a new one.

    The file holds it in any case, readable by its owner only, so that `laneway` finds it there.

    Raises:
        OSError: the file can't be read or written.
    """
    configured = config.gateway.auth.token
    try:
        kept = paths.token.read_text("utf-8").strip()
    except FileNotFoundError:
        kept = ""
    token = configured.get_secret_value() if configured else kept or secrets.token_urlsafe(32)
    if token != kept:
        paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = paths.token.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        temporary.replace(paths.token)
    return token


@web.middleware
async def guard_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses foreign hosts and origins: a web page must not speak to the gateway through somebody's browser."""
    if getattr(request.match_info.handler, _PLATFORM, False):
        return await handler(request)
    host = request.headers.get("Host", "")
    if not host_allowed(host, request.app[GATEWAY].config.gateway.allowed_hosts):
        raise ApiError(
            403,
            "requests for this host aren't accepted",
            field="Host",
            hint="use a loopback address, or add the name to gateway.allowedHosts",
        )
    origin = request.headers.get("Origin")
    if origin is not None and not same_origin(origin, host):
        raise ApiError(403, "requests from pages of another origin aren't accepted", field="Origin")
    return await handler(request)


@web.middleware
async def guard_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets nobody through who isn't known, or may not do what he asks for."""
    needed = _needed(request)
    if needed:
        who = await identify(request)
        if who is None:
            raise ApiError(
                401,
                "a valid bearer token is needed",
                field="Authorization",
                hint="send `Authorization: Bearer …` with the text of the file `token` in the state folder",
            )
        check_scope(who, needed)
    return await handler(request)


def check_scope(who: Caller, any_of: frozenset[Scope]) -> None:
    """Whether a caller has one of these scopes.

    Raises:
        ApiError: 403.
    """
    if not who.operator and not any_of & who.scopes:
        raise ApiError(
            403,
            f"this token may not do that: it needs the scope {' or '.join(sorted(any_of))}",
            hint="scopes are set in gateway.auth.tokens",
        )


def host_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a `Host` header is loopback, with any port, or one of the allowed names, with or without its port."""
    name = _host_name(host)
    if name is None:
        return False
    if name == "localhost" or {name, host.lower()} & {entry.lower() for entry in allowed}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and parts.username is None else None


def same_origin(origin: str, host: str) -> bool:
    """Whether a page of this origin was served under this `Host`."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _needed(request: web.Request) -> frozenset[Scope]:
    """The scopes of which one opens the handler; empty for a page that is open to all."""
    marked: frozenset[Scope] | None = getattr(request.match_info.handler, _MARK, None)
    if marked is not None:
        return marked
    return frozenset(("read",)) if request.method in ("GET", "HEAD") else frozenset(("operator",))

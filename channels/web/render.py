"""Templates and files of the page, and the headers that keep both harmless.

Owns the jinja2 environment, which is made, in a thread, when the first page is asked for: a gateway whose page nobody
opens has neither the library nor a template in memory. Static files are read then as well; their address holds a digest
of all of them, so that a browser may keep them for good and an update is seen at once.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from aiohttp import web

from channels.web import markdown, words
from gateway import numbers
from gateway.views import capped, duration, iso, money

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATIC = "/web/static"
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
SAFE: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""Headers of everything under /web."""
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/manifest+json",
}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the page in memory."""

    content_type: str
    content: bytes
    packed: bytes
    """gzip"""


@dataclass(frozen=True, slots=True)
class Static:
    """All files."""

    version: str
    files: Mapping[str, StaticFile]


@cache
def static_files() -> Static:
    """The files, read once."""
    found: dict[str, StaticFile] = {}
    digest = hashlib.sha256()
    for path in sorted((HERE / "static").iterdir()):
        if path.suffix not in TYPES:
            continue
        content = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + content)
        found[path.name] = StaticFile(TYPES[path.suffix], content, gzip.compress(content, 9, mtime=0))
    return Static(digest.hexdigest()[:12], found)


@cache
def environment() -> Environment:
    """The templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # lazy: see above

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    filters: dict[str, Callable[..., Any]] = {
        "iso": iso,
        "count": numbers.count,
        "duration": duration,
        "money": money,
        "capped": capped,
        "markdown": _markdown,
        "lines": _lines,
        "path": path_part,
        "tenths": numbers.tenths,
        "bytes": _bytes,
        "moment": _moment,
        "run_icon": words.icon,
        "run_word": words.word,
        "run_tone": words.tone,
    }
    names: dict[str, Any] = {"static": f"{STATIC}/{static_files().version}"}
    cast("dict[str, Any]", made.filters).update(filters)
    cast("dict[str, Any]", made.globals).update(names)
    return made


def path_part(text: str) -> str:
    """A session key as a part of a path."""
    return quote(text, safe=":@+")


def _bytes(number: int) -> str:
    """`812 kB`, `1.4 MB`."""
    if number < 1_000_000:
        return f"{-(-number // 1000)} kB"
    return f"{number / 1_000_000:.1f} MB" if number < 1_000_000_000 else f"{number / 1_000_000_000:.1f} GB"


def _moment(stamp: str) -> Any:
    """A time in ISO 8601 as an element that the browser fills."""
    ms = round(datetime.fromisoformat(stamp).timestamp() * 1000)
    return _safe(f'<time datetime="{iso(ms)}" data-ago="{ms}"></time>')


def _markdown(text: str) -> Any:
    return _safe(markdown.render(text))


def _lines(text: str) -> Any:
    return _safe(markdown.render(text, lines=True))


def _safe(html: str) -> Any:
    """HTML that is put into a page as it is. Only what our own templates and our own renderer have made comes here."""
    from markupsafe import Markup  # lazy: comes with jinja2

    return Markup(html)  # noqa: S704 - see above


async def render(template: str, context: Mapping[str, Any]) -> str:
    """A template with its values, made in a thread: it may be long, and the first one loads the library."""
    return await asyncio.to_thread(_render, template, context)


async def markup(template: str, context: Mapping[str, Any]) -> Any:
    """The same as a value for another template."""
    return _safe(await render(template, context))


def _render(template: str, context: Mapping[str, Any]) -> str:
    return environment().get_template(template).render(context)


def packed(
    request: web.Request, content_type: str, body: bytes, headers: Mapping[str, str], status: int = 200
) -> web.Response:
    """A response, compressed where that helps and the browser can read it."""
    whole = {**SAFE, "Content-Type": content_type, "Vary": "Accept-Encoding, Cookie", **headers}
    if len(body) > 1024 and "gzip" in request.headers.get("Accept-Encoding", ""):
        whole["Content-Encoding"] = "gzip"
        body = gzip.compress(body, 5, mtime=0)
    return web.Response(body=body, headers=whole, status=status)


async def page(
    request: web.Request, template: str, context: Mapping[str, Any], *, status: int = 200, etag: bool = False
) -> web.Response:
    """A page, or a piece of one.

    Args:
        request: whose answer it is.
        template: its template.
        context: the template's values.
        status: of the response.
        etag: answers 304 to who has this very text.
    """
    body = (await render(template, context)).encode("utf-8", "replace")
    headers = {"Cache-Control": "no-store"}
    if etag:
        tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        headers = {"Cache-Control": "private, no-cache", "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={**SAFE, **headers})
    return packed(request, "text/html; charset=utf-8", body, headers, status)


async def static(request: web.Request) -> web.Response:
    """`GET /web/static/{version}/{name}`: a file; open to all, since it holds nothing of anybody."""
    known = await asyncio.to_thread(static_files)
    file = known.files.get(request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    current = request.match_info["version"] == known.version
    headers = {
        **SAFE,
        "Content-Type": file.content_type,
        "Cache-Control": FOREVER if current else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=file.packed, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=file.content, headers=headers)

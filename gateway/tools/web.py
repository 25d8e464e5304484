"""The `web_fetch` tool: one page of the public web as text.

`Fetcher` owns one client session, made at the first use; whoever made the fetcher closes it. Nothing survives it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from pydantic import Field

from gateway.tools.addresses import AddressRefused, Allowed, guarded_socket, is_public
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult

MAX_BYTES = 2_000_000
SECONDS = 20.0
MAX_REDIRECTS = 5
_MAX_CHARS = 50_000
_MAX_URL = 4_000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "User-Agent": "Laneway (web_fetch)",
    "Accept": "text/html,text/markdown,text/plain,application/json;q=0.9,*/*;q=0.5",
}


class FetchError(Exception):
    """The page can't be had. The text says why."""


class FetchArguments(ToolArguments):
    url: Annotated[str, Field(min_length=1, max_length=_MAX_URL)]
    max_chars: Annotated[int, Field(ge=1, le=_MAX_CHARS)] = 20_000


@dataclass(frozen=True, slots=True)
class Page:
    """What a server sent."""

    url: str
    """After redirects."""
    status: int
    media_type: str
    charset: str
    body: bytes
    whole: bool
    """False: there was more than `MAX_BYTES`."""


class Fetcher:
    """Fetches pages over one shared client session."""

    def __init__(
        self,
        allowed: Allowed = is_public,
        *,
        resolver: AbstractResolver | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """
        Args:
            allowed: whether an address may be connected to.
            resolver: finds addresses of names; the system's if None.
            seconds: for one page with all its redirects.
        """
        self._allowed = allowed
        self._resolver = resolver
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the client session, if there is one."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, url: str) -> Page:
        """Fetches a page, following redirects.

        Raises:
            FetchError: it can't be had, or may not be.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url)
        except TimeoutError:
            raise FetchError(f"{_short(url)} took longer than {self._seconds:g} s") from None

    async def _follow(self, url: str) -> Page:
        for _ in range(MAX_REDIRECTS + 1):
            _check(url)
            found = await self._get(url)
            if isinstance(found, Page):
                return found
            url = found
        raise FetchError(f"more than {MAX_REDIRECTS} redirects, the last to {_short(url)}")

    async def _get(self, url: str) -> Page | str:
        """The page, or where it redirects to."""
        try:
            async with self._client().get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location:
                    return urljoin(url, location)
                body, whole = await _read(response.content)
                return Page(url, response.status, response.content_type, response.charset or "utf-8", body, whole)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise FetchError(f"{_short(url)} can't be fetched: {_reason(error)}") from None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._resolver, socket_factory=guarded_socket(self._allowed), limit=20, use_dns_cache=False
            )
            # Cookies of one session's page must not reach another session; proxies would connect in our place.
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, headers=_HEADERS
            )
        return self._session


def web_fetch_tool(fetcher: Fetcher) -> Tool[FetchArguments]:
    """The tool over a fetcher."""

    async def run(ctx: ToolContext, args: FetchArguments) -> ToolResult:
        ctx.progress(f"fetching {args.url[:200]}")
        try:
            page = await fetcher.fetch(args.url)
        except FetchError as error:
            return ToolResult(str(error), error=True)
        text = await asyncio.to_thread(_text, page)
        return ToolResult(_told(page, text, args.max_chars), error=page.status >= 400)

    return Tool(
        "web_fetch",
        "Fetches a public web page as Markdown.",
        FetchArguments,
        run,
        idempotent=True,
        timeout_seconds=2 * SECONDS,
    )


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise FetchError(f"{_short(url)} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError(f"{_short(url)} is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise FetchError("a URL with a user name or password is not fetched")


async def _read(stream: aiohttp.StreamReader) -> tuple[bytes, bool]:
    body = bytearray()
    async for chunk in stream.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            return bytes(body[:MAX_BYTES]), False
    return bytes(body), True


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", error)
    if isinstance(inner, AddressRefused):
        return str(inner)
    return str(error) or type(error).__name__


def _text(page: Page) -> str:
    kind = page.media_type
    if kind in ("text/html", "application/xhtml+xml"):
        # Its libraries take a tenth of a second to load, and only this tool needs them.
        from gateway.tools.html import to_markdown

        return to_markdown(_decoded(page))
    if kind.startswith("text/") or kind.endswith(("json", "xml", "javascript", "yaml")):
        return _decoded(page)
    return f"(not shown: {kind}, {len(page.body):,} bytes)"


def _decoded(page: Page) -> str:
    try:
        text = page.body.decode(page.charset, "replace")
    except (LookupError, ValueError):
        text = page.body.decode("utf-8", "replace")
    return text.replace("\0", "\ufffd")


def _told(page: Page, text: str, most: int) -> str:
    head = f"{page.url} (status {page.status})"
    if not page.whole:
        head += f"; only the first {MAX_BYTES:,} bytes were read"
    cut = f"\n… {len(text) - most:,} characters cut …" if len(text) > most else ""
    return f"{head}\n\n{text[:most]}{cut}"


def _short(url: str) -> str:
    text = url if len(url) <= 200 else url[:200] + "…"
    return f"`{text}`"

"""The HTTP client for MCP servers: it reads no proxies from the environment and no more than it should."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import httpx2

LARGEST_ANSWER = 16 * 1024 * 1024
"""bytes of one response; a stream that is open for longer may have as much in all"""
CONNECT_SECONDS = 10.0


class TooLarge(httpx2.HTTPError):
    """A server sends more than is read."""


class _Counted(httpx2.AsyncByteStream):
    """A response's body that ends when it is too long."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._inner:
            total += len(chunk)
            if total > LARGEST_ANSWER:
                raise TooLarge(f"it sent more than {LARGEST_ANSWER // 1024 // 1024} MB")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Limited(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        response.stream = _Counted(cast("httpx2.AsyncByteStream", response.stream))
        return response


@asynccontextmanager
async def limited_client(headers: Mapping[str, str], seconds: float) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client for one server.

    Args:
        headers: sent with every request.
        seconds: of silence after which a request has failed.
    """
    timeout = httpx2.Timeout(CONNECT_SECONDS, read=seconds)
    async with httpx2.AsyncClient(
        headers=dict(headers), timeout=timeout, transport=_Limited(), trust_env=False
    ) as client:
        yield client

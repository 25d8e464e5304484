"""How the bytes of a scripted reply leave: streams, odd pieces, dropped connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from tests.support.model_script import Reply


async def stream(request: web.Request, reply: Reply, pieces: Iterable[bytes]) -> web.StreamResponse:
    """Sends a stream as the reply wants it: at once, slowly, in odd pieces, or only its beginning."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **reply.headers})
    await response.prepare(request)
    async for chunk in _chunks(reply, pieces):
        await response.write(chunk)
    if reply.drop:
        return drop(request, response)
    await response.write_eof()
    return response


async def _chunks(reply: Reply, pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The bytes as they are to be written: at once, unless the reply wants something else."""
    listed = list(pieces)
    if reply.drop:
        listed = listed[: reply.drop_after]
    if reply.split:
        whole = b"".join(listed)
        listed = [whole[start : start + 7] for start in range(0, len(whole), 7)]
    elif not reply.chunk_delay and not reply.drop:
        listed = [b"".join(listed)]
    for piece in listed:
        yield piece
        if reply.chunk_delay or reply.split:
            await asyncio.sleep(reply.chunk_delay)


def drop(request: web.Request, response: web.StreamResponse | None) -> web.StreamResponse:
    """Closes the connection under an answer."""
    if request.transport:
        request.transport.close()
    return response or web.Response()

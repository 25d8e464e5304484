"""How the bytes of a scripted reply leave: streams, odd pieces, dropped connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from tests.support.model_script import Reply


async def stream(
    request: web.Request, reply: Reply, pieces: Iterable[bytes], gate: asyncio.Event | None = None
) -> web.StreamResponse:
    """Sends a stream as the reply wants it: at once, slowly, in odd pieces, only its beginning, with a stop midway."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **reply.headers})
    await response.prepare(request)
    sent = 0
    async for chunk in _chunks(reply, pieces):
        if gate is not None and reply.hold_after and sent == reply.hold_after:
            await gate.wait()
        await response.write(chunk)
        sent += 1
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
    elif not (reply.chunk_delay or reply.drop or reply.hold_after):
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

"""The answer to a platform that has called: what says that its event is taken, and needn't come again.

Written before its handler returns, so that a test can kill the process on either side of it.
"""

from __future__ import annotations

from aiohttp import web

from gateway import failpoints


async def acknowledge(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Sends an answer; a refusal is no acknowledgement, and is left to the server.

    Args:
        request: the platform's.
        response: what it is answered; with a status of 2xx once its event is committed (spec/channels.md 1).
    """
    if response.status >= 300:
        return response
    failpoints.hit("effect:confirm")
    await response.prepare(request)
    await response.write_eof()
    failpoints.hit("effected:confirm")
    return response

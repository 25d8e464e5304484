"""Finding the gateway that runs on a state folder: its address in `gateway.json`, the token beside it.

Both are only hints: the file outlives a gateway that was killed, so what it names is asked before it is believed.
Nothing here takes the gateway's lock, not even for a moment, since that would turn away one that is just starting.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from gateway.client import ApiClient, ApiError, Unreachable
from gateway.config.paths import Paths

PROBE_SECONDS = 3.0


class NoGateway(Exception):
    """No gateway runs on the state folder. The text says how to start one."""

    def __init__(self, paths: Paths) -> None:
        super().__init__(
            f"no gateway is running on {paths.state}; start one with `laneway start`, or talk with `laneway chat`"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A gateway as its files describe it."""

    url: str
    pid: int
    token: str

    def client(self) -> ApiClient:
        """A client to it."""
        return ApiClient(self.url, self.token)


def described(paths: Paths, token: str | None = None) -> Found | None:
    """What `gateway.json` and the token file say; None if either is missing or unreadable.

    Args:
        paths: the state folder.
        token: the token that the configuration sets, which stands in place of the file's.
    """
    try:
        data = json.loads(paths.gateway_json.read_text("utf-8"))
        secret = token or paths.token.read_text("utf-8").strip()
        return Found(str(data["url"]), int(data["pid"]), secret)
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def answering(paths: Paths, token: str | None = None) -> ApiClient | None:
    """A client to the gateway that runs on this state folder and answers; None if there is none.

    Raises:
        ApiError: something answers there but refuses us.
    """
    found = described(paths, token)
    if found is None:
        return None
    client = found.client()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            status = await client.status()
    except (Unreachable, TimeoutError):
        await client.close()
        return None
    except (ApiError, asyncio.CancelledError):
        await client.close()
        raise
    if status.pid == found.pid:
        return client
    # Its port was taken over by the gateway of another state folder.
    await client.close()
    return None

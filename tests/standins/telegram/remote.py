"""The stand-in in a process of its own, which outlives every gateway that a test kills.

async with telegram_process(tmp_path / "telegram.jsonl") as tg:
    …  # as with TelegramStandIn
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.standins.telegram.driver import Driver
from tests.standins.telegram.standin import TOKEN

ROOT = Path(__file__).parents[3]


class RemoteTelegram(Driver):
    """Drives a stand-in over its admin interface.

    Args:
        base_url: what the process printed.
        http: an open client session.
        token: the bot's.
    """

    def __init__(self, base_url: str, http: aiohttp.ClientSession, token: str = TOKEN) -> None:
        self.base_url = base_url
        self.token = token
        self._http = http

    async def do(self, operation: str, **arguments: Any) -> Any:
        """One of `operations.OPERATIONS`.

        Raises:
            AssertionError: it can't be done; with the reason.
        """
        async with self._http.post(f"{self.api_root}/_admin/{operation}", json=arguments) as answer:
            body = await answer.json()
            assert answer.status < 400, body
            return body

    async def after(self, version: int, seconds: float) -> None:
        """Waits for a change."""
        await self.do("after", version=version, seconds=seconds)


@asynccontextmanager
async def telegram_process(log: Path, *options: str) -> AsyncGenerator[RemoteTelegram]:
    """A stand-in in its own process, ended afterwards.

    Args:
        log: gets a JSON line for each call and fault.
        options: of `python -m tests.standins.telegram`.
    """
    command = ("-m", "tests.standins.telegram", "--log", str(log), *options)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        base_url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
            yield RemoteTelegram(base_url, http)
    finally:
        process.kill()
        await process.wait()

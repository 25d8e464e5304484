"""The real client of Telegram's Bot API, pointed at a stand-in."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from telegram import Update
from telegram.ext import ExtBot
from telegram.request import HTTPXRequest

from tests.standins.telegram import Driver
from tests.standins.telegram.people import PIXEL

os.environ["PTB_TIMEDELTA"] = "true"  # else python-telegram-bot warns whenever it makes a RetryAfter

PNG = PIXEL
"""A picture that Telegram takes."""


@asynccontextmanager
async def client(tg: Driver) -> AsyncGenerator[ExtBot[None]]:
    """python-telegram-bot's bot, which has asked who it is."""
    request = HTTPXRequest(connection_pool_size=16, read_timeout=10)
    bot: ExtBot[None] = ExtBot(
        tg.token, base_url=tg.base_url, base_file_url=tg.file_url, request=request, get_updates_request=HTTPXRequest()
    )
    async with bot:
        yield bot


def texts(updates: Sequence[Update]) -> list[str]:
    """Texts of messages among updates."""
    return [str(update.effective_message.text) for update in updates if update.effective_message]

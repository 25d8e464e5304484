"""Calls to the Bot API by way of python-telegram-bot, and what their failures mean for a post.

A failure says whether the call was done, may have been done, or wasn't; the delivery repeats what was not. Addresses
hold the bot's token: what the library says is cleaned of it, and its own logging, which shows addresses, is off below
warnings. A group that has become a supergroup is followed (`moves.py`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import httpx
from telegram import LinkPreviewOptions, Update
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)
from telegram.ext import ExtBot
from telegram.request import HTTPXRequest

from channels.telegram.moves import Moves
from channels.telegram.timing import Timing
from gateway.channel import DeliveryError

OFFICIAL = "https://api.telegram.org"
CONNECTIONS = 32
"""As many calls at once: each looks at all connections before it takes one, and Telegram takes 30 messages a second."""
NO_PREVIEW = LinkPreviewOptions(is_disabled=True)

UNMODIFIED, GONE, UNREADABLE, STALE = "unmodified", "gone", "unreadable", "stale"
_CODES = (
    ("message is not modified", UNMODIFIED),
    ("message to edit not found", GONE),
    ("message to delete not found", GONE),
    ("message can't be edited", GONE),
    ("message can't be deleted", GONE),
    ("message_id_invalid", GONE),
    ("query is too old", STALE),
    ("parse entities", UNREADABLE),
    ("entity", UNREADABLE),
)
"""What an answer says, in lower case, and what that is for us."""
_ADVICE = (
    ("blocked by the user", "it can be written to again once it is unblocked"),
    ("can't initiate conversation", "the person has to write first"),
    ("kicked", "add the bot to the group again"),
    ("is not a member", "add the bot to the group again"),
    ("chat not found", "there is no such chat, or the bot isn't in it"),
    ("message thread not found", "the topic was deleted"),
    ("topic_closed", "the topic is closed"),
    ("not enough rights", "see the bot's rights in that group"),
)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_UNREAD = (AttributeError, LookupError, TypeError, ValueError)
"""What the library raises at an update that it wasn't made for."""
_OWN_MESSAGES = frozenset(
    ("edit_message_text", "edit_message_reply_markup", "delete_message", "set_message_reaction"),
)
"""Methods about one message, whose id means nothing in the supergroup that a group has become."""

# Both log addresses, with the token in them; the library logs every page that a proxy answers with as an error.
for _name in ("httpx", "httpcore", "telegram"):
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("telegram.request.BaseRequest").setLevel(logging.CRITICAL)
# Else the library warns whenever Telegram asks for a pause.
os.environ.setdefault("PTB_TIMEDELTA", "true")


class Api:
    """A client of the Bot API for one bot.

    The library's methods are called by their names: `await api("send_message", chat_id=…)`.
    """

    def __init__(self, token: str, api_root: str | None, timing: Timing, moves: Moves | None = None) -> None:
        """
        Args:
            token: the bot's.
            api_root: another server than Telegram's.
            timing: how long to wait for answers.
            moves: of its groups; None for who calls no method about a chat.
        """
        root = (api_root or OFFICIAL).rstrip("/")
        self.date = ""
        """The header `Date` of the last answer."""
        self.bot: ExtBot[None] = ExtBot(
            token,
            base_url=f"{root}/bot",
            base_file_url=f"{root}/file/bot",
            request=self._request(timing, CONNECTIONS),
            get_updates_request=self._request(timing, 2),
        )
        self._token = token
        self._moves = moves

    async def __call__(self, method: str, *, ignore: frozenset[str] = frozenset(), **arguments: Any) -> Any:
        """What a method returns; None for an error whose code is in `ignore`.

        Raises:
            DeliveryError: with whether it may be tried again, and when.
        """
        chat_id: int | None = arguments.get("chat_id")
        if chat_id is not None and self._moves is not None and self._moves.has_left(chat_id):
            if method in _OWN_MESSAGES:
                if GONE in ignore:
                    return None
                raise DeliveryError("the group has become a supergroup", permanent=True, code=GONE)
            arguments["chat_id"] = self._moves.now(chat_id)
        call: Callable[..., Awaitable[Any]] = getattr(self.bot, method)
        try:
            return await call(**arguments)
        except ChatMigrated as error:
            if chat_id is not None and self._moves is not None and not self._moves.has_left(chat_id):
                await self._moves.add(chat_id, error.new_chat_id)
                return await self(method, ignore=ignore, **arguments)
            raise self._failure(error) from None
        except TelegramError as error:
            failure = self._failure(error)
            if failure.code and failure.code in ignore:
                return None
            # Without its cause, whose address holds the token.
            raise failure from None

    async def updates(self, offset: int | None, seconds: int, kinds: Sequence[str]) -> tuple[Update, ...]:
        """Asks for updates, which confirms all those below `offset`."""
        wait = timedelta(seconds=seconds)
        try:
            found = await self("get_updates", offset=offset, timeout=wait, allowed_updates=list(kinds))
        except _UNREAD as error:
            raise DeliveryError(f"an update can't be read: {type(error).__name__} {self.clean(error)}") from None
        return cast("tuple[Update, ...]", found)

    def read(self, body: Mapping[str, Any]) -> Update:
        """An update that Telegram has sent by itself."""
        return Update.de_json(dict(body), self.bot)

    async def start(self) -> None:
        """Asks who the bot is; has to be done once before anything is read."""
        await self("initialize")

    async def stop(self) -> None:
        """Closes all connections."""
        await self("shutdown")

    async def fetch(self, file_id: str, limit: int) -> bytes:
        """A file that a person has sent.

        Raises:
            DeliveryError: it can't be had, or is larger than `limit` bytes.
        """
        file = await self("get_file", file_id=file_id)
        try:
            content = bytes(await file.download_as_bytearray())
        except InvalidToken:  # the library's word for any 404
            raise DeliveryError("Telegram no longer has it", permanent=True) from None
        except TelegramError as error:
            raise self._failure(error) from None
        except RuntimeError as error:  # it has no address
            raise DeliveryError(self.clean(error), permanent=True) from None
        if len(content) > limit:
            raise DeliveryError(f"it is larger than {limit // 1024 // 1024} MB", permanent=True)
        return content

    def clean(self, text: object) -> str:
        """A text without the token."""
        return str(text).replace(self._token, "<token>")

    def _request(self, timing: Timing, connections: int) -> HTTPXRequest:
        return HTTPXRequest(
            connection_pool_size=connections,
            read_timeout=timing.read,
            write_timeout=timing.read,
            connect_timeout=timing.connect,
            pool_timeout=timing.connect,
            httpx_kwargs={"event_hooks": {"response": [self._note]}},
        )

    async def _note(self, response: httpx.Response) -> None:
        self.date = response.headers.get("date", "")

    def _failure(self, error: TelegramError) -> DeliveryError:
        """What a failure means."""
        text = self.clean(error)
        if isinstance(error, RetryAfter):
            return DeliveryError("Telegram asks for a pause", retry_after=_seconds(error.retry_after))
        if isinstance(error, InvalidToken):
            if "not found" in text.lower():
                return DeliveryError("Telegram doesn't know the token, or the method: channels.telegram.botToken")
            return DeliveryError("Telegram doesn't know the token: channels.telegram.botToken")
        if isinstance(error, BadRequest | Forbidden | ChatMigrated):
            lowered = text.lower()
            code = next((code for part, code in _CODES if part in lowered), "")
            advice = next((f" ({advice})" for part, advice in _ADVICE if part in lowered), "")
            return DeliveryError(f"Telegram says: {text}{advice}", permanent=True, code=code)
        if isinstance(error, Conflict):
            return DeliveryError(f"Telegram says: {text}", code="conflict")
        if isinstance(error, NetworkError) and isinstance(error.__cause__, _NEVER_SENT):
            return DeliveryError(f"Telegram can't be reached: {_brief(text)}")
        return DeliveryError(f"Telegram's answer was lost: {_brief(text)}", uncertain=True)


def _seconds(wait: float | timedelta) -> float:
    return wait.total_seconds() if isinstance(wait, timedelta) else float(wait)


def _brief(text: str) -> str:
    """Without the page that a proxy has sent."""
    return text.partition(". Parsing the server response")[0]

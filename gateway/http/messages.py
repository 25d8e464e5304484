"""Messages to a session over the control API: accepted once, answered through the events stream."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import Field
from sqlalchemy import select

from gateway.http.auth import caller, scope
from gateway.http.callers import check_key, idempotency_key
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.keys import GATEWAY
from gateway.http.media import MOST_FILES, decode, keep
from gateway.routes import Accepted, InboundMessage, Route
from gateway.store.database import Transaction
from gateway.store.schema import inbox

if TYPE_CHECKING:
    from gateway.app import Gateway

LONGEST_TEXT = 1_000_000
"""characters"""


class AttachmentBody(Body):
    """A picture."""

    name: str = Field("", max_length=255)
    media_type: str
    data_base64: str


class MessageBody(Body):
    """A message of a person."""

    text: str = Field(max_length=LONGEST_TEXT)
    channel: str = "api"
    thread: str | None = Field(None, min_length=1, max_length=200)
    attachments: tuple[AttachmentBody, ...] = Field((), max_length=MOST_FILES)


@scope("chat")
async def send_message(request: web.Request) -> web.Response:
    """`POST /api/sessions/{key}/messages`: 202 for what was accepted, 200 for an answered slash command."""
    gateway, who, key = request.app[GATEWAY], caller(request), request.match_info["key"]
    await check_key(request, who, key, "key")
    body = await read_body(request, MessageBody)
    _check_channel(gateway, body.channel)
    pictures = [
        decode(item.data_base64, item.media_type, f"attachments.{number}", item.name)
        for number, item in enumerate(body.attachments)
    ]
    given = idempotency_key(request, who)
    accepted = await gateway.intake.accept(
        InboundMessage(
            Route(body.channel, "default", key, body.thread),
            key,
            body.text,
            who.sender(body.channel),
            f"http:{given or uuid.uuid4().hex}",
            await keep(gateway.paths, pictures),
        )
    )
    if accepted.duplicate:
        await check_same(gateway, accepted, key, body.text)
    return answer(
        {
            "accepted": True,
            "inboxId": accepted.inbox_id,
            "duplicate": accepted.duplicate,
            "reply": accepted.reply,
            "details": dict(accepted.details),
        },
        200 if accepted.inbox_id is None else 202,
    )


async def check_same(gateway: Gateway, accepted: Accepted, key: str, text: str) -> None:
    """A retry must be the same message as the one that was accepted under its key.

    Raises:
        ApiError: 409 if it isn't.
    """
    if not await gateway.database.read(_is_same, accepted.inbox_id, key, text):
        raise ApiError(
            409,
            "another message was accepted under this key",
            field="Idempotency-Key",
            hint="use a new key for every new message",
        )


def _is_same(tx: Transaction, inbox_id: int | None, key: str, text: str) -> bool:
    row = tx.execute(select(inbox.c.text, inbox.c.route).where(inbox.c.id == inbox_id)).first()
    return row is None or (row.text == text and Route.from_json(row.route).chat == key)


def _check_channel(gateway: Gateway, name: str) -> None:
    pull = sorted(
        channel.name
        for channel in gateway.registry.channels.values()
        if channel.capabilities.pull and not channel.capabilities.held
    )
    if name not in pull:
        raise ApiError(400, f"`channel` is one of: {', '.join(pull)}", field="channel")

"""What somebody sends from the page: messages, slash commands, files.

Each message has an id that its page has made, so that it is accepted once, however often the page tries. Files go up
first, each by itself, and are on disk before the message that names them; which ones a page has sent up is known in
memory only, and a page that is told `409` sends them up again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web
from pydantic import Field

from channels.web import markdown
from channels.web.eyes import CHANNEL
from channels.web.site import Action, View
from gateway import media
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.messages import LONGEST_TEXT, check_same
from gateway.inbound import COMMAND
from gateway.lifecycle import agent_of
from gateway.routes import Accepted, Attachment, InboundMessage
from gateway.store import idempotency, sessions
from gateway.store.database import Transaction

MOST_FILES = 20
KEPT_UPLOADS = 500
ID = r"^[A-Za-z0-9-]{8,64}$"


class SendBody(Body):
    """A message."""

    id: str = Field(pattern=ID)
    text: str = Field(max_length=LONGEST_TEXT)
    files: tuple[str, ...] = Field((), max_length=MOST_FILES)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on disk that no message has named yet."""

    owner: str
    attachment: Attachment


class Sending:
    """Takes in what pages send."""

    def __init__(self) -> None:
        self._uploads: OrderedDict[str, Upload] = OrderedDict()

    def actions(self) -> tuple[Action, ...]:
        """What pages may ask."""
        return (Action("/web/chat/{key}/messages", self.send), Action("/web/chat/{key}/files", self.take_file))

    async def send(self, view: View) -> web.StreamResponse:
        """`POST /web/chat/{key}/messages`: 202 for what was accepted, 200 for an answered slash command."""
        key = view.eyes.check(view.need("key"))
        body = await read_body(view.request, SendBody)
        await view.read(_writable, view, key)
        dedupe = f"{CHANNEL}:{view.eyes.who.name}:{body.id}"
        message = InboundMessage(
            view.eyes.route(key), key, body.text, view.eyes.sender, dedupe, self._files(view, body.files)
        )
        if COMMAND.match(body.text.strip()):
            return await self._command(view, message)
        accepted = await view.gateway.intake.accept(message)
        if accepted.duplicate:
            await check_same(view.gateway, accepted, key, body.text)
        return answer(_told(accepted), 202 if accepted.inbox_id is not None else 200)

    async def _command(self, view: View, message: InboundMessage) -> web.StreamResponse:
        """Answers a command once: what it has said is remembered under its id."""
        known = await view.read(idempotency.recall, f"command:{message.dedupe_key}", message.text)
        if known is not None:
            return answer({**known, "duplicate": True})
        told = _told(await view.gateway.intake.accept(message))
        await view.write(_remember, f"command:{message.dedupe_key}", message.text, told)
        return answer(told)

    async def take_file(self, view: View) -> web.StreamResponse:
        """`POST /web/chat/{key}/files?name=…`: one file; the body is its content."""
        key = view.eyes.check(view.need("key"))
        await view.read(_writable, view, key)
        content = await _content(view.request)
        name = view.params.get("name", "")[:255] or "file"
        media_type = view.request.content_type.lower()
        try:
            attachment = await asyncio.to_thread(_keep, view, key, content, media_type, name)
        except OSError as error:
            raise ApiError(507, f"the file can't be stored: {error.strerror or error}") from error
        token = secrets.token_urlsafe(12)
        self._uploads[token] = Upload(view.eyes.who.owner_name, attachment)
        while len(self._uploads) > KEPT_UPLOADS:
            self._uploads.popitem(last=False)
        picture = attachment.media_type in media.IMAGES
        return answer({"file": token, "name": name, "picture": picture, "bytes": len(content)}, 201)

    def _files(self, view: View, tokens: tuple[str, ...]) -> tuple[Attachment, ...]:
        found = [self._uploads.get(token) for token in tokens]
        if any(each is None or each.owner != view.eyes.who.owner_name for each in found):
            raise ApiError(409, "a file of this message isn't here any more", field="files", hint="send it up again")
        return tuple(each.attachment for each in found if each is not None)


def _writable(tx: Transaction, view: View, key: str) -> None:
    """Whether he may write there. What nobody has begun yet is for its own person to begin."""
    eyes = view.eyes
    if eyes.session(tx, key) is None and f":{CHANNEL}:dm:" in key and not eyes.own(key):
        raise ApiError(404, "there is no such conversation")
    if sessions.by_key(tx, key) is None and key.split(":")[1] not in eyes.config.agent_ids():
        raise ApiError(404, "there is no such conversation")


def _told(accepted: Accepted) -> dict[str, object]:
    reply = accepted.reply
    return {
        "inboxId": accepted.inbox_id,
        "duplicate": accepted.duplicate,
        "reply": reply,
        "html": markdown.render(reply, lines=True) if reply else "",
        "failed": "error" in accepted.details,
    }


def _remember(tx: Transaction, key: str, request: str, told: dict[str, object]) -> None:
    if idempotency.recall(tx, key, request) is None:
        idempotency.remember(tx, key, request, told)


async def _content(request: web.Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.content.iter_chunked(256 * 1024):
        size += len(piece)
        if size > media.LARGEST_FILE:
            most = media.LARGEST_FILE // 1024 // 1024
            raise ApiError(413, f"the file is larger than {most} MB", field="file")
        pieces.append(piece)
    if not size:
        raise ApiError(400, "the file is empty", field="file")
    return b"".join(pieces)


def _keep(view: View, key: str, content: bytes, media_type: str, name: str) -> Attachment:
    if media.is_picture(content, media_type):
        return media.keep_picture(view.gateway.paths, content, media_type, name)
    workspace = agent_of(view.gateway.config, key.split(":")[1]).workspace
    return media.keep_document(workspace, content, media_type, name)

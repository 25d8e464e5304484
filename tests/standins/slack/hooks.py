"""response_url: where the app answers a command or a press without a token, five times within half an hour.

docs.slack.dev/interactivity/handling-user-interaction, "Message responses".
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from tests.standins.slack.errors import Refusal
from tests.standins.slack.methods.content import content_of
from tests.standins.slack.methods.registry import thread_of
from tests.standins.slack.model import Json, Message
from tests.standins.slack.workspace import Workspace

_USES = 5
_SECONDS = 30 * 60
_FIELDS = frozenset(
    {"text", "blocks", "attachments", "response_type", "replace_original", "delete_original", "thread_ts", "metadata"}
    | {"unfurl_links", "unfurl_media", "mrkdwn", "markdown_text"}
)


@dataclass(slots=True)
class Hook:
    """One response URL."""

    url: str
    channel: str
    user: str
    message: Message | None
    """That the button stands in."""
    made: float
    uses: int = 0


class Hooks:
    """All response URLs."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._hooks: dict[str, Hook] = {}

    def new(self, channel: str, user: str, message: Message | None = None) -> Hook:
        """A URL for one interaction."""
        name = uuid.uuid4().hex
        hook = Hook(f"{self._ws.base_url}/hooks/{name}", channel, user, message, time.monotonic())
        self._hooks[name] = hook
        return hook

    async def answer(self, request: web.Request) -> web.Response:
        """What the app says over a response URL."""
        hook = self._hooks.get(request.match_info["name"])
        if hook is None or time.monotonic() - hook.made > _SECONDS:
            return web.Response(status=404, text="expired_url")
        if hook.uses >= _USES:
            self._ws.fault("a response_url is used more than five times")
            return web.Response(status=404, text="used_url")
        try:
            self.say(hook, _body(await request.read()))
        except Refusal as refusal:
            self._ws.fault(f"response_url: {refusal.said}")
            return web.Response(status=400, text=refusal.error)
        return web.Response(text="ok")

    def say(self, hook: Hook, body: Json, *, counted: bool = True) -> None:
        """Posts, replaces or deletes; to its person alone unless `response_type` is `in_channel`.

        Args:
            hook: which URL, or that of the interaction whose acknowledgement it is.
            body: the message.
            counted: whether it is one of the five uses.

        Raises:
            Refusal: the message isn't valid.
        """
        if unknown := set(body) - _FIELDS:
            raise Refusal("invalid_payload", f"unknown fields: {', '.join(sorted(unknown))}")
        hook.uses += counted
        if body.get("delete_original") is True and hook.message is not None:
            self._delete(hook.message)
            return
        content = content_of(self._ws, body)
        if body.get("replace_original") is True and hook.message is not None:
            self._ws.edit(hook.message, **{name: v for name, v in content.fields().items() if name != "metadata"})
            return
        thread = self._thread(hook, body)
        private = body.get("response_type", "ephemeral") != "in_channel"
        fields: dict[str, Any] = content.fields() | {"thread_ts": thread, "by_app": True}
        reader = hook.user if private else None
        message = Message(
            channel=hook.channel, ts=self._ws.new_ts(), user=self._ws.app.user_id, ephemeral_for=reader, **fields
        )
        self._ws.post(message)

    def _thread(self, hook: Hook, body: Json) -> str | None:
        if "thread_ts" not in body:
            return None
        return thread_of(self._ws, self._ws.channels[hook.channel], str(body["thread_ts"]))

    def _delete(self, message: Message) -> None:
        if message.ephemeral_for:
            self._ws.ephemerals.remove(message)
            self._ws.touch()
        else:
            self._ws.delete(message)


def _body(raw: bytes) -> Json:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal("invalid_payload", "no JSON object")
    return cast("Json", body)

"""Commands and presses: their payloads, and what a person sees of the app's acknowledgement.

docs.slack.dev/interactivity/implementing-slash-commands, docs.slack.dev/reference/interaction-payloads/block_actions.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from tests.standins.slack.delivery import Dispatcher
from tests.standins.slack.hooks import Hooks
from tests.standins.slack.model import Channel, Json, Kind, Message, User
from tests.standins.slack.wire import channel_json, message_json
from tests.standins.slack.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Ack:
    """How a command or a press was taken."""

    ok: bool
    """Whether the app acknowledged it in time."""
    error: str = ""
    """If not: `dispatch_failed`, `http_timeout`, `connection_failed`, `http_500`, … A person reads that it failed."""
    said: Json | None = None
    """What the acknowledgement itself said, if it said something."""

    @property
    def text(self) -> str:
        """The text of the acknowledgement."""
        return str((self.said or {}).get("text", ""))


class Interactions:
    """Sends what people press and command."""

    def __init__(self, ws: Workspace, dispatcher: Dispatcher, hooks: Hooks) -> None:
        self._ws = ws
        self._dispatcher = dispatcher
        self._hooks = hooks

    async def command(self, user: User, channel: Channel, command: str, text: str) -> Ack:
        """A slash command. Slack doesn't know in which thread it was typed, and so the app doesn't learn it.

        Raises:
            LookupError: the app has no such command; a person reads that it isn't valid.
        """
        ws = self._ws
        if command not in ws.app.commands or "commands" not in ws.app.scopes:
            raise LookupError(f"{command} is not a valid command; the app has {sorted(ws.app.commands)}")
        hook = self._hooks.new(channel.id, user.id)
        payload: Json = {
            "token": "unused-verification-token",
            "team_id": ws.team_id,
            "team_domain": ws.options.team,
            "channel_id": channel.id,
            "channel_name": "privategroup" if channel.kind in (Kind.PRIVATE, Kind.GROUP) else channel.name,
            "user_id": user.id,
            "user_name": user.name,
            "command": command,
            "text": text,
            "api_app_id": ws.app.id,
            "is_enterprise_install": "false",
            "response_url": hook.url,
            "trigger_id": _trigger(),
        }
        ack = self._ack(await self._dispatcher.interact("slash_commands", payload))
        if ack.said:
            self._hooks.say(hook, ack.said, counted=False)
        return ack

    async def press(
        self, user: User, channel: Channel, message: Message, block: Json, element: Json, **more: Any
    ) -> Ack:
        """A button is pressed.

        Args:
            user: who presses.
            channel: where.
            message: that holds the button.
            block: that holds it.
            element: the button itself.
            more: fields of the action over the real ones, for what a menu chose or a forger writes.
        """
        hook = self._hooks.new(channel.id, user.id, message)
        action = {
            "type": element["type"],
            "action_id": element.get("action_id", "unnamed"),
            "block_id": block.get("block_id", "unnamed"),
            "action_ts": self._ws.new_ts(),
            **{name: element[name] for name in ("text", "value", "style") if name in element},
            **more,
        }
        payload = self._payload(user, channel, message) | {"response_url": hook.url, "actions": [action]}
        return self._ack(await self._dispatcher.interact("interactive", payload))

    def _payload(self, user: User, channel: Channel, message: Message) -> Json:
        ws = self._ws
        container: Json = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": message.ephemeral_for is not None,
        }
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        body: Json = {
            "type": "block_actions",
            "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": ws.team_id},
            "api_app_id": ws.app.id,
            "token": "unused-verification-token",
            "container": container,
            "trigger_id": _trigger(),
            "team": {"id": ws.team_id, "domain": ws.options.team},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": channel.id, "name": channel_json(ws, channel).get("name", "directmessage")},
            "state": {"values": {}},
        }
        return body if message.ephemeral_for else body | {"message": message_json(ws, message)}

    @staticmethod
    def _ack(result: tuple[bool, Any]) -> Ack:
        ok, said = result
        return Ack(ok=True, said=said) if ok else Ack(ok=False, error=str(said))


def _trigger() -> str:
    return f"{uuid.uuid4().int % 10**12}.{uuid.uuid4().int % 10**10}.{uuid.uuid4().hex}"

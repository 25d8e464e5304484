"""What the app hears: the events of everything that happens, filtered as Slack filters them.

An event goes out if the app has subscribed to it, has the scope, and its bot is in the conversation. The app's own
posts come back to it like anybody's.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

from tests.standins.slack.manifest import EVENT_SCOPES
from tests.standins.slack.model import Channel, Json, Kind, Message
from tests.standins.slack.wire import message_json
from tests.standins.slack.workspace import Workspace


class Events:
    """Makes events of changes and hands them to the delivery."""

    def __init__(self, ws: Workspace, send: Callable[[Json], None]) -> None:
        self._ws = ws
        self._send = send

    # ------------------------------------------------------------------ what has happened

    def posted(self, message: Message) -> None:
        """`message`, and `app_mention` besides with the same ts if it names the bot; not in direct conversations."""
        ws, channel = self._ws, self._ws.channels[message.channel]
        body = message_json(ws, message, event=True, metadata=True)
        place = {"channel": channel.id, "event_ts": message.ts}
        self._tell(f"message.{channel.kind.scope}", body | place | {"channel_type": channel.kind.value}, channel)
        if not message.by_app and channel.kind is not Kind.DIRECT and self._mentions_bot(message.text):
            mention = body | place | {"type": "app_mention"}
            mention.pop("subtype", None)
            self._tell("app_mention", mention, channel)

    def before(self, message: Message) -> Json:
        """A message as it is before a change, for `previous_message`."""
        return message_json(self._ws, message, metadata=True)

    def changed(self, message: Message, before: Json, *, tombstone: bool = False) -> None:
        """`message_changed`; a parent that was deleted has become a tombstone."""
        after = message_json(self._ws, message, metadata=True)
        if tombstone:
            after["hidden"] = True
        self._subtype("message_changed", message, {"message": after, "previous_message": before})

    def deleted(self, message: Message, before: Json) -> None:
        """`message_deleted`."""
        self._subtype("message_deleted", message, {"previous_message": before, "deleted_ts": message.ts})

    def reacted(self, message: Message, user: str, emoji: str, *, added: bool) -> None:
        """`reaction_added`, `reaction_removed`."""
        item = {"type": "message", "channel": message.channel, "ts": message.ts}
        name = "reaction_added" if added else "reaction_removed"
        body = {"type": name, "user": user, "reaction": emoji, "item_user": message.user, "item": item}
        self._tell(name, body | {"event_ts": self._ws.new_ts()}, self._ws.channels[message.channel])

    def joined(self, channel: Channel, user: str) -> None:
        """`member_joined_channel`, also of the bot itself."""
        body = {
            "type": "member_joined_channel",
            "user": user,
            "channel": channel.id,
            "channel_type": channel.id[0],
            "team": self._ws.team_id,
            "event_ts": self._ws.new_ts(),
        }
        self._tell("member_joined_channel", body, channel)

    def session_stopped(self, channel: Channel, thread: str, user: str, streams: list[str]) -> None:
        """`agent_session_stopped`: somebody has pressed Stop beside what the app was doing."""
        body = {
            "type": "agent_session_stopped",
            "channel": channel.id,
            "thread_ts": thread,
            "user": user,
            "streaming_message_ts": streams,
            "event_ts": self._ws.new_ts(),
        }
        self._tell("agent_session_stopped", body, channel)

    def assistant_opened(self, channel: Channel, thread: str, user: str) -> None:
        """`assistant_thread_started`: somebody has opened the app's own pane."""
        place: Json = {"user_id": user, "channel_id": channel.id, "thread_ts": thread, "context": {}}
        body: Json = {"type": "assistant_thread_started", "assistant_thread": place, "event_ts": self._ws.new_ts()}
        self._tell("assistant_thread_started", body, channel)

    def home_opened(self, channel: Channel, user: str) -> None:
        """`app_home_opened` of the Messages tab."""
        body = {"type": "app_home_opened", "user": user, "channel": channel.id, "tab": "messages"}
        self._tell("app_home_opened", body | {"event_ts": self._ws.new_ts()}, channel)

    # ------------------------------------------------------------------ how it is told

    def _mentions_bot(self, text: str) -> bool:
        return re.search(rf"<@{self._ws.app.user_id}(\|[^>]*)?>", text) is not None

    def _subtype(self, subtype: str, message: Message, more: Json) -> None:
        channel = self._ws.channels[message.channel]
        ts = self._ws.new_ts()
        body = {"type": "message", "subtype": subtype, "hidden": True, "channel": channel.id, "ts": ts, "event_ts": ts}
        self._tell(f"message.{channel.kind.scope}", body | {"channel_type": channel.kind.value} | more, channel)

    def _tell(self, name: str, event: Json, channel: Channel) -> None:
        app = self._ws.app
        scopes = EVENT_SCOPES[name]
        allowed = not scopes or not app.scopes.isdisjoint(scopes)
        if name in app.events and allowed and app.user_id in channel.members:
            self._send(self.callback(event))

    def callback(self, event: Json) -> Json:
        """The envelope of an event. Its `event_id` is the same in each delivery."""
        ws = self._ws
        author = {"team_id": ws.team_id, "user_id": ws.app.user_id, "is_bot": True}
        return {
            "token": "unused-verification-token",
            "team_id": ws.team_id,
            "context_team_id": ws.team_id,
            "api_app_id": ws.app.id,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{uuid.uuid4().hex[:10].upper()}",
            "event_time": int(time.time()),
            "authorizations": [author | {"enterprise_id": None, "is_enterprise_install": False}],
            "is_ext_shared_channel": False,
            "event_context": f"4-{uuid.uuid4().hex}",
        }

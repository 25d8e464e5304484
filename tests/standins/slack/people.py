"""What people do: they write, edit, press and command. The driver of every test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from tests.standins.slack.blocks import buttons
from tests.standins.slack.errors import NotThere
from tests.standins.slack.events import Events
from tests.standins.slack.interactions import Ack, Interactions
from tests.standins.slack.methods.agents import STOPPED
from tests.standins.slack.model import Channel, File, Json, Kind, Message, User
from tests.standins.slack.render import view
from tests.standins.slack.texts import typed
from tests.standins.slack.workspace import Workspace

DIRECT = "dm"
"""As a channel: the person's direct conversation with the bot."""
Files = Mapping[str, bytes]
"""Contents by name."""


class Person:
    """Somebody in the workspace.

    Channels are given by id, by name (`general`, `#general`) or as `dm`. Texts are typed as in Slack: `@name` and
    `#name` become mentions, links become links, and `<`, `>`, `&` arrive as entities.
    """

    def __init__(self, ws: Workspace, user: User, events: Events, interactions: Interactions) -> None:
        self._ws = ws
        self._user = user
        self._events = events
        self._interactions = interactions

    @property
    def id(self) -> str:
        """The user id."""
        return self._user.id

    @property
    def name(self) -> str:
        """The display name."""
        return self._user.name

    @property
    def dm(self) -> str:
        """The id of his direct conversation with the bot."""
        return self._ws.direct(self.id).id

    # ------------------------------------------------------------------ writing

    async def says(
        self,
        channel: str,
        text: str,
        *,
        thread: str | None = None,
        mention: bool = False,
        files: Files | None = None,
        broadcast: bool = False,
        raw: bool = False,
    ) -> str:
        """Writes a message.

        Args:
            channel: where.
            text: as typed.
            thread: ts of the thread's root.
            mention: whether the bot is mentioned at the beginning.
            files: that are attached.
            broadcast: whether a reply is shown in the channel too.
            raw: whether the text is what Slack would store, not what is typed.

        Returns:
            Its ts.

        Raises:
            NotThere: no such channel or thread, or he isn't let in.
        """
        room = self._inside(channel)
        if thread is not None and (thread not in room.messages or room.messages[thread].thread_ts):
            raise NotThere(f"{thread} in {room.name} is no message that a thread begins with")
        text = text if raw else typed(text, self._names())
        if mention:
            text = f"<@{self._ws.app.user_id}> {text}".strip()
        message = self._ws.typed_by(
            self.id, room.id, text, thread_ts=thread, broadcast=broadcast, files=self._files(files, room)
        )
        return self._ws.post(message).ts

    async def edits(self, channel: str, ts: str, text: str) -> None:
        """Changes what he wrote."""
        self._ws.edit(self._own(channel, ts), text=typed(text, self._names()))

    async def deletes(self, channel: str, ts: str) -> None:
        """Deletes what he wrote."""
        self._ws.delete(self._own(channel, ts))

    async def reacts(self, channel: str, ts: str, emoji: str) -> None:
        """Adds a reaction."""
        self._ws.react(self._ws.find(self._room(channel).id, ts), self.id, emoji)

    async def unreacts(self, channel: str, ts: str, emoji: str) -> None:
        """Takes a reaction back."""
        self._ws.react(self._ws.find(self._room(channel).id, ts), self.id, emoji, added=False)

    # ------------------------------------------------------------------ pressing and commanding

    async def presses(self, channel: str, ts: str, button: str | int, *, option: str | None = None) -> Ack:
        """Presses a button of a message.

        Args:
            channel: where.
            ts: of the message, an ephemeral one included.
            button: its text, its action_id, or its place among all buttons of the message.
            option: what is chosen, in a menu.

        Raises:
            NotThere: there is no such button to be seen.
        """
        room, message = self._room(channel), self._ws.find(self._room(channel).id, ts)
        block, element = self._button(message, button)
        more = {} if option is None else {"selected_option": _chosen(element, option)}
        return await self._interactions.press(self._user, room, message, block, element, **more)

    async def forges(self, channel: str, ts: str, action_id: str, value: str, **more: Any) -> Ack:
        """Sends the press of a button that isn't there: another id or value than the app has ever shown.

        Args:
            channel: where.
            ts: of any message.
            action_id: as the forger likes.
            value: as the forger likes.
            more: further fields of the action.
        """
        room, message = self._room(channel), self._ws.find(self._room(channel).id, ts)
        element = {"type": "button", "action_id": action_id, "value": value, "text": _plain("forged")}
        return await self._interactions.press(self._user, room, message, {"block_id": "forged"}, element, **more)

    async def commands(self, command: str, text: str, channel: str) -> Ack:
        """Sends a slash command."""
        return await self._interactions.command(self._user, self._room(channel), command, text)

    async def stops(self, channel: str, thread: str) -> None:
        """Presses Slack's own Stop button of an agent session, which ends its streams too.

        Raises:
            NotThere: no such button is shown, because nothing is `processing` or the app doesn't listen for it.
        """
        ws, room = self._ws, self._room(channel)
        session = ws.sessions.get((room.id, thread))
        if session is None or session.status != "processing" or STOPPED not in ws.app.events:
            raise NotThere(f"no Stop button in {room.name} {thread}")
        streams: list[str] = []
        for message in room.replies(thread):
            if message.stream and message.stream.state == "in_progress":
                message.stream.state = "stopped"
                streams.append(message.ts)
        self._events.session_stopped(room, thread, self.id, streams)
        ws.touch()

    # ------------------------------------------------------------------ coming, going, looking

    async def joins(self, channel: str) -> None:
        """Comes into a channel."""
        self._ws.join(self._room(channel), self.id)

    async def leaves(self, channel: str) -> None:
        """Leaves a channel."""
        self._ws.leave(self._room(channel), self.id)

    async def invites_bot(self, channel: str) -> None:
        """Takes the bot into a channel."""
        self._ws.join(self._room(channel), self._ws.app.user_id)

    async def removes_bot(self, channel: str) -> None:
        """Throws the bot out."""
        self._ws.leave(self._room(channel), self._ws.app.user_id)

    async def opens_chat(self) -> None:
        """Opens the Messages tab of the app."""
        self._events.home_opened(self._ws.direct(self.id), self.id)

    async def opens_assistant(self) -> str:
        """Opens the app's own pane, in apps that have it: a thread in the direct conversation. Returns its ts."""
        ws, room = self._ws, self._ws.direct(self.id)
        root = Message(
            channel=room.id, ts=ws.new_ts(), user=ws.app.user_id, by_app=True, text="New Assistant Thread",
            subtype="assistant_app_thread",
        )  # fmt: skip
        ws.post(root)
        self._events.assistant_opened(room, root.ts, self.id)
        return root.ts

    def sees(self, channel: str, thread: str | None = None) -> list[str]:
        """What stands before him: `name: text` of each message of a channel or a thread, what only he sees included."""
        room = self._room(channel)
        private = [one for one in self._ws.ephemerals if one.channel == room.id and one.ephemeral_for == self.id]
        all_of_it = sorted([*room.messages.values(), *private], key=lambda one: one.ts)
        if thread is None:
            shown = [one for one in all_of_it if one.thread_ts is None or one.broadcast]
        else:
            shown = [one for one in all_of_it if one.root == thread]
        return [f"{self._author(one)}: {view(self._ws, one)}" for one in shown]

    # ------------------------------------------------------------------ small things

    def _author(self, message: Message) -> str:
        user = self._ws.users.get(message.user)
        return user.name if user else message.user

    def _room(self, channel: str) -> Channel:
        return room_of(self._ws, channel, self._user)

    def _inside(self, channel: str) -> Channel:
        """A channel that he can write in; a public one he joins on the way, and nobody is told."""
        room = self._room(channel)
        if self.id not in room.members:
            if room.kind is not Kind.PUBLIC:
                raise NotThere(f"{self.name} isn't in {room.name}")
            room.members.add(self.id)
        return room

    def _own(self, channel: str, ts: str) -> Message:
        message = self._ws.find(self._room(channel).id, ts)
        if message.user != self.id:
            raise NotThere(f"{ts} isn't {self.name}'s")
        return message

    def _names(self) -> dict[str, str]:
        users = {f"@{user.name}": f"<@{user.id}>" for user in self._ws.users.values()}
        rooms = {f"#{room.name}": f"<#{room.id}|{room.name}>" for room in self._ws.channels.values()}
        return users | rooms

    def _files(self, files: Files | None, room: Channel) -> list[File]:
        added: list[File] = []
        for name, content in (files or {}).items():
            file = self._ws.add_file(PurePath(name).name, content, self.id)
            file.channels.append(room.id)
            added.append(file)
        return added

    def _button(self, message: Message, button: str | int) -> tuple[Json, Json]:
        found = list(buttons(message.blocks))
        if message.stream:
            found = [*buttons(message.stream.extra), *found]
        for index, (block, element) in enumerate(found):
            text = element.get("text", {}).get("text")
            if button in (index, text, element.get("action_id")):
                return block, element
        raise NotThere(f"no button {button!r} in {message.ts}:\n{view(self._ws, message)}")


def room_of(ws: Workspace, channel: str, user: User | None = None) -> Channel:
    """A channel by id or name, or a person's direct conversation as `dm`.

    Raises:
        NotThere: there is none.
    """
    if channel == DIRECT and user is not None:
        return ws.direct(user.id)
    if channel in ws.channels:
        return ws.channels[channel]
    for room in ws.channels.values():
        if room.name == channel.lstrip("#"):
            return room
    raise NotThere(f"no channel {channel!r}; there are {sorted(room.name for room in ws.channels.values())}")


def _chosen(element: Json, option: str) -> Json:
    for one in element.get("options", ()):
        if option in (one["text"]["text"], one.get("value")):
            return one
    raise NotThere(f"no option {option!r} in the menu")


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}

"""What people do, told to a workspace in another process: the words of `people.py`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from tests.standins.slack.interactions import Ack


class Asks(Protocol):
    """Who passes a verb on to the workspace."""

    async def ask(self, verb: str, **arguments: Any) -> Any: ...


class RemotePerson:
    """Somebody in the workspace; see `Person`."""

    def __init__(self, remote: Asks, name: str, user_id: str, dm: str) -> None:
        self._remote = remote
        self.name = name
        self.id = user_id
        self.dm = dm
        """The id of his direct conversation with the bot."""

    async def says(
        self,
        channel: str,
        text: str,
        *,
        thread: str | None = None,
        mention: bool = False,
        files: Mapping[str, bytes] | None = None,
        broadcast: bool = False,
        raw: bool = False,
    ) -> str:
        """Writes a message; returns its ts."""
        content = {name: base64.b64encode(data).decode() for name, data in (files or {}).items()}
        how = {"thread": thread, "mention": mention, "broadcast": broadcast, "raw": raw}
        return str(await self._do("says", channel=channel, text=text, files=content, **how))

    async def edits(self, channel: str, ts: str, text: str) -> None:
        """Changes what he wrote."""
        await self._do("edits", channel=channel, ts=ts, text=text)

    async def deletes(self, channel: str, ts: str) -> None:
        """Deletes what he wrote."""
        await self._do("deletes", channel=channel, ts=ts)

    async def reacts(self, channel: str, ts: str, emoji: str) -> None:
        """Adds a reaction."""
        await self._do("reacts", channel=channel, ts=ts, emoji=emoji)

    async def unreacts(self, channel: str, ts: str, emoji: str) -> None:
        """Takes a reaction back."""
        await self._do("unreacts", channel=channel, ts=ts, emoji=emoji)

    async def presses(self, channel: str, ts: str, button: str | int, *, option: str | None = None) -> Ack:
        """Presses a button, or chooses an option of a menu."""
        return Ack(**await self._do("presses", channel=channel, ts=ts, button=button, option=option))

    async def forges(self, channel: str, ts: str, action_id: str, value: str, **more: Any) -> Ack:
        """Sends the press of a button that isn't there."""
        return Ack(**await self._do("forges", channel=channel, ts=ts, action_id=action_id, value=value, **more))

    async def commands(self, command: str, text: str, channel: str) -> Ack:
        """Sends a slash command."""
        return Ack(**await self._do("commands", command=command, text=text, channel=channel))

    async def stops(self, channel: str, thread: str) -> None:
        """Presses Slack's own Stop."""
        await self._do("stops", channel=channel, thread=thread)

    async def joins(self, channel: str) -> None:
        """Comes into a channel."""
        await self._do("joins", channel=channel)

    async def leaves(self, channel: str) -> None:
        """Leaves a channel."""
        await self._do("leaves", channel=channel)

    async def invites_bot(self, channel: str) -> None:
        """Takes the bot into a channel."""
        await self._do("invites_bot", channel=channel)

    async def removes_bot(self, channel: str) -> None:
        """Throws the bot out."""
        await self._do("removes_bot", channel=channel)

    async def opens_chat(self) -> None:
        """Opens the Messages tab of the app."""
        await self._do("opens_chat")

    async def sees(self, channel: str, thread: str | None = None) -> list[str]:
        """What stands before him."""
        return list(await self._do("sees", channel=channel, thread=thread))

    async def _do(self, verb: str, **arguments: Any) -> Any:
        return await self._remote.ask(verb, user=self.name, **arguments)

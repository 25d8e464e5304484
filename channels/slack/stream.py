"""Answers that appear in Slack while they are written: as Slack's own stream, or as edits of a message.

A Slack stream can only grow. Where the text so far isn't the beginning of the new one (a step with tools was followed
by another) the new one is added below; the final text takes the place of all of it. A stream lives for some minutes;
after that its message is edited.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from slack_sdk.models.messages.chunk import Chunk, MarkdownTextChunk, TaskUpdateChunk

from channels.slack.client import Api, Payload
from channels.slack.identity import Names
from channels.slack.markdown import ROOM, harmless
from gateway.cards import CardRow
from gateway.channel import DeliveryError

LABEL_CHARS = 80
TITLE_CHARS = 240
"""Slack takes 256 in each field of a task."""
EDIT_SECONDS = 2.0
"""Slack allows fewer edits than pieces of a stream."""
ENDED = "message_not_in_streaming_state"


class Edits:
    """A message that is edited: what a stream has left when it ended, or when the process died."""

    def __init__(self, api: Api, channel: str, ts: str, names: Names, metadata: Payload) -> None:
        self.platform_id = ts
        self.streaming = False
        """Whether Slack takes the message for a stream."""
        self._api = api
        self._channel = channel
        self._names = names
        self._metadata = metadata
        self._shown: str | None = None
        self._next_at = 0.0

    async def show(self, text: str, tasks: Sequence[CardRow]) -> None:
        """See `Live.show`; tasks come with the card."""
        safe = harmless(text, self._names.users, partial=True)[:ROOM]
        if not safe or safe == self._shown:
            return
        now = time.monotonic()
        if now < self._next_at:
            raise DeliveryError("too soon after the last edit", retry_after=self._next_at - now)
        self._next_at, self._shown = now + EDIT_SECONDS, None
        where: Payload = {"channel": self._channel, "ts": self.platform_id, "metadata": self._metadata}
        await self._api("chat_update", markdown_text=safe, **where)
        self._shown = safe

    def holds(self, text: str) -> bool:
        """Whether the message is known to be this text and nothing else."""
        return self._shown == text


class Stream:
    """A stream of Slack's, with sub-agents as its tasks."""

    def __init__(self, api: Api, channel: str, ts: str, names: Names, metadata: Payload) -> None:
        self.platform_id = ts
        self.streaming = True
        """Whether Slack takes the message for a stream."""
        self._api = api
        self._channel = channel
        self._names = names
        self._metadata = metadata
        self._text = ""
        """What `show` was last called with, as far as it is shown."""
        self._shown = ""
        """The text that stands there."""
        self._exact = True
        """Whether that is known: no answer was lost."""
        self._tasks: dict[str, CardRow] = {}
        self._edits: Edits | None = None
        """What goes on after its end."""

    async def show(self, text: str, tasks: Sequence[CardRow]) -> None:
        """See `Live.show`."""
        if self._edits is None:
            try:
                await self._append(text, tasks)
            except DeliveryError as error:
                if error.code != ENDED:
                    raise
                self.streaming = False
                self._edits = Edits(self._api, self._channel, self.platform_id, self._names, self._metadata)
        if self._edits is not None:
            await self._edits.show(text, tasks)

    def holds(self, text: str) -> bool:
        """Whether the message is known to be this text and nothing else."""
        if self._edits is not None:
            return self._edits.holds(text)
        return self._exact and not self._tasks and self._shown == text

    async def _append(self, text: str, tasks: Sequence[CardRow]) -> None:
        safe = harmless(text, self._names.users, partial=True)[:ROOM]
        more = safe[len(self._text) :] if safe.startswith(self._text) else f"\n\n{safe}"
        if len(self._shown) + len(more) > ROOM:
            more = ""
        changed = [row for row in tasks if self._tasks.get(row.id) != row]
        pieces: list[Chunk] = [_task(row) for row in changed]
        if more:
            pieces.append(MarkdownTextChunk(text=more))
        if not pieces:
            return
        self._tasks.update((row.id, row) for row in changed)
        try:
            await self._api("chat_appendStream", channel=self._channel, ts=self.platform_id, chunks=pieces)
        except DeliveryError as error:
            self._exact = self._exact and not error.uncertain
            raise
        if more:
            self._shown, self._text = self._shown + more, safe


def _task(row: CardRow) -> TaskUpdateChunk:
    """What changes stands in the title: Slack replaces it, and appends to everything else."""
    title = f"{row.icon} {row.label[:LABEL_CHARS]} · {row.detail}" if row.detail else f"{row.icon} {row.label}"
    return TaskUpdateChunk(id=row.id, title=harmless(title)[:TITLE_CHARS], status=row.state)

"""Answers that appear in Slack while they are written: as Slack's own stream, or as edits of a message.

A Slack stream can only grow. Where the text so far isn't the beginning of the new one (a step with tools was followed
by another) the new one is added below; the final text takes the place of all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from slack_sdk.models.messages.chunk import Chunk, MarkdownTextChunk, TaskUpdateChunk

from channels.slack.client import Api
from channels.slack.identity import Names
from channels.slack.markdown import ROOM, harmless
from gateway.cards import CardRow

LABEL_CHARS = 80
DETAIL_CHARS = 200


class Stream:
    """A stream of Slack's, with sub-agents as its tasks."""

    def __init__(self, api: Api, channel: str, ts: str, names: Names) -> None:
        self.platform_id = ts
        self.shown = ""
        """The text that it shows."""
        self._api = api
        self._channel = channel
        self._names = names
        self._text = ""
        """What `show` was last called with, as far as it is shown."""
        self._tasks: dict[str, CardRow] = {}

    async def show(self, text: str, tasks: Sequence[CardRow]) -> None:
        """See `Live.show`."""
        safe = harmless(text, self._names.users, partial=True)[:ROOM]
        more = safe[len(self._text) :] if safe.startswith(self._text) else f"\n\n{safe}"
        if len(self.shown) + len(more) > ROOM:
            more = ""
        changed = [row for row in tasks if self._tasks.get(row.id) != row]
        pieces: list[Chunk] = [_task(row) for row in changed]
        if more:
            pieces.append(MarkdownTextChunk(text=more))
        if not pieces:
            return
        await self._api("chat_appendStream", channel=self._channel, ts=self.platform_id, chunks=pieces)
        if more:
            self.shown, self._text = self.shown + more, safe
        self._tasks.update((row.id, row) for row in changed)


class Edits:
    """A message that is edited: what a stream has left when the process died."""

    def __init__(self, api: Api, channel: str, ts: str, names: Names) -> None:
        self.platform_id = ts
        self._api = api
        self._channel = channel
        self._names = names

    async def show(self, text: str, tasks: Sequence[CardRow]) -> None:
        """See `Live.show`; tasks come with the card."""
        safe = harmless(text, self._names.users, partial=True)[:ROOM]
        if safe:
            await self._api("chat_update", channel=self._channel, ts=self.platform_id, markdown_text=safe)


def _task(row: CardRow) -> TaskUpdateChunk:
    return TaskUpdateChunk(
        id=row.id,
        title=f"{row.icon} {row.label}"[:LABEL_CHARS],
        status=row.state,
        details=row.detail[:DETAIL_CHARS],
    )

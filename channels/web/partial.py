"""A streamed answer as HTML, piece by piece.

Rendering the whole text at every update would cost more the longer it gets. So blocks that are finished are rendered
once: a block is finished when another one follows it; the open rest is rendered again at each update.
"""

from __future__ import annotations

from dataclasses import dataclass

from channels.web import markdown


@dataclass(frozen=True, slots=True)
class Update:
    """What a page does to what it shows of an answer."""

    reset: bool
    """It begins anew: what is shown so far is void."""
    done: str
    """HTML of blocks that have become finished, to be added for good."""
    tail: str
    """HTML of the open rest, in the place of the one before."""


class Partial:
    """One answer under way."""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self._text = ""
        self._done = 0
        self._fresh = True

    def extend(self, text: str) -> None:
        """More of it."""
        self._text += text

    def replace(self, text: str) -> None:
        """This is all of it, whatever came before."""
        self._text, self._done, self._fresh = text, 0, True

    def update(self) -> Update:
        """What has changed since the last update."""
        rest = self._text[self._done :]
        finished = finished_length(rest)
        done = markdown.parser().render(rest[:finished]) if finished else ""
        self._done += finished
        fresh, self._fresh = self._fresh, False
        return Update(fresh, done, markdown.parser().render(rest[finished:]))


def finished_length(text: str) -> int:
    """How many characters at the start of a Markdown text are finished blocks."""
    blocks = [
        token.map[0] for token in markdown.parser().parse(text) if token.level == 0 and token.map and token.nesting >= 0
    ]
    if len(blocks) < 2:
        return 0
    return sum(len(line) + 1 for line in text.split("\n")[: blocks[-1]])

"""An answer while it is written: which of its Markdown blocks are finished, and what is still open.

Finished blocks are handed out once, to be printed for good; the open rest is shown live. A block is finished when
another one follows it. When the text turns out to be another one (a try was restarted), what was printed stays and the
new text is handed out whole.
"""

from __future__ import annotations

from markdown_it import MarkdownIt

_parser = MarkdownIt().enable("table").enable("strikethrough")


class AnswerStream:
    """One answer as it comes."""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self._text = ""
        self._shown = ""
        """What was handed out. Always a start of the text, or longer while a repeated answer catches up with it."""

    @property
    def open(self) -> str:
        """What is written but not handed out."""
        return self._text[len(self._shown) :]

    @property
    def begun(self) -> bool:
        """Whether anything was handed out."""
        return bool(self._shown)

    def append(self, text: str) -> None:
        """Adds what came."""
        self._set(self._text + text)

    def replace(self, text: str) -> None:
        """The text so far is this one: a try was restarted, or the connection."""
        self._set(text)

    def take_finished(self) -> str:
        """The blocks that are finished since the last call; may be empty."""
        chunk = self.open[: finished_length(self.open)]
        self._shown += chunk
        return chunk

    def take_rest(self, final: str) -> str:
        """What of the final text hasn't been handed out; the stream is done."""
        for prefix in (self._shown, self._shown.strip()):
            if prefix and final.startswith(prefix):
                return final[len(prefix) :]
        return final

    def _set(self, text: str) -> None:
        self._text = text
        # After a crash the same answer often comes again: what stands on the screen isn't printed twice.
        if not (text.startswith(self._shown) or self._shown.startswith(text)):
            self._shown = ""


def finished_length(text: str) -> int:
    """How many characters at the start of a Markdown text are finished blocks."""
    starts = [token.map[0] for token in _parser.parse(text) if token.level == 0 and token.map and token.nesting >= 0]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in text.split("\n")[: starts[-1]])

"""The keyboard of a chat: held from before the greeting to the end, so that typing ahead is typing.

A terminal left to itself echoes what is typed while nobody reads, and turns Enter into Ctrl-J, which breaks a line
here. prompt_toolkit takes the terminal for each prompt and lets go of it for each line that it prints, so that whatever
was typed in between came out twice and was not sent.
"""

from __future__ import annotations

import termios
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100 import Vt100Input

_AS_PRESSED = str.maketrans({"\n": "\r", "\0": "\x04"})
"""What the terminal makes of Enter and of Ctrl-D before it is held, and the keys that they were."""
_INPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 0, 3, 6
"""Places in the list of `termios.tcgetattr`."""


class Keyboard(Vt100Input):
    """Keys as they are pressed. Made with stdin, which must be a terminal."""

    def cooked_mode(self) -> AbstractContextManager[None]:
        """Nothing: what is printed between two prompts reads no keys."""
        return nullcontext()

    @contextmanager
    def held(self) -> Generator[None]:
        """Nothing that is typed is echoed, and every key waits for the next prompt; Ctrl-C is a signal.

        What was typed even earlier is handed to the first prompt.
        """
        with self._without(termios.ECHO | termios.ICANON | termios.IEXTEN, termios.ICRNL | termios.INLCR):
            while early := self.stdin_reader.read():
                self.vt100_parser.feed(early.translate(_AS_PRESSED))
            store_typeahead(self, self.flush_keys())
            yield

    def signals_as_keys(self) -> AbstractContextManager[None]:
        """Ctrl-C is a key like the others, between two prompts as well."""
        return self._without(termios.ISIG, termios.IXON)

    @contextmanager
    def _without(self, local: int, on_input: int) -> Generator[None]:
        before = termios.tcgetattr(self.fileno())
        # Read afresh: the list of control characters in it is changed below.
        held = termios.tcgetattr(self.fileno())
        held[_INPUT_FLAGS] &= ~on_input
        held[_LOCAL_FLAGS] &= ~local
        held[_CHARACTERS][termios.VMIN] = 1
        termios.tcsetattr(self.fileno(), termios.TCSANOW, held)
        try:
            yield
        finally:
            with suppress(termios.error):  # the terminal itself may be gone by now
                termios.tcsetattr(self.fileno(), termios.TCSANOW, before)

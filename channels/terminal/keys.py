"""The chat's keys and colours."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.styles import Style

STYLE = Style.from_dict(
    {
        "mark": "bold ansicyan",
        "bottom-toolbar": "noreverse",
        "toolbar.dim": "ansibrightblack",
        "toolbar.turn": "ansicyan",
        "toolbar.run": "ansigreen",
        "toolbar.label": "bold",
    }
)


def bindings(interrupt: Callable[[], None], leave: Callable[[], None]) -> KeyBindings:
    """Enter sends, Esc Enter and Ctrl-J break the line, Ctrl-C interrupts, Ctrl-D on an empty line leaves."""
    table = KeyBindings()
    empty = Condition(lambda: not get_app().current_buffer.text)

    @table.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @table.add("escape", "enter")
    @table.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @table.add("c-c")
    @table.add("<sigint>")
    def _(_event: KeyPressEvent) -> None:
        interrupt()

    @table.add("c-d", filter=empty)
    def _(_event: KeyPressEvent) -> None:
        leave()

    return table

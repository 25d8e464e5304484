"""What a command line asks for, found without a parser."""

from __future__ import annotations

from collections.abc import Sequence


def command_of(arguments: Sequence[str]) -> str | None:
    """The command's name: the first word that is neither an option nor the value of `--config`."""
    rest = iter(arguments)
    for word in rest:
        if word == "--config":
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None

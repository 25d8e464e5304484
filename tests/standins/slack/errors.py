"""How the workspace says no."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """A call that Slack answers with `ok: false`.

    Args:
        error: Slack's code.
        details: lines of `response_metadata.messages`.
        fault: whether a correct client could have known better; such refusals fail the test.
        extra: further fields of the answer.
    """

    def __init__(self, error: str, *details: str, fault: bool = True, **extra: Any) -> None:
        super().__init__(error, *details)
        self.error = error
        self.details = details
        self.fault = fault
        self.extra = extra

    @property
    def said(self) -> str:
        """The code and what is wrong, for the list of faults."""
        return " ".join((self.error, *self.details))


class Timeout(AssertionError):
    """What a test waited for didn't come."""


class NotThere(LookupError):
    """A test named something that the workspace doesn't have."""

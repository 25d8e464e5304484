"""What the Bot API says when it refuses a call, word for word where the words are known.

A refusal is a *fault* of the bot unless the bot couldn't have known better (a person has blocked it, a chat has moved)
or a test asked for it.
"""

from __future__ import annotations

from typing import Any

BAD_REQUEST = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
TOO_MANY = 429
NOT_MODELLED = 501


class Refusal(Exception):
    """A call that is answered with `ok: false`.

    Args:
        description: as the API words it, with its prefix ("Bad Request: …").
        code: HTTP status and `error_code`.
        parameters: `ResponseParameters`, for example `{"retry_after": 3}`.
        fault: the bot should have known better; False for what people did to it.
    """

    def __init__(
        self, description: str, *, code: int = BAD_REQUEST, fault: bool = True, parameters: dict[str, Any] | None = None
    ) -> None:
        super().__init__(description)
        self.description = description
        self.code = code
        self.fault = fault
        self.parameters = parameters or {}

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        body: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        return {**body, "parameters": self.parameters} if self.parameters else body


def bad(reason: str, *, fault: bool = True) -> Refusal:
    """400."""
    return Refusal(f"Bad Request: {reason}", fault=fault)


def forbidden(reason: str) -> Refusal:
    """403: people have shut the bot out, which it learns when it tries."""
    return Refusal(f"Forbidden: {reason}", code=FORBIDDEN, fault=False)


def conflict(reason: str) -> Refusal:
    """409: two receivers."""
    return Refusal(f"Conflict: {reason}", code=CONFLICT)


def too_many(retry_after: int) -> Refusal:
    """429, as the flood limits give it."""
    text = f"Too Many Requests: retry after {retry_after}"
    return Refusal(text, code=TOO_MANY, parameters={"retry_after": retry_after})


def moved(new_chat: int) -> Refusal:
    """400: the group has become a supergroup."""
    text = "Bad Request: group chat was upgraded to a supergroup chat"
    return Refusal(text, fault=False, parameters={"migrate_to_chat_id": new_chat})


def not_modelled(what: str) -> Refusal:
    """501: the real API knows it, this stand-in doesn't."""
    return Refusal(f"the stand-in doesn't model {what}", code=NOT_MODELLED)


UNMODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
STALE_QUERY = "query is too old and response timeout expired or query ID is invalid"
OTHER_POLL = "terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK_ACTIVE = "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"

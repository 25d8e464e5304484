"""What a refused request is told: a sentence in JSON, with what is wrong and what to do next."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request is refused.

    Args:
        status: the HTTP status.
        message: what is wrong.
        field: the part of the body, the query or the headers that is wrong.
        hint: what to do next.
        code: a word for programs.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.hint = hint
        self.code = code

    def body(self, path: str) -> dict[str, Any]:
        """The error as JSON, in the form that clients of this path know."""
        error: dict[str, Any] = {"message": self.message}
        if self.field:
            error["field"] = self.field
        if self.hint:
            error["hint"] = self.hint
        if self.code:
            error["code"] = self.code
        if path.startswith("/v1/"):
            if self.hint:
                error["message"] = f"{self.message} ({self.hint})"
            kind = "server_error" if self.status >= 500 else "invalid_request_error"
            error |= {"type": kind, "param": self.field, "code": self.code}
        return {"error": error}

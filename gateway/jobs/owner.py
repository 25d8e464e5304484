"""Who submits and steers jobs: an identity that comes from the authenticated caller, never from a parameter."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.store.runs import Run
from gateway.store.sessions import Session


@dataclass(frozen=True, slots=True)
class Owner:
    """A caller."""

    name: str
    """`cli`, `http:<token>` (over MCP as well), `slack:U…`, `session:<key>`: what `submittedBy` says."""
    operator: bool = False
    """Sees and may do everything."""
    session: Session | None = None
    """The conversation, or job, from which he acts; gets the announcement."""
    run: Run | None = None
    """The run that lives in it."""
    route: str | None = None
    """Where an announcement is answered."""
    guarded: bool = False
    """May never submit a protected kind, operator or not: behind him is a model (MCP)."""

    @property
    def session_id(self) -> str:
        """Of whom the job is asked for; empty if of nobody who could read an announcement."""
        return self.session.id if self.session else ""

    def scoped(self, key: str) -> str:
        """An idempotency key of his: who isn't an operator can't meet somebody else's job under one."""
        return key if self.operator else f"{self.name}/{key}"


OPERATOR = Owner("operator", operator=True)


class JobRefused(Exception):
    """A job can't be submitted, found or changed as asked; the text says why and what would be allowed.

    Args:
        field: what of the submission is wrong.
        status: `error` (what was asked for is wrong), `not_found`, or `permission_denied`.
    """

    def __init__(self, text: str, *, field: str | None = None, status: str = "error") -> None:
        super().__init__(text)
        self.field = field
        self.status = status

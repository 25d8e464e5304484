"""How a question reaches the person who may answer it: as a post on the turn's route, and as an event.

Once it is answered, expired or withdrawn, the post says so and its buttons are gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.approvals import Approval, State
from gateway.events import EventLog
from gateway.posting import Choice, Posting
from gateway.routes import Route
from gateway.store import buttons, sessions
from gateway.store.database import Transaction
from gateway.views import capped, iso

SUMMARY_CHARS = 1_500
SIGN = "🔐 "
"""What the post of a question begins with."""
_BACKTICKS = re.compile("`+")
ICONS = {State.ALLOWED: "✅", State.DENIED: "⛔", State.EXPIRED: "⌛", State.WITHDRAWN: "⚙️"}


@dataclass(frozen=True, slots=True)
class Asking:
    """Tells people of questions. `notify` is called in the transaction of every change of one."""

    posting: Posting
    events: EventLog

    def answerable(self, route: Route) -> bool:
        """Whether a person reads along on a route."""
        return route.channel in self.posting.channels and self.posting.capabilities(route).asks

    def notify(self, tx: Transaction, approval: Approval) -> None:
        """Posts a new question where the turn's answers go, and tells every change to who watches."""
        self.events.append(
            tx,
            "approval",
            {
                "id": approval.id,
                "state": approval.state.value,
                "sessionKey": approval.session_key,
                "runId": approval.run_id,
                "tool": approval.tool,
                "summary": approval.summary,
                "pattern": approval.pattern,
                "reason": approval.reason,
                "createdAt": iso(approval.created_at),
                "expiresAt": iso(approval.expires_at),
            },
            session_id=approval.session_id,
            session_key=approval.session_key,
            run_id=approval.run_id,
        )
        if approval.state is not State.PENDING:
            self._close(tx, approval)
            return
        session = sessions.find(tx, approval.session_id)
        if session is None or approval.route is None:
            return
        asker = self._asker(tx, session)
        self.posting.notice(tx, asker, approval.route.to_json(), question_text(approval), choices(approval))

    def _close(self, tx: Transaction, approval: Approval) -> None:
        """Says under the question what became of it; its buttons are how it is found."""
        post_id = buttons.post_with(tx, choices(approval)[0].command)
        if post_id is not None:
            self.posting.amend(tx, post_id, answered_text(approval))

    def _asker(self, tx: Transaction, session: sessions.Session) -> sessions.Session:
        """The conversation that a child's question is asked in: that of the main session above it."""
        while session.parent_id and (above := sessions.find(tx, session.parent_id)):
            session = above
        return session


def choices(approval: Approval) -> list[Choice]:
    """The answers that can be given with a button."""
    allow = [Choice("Allow", f"/approve {approval.id}", "primary")]
    if approval.pattern:
        allow.append(Choice("Always allow", f"/approve {approval.id} always"))
    return [*allow, Choice("Deny", f"/deny {approval.id}", "danger")]


def question_text(approval: Approval) -> str:
    """The question as a person reads it."""
    always = f" · `/approve {approval.id} always` to allow `{approval.pattern}` from now on" if approval.pattern else ""
    return f"{_wish(approval)}\n`/approve {approval.id}`{always} · `/deny {approval.id}`"


def answered_text(approval: Approval) -> str:
    """The question with what became of it."""
    return f"{_wish(approval)}\n{ICONS[approval.state]} {approval.reason or approval.state.value}"


def _wish(approval: Approval) -> str:
    who = "A sub-agent wants to run" if approval.run_id else "May I run"
    command = capped(approval.summary, SUMMARY_CHARS)
    # The command is a model's: it must not end the block that shows it.
    fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(command)), default=0))
    return f"{SIGN}{who}:\n{fence}\n{command}\n{fence}"

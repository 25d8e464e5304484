"""The tables. Times are milliseconds since the epoch, money is micro-USD, tokens are integers.

The rarer ones stand in `schema_….py`; all are imported from here. Every change comes with a migration in
`migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from gateway.store.columns import Json as _Json
from gateway.store.columns import Serial as _Serial
from gateway.store.columns import count as _count
from gateway.store.columns import flag as _flag
from gateway.store.columns import metadata as metadata
from gateway.store.schema_mcp import mcp_tools as mcp_tools
from gateway.store.schema_platforms import buttons as buttons
from gateway.store.schema_platforms import cards as cards
from gateway.store.schema_platforms import moved_chats as moved_chats
from gateway.store.schema_platforms import openings as openings
from gateway.store.schema_platforms import people as people
from gateway.store.schema_platforms import threads as threads
from gateway.store.schema_records import process_starts as process_starts
from gateway.store.schema_records import usage as usage
from gateway.store.schema_web import conversations as conversations
from gateway.store.schema_web import signin_codes as signin_codes
from gateway.store.schema_web import signins as signins

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts about this state as a whole: when the process was last seen alive, whether it stopped cleanly."""

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("current", Boolean, nullable=False, server_default=text("true")),
    # identity
    Column("agent_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("parent_id", Text),
    Column("run_id", Text),
    Column("depth", Integer, nullable=False, server_default=text("0")),
    _flag("owned"),
    # settings that live with the session
    Column("model", Text),
    Column("thinking", Text),
    Column("queue_mode", Text),
    Column("cwd", Text),
    # another transcript that this one starts with
    Column("fork_session_id", Text),
    Column("fork_from", Integer),
    Column("fork_upto", Integer),
    # the turn under way
    Column("turn_seq", Integer),
    Column("turn_route", Text),
    Column("turn_trace", Text),
    Column("last_route", Text),
    Column("person", Text),
    Column("next_seq", Integer, nullable=False, server_default=text("1")),
    Column("summary_seq", Integer),
    # state
    _flag("paused"),
    _flag("closed"),
    # claim
    Column("claimed_by", Text),
    _count("fence"),
    # poison pill
    Column("deaths", Integer, nullable=False, server_default=text("0")),
    Column("deaths_seq", Integer),
    _flag("needs_user"),
    # usage of this session's own model calls
    _count("tokens_in"),
    _count("tokens_out"),
    _count("cache_read"),
    _count("cost_micro"),
    _flag("cost_unknown"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index(
    "sessions_current_key",
    sessions.c.key,
    unique=True,
    sqlite_where=sessions.c.current.is_(True),
    postgresql_where=sessions.c.current.is_(True),
)
Index("sessions_key", sessions.c.key)
Index("sessions_parent", sessions.c.parent_id)
Index("sessions_claimed", sessions.c.claimed_by)
Index("sessions_turn", sessions.c.turn_seq)

messages = Table(
    "messages",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("role", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("route", Text),
    Column("inbox_id", BigInteger),
    Column("sender", Text),
    Column("attachments", _Json),
    # of an assistant message
    Column("calls", _Json),
    Column("provider", Text),
    Column("model", Text),
    Column("provider_state", _Json),
    Column("tokens_in", BigInteger),
    Column("tokens_out", BigInteger),
    Column("cache_read", BigInteger),
    Column("cost_micro", BigInteger),
    # of a tool result
    Column("parent_seq", Integer),
    Column("call_index", Integer),
    _flag("error"),
    # of a model call or a tool's run: when it began, and what it had to wait for
    Column("started_at", BigInteger),
    Column("waits", _Json),
    # of a summary: the last seq that it stands for
    Column("summary_upto", Integer),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("session_id", "parent_seq", "call_index", name="messages_one_result_per_call"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("dedupe", Text, nullable=False, unique=True),
    Column("route", Text),
    Column("text", Text, nullable=False),
    Column("sender", Text),
    Column("sender_id", Text),
    Column("message_id", Text),
    Column("attachments", _Json),
    Column("run_id", Text),
    Column("trace", Text),
    Column("state", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("consumed_at", BigInteger),
    Column("consumed_seq", Integer),
    sqlite_autoincrement=True,
)
Index("inbox_sender", inbox.c.sender_id, inbox.c.id)
Index("inbox_consumed", inbox.c.session_id, inbox.c.consumed_seq)
Index("inbox_waiting", inbox.c.session_id, inbox.c.state, inbox.c.due_at)
Index("inbox_due", inbox.c.state, inbox.c.due_at)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False, server_default=text("0")),
    Column("kind", Text, nullable=False),
    Column("lane", Text, nullable=False, server_default=text("'subagent'")),
    Column("session_id", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("requester_id", Text, nullable=False),
    Column("requester_key", Text, nullable=False),
    Column("parent_run_id", Text),
    Column("route", Text),
    Column("agent_id", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    # what was asked for, resolved
    Column("model", Text, nullable=False),
    Column("fallbacks", _Json),
    Column("thinking", Text),
    Column("cleanup", Text, nullable=False),
    Column("context", Text, nullable=False),
    Column("mode", Text, nullable=False, server_default=text("'run'")),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("budget_micro", BigInteger),
    Column("budget_tokens", BigInteger),
    Column("output_schema", _Json),
    Column("denied_tools", _Json),
    Column("allowed_tools", _Json),
    Column("definition", Text),
    Column("max_turns", Integer),
    _count("schema_failures"),
    # of a job: what it is given, who gave it, how it is tried again, what its end means for its parent
    Column("payload", _Json),
    Column("submitted_by", Text),
    Column("idempotency_key", Text),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("max_attempts", Integer, nullable=False, server_default=text("1")),
    Column("backoff", Text, nullable=False, server_default=text("'exponential'")),
    _count("backoff_ms"),
    _count("backoff_jitter"),
    _count("backoff_most_ms"),
    Column("on_child_fail", Text, nullable=False, server_default=text("'ignore'")),
    Column("max_children", Integer),
    Column("not_before", BigInteger),
    Column("remaining_ms", BigInteger),
    _count("reopened"),
    # life
    Column("status", Text, nullable=False),
    Column("outcome", Text),
    Column("cause", Text),
    Column("error", Text),
    Column("result", Text),
    Column("output", _Json),
    Column("state", _Json),
    _flag("paused"),
    _count("active_ms"),
    Column("waiting_since", BigInteger),
    Column("deadline_at", BigInteger),
    Column("progress", Text),
    Column("step", BigInteger),
    Column("steps", BigInteger),
    Column("last_tool", Text),
    _count("model_calls"),
    # own usage, usage of all runs below, and what is reserved for calls in flight
    _count("tokens_in"),
    _count("tokens_out"),
    _count("cache_read"),
    _count("cost_micro"),
    _flag("cost_unknown"),
    _count("below_tokens_in"),
    _count("below_tokens_out"),
    _count("below_cache_read"),
    _count("below_cost_micro"),
    _count("reserved_tokens"),
    _count("reserved_micro"),
    # relations
    Column("revived_from", Text),
    Column("retry_of", Text),
    Column("replay_of", Text),
    Column("trace", Text),
    # every status that it has had, with its time: see store/phases.py
    Column("phases", Text, nullable=False, server_default=text("''")),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("announced_at", BigInteger),
    Column("archive_at", BigInteger),
    Column("archived_at", BigInteger),
    Column("transcript_path", Text),
)
Index("runs_idempotency", runs.c.idempotency_key, unique=True)
Index("runs_number", runs.c.number, unique=True)
Index("runs_delayed", runs.c.status, runs.c.not_before)
Index("runs_session", runs.c.session_id)
Index("runs_requester", runs.c.requester_id, runs.c.status)
Index("runs_parent", runs.c.parent_run_id, runs.c.status)
Index("runs_status", runs.c.status, runs.c.created_at)
Index("runs_route", runs.c.route, runs.c.ended_at)
Index("runs_archive", runs.c.archive_at)
Index("runs_deadline", runs.c.deadline_at)

run_after = Table(
    "run_after",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("after_id", Text, primary_key=True),
)
"""Which jobs must have ended well before another one begins."""
Index("run_after_other", run_after.c.after_id)

rate_leases = Table(
    "rate_leases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
)
"""Calls in flight per provider, over all workers; one whose holder has died lapses."""
Index("rate_leases_provider", rate_leases.c.provider, rate_leases.c.until)

audit = Table(
    "audit",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("run_id", Text),
    Column("data", _Json, nullable=False),
    sqlite_autoincrement=True,
)
"""What was done that an operator may have to account for: every shell job leaves a line."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("session_id", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("seq", Integer),
    Column("route", Text, nullable=False),
    Column("kind", Text, nullable=False, server_default=text("'text'")),
    Column("text", Text, nullable=False),
    Column("card", _Json),
    Column("buttons", _Json),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", BigInteger),
    Column("error", Text),
    Column("platform_id", Text),
    _flag("streamed"),
    _flag("recovered"),
    _flag("copied"),
    Column("trace", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    sqlite_autoincrement=True,
)
Index("outbox_state", outbox.c.state, outbox.c.next_at)
Index("outbox_route", outbox.c.route, outbox.c.id)
Index("outbox_session", outbox.c.session_id, outbox.c.created_at)

events = Table(
    "events",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("type", Text, nullable=False),
    Column("session_id", Text),
    Column("session_key", Text),
    Column("run_id", Text),
    Column("data", _Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("session_id", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("run_id", Text),
    Column("agent_id", Text, nullable=False),
    Column("assistant_seq", Integer, nullable=False),
    Column("call_index", Integer, nullable=False),
    Column("route", Text),
    Column("tool", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("pattern", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    _flag("heard"),
    Column("decided_at", BigInteger),
    UniqueConstraint("session_id", "assistant_seq", "call_index", name="approvals_one_per_call"),
    sqlite_autoincrement=True,
)
Index("approvals_state", approvals.c.state)

spending = Table(
    "spending",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    _count("cost_micro"),
    _count("reserved_micro"),
)
"""What each agent has spent per UTC day, for `agents.list[].budgetUsd`."""

allowed_commands = Table(
    "allowed_commands",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("pattern", Text, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("session_id", Text, nullable=False),
    Column("pgid", Integer, nullable=False),
    Column("started", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("worker_id", Text),
    sqlite_autoincrement=True,
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("lanes", JSON, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)
"""The processes that work on sessions, each with one lease for all that it has claimed. Empty on SQLite."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

listings = Table(
    "listings",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("sender", Text, primary_key=True),
    Column("run_ids", JSON, nullable=False),
)
"""What `/subagents list` last showed to whom, so that an index means what its reader saw (spec/subagents.md 25)."""

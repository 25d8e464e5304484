"""What the HTTP API answers, as typed records: the client's half of the contract.

A record keeps fields that it doesn't know (a newer gateway may send more), so that `--json` shows everything; a field
that is missing takes a harmless default. Times are ISO 8601 in UTC, tokens are integers, money is USD.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

ACTIVE = frozenset({"queued", "delayed", "running", "waiting", "paused"})
"""Run statuses that haven't ended."""


class Record(BaseModel):
    """Base of all answers: camelCase outside, snake_case in Python, frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True, protected_namespaces=()
    )

    def data(self) -> dict[str, Any]:
        """The record as it came, for `--json`."""
        return self.model_dump(mode="json", by_alias=True)


class Tokens(Record):
    """Tokens of a session or run, its children's included."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    total: int = 0


class LaneStats(Record):
    """How full a lane is."""

    cap: int = 0
    running: int = 0
    waiting: int = 0
    oldest_wait_seconds: float | None = None


class OutboxCounts(Record):
    """Posts that have not arrived."""

    pending: int = 0
    failed: int = 0


class WorkerRecord(Record):
    """A process that works on sessions; there are none with SQLite, where the gateway is alone."""

    id: str = ""
    role: str = ""
    host: str = ""
    pid: int = 0
    lanes: list[str] = []
    concurrency: int = 0
    """0: as much as the lanes allow."""
    running: int = 0
    started_at: str = ""
    lease_until: str = ""


class Status(Record):
    """`GET /api/status`."""

    version: str = ""
    pid: int = 0
    url: str = ""
    started_at: str = ""
    uptime_seconds: float = 0
    model: str = ""
    offline: bool = False
    """The scripted stand-in answers, because no provider has a key."""
    state: str = ""
    lanes: dict[str, LaneStats] = {}
    workers: list[WorkerRecord] = []
    sessions: int = 0
    active_runs: int = 0
    outbox: OutboxCounts = OutboxCounts()
    approvals: int = 0


class Session(Record):
    """`GET /api/sessions/{key}`."""

    key: str
    session_id: str = ""
    agent_id: str = ""
    kind: str = ""
    depth: int = 0
    model: str | None = None
    thinking: str | None = None
    queue_mode: str | None = None
    busy: bool = False
    waiting: int = 0
    """Inbox rows that are not consumed yet."""
    active_runs: int = 0
    idle: bool = True
    """Nothing under way, nothing waiting, every announcement answered."""
    tokens: Tokens = Tokens()
    cost_usd: float | None = None
    created_at: str | None = None
    updated_at: str | None = None


class Call(Record):
    """A tool call inside a transcript."""

    name: str = ""
    arguments: Any = None


class Message(Record):
    """One message of a transcript."""

    seq: int = 0
    role: str = ""
    kind: str = ""
    text: str = ""
    calls: list[Call] = []
    tool: str | None = None
    error: bool | str | None = None
    model: str | None = None
    tokens: Any = None
    cost_usd: float | None = None
    created_at: str | None = None


class McpTool(Record):
    """A tool of an MCP server."""

    name: str = ""
    """As agents know it."""
    tool: str = ""
    """As its server does."""
    standing: str = ""
    why: str | None = None
    """Why it isn't used; None: it is."""
    description: str = ""
    new_description: str | None = None
    schema_changed: bool = False


class McpServer(Record):
    """An MCP server whose tools the agents use."""

    name: str = ""
    transport: str = ""
    state: str = ""
    reason: str | None = None
    title: str | None = None
    restarts: int = 0
    tools: list[McpTool] = []
    faults: list[str] = []


class McpServerPage(Record):
    """`GET /api/mcp/servers`."""

    servers: list[McpServer] = []


class McpApproved(Record):
    """`POST /api/mcp/approve`."""

    text: str = ""
    tools: list[str] = []


class Run(Record):
    """`GET /api/runs/{id}`: one sub-agent's life."""

    run_id: str
    session_key: str = ""
    requester_key: str = ""
    agent_id: str = ""
    label: str = ""
    task: str = ""
    status: str = ""
    outcome: str | None = None
    error: str | None = None
    depth: int = 0
    model: str | None = None
    thinking: str | None = None
    position: int | None = None
    tokens: Tokens = Tokens()
    cost_usd: float | None = None
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    archive_at: str | None = None
    last_tool: str | None = None
    runtime_seconds: float | None = None
    progress: str | None = None
    parent_run_id: str | None = None
    result: str | None = None
    children: list[Run] = []

    @property
    def active(self) -> bool:
        """Whether it hasn't ended."""
        return self.status in ACTIVE


class CommandInfo(Record):
    """A slash command, as completion needs it."""

    name: str
    usage: str = ""
    help: str = ""
    words: list[str] = []


class OutboxPost(Record):
    """A post and how its delivery goes."""

    id: int
    session_key: str = ""
    route: Any = None
    text: str = ""
    state: str = ""
    attempts: int = 0
    error: str | None = None
    created_at: str | None = None
    next_attempt_at: str | None = None


class Approval(Record):
    """A command that waits for a person's yes."""

    id: int
    session_key: str = ""
    run_id: str | None = None
    tool: str = ""
    summary: str = ""
    pattern: str | None = None
    created_at: str | None = None
    expires_at: str | None = None


class Sent(Record):
    """What became of a message: accepted as work, or answered at once as a slash command."""

    accepted: bool = True
    inbox_id: int | None = None
    duplicate: bool = False
    reply: str | None = None
    details: Any = None


class Reloaded(Record):
    """What a configuration reload did."""

    reloaded: bool = False
    problems: list[Any] = []
    restart_needed: list[Any] = []


class ActionReply(Record):
    """The answer to an action on a run."""

    text: str = ""


class SessionPage(Record):
    """One page of sessions."""

    sessions: list[Session] = []
    next: str | None = None


class RunPage(Record):
    """One page of runs."""

    runs: list[Run] = []
    next: str | None = None


class MessagePage(Record):
    """A piece of a transcript, oldest first."""

    session_key: str = ""
    session_id: str = ""
    messages: list[Message] = []


class CommandPage(Record):
    """All slash commands."""

    commands: list[CommandInfo] = []


class Channel(Record):
    """One channel."""

    name: str = ""
    accounts: dict[str, str] = {}
    """Each account with how its connection is."""
    capabilities: dict[str, bool] = {}


class ChannelPage(Record):
    """`GET /api/channels`."""

    channels: list[Channel] = []


class Person(Record):
    """Somebody who writes, or wants to write, directly."""

    channel: str = ""
    account: str = ""
    peer: str = ""
    name: str = ""
    state: str = ""
    code: str | None = None
    created_at: str = ""
    approved_at: str | None = None


class PeoplePage(Record):
    """`GET /api/pairing`."""

    people: list[Person] = []


class OutboxPage(Record):
    """Posts of the outbox."""

    posts: list[OutboxPost] = []


class ApprovalPage(Record):
    """Open questions."""

    approvals: list[Approval] = []


class UsageRow(Record):
    """One sum of the usage ledger; the dimensions that it is grouped by come as extra fields."""

    calls: int = 0
    tokens: Tokens = Tokens()
    cost_usd: float | None = None
    unpriced_calls: int = 0

    def key(self, name: str) -> str | None:
        """The value of a dimension; None where it isn't known."""
        value: object = (self.model_extra or {}).get(name)
        return None if value is None else str(value)


class UsagePage(Record):
    """`GET /api/usage`."""

    since: str = Field("", alias="from")
    until: str = Field("", alias="to")
    by: list[str] = []
    rows: list[UsageRow] = []
    truncated: bool = False
    total: UsageRow = UsageRow()


class SignInLink(Record):
    """A link that signs one browser in."""

    url: str = ""
    name: str = ""
    scope: str = ""
    valid_seconds: int = 0


class SignIn(Record):
    """A browser that is signed in."""

    id: str = ""
    name: str = ""
    scope: str = ""
    user_agent: str = ""
    created_at: str | None = None
    used_at: str | None = None


class SignInPage(Record):
    """`GET /api/signins`."""

    sign_ins: list[SignIn] = []

"""What a stand-in workspace is like: the app that is installed in it, its rights, and how patient Slack is."""

from __future__ import annotations

from dataclasses import dataclass, field

BOT = "xoxb-standin-bot"
SOCKET = "xapp-1-standin-socket"
CONFIGURATION = "xoxe.xoxp-standin-configuration"
SIGNING = "standin-signing-secret"

SCOPES = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:join",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "mpim:read",
    "reactions:read",
    "reactions:write",
    "team:read",
    "users:read",
)
EVENTS = (
    "agent_session_stopped",
    "app_home_opened",
    "app_mention",
    "assistant_thread_started",
    "member_joined_channel",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
    "reaction_added",
    "reaction_removed",
)
COMMANDS = ("/laneway", "/status", "/stop", "/subagents")


@dataclass(frozen=True, slots=True)
class Options:
    """How a workspace begins. Everything here can also be given as JSON to the process (`--options`)."""

    team: str = "acme"
    """Its name and domain; ids differ between workspaces of different names."""
    app: str = "Laneway"
    """The app's name; its bot is called the same in lower case."""
    bot_token: str = field(default=BOT, repr=False)
    app_token: str = field(default=SOCKET, repr=False)
    """App-level token with `connections:write`."""
    config_token: str = field(default=CONFIGURATION, repr=False)
    """App configuration token, for `apps.manifest.validate`."""
    signing_secret: str = field(default=SIGNING, repr=False)
    scopes: tuple[str, ...] = SCOPES
    """What the bot token may do."""
    events: tuple[str, ...] = EVENTS
    """Bot events that the app has subscribed to."""
    commands: tuple[str, ...] = COMMANDS
    request_url: str | None = None
    """Where events, commands and button presses are posted to, signed; None is Socket Mode."""
    ack_seconds: float = 3.0
    """How long an event, a command or a press waits for its acknowledgement."""
    retry_delays: tuple[float, ...] = (0.0, *(0.5,) * 60)
    """Seconds before each redelivery of an event that wasn't acknowledged; after the last one it is lost. Slack's own
    are (0, 60, 300): docs.slack.dev/apis/events-api, "Retries"."""
    limits: bool = False
    """Whether rate limits hold: per method by its tier, and posts per channel."""
    burst: int = 3
    """Posts that one channel takes at once before one a second holds; Slack allows "short bursts"."""
    stream_seconds: float = 300.0
    """Life of a stream, however often it is appended to. Not in Slack's documentation; apps report about five minutes
    and then `message_not_in_streaming_state`."""
    deleted_thread: str = "unthread"
    """A reply to a parent that was deleted: `unthread` posts it on top level, with no `thread_ts` in the answer, as
    apps report of Slack (github.com/slack-go/slack/issues/1571); `refuse` answers thread_not_found."""
    clock_offset: float = 0.0
    """Seconds that Slack's clock is ahead, in `Date` headers and signatures."""

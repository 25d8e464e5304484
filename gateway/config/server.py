"""The sections about the process itself: gateway, database, retention, messages, session, plugins."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from gateway.config.base import Name, Number, Section, Whole

Days = Annotated[Number, Field(ge=0, le=36_500)]


class QueueConfig(Section):
    """What happens to messages that come while a session is working (`spec/channels.md` 4)."""

    mode: Literal["steer", "followup", "collect", "interrupt"] = Field(
        default="steer",
        description="Into the running turn, each its own turn, all in one turn, or stop and run the newest.",
    )
    cap: Whole = Field(default=20, ge=1, le=10_000, description="Messages of people that may wait in one session.")
    drop: Literal["summarize", "old", "new"] = Field(
        default="summarize",
        description="What gives way beyond the cap: the oldest with a summary, the oldest, the newest.",
    )
    debounce_ms: Whole = Field(
        default=500, ge=0, le=600_000, description="Milliseconds of quiet before `collect` begins."
    )


class MessagesConfig(Section):
    """How messages are taken in."""

    queue: QueueConfig = Field(default=QueueConfig(), description="Messages that come while a session is working.")


class ThreadBindingsConfig(Section):
    """How long a thread belongs to a sub-agent (`spec/channels.md`, thread-bound sub-agents)."""

    idle_hours: Annotated[Number, Field(ge=0, le=87_600)] = Field(
        default=24, description="Hours without a message after which a thread is given back; 0 = never."
    )
    max_age_hours: Annotated[Number, Field(ge=0, le=87_600)] = Field(
        default=0, description="Hours after which a thread is given back in any case; 0 = never."
    )


class SessionConfig(Section):
    """How conversations are told apart."""

    thread_bindings: ThreadBindingsConfig = Field(
        default=ThreadBindingsConfig(), description="Threads that belong to a sub-agent."
    )

    dm_scope: Literal["auto", "main", "per-peer", "per-channel-peer"] = Field(
        default="auto",
        description="Session of a direct message: an owner's the main one and others their own, or as named.",
    )


class TokenConfig(Section):
    """One more bearer token, that may do less than everything."""

    token: Annotated[SecretStr, Field(min_length=1)] = Field(description="The token itself; best as `${VARIABLE}`.")
    scopes: Annotated[tuple[Literal["read", "chat", "operator"], ...], Field(min_length=1)] = Field(
        description="What it may do: look, talk to the assistant, or everything."
    )
    name: Name | None = Field(default=None, description="Who uses it, for people.")


class AuthConfig(Section):
    """Who may use the HTTP API."""

    token: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None,
        description="Bearer token; unset: one is made at the first start and kept in the state folder.",
    )
    tokens: tuple[TokenConfig, ...] = Field(default=(), description="More tokens, each with its scopes.")


class GatewayConfig(Section):
    """Where the gateway listens."""

    host: Name = Field(
        default="127.0.0.1", description="Address to listen on; anything but loopback opens it to others."
    )
    port: Whole = Field(default=7878, ge=0, le=65_535, description="Port to listen on; 0 = any free one.")
    auth: AuthConfig = Field(default=AuthConfig(), description="Who may use the HTTP API.")
    drain_seconds: Annotated[Number, Field(ge=0, le=3600)] = Field(
        default=20, description="Seconds that a graceful stop gives model calls in flight."
    )
    allowed_hosts: tuple[Name, ...] = Field(
        default=(), description="Host names beside loopback under which requests are accepted."
    )


class DatabaseConfig(Section):
    """Where everything is kept."""

    url: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None,
        description="`sqlite:///path/to/file.db` or `postgresql://user:password@host/name`; unset: `laneway.db` in the "
        "state folder.",
    )
    durability: Literal["full", "process"] = Field(
        default="full",
        description="What was accepted survives a power cut, or only the death of the process (faster).",
    )


class WorkersConfig(Section):
    """Several processes on one PostgreSQL database."""

    lease_seconds: Annotated[Number, Field(ge=1, le=3600)] = Field(
        default=30, description="Seconds after which a worker of another machine that gives no sign counts as dead."
    )
    gateway_lanes: tuple[Name, ...] | None = Field(
        default=None,
        description="Lanes that the gateway works on itself, beside `main`; unset: all, next to the workers.",
    )


class RetentionConfig(Section):
    """When what is archived is deleted for good."""

    deleted_days: Days = Field(
        default=90, description="Days that the transcript of an archived run is kept; 0 = for ever."
    )
    runs_days: Days = Field(default=90, description="Days that the record of an ended run is kept; 0 = for ever.")


class PluginsConfig(Section):
    """Which plugins are loaded."""

    disabled: tuple[Name, ...] = Field(default=(), description="Names of installed plugins that are not to be loaded.")

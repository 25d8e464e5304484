"""The `tools` section: which tools there are and how `exec` is held in check."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from gateway.config.base import Name, Number, Section

ToolProfile = Literal["minimal", "coding", "full"]
"""`full`: every tool; `coding`: files, exec, web, memory, sub-agents; `minimal`: only `session_status`."""


class ToolNames(Section):
    """An allow-list and a deny-list; deny wins."""

    allow: tuple[Name, ...] | None = Field(default=None, description="Only these tools; can't bring back a denied one.")
    deny: tuple[Name, ...] = Field(default=(), description="Never these tools.")


class SubagentTools(Section):
    """Tools of sub-agents."""

    tools: ToolNames = Field(
        default=ToolNames(), description="Allow and deny for sub-agents, beside the built-in deny-list."
    )


class ExecConfig(Section):
    """How the tool `exec` is held in check."""

    ask: Literal["on-miss", "always", "off"] = Field(
        default="on-miss",
        description="When a person is asked: for what `allow` doesn't match, always, or never.",
    )
    sandbox: Literal["auto", "bubblewrap", "off"] = Field(
        default="auto",
        description="Confine commands to the workspace: where bubblewrap is present, always, or never.",
    )
    allow: tuple[Name, ...] = Field(
        default=(), description="Commands that need no question, such as `git status` or `ls *`."
    )
    timeout_seconds: Annotated[Number, Field(gt=0, le=86_400)] = Field(
        default=120, description="Seconds after which a command is killed, unless the call asks for fewer."
    )
    env: dict[str, SecretStr] = Field(
        default={},
        description="Variables that commands get beside the usual few; their values count as secrets.",
    )


class ToolsConfig(Section):
    """Which tools there are."""

    profile: ToolProfile = Field(default="full", description="The set of tools to begin with.")
    allow: tuple[Name, ...] | None = Field(default=None, description="Only these tools; unset: all of the profile.")
    deny: tuple[Name, ...] = Field(default=(), description="Never these tools, for no agent.")
    subagents: SubagentTools = Field(default=SubagentTools(), description="Tools of sub-agents.")
    exec: ExecConfig = Field(default=ExecConfig(), description="How commands are run.")

"""The `mcp` section: MCP servers whose tools the agents may use (docs/mcp.md)."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from gateway.config.base import Name, Number, PathText, Section
from gateway.config.tools import ToolNames

SERVER_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
LONGEST_NAME = 24


def _server_name(value: str) -> str:
    lowered = value.lower()
    if len(lowered) > LONGEST_NAME or not SERVER_NAME.fullmatch(lowered):
        raise PydanticCustomError(
            "server_name",
            "must be 1 to 24 letters and digits, with single “-” or “_” between them: it is part of its tools' names",
        )
    return lowered


ServerName = Annotated[str, AfterValidator(_server_name)]


class McpServer(Section):
    """One MCP server: a command that the gateway starts, or an address."""

    enabled: bool = Field(default=True, description="Whether it is used.")
    command: Name | None = Field(default=None, description="Program to start, which speaks MCP on stdin and stdout.")
    args: tuple[str, ...] = Field(default=(), description="Its arguments.")
    env: dict[str, SecretStr] = Field(
        default={}, description="Variables that it gets beside the usual few; their values count as secrets."
    )
    inherit: tuple[Name, ...] = Field(
        default=(), description="Variables of the gateway's own environment that it gets as well."
    )
    cwd: PathText | None = Field(default=None, description="Folder to run in; unset: the state folder's `mcp/<name>`.")
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None, description="Address of a server that speaks streamable HTTP."
    )
    headers: dict[str, SecretStr] = Field(default={}, description="Headers sent with every request, such as a token.")
    timeout_seconds: Annotated[Number, Field(gt=0, le=3_600)] = Field(
        default=60, description="Seconds after which a call is cut off."
    )
    tools: ToolNames = Field(default=ToolNames(), description="Which of its tools are used, by its own names for them.")
    owners_only: bool = Field(default=True, description="Only sessions of owners get its tools.")

    @property
    def transport(self) -> Literal["stdio", "http"]:
        """How it is spoken to."""
        return "stdio" if self.command is not None else "http"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise PydanticCustomError("mcp_server", "needs either “command” or “url”")
        foreign = {
            "http": {"args": self.args, "env": self.env, "inherit": self.inherit, "cwd": self.cwd},
            "stdio": {"headers": self.headers},
        }[self.transport]
        for key, value in foreign.items():
            if value:
                way = "command" if self.transport == "stdio" else "url"
                raise PydanticCustomError(
                    "mcp_server", "has “{key}”, which a server with “{way}” doesn't take", {"key": key, "way": way}
                )
        return self


class McpConfig(Section):
    """Servers of the Model Context Protocol."""

    servers: dict[ServerName, McpServer] = Field(default={}, description="MCP servers by a name of your choice.")

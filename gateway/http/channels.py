"""The two channels behind the HTTP API. Neither posts anything: their readers come for what is stored."""

from __future__ import annotations

from gateway.channel import Capabilities, Channel, Intake

API = "api"
OPENAI = "openai"


class _PullChannel(Channel):
    """A channel whose readers fetch their posts."""

    async def start(self, intake: Intake) -> None:
        """Nothing to begin: the HTTP server hands in what it receives."""

    async def stop(self) -> None:
        """Nothing to end."""


class ApiChannel(_PullChannel):
    """The control API: its readers follow the events, so that a stored post is a delivered one."""

    name: str = API
    capabilities: Capabilities = Capabilities(pull=True, streaming=True)


class OpenAiChannel(_PullChannel):
    """The OpenAI-compatible API: posts wait until a request of their session takes them.

    Nobody can be asked there: a client waits for its answer and shows nothing before it.
    """

    name: str = OPENAI
    capabilities: Capabilities = Capabilities(held=True, asks=False, streaming=True)


def http_channels() -> tuple[Channel, ...]:
    """Both channels, for the registry."""
    return (ApiChannel(), OpenAiChannel())

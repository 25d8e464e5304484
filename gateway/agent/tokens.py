"""How many tokens a text is likely to be, for budgets and windows, and where a provider reports no usage.

Four UTF-8 bytes a token: near the truth for English and code, and right in size for scripts with more bytes a
character. Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from gateway.agent.messages import ModelRequest, PromptMessage, ToolCall, ToolSpec

_BYTES_PER_TOKEN = 4
_PER_MESSAGE = 4
_PER_IMAGE = 1_000


def estimate_text(text: str) -> int:
    """Tokens of a text; 0 only for an empty one."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def estimate_calls(calls: Sequence[ToolCall]) -> int:
    """Tokens of tool calls in an assistant message."""
    return sum(estimate_text(call.name) + estimate_text(call.arguments) + _PER_MESSAGE for call in calls)


def estimate_message(message: PromptMessage) -> int:
    """Tokens of one message of a prompt, pictures included."""
    body = estimate_text(message.text) + estimate_calls(message.calls)
    return body + _PER_MESSAGE + _PER_IMAGE * len(message.images)


def estimate_tools(tools: Sequence[ToolSpec]) -> int:
    """Tokens of the tool schemas."""
    return sum(
        estimate_text(tool.name) + estimate_text(tool.description) + estimate_text(json.dumps(tool.parameters))
        for tool in tools
    )


def estimate_request(request: ModelRequest) -> int:
    """Tokens that a request sends."""
    return sum(map(estimate_message, request.messages)) + estimate_tools(request.tools)

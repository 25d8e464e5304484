"""A model request in the OpenAI chat format, which both model libraries take.

Owns nothing and keeps nothing; only pictures are read from disk, in a thread.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.agent.messages import (
    Image,
    ModelError,
    ModelRef,
    ModelRequest,
    PromptMessage,
    ToolCall,
    ToolSpec,
)

Json = dict[str, Any]

_SENT_BACK = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
    "provider_specific_fields",
)
"""What a provider gets back of its own answers, under the name that it used."""


async def chat_messages(request: ModelRequest) -> list[Json]:
    """The messages of a request.

    Raises:
        ModelError: a picture can't be read.
    """
    pictures: dict[str, str] = {}
    if request.model.images and any(message.images for message in request.messages):
        pictures = await asyncio.to_thread(_read_pictures, request.messages)
    return [_message(message, request.model, pictures) for message in request.messages]


def chat_tools(tools: Sequence[ToolSpec]) -> list[Json]:
    """The tools of a request."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def reply_limit(request: ModelRequest) -> int:
    """Tokens that the reply may have."""
    own = request.model.max_tokens
    return own if request.max_tokens is None else max(1, min(own, request.max_tokens))


def _message(message: PromptMessage, model: ModelRef, pictures: Mapping[str, str]) -> Json:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id or "", "content": message.text}
    if message.role == "assistant":
        return _assistant(message)
    if message.images:
        return {"role": message.role, "content": _parts(message, model, pictures)}
    return {"role": message.role, "content": message.text}


def _assistant(message: PromptMessage) -> Json:
    made: Json = {"role": "assistant", "content": message.text or None}
    state = message.provider_state or {}
    if message.calls:
        extra: Sequence[Json | None] = state.get("call_fields") or [None] * len(message.calls)
        made["tool_calls"] = [_call(call, more) for call, more in zip(message.calls, extra, strict=True)]
    elif not message.text:
        made["content"] = "(no output)"  # providers refuse an assistant message with nothing in it
    for name in _SENT_BACK:
        if state.get(name):
            made[name] = state[name]
    return made


def _call(call: ToolCall, extra: Json | None) -> Json:
    function = {"name": call.name, "arguments": _object_text(call.arguments)}
    made: Json = {"id": call.id, "type": "function", "function": function}
    if extra:
        made["provider_specific_fields"] = extra
    return made


def _object_text(arguments: str) -> str:
    # Some providers refuse a whole conversation for one old call whose arguments aren't an object; its result
    # has told the model already what was wrong.
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except ValueError:
        return "{}"


def _parts(message: PromptMessage, model: ModelRef, pictures: Mapping[str, str]) -> list[Json]:
    parts: list[Json] = [{"type": "text", "text": message.text}] if message.text else []
    for image in message.images:
        if model.images:
            parts.append({"type": "image_url", "image_url": {"url": pictures[image.path]}})
        else:
            note = f"[a picture, {Path(image.path).name}, that {model.name} can't see]"
            parts.append({"type": "text", "text": note})
    return parts


def _read_pictures(messages: Sequence[PromptMessage]) -> dict[str, str]:
    return {image.path: _data_url(image) for message in messages for image in message.images}


def _data_url(image: Image) -> str:
    try:
        data = Path(image.path).read_bytes()
    except OSError as error:
        raise ModelError(f"The picture {image.path} can't be read: {error.strerror}. Send it again.") from error
    return f"data:{image.media_type};base64,{base64.b64encode(data).decode()}"

"""A scripted reply as bytes of the OpenAI chat protocol, whole or as the pieces of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.model_script import Call, Reply, Seen

Json = dict[str, Any]


def arguments_of(one: Call) -> str:
    """A call's arguments as text."""
    return one.arguments if isinstance(one.arguments, str) else json.dumps(one.arguments)


def call_id(request: Seen, index: int, one: Call) -> str:
    """The call's id; stable for the same place in the same conversation."""
    return one.id or f"call_{request.step}_{index}"


def error_body(reply: Reply) -> Json:
    """An error as OpenAI words it."""
    return {"error": {"message": reply.error, "type": "scripted", "code": reply.code, "param": None}}


def completion(request: Seen, reply: Reply) -> Json:
    """A whole answer."""
    message: Json = {"role": "assistant", "content": reply.text or None}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": call_id(request, index, one),
                "type": "function",
                "function": {"name": one.name, "arguments": arguments_of(one)},
            }
            for index, one in enumerate(reply.calls)
        ]
    body = _envelope(request, "chat.completion")
    body["choices"] = [{"index": 0, "message": message, "finish_reason": finish_reason(reply)}]
    if reply.tokens:
        body["usage"] = _usage(reply)
    return body


def events(request: Seen, reply: Reply) -> Iterator[bytes]:
    """The pieces of a streamed answer."""
    for delta in _deltas(request, reply):
        yield _event(request, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield _event(request, {"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason(reply)}]})
    options: Json = request.body.get("stream_options") or {}
    if reply.tokens and options.get("include_usage"):
        yield _event(request, {"choices": [], "usage": _usage(reply)})
    yield b"data: [DONE]\n\n"


def finish_reason(reply: Reply) -> str:
    """Why the model stopped."""
    return reply.finish_reason or ("tool_calls" if reply.calls else "stop")


def words(text: str) -> list[str]:
    """The text in pieces of one word, spaces kept."""
    return [piece for piece in text.replace(" ", " \0").split("\0") if piece]


def _deltas(request: Seen, reply: Reply) -> Iterator[Json]:
    yield {"role": "assistant", "content": ""}
    for piece in words(reply.reasoning):
        yield {"reasoning_content": piece}
    for piece in words(reply.text):
        yield {"content": piece}
    for index, one in enumerate(reply.calls):
        text = arguments_of(one)
        half = len(text) // 2
        head: Json = {"name": one.name, "arguments": ""}
        yield {
            "tool_calls": [{"index": index, "id": call_id(request, index, one), "type": "function", "function": head}]
        }
        for part in (text[:half], text[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def _event(request: Seen, more: Json) -> bytes:
    body = _envelope(request, "chat.completion.chunk") | more
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _envelope(request: Seen, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{request.number}",
        "object": kind,
        "created": 1_790_000_000,
        "model": request.model,
    }


def _usage(reply: Reply) -> Json:
    tokens = reply.tokens
    assert tokens is not None
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
    }

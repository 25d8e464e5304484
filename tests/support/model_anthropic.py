"""The Anthropic protocol of the scripted server: requests become the OpenAI format, replies become bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from tests.support.model_script import Reply, Seen
from tests.support.model_wire import arguments_of, call_id, words

Json = dict[str, Any]


def to_openai(body: Mapping[str, Any]) -> Json:
    """An Anthropic request in the OpenAI format; everything else in it is kept under its own name."""
    messages: list[Json] = []
    if body.get("system"):
        messages.append({"role": "system", "content": _text(body["system"])})
    for message in cast("list[Json]", body.get("messages") or []):
        messages += _messages(message)
    tools = [
        {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}
        for tool in cast("list[Json]", body.get("tools") or [])
    ]
    return {**body, "messages": messages, "tools": tools}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in cast("list[Json]", content))


def _messages(message: Json) -> Iterator[Json]:
    content: object = message["content"]
    if isinstance(content, str):
        yield {"role": message["role"], "content": content}
        return
    blocks = cast("list[Json]", content)
    for block in blocks:
        if block["type"] == "tool_result":
            result = _text(block.get("content") or "")
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": result}
    text = "".join(str(block["text"]) for block in blocks if block["type"] == "text")
    made = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in blocks
        if block["type"] == "tool_use"
    ]
    thinking = [block for block in blocks if block["type"] == "thinking"]
    if text or made:
        yield {
            "role": message["role"],
            "content": text,
            **({"tool_calls": made} if made else {}),
            **({"thinking": thinking} if thinking else {}),
        }


_ERROR_KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_EMPTY: Mapping[str, Json] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}


def error_body(reply: Reply) -> Json:
    """An error as Anthropic words it."""
    usual = "api_error" if reply.status >= 500 else "invalid_request_error"
    kind = _ERROR_KINDS.get(reply.status, usual)
    return {"type": "error", "error": {"type": kind, "message": reply.error}}


def message(request: Seen, reply: Reply) -> Json:
    """A whole answer."""
    content: list[Json] = []
    if reply.reasoning:
        content.append({"type": "thinking", "thinking": reply.reasoning, "signature": "scripted-signature"})
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    for index, one in enumerate(reply.calls):
        content.append(
            {
                "type": "tool_use",
                "id": call_id(request, index, one),
                "name": one.name,
                "input": json.loads(arguments_of(one)),
            }
        )
    return _envelope(request, reply) | {"content": content, "stop_reason": _stop_reason(reply)}


def _stop_reason(reply: Reply) -> str:
    return reply.finish_reason or ("tool_use" if reply.calls else "end_turn")


def _envelope(request: Seen, reply: Reply) -> Json:
    tokens = reply.tokens
    return {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens.input - tokens.cached if tokens else 0,
            "output_tokens": tokens.output if tokens else 0,
            "cache_read_input_tokens": tokens.cached if tokens else 0,
            "cache_creation_input_tokens": 0,
        },
    }


def events(request: Seen, reply: Reply) -> Iterator[bytes]:
    """The pieces of a streamed answer."""
    yield _event("message_start", {"message": _envelope(request, reply)})
    whole = message(request, reply)
    for index, block in enumerate(cast("list[Json]", whole["content"])):
        yield from _block(index, block)
    usage = cast("Json", whole["usage"])
    yield _event(
        "message_delta",
        {
            "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": usage["output_tokens"]},
        },
    )
    yield _event("message_stop", {})


def _block(index: int, block: Json) -> Iterator[bytes]:
    kind = str(block["type"])
    yield _event("content_block_start", {"index": index, "content_block": block | _EMPTY[kind]})
    deltas: list[Json]
    if kind == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in words(str(block["text"]))]
    elif kind == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    else:
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    for delta in deltas:
        yield _event("content_block_delta", {"index": index, "delta": delta})
    yield _event("content_block_stop", {"index": index})


def _event(kind: str, more: Json) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()

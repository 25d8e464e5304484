"""Calls of models and tools as attributes of their spans."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.telemetry import names
from gateway.telemetry.tracing import Tracing, Value

if TYPE_CHECKING:
    from gateway.agent.messages import ModelRef, ModelReply, ModelRequest, PromptMessage, ToolCall
    from gateway.agent.timing import CallTiming
    from gateway.store.sessions import Session


def asked(request: ModelRequest, session: Session, *, streamed: bool) -> dict[str, Value]:
    """What a model is asked for, without a word of the prompt."""
    model = request.model
    attributes: dict[str, Value] = {
        names.OPERATION: names.CHAT,
        names.PROVIDER: names.provider(model.provider),
        names.REQUEST_MODEL: model.id,
        names.REQUEST_MAX_TOKENS: request.max_tokens or model.max_tokens,
        names.REQUEST_STREAM: streamed,
        names.CONVERSATION_ID: session.key,
        names.AGENT_ID: session.agent_id,
        **_server(model),
    }
    if session.run_id is not None:
        attributes[names.RUN_ID] = session.run_id
    return attributes


def answered(reply: ModelReply, model: ModelRef, timing: CallTiming) -> dict[str, Value]:
    """What a model's answer has used, without a word of it."""
    attributes: dict[str, Value] = {
        names.RESPONSE_MODEL: model.id,
        names.FINISH_REASONS: [reply.finish_reason],
        names.INPUT_TOKENS: reply.usage.input,
        names.OUTPUT_TOKENS: reply.usage.output,
        names.CACHE_READ_TOKENS: reply.usage.cache_read,
    }
    if reply.usage.cost_micro is not None:
        attributes[names.COST] = reply.usage.cost_micro / 1_000_000
    if timing.waits:
        attributes[names.WAITED] = sum(until - since for _, since, until in timing.waits) / 1000
    return attributes


def texts(tracing: Tracing, request: ModelRequest, reply: ModelReply) -> dict[str, Value]:
    """Prompt and answer, for who has switched on `telemetry.captureContent`."""
    system = [message.text for message in request.messages if message.role == "system"]
    rest = [message for message in request.messages if message.role != "system"]
    parts = [*_text(reply.text), *map(_call, reply.calls)]
    answer = {"role": "assistant", "parts": parts, "finish_reason": reply.finish_reason}
    return {
        names.SYSTEM_INSTRUCTIONS: _json(tracing, [part for text in system for part in _text(text)]),
        names.INPUT_MESSAGES: _json(tracing, [_message(message) for message in rest]),
        names.OUTPUT_MESSAGES: _json(tracing, [answer]),
    }


def tool(call: ToolCall, session: Session) -> dict[str, Value]:
    """A tool's call, without its arguments."""
    attributes: dict[str, Value] = {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TOOL_NAME: call.name,
        names.TOOL_CALL_ID: call.id,
        names.TOOL_TYPE: "function",
        names.CONVERSATION_ID: session.key,
    }
    if session.run_id is not None:
        attributes[names.RUN_ID] = session.run_id
    return attributes


def tool_texts(tracing: Tracing, call: ToolCall, result: str) -> dict[str, Value]:
    """A tool's arguments and result, for who has switched on `telemetry.captureContent`."""
    return {names.TOOL_ARGUMENTS: tracing.content(call.arguments), names.TOOL_RESULT: tracing.content(result)}


def _server(model: ModelRef) -> dict[str, Value]:
    parts = urlsplit(model.base_url or "")
    if parts.hostname is None:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {names.SERVER_ADDRESS: parts.hostname, names.SERVER_PORT: port}


def _message(message: PromptMessage) -> dict[str, Any]:
    if message.role == "tool":
        answer = {"type": "tool_call_response", "id": message.call_id, "response": message.text}
        return {"role": "tool", "parts": [answer]}
    return {"role": message.role, "parts": [*_text(message.text), *map(_call, message.calls)]}


def _text(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "content": text}] if text else []


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}


def _json(tracing: Tracing, value: object) -> str:
    return tracing.content(json.dumps(value, ensure_ascii=False))

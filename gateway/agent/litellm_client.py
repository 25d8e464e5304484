"""The client of every provider that isn't OpenAI-compatible, through `litellm`.

Importing this module loads litellm (4 s, 184 MB), so only `models.py` does it, in a thread, once a
configured model needs it. Owns no connections: litellm keeps its own.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn, Protocol, cast

import httpx
import openai

from gateway.agent.chat_reply import ReplyBuilder
from gateway.agent.chat_request import chat_messages, chat_tools, reply_limit
from gateway.agent.messages import (
    ContextWindowExceededError,
    ModelRef,
    ModelReply,
    ModelRequest,
    OnDelta,
    TransientModelError,
)
from gateway.agent.pricing import table_entry
from gateway.agent.provider_errors import Failure, model_error
from gateway.agent.retry import parse_retry_after
from gateway.agent.thinking import anthropic_fields, litellm_fields

# Read while litellm is imported; without it the import fetches a price list from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # after the switch above

_TIMEOUT_SECONDS = 600.0
_CACHED_PROMPT = [{"location": "message", "role": "system"}, {"location": "message", "index": -1}]
"""Where Anthropic is told to cache: it caches nothing by itself, and a tool loop repeats its start."""


class _Dumps(Protocol):
    """Litellm's answers and the pieces of its streams."""

    def model_dump(self) -> dict[str, Any]: ...


class LitellmClient:
    """Speaks to whatever litellm knows. Makes one try per call."""

    def __init__(self) -> None:
        litellm.suppress_debug_info = True
        # Pydantic's opinion of litellm's own types, on standard error at the first call.
        warnings.filterwarnings("ignore", message=".*using the `ReadOnly` qualifier", category=UserWarning)

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Makes the call; see `ModelClient`."""
        fields = await _fields(request)
        builder = ReplyBuilder(request)
        try:
            if on_delta is None:
                builder.whole(cast("_Dumps", await _call(fields)).model_dump())
            else:
                await _streamed(fields, builder, on_delta)
        except litellm.exceptions.ContextWindowExceededError as error:
            raise ContextWindowExceededError(_said(error)) from error
        except openai.OpenAIError as error:
            _raise(request.model, error)
        except httpx.HTTPError as error:  # what breaks inside a stream may reach us as httpx raised it
            raise TransientModelError(f"{request.model.name}: the connection broke: {error}") from error
        return builder.reply()


def litellm_name(model: ModelRef) -> tuple[str, str]:
    """The family under which litellm knows the provider's protocol, and the name that it calls the model."""
    family = model.provider if model.api == "litellm" else model.api
    return family, f"{family}/{model.id}"


async def _call(fields: Mapping[str, Any]) -> object:
    return await litellm.acompletion(**fields)  # pyright: ignore[reportUnknownMemberType]


async def _streamed(fields: dict[str, Any], builder: ReplyBuilder, on_delta: OnDelta) -> None:
    more = {"stream": True, "stream_options": {"include_usage": True}}
    stream = cast("AsyncIterator[_Dumps]", await _call(fields | more))
    async for piece in stream:
        if text := builder.piece(piece.model_dump()):
            await on_delta(text)


async def _fields(request: ModelRequest) -> dict[str, Any]:
    model = request.model
    family, name = litellm_name(model)
    fields: dict[str, Any] = {
        "model": name,
        "messages": await chat_messages(request),
        "max_tokens": reply_limit(request),
        "max_retries": 0,
        "num_retries": 0,
        "timeout": _TIMEOUT_SECONDS,
        "drop_params": True,
        "_skip_mcp_handler": True,  # with tools it would import its proxy server, which needs packages of its own
        **_thinking(request, family),
    }
    if request.tools:
        fields["tools"] = chat_tools(request.tools)
    if model.api_key:
        fields["api_key"] = model.api_key
    if model.base_url:
        # Litellm adds `/v1/messages` for Anthropic, and people write the address with and without `/v1`.
        base = model.base_url.rstrip("/")
        fields["api_base"] = base.removesuffix("/v1") if family == "anthropic" else base
    if model.headers:
        fields["extra_headers"] = dict(model.headers)
    if family == "anthropic":
        fields["cache_control_injection_points"] = _CACHED_PROMPT
    return fields


def _thinking(request: ModelRequest, family: str) -> dict[str, Any]:
    model = request.model
    entry = table_entry(model) or {}
    knows = bool(entry.get("supports_reasoning"))
    if family != "anthropic":
        return litellm_fields(model, request.thinking, family=family, knows=knows)
    if model.reasoning is False or not (knows or model.reasoning):
        return {}
    return anthropic_fields(request.thinking, reply_limit(request), _efforts(entry), request.messages)


def _efforts(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What a model that sizes its own thinking takes; empty for one with a token budget."""
    if not entry.get("supports_adaptive_thinking"):
        return ()
    higher = (name for name in ("xhigh", "max") if entry.get(f"supports_{name}_reasoning_effort"))
    return ("low", "medium", "high", *higher)


def _raise(model: ModelRef, error: openai.OpenAIError) -> NoReturn:
    said = _said(error)
    if isinstance(error, openai.APIConnectionError):  # timeouts too
        raise TransientModelError(f"{model.name}: no answer: {said}") from error
    status: object = getattr(error, "status_code", None)
    headers = cast("Mapping[str, str]", getattr(error, "litellm_response_headers", None) or {})
    failure = Failure(
        said,
        status if isinstance(status, int) else None,
        str(getattr(error, "code", None) or ""),
        parse_retry_after({name.lower(): value for name, value in headers.items()}),
    )
    raise model_error(model, failure) from error


def _said(error: Exception) -> str:
    """What the provider said, out of the JSON that litellm puts into its own message."""
    text = str(getattr(error, "message", "") or error)
    text = text.split("\nTraceback", 1)[0].split("\n\nThis looks like a bug", 1)[0]
    start = text.find("{")
    if start >= 0:
        try:
            body: object = json.JSONDecoder().raw_decode(text[start:])[0]
        except ValueError:
            return text
        inner = body.get("error", body) if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(inner, dict) and inner.get("message"):  # pyright: ignore[reportUnknownMemberType]
            return str(inner["message"])  # pyright: ignore[reportUnknownArgumentType]
    return text.removeprefix("litellm.")

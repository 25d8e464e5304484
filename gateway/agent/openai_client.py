"""The client of every OpenAI-compatible API, on the transport of the `openai` SDK.

Owns the connections: one HTTP pool, one SDK client per address, key and headers. Importing this module
loads the SDK, so only `models.py` does it, in a thread.

The SDK is used through its `post`, not through `chat.completions`: its generated request and response
classes cost 14 MB and three times the CPU of a call (docs/performance.md) and would only be taken apart
again here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import Any, NoReturn, cast

import httpx
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AsyncStream,
    DefaultAioHttpClient,
)

from gateway.agent.chat_reply import ReplyBuilder
from gateway.agent.chat_request import chat_messages, chat_tools, reply_limit
from gateway.agent.messages import (
    ModelError,
    ModelRef,
    ModelReply,
    ModelRequest,
    OnDelta,
    TransientModelError,
)
from gateway.agent.provider_errors import Failure, model_error
from gateway.agent.retry import parse_retry_after
from gateway.agent.thinking import openai_fields

_TIMEOUT = httpx.Timeout(600.0, connect=15.0)
"""seconds; a model may think for minutes before its first byte"""
_LIMITS = httpx.Limits(max_connections=1_000, max_keepalive_connections=100, keepalive_expiry=55.0)
"""A connection is kept while a tool runs; by default it would be closed after 5 seconds."""
_PATH = "/chat/completions"
_NO_KEY = "no-key"
"""Sent to servers that need none; the SDK insists on something."""

_Key = tuple[str | None, str | None, frozenset[tuple[str, str]]]


class OpenAIClient:
    """Speaks to OpenAI-compatible servers. Makes one try per call."""

    def __init__(self) -> None:
        self._http = _http()
        self._clients: dict[_Key, AsyncOpenAI] = {}

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Makes the call; see `ModelClient`."""
        body = await _body(request)
        client = self._client(request.model)
        try:
            if on_delta is None:
                return _whole(request, await client.post(_PATH, cast_to=object, body=body))
            return await _streamed(client, request, body, on_delta)
        except APIError as error:
            _raise(request.model, error)
        except httpx.HTTPError as error:  # what breaks inside a stream reaches us as httpx raised it
            raise TransientModelError(f"{request.model.name}: the connection broke: {_cause(error)}") from error
        except httpx.InvalidURL as error:
            raise _not_an_api(request.model, str(error)) from error

    async def close(self) -> None:
        """Closes every connection."""
        await self._http.aclose()

    def _client(self, model: ModelRef) -> AsyncOpenAI:
        key: _Key = (model.base_url, model.api_key, frozenset(model.headers.items()))
        if key not in self._clients:
            self._clients[key] = self._connect(model)
        return self._clients[key]

    def _connect(self, model: ModelRef) -> AsyncOpenAI:
        client = AsyncOpenAI(
            api_key=model.api_key or _NO_KEY,
            base_url=model.base_url,
            default_headers=dict(model.headers),
            max_retries=0,
            timeout=_TIMEOUT,
            http_client=self._http,
        )
        if model.provider != "openai":
            # The SDK takes these from the environment and would tell them to every other provider.
            client.organization = client.project = None
        return client


def _http() -> httpx.AsyncClient:
    # httpx's own pool looks at every open connection for every request, and its parser is written in Python: with fifty
    # sub-agents that is half of the gateway's processor time (docs/performance.md). aiohttp is here anyway.
    return DefaultAioHttpClient(timeout=_TIMEOUT, limits=_LIMITS)


async def _body(request: ModelRequest) -> dict[str, Any]:
    model = request.model
    limit = "max_completion_tokens" if model.provider == "openai" else "max_tokens"
    body: dict[str, Any] = {
        "model": model.id,
        "messages": await chat_messages(request),
        limit: reply_limit(request),
        **openai_fields(model, request.thinking),
    }
    if request.tools:
        body["tools"] = chat_tools(request.tools)
    if model.provider == "openai" and request.session_key:
        # Sends a session's calls to where its prompt is cached. Hashed, because keys name chats and people.
        body["prompt_cache_key"] = sha256(request.session_key.encode()).hexdigest()[:32]
    return body


def _whole(request: ModelRequest, body: object) -> ModelReply:
    builder = ReplyBuilder(request)
    builder.whole(_checked(request.model, body))
    return builder.reply()


async def _streamed(client: AsyncOpenAI, request: ModelRequest, body: dict[str, Any], on_delta: OnDelta) -> ModelReply:
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    builder = ReplyBuilder(request)
    stream = await client.post(_PATH, cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object])
    async with stream:
        async for data in _events(stream.response):
            if text := builder.piece(_checked(request.model, _json(request.model, data))):
                await on_delta(text)
    return builder.reply()


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The data of each server-sent event, to the end of the answer.

    The SDK's own reader stops at `[DONE]` and so throws the connection away with the answer's last bytes unread;
    and httpx's takes U+2028 inside a text for the end of a line.
    """
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
                yield data
    if rest.startswith(b"data:") and (data := rest[5:].strip()) != b"[DONE]":
        yield data


def _json(model: ModelRef, data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError as error:
        raise TransientModelError(f"{model.name}: the answer broke off in the middle of a piece") from error


def _checked(model: ModelRef, body: object) -> Mapping[str, Any]:
    checked = _object(body)
    if checked is None:
        raise _not_an_api(model, str(body)[:200])
    if (error := checked.get("error")) and not checked.get("choices"):
        # Proxies report the failure of the server behind them in an answer with status 200.
        details = _object(error) or {"message": str(error)}
        code = details.get("code")
        status = code if isinstance(code, int) and code >= 400 else None
        raise model_error(model, Failure(str(details.get("message") or error), status, str(code or "")))
    return checked


def _not_an_api(model: ModelRef, said: str) -> ModelError:
    return model_error(
        model,
        Failure(f"this is not the answer of an OpenAI-compatible API (is `baseUrl` right?): {said}", status=404),
    )


def _raise(model: ModelRef, error: APIError) -> NoReturn:
    if isinstance(error, APITimeoutError) and not _refused(error):
        raise TransientModelError(f"{model.name}: no answer in time: {_cause(error)}") from error
    if isinstance(error, APIConnectionError):
        raise TransientModelError(f"{model.name}: can't reach {model.base_url}: {_cause(error)}") from error
    status = error.status_code if isinstance(error, APIStatusError) else None
    wait = parse_retry_after(error.response.headers) if isinstance(error, APIStatusError) else None
    raise model_error(model, Failure(_said(error), status, _code(error), wait)) from error


def _said(error: APIError) -> str:
    body = _object(error.body)
    return str((body and body.get("message")) or error.message)


def _object(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None


def _code(error: APIError) -> str:
    return " ".join(part for part in (error.code, error.type) if part)


def _cause(error: BaseException) -> str:
    inner = _innermost(error)
    return str(inner) or type(inner).__name__


def _refused(error: BaseException) -> bool:
    """Whether the network said no: aiohttp's transport reports that as a timeout too."""
    inner = _innermost(error)
    return isinstance(inner, OSError) and not isinstance(inner, TimeoutError)


def _innermost(error: BaseException) -> BaseException:
    inner = error
    while inner.__cause__ or inner.__context__:
        inner = cast("BaseException", inner.__cause__ or inner.__context__)
    return inner

"""The one seam to models: which client, how often tried, what is tried instead.

Owns the clients, and with them the connections; nothing here survives a crash, because an answer counts
only once the turn has stored it. A client's library is imported when a configured model needs it, in a
thread, so that the gateway is ready before (spec/architecture.md, the engine room).
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol, cast, runtime_checkable
from urllib.parse import urlsplit

from gateway.agent.messages import (
    Admit,
    BudgetExhausted,
    ContextWindowExceededError,
    ModelClient,
    ModelError,
    ModelRef,
    ModelReply,
    ModelRequest,
    ModelSettingError,
    OnDelta,
    OnRetry,
    TransientModelError,
)
from gateway.agent.rates import unlimited
from gateway.agent.retry import LONGEST_WAIT, MAX_TRIES, wait_before

OFFLINE_VARIABLE = "LANEWAY_OFFLINE"
"""Set to 1, it forbids every model call that would leave this machine; tests run with it."""

Gate = Callable[[ModelRef, OnRetry | None], AbstractAsyncContextManager[None]]
Sleep = Callable[[float], Awaitable[None]]
"""Waits so many seconds."""


@runtime_checkable
class Closes(Protocol):
    """A client that holds something to be let go."""

    async def close(self) -> None:
        """Lets it go."""
        ...


def _openai() -> ModelClient:
    # httpx imports its command line, and with it click, pygments and rich, wherever they are installed: 4 MB for
    # nothing. None in `sys.modules` makes that import fail, which httpx is made for.
    cast("dict[str, object]", sys.modules).setdefault("httpx._main", None)
    from gateway.agent.openai_client import OpenAIClient  # loads the SDK: 0.6 s and 23 MB

    return OpenAIClient()


def _litellm() -> ModelClient:
    from gateway.agent.litellm_client import LitellmClient  # loads litellm: 4 s and 184 MB

    return LitellmClient()


def _offline() -> ModelClient:
    from gateway.agent.demo import OfflineClient  # needed only where no provider has a key

    return OfflineClient()


_OPENAI, _LITELLM, _OFFLINE = "openai-completions", "litellm", "offline"
_MAKERS: Mapping[str, Callable[[], ModelClient]] = {_OPENAI: _openai, _LITELLM: _litellm, _OFFLINE: _offline}


class Models:
    """Calls models.

    Args:
        clients: ready clients by `ModelRef.api`, instead of those that are made on demand.
        sleep: waits between tries.
        jitter: a random number from 0 to 1.
        gate: holds a place among the provider's calls in flight while one is made.
    """

    def __init__(
        self,
        clients: Mapping[str, ModelClient] | None = None,
        *,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        gate: Gate = unlimited,
    ) -> None:
        self._clients: dict[str, ModelClient] = dict(clients or {})
        self._making: dict[str, asyncio.Lock] = {}
        self._sleep = sleep
        self._jitter = jitter
        self._gate = gate

    async def prepare(self, refs: Iterable[ModelRef]) -> None:
        """Imports what these models need, in a thread. May be called at any time and any number of times."""
        for api in dict.fromkeys(_client_name(ref) for ref in refs):
            await self._client(api)

    async def complete(
        self,
        request: ModelRequest,
        on_delta: OnDelta | None = None,
        on_retry: OnRetry | None = None,
        fallbacks: Sequence[ModelRef] = (),
        admit: Admit | None = None,
    ) -> tuple[ModelReply, ModelRef]:
        """Makes a call, up to `MAX_TRIES` times, and then with each of the fallbacks.

        Args:
            request: what to ask.
            on_delta: gets the text as it comes, and makes the call a streamed one.
            on_retry: gets a sentence before each wait and before each fallback. When it is called, all text
                that `on_delta` has had so far is void: the answer begins anew.
            fallbacks: models that may answer where the first one can't.
            admit: is asked before each model. A fallback that it refuses is passed over; the first model isn't.

        Returns:
            The answer, and the model that gave it.

        Raises:
            ContextWindowExceededError: the prompt is too long for the model; no fallback is tried.
            ModelError: none could answer; the error is that of the first model.
            BudgetExhausted: the first model can't be paid, or it failed and none of the fallbacks can.
        """
        models = (request.model, *fallbacks)
        failures: list[ModelError] = []
        unpaid: list[BudgetExhausted] = []
        for place, model in enumerate(models):
            following = models[place + 1 : place + 2]
            try:
                asked = await _admitted(request, model, admit)
                reply = await self._persist(asked, on_delta, on_retry, has_next=bool(following))
            except ContextWindowExceededError:
                raise
            except _NotAdmitted as refused:
                if place == 0:
                    raise refused.reason from None
                problem = refused.reason
            except ModelError as error:
                problem = error
            else:
                return reply, model
            if isinstance(problem, ModelError):
                failures.append(problem)
            else:
                unpaid.append(problem)
            if on_retry and following:
                await on_retry(f"{problem}; asking {following[0].name} instead")
        raise unpaid[0] if unpaid and len(failures) == 1 else failures[0]

    async def close(self) -> None:
        """Closes all connections. Calls afterwards make new ones."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            if isinstance(client, Closes):
                await client.close()

    async def _persist(
        self, request: ModelRequest, on_delta: OnDelta | None, on_retry: OnRetry | None, *, has_next: bool
    ) -> ModelReply:
        _check_allowed(request.model)
        client = await self._client(_client_name(request.model))
        for attempt in range(1, MAX_TRIES):
            try:
                async with self._gate(request.model, on_retry):
                    return await client.complete(request, on_delta)
            except TransientModelError as error:
                if has_next and (error.retry_after or 0) > LONGEST_WAIT:
                    raise
                wait = wait_before(attempt, error.retry_after, self._jitter())
                if on_retry:
                    await on_retry(f"{error}; try {attempt + 1} of {MAX_TRIES} in {wait:.0f} s")
            await self._sleep(wait)
        async with self._gate(request.model, on_retry):
            return await client.complete(request, on_delta)

    async def _client(self, api: str) -> ModelClient:
        if (client := self._clients.get(api)) is not None:
            return client
        async with self._making.setdefault(api, asyncio.Lock()):
            if api not in self._clients:
                self._clients[api] = await asyncio.to_thread(_MAKERS[api])
            return self._clients[api]


class _NotAdmitted(Exception):
    """A model may not be asked."""

    def __init__(self, reason: ModelError | BudgetExhausted) -> None:
        super().__init__(str(reason))
        self.reason = reason


async def _admitted(request: ModelRequest, model: ModelRef, admit: Admit | None) -> ModelRequest:
    """The request as a model is to get it."""
    asked = request if model is request.model else _for_model(request, model)
    if admit is None:
        return asked
    try:
        return replace(asked, max_tokens=await admit(model))
    except (ModelError, BudgetExhausted) as reason:
        raise _NotAdmitted(reason) from reason


def _client_name(ref: ModelRef) -> str:
    # Every other name is a family that litellm knows.
    return ref.api if ref.api in (_OPENAI, _OFFLINE) else _LITELLM


def _for_model(request: ModelRequest, model: ModelRef) -> ModelRequest:
    """The request for a fallback, which gets nothing of what only the first model understands."""
    messages = [replace(message, provider_state=None) for message in request.messages]
    return replace(request, model=model, messages=messages)


def _check_allowed(ref: ModelRef) -> None:
    if ref.api == _OFFLINE or os.environ.get(OFFLINE_VARIABLE, "") in ("", "0") or _is_loopback(ref.base_url):
        return
    raise ModelSettingError(
        f"{ref.name} is not called: {OFFLINE_VARIABLE} is set, and {ref.base_url or 'its provider'} is not on"
        f" this machine. Unset {OFFLINE_VARIABLE} to allow it."
    )


def _is_loopback(url: str | None) -> bool:
    host = urlsplit(url).hostname if url else None
    if host is None or host == "localhost":
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

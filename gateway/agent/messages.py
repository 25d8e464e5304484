"""The vocabulary between a turn and a model: provider-neutral messages, requests and replies.

Nothing here is stored as it is; `store/transcript.py` keeps the rows that prompts are built from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

ThinkingLevel = Literal["off", "minimal", "low", "medium", "high", "xhigh", "max"]
THINKING_LEVELS: tuple[ThinkingLevel, ...] = ("off", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that a person sent. Read from disk when the request is made."""

    path: str
    media_type: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that a model asked for. Its identity is its index in the reply: providers' ids repeat."""

    id: str
    name: str
    arguments: str
    """Raw JSON as the model wrote it; may be invalid."""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    images: tuple[Image, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant message."""
    call_id: str | None = None
    """Of a tool message: the call that it answers."""
    provider_state: Mapping[str, Any] | None = None
    """What the provider needs back (thinking blocks, signatures, `reasoning_content`); None if the message was made
    by another provider or model."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call. `input` includes the cached ones."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost_micro: int | None = None
    """micro-USD; None when no price is known (never 0 in that case)."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model that can be called: everything that a client needs, resolved from the configuration."""

    provider: str
    id: str
    """The provider's own name of the model."""
    api: str
    """Which client speaks to it: `openai-completions`, `litellm`, `offline`."""
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    context_window: int = 128_000
    """tokens"""
    max_tokens: int = 8_192
    """tokens of one reply"""
    price: Price | None = None
    """Configured price; None: the client may know one."""
    max_in_flight: int | None = None
    """Calls to the provider at once, over all workers; None: no limit."""
    images: bool = False
    """Can see pictures."""
    reasoning: bool | None = None
    """Takes a thinking level, as the configuration says; None: the client may know."""

    @property
    def name(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.id}"


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call."""

    model: ModelRef
    messages: Sequence[PromptMessage]
    tools: Sequence[ToolSpec] = ()
    thinking: ThinkingLevel | None = None
    max_tokens: int | None = None
    """Lower than the model's own when a budget asks for it."""
    session_key: str = ""
    """For logs and provider-side caching; never required."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A model's whole answer."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    usage_known: bool = True
    """False where the provider sent no usage; then `usage` is an estimate."""
    provider_state: Mapping[str, Any] | None = None
    finish_reason: str = "stop"


OnDelta = Callable[[str], Awaitable[None]]
"""Gets each piece of visible text as it arrives."""
OnRetry = Callable[[str], Awaitable[None]]
"""Gets a short sentence before each wait: what failed, which try, how long until the next."""

Admit = Callable[[ModelRef], Awaitable[int | None]]
"""Asked before each model is: how many tokens its reply may have at most; None: as many as the model's own limit.

Raises `ModelError` for a model that can't be asked, and `BudgetExhausted` for one that can't be paid.
"""


class ModelClient(Protocol):
    """The seam to one kind of provider API. Makes exactly one try; errors are those below."""

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Makes the call; with `on_delta` it streams. Cancelling the task closes the connection.

        Raises:
            ModelError: one of its subclasses, always.
        """
        ...


class ModelError(Exception):
    """A model call failed for good. The text says what to change."""


class TransientModelError(ModelError):
    """Worth another try: rate limit, 5xx, connection lost.

    Args:
        retry_after: seconds that the provider asked for.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, rate_limited: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.rate_limited = rate_limited


class ContextWindowExceededError(ModelError):
    """The prompt is longer than the model takes: compact it and try once more."""


class ModelSettingError(ModelError):
    """A wrong key, an unknown model, a model without tools: a setting must change, retrying is useless."""


class BudgetExhausted(Exception):
    """A model isn't asked: not even a short reply fits into what is left of a budget; the text says of which."""

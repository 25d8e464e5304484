"""A provider's failure, whatever library reported it, as one of our errors that say what to change."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.agent.messages import (
    ContextWindowExceededError,
    ModelError,
    ModelRef,
    ModelSettingError,
    TransientModelError,
)
from gateway.config.models import SHORTEST_SECRET
from gateway.config.providers import KNOWN_PROVIDERS

_MAX_TEXT = 500
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum context|(prompt|input) is too long|too many (input )?tokens"
    r"|reduce the length|input token count.*exceeds|exceeds? the (available )?context",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(
    r"(does ?n[o']t|not) support (the )?(use of )?(tools?|function)|support tool use"
    r"|tools? (use |calling )?(is|are) not supported|`?tools`? is not supported|enable-auto-tool-choice",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model\b.{0,120}(not found|(does ?n[o']t|not) exist|is not a valid|not a supported|no longer)"
    r"|(unknown|invalid|no such) model|not a valid model",
    re.IGNORECASE | re.DOTALL,
)
_NO_CREDIT = re.compile(
    r"insufficient[_ ](quota|balance|credit)|billing|exceeded your current quota|credit balance",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"(invalid|incorrect|missing|no) (x-)?api[ -]?key|api key not valid", re.IGNORECASE)
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of a failed call."""

    message: str
    status: int | None = None
    """HTTP status; None if no answer came or the error came inside a stream."""
    code: str = ""
    """The provider's own code or type of error."""
    retry_after: float | None = None
    """seconds"""


def model_error(model: ModelRef, failure: Failure) -> ModelError:
    """The error to raise for a failure."""
    said = _shown(model, failure.message)
    signs = f"{failure.code} {failure.message}"
    status = failure.status
    if (status in (402, None) or status == 429) and _NO_CREDIT.search(signs):
        return ModelError(f"{model.name}: the account has no credit or quota left. Its provider says: {said}")
    if status == 402:
        return ModelError(f"{model.name}: the provider asks for payment: {said}")
    if status != 429 and _TOO_LONG.search(signs):
        return ContextWindowExceededError(f"{model.name}: the prompt is longer than the model takes: {said}")
    if status in (401, 403) or (status in (400, None) and _BAD_KEY.search(signs)):
        return ModelSettingError(f"{model.name}: the provider refuses the key. {_key_hint(model)} It says: {said}")
    if status != 429 and _NO_TOOLS.search(signs):
        return ModelSettingError(
            f"{model.name} can't call tools, which Laneway needs. Choose another model in"
            f" `agents.defaults.model.primary` (or the agent's own `model`). The provider says: {said}"
        )
    if status == 404 or (status in (400, 422, None) and _NO_MODEL.search(signs)):
        return ModelSettingError(
            f"{model.name}: the provider has no model “{model.id}”{_at(model)}. Check the name in"
            f" `agents.defaults.model.primary` (or the agent's own `model`), and"
            f" `models.providers.{model.provider}.baseUrl`. It says: {said}"
        )
    if status is None or status in _TRANSIENT_STATUS or status >= 500:
        return _transient(model, failure, said)
    return ModelError(f"{model.name}: the provider refuses the request (HTTP {status}): {said}")


def _transient(model: ModelRef, failure: Failure, said: str) -> TransientModelError:
    limited = failure.status == 429
    what = "rate limited" if limited else f"HTTP {failure.status}" if failure.status else "no answer"
    text = f"{model.name}: {what}: {said}"
    return TransientModelError(text, retry_after=failure.retry_after, rate_limited=limited)


def _key_hint(model: ModelRef) -> str:
    setting = f"`models.providers.{model.provider}.apiKey`"
    known = KNOWN_PROVIDERS.get(model.provider)
    if not known or not known.variables:
        return f"Set {setting}."
    return f"Set {setting} or the environment variable {known.variables[0]}."


def _at(model: ModelRef) -> str:
    return f" at {model.base_url}" if model.base_url else ""


def _shown(model: ModelRef, message: str) -> str:
    # Some providers repeat the key in their error, and errors are stored and shown.
    key = model.api_key
    text = message.replace(key, "…") if key and len(key) >= SHORTEST_SECRET else message
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"

"""What a client of the OpenAI-compatible API asks for, read leniently where clients differ.

Clients resend the whole history; the session has it already, so that only what follows the last assistant message is
taken. System messages are left out: the agent's own prompt stands. Sampling parameters are ignored, as the agent's
settings are its own; what would change what the answer *is* (tools, several choices) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from gateway.config import Config
from gateway.http.errors import ApiError
from gateway.http.media import MOST_FILES, Picture, decode

NAME = "laneway"
LONGEST_TEXT = 1_000_000
"""characters"""
_DATA_URL = re.compile(r"data:([^;,]+);base64,(.*)", re.DOTALL)
_LONGEST_USER = 200


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class ImageUrl(_Lenient):
    """Where a picture is."""

    url: str


class Part(_Lenient):
    """A part of a message's content."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None


class ChatMessage(_Lenient):
    """One message of the history."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | tuple[Part, ...] | None = None


class StreamOptions(_Lenient):
    """How the stream is to be."""

    include_usage: bool | None = None


class ChatBody(_Lenient):
    """The body of `POST /v1/chat/completions`, as far as it matters here."""

    model: str = NAME
    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=10_000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is new in a request."""

    text: str
    pictures: tuple[Picture, ...]


def agent_of(config: Config, model: str) -> str | None:
    """The agent that a model name stands for; None for `laneway`, which leaves it open.

    Raises:
        ApiError: 404, naming the ones there are.
    """
    name = model.strip().lower()
    if name == NAME:
        return None
    agent_id = name.removeprefix(f"{NAME}:")
    if agent_id in config.agent_ids():
        return agent_id
    raise ApiError(
        404,
        f"there is no model `{model[:80]}`",
        field="model",
        hint=f"a model is an agent here: {', '.join(model_names(config))}",
        code="model_not_found",
    )


def model_names(config: Config) -> tuple[str, ...]:
    """Every name under which an agent can be asked for."""
    return (NAME, *(f"{NAME}:{agent_id}" for agent_id in config.agent_ids()))


def user_key(agent_id: str, user: str) -> str:
    """The session of the `user` that a client names."""
    if not user.strip() or len(user) > _LONGEST_USER:
        raise ApiError(400, f"`user` must have 1 to {_LONGEST_USER} characters", field="user")
    return f"agent:{agent_id}:api:user:{quote(user.strip(), safe='@.+-_')[:380]}"


def read_asked(body: ChatBody) -> Asked:
    """What follows the last assistant message.

    Raises:
        ApiError: 400, if that is nothing, or something that can't be done.
    """
    if body.n not in (None, 1):
        raise ApiError(400, "one answer is given to each request", field="n", hint="leave `n` out")
    if body.tools or body.functions:
        raise ApiError(
            400,
            "the agent has its own tools and can't call those of a client",
            field="tools" if body.tools else "functions",
            hint="leave them out; tools are configured under `tools` and `agents`",
        )
    texts: list[str] = []
    pictures: list[Picture] = []
    for index, message in _tail(body.messages):
        text, seen = _content(message, f"messages.{index}.content")
        texts.append(text)
        pictures += seen
    if len(pictures) > MOST_FILES:
        raise ApiError(400, f"at most {MOST_FILES} pictures can be sent at once", field="messages")
    joined = "\n\n".join(text for text in texts if text.strip())
    if not joined and not pictures:
        raise ApiError(400, "no message of a user follows the last one of the assistant", field="messages")
    if len(joined) > LONGEST_TEXT:
        raise ApiError(400, f"the message has more than {LONGEST_TEXT} characters", field="messages")
    return Asked(joined, tuple(pictures))


def _tail(messages: Sequence[ChatMessage]) -> list[tuple[int, ChatMessage]]:
    start = max((index for index, message in enumerate(messages) if message.role == "assistant"), default=-1) + 1
    return [(index, messages[index]) for index in range(start, len(messages)) if messages[index].role == "user"]


def _content(message: ChatMessage, field: str) -> tuple[str, list[Picture]]:
    if message.content is None or isinstance(message.content, str):
        return message.content or "", []
    texts: list[str] = []
    pictures: list[Picture] = []
    for index, part in enumerate(message.content):
        place = f"{field}.{index}"
        if part.type == "text":
            texts.append(part.text or "")
        elif part.type == "image_url":
            pictures.append(_picture(part, place))
        else:
            raise ApiError(
                400, f"`{place}`: only text and pictures can be sent", field=place, hint="types: text, image_url"
            )
    return "\n".join(texts), pictures


def _picture(part: Part, field: str) -> Picture:
    url = part.image_url.url if isinstance(part.image_url, ImageUrl) else part.image_url or ""
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise ApiError(
            400,
            f"`{field}`: a picture must be sent along, not linked to",
            field=field,
            hint="use a URL of the form data:image/png;base64,…",
        )
    return decode(match[2], match[1], field)

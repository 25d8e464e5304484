"""A streamed answer in the form of OpenAI's chunks.

What was sent can't be taken back. If a model call is tried again, or a text turns out to be only what was said beside
a tool call, the new text follows after an empty line.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.agent.messages import Usage
from gateway.events import Event
from gateway.http.errors import ApiError
from gateway.http.json import dumps


class Flow:
    """What a client has been sent of a text that may start anew."""

    def __init__(self) -> None:
        self._sent = ""
        self._partial = ""
        self._begun = False

    def follow(self, event: Event) -> str:
        """Takes a `delta` or a `snapshot`; returns what is to be sent now."""
        text = str(event.data["text"])
        self._partial = self._partial + text if event.type == "delta" else text
        return self.show(self._partial)

    def show(self, text: str) -> str:
        """The text as it stands now; returns what of it is new to the client."""
        if self._sent.startswith(text):
            return ""
        piece = text[len(self._sent) :] if text.startswith(self._sent) else f"\n\n{text}"
        if self._begun and not self._sent:
            piece = f"\n\n{piece}"
        self._sent, self._begun = text, True
        return piece

    def end_part(self) -> None:
        """What follows is another text."""
        self._sent = self._partial = ""


class Chunks:
    """Writes chunks to a client."""

    def __init__(self, response: web.StreamResponse, head: dict[str, Any], *, include_usage: bool) -> None:
        """
        Args:
            response: prepared.
            head: `id`, `created` and `model`, the same in every chunk.
            include_usage: the client wants the usage at the end.
        """
        self._response = response
        self._head = {**head, "object": "chat.completion.chunk"}
        self._include_usage = include_usage

    async def begin(self) -> None:
        """The first chunk: whose words follow."""
        await self._choice({"role": "assistant", "content": ""}, None)

    async def text(self, piece: str) -> None:
        """More of the text; nothing is sent for an empty piece."""
        if piece:
            await self._choice({"content": piece}, None)

    async def end(self, usage: Usage) -> None:
        """The last chunks."""
        await self._choice({}, "stop")
        if self._include_usage:
            await self._data({**self._head, "choices": [], "usage": usage_json(usage)})
        await self._response.write(b"data: [DONE]\n\n")
        await self._response.write_eof()

    async def fail(self, error: ApiError) -> None:
        """Ends the stream with an error instead."""
        await self._data(error.body("/v1/"))
        await self._response.write_eof()

    async def alive(self) -> None:
        """Keeps the connection from being taken for dead."""
        await self._response.write(b": keep-alive\n\n")

    async def _choice(self, delta: dict[str, str], finish: str | None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        extra = {"usage": None} if self._include_usage else {}
        await self._data({**self._head, "choices": [choice], **extra})

    async def _data(self, value: dict[str, Any]) -> None:
        await self._response.write(f"data: {dumps(value)}\n\n".encode())


def usage_json(usage: Usage) -> dict[str, Any]:
    """Tokens in OpenAI's words."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    }

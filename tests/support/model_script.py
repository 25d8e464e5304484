"""What a scripted model server says: replies, the rules that choose them, and a request as a rule sees it.

Pure data and matching, no I/O. Rules look only at the request, so that a script goes on rightly after either
side was killed; only `once` rules and callables can remember something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

Json = dict[str, Any]
Role = Literal["main", "child"]

CHILD_PATTERN = re.compile(r"(?i)\byou are a sub-?agent\b|\bsession: agent:[\w-]+:subagent:")
"""A system prompt that matches belongs to a sub-agent."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call in a reply."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])
    """A mapping, or text that is sent as it is (it may be invalid JSON)."""
    id: str | None = None
    """None: `call_<request>_<index>`."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The usage that a reply reports."""

    input: int = 100
    output: int = 20
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the server."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    """Sent as `reasoning_content`, or as a thinking block to an Anthropic client."""
    status: int = 200
    """Anything from 400 up is sent as an error with `error` as its message."""
    error: str = ""
    code: str | None = None
    """The error's `code`, such as `insufficient_quota`."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay: float = 0
    """seconds before the first byte"""
    chunk_delay: float = 0
    """seconds between the pieces of a stream"""
    hold: str | None = None
    """Hang until `server.release(name)`."""
    hold_after: int = 0
    """Pieces of a stream that leave before it hangs."""
    drop: bool = False
    """Close the connection without an answer, or after `drop_after` pieces of a stream."""
    drop_after: int = 0
    split: bool = False
    """Send a stream in pieces of seven bytes, across characters and lines."""
    tokens: Tokens | None = field(default_factory=Tokens)
    """None: report no usage."""
    finish_reason: str | None = None
    """None: `tool_calls` or `stop`, as fits."""


def say(text: str, **more: Any) -> Reply:
    """A reply of text."""
    return Reply(text=text, **more)


def call(name: str, /, **arguments: Any) -> Reply:
    """A reply that calls one tool."""
    return Reply(calls=(Call(name, arguments),))


def calls(*several: Call, text: str = "") -> Reply:
    """A reply that calls several tools at once."""
    return Reply(text=text, calls=several)


def fail(status: int, error: str = "scripted failure", code: str | None = None, **headers: str) -> Reply:
    """An HTTP error; `retry_after="2"` becomes the header `Retry-After: 2`."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return Reply(status=status, error=error, code=code, headers=named)


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message in the OpenAI format; pictures count as `[image]`."""
    content: object = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = cast("list[Json]", content)
    return "".join(str(part.get("text", "[image]")) for part in parts)


@dataclass(frozen=True)
class Seen:
    """A request that reached the server, in the OpenAI format whatever protocol it came by."""

    number: int
    """1, 2, 3 … over the server's life."""
    body: Json
    headers: Mapping[str, str]
    """Names in any case."""
    arrived: float
    """`time.monotonic()` of this machine, comparable between processes."""
    child_pattern: re.Pattern[str] = CHILD_PATTERN
    peer: object = None
    """The client's address and port: the same for requests over one connection."""

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def messages(self) -> list[Json]:
        return cast("list[Json]", self.body.get("messages") or [])

    @cached_property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools on offer."""
        return tuple(str(tool["function"]["name"]) for tool in self.body.get("tools") or ())

    @cached_property
    def system(self) -> str:
        """All system text."""
        return "\n".join(text_of(m) for m in self.messages if m["role"] in ("system", "developer"))

    @cached_property
    def users(self) -> tuple[str, ...]:
        """The texts of the user messages, oldest first."""
        return tuple(text_of(m) for m in self.messages if m["role"] == "user")

    @property
    def first_user(self) -> str:
        """A sub-agent's task."""
        return self.users[0] if self.users else ""

    @property
    def last_user(self) -> str:
        return self.users[-1] if self.users else ""

    @property
    def last(self) -> Json:
        """The last message of any role."""
        return self.messages[-1] if self.messages else {"role": "system", "content": ""}

    @cached_property
    def results(self) -> tuple[str, ...]:
        """Texts of the tool results after the last assistant message."""
        texts: list[str] = []
        for message in reversed(self.messages):
            if message["role"] == "assistant":
                break
            if message["role"] == "tool":
                texts.append(text_of(message))
        return tuple(reversed(texts))

    @cached_property
    def everything(self) -> str:
        """The whole conversation as one text."""
        return "\n".join(f"{m['role']}: {text_of(m)}" for m in self.messages)

    @property
    def step(self) -> int:
        """Which call of its conversation this is: 1 + the assistant messages in it; a retry has the same."""
        return 1 + sum(1 for m in self.messages if m["role"] == "assistant")

    @property
    def turn_step(self) -> int:
        """As `step`, counted from the last user message."""
        count = 1
        for message in reversed(self.messages):
            if message["role"] == "user":
                break
            count += message["role"] == "assistant"
        return count

    @property
    def role(self) -> Role:
        return "child" if self.child_pattern.search(self.system) else "main"


Answer = Callable[[Seen], "Reply | None"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When to say what. All given conditions must hold; patterns are searched, not matched whole."""

    answer: Answer
    name: str = ""
    user: str | None = None
    """On the last user text."""
    task: str | None = None
    """On the first user text."""
    system: str | None = None
    anywhere: str | None = None
    """On the whole conversation."""
    result: str | None = None
    """On the tool results that came last."""
    last_role: str | None = None
    role: Role | None = None
    model: str | None = None
    step: int | None = None
    turn_step: int | None = None
    once: bool = False
    """Used up after one answer; left over at the end it is a fault."""

    def matches(self, request: Seen) -> bool:
        """Whether every condition holds."""
        exact = (
            (self.role, request.role),
            (self.last_role, request.last["role"]),
            (self.step, request.step),
            (self.turn_step, request.turn_step),
        )
        if any(want is not None and want != got for want, got in exact):
            return False
        return all(
            pattern is None or re.search(pattern, text(), re.DOTALL)
            for pattern, text in (
                (self.user, lambda: request.last_user),
                (self.task, lambda: request.first_user),
                (self.system, lambda: request.system),
                (self.anywhere, lambda: request.everything),
                (self.result, lambda: "\n".join(request.results)),
                (self.model, lambda: request.model),
            )
        )


def rule_from_json(data: Mapping[str, Any]) -> Rule:
    """A rule of a script file: the conditions of `Rule` and `reply`, the fields of `Reply`."""
    fields = dict(data)
    reply = reply_from_json(cast("Json", fields.pop("reply")))
    return replace(Rule(lambda _: reply), **fields)


def reply_from_json(data: Mapping[str, Any]) -> Reply:
    """A reply of a script file; `tokens: null` reports no usage."""
    fields = dict(data)
    if "calls" in fields:
        fields["calls"] = tuple(Call(**one) for one in cast("Sequence[Json]", fields["calls"]))
    if fields.get("tokens"):
        fields["tokens"] = Tokens(**cast("Json", fields["tokens"]))
    return Reply(**fields)

"""A model provider for tests: scripted, strict, on loopback, in this process or as one of its own.

    async with ScriptedModelServer() as server:
        server.on(user="spawn", role="main", turn_step=1, reply=call("sessions_spawn", task="count"))
        server.on(role="child", reply=say("3 files"))
        server.on(reply=say("done"))
        …  # models.providers.test = {baseUrl: server.base_url, api: "openai-completions", apiKey: "x", …}
        server.assert_done()

The first rule that matches answers. A request that no rule matches gets a 500 and is kept in `unexpected`;
one that a strict provider would refuse gets a 400 and is kept in `invalid`. As a process of its own,
`python -m tests.support.model_server --script rules.json --log requests.jsonl`, it prints its base URL first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

from aiohttp import web

from tests.support import model_anthropic, model_wire
from tests.support.model_checks import faults
from tests.support.model_script import CHILD_PATTERN, Answer, Json, Reply, Rule, Seen, rule_from_json
from tests.support.model_stream import drop, stream


class _Wire(Protocol):
    """How a protocol writes a reply."""

    def error(self, reply: Reply) -> Json: ...
    def whole(self, request: Seen, reply: Reply) -> Json: ...
    def pieces(self, request: Seen, reply: Reply) -> Iterable[bytes]: ...


class _OpenAI:
    error = staticmethod(model_wire.error_body)
    whole = staticmethod(model_wire.completion)
    pieces = staticmethod(model_wire.events)


class _Anthropic:
    error = staticmethod(model_anthropic.error_body)
    whole = staticmethod(model_anthropic.message)
    pieces = staticmethod(model_anthropic.events)


class ScriptedModelServer:
    """The server. Use it as an async context manager; `requests` is what it saw.

    Args:
        rules: the script so far; `on` adds to it.
        child_pattern: which system prompts are sub-agents'.
        log: file that gets a JSON line at each arrival and each completed answer.
        models: ids that `/v1/models` lists.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        child_pattern: re.Pattern[str] = CHILD_PATTERN,
        log: TextIO | None = None,
        models: Iterable[str] = ("scripted",),
    ) -> None:
        self.rules: list[Rule] = list(rules)
        self.requests: list[Seen] = []
        self.answered: list[tuple[int, float]] = []
        """Number of each request that was answered in full, and when (`time.monotonic()`)."""
        self.unexpected: list[str] = []
        self.invalid: list[str] = []
        self.keep = True
        """False: `requests` stays empty, for long benchmarks."""
        self.base_url = ""
        self._child_pattern = child_pattern
        self._log = log
        self._models = tuple(models)
        self._used: set[int] = set()
        self._count = 0
        self._open = 0
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._arrival = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    # ------------------------------------------------------------------ script

    def on(
        self,
        answer: Answer | None = None,
        *,
        reply: Reply | None = None,
        first: bool = False,
        **conditions: Any,
    ) -> Rule:
        """Adds a rule.

        Args:
            answer: gets the request and returns a reply, or None to let the next rules look at it.
            reply: a fixed answer, instead of `answer`.
            first: before all others instead of after them.
            conditions: those of `Rule`.
        """
        if (answer is None) == (reply is None):
            raise TypeError("give either a callable or reply=")
        rule = Rule(answer or (lambda _: reply), **conditions)
        self.rules.insert(0 if first else len(self.rules), rule)
        return rule

    def release(self, name: str) -> None:
        """Lets every reply go that is held under this name, now and later."""
        self._gates[name].set()

    async def wait_for(self, matches: Callable[[Seen], bool], *, count: int = 1, seconds: float = 30) -> list[Seen]:
        """Waits until so many requests that match have arrived, and returns them.

        Raises:
            TimeoutError: after so many seconds.
        """
        async with asyncio.timeout(seconds), self._arrival:
            while len(found := [seen for seen in self.requests if matches(seen)]) < count:
                await self._arrival.wait()
            return found

    async def wait_gone(self, *, seconds: float = 30) -> None:
        """Waits until no request is being answered: a client that cancels has closed its connection.

        Raises:
            TimeoutError: after so many seconds.
        """
        async with asyncio.timeout(seconds), self._arrival:
            while self._open:
                await self._arrival.wait()

    def assert_done(self) -> None:
        """Fails on an unexpected or invalid request and on a `once` rule that was never used."""
        unused = [rule.name or repr(rule) for rule in self.rules if rule.once and id(rule) not in self._used]
        problems = [
            *(f"unexpected: {text}" for text in self.unexpected),
            *(f"invalid: {text}" for text in self.invalid),
            *(f"never used: {text}" for text in unused),
        ]
        assert not problems, "the scripted model server saw what it should not:\n" + "\n".join(problems)

    # ------------------------------------------------------------------ serving

    async def start(self, port: int = 0) -> None:
        """Listens on 127.0.0.1 and sets `base_url`."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._openai)
        app.router.add_post("/v1/messages", self._anthropic)
        app.router.add_get("/v1/models", self._list)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Closes every connection."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> ScriptedModelServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": m, "object": "model"} for m in self._models]})

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        body = cast("Json", json.loads(await request.read()))
        return await self._answer(request, body, _OpenAI())

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        body = cast("Json", json.loads(await request.read()))
        return await self._answer(request, model_anthropic.to_openai(body), _Anthropic())

    async def _answer(self, request: web.Request, body: Json, wire: _Wire) -> web.StreamResponse:
        self._open += 1
        try:
            return await self._serve(request, body, wire)
        finally:
            self._open -= 1
            async with self._arrival:
                self._arrival.notify_all()

    async def _serve(self, request: web.Request, body: Json, wire: _Wire) -> web.StreamResponse:
        seen = await self._arrived(body, request)
        reply = self._choose(seen)
        gate = self._gates[reply.hold] if reply.hold else None
        if gate is not None and not (seen.stream and reply.hold_after):
            await gate.wait()
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.status >= 400:
            return web.json_response(wire.error(reply), status=reply.status, headers=reply.headers)
        if reply.drop and not seen.stream:
            return drop(request, None)
        if not seen.stream:
            response: web.StreamResponse = web.json_response(wire.whole(seen, reply), headers=reply.headers)
        else:
            response = await stream(request, reply, wire.pieces(seen, reply), gate)
        self.answered.append((seen.number, time.monotonic()))
        self._write({"event": "answered", "number": seen.number})
        return response

    async def _arrived(self, body: Json, request: web.Request) -> Seen:
        now = time.monotonic()
        self._count += 1
        peer = request.transport.get_extra_info("peername") if request.transport else None
        seen = Seen(self._count, body, request.headers, now, self._child_pattern, peer)
        if self._log:
            extra = {"step": seen.step, "role": seen.role, "arrived": seen.arrived}
            self._write({"event": "request", "number": seen.number, **extra, "body": body})
        if self.keep:
            self.requests.append(seen)
            async with self._arrival:
                self._arrival.notify_all()
        return seen

    def _choose(self, seen: Seen) -> Reply:
        if found := faults(seen.body):
            self.invalid.append(f"request {seen.number}: " + "; ".join(found))
            self._write({"event": "invalid", "number": seen.number, "faults": found})
            return Reply(status=400, error="; ".join(found))
        for rule in self.rules:
            if rule.once and id(rule) in self._used:
                continue
            if rule.matches(seen) and (reply := rule.answer(seen)) is not None:
                self._used.add(id(rule))
                return reply
        text = f"no rule for request {seen.number} ({seen.role}, step {seen.step}): {seen.everything[-2000:]}"
        self.unexpected.append(text)
        self._write({"event": "unexpected", "number": seen.number})
        return Reply(status=500, error=text)

    def _write(self, record: Json) -> None:
        if self._log:
            self._log.write(json.dumps(record) + "\n")
            self._log.flush()


# ---------------------------------------------------------------------- as a process of its own


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, help='JSON: {"rules": [{…conditions, "reply": {…}}]}')
    parser.add_argument("--rules", help="module:function that gets the server and adds rules")
    parser.add_argument("--log", type=Path, help="JSONL of requests and answers, appended")
    return parser.parse_args()


async def _serve(options: argparse.Namespace, rules: list[Rule], log: TextIO | None) -> None:
    server = ScriptedModelServer(rules, log=log)
    server.keep = False
    if options.rules:
        module, _, name = str(options.rules).partition(":")
        getattr(importlib.import_module(module), name)(server)
    await server.start(options.port)
    sys.stdout.write(server.base_url + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Serves until it is killed."""
    options = _arguments()
    script = cast("Json", json.loads(options.script.read_text())) if options.script else {}
    rules = [rule_from_json(rule) for rule in cast("list[Json]", script.get("rules", []))]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(options.log.open("a")) if options.log else None
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(options, rules, log))


if __name__ == "__main__":
    main()

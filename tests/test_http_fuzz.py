"""Whatever is sent, the gateway answers with a sentence: never with a traceback, never with 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.http_gateway import KEY, House, http_gateway
from tests.support.model_script import say

PATHS = (
    "/healthz",
    "/metrics",
    "/v1/models",
    "/v1/models/{}",
    "/v1/chat/completions",
    "/api/status",
    "/api/events",
    "/api/sessions",
    "/api/sessions/{}",
    "/api/sessions/{}/transcript",
    "/api/sessions/{}/messages",
    "/api/runs",
    "/api/runs/{}",
    "/api/runs/{}/log",
    "/api/outbox",
    "/api/outbox/{}/retry",
    "/api/outbox/{}/drop",
    "/api/approvals",
    "/api/approvals/{}",
    "/api/commands",
    "/{}",
)
"""Without `/api/backup`, which would write to whatever path it is told."""
FIELDS = (
    *("text", "channel", "thread", "attachments", "name", "mediaType", "dataBase64", "decision", "model", "messages"),
    *("role", "content", "type", "image_url", "url", "stream", "stream_options", "include_usage", "user", "n", "tools"),
    *("limit", "before", "after", "cursor", "kind", "status", "outcome", "session", "agent", "state", "lastEventId"),
)
WORDS = (
    "",
    KEY,
    "agent:main:api:x",
    "laneway",
    "main",
    "user",
    "assistant",
    "text",
    "image_url",
    "allow",
    "/help",
    "api",
)
HEADERS = (
    "Idempotency-Key",
    "X-Laneway-Session-Key",
    "Last-Event-ID",
    "Content-Type",
    "Origin",
    "Host",
    "Authorization",
    "Accept",
)

texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=30))
names = st.one_of(st.sampled_from(FIELDS), texts)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
pieces = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": values}),
    values,
)
chats = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries(
                {
                    "role": st.sampled_from(("user", "user", "assistant", "system")),
                    "content": st.one_of(texts, st.lists(pieces, max_size=3)),
                }
            ),
            max_size=4,
        )
    },
    optional={"model": texts, "user": texts, "stream": st.booleans(), "n": scalars},
)
bodies = st.one_of(
    st.dictionaries(names, values, max_size=5).map(json.dumps).map(str.encode),
    chats.map(json.dumps).map(str.encode),
    values.map(json.dumps).map(str.encode),
    st.binary(max_size=60),
)
segments = st.one_of(
    texts.map(lambda text: quote(text, safe=":")),
    st.binary(max_size=12).map(lambda raw: quote(raw)),
    st.integers().map(str),
    st.text("%zß:/.-_a1²٣", max_size=10).map(lambda text: quote(text, safe="%:.")),
)
queries = st.dictionaries(names, texts, max_size=3).map(
    lambda given: "&".join(f"{quote(name)}={quote(value)}" for name, value in given.items())
)
header_values = st.one_of(
    texts.map(str.encode), st.binary(max_size=20), st.integers().map(lambda number: str(number).encode())
).map(lambda raw: raw.translate(None, bytes([*range(32), 127])))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with http_gateway(tmp_path) as running:
        running.models.on(reply=say("ok"))
        yield running


async def exchange(house: House, method: str, target: str, headers: dict[str, bytes], body: bytes) -> tuple[int, bytes]:
    """One request, byte for byte; the status, and what came with it."""
    address = urlsplit(house.gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    sent: dict[str, bytes] = {"Host": b"localhost", "Authorization": f"Bearer {house.bearer}".encode(), **headers}
    lines = [f"{method} {target} HTTP/1.1".encode(), *(name.encode() + b": " + sent[name] for name in sent)]
    lines += [b"Connection: close", f"Content-Length: {len(body)}".encode()]
    try:
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            endless = b"text/event-stream" in head and target.startswith("/api/events")
            rest = b"" if endless else await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(head.split(b" ", 2)[1]), rest


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(("GET", "POST", "POST", "PUT", "HEAD", "OPTIONS")),
    path=st.sampled_from(PATHS),
    segment=segments,
    query=queries,
    headers=st.dictionaries(st.sampled_from(HEADERS), header_values, max_size=2),
    body=bodies,
)
async def test_nothing_breaks_it(
    house: House, method: str, path: str, segment: str, query: str, headers: dict[str, bytes], body: bytes
) -> None:
    target = path.format(segment) + (f"?{query}" if query else "")
    status, rest = await exchange(house, method, target, headers, body)
    assert status not in (500, 503), rest
    assert b"Traceback" not in rest


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=chats, headers=st.dictionaries(st.sampled_from(HEADERS[:2]), header_values, max_size=2))
async def test_chats_are_answered_or_refused(house: House, body: dict[str, Any], headers: dict[str, bytes]) -> None:
    status, rest = await exchange(house, "POST", "/v1/chat/completions", headers, json.dumps(body).encode())
    assert status in (200, 400, 404, 409), rest
    if status != 200:
        assert json.loads(rest)["error"]["type"] == "invalid_request_error"

"""Who is let in, and what a refused or broken request is told."""

from __future__ import annotations

import asyncio
import logging
import socket
import stat
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import web

from gateway.config import Paths, load_config
from gateway.http.auth import host_allowed, own_token, scope
from gateway.http.server import ListenError
from gateway.plugins import Registry
from tests.support.http_gateway import House, http_gateway


class Breaking:
    """A plugin with pages that fail."""

    name = "breaking"

    def register(self, registry: Registry) -> None:
        async def fail(_request: web.Request) -> web.Response:
            raise RuntimeError("a secret inside")

        @scope("chat")
        async def chat_only(_request: web.Request) -> web.Response:
            return web.json_response({"ok": True})

        registry.routes([web.get("/api/fail", fail), web.get("/api/chat-only", chat_only)])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with http_gateway(tmp_path, plugins={"breaking": Breaking()}) as running:
        yield running


async def test_health_pages_need_no_token(house: House) -> None:
    alive = await house.get("/healthz", bearer="")
    ready = await house.get("/readyz", bearer="")
    assert (alive.status, alive.json["status"]) == (200, "ok")
    assert (ready.status, ready.json) == (200, {"ready": True, "parts": {"database": True, "sessions": True}})


@pytest.mark.parametrize("path", ["/metrics", "/api/status", "/api/events", "/v1/models", "/nowhere", "/api/chat-only"])
@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic abc", "Bearer \xfc\xff"])
async def test_everything_else_needs_the_token(house: House, path: str, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    refused = await house.get(path, bearer="", headers=headers)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert "token" in refused.error["message"]


async def test_the_token_is_made_once_and_readable_by_its_owner_only(house: House, tmp_path: Path) -> None:
    assert stat.S_IMODE(house.paths.token.stat().st_mode) == 0o600
    assert own_token(house.gateway.config, house.paths) == house.bearer
    assert len(house.bearer) >= 40


async def test_a_configured_token_takes_the_place_of_the_generated_one(tmp_path: Path) -> None:
    async with http_gateway(tmp_path, config={"gateway": {"port": 0, "auth": {"token": "chosen-token"}}}) as house:
        assert house.bearer == "chosen-token"
        assert (await house.get("/api/status")).status == 200
        house.paths.config_file.write_text('{gateway: {port: 0, auth: {token: "another-token"}}}')
        assert (await house.post("/api/reload")).json["reloaded"]
        assert (await house.get("/api/status", bearer="chosen-token")).status == 401
        assert (await house.get("/api/status", bearer="another-token")).status == 200


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:7878", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:7878", True),
        ("laneway.example", True),
        ("Laneway.Example:8443", True),
        ("ported.example:99", True),
        ("ported.example:98", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example@127.0.0.1", False),
        ("127.0.0.1/evil", False),
        ("192.168.0.1", False),
        ("[::1", False),
        ("", False),
        ("127.0.0.1:port", False),
    ],
)
def test_hosts(host: str, allowed: bool) -> None:
    assert host_allowed(host, ("laneway.example", "ported.example:99")) is allowed


async def test_foreign_hosts_and_origins_are_refused(house: House) -> None:
    own = house.gateway.url
    assert (await house.get("/healthz", headers={"Host": "evil.example"})).status == 403
    assert (await house.get("/api/status", headers={"Origin": own})).status == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://[", ""):
        assert (await house.get("/api/status", headers={"Origin": origin})).status == 403, origin


async def test_an_unforeseen_error_has_an_id_and_no_traceback(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        failed = await house.get("/api/fail")
    assert failed.status == 500
    assert failed.headers["Content-Type"].startswith("application/json")
    assert "secret" not in failed.text
    number = failed.error["message"].rsplit(" ", 1)[-1]
    assert any(number in record.getMessage() and record.exc_info for record in caplog.records)


async def test_pages_that_do_not_exist_and_methods_that_do_not_fit(house: House) -> None:
    assert (await house.get("/api/nope")).error["message"] == "there is no such page"
    wrong = await house.ask("PUT", "/api/status")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET,HEAD")


async def test_a_body_over_eight_megabytes_is_refused(house: House) -> None:
    path = "/api/sessions/agent:main:main/messages"
    large = await house.ask("POST", path, data=BytesIO(b'{"text": "' + b"x" * (8 * 2**20) + b'"}'))
    assert (large.status, "8 MB" in large.error["message"]) == (413, True)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 2**20

    assert (await house.ask("POST", path, data=pieces())).status == 413


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"text": \n "a" x}', "(2:6)"),
        (b"[1]", "body"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"text": "\\ud800"}', "JSON"),
        (b'{"txet": "a"}', "unknown field `txet`"),
        (b"{}", "`text` is required"),
        (b'{"text": 3}', "`text`"),
        (b'{"text": "a", "thread": ""}', "`thread`"),
        (b'{"text": "a", "attachments": [{"mediaType": "image/png", "dataBase64": "a", "x": 1}]}', "attachments.0.x"),
    ],
)
async def test_a_bad_body_is_told_where_it_is_wrong(house: House, body: bytes, said: str) -> None:
    refused = await house.ask("POST", "/api/sessions/agent:main:main/messages", data=body)
    assert refused.status == 400
    assert said in refused.error["message"]


async def test_the_nearest_known_field_is_named(house: House) -> None:
    refused = await house.post("/api/sessions/agent:main:main/messages", {"txet": "a"})
    assert refused.error == {
        "message": "unknown field `txet` in the body",
        "field": "txet",
        "hint": "did you mean `text`?",
    }


async def test_metrics_tell_of_the_lanes(house: House) -> None:
    page = await house.get("/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=")
    assert 'laneway_lane_cap{lane="main"} 4.0' in page.text
    assert "laneway_accept_seconds_bucket" in page.text


async def test_status_is_one_page_about_everything(house: House) -> None:
    status = (await house.get("/api/status")).json
    assert status["url"] == house.gateway.url
    assert status["lanes"]["main"] == {"cap": 4, "running": 0, "waiting": 0, "oldestWaitSeconds": 0.0}
    assert (status["model"], status["offline"]) == ("test/scripted", False)
    assert status["outbox"] == {"pending": 0, "failed": 0}
    assert status["startedAt"].endswith("Z")
    assert status["state"] == str(house.paths.state)


async def test_a_port_in_use_names_the_setting_or_is_left_for_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(ListenError, match=r"gateway\.port"):
            async with http_gateway(tmp_path / "a", config={"gateway": {"port": port}}):
                pass
        async with http_gateway(tmp_path / "b") as house:
            paths = Paths(tmp_path / "c")
            paths.state.mkdir()
            environ = {"HOME": str(tmp_path), "LANEWAY__gateway__port": str(port)}
            house.gateway.config = load_config(None, paths=paths, environ=environ)
            await house.gateway.http.stop()
            url = await house.gateway.http.start(allow_other_port=True)
            assert not url.endswith(f":{port}")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
async def test_an_address_that_cannot_be_had_names_the_setting(tmp_path: Path, host: str) -> None:
    with pytest.raises(ListenError, match=r"gateway\.host"):
        async with http_gateway(tmp_path, config={"gateway": {"host": host, "port": 0}}):
            pass


async def test_stopping_ends_open_streams_at_once(tmp_path: Path) -> None:
    async with http_gateway(tmp_path) as house:
        headers = {"Authorization": f"Bearer {house.bearer}"}
        response = await house.http.get(house.gateway.url + "/api/events", headers=headers)
        async with asyncio.timeout(30):
            await house.gateway.stop()
            assert b"event:" not in await response.content.read()


async def test_what_is_no_http_fills_no_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    host, port = house.gateway.url.removeprefix("http://").split(":")
    for garbage in (b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\nHost: \x01\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 30)
        writer.close()
        await writer.wait_closed()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

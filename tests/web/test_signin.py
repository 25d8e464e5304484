"""The way in: codes, cookies, what a request by cookie must bring, and the end of a sign-in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import text

from gateway.http.keys import GATEWAY
from gateway.http.server import HttpServer
from gateway.store.database import Transaction
from tests.support.pilot import Pilot, pilot
from tests.support.web_person import KEY, Person, code_for, person

OPEN = {"/web/signin", "/web/static/{version}/{name}"}
"""Paths that need no sign-in."""


async def test_a_code_becomes_a_cookie_that_no_script_and_no_other_site_gets(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        flags = [part.strip() for part in who.set_cookie.split(";")[1:]]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
        assert "Secure" not in flags
        assert not any(flag.startswith("Domain") for flag in flags)
        assert (await who.get("/web")).status == 200


async def test_behind_tls_the_cookie_is_for_tls_alone(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config={"gateway": {"allowedHosts": ["chat.example.org"]}}) as p:
        who = Person(p, http, headers={"Host": "chat.example.org", "Origin": "https://chat.example.org"})
        assert (await who.swap(await code_for(p))).status == 200
        assert "Secure" in who.set_cookie


async def test_a_code_works_once(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        code = await code_for(p)
        assert (await Person(p, http).swap(code)).status == 200
        again = await Person(p, http).swap(code)
        assert again.status == 403
        assert "used already" in again.error
        assert "Set-Cookie" not in again.headers


async def test_a_code_is_valid_for_ten_minutes(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        code = await code_for(p)
        await change(p, "update signin_codes set expires_at = expires_at - 600000")
        assert (await Person(p, http).swap(code)).status == 403


async def test_codes_can_t_be_guessed(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        code = await code_for(p)
        tried = [(await Person(p, http).swap(f"guess-{number}")).status for number in range(12)]
        assert tried == [403] * 10 + [429] * 2
        assert (await Person(p, http).swap(code)).status == 429


async def test_nothing_that_opens_a_door_is_stored(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        unused = await code_for(p)
        who = await person(p, http)
    secret = who.cookie.partition("=")[2]
    kept = b"".join(file.read_bytes() for file in (tmp_path / "state").glob("laneway.db*"))
    assert unused.encode() not in kept
    assert secret.encode() not in kept


async def test_without_a_sign_in_every_page_is_the_door(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        stranger = Person(p, http)
        for method, path in routes(p):
            if path in OPEN:
                continue
            answer = await stranger.ask(method, filled(path))
            assert answer.status == 401, (method, path, answer.text)
            assert "You aren&#39;t signed in" in answer.text or "aren't signed in" in answer.text
            assert "laneway-csrf" not in answer.text


async def test_what_changes_something_needs_the_page_s_proof(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who, other = await person(p, http), await person(p, http, name="Ann")
        wrong = [
            {"X-Laneway-CSRF": ""},
            {"X-Laneway-CSRF": "forged"},
            {"X-Laneway-CSRF": other.csrf},
            {"Origin": ""},
            {"Origin": "null"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://127.0.0.1:1"},
        ]
        changing = [path for method, path in routes(p) if method == "POST" and path not in OPEN]
        assert len(changing) > 10
        for path in changing:
            for headers in wrong:
                answer = await who.post(filled(path), headers=headers)
                assert answer.status == 403, (path, headers, answer.text)
        for headers in wrong:  # the API as well
            assert (await who.post("/api/reload", headers=headers)).status == 403
        assert (await who.post("/api/reload")).status == 200


async def test_a_foreign_page_can_t_sign_anybody_in(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        code = await code_for(p)
        for origin in ("", "null", "http://evil.example"):
            assert (await Person(p, http).swap(code, headers={"Origin": origin})).status == 403
        assert (await Person(p, http).swap(code)).status == 200


async def test_a_rebound_name_gets_nothing(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        for path in ("/web", "/web/now", "/web/events", "/web/static/x/app.css"):
            assert (await who.get(path, headers={"Host": "evil.example"})).status == 403
        rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
        assert (await who.post(f"/web/chat/{KEY}/messages", headers=rebound)).status == 403


async def test_pages_load_and_send_nothing_elsewhere(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        version = re.search(r"/web/static/(\w+)/app.css", (await who.get("/web")).text)
        assert version
        paths = ("/web", "/web/now", "/web/nothing", "/web/fragments/now-active", "/web/palette")
        for path in (*paths, f"/web/static/{version[1]}/app.css"):
            answer = await who.get(path)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy and "http" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", answer.text)


async def test_no_page_holds_a_token(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        secret = who.cookie.partition("=")[2]
        for method, path in routes(p):
            if method == "GET" and path not in OPEN and "events" not in path:
                text = (await who.get(filled(path))).text
                assert p.token not in text and secret not in text, path
        link = (await p.post("/api/signins", {})).json["url"]
        assert p.token not in link


async def test_a_limited_sign_in_reaches_the_pages_alone(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob = await person(p, http, "chat", "Bob")
        for path in ("/api/status", "/api/sessions", "/api/commands", "/v1/models", "/metrics", "/api/jobs"):
            assert (await bob.get(path)).status == 403, path
        assert (await bob.post(f"/api/sessions/{KEY}/messages", {"text": "hi"})).status == 403
        assert (await bob.post("/api/signins", {})).status == 403
        assert (await bob.get("/healthz")).status == 200


async def test_a_name_stands_for_one_person(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        await person(p, http, name="Ann")
        refused = await p.post("/api/signins", {"scope": "chat", "name": "Ann"})
        assert refused.status == 409
        for body in ({"scope": "chat"}, {"scope": "chat", "name": "a:b"}, {"scope": "chat", "name": ""}):
            assert (await p.post("/api/signins", body)).status == 400, body


async def test_a_sign_in_ends_at_once_with_its_open_pages(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        other = await person(p, http)
        listed = (await p.get("/api/signins"))["signIns"]
        assert [each["name"] for each in listed] == ["operator", "operator"]
        async with http.get(p.gateway.url + "/web/events", headers={"Cookie": who.cookie}) as stream:
            assert b"event: hello" in await stream.content.readuntil(b"\n\n")
            mine = await who.get("/web/signins")
            own = re.search(r'id="s-(\w+)"(?:(?!</li>).)*this browser', mine.text, re.DOTALL)
            assert own
            ended = await other.post(f"/web/signins/{own[1]}/revoke")
            assert ended.status == 200, ended.text
            assert b"event: bye" in await stream.content.read()
        assert (await who.get("/web")).status == 401
        assert (await other.get("/web")).status == 200
        assert (await other.post("/web/signout")).status == 200
        assert (await other.get("/web")).status == 401


async def test_a_sign_in_that_nobody_uses_ends(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        await change(p, "update signins set used_at = used_at - 29 * cast(86400000 as bigint)")
        assert (await who.get("/web")).status == 200  # and counts as used again
        await change(p, "update signins set used_at = used_at - 31 * cast(86400000 as bigint)")
        assert (await who.get("/web")).status == 401


@pytest.mark.parametrize("name", ["../app.css", "..%2Fplugin.py", "plugin.py", "%2e%2e%2ftoken"])
async def test_static_files_are_those_of_the_page(tmp_path: Path, http: aiohttp.ClientSession, name: str) -> None:
    async with pilot(tmp_path) as p:
        answer = await Person(p, http).get(f"/web/static/x/{name}")
        assert answer.status in (401, 404)


async def change(p: Pilot, statement: str) -> None:
    """Turns the clock, as far as it stands in the tables."""

    def unit(tx: Transaction) -> None:
        tx.execute(text(statement))

    await p.gateway.database.run(unit)


def routes(p: Pilot) -> Iterator[tuple[str, str]]:
    """Method and path of everything under /web."""
    application = HttpServer(p.gateway)._application()  # pyright: ignore[reportPrivateUsage]
    assert application[GATEWAY] is p.gateway
    for route in application.router.routes():
        resource = route.resource
        assert resource is not None
        if resource.canonical.startswith("/web") and route.method != "HEAD":
            yield route.method, resource.canonical


def filled(path: str) -> str:
    """A path with something in its variable parts."""
    values = {"key": KEY, "id": "1", "inbox": "1", "index": "0", "rest": "nothing"}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)

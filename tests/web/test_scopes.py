"""Who sees what: somebody who may only chat has what is his, and what is another's looks like what there isn't."""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.model_script import call, say
from tests.support.pilot import Pilot, pilot
from tests.support.web_person import BOB, KEY, Person, person

CAROL = "agent:main:web:dm:Carol"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
ASKS: dict[str, Any] = {"tools": {"exec": {"ask": "always", "sandbox": "off"}}}


async def test_a_person_has_a_conversation_of_his_own(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob = await person(p, http, "chat", "Bob")
        assert (await bob.send("hello", BOB)).status == 202
        await p.wait_idle(BOB)
        assert "hello" in (await bob.log(BOB))["html"]
        session = await p.session(BOB)
        assert session["key"] == BOB
        # His words have no owner's rights: the session isn't an owner's, and so has no exec.
        assert "exec" not in p.main_requests()[-1].tools


async def test_dm_scope_main_doesn_t_let_him_into_the_owner_s(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config={"session": {"dmScope": "main"}}) as p:
        bob = await person(p, http, "chat", "Bob")
        page = await bob.get("/web")
        assert f'data-key="{BOB}"' in page.text
        assert (await bob.send("hello", KEY)).status == 404


async def test_other_people_s_conversations_look_like_none(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, carol = await person(p, http, "chat", "Bob"), await person(p, http, "chat", "Carol")
        assert (await carol.send("a secret of Carol", CAROL)).status == 202
        await p.say("a secret of the owner")
        await p.wait_idle(CAROL)
        await p.wait_idle()
        missing = "agent:main:web:dm:Nobody"
        for key in (CAROL, KEY, "agent:main:api:x", f"{BOB}x", f"{BOB}:thread:..x", f"{CAROL}:thread:ab", "zzz"):
            assert same(await bob.get(f"/web/chat/{key}"), await bob.get(f"/web/chat/{missing}"), key, missing)
            for path in ("/web/chat/{}/log", "/web/events?key={}", "/web/fragments/agents?key={}"):
                mine, none = await bob.get(path.format(key)), await bob.get(path.format(missing))
                assert mine.status == none.status == 404, (path, key)
                assert mine.text == none.text
            assert (await bob.send("let me in", key)).status == 404
            assert (await bob.post(f"/web/chat/{key}/title", {"title": "mine"})).status == 404
            assert (await bob.post(f"/web/chat/{key}/files?name=x", None)).status == 404
        for path in ("/web", "/web/now", "/web/signins", "/web/palette"):
            text = (await bob.get(path)).text
            assert "secret" not in text and "Carol" not in text and "Elsewhere" not in text, path


async def test_other_people_s_runs_and_questions_are_out_of_reach(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config=ASKS) as p:
        p.on(reply=say("let go", hold="hang"), role="child", task="^hang")
        bob = await person(p, http, "chat", "Bob")
        owner = await person(p, http)
        spawned = await p.spawn(task="hang on", label="the owner's run")
        await p.wait_run(spawned["runId"], "started")
        p.on(user="^exec$", turn_step=1, reply=call("exec", command="git status"))
        await owner.send("exec")
        await p.wait_until(lambda: any(event.type == "approval" for event in p.events))
        run, none = spawned["runId"], str(uuid.uuid4())
        for name, body in (("stop", {}), ("pause", {}), ("steer", {"id": "12345678", "message": "x"}), ("retry", {})):
            tried, missing = (
                await bob.post(f"/web/runs/{run}/{name}", body),
                await bob.post(f"/web/runs/{none}/{name}", body),
            )
            assert tried.status == missing.status == 404
            assert tried.text == missing.text
        assert (await bob.get(f"/web/fragments/run-log?id={run}")).status == 404
        assert (await bob.post("/web/approvals/1", {"decision": "allow"})).status == 404
        assert (await bob.post("/web/outbox/1/retry")).status == 404
        assert (await bob.get("/web/fragments/now-lanes")).status == 404
        for path in ("/web/now", "/web/palette", "/web/fragments/now-active", "/web/fragments/now-approvals"):
            text = (await bob.get(path)).text
            assert "the owner" not in text and "git status" not in text, path
        assert "git status" in (await owner.get("/web/now")).text
        assert (await p.run(run))["status"] == "running"
        p.model.release("hang")


async def test_his_own_runs_are_his_to_steer_and_stop(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, carol = await person(p, http, "chat", "Bob"), await person(p, http, "chat", "Carol")
        p.on(reply=say("let go", hold="hang"), role="child", task="^hang")
        p.on(user="^go$", turn_step=1, reply=call("sessions_spawn", task="hang on", label="count <b>"))
        await bob.send("go", BOB)
        await p.wait_until(lambda: any(event.type == "run" for event in p.events))
        (run,) = await p.runs()
        await p.wait_run(run["runId"], "started")
        assert "count &lt;b&gt;" in (await bob.get(f"/web/fragments/agents?key={BOB}")).text
        assert "count &lt;b&gt;" in (await bob.get("/web/now")).text
        steered = await bob.post(f"/web/runs/{run['runId']}/steer", {"id": "steer-0001", "message": "look there"})
        assert steered.status == 202, steered.text
        assert "look there" in (await bob.get(f"/web/fragments/run-log?id={run['runId']}")).text
        assert (await carol.post(f"/web/runs/{run['runId']}/stop")).status == 404
        assert (await bob.post(f"/web/runs/{run['runId']}/stop")).status == 200
        assert (await p.wait_run(run["runId"]))["outcome"] == "stopped"


async def test_what_is_left_out_is_asked_for(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob = await person(p, http, "chat", "Bob")
        for path in ("/web/fragments/agents", "/web/fragments/run-log", "/web/fragments/chat-state"):
            answer = await bob.get(path)
            assert answer.status == 400 and "is required" in answer.error
        assert (await bob.get(f"/web/chat/{BOB}/log?before=x")).status == 400
        assert (await bob.get(f"/web/chat/{BOB}/log?before=1&after=1")).status == 400


async def test_owners_commands_are_neither_offered_nor_done(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, owner = await person(p, http, "chat", "Bob"), await person(p, http)
        his = {each["name"] for each in (await bob.get("/web/palette")).json["commands"]}
        all_of_them = {each["name"] for each in (await owner.get("/web/palette")).json["commands"]}
        assert {"approve", "deny"} <= all_of_them - his
        assert "for owners" in (await bob.send("/approve 1", BOB)).json["reply"]


async def test_files_are_shown_to_their_person(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, carol = await person(p, http, "chat", "Bob"), await person(p, http, "chat", "Carol")
        picture = await put(bob, "<b>.png", PNG, "image/png")
        page = await put(bob, "x.html", b"<script>alert(1)</script>", "text/html")
        foreign = await carol.send("mine?", CAROL, files=[picture])
        assert foreign.status == 409
        sent = await bob.send("look", BOB, files=[picture, page])
        assert sent.status == 202, sent.text
        await p.wait_idle(BOB)
        html = (await bob.log(BOB))["html"]
        paths = re.findall(r'href="(/web/files/[^"]+)"', html)
        assert len(paths) == 2 and "&lt;b&gt;.png" in html
        shown, saved = [await bob.get(path, headers={"Accept": "*/*"}) for path in paths]
        assert shown.headers["Content-Type"] == "image/png"
        assert saved.headers["Content-Type"] == "application/octet-stream"
        assert saved.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in saved.headers["Content-Security-Policy"]
        for path in paths:
            other, none = await carol.get(path), await carol.get("/web/files/999/0")
            assert other.status == none.status == 404 and other.text == none.text
        assert (await (await person(p, http)).get(paths[0])).status == 200


async def test_nobody_hears_of_others(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, owner = await person(p, http, "chat", "Bob"), await person(p, http)
        async with listening(p, http, bob, f"?key={BOB}") as heard:
            await owner.send("the owner's words")
            await p.wait_idle()
            await bob.send("Bob's words", BOB)
            await p.wait_idle(BOB)
            text = await heard.until("idle")
        assert BOB in text
        assert KEY not in text.replace(BOB, "")


async def test_an_operator_opens_everything_but_begins_nothing_of_others(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with pilot(tmp_path) as p:
        owner, bob = await person(p, http), await person(p, http, "chat", "Bob")
        # It would be an owner's session then, and closed to Bob.
        assert (await owner.send("hello Bob", BOB)).status == 404
        assert (await bob.send("hello", BOB)).status == 202
        await p.wait_idle(BOB)
        assert (await owner.get(f"/web/chat/{BOB}")).status == 200
        assert (await owner.send("hello Bob", BOB)).status == 202
        await p.wait_idle(BOB)
        assert "web:dm:Bob" in (await owner.get("/web")).text


class Heard:
    """What came over a stream."""

    def __init__(self, stream: aiohttp.ClientResponse) -> None:
        self._stream = stream
        self.text = ""

    async def until(self, word: str) -> str:
        """Everything up to the frame that holds a word."""
        async with asyncio.timeout(10):
            while word not in self.text:
                self.text += (await self._stream.content.readuntil(b"\n\n")).decode()
        return self.text


class listening:
    """A page's stream; entered once it says hello."""

    def __init__(self, p: Pilot, http: aiohttp.ClientSession, who: Person, query: str) -> None:
        self._request = http.get(f"{p.gateway.url}/web/events{query}", headers={"Cookie": who.cookie})

    async def __aenter__(self) -> Heard:
        heard = Heard(await self._request.__aenter__())
        await heard.until("hello")
        return heard

    async def __aexit__(self, *_: object) -> None:
        await self._request.__aexit__(None, None, None)


async def put(who: Person, name: str, content: bytes, media_type: str) -> str:
    """Sends a file up; returns its token."""
    path = f"/web/chat/{BOB}/files"
    answer = await who.ask("POST", path, params={"name": name}, data=content, headers={"Content-Type": media_type})
    assert answer.status == 201, answer.text
    return str(answer.json["file"])


def same(one: Any, other: Any, key: str, missing: str) -> bool:
    """Whether two answers differ in nothing but the key that was asked for."""
    csrf = re.compile(r'content="[^"]*"')
    texts = [csrf.sub("", each.text.replace(asked, "")) for each, asked in ((one, key), (other, missing))]
    return bool(one.status == other.status == 404 and texts[0] == texts[1])

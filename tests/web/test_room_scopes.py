"""The control room for somebody who may only chat: every page and every live piece shows him what is his alone."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import aiohttp

from channels.web.pages import site
from channels.web.signin import SignIns
from tests.support.model_script import call, say
from tests.support.pilot import Pilot, pilot
from tests.support.web_person import BOB, Person, person

SITE = site(SignIns())
FRAGMENTS = [each.name for each in SITE.fragments]
LISTS = ("/web/runs", "/web/runs?q=secret", "/web/jobs", "/web/sessions", "/web/usage", "/web/now")
CSRF = re.compile(r'(?:content|href)="[^"]*"')


async def a_secret(p: Pilot) -> tuple[str, str]:
    """A run of the owner, with its session."""
    p.on(role="child", task="^secret", step=1, reply=call("ls", path="."))
    p.on(role="child", task="^secret", step=2, reply=say("secret result", hold="secret"))
    spawned = await p.spawn(task="secret task", label="secret label")
    await p.model.wait_for(lambda seen: seen.first_user.startswith("secret") and seen.step == 2)
    with_id = next(each for each in await p.sessions() if each["key"] == spawned["childSessionKey"])
    return str(spawned["runId"]), str(with_id["sessionId"])


async def test_what_is_another_s_looks_like_what_there_is_not(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob = await person(p, http, "chat", "Bob")
        run, session = await a_secret(p)
        none = str(uuid.uuid4())
        paths = [f"/web/fragments/{name}?id={{0}}&key={{0}}" for name in FRAGMENTS]
        paths += ["/web/runs/{0}", "/web/sessions/{0}", "/web/chat/{0}"]
        for path in paths:
            for foreign in (run, session):
                asked, missing = await bob.get(path.format(foreign)), await bob.get(path.format(none))
                assert asked.status == missing.status, path
                texts = [CSRF.sub("", answer.text) for answer in (asked, missing)]
                assert texts[0].replace(foreign, "") == texts[1].replace(none, ""), path
                assert "secret" not in asked.text, path
        number = (await p.get(f"/api/jobs/{run}"))["id"]
        for name in (str(number), run[:8], run.upper()):
            assert (await bob.get(f"/web/runs/{name}")).status == 404, name
        for path in LISTS:
            text = (await bob.get(path)).text
            assert "secret label" not in text and run not in text and session not in text, path
        p.model.release("secret")


async def test_nothing_can_be_done_to_another_s(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob = await person(p, http, "chat", "Bob")
        run, _ = await a_secret(p)
        none = str(uuid.uuid4())
        bodies: dict[str, Any] = {
            "replay": {"id": "again-0001"},
            "fork": {"id": "again-0002", "turn": 1},
            "steer": {"id": "again-0003", "message": "x"},
        }
        for action in SITE.actions:
            if "/runs/{id}" in action.path:
                name = action.path.rpartition("/")[2]
                tried, missing = [
                    await bob.post(action.path.format(id=each), bodies.get(name, {})) for each in (run, none)
                ]
                assert tried.status == missing.status == 404 and tried.text == missing.text, name
        assert [each["runId"] for each in await p.runs()] == [run]
        p.model.release("secret")


async def test_what_is_for_operators_is_for_nobody_else(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, owner = await person(p, http, "chat", "Bob"), await person(p, http)
        source = (await owner.get("/web/config/source")).json
        for path in ("/web/health", "/web/config", "/web/config/source", "/web/nothing"):
            assert (await bob.get(path)).status == 404, path
        for name in FRAGMENTS:
            if next(each.operator for each in SITE.fragments if each.name == name):
                assert (await bob.get(f"/web/fragments/{name}")).status == 404, name
        for name in ("check", "save"):
            body = {"text": source["text"] + "\n", "etag": source["etag"]}
            assert (await bob.post(f"/web/config/{name}", body)).status == 404
        for path in ("/api/runs", "/api/health/details", "/api/config"):
            assert (await bob.get(path)).status == 403, path
        navigation = (await bob.get("/web")).text
        assert "/web/runs" in navigation and "/web/health" not in navigation and "/web/config" not in navigation


async def test_his_own_is_his(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, carol = await person(p, http, "chat", "Bob"), await person(p, http, "chat", "Carol")
        p.on(user="^go$", turn_step=1, reply=call("sessions_spawn", task="count", label="Bob's own"))
        p.on(role="child", task="^count", reply=say("forty-two"))
        await bob.send("go", BOB)
        await p.wait_until(lambda: any(event.type == "run" for event in p.events))
        (run,) = await p.runs()
        await p.wait_run(run["runId"])
        await p.wait_idle(BOB)
        page = await bob.get(f"/web/runs/{run['runId']}")
        assert page.status == 200 and "forty-two" in page.text
        for path in ("/web/runs", "/web/runs?q=forty", "/web/jobs", "/web/sessions"):
            assert "Bob&#39;s own" in (await bob.get(path)).text, path
            assert "Bob&#39;s own" not in (await carol.get(path)).text, path
        for path in re.findall(r'href="(/web/sessions/[0-9a-f-]+)"', (await bob.get("/web/sessions")).text):
            assert (await bob.get(path)).status == 200
            assert (await carol.get(path)).status == 404
        used = (await bob.get("/web/usage")).text
        assert "web:Bob" in used and "Budgets" not in used
        assert "web:Bob" not in (await carol.get("/web/usage")).text
        await replays(bob, p, str(run["runId"]))


async def replays(bob: Person, p: Pilot, run: str) -> None:
    """What he runs again is asked for in his conversation, with no more rights than it had."""
    again = await bob.post(f"/web/runs/{run}/replay", {"id": "again-0001"})
    assert again.status == 202, again.text
    made = await p.wait_run(again.json["href"].rpartition("/")[2])
    assert made["requesterKey"] == BOB
    assert (await bob.get(again.json["href"])).status == 200
    forked = await bob.post(f"/web/runs/{run}/fork", {"id": "again-0002", "turn": 1})
    assert forked.status == 202, forked.text
    await p.wait_run(forked.json["href"].rpartition("/")[2])
    await p.wait_idle(BOB)

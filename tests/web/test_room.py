"""The control room over HTTP: what its pages say of runs, jobs, sessions, usage, health and the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from channels.web.room import search
from tests.support.chat_channel import ChatChannel, Verdict, chat_platform
from tests.support.model_script import Call, call, calls, say
from tests.support.pilot import Pilot, pilot
from tests.support.web_person import Person, person

NESTED: dict[str, Any] = {"agents": {"defaults": {"subagents": {"maxSpawnDepth": 2}}}}
PAGES = ("runs", "jobs", "sessions", "usage", "health", "config")


def flat(html: str) -> str:
    """A page without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def a_run(p: Pilot, **more: Any) -> str:
    """A run that has read a file, was steered and has ended; its id."""
    p.on(role="child", task="^look", step=1, reply=call("ls", path="."))
    p.on(role="child", task="^look", step=2, reply=say("The folder holds a **needle**."))
    spawned = await p.spawn(task="look into the folder", label="Look <b>around</b>", **more)
    await p.wait_run(spawned["runId"])
    return str(spawned["runId"])


async def test_every_page_is_there(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        for name in PAGES:
            empty = await who.get(f"/web/{name}")
            assert empty.status == 200, empty.text
            assert f'<a href="/web/{name}" aria-current="page">' in empty.text
        await a_run(p)
        for name in PAGES:
            full = await who.get(f"/web/{name}")
            assert full.status == 200, full.text
            assert "<b>around" not in full.text
            for url in re.findall(r'data-fragment="([^"]+)"', full.text):
                again = await who.get(url.replace("&amp;", "&"))
                assert again.status == 200, again.text
                same = await who.get(url.replace("&amp;", "&"), headers={"If-None-Match": again.headers["ETag"]})
                assert same.status == 304 or name == "health", url


async def test_a_run_turn_by_turn(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who, run = await person(p, http), await a_run(p)
        number = (await p.get(f"/api/jobs/{run}"))["id"]
        for name in (run, run[:8], str(number)):
            page = await who.get(f"/web/runs/{name}")
            assert page.status == 200, page.text
        text = flat(page.text)
        assert "Look &lt;b&gt;around&lt;/b&gt;" in text and "completed" in text
        assert "Task" in text and "Turn 1" in text and "Turn 2" in text and "<strong>needle</strong>" in page.text
        assert page.text.count('class="bar b-model"') == 2 and page.text.count('class="bar b-tool"') == 1
        assert 'aria-label="Model: 2 bars' in page.text
        assert "read" in text and "as message 1" in text  # the task's receipt
        assert "Fork from here" in text and "Replay" in text and "Retry" not in text
        assert re.search(r"[0-9]+ → [0-9]+ tok", text), text
        assert "style=" not in page.text


async def test_a_live_run_is_steered_paused_and_stopped(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        p.on(reply=say("let go", hold="hang"), role="child", task="^hang")
        who = await person(p, http)
        run = str((await p.spawn(task="hang on", label="hangs"))["runId"])
        await p.wait_run(run, "started")
        head = f"/web/fragments/run-head?id={run}"
        assert 'data-every="5"' in (await who.get(f"/web/runs/{run}")).text
        await who.post(f"/web/runs/{run}/steer", {"id": "steer-0001", "message": "look there"})
        assert "not read yet" in (await who.get(f"/web/fragments/run-inbox?id={run}")).text
        await who.post(f"/web/runs/{run}/pause")
        paused = flat((await who.get(head)).text)
        assert "paused: resume it to go on" in paused and "Resume" in paused
        assert "paused" in flat((await who.get("/web/fragments/jobs-open")).text)
        await who.post(f"/web/runs/{run}/resume")
        await who.post(f"/web/runs/{run}/stop")
        await p.wait_run(run)
        stopped = flat((await who.get(head)).text)
        assert "stopped" in stopped and "Retry" in stopped


async def test_a_fork_begins_where_it_was_forked(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        p.on(role="child", user="^something else", reply=say("Done differently."))
        who, run = await person(p, http), await a_run(p)
        body = {"id": "fork-0001", "turn": "1", "task": "something else"}
        forked = await who.post(f"/web/runs/{run}/fork", body)
        assert forked.status == 202, forked.text
        assert (await who.post(f"/web/runs/{run}/fork", body)).json["href"] == forked.json["href"]
        other = forked.json["href"].rpartition("/")[2]
        await p.wait_run(other)
        page = await who.get(forked.json["href"])
        assert "Done differently." in page.text and "Replay of" in page.text
        seen = p.child_requests()[-1]
        assert "look into the folder" in seen.users[0] and "needle" not in seen.everything
        assert (await who.post(f"/web/runs/{run}/fork", {"id": "fork-0002", "turn": 9})).status == 400
        replayed = await who.post(f"/web/runs/{run}/replay", {"id": "again-0001"})
        await p.wait_run(replayed.json["href"].rpartition("/")[2])
        assert len(await p.runs()) == 3


async def test_the_tree_is_shown_from_its_top(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config=NESTED) as p:
        who = await person(p, http)
        below = calls(Call("sessions_spawn", {"task": "leaf one"}), Call("sessions_spawn", {"task": "leaf two"}))
        p.on(role="child", task="^leaf", reply=say("green"))
        p.on(role="child", task="^trunk", step=1, reply=below)
        spawned = await p.spawn(task="trunk")
        await p.wait_run(spawned["runId"])
        leaf = next(run for run in await p.runs() if run["label"] == "leaf two")
        tree = flat((await who.get(f"/web/fragments/run-tree?id={leaf['runId']}")).text)
        assert re.search(r"trunk .* leaf one .* leaf two", tree), tree


async def test_runs_are_filtered_searched_and_paged(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who, run = await person(p, http), await a_run(p)
        other = await p.spawn(task="something quite other", label="other")
        await p.wait_run(other["runId"])

        async def found(query: str) -> str:
            answer = await who.get(f"/web/runs?{query}")
            assert answer.status == 200, answer.text
            return flat(answer.text.partition('id="f-runs-list"')[2])

        assert "2 runs" in await found("")
        assert "Look" in await found("q=AROUND") and "other" not in await found("q=AROUND")
        assert "… " in await found("q=holds") or "The folder holds" in await found("q=holds")  # the transcript
        assert "Look" in await found(f"q={run[:8]}")
        assert "No run is like that" in await found("q=nowhere")
        assert "No run is like that" in await found("q=100%25")
        assert "No run is like that" in await found("state=open")
        assert "2 runs" in await found("state=ok&kind=subagent&agent=main")
        assert "No run is like that" in await found("kind=noop")
        assert "2 runs, from #1 on" in await found("before=2")
        for query in ("state=odd", "before=x", "q=" + "x" * 201):
            assert (await who.get(f"/web/runs?{query}")).status == 400


async def test_a_long_search_goes_on_where_it_had_to_stop(
    tmp_path: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pilot(tmp_path) as p:
        who, run = await person(p, http), await a_run(p)
        for number in range(3):
            await p.wait_run((await p.spawn(task=f"something else, number {number}"))["runId"])
        monkeypatch.setattr(search, "SECONDS", 0.0)
        monkeypatch.setattr(search, "STEP", 2)
        path, steps = "/web/runs?q=needle", 0
        while run not in (page := (await who.get(path)).text):
            assert "Look further" in page and "It has looked at the runs down to" in page
            path = re.findall(r'href="([^"]+)" rel="next"', page)[0].replace("&amp;", "&")
            steps += 1
        assert steps == 1


async def test_what_wants_an_answer_is_seen_on_every_page(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config={"tools": {"exec": {"ask": "always", "sandbox": "off"}}}) as p:
        who = await person(p, http)
        assert "an answer" not in (await who.get("/web/usage")).text
        p.on(user="^exec$", turn_step=1, reply=call("exec", command="git status"))
        await who.send("exec")
        await p.wait_until(lambda: any(event.type == "approval" for event in p.events))
        assert "1 wants an answer" in flat((await who.get("/web/usage")).text)


async def test_a_post_that_did_not_arrive_is_tried_again_or_given_up(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Issue part 3: Now shows undelivered posts, each with its error and what can be done."""
    async with chat_platform() as platform:
        channel = ChatChannel(platform.url)
        async with pilot(tmp_path, plugins={"chat": channel}) as p:
            who = await person(p, http)
            platform.verdicts.extend([Verdict(403, reason="kicked"), Verdict(403, reason="kicked")])
            for number, chat in enumerate(("one", "two"), 1):
                await channel.receive("hello", chat)
                await p.wait_until(
                    lambda number=number: sum(each.type == "delivery" for each in p.events) >= number, "a failure"
                )
            posts = (await who.get("/web/fragments/now-posts")).text
            assert flat(posts).startswith("Undelivered posts 2") and flat(posts).count("kicked") == 2
            assert "chat one" in flat(posts) and "chat two" in flat(posts)
            assert "2" in flat((await who.get("/web/fragments/attention")).text)
            first, second = sorted(map(int, re.findall(r'id="post-([0-9]+)"', posts)))
            await who.post(f"/web/outbox/{first}/retry")
            await platform.wait_posts(3)
            await who.post(f"/web/outbox/{second}/drop")
            await p.wait_until(lambda: sum(each.type == "delivery" for each in p.events) >= 4, "both are settled")
            assert "Everything has arrived." in flat((await who.get("/web/fragments/now-posts")).text)
            assert platform.texts() == ["ok"]


async def test_a_run_that_waits_for_its_lane_again_is_so_in_its_session_too(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with pilot(tmp_path) as p:
        who = await person(p, http)
        p.on(reply=say("late", hold="end"), role="child")
        for label in ("first", "second"):
            await p.spawn(task="t", label=label)
        await p.wait_asked(lambda seen: seen.role == "child", count=2)
        await p.restart(agents={"defaults": {"subagents": {"maxConcurrent": 1}}})
        await p.wait_asked(lambda seen: seen.role == "child", count=3)
        lines = flat((await who.get("/web/fragments/sessions-list?kind=subagent")).text)
        assert re.search(r"first agent:\S+ running", lines) and re.search(r"second agent:\S+ queued", lines), lines
        p.model.release("end")
        await p.wait_idle()


async def test_an_archived_run_is_read_and_found_in_its_file(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who, run = await person(p, http), await a_run(p, cleanup="delete")
        await p.wait_run(run, "archived")
        page = await who.get(f"/web/runs/{run}")
        assert "<strong>needle</strong>" in page.text and "Fork from here" not in page.text
        assert page.text.count('class="bar b-model"') == 2
        listed = await who.get("/web/runs?q=The+folder+HOLDS")
        assert run in listed.text


async def test_sessions_and_their_transcripts(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who, run = await person(p, http), await a_run(p)
        await p.command("/think high")
        listed = (await who.get("/web/sessions")).text
        assert "2 sessions" in listed and "agent:main:main" in listed
        ids = re.findall(r'href="/web/sessions/([0-9a-f-]+)"', listed)
        pages = [await who.get(f"/web/sessions/{each}") for each in ids]
        assert all(page.status == 200 for page in pages)
        main = next(flat(page.text) for page in pages if "Open the chat" in page.text)
        child = next(flat(page.text) for page in pages if "Open the chat" not in page.text)
        assert "Asked for here" in main and "Thinking high" in main
        assert "Parent agent:main:main" in child and "Turn 2" in child and run[:4]
        only = (await who.get("/web/sessions?kind=subagent")).text
        assert "1 session<" in only
        assert (await who.get("/web/sessions?kind=odd")).status == 400
        assert (await who.get("/web/sessions/none")).status == 404


async def test_usage_and_health(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config={"agents": {"list": [{"id": "main", "budgetUsd": 1.5}]}}) as p:
        who = await person(p, http)
        await a_run(p)
        await p.wait_idle()
        for query in ("", "?days=7&by=tokens", "?days=90"):
            page = flat((await who.get(f"/web/usage{query}")).text)
            for name in ("Today", "subagent", "Budgets", "Agents", "Models", "Kinds of work", "Channels", "People"):
                assert name in page, page
        assert (await who.get("/web/usage?days=8")).status == 400
        health = flat((await who.get("/web/health")).text)
        assert "first start" in health and "Event loop" in health and "sqlalchemy" in health


async def test_the_configuration_is_changed_in_the_page(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        who, file = await person(p, http), p.paths.state / "config.json5"
        file.write_text("// mine\n" + file.read_text("utf-8"), "utf-8")
        page = await who.get("/web/config")
        assert "scripted-key" not in page.text and "// mine" in page.text and "•••1•••" in page.text
        source = (await who.get("/web/config/source")).json
        text = source["text"].replace("{", '{ "messages": { "queue": { "mode": "followup" } },', 1)
        checked = await who.post("/web/config/check", {"text": text, "etag": source["etag"]})
        assert checked.json["valid"] and "followup" in checked.json["diff"], checked.text
        wrong = await who.post("/web/config/check", {"text": text.replace("followup", "fast"), "etag": source["etag"]})
        assert not wrong.json["valid"] and wrong.json["problems"][0]["line"]
        assert (await who.post("/web/config/save", {"text": "{", "etag": source["etag"]})).status == 400
        saved = await who.post("/web/config/save", {"text": text, "etag": source["etag"]})
        assert saved.json["saved"] and saved.json["reloaded"], saved.text
        assert p.gateway.config.messages.queue.mode == "followup"
        kept = file.read_text("utf-8")
        assert "// mine" in kept and "•••" not in kept
        late = await who.post("/web/config/save", {"text": text + "\n", "etag": source["etag"]})
        assert late.status == 409 and "has changed" in late.error
        values = flat((await who.get("/web/fragments/config-values?q=queue")).text)
        assert "messages.queue.mode followup" in values


async def test_somebody_s_own_are_found_and_nobody_else_s(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        bob, run = await person(p, http, "chat", "Bob"), await a_run(p)
        assert await nothing_of(bob, run) == []


async def nothing_of(bob: Person, run: str) -> list[str]:
    """Pages of somebody else that say something of a run."""
    told: list[str] = []
    for path in ("/web/runs", "/web/runs?q=needle", "/web/jobs", "/web/sessions", "/web/usage", "/web/palette"):
        text = (await bob.get(path)).text
        if run in text or "around" in text or "Open the chat" in text:
            told.append(path)
    return told

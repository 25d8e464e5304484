"""What the page's script is told of a conversation: everything once, in order, whatever was missed or asked twice."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.model_script import call, say
from tests.support.pilot import pilot
from tests.support.web_person import KEY, person

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


def entries(log: Any) -> list[tuple[str, str]]:
    """Ids and kinds of the entries."""
    return re.findall(r'<li id="([^"]+)" class="entry (\w+)', log["html"])


async def test_a_message_that_is_sent_twice_is_one(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        me = await person(p, http)
        body = {"id": "0123456789abcdef", "text": "hello"}
        first = await me.post(f"/web/chat/{KEY}/messages", body)
        again = await me.post(f"/web/chat/{KEY}/messages", body)
        assert (first.status, again.status) == (202, 202)
        assert again.json["duplicate"] and again.json["inboxId"] == first.json["inboxId"]
        assert (await me.post(f"/web/chat/{KEY}/messages", {**body, "text": "other"})).status == 409
        await p.wait_idle()
        assert [kind for _, kind in entries(await me.log())] == ["user", "answer"]


async def test_a_command_that_is_sent_twice_is_done_once(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        me = await person(p, http)
        await me.send("hello")
        await p.wait_idle()
        body = {"id": "0123456789abcdef", "text": "/new"}
        first, again = [await me.post(f"/web/chat/{KEY}/messages", body) for _ in range(2)]
        assert first.json["reply"] == again.json["reply"] and "<p>" in first.json["html"]
        assert sum(event.type == "session" for event in p.events) == 1


async def test_a_message_keeps_its_id_from_waiting_to_old(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        p.on(user="^first", reply=say("one", hold="first"))
        me = await person(p, http)
        await me.send("first")
        await p.wait_asked(lambda seen: seen.last_user == "first")
        await me.send("second", id="the-second-one")
        log = await me.log()
        (_, _), (waiting, _) = entries(log)
        assert log["open"] == [waiting]
        assert "joins the running turn at its next step" in log["html"]
        assert 'data-client="the-second-one"' in log["html"]
        p.model.release("first")
        await p.wait_idle()
        log = await me.log()
        assert [kind for _, kind in entries(log)].count("user") == 2
        assert waiting in [each for each, _ in entries(log)] and log["open"] == []


async def test_what_a_stop_drops_is_seen_as_not_read(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        p.on(user="^first", reply=say("one", hold="never"))
        me = await person(p, http)
        await me.send("first")
        await p.wait_asked(lambda seen: seen.last_user == "first")
        await me.send("second")
        assert "stopped" in (await me.send("/stop")).json["reply"]
        await p.wait_idle()
        html = (await me.log())["html"]
        assert "not read" in html and "stopped by the user" in html


async def test_looks_that_overlap_fit_together(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        p.on(user="^go", turn_step=1, reply=call("ls"))
        me = await person(p, http)
        seen: dict[str, str] = {}
        for number in range(6):
            await me.send(f"go {number}")
            await p.wait_idle()
            last = max([int(at) for at in re.findall(r'data-at="(\d+)"', " ".join(seen.values()))] or [0])
            for entry in re.findall(r"<li id=.*?(?=<li id=|$)", (await me.log(query=f"?after={last}"))["html"], re.S):
                found = re.match(r'<li id="([^"]+)"', entry)
                assert found
                seen[found[1]] = entry
        whole = entries(await me.log())
        assert list(seen) == [each for each, _ in whole]
        assert [kind for _, kind in whole] == ["user", "work", "answer"] * 6


async def test_a_call_is_shown_again_with_its_result(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config={"tools": {"exec": {"ask": "always", "sandbox": "off"}}}) as p:
        p.on(user="^go", turn_step=1, reply=call("exec", command="echo it-was-done"))
        me = await person(p, http)
        await me.send("go")
        await p.wait_until(lambda: any(event.type == "approval" for event in p.events))
        log = await me.log()
        assert [kind for _, kind in entries(log)] == ["user", "work", "approval"]
        assert "under way" in log["html"] and "Allow" in log["html"]
        newest = max(int(at) for at in re.findall(r'data-at="(\d+)"', log["html"]))
        answer = await me.post("/web/approvals/1", {"decision": "allow"})
        assert answer.status == 200, answer.text
        await p.wait_idle()
        later = await me.log(query=f"?after={newest}")
        assert [kind for _, kind in entries(later)] == ["work", "approval", "answer"]
        assert "it-was-done" in later["html"] and "allowed by web:operator" in later["html"]
        assert "under way" not in later["html"]
        assert (await me.post("/web/approvals/1", {"decision": "deny"})).status == 409


async def test_older_messages_come_page_by_page(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        p.on(reply=say("fine"))
        me = await person(p, http)
        for number in range(45):
            await p.say(f"message {number}", KEY)
        await p.wait_idle()
        await me.send("the last one")
        await p.wait_idle()
        log = await me.log()
        found = entries(log)
        while log["earlier"] is not None:
            log = await me.log(query=f"?before={log['earlier']}")
            found = [*entries(log), *found]
        assert len(found) == len(set(found))
        users = [each for each, kind in found if kind == "user"]
        assert len(users) == 46


async def test_a_fresh_conversation_takes_the_old_one_s_place(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        me = await person(p, http)
        await me.send("before")
        await p.wait_idle()
        old = await me.log()
        await me.send("/new")
        fresh = await me.log()
        assert fresh["session"] != old["session"] and entries(fresh) == []


async def test_conversations_are_begun_named_and_listed(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        me = await person(p, http)
        led = await me.get("/web/new")
        assert led.status == 303
        key = led.headers["Location"].removeprefix("/web/chat/")
        assert key.startswith(f"{KEY}:thread:")
        assert (await p.sessions()) == []
        await me.send("plan the garden", key)
        await p.wait_idle(key)
        assert "plan the garden" in (await me.get(f"/web/fragments/conversations?key={key}")).text
        assert (await me.post(f"/web/chat/{key}/title", {"title": "Garden"})).json["title"] == "Garden"
        page = (await me.get("/web")).text
        assert "Garden" in page and "plan the garden" not in page
        assert (await me.post(f"/web/chat/{key}/title", {"title": ""})).json["title"] == "plan the garden"
        assert entries(await me.log()) == []


async def test_pictures_reach_models_and_documents_the_workspace(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        config = json.loads(p.paths.config_file.read_text("utf-8"))
        models = config["models"]["providers"]["test"]["models"]
        models[0]["input"] = ["text", "image"]
        await p.restart(models=config["models"])
        me = await person(p, http)
        path = f"/web/chat/{KEY}/files"
        tokens: list[str] = []
        for name, content, media_type in (("cat.png", PNG, "image/png"), ("notes.txt", b"some notes", "text/plain")):
            up = await me.ask("POST", path, params={"name": name}, data=content, headers={"Content-Type": media_type})
            tokens.append(up.json["file"])
        sent = await me.send("look at these", files=tokens)
        assert sent.status == 202
        await p.wait_idle()
        asked = json.dumps(p.main_requests()[-1].body)
        assert "data:image/png;base64" in asked and "notes.txt" in asked
        (kept,) = (p.workspace / "incoming").iterdir()
        assert kept.read_bytes() == b"some notes"
        for wrong in (b"", b"x" * (20 * 1024 * 1024 + 1)):
            refused = await me.ask("POST", path, data=io.BytesIO(wrong), headers={"Content-Type": "text/plain"})
            assert refused.status in (400, 413)


async def test_a_fragment_that_is_as_it_was_isn_t_sent_again(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        me = await person(p, http)
        path = f"/web/fragments/conversations?key={KEY}"
        first = await me.get(path)
        again = await me.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status == 304 and not again.text
        await me.send("hello")
        await p.wait_idle()
        assert (await me.get(path, headers={"If-None-Match": first.headers["ETag"]})).status == 200


async def test_what_another_channel_said_is_there_as_well(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        me = await person(p, http)
        await p.say("from the terminal", channel="terminal")
        await p.wait_idle()
        assert "· terminal" in (await me.log())["html"]

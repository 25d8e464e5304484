"""Texts of models, tools, people and files can do nothing in the page, wherever they are shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from bs4 import BeautifulSoup, Tag
from hypothesis import HealthCheck, given, settings

from channels.web import markdown
from channels.web.partial import Partial
from tests.support.markdown_documents import MarkdownDocument, any_document
from tests.support.model_script import Call, calls, fail, say
from tests.support.pilot import pilot
from tests.support.web_person import KEY, person

EVIL = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'> [a](javascript:window.pwned=1) "
    '![b](javascript:window.pwned=1) <svg/onload=window.pwned=1> "><b onclick="window.pwned=1">x</b> '
    "[c](data:text/html,<script>window.pwned=1</script>) <a href='javascript:window.pwned=1'>d</a> "
    "{{ 7 * 7 }} {% raw %} </textarea></script></template>"
)
DATA = "data:text/html;base64,PHNjcmlwdD4="


def check(html: str) -> None:
    """That nothing in it runs, and nothing is loaded from elsewhere."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(True):
        assert isinstance(tag, Tag)
        if tag.name == "script":
            assert str(tag.get("src")).startswith("/web/static/") and not tag.text, tag
        assert tag.name not in ("iframe", "object", "embed", "base", "style"), tag
        for name, value in tag.attrs.items():
            assert not name.lower().startswith("on") and name.lower() != "style", tag
            if name in ("href", "src", "action", "data-post", "data-fragment"):
                assert re.match(r"(https?://|mailto:|/web|#)", str(value)), tag
        if tag.name == "img":
            assert str(tag["src"]).startswith("/web/"), tag
    assert "49" not in soup.get_text().split(), "a template in a template"


async def test_nothing_that_somebody_wrote_runs(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path, config={"tools": {"exec": {"ask": "always", "sandbox": "off"}}}) as p:
        spawn = Call("sessions_spawn", {"task": f"evil {EVIL}", "label": EVIL[:80]})
        p.on(reply=fail(400, EVIL), role="child", task="^evil")
        worse = Call("sessions_spawn", {"task": f"worse {EVIL}", "label": EVIL[-80:]})
        p.on(role="child", task="^worse", step=1, reply=calls(Call("grep", {"pattern": EVIL, "path": "."}), text=EVIL))
        p.on(role="child", task="^worse", step=2, reply=say(EVIL))
        p.on(user="^go", turn_step=1, reply=calls(spawn, worse, Call("read", {"path": EVIL}), text=EVIL))
        p.on(user="^go", turn_step=2, reply=say(EVIL))
        p.on(user="^ask", turn_step=1, reply=calls(Call("exec", {"command": f"echo {EVIL}"})))
        owner = await person(p, http)
        path = f"/web/chat/{KEY}/files"
        up = await owner.ask("POST", path, params={"name": EVIL}, data=b"x", headers={"Content-Type": "text/html"})
        await owner.send(f"go {EVIL}", files=[up.json["file"]])
        await p.wait_idle()
        await owner.send("ask")
        await p.wait_until(lambda: any(event.type == "approval" for event in p.events))
        await owner.send("and this one waits")
        await owner.post(f"/web/chat/{KEY}/title", {"title": EVIL[:60]})
        shown = [
            "/web",
            "/web/now",
            "/web/signins",
            f"/web/fragments/agents?key={KEY}",
            f"/web/fragments/conversations?key={KEY}",
            *("/web/runs", "/web/jobs", "/web/sessions", "/web/usage", "/web/health", "/web/config"),
            f"/web/runs?q={quote(EVIL[:60])}&kind={quote(EVIL)}&agent={quote(EVIL)}",
            f"/web/config?q={quote(EVIL)}",
            *(f"/web/sessions/{session['sessionId']}" for session in await p.sessions()),
            *(f"/web/fragments/run-log?id={run['runId']}" for run in await p.runs()),
            *(f"/web/runs/{run['runId']}" for run in await p.runs()),
        ]
        for each in shown:
            answer = await owner.get(each)
            assert answer.status == 200
            check(answer.text)
        log: Any = await owner.log()
        check(log["html"])
        assert "pwned" in log["html"]  # it is shown, as text
        command = await owner.send(f"/subagents info {EVIL}")
        check(command.json["html"])
        evil_agent = await person(p, http)
        assert evil_agent.cookie


async def test_an_error_page_shows_what_was_asked_for_as_text(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with pilot(tmp_path) as p:
        owner = await person(p, http)
        answer = await owner.get("/web/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
        assert answer.status == 404
        check(answer.text)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "&#106;avascript:alert(1)",
        "vbscript:x",
        DATA,
        "file:///etc/passwd",
        "/web/signout",
        "//evil.example",
        "\x01javascript:alert(1)",
        "blob:x",
    ],
)
def test_links_lead_to_the_web_or_nowhere(url: str) -> None:
    for text in (f"[x]({url})", f"[x](<{url}>)", f"![x]({url})", f"<{url}>", f"[x][y]\n\n[y]: {url}"):
        assert "href" not in markdown.render(text), text


def test_links_tell_nobody_where_they_stood() -> None:
    html = markdown.render("[x](https://example.org/?a=1&b=2)")
    assert 'href="https://example.org/?a=1&amp;b=2"' in html
    assert 'rel="noopener noreferrer nofollow"' in html and 'target="_blank"' in html


def test_a_picture_is_a_link_to_it() -> None:
    html = markdown.render("![a cat](https://example.org/cat.png)")
    assert "<img" not in html and 'href="https://example.org/cat.png"' in html and "a cat" in html


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_document())
def test_any_document_is_harmless(document: MarkdownDocument) -> None:
    check(markdown.render(document.markdown))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_document())
def test_a_streamed_answer_loses_no_word(document: MarkdownDocument) -> None:
    partial = Partial("1")
    partial.replace("")
    done, tail = "", ""
    for start in range(0, len(document.markdown), 23):
        partial.extend(document.markdown[start : start + 23])
        update = partial.update()
        done, tail = done + update.done, update.tail
    check(done + tail)
    whole = markdown.render(document.markdown)
    lost = [word for word in document.words if word in whole and word not in done + tail]
    # What a definition at the end makes a link is none before it; the stored answer is shown as a whole.
    assert not lost or "]:" in document.markdown

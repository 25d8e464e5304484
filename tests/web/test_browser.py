"""The page in a real browser, from the link that `laneway start` prints to a gateway that is killed under it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Response

from tests.support.browser import DESK, PHONE_DARK, Look, Stage, stage, texts
from tests.support.model_script import Call, call, calls, say
from tests.web.test_texts import EVIL

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.asyncio(loop_scope="session")]
ASKS: dict[str, Any] = {"tools": {"exec": {"ask": "always", "sandbox": "off"}}}
LARGEST_LOAD = 150_000
ANSWER = """Here is what I found:

1. The **tests** are in `tests/`, grouped by what they show.
2. Two of them are slow.

| file | seconds |
|---|---|
| `test_matrix.py` | 41 |
| `test_random.py` | 12 |

```python
def slowest(found: dict[str, float]) -> str:
    return max(found, key=found.__getitem__)
```

Shall I look into the first one?"""


def script(s: Stage) -> None:
    """What the models say."""
    on = s.models.on
    on(role="child", user="only the headings", reply=say("Three headings, as you said."))
    on(role="child", task="^read", step=1, reply=call("ls", path="."))
    on(role="child", task="^read", step=2, reply=say("Nothing yet.", hold="child"))
    on(role="child", task="^hang", reply=say("never", hold="never"))
    spawned = calls(
        Call("sessions_spawn", {"task": "read the documents", "label": "Read the documents"}),
        Call("sessions_spawn", {"task": "hang about", "label": "Count the <b>files</b>"}),
        text="I hand this on.",
    )
    on(role="main", user="^Which tests", reply=say(ANSWER, hold="answer", hold_after=30))
    on(role="main", user="^Hand", turn_step=1, reply=spawned)
    on(role="main", user="^Hand", turn_step=2, reply=say("Two sub-agents are on their way."))
    on(role="main", user="^Run", turn_step=1, reply=call("exec", command="echo it-ran"))
    on(role="main", user="^Run", turn_step=2, reply=say("It ran."))
    on(role="main", user="^Tell", reply=say("Once upon a time there was a lane. " * 40, hold="tale", hold_after=20))
    on(role="main", user="^Think", reply=say("I have thought.", hold="thought"))
    on(role="main", user="^And", reply=say("And that as well."))
    on(role="main", user="^evil", reply=say(EVIL))
    on(role="main", user=r"^\[Report", reply=say("A report has come."))


@pytest.mark.parametrize("look", [DESK, PHONE_DARK], ids=lambda look: look.name)
async def test_the_story(tmp_path: Path, browser: Browser, look: Look) -> None:
    async with stage(tmp_path, browser, look, ASKS) as s:
        script(s)
        await comes_in(s)
        await talks(s)
        await hands_on(s)
        await approves(s)
        await stops_a_turn(s)
        await sees_no_harm(s)
        await looks_at_now(s)
        await survives_a_kill(s)


async def comes_in(s: Stage) -> None:
    link = await s.sign_in()
    assert "#" not in s.page.url  # no history keeps the code
    (cookie,) = await s.context.cookies()
    assert cookie.get("httpOnly") and cookie.get("sameSite") == "Strict"
    assert link.partition("#code=")[2] not in await s.page.content()
    await s.shot("empty")
    await s.axe("empty chat")


async def talks(s: Stage) -> None:
    page = s.page
    await s.say("Which tests are slow?")
    await page.wait_for_selector("#partial:not([hidden]) >> text=The tests are in")
    s.models.release("answer")
    await page.wait_for_selector(".entry.answer figure.code")
    assert await page.is_hidden("#partial")
    assert await page.locator(".entry.answer td").count() == 4
    await page.click("[data-copy]")
    await page.wait_for_selector("text=Copied")
    await page.fill("#text", "/subag")
    await page.wait_for_selector("#complete li")
    await page.press("#text", "Tab")
    assert await page.input_value("#text") == "/subagents "
    await page.press("#text", "Escape")
    await page.fill("#text", "/status")
    await page.press("#text", "Enter")
    await page.wait_for_selector(".entry.reply")
    await page.fill("#text", "")
    await page.press("#text", "ArrowUp")
    assert await page.input_value("#text") == "/status"
    await page.fill("#text", "")


async def hands_on(s: Stage) -> None:
    page = s.page
    await s.say("Hand this on, please")
    await page.wait_for_selector("text=on their way")
    await s.drawer("beside")
    await page.wait_for_selector("#beside .card.run >> nth=1")
    assert "Count the <b>files</b>" in await texts(page, "#beside .card h3")
    await s.models.wait_for(lambda seen: seen.role == "child" and seen.step == 2)
    await s.shot("agents")
    await s.axe("sub-agents")
    first = page.locator("#beside .card.run", has_text="Read the documents")
    await first.locator("summary").click()
    await first.locator("input").fill("only the headings")
    await first.locator("input").press("Enter")
    await page.wait_for_selector(".toast >> text=at its next step")
    await first.locator("text=Log").click()
    await page.wait_for_selector("#dialog .waiting >> text=only the headings")
    await s.axe("log")
    await s.shot("log")
    s.models.release("child")
    await page.wait_for_selector("#dialog >> text=Three headings")
    await page.keyboard.press("Escape")
    await s.drawer("beside")
    second = page.locator("#beside .card.run", has_text="Count the")
    await second.locator("button.danger").click()
    await second.locator(".badge >> text=stopped").wait_for()
    await page.keyboard.press("Escape")
    await page.wait_for_selector(".entry.report")


async def approves(s: Stage) -> None:
    page = s.page
    await s.say("Run it")
    await page.wait_for_selector(".entry.approval button")
    await s.shot("question")
    await s.axe("question")
    await page.click(".entry.approval >> text=Allow >> nth=0")
    await page.wait_for_selector(".entry.answer >> text=It ran.")
    assert "allowed by web:operator" in (await texts(page, ".entry.approval"))[0]


async def stops_a_turn(s: Stage) -> None:
    page = s.page
    await s.say("Tell a long story")
    await page.wait_for_selector("#partial:not([hidden])")
    await s.say("And what waits?")
    await page.wait_for_selector(".entry.user.waiting >> text=And what waits?")
    await page.wait_for_selector("text=joins the running turn")
    await page.wait_for_selector('.state[data-busy="1"]')
    await page.focus("#text")
    await page.keyboard.press("Escape")
    await page.wait_for_selector(".entry.cut >> text=stopped here")
    await page.wait_for_selector(".entry.answer >> text=And that as well.")


async def sees_no_harm(s: Stage) -> None:
    page = s.page
    await s.say("evil")
    await page.wait_for_selector(".entry.answer >> text=window.pwned >> nth=0")
    assert await page.evaluate("window.pwned") is None
    for href in await page.locator("#log .prose a").evaluate_all("(all) => all.map((each) => each.href)"):
        assert re.match(r"https?:|mailto:", href)


async def looks_at_now(s: Stage) -> None:
    page = s.page
    await s.say("Hand this on, please")
    await page.wait_for_selector("text=on their way >> nth=1")
    await page.click('nav a[href="/web/now"]')
    await page.wait_for_selector("#f-now-active .card.run")
    await page.wait_for_selector("#f-now-lanes .meter")
    await s.live()
    await s.shot("now")
    await s.axe("now")
    await page.click("#f-now-active .card.run >> nth=0 >> button.danger")
    await page.wait_for_selector(".toast")
    await page.keyboard.press("/")
    await page.wait_for_selector("#offers li")
    await page.keyboard.type("/subagents list")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#dialog >> text=Subagents")
    await page.keyboard.press("Escape")
    await page.click('nav a[href="/web/signins"]')
    await page.wait_for_selector("text=this browser")
    await s.shot("signins")
    await s.axe("sign-ins")
    await page.click('nav .pages a[href="/web"]')
    await s.live()


async def survives_a_kill(s: Stage) -> None:
    page = s.page
    await s.say("Think about it")
    await s.models.wait_for(lambda seen: seen.last_user == "Think about it")
    before = await ids(s)
    await s.kill()
    await page.wait_for_selector('#link[data-state="lost"]')
    await s.say("And while it is away?")
    await page.wait_for_selector("text=not sent yet")
    await s.shot("away")
    await s.start_again()
    await s.live()
    await page.wait_for_selector("text=not sent yet", state="detached")
    s.models.release("thought")
    await page.wait_for_selector(".entry.answer >> text=I have thought.")
    await page.wait_for_selector(".entry.answer >> text=And that as well. >> nth=1")
    said = await texts(page, ".entry.user .said")
    assert said.count("Think about it") == said.count("And while it is away?") == 1
    after = await ids(s)
    assert len(after) == len(set(after)) and set(before) <= set(after)
    await page.reload()
    await s.live()
    assert await texts(page, ".entry.user .said") == [each for each in said if not each.startswith("/")]
    answers = await texts(page, ".entry.answer .prose")
    assert answers.count("I have thought.") == 1


async def ids(s: Stage) -> list[str]:
    """The ids of all entries that the gateway knows."""
    found = await s.page.locator("#log > li").evaluate_all("(all) => all.map((each) => each.id)")
    return [each for each in found if each and not each.startswith("o-")]


async def test_the_door_and_a_small_first_load(tmp_path: Path, browser: Browser) -> None:
    async with stage(tmp_path, browser, DESK) as s:
        link = await s.sign_in()
        await loads_little(s, browser)
        other = await browser.new_context()
        page = await other.new_page()
        await page.goto(f"{s.site.url()}/web/now")
        await page.wait_for_selector("text=You aren't signed in")
        s.page, mine = page, s.page
        await s.axe("door")
        await s.shot("door")
        await page.goto(link)  # it was used
        await page.reload()
        await page.fill("#code", link)
        await page.click("text=Sign in >> nth=-1")
        await page.wait_for_selector("text=used already")
        assert await other.cookies() == []
        s.page = mine
        await mine.click('[data-post="/web/signout"]')
        await mine.wait_for_selector("text=You aren't signed in")
        await other.close()


async def loads_little(s: Stage, browser: Browser) -> None:
    """All that a browser gets which knows nothing yet, and when the page may be used."""
    cold = await browser.new_context()
    for each in await s.context.cookies():
        name, value = each.get("name", ""), each.get("value", "")
        await cold.add_cookies([{"name": name, "value": value, "url": s.site.url()}])
    page = await cold.new_page()
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    await page.goto(f"{s.site.url()}/web")
    await page.wait_for_selector('#link[data-state="live"]', state="attached")
    parts = dict[str, int]()
    for response in responses:
        if "/web/events" not in response.url:
            size = await response.request.sizes()
            parts[response.url.rpartition("/")[2]] = size["responseBodySize"] + size["responseHeadersSize"]
    ready = await page.evaluate("performance.getEntriesByName('laneway-ready')[0].startTime")
    total = sum(parts.values())
    print(f"first load: {total} bytes, interactive after {ready:.0f} ms")
    assert len(parts) > 10
    assert total <= LARGEST_LOAD, parts
    assert ready < 3_000  # 300 on a machine of its own; this one is shared with other tests
    await cold.close()

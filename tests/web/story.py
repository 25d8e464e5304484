"""The story that the browser tests play: from the link that `laneway start` prints to a gateway that dies."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tests.support.browser import Stage, texts
from tests.support.model_script import Call, call, calls, say
from tests.web.test_texts import EVIL

ASKS: dict[str, Any] = {"tools": {"exec": {"ask": "always", "sandbox": "off"}}}
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
    _watched(s)


def _watched(s: Stage) -> None:
    """A run that the control room looks at."""
    on = s.models.on
    on(role="child", user="the second file", reply=say("Steered: the second file it is."))
    on(role="child", user="^take another way", reply=say("Another way it is."))
    on(role="child", task="^watch", step=1, reply=call("ls", path="."))
    on(role="child", task="^watch", step=2, reply=replace(call("ls", path=".."), hold="watch"))
    on(role="child", task="^last", reply=say("It lasted.", hold="last"))
    for word in ("watch", "last"):
        spawned = Call("sessions_spawn", {"task": f"{word} what happens", "label": f"The one to {word}"})
        on(role="main", user=f"^Let it {word}", turn_step=1, reply=calls(spawned))
        on(role="main", user=f"^Let it {word}", turn_step=2, reply=say(f"I let it {word}."))


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
    await s.me()
    await page.click('nav a[href="/web/signins"]')
    await page.wait_for_selector(".badge >> text=this browser")
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


async def opens_a_run(s: Stage, word: str) -> None:
    """Asks for a run and goes to its page."""
    page = s.page
    await page.goto(f"{s.site.url()}/web")
    await s.live()
    await s.say(f"Let it {word}")
    await page.wait_for_selector(f".entry.answer >> text=I let it {word}.")
    await s.drawer("beside")
    await page.click(f"#beside .card.run a >> text=The one to {word}")
    await page.wait_for_selector(f"h1 >> text=The one to {word}")
    await s.live()


async def watches_a_run(s: Stage) -> None:
    page = s.page
    await opens_a_run(s, "watch")
    await page.wait_for_selector("#f-run-turns .turn >> text=Turn 1")
    await page.wait_for_selector("#f-run-timeline .b-tool", state="attached")
    await s.shot("run")
    await s.axe("run")
    await page.click("#steer-head summary")
    await page.fill("#say-head", "look at the second file")
    await page.press("#say-head", "Enter")
    await page.wait_for_selector("#f-run-inbox >> text=not read yet")
    await page.click("#f-run-head button:has-text('Pause')")
    await page.wait_for_selector("#f-run-head >> text=paused: resume it to go on")
    await page.click("#f-run-head button:has-text('Resume')")
    await page.wait_for_selector("#f-run-head button:has-text('Pause')")
    s.models.release("watch")
    await page.wait_for_selector("#f-run-head .result >> text=Steered: the second file it is.")
    await page.wait_for_selector("#f-run-inbox li:has-text('second file') >> text=as message")
    assert await page.locator("#f-run-inbox >> text=not read yet").count() == 0
    await page.click("#timeline-table summary")
    await s.axe("run, ended")


async def forks_it(s: Stage) -> None:
    page = s.page
    before = page.url
    await page.click("#f-run-turns .turn:has-text('Turn 1') .fork summary")
    await page.fill("#f-run-turns .fork[open] input[name=task]", "take another way")
    await page.press("#f-run-turns .fork[open] input[name=task]", "Enter")
    await page.wait_for_url(lambda url: url != before and "/web/runs/" in url)
    await page.wait_for_selector("#f-run-head .result >> text=Another way it is.")
    await page.click("#facts-all summary")
    await page.wait_for_selector("#facts-all >> text=The one to watch")


async def finds_it_again(s: Stage) -> None:
    page = s.page
    await page.keyboard.press("/")
    await page.keyboard.type("second file")
    await page.click("#offers >> text=Search all runs")
    await page.wait_for_selector("#f-runs-list a >> text=The one to watch")
    await s.shot("found")
    await s.axe("runs")
    await page.select_option("select[name=state]", "failed")
    await page.click("text=Find")
    await page.wait_for_selector("text=No run is like that")


async def kills_under_a_run(s: Stage) -> None:
    page = s.page
    await opens_a_run(s, "last")
    await s.models.wait_for(lambda seen: seen.first_user.startswith("last"))
    await s.kill()
    await page.wait_for_selector('#link[data-state="lost"]', state="attached")
    await s.start_again()
    await s.live()
    await page.wait_for_selector("#f-run-timeline .b-down", state="attached")
    s.models.release("last")
    await page.wait_for_selector("#f-run-head .result >> text=It lasted.")
    await page.wait_for_selector("#f-run-turns .turn-head b >> text=Turn 1")
    assert await page.locator("#f-run-turns .turn-head b >> text=Turn 1").count() == 1
    assert await page.locator("#f-run-turns .turn-head b >> text=Turn 2").count() == 0

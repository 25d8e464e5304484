"""A gateway with something going on: what the tour of the pages looks at, and what they are tried with at every width.

A night on call: the assistant has handed work on, some of it has ended, well and otherwise, some is under way, jobs
wait, a person is asked, the gateway was killed in between, and a month of usage stands in the ledger.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from tests.support.browser import Stage
from tests.support.model_script import Call, Reply, Tokens, call, calls, fail, say

LARGE, SMALL = "house/large", "house/small"
PEOPLE = ("slack:U024ANN", "telegram:5501", "web-operator:operator", "")
ANSWER = """Three services were slow between 22:00 and 23:00:

| service | p95 | before |
|---|---|---|
| `checkout` | 4.1 s | 0.6 s |
| `search` | 1.9 s | 0.5 s |
| `mail-relay` | 0.9 s | 0.4 s |

**checkout** is the one to look at first: its calls to the database wait for a lock.

```sql
select pid, wait_event, query
from pg_stat_activity where wait_event_type = 'Lock';
```"""
FOUND = """The lock comes from the **nightly export**: it opens a transaction at 22:01 and holds `orders` until 22:58.

1. The export reads all of `orders` in one transaction since Tuesday's deploy.
2. `checkout` writes to the same rows and waits.
3. Nothing else changed that evening.

Reading in batches of 10,000 rows would keep each lock below a second."""
DEPLOY = "Tuesday's deploy changed the export: it reads all of `orders` in **one** transaction."
LOG = "\n".join(
    f"2026-11-25T22:{minute:02}:14Z checkout WARN waited {300 + 60 * minute} ms for a lock on orders"
    for minute in range(1, 59, 4)
)


def config(model_url: str) -> Mapping[str, Any]:
    """What is over the usual configuration."""
    models = [
        {"id": name, "contextWindow": 200_000, "maxTokens": 8192, "cost": {"input": price, "output": 5 * price}}
        for name, price in (("large", 3), ("small", 0.8))
    ]
    provider = {"baseUrl": model_url, "api": "openai-completions", "apiKey": "scripted-key", "models": models}
    subagents = {"model": SMALL, "maxSpawnDepth": 2, "maxConcurrent": 4, "maxChildrenPerAgent": 12}
    return {
        "models": {"providers": {"house": provider}},
        "agents": {
            "defaults": {"model": {"primary": LARGE}, "subagents": subagents},
            "list": [{"id": "main", "budgetUsd": 4.0}, {"id": "research", "budgetUsd": 1.5}],
        },
        "tools": {"exec": {"ask": "always", "sandbox": "off"}},
        "jobs": {"shell": {"enabled": True, "maxConcurrent": 1}},
    }


def script(s: Stage) -> None:
    """What the models say."""
    on, some, much = s.models.on, Tokens(6_300, 180, 4_100), Tokens(18_400, 912, 12_000)
    on(role="child", task="^Read the logs", step=1, reply=call("grep", pattern="lock", path="logs"))
    on(role="child", task="^Read the logs", step=2, reply=call("read", path="logs/checkout.log"))
    on(role="child", task="^Read the logs", step=3, reply=say(FOUND, delay=1.5, tokens=much))
    _who_holds(s)
    on(role="child", task="^Compare", step=1, reply=_asks_two())
    on(role="child", task="^Compare", reply=say("Nothing but Tuesday stands out.", delay=1.2, tokens=some))
    on(role="child", task="^Week 47", step=1, reply=call("read", path="logs/week.log"))
    on(role="child", task="^Week 48", step=1, reply=call("grep", pattern="p95", path="logs"))
    on(role="child", task="^Week", step=2, reply=say("p95 was 0.6 s in all of it.", delay=1.6, tokens=much))
    on(role="child", task="^Draft", step=1, reply=call("read", path="deploys.md"))
    on(role="child", task="^Draft", step=2, reply=say("I need the numbers.", hold="night"))
    on(role="child", task="^Ask the status page", reply=say("never", hold="night"))
    on(role="child", task="^Check the deploys", step=1, reply=call("read", path="deploys.md"))
    on(role="child", task="^Check the deploys", step=2, reply=say(DEPLOY, delay=1.1, tokens=some))
    on(role="main", user="^Which", reply=say(ANSWER, tokens=much))
    on(role="main", user="^Find out why", turn_step=1, reply=_hands_on())
    on(role="main", user="^Find out why", turn_step=2, reply=say("Six sub-agents are at it.", tokens=much))
    on(role="main", user="^Restart", turn_step=1, reply=call("exec", command="systemctl restart mail-relay"))
    on(role="main", user="^Restart", turn_step=2, reply=say("It is restarted."))
    on(role="main", user=r"^\[Report", reply=say("Noted: one more piece of it.", tokens=Tokens(9_200, 60, 8_000)))


def _who_holds(s: Stage) -> None:
    """The run that the tour looks at: it looks, is slowed down, asks, and is at work when the gateway dies."""
    on, tokens = s.models.on, Tokens(7_900, 240, 5_200)
    task, asks = "^Find out who holds", "sleep 2; echo export-job holds orders since 22:01"
    slow = {"retry_after": "2"}
    on(role="child", task=task, step=1, reply=replace(call("ls", path="."), delay=1.2, tokens=tokens))
    on(role="child", task=task, step=2, reply=replace(_looks(), delay=1.9, tokens=tokens))
    on(role="child", task=task, step=3, once=True, reply=fail(429, "slow down", **slow))
    on(role="child", task=task, step=3, reply=replace(call("exec", command=asks), delay=0.8, tokens=tokens))
    on(role="child", task=task, step=4, reply=say("Held.", hold="night"))


def _looks() -> Reply:
    return calls(
        Call("grep", {"pattern": "export", "path": "deploys.md"}),
        Call("read", {"path": "logs/checkout.log"}),
        text="The lock on `orders` is held for 57 minutes. Let me see **who** opens it.",
    )


def _asks_two() -> Reply:
    weeks = ({"task": f"Week {number}: read its log", "label": f"Week {number}"} for number in (47, 48))
    return calls(*(Call("sessions_spawn", each) for each in weeks), text="One week each.")


def _hands_on() -> Reply:
    tasks = (
        ("Read the logs of checkout around 22:00", "Read the logs"),
        ("Find out who holds the lock on orders, and since when", "Who holds the lock"),
        ("Compare the last two weeks of checkout", "Compare the weeks"),
        ("Check the deploys of the week", "Check the deploys"),
        ("Draft the note for the team", "Draft the note"),
        ("Ask the status page of the provider", "Provider's status page"),
    )
    return calls(
        *(Call("sessions_spawn", {"task": task, "label": label, **_limits(label)}) for task, label in tasks),
        text="I look at it from several sides.",
    )


def _limits(label: str) -> dict[str, Any]:
    if label == "Draft the note":
        return {"budgetUsd": 0.25}
    return {"runTimeoutSeconds": 2} if label == "Provider's status page" else {}


def files(s: Stage) -> None:
    """What the tools find."""
    folder = s.site.workspace
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / "checkout.log").write_text(LOG, "utf-8")
    (folder / "logs" / "week.log").write_text("p95 0.6 s\n" * 40, "utf-8")
    (folder / "deploys.md").write_text("# Deploys\n- Tuesday 18:40: export 2.3, reads in one transaction\n", "utf-8")


def month(s: Stage) -> None:
    """Usage of the days before. Nobody runs on the database while it is written."""
    today = datetime.now(UTC).date()
    rows: list[tuple[object, ...]] = []
    for back in range(1, 75):
        day = today - timedelta(days=back)
        work = (1 if day.weekday() < 5 else 0.25) * (1.2 + math.sin(back / 3) + 0.8 * math.sin(back / 11)) / 2
        for place, (agent, model, channel, kind) in enumerate(
            (
                ("main", LARGE, "slack", "conversation"),
                ("main", SMALL, "slack", "subagent"),
                ("research", SMALL, "telegram", "subagent"),
                ("main", LARGE, "web", "conversation"),
                ("research", SMALL, "", "job"),
            )
        ):
            calls_ = max(0, round(work * (60 - 9 * place)))
            tokens, price = calls_ * 9_000, 3 if model == LARGE else 0.8
            cost = round(tokens * price * 0.35)
            person = PEOPLE[place % len(PEOPLE)]
            where = (day.isoformat(), agent, model, channel, person, kind)
            rows.append((*where, calls_, tokens, tokens // 30, tokens // 2, cost, 0))
    with contextlib.closing(sqlite3.connect(s.site.database)) as raw, raw:
        raw.executemany("insert into usage values (?,?,?,?,?,?,?,?,?,?,?,?)", [row for row in rows if row[6]])


async def api(s: Stage, path: str, body: Mapping[str, Any]) -> Any:
    """One request with the operator's token."""
    headers = {"Authorization": f"Bearer {s.site.token()}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{s.site.url()}{path}", json=body, headers=headers) as answer,
    ):
        assert answer.status < 300, await answer.text()
        return json.loads(await answer.text())


async def jobs(s: Stage) -> None:
    """Jobs of several kinds: done, failed, at work, delayed, and in the queue."""
    cwd = str(s.site.workspace)

    def shell(label: str, cmd: str, **more: Any) -> dict[str, Any]:
        return {"name": "shell", "label": label, "data": {"cmd": cmd, "cwd": cwd}, **more}

    await api(s, "/api/jobs", shell("Back the database up", "echo 2.1 GB written", maxAttempts=1))
    await api(s, "/api/jobs", shell("Renew the certificate", "echo no answer from the CA >&2; exit 3", maxAttempts=1))
    parts = [shell(f"Rebuild shard {number}", "sleep 600") for number in (1, 2, 3)]
    await api(s, "/api/jobs", {"name": "aggregate", "label": "Rebuild the search index", "children": parts})
    await api(s, "/api/jobs", shell("Rotate the logs", "true", delayMs=5_400_000))


def written(s: Stage) -> None:
    """The configuration as a person would have written it."""
    file = s.site.state / "config.json5"
    plain = json.dumps(json.loads(file.read_text("utf-8")), indent=2)
    text = re.sub(r'^( *)"(\w+)":', r"\1\2:", plain, flags=re.MULTILINE)
    text = text.replace("  models: {", "  // The house's own models, behind the proxy.\n  models: {")
    file.write_text(text.replace("  jobs: {", "  // One at a time: they share a disk.\n  jobs: {") + "\n", "utf-8")
    file.chmod(0o600)
    s.site.state.chmod(0o700)


async def lively(s: Stage) -> None:
    """All of it, from the sign-in on; at the end the page shows the conversation."""
    page, models = s.page, s.models
    files(s)
    script(s)
    await s.sign_in()
    await s.say("Which services were slow last night?")
    await page.wait_for_selector(".entry.answer td >> nth=0")
    await jobs(s)
    await s.say("Find out why checkout was slow, from all sides")
    await page.wait_for_selector(".entry.approval button")
    await page.wait_for_timeout(1500)
    await page.click(".entry.approval >> text=Allow >> nth=0")
    await models.wait_for(lambda seen: seen.first_user.startswith("Find out who") and seen.step == 4)
    await models.wait_for(lambda seen: seen.first_user.startswith("Draft") and seen.step == 2)
    await page.wait_for_selector(".entry.report >> nth=3")
    await page.wait_for_timeout(1500)
    await s.kill()
    month(s)
    written(s)
    await s.start_again()
    await s.live()
    await s.say("Restart the mail relay")
    await page.wait_for_selector(".entry.approval button")

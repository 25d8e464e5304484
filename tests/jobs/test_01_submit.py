"""Submitting jobs (spec/jobs.md 1–8), over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.jobs.scene import BEN, CHAT, TOKENS, change, ended, jobs, look, reached, refused, rows, submit, waits_because
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import Call, calls, say
from tests.support.pilot import Json, merged, pilot

NONE = {"runs": 0, "sessions": 0, "inbox": 0, "messages": 0, "run_after": 0}
MANY = 50


async def test_1_names_are_trimmed_and_empty_ones_refused(tmp_path: Path) -> None:
    """spec/jobs.md 1: names are trimmed; empty refused."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        for name in ("", "   ", "\n\t"):
            assert (await refused(p, name))["field"] == "name"
        assert (await refused(p, label="  "))["field"] == "label"
        unknown = await refused(p, "wrok")
        assert "aggregate" in unknown["message"]
        assert await rows(p) == NONE
        job = await submit(p, "  work \n", label="  a name ")
        assert (job["name"], job["label"]) == ("work", "a name")


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"maxAttempts": 0}, "maxAttempts", "1"),
        ({"maxAttempts": 1001}, "maxAttempts", "1000"),
        ({"maxAttempts": 1.5}, "maxAttempts", "integer"),
        ({"delayMs": -1}, "delayMs", "0"),
        ({"backoff": {"jitter": 1.1}}, "backoff.jitter", "1"),
        ({"backoff": {"jitter": -0.1}}, "backoff.jitter", "0"),
        ({"backoff": {"delayMs": -1}}, "backoff.delayMs", "0"),
        ({"backoff": {"type": "linear"}}, "backoff.type", "exponential"),
        ({"timeoutMs": 0}, "timeoutMs", "0"),
        ({"timeoutMs": -5}, "timeoutMs", "0"),
        ({"priority": 10**9}, "priority", "1000000"),
        ({"maxChildren": -1}, "maxChildren", "0"),
        ({"onChildFail": "panic"}, "onChildFail", "remove_dep"),
        ({"queue": "nowhere"}, "queue", "jobs"),
        ({"data": {"fial": 1}}, "data.fial", "fail"),
        ({"data": {"fail": "often"}}, "data.fail", "integer"),
        ({"children": [{"name": "work", "maxAttempts": 0}]}, "children.0.maxAttempts", "1"),
        ({"children": [{"name": "work"}], "delayMs": 5}, "delayMs", "children"),
    ],
)
async def test_2_bad_values_are_refused_with_field_and_what_is_allowed(
    tmp_path: Path, fields: Json, field: str, allowed: str
) -> None:
    """spec/jobs.md 2: bad numbers are refused with the field and the allowed values; a refused submit leaves no row."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        error = await refused(p, **fields)
        assert error["field"] == field
        assert allowed in error["message"]
        assert await rows(p) == NONE


async def test_2_a_refusal_far_down_leaves_nothing_of_what_stands_above(tmp_path: Path) -> None:
    """spec/jobs.md 2, 6: a fan-out of which one child is wrong leaves no row."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        good: Json = {"name": "work", "data": {"give": 1}}
        for wrong in ({"name": "wrok"}, {"name": "work", "data": {"x": 1}}, {"name": "work", "after": ["77"]}):
            nested = {"name": "aggregate", "children": [good, wrong]}
            await refused(p, "aggregate", children=[good, nested])
        assert await rows(p) == NONE


async def test_3_one_key_is_one_row(tmp_path: Path) -> None:
    """spec/jobs.md 3: the same key, however many submit at once, gives one row; all get its id, all but one
    `coalesced: true`."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        body: Json = {"data": {"log": "once", "give": 1}, "idempotencyKey": "k"}
        found = await asyncio.gather(*(submit(p, **body) for _ in range(MANY)))
        assert len({job["id"] for job in found}) == 1
        assert Counter(job["coalesced"] for job in found) == {True: MANY - 1, False: 1}
        await ended(p, found[0])
        again = await submit(p, **body)
        assert (again["id"], again["coalesced"], again["outcome"]) == (found[0]["id"], True, "ok")
        assert plugin.effects == ["once"]
        assert len(await jobs(p)) == 1


async def test_3_the_same_key_for_something_else_is_an_error(tmp_path: Path) -> None:
    """spec/jobs.md 3 !: the same key with another name or payload is an error."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        first = await submit(p, data={"give": 1, "fail": 1}, idempotencyKey="k")
        children: list[Json] = [{"name": "work", "data": {"give": n}} for n in range(3)]
        fan = await submit(p, "aggregate", children=children, idempotencyKey="fan")
        for name, data in (
            ("work", {"give": 2, "fail": 1}),
            ("work", {"give": 1}),
            ("work", {"give": 1, "fail": 1, "log": "x"}),
            ("guarded", {"give": 1, "fail": 1}),
            ("aggregate", {}),
        ):
            error = await refused(p, name, data=data, idempotencyKey="k")
            assert (error["field"], f"#{first['id']}" in error["message"]) == ("idempotencyKey", True)
        for others in (children[:2], [*children, children[0]], [*children[:2], {"name": "work", "data": {"give": 9}}]):
            assert (await refused(p, "aggregate", children=others, idempotencyKey="fan"))["field"] == "idempotencyKey"
        # What says the same is the same, however it is said.
        same = await submit(p, data={"fail": 1, "give": 1, "log": ""}, idempotencyKey="k")
        assert (same["id"], same["coalesced"]) == (first["id"], True)
        assert (await submit(p, "aggregate", children=children, idempotencyKey="fan"))["id"] == fan["id"]


async def test_3_stopped_and_dead_free_their_key(tmp_path: Path) -> None:
    """spec/jobs.md 3: `stopped` and `dead` rows free their key; those that ended well or failed otherwise keep it."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        stopped = await submit(p, data={"hold": "never"}, idempotencyKey="a")
        await change(p, stopped, "stop")
        dead = await submit(p, data={"fail": 9}, idempotencyKey="b", maxAttempts=2, backoff={"delayMs": 1})
        assert (await ended(p, dead))["outcome"] == "dead"
        failed = await submit(p, data={"unrecoverable": True}, idempotencyKey="c")
        assert (await ended(p, failed))["outcome"] == "error"
        assert not (await submit(p, data={"give": 1}, idempotencyKey="a"))["coalesced"]
        assert not (await submit(p, data={"give": 1}, idempotencyKey="b"))["coalesced"]
        assert (await submit(p, data={"unrecoverable": True}, idempotencyKey="c"))["coalesced"]


async def test_3_a_key_leads_nobody_to_somebody_else_s_job(tmp_path: Path) -> None:
    """spec/jobs.md 3, views: a caller sees his own jobs only, and a key of his own is never another one's."""
    async with pilot(tmp_path, config=TOKENS, plugins={"work": WorkPlugin()}) as p:
        found = [await submit(p, token=token, idempotencyKey="k") for token in (None, CHAT, BEN, CHAT)]
        assert [job["coalesced"] for job in found] == [False, False, False, True]
        assert len({job["id"] for job in found}) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"name": "work", "data": {"give": 1}},
        {"name": "aggregate", "children": [{"name": "work"}, {"name": "work", "delayMs": 60_000}]},
        {"name": "subagent", "data": {"task": "count"}},
        {"name": "work", "delayMs": 60_000},
    ],
    ids=lambda body: body["name"],
)
async def test_3_a_dry_run_checks_and_leaves_nothing(tmp_path: Path, body: Json) -> None:
    """spec/jobs.md 3: `submit --dry-run` checks and shows, and leaves nothing: no row, no event, no activation."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        shown = await submit(p, **body, dryRun=True)
        assert (shown["name"], shown["dryRun"], "id" in shown) == (body["name"], True, False)
        await refused(p, "work", data={"x": 1}, dryRun=True)
        assert await rows(p) == NONE
        assert p.events == []
        first = await submit(p, idempotencyKey="k")
        known = await submit(p, idempotencyKey="k", dryRun=True)
        assert (known["id"], known["coalesced"], known["dryRun"]) == (first["id"], True, True)


async def test_3_tools_named_at_submit_are_checked_at_submit(tmp_path: Path) -> None:
    """spec/jobs.md 3: tools named at submit are checked at submit; those of a definition as well."""
    config: Json = {"agents": {"subagentDefs": {"reader": {"tools": ["read", "raed"]}}}}
    async with pilot(tmp_path, config=config) as p:
        error = await refused(p, "subagent", data={"task": "t", "tools": ["read", "serach"]})
        assert "serach" in error["message"]
        assert "web_fetch" in error["message"], "it says which there are"
        assert "raed" in (await refused(p, "subagent", data={"task": "t", "subagentDef": "reader"}))["message"]
        assert "reader" in (await refused(p, "subagent", data={"task": "t", "subagentDef": "writer"}))["message"]
        assert "nope/x" in (await refused(p, "subagent", data={"task": "t", "model": "nope/x"}))["message"]
        assert await rows(p) == NONE
        job = await submit(p, "subagent", data={"task": "t", "tools": ["read", "ls"], "maxTurns": 4})
        assert (await ended(p, job))["outcome"] == "ok"
        assert set(p.child_requests()[0].tools) == {"read", "ls"}


async def test_4_a_cap_of_children_holds_under_a_race(tmp_path: Path) -> None:
    """spec/jobs.md 4: `max_children` under a race of 50 submitters and a cap of 10 accepts exactly 10."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        parent = await submit(p, "aggregate", maxChildren=10)

        async def child(number: int) -> int:
            body: Json = {"name": "work", "data": {"hold": "all"}, "parent": str(parent["id"]), "priority": number}
            return (await p.post("/api/jobs", body)).status

        found = Counter(await asyncio.gather(*(child(number) for number in range(MANY))))
        assert "10/10" in (await refused(p, parent=str(parent["id"])))["message"]
        assert found == {202: 10, 400: MANY - 10}
        assert len(await jobs(p, parent=parent["id"])) == 10
        assert (
            "3 children" in (await refused(p, "aggregate", maxChildren=2, children=[{"name": "work"}] * 3))["message"]
        )


async def test_4_the_cap_counts_for_what_a_model_spawns(tmp_path: Path) -> None:
    """spec/jobs.md 4: however a child is asked for."""
    config: Json = {"agents": {"defaults": {"subagents": {"maxSpawnDepth": 2}}}}
    async with pilot(tmp_path, config=config) as p:
        several = [Call("sessions_spawn", {"task": f"t{n}"}) for n in range(4)]
        p.on(reply=calls(*several), task="^parent$", step=1)
        p.on(reply=say("all told"), task="^parent$")
        job = await submit(p, "subagent", data={"task": "parent"}, maxChildren=2)
        await ended(p, job)
        assert len(await jobs(p, parent=job["id"])) == 2
        [seen, *_] = [seen for seen in p.child_requests() if seen.first_user == "parent" and seen.step == 2]
        assert Counter("2/2" in text and "maxChildren" in text for text in seen.results) == {False: 2, True: 2}


async def test_5_the_depth_is_capped_by_the_configuration_alone(tmp_path: Path) -> None:
    """spec/jobs.md 5 !: depth over the cap is refused; the cap comes from the configuration, not from a submission."""
    async with pilot(tmp_path, config={"jobs": {"maxDepth": 3}}, plugins={"work": WorkPlugin()}) as p:
        above = None
        for _ in range(3):
            above = await submit(p, "aggregate", **({"parent": str(above["id"])} if above else {}))
        assert above is not None
        error = await refused(p, parent=str(above["id"]))
        assert "jobs.maxDepth" in error["message"]
        for name in ("maxDepth", "depth"):
            wrong: Json = {name: 9}
            assert name in (await refused(p, parent=str(above["id"]), **wrong))["message"]
            assert name in (await refused(p, parent=str(above["id"]), data={name: 9}))["message"]
        nested: Json = {"name": "work"}
        for _ in range(3):
            nested = {"name": "aggregate", "children": [nested]}
        assert "jobs.maxDepth" in (await refused(p, **nested))["message"]
        assert len(await jobs(p)) == 3


async def test_5_a_finished_parent_takes_no_child(tmp_path: Path) -> None:
    """spec/jobs.md 5 !: a child under a finished parent is refused, whatever finished it."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        well = await submit(p)
        failed = await submit(p, data={"unrecoverable": True})
        stopped = await submit(p, data={"hold": "never"})
        await change(p, stopped, "stop")
        before = len(await jobs(p))
        for parent in (well, failed, stopped):
            await ended(p, parent)
            error = await refused(p, parent=str(parent["id"]))
            assert (error["field"], "has ended" in error["message"]) == ("parent", True)
        assert (await refused(p, parent="99"))["field"] == "parent"
        assert len(await jobs(p)) == before


async def test_6_nobody_sees_a_part_of_a_fan_out(tmp_path: Path) -> None:
    """spec/jobs.md 6 !: N children, the one that joins them and their list are one transaction; no worker, and nobody
    who looks, ever sees a part of it."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        children: list[Json] = [{"name": "work", "data": {"give": number}} for number in range(7)]
        done = asyncio.Event()
        seen: set[int] = set()

        async def look_on() -> None:
            while not done.is_set():
                for job in await jobs(p, name="aggregate"):
                    seen.add(len(job["children"]))

        looking = asyncio.create_task(look_on())
        fans = await asyncio.gather(*(submit(p, "aggregate", children=children) for _ in range(10)))
        results = [await ended(p, fan) for fan in fans]
        done.set()
        await looking
        assert seen <= {7}
        assert all([each["output"] for each in fan["output"]] == list(range(7)) for fan in results)


async def test_7_a_job_comes_after_those_that_it_names(tmp_path: Path) -> None:
    """spec/jobs.md 7: dependencies: it begins when they have ended well, and says meanwhile what it waits for."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        first = await submit(p, data={"hold": "first", "log": "first"})
        second = await submit(p, data={"log": "second"}, after=[str(first["id"])])
        third = await submit(p, data={"log": "third"}, after=[f"#{first['id']}", second["runId"][:8]])
        assert (await look(p, third))["waitingReason"] == "dependencies: 0 of 2"
        plugin.release("first")
        await ended(p, third)
        assert plugin.effects == ["first", "second", "third"]
        assert (await look(p, third))["after"] == [first["id"], second["id"]]
        at_once = await submit(p, after=[str(first["id"])])
        assert (await ended(p, at_once))["outcome"] == "ok"


async def test_7_a_delay_and_a_dependency_both_hold(tmp_path: Path) -> None:
    """spec/jobs.md 7: neither the end of the delay nor that of the other job begins it alone; nor of its children."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        slow = await submit(p, data={"hold": "slow", "log": "slow"})
        both = await submit(p, data={"log": "both"}, after=[str(slow["id"])], delayMs=50)
        join = await submit(p, data={"log": "join"}, after=[str(slow["id"])], children=[{"name": "work"}])
        await waits_because(p, both, "dependencies: 0 of 1")
        await waits_because(p, join, "dependencies: 0 of 1")
        plugin.release("slow")
        await ended(p, both)
        await ended(p, join)
        assert plugin.effects[0] == "slow"
        late = await submit(p, data={"log": "late"}, after=[str(slow["id"])], delayMs=60_000)
        assert (await look(p, late))["waitingReason"].startswith("delayed_until")


async def test_7_a_failed_dependency_is_named_and_a_retry_of_it_releases(tmp_path: Path) -> None:
    """spec/jobs.md 7, the record: `dependency_failed`; what waits begins when the other has ended well after all."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        first = await submit(p, data={"hold": "never"})
        second = await submit(p, data={"give": 2}, after=[str(first["id"])])
        await change(p, first, "stop")
        assert (await look(p, second))["waitingReason"] == f"dependency_failed: #{first['id']}"
        plugin.release("never")
        await change(p, first, "retry")
        assert (await ended(p, second))["output"] == 2


async def test_7_unknown_ids_and_cycles_are_refused(tmp_path: Path) -> None:
    """spec/jobs.md 7: dependencies are checked at submit: unknown ids (and those of others) and cycles are refused."""
    async with pilot(tmp_path, config=TOKENS, plugins={"work": WorkPlugin()}) as p:
        for word in ("77", "#77", "no-such", ""):
            assert (await refused(p, after=[word]))["field"] == "after"
        mine = await submit(p, data={"hold": "never"}, token=CHAT)
        foreign = await refused(p, after=[str(mine["id"])], token=BEN)
        missing = await refused(p, after=["77"], token=BEN)
        assert foreign["message"].replace(str(mine["id"]), "77") == missing["message"]
        top = await submit(p, "aggregate")
        waits = await submit(p, after=[str(top["id"])])
        # It would belong to the job that waits for it, or for one that waits for it.
        for word in (top["id"], waits["id"]):
            error = await refused(p, after=[str(word)], parent=str(top["id"]))
            assert (error["field"], "cycle" in error["message"]) == ("after", True)
        inside = await submit(p, "aggregate", parent=str(top["id"]))
        assert "cycle" in (await refused(p, after=[str(waits["id"])], parent=str(inside["id"])))["message"]


async def test_8_protected_kinds_are_for_operators(tmp_path: Path) -> None:
    """spec/jobs.md 8: protected kinds can't be submitted over HTTP without an operator's token: `permission_denied`,
    with the reason; the check is made on the trimmed name and can't be switched off from the payload."""
    config = merged(TOKENS, {"jobs": {"shell": {"enabled": True}}})
    async with pilot(tmp_path, config=config, plugins={"work": WorkPlugin()}) as p:
        shell = {"cmd": "true", "cwd": "/"}
        tried: list[Json] = [
            {"name": "guarded"},
            {"name": "  guarded\n"},
            {"name": "shell", "data": shell},
            {"name": "\tshell ", "data": shell},
            {"name": "aggregate", "children": [{"name": "work"}, {"name": " shell", "data": shell}]},
        ]
        for body in tried:
            error = await refused(p, **body, token=CHAT, status=403)
            assert error["code"] == "permission_denied"
            assert "operator" in error["message"]
        for sneaky in ({"allowProtectedSubmit": True}, {"operator": True}, {"protected": False}):
            await refused(p, "guarded", token=CHAT, **sneaky)
            assert (await refused(p, "guarded", token=CHAT, status=403, data=sneaky))["code"] == "permission_denied"
        own = await submit(p, token=CHAT)
        body = {"overrides": {"name": "guarded"}}
        assert (await p.post(f"/api/jobs/{own['id']}/replay", body, token=CHAT)).status == 403
        assert [job["id"] for job in await jobs(p)] == [own["id"]]
        assert (await ended(p, await submit(p, "guarded", data={"give": 1})))["output"] == 1


async def test_8_a_job_of_somebody_without_rights_has_none_to_pass_on(tmp_path: Path) -> None:
    """spec/jobs.md 8: what a chat token submits runs without an owner's tools, below a job as well."""
    async with pilot(tmp_path, config=TOKENS) as p:
        child: Json = {"name": "subagent", "data": {"task": "nested"}}
        alone = await submit(p, "subagent", data={"task": "alone"}, token=CHAT)
        fan = await submit(p, "aggregate", children=[child], token=CHAT)
        mine = await submit(p, "subagent", data={"task": "mine"})
        for job in (alone, fan, mine):
            await ended(p, job)
        offered = {seen.first_user: set(seen.tools) for seen in p.child_requests()}
        assert {"exec", "write", "edit"} <= offered["mine"]
        assert not {"exec", "write", "edit"} & (offered["alone"] | offered["nested"])


async def test_numbers_are_unique(tmp_path: Path) -> None:
    """spec/jobs.md, the record: a short id for people, whoever submits at the same moment; a fan-out's follow each
    other."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        children: list[Json] = [{"name": "work"}] * 2
        several = [submit(p, "aggregate", children=children) for _ in range(MANY // 2)]
        found = await asyncio.gather(*several, *(submit(p) for _ in range(MANY // 2)))
        for job in found:
            await ended(p, job)
        numbers = [job["id"] for job in await jobs(p)]
        assert len(numbers) == len(set(numbers)) == 4 * (MANY // 2)


async def test_a_parent_without_work_waits_for_its_first_child(tmp_path: Path) -> None:
    """spec/jobs.md, the record: a parent may have no work of its own; children may come one by one."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        parent = await submit(p, "aggregate")
        assert (await reached(p, parent, "waiting"))["waitingReason"] == "children: 0 of 0"
        await change(p, parent, "pause")
        await change(p, parent, "resume")
        await reached(p, parent, "waiting")
        several = [await submit(p, parent=str(parent["id"]), data={"hold": "all", "give": n}) for n in range(3)]
        plugin.release("all")
        assert [each["output"] for each in (await ended(p, parent))["output"]] == [0, 1, 2]
        assert [(await look(p, job))["outcome"] for job in several] == ["ok"] * 3

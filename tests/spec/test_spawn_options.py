"""`sessions_spawn`, the options: where a child works, what it starts with, and the form of its result."""

from __future__ import annotations

import json
from pathlib import Path

from tests.spec.test_spawn import agents, nothing_behind
from tests.support.model_script import Call, calls, say
from tests.support.pilot import MODEL, pilot, subagents


async def test_table_cwd_is_where_tools_run(tmp_path: Path) -> None:
    """spec/subagents.md, table: `cwd` is where file and exec tools run; it must lie inside an allowed root."""
    async with pilot(tmp_path) as p:
        inside = p.workspace / "inside"
        inside.mkdir()
        (inside / "here.txt").write_text("found it")
        (p.workspace / "out").symlink_to("/tmp")  # noqa: S108 - only a place outside
        p.on(
            reply=calls(
                Call("ls", {"path": "."}), Call("read", {"path": "here.txt"}), Call("exec", {"command": "pwd"})
            ),
            role="child",
            step=1,
        )
        assert (await p.spawn(task="x", cwd="inside"))["status"] == "accepted"
        await p.wait_idle()
        listed, text, shown = p.child_requests()[-1].results
        assert "here.txt" in listed
        assert "found it" in text
        assert str(inside) in shown
        assert (await p.spawn(task="x", cwd="out"))["status"] == "error"
        assert (await p.spawn(task="x", cwd=str(inside)))["status"] == "accepted"
        await p.wait_idle()


async def test_table_a_fork_starts_with_the_conversation_before_the_spawn(tmp_path: Path) -> None:
    """spec/subagents.md, `context`: a reference that ends before the assistant message holding the spawn call."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("noted: plum"), user="the word is plum")
        p.on(reply=say("late", hold="child"), role="child")
        await p.say("the word is plum")
        await p.wait_idle()
        accepted = await p.spawn(task="say the word", context="fork")
        assert (accepted["status"], accepted["context"]) == ("accepted", "fork")
        [first] = await p.wait_asked(lambda seen: seen.role == "child")
        assert first.users[0] == "the word is plum"
        assert first.users[-1] == "say the word"
        assert "noted: plum" in first.everything
        assert "sessions_spawn" not in json.dumps(first.messages[1:]), "not the call, and no open call"
        await p.say("later words")
        await p.wait_said("ok")
        p.model.release("child")
        await p.wait_idle()
        assert "later words" not in "".join(seen.everything for seen in p.child_requests())


async def test_table_what_the_requester_does_later_does_not_change_a_fork(tmp_path: Path) -> None:
    """spec/subagents.md, `context`: what the requester does later doesn't change it; also not over a long wait."""
    async with pilot(tmp_path, config=subagents(maxConcurrent=1)) as p:
        p.on(reply=say("done", hold="first"), task="^block$")
        await p.say("early words")
        await p.wait_idle()
        await p.spawn_many([{"task": "block"}, {"task": "forked", "context": "fork"}])
        await p.say("late words")
        await p.wait_said("ok")
        await p.command("/new")
        p.model.release("first")
        await p.wait_idle()
        forked = next(seen for seen in p.child_requests() if seen.last_user == "forked")
        assert "early words" in forked.users
        assert "late words" not in forked.everything


async def test_table_a_fork_needs_the_same_agent(tmp_path: Path) -> None:
    """spec/subagents.md, `context`: same agent only."""
    config = agents({"id": "main", "subagents": {"allowAgents": ["*"]}}, {"id": "coder"})
    async with pilot(tmp_path, config=config) as p:
        answer = await p.spawn(task="x", agentId="coder", context="fork")
        assert answer["status"] == "error"
        assert "same agent" in answer["error"]
        await nothing_behind(p)


async def test_table_a_large_fork_is_compacted_and_the_result_says_so(tmp_path: Path) -> None:
    """spec/subagents.md, `context`: over half of the child's window it is compacted and the result says so."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("notes: plum"), user="^Summarise the conversation above")
        for part in range(3):
            await p.say(f"part {part} " + "x" * 6_500)
            await p.wait_idle()
        small = await p.spawn(task="in the large window", context="fork")
        assert "compacted" not in small
        accepted = await p.spawn(task="go on", context="fork", model="test/small")
        assert "compacted" in accepted
        await p.wait_idle()
        child = next(seen for seen in p.child_requests() if seen.last_user == "go on")
        assert "notes: plum" in child.first_user
        assert "part 0" not in child.everything
        main = [m["kind"] for m in await p.transcript()]
        assert "summary" not in main, "the requester's own transcript is as it was"


async def test_table_a_fork_starts_at_the_last_compaction(tmp_path: Path) -> None:
    """spec/subagents.md, `context`: … and starts at the last compaction."""
    async with pilot(
        tmp_path,
        config={"agents": {"defaults": {"model": {"primary": "test/small"}}}, "tools": {"allow": ["sessions_spawn"]}},
    ) as p:
        p.on(reply=say("notes: plum"), user="^Summarise the conversation above")
        for part in range(4):
            await p.say(f"part {part} " + "x" * 6_500)
            await p.wait_idle()
        assert "summary" in [m["kind"] for m in await p.transcript()]
        await p.spawn(task="go on", context="fork", model=MODEL)
        await p.wait_idle()
        child = next(seen for seen in p.child_requests() if seen.last_user == "go on")
        assert "notes: plum" in child.first_user
        assert "part 0 x" not in child.everything


async def test_table_output_schema_one_retry_then_error(tmp_path: Path) -> None:
    """spec/subagents.md, `outputSchema`: a JSON value that validates; one retry with the error, then `error`."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with pilot(tmp_path) as p:
        p.on(lambda seen: say("no json" if seen.step == 1 else '{"n": 3}'), task="^second$")
        p.on(lambda seen: say('```json\n{"n": 4}\n```'), task="^fenced$")
        p.on(lambda seen: say('{"n": "three"}'), task="^never$")
        await p.spawn_many([{"task": name, "outputSchema": schema} for name in ("second", "fenced", "never")])
        await p.wait_idle()
        runs = {run["label"]: run for run in await p.runs()}
        assert (runs["second"]["outcome"], json.loads(runs["second"]["result"])) == ("ok", {"n": 3})
        assert runs["fenced"]["outcome"] == "ok"
        assert runs["never"]["outcome"] == "error"
        assert "integer" in runs["never"]["error"]
        tries = [seen for seen in p.child_requests() if seen.first_user == "never"]
        assert len(tries) == 2
        assert "not of type 'integer'" in tries[1].last_user
        assert json.dumps(schema) in tries[0].system


async def test_table_output_schema_refers_to_itself_only(tmp_path: Path) -> None:
    """spec/subagents.md, `outputSchema`, protocol 9: a schema is data: it fetches nothing, and must hold together."""
    async with pilot(tmp_path) as p:
        elsewhere = p.model.base_url + "/models"
        answers = await p.spawn_many(
            [
                {"task": "x", "outputSchema": {"$ref": elsewhere}},
                {"task": "x", "outputSchema": {"properties": {"a": {"$ref": "#/$defs/missing"}}}},
                {"task": "x", "outputSchema": {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}},
                {"task": "x", "outputSchema": {"properties": {"$ref": {"type": "string"}}}},
                {"task": "x", "outputSchema": {"properties": {"a": {"pattern": "(unclosed"}}}},
            ]
        )
        assert [each["status"] for each in answers] == ["error", "error", "accepted", "accepted", "error"]
        assert "$ref" in answers[0]["error"]
        assert "#/$defs/missing" in answers[1]["error"]
        assert "pattern" in answers[4]["error"]
        await p.wait_idle()
        assert len(await p.runs()) == 2


async def test_table_a_pattern_that_never_ends_holds_up_nobody(tmp_path: Path) -> None:
    """spec/subagents.md, `outputSchema`, architecture protocol 9: a model's pattern must not stop the gateway."""
    endless = {"type": "string", "pattern": r"^(\w+\s?)*\1$"}
    async with pilot(tmp_path) as p:
        p.on(lambda seen: say(json.dumps("word " * 30 + "!")), task="^x$")
        refused = (await p.spawn_many([{"task": "y", "outputSchema": {"patternProperties": {"(a+)+$": {}}}}]))[0]
        assert "patternProperties" in refused["error"]
        await p.spawn_many([{"task": "x", "outputSchema": endless}])
        await p.wait_idle()
        [run] = await p.runs()
        assert run["outcome"] == "error"
        assert run["runtimeSeconds"] < 20

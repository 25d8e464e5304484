"""The turn: tools side by side, steering, cancellation, loops, and a window that gets full (issue part 5)."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import psutil
import pytest

from gateway.agent.compaction import INSTRUCTION
from tests.support.chat_channel import ChatChannel, chat_platform
from tests.support.model_script import Call, Reply, Seen, call, calls, fail, say, text_of
from tests.support.pilot import KEY, Json, Pilot, pilot
from tests.support.probes import Probes

ONLY = {"tools": {"allow": ["read", "gate", "echo", "ls"]}}
WINDOW = {
    "models": {
        "providers": {
            "tight": {
                "api": "openai-completions",
                "apiKey": "scripted-key",
                "models": [{"id": "scripted", "contextWindow": 20_000, "maxTokens": 1_000}],
            }
        }
    },
    "agents": {"defaults": {"model": {"primary": "tight/scripted"}}},
    **ONLY,
}


def tight(p: Pilot) -> None:
    """Gives the provider of the small window its address."""
    p.configure({"models": {"providers": {"tight": {"baseUrl": p.model.base_url}}}})


async def test_5_parallel_calls_run_side_by_side(tmp_path: Path) -> None:
    """Issue part 5: parallel tool calls run in parallel; results are stored as they come, shown in the calls' order."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        several = calls(Call("gate", {"name": "slow"}), Call("echo", {"text": "quick"}), Call("gate", {"name": "mid"}))
        p.on(reply=several, user="^go$", turn_step=1)
        await p.say("go")
        await probes.wait_entered("slow", "mid")
        probes.open("mid")
        await probes.wait_echoed("quick")
        results: list[Json] = []
        while len(results) < 2:
            results = [m for m in await p.transcript() if m["role"] == "tool"]
        assert {m["text"] for m in results} == {"quick", "passed mid"}
        probes.open("slow")
        await p.wait_idle()
        stored = [m["callIndex"] for m in await p.transcript() if m["role"] == "tool"]
        assert stored[-1] == 0, "the slow one was stored last"
        assert p.model.requests[-1].results == ("passed slow", "quick", "passed mid")


async def test_5_a_message_enters_the_running_turn_at_the_next_boundary(tmp_path: Path) -> None:
    """Issue part 5, architecture protocol 2: steering at every boundary, after the results of the open calls."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(reply=call("gate", name="one"), user="^go$", turn_step=1)
        p.on(reply=call("gate", name="two"), user="first thought", turn_step=1)
        await p.say("go")
        await probes.wait_entered("one")
        await p.say("first thought")
        probes.open("one")
        await probes.wait_entered("two")
        await p.say("second thought")
        probes.open("two")
        await p.wait_idle()
        roles = [(m["role"], text_of(m)) for m in p.model.requests[-1].messages[1:] if m["role"] != "assistant"]
        assert roles == [
            ("user", "go"),
            ("tool", "passed one"),
            ("user", "first thought"),
            ("tool", "passed two"),
            ("user", "second thought"),
        ]
        assert p.said() == ["ok"], "one turn, one post"


async def test_5_a_message_during_the_last_answer_gets_its_own_turn(tmp_path: Path) -> None:
    """Architecture protocol 4: a session is released only if no row is admissible; otherwise work goes on."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("answer one", hold="one"), user="^one$")
        p.on(reply=say("answer two"), user="^two$")
        await p.say("one")
        await p.wait_asked(lambda seen: seen.last_user == "one")
        await p.say("two")
        p.model.release("one")
        await p.wait_idle()
        assert p.said() == ["answer one", "answer two"]


async def test_5_cancelling_reaches_a_model_call_in_flight(tmp_path: Path) -> None:
    """Issue part 5: cancellation reaches a model call in flight; the next message starts afresh."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("never", hold="ever"), user="^hang$")
        await p.say("hang")
        await p.wait_asked(lambda seen: seen.last_user == "hang")
        answer = await p.command("/stop turn")
        await p.model.wait_gone()
        assert answer == "⚙️ Turn stopped; sub-agents go on."
        await p.wait_idle()
        await p.say("hello")
        await p.wait_idle()
        assert p.said() == ["ok"]
        assert p.model.requests[-1].users == ("hang", "(stopped by the user)", "hello")


async def test_5_cancelling_kills_the_process_group_of_a_tool(tmp_path: Path) -> None:
    """Issue part 5, architecture protocol 4: who stops a turn tells its owner, who cancels and kills."""
    async with pilot(tmp_path) as p:
        fifo = p.workspace / "started"
        os.mkfifo(fifo)
        command = "sleep 600 & echo $! $$ > pids; echo > started; wait"
        p.on(reply=call("exec", command=command), user="^go$", turn_step=1)
        await p.say("go")
        await asyncio.to_thread(fifo.read_text)
        pids = [psutil.Process(int(pid)) for pid in (p.workspace / "pids").read_text().split()]
        await p.command("/stop")
        gone, alive = await asyncio.to_thread(psutil.wait_procs, pids, timeout=5)
        assert not alive
        assert len(gone) == 2
        await p.wait_idle()
        [result] = [m for m in await p.transcript() if m["role"] == "tool"]
        assert result["text"] == "(stopped by the user)"


async def test_5_max_turns_ends_a_turn_and_names_the_key(tmp_path: Path) -> None:
    """Issue part 5: `maxTurns`."""
    async with pilot(tmp_path, config={"agents": {"defaults": {"maxTurns": 3}}}, plugins={"probes": Probes()}) as p:
        p.on(lambda seen: call("echo", text=str(seen.step)))
        await p.say("go")
        await p.wait_idle()
        assert len(p.model.requests) == 3
        assert p.said() == ["⚠️ it made 3 model calls without coming to an end (agents.defaults.maxTurns)"]


async def test_5_a_loop_is_told_at_five_and_ended_at_eight(tmp_path: Path) -> None:
    """Issue part 5: the same call with the same arguments and result 5 times → told so, 8 times → `error`."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(reply=call("echo", text="again"))
        await p.say("go")
        await p.wait_idle()
        results = [m["text"] for m in await p.transcript() if m["role"] == "tool"]
        assert len(results) == 8
        assert [text == "again" for text in results] == [True] * 4 + [False] * 4
        assert "5 times" in results[4]
        assert p.said() == ["⚠️ it repeated the same call with the same result"]


async def test_5_other_arguments_or_results_are_no_loop(tmp_path: Path) -> None:
    """Issue part 5: only the same call with the same arguments *and* result counts; each turn counts anew."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(lambda seen: call("echo", text=str(seen.step)) if seen.turn_step < 12 else None)
        await p.say("go")
        await p.wait_idle()
        assert p.said() == ["ok"]


async def test_5_old_results_are_trimmed_before_anything_is_summarised(tmp_path: Path) -> None:
    """Issue part 5: over 80 % of the window old tool results are trimmed; the transcript keeps them whole."""
    async with pilot(tmp_path, config=WINDOW, start=False) as p:
        tight(p)
        await p.start()
        for number in range(1, 13):
            (p.workspace / f"{number}.txt").write_text("x" * 5_000)
        p.on(lambda seen: call("read", path=f"{seen.step}.txt") if seen.step <= 12 else None)
        await p.say("go")
        await p.wait_idle()
        last = p.model.requests[-1]
        results = [text_of(m) for m in last.messages if m["role"] == "tool"]
        cut = ["characters of this old result are left out" in text for text in results]
        assert cut == [True] * 6 + [False] * 6
        assert all(seen.last_user != INSTRUCTION for seen in p.model.requests)
        assert all(len(m["text"]) >= 5_000 for m in await p.transcript() if m["role"] == "tool")


async def test_5_the_middle_is_summarised_with_tool_pairs_whole(tmp_path: Path) -> None:
    """Issue part 5: then the middle is summarised by the model into one message, tool pairs kept whole."""
    async with pilot(tmp_path, config=WINDOW, plugins={"probes": Probes()}, start=False) as p:
        tight(p)
        await p.start()
        p.on(reply=say("notes: the word is plum"), user="^Summarise the conversation above")
        p.on(lambda seen: call("echo", text="y" * 20_000) if seen.turn_step == 1 else None, user="^go")
        for number in range(5):
            await p.say(f"go {number} " + "z" * 4_000)
            await p.wait_idle()
        summaries = [seen for seen in p.model.requests if seen.last_user == INSTRUCTION]
        assert summaries
        last = p.model.requests[-1]
        assert last.first_user.startswith("[Summary of the conversation so far")
        assert "notes: the word is plum" in last.first_user
        assert "go 4" in last.first_user, "the last request stays word for word"
        stored = await p.transcript()
        assert sum(m["kind"] == "user" for m in stored) == 5, "the transcript keeps all"
        assert not p.model.invalid, "no pair was torn"


async def test_5_a_prompt_that_is_too_long_is_compacted_and_asked_once_more(tmp_path: Path) -> None:
    """Issue part 5: a `ContextWindowExceededError` compacts and retries once."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("short notes"), user="^Summarise the conversation above")
        p.on(reply=say("fine now"), user=r"^\[Summary.*the request", once=True)
        p.on(reply=fail(400, "maximum context length is 5 tokens", "context_length_exceeded"), user="the request")
        for text in ("one", "two"):
            await p.say(text)
            await p.wait_idle()
        p.on(reply=say("fine now"), anywhere="short notes", once=True)
        p.model.rules.insert(0, p.model.rules.pop(p.model.rules.index(next(r for r in p.model.rules if r.anywhere))))
        await p.say("the request")
        await p.wait_idle()
        assert p.said() == ["ok", "ok", "fine now"]


async def test_5_a_prompt_that_stays_too_long_is_an_error_after_one_retry(tmp_path: Path) -> None:
    """Issue part 5: … retries *once*; then the person is told."""
    async with pilot(tmp_path) as p:
        await p.say("one")
        await p.wait_idle()
        p.on(reply=say("short notes"), user="^Summarise the conversation above")
        p.on(reply=fail(400, "maximum context length is 5 tokens", "context_length_exceeded"))
        await p.say("two")
        await p.wait_idle()
        asked = [seen for seen in p.model.requests if seen.last_user != INSTRUCTION]
        assert len(asked) == 3
        assert p.said()[-1].startswith("⚠️")


async def test_6_tries_are_visible_while_they_last(tmp_path: Path) -> None:
    """Issue part 6: rate limits and 5xx: at most 5 tries, each visible in the run's progress."""
    async with pilot(tmp_path) as p:
        p.on(reply=fail(429, "slow down", retry_after="0"), once=True)
        p.on(reply=fail(503, "busy", retry_after="0"), once=True)
        await p.say("go")
        await p.wait_idle()
        shown = [e.data["text"] for e in p.events if e.type == "progress"]
        assert [next(n for n in "2345" if f"try {n} of 5" in text) for text in shown] == ["2", "3"]
        assert p.said() == ["ok"]


async def test_6_five_tries_and_no_more(tmp_path: Path) -> None:
    """Issue part 6: at most 5 tries; what failed is posted."""
    async with pilot(tmp_path) as p:
        p.on(reply=fail(503, "busy", retry_after="0"))
        await p.say("go")
        await p.wait_idle()
        assert len(p.model.requests) == 5
        assert "busy" in p.said()[0]


@pytest.mark.parametrize(
    ("failure", "setting"),
    [
        (fail(401, "bad key"), "models.providers.test.apiKey"),
        (fail(404, "no such model", "model_not_found"), "test/scripted"),
        (fail(400, "this model does not support tools"), "tools"),
    ],
)
async def test_6_a_wrong_setting_is_named(tmp_path: Path, failure: Reply, setting: str) -> None:
    """Issue part 6: a wrong key, an unknown model, a model without tools: an error that says what to change."""
    async with pilot(tmp_path) as p:
        p.on(reply=failure)
        await p.say("go")
        await p.wait_idle()
        assert len(p.model.requests) == 1, "retrying is useless"
        assert setting in p.said()[0]


async def test_protocol_2_what_a_provider_needs_back_goes_to_the_same_model_only(tmp_path: Path) -> None:
    """Architecture protocol 2: `reasoning_content` is sent back to the same model and dropped for another."""
    async with pilot(tmp_path) as p:
        p.on(reply=Reply(calls=(Call("ls", {"path": "."}),), reasoning="deep thought"), user="^one$", turn_step=1)
        await p.say("one")
        await p.wait_idle()
        assert "deep thought" in json.dumps(p.model.requests[-1].messages)
        await p.command("/model test/other")
        await p.say("two")
        await p.wait_idle()
        assert p.model.requests[-1].model == "other"
        assert "deep thought" not in json.dumps(p.model.requests[-1].messages)


async def test_protocol_3_provider_call_ids_may_repeat(tmp_path: Path) -> None:
    """Architecture protocol 3: results are unique by place, because providers' call ids repeat."""
    async with pilot(tmp_path, plugins={"probes": Probes()}) as p:

        def same_id(seen: Seen) -> Reply | None:
            if seen.turn_step > 3:
                return None
            return Reply(calls=(Call("echo", {"text": f"number {seen.step}"}, id="call_same"),))

        p.on(same_id)
        await p.say("go")
        await p.wait_idle()
        results = [text_of(m) for m in p.model.requests[-1].messages if m["role"] == "tool"]
        assert results == ["number 1", "number 2", "number 3"]


async def test_protocol_10_known_secrets_never_reach_the_store(tmp_path: Path) -> None:
    """Architecture protocol 10: secrets are redacted in tool results before they are stored."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        token = p.token
        (p.workspace / "leak.txt").write_text(f"key scripted-key and token {token}")
        shown = await p.use([("read", {"path": "leak.txt"}), ("echo", {"text": f"a {token} b"})])
        await p.wait_idle()
        assert "scripted-key" not in shown[0]
        assert all("[redacted]" in text and token not in text for text in shown)
        # The model wrote the token itself into its call; what the gateway adds holds none.
        rows = [m["text"] for m in await p.transcript()]
        assert not any(token in text or "scripted-key" in text for text in rows)


async def test_protocol_10_the_state_folder_is_refused_and_private(tmp_path: Path) -> None:
    """Architecture protocol 10: file tools refuse the state folder; database, transcripts and token are 0600."""
    async with pilot(tmp_path) as p:
        shown = await p.use([("read", {"path": str(p.paths.token)}), ("read", {"path": "../laneway.db"})])
        await p.wait_idle()
        assert all(p.token not in text for text in shown)
        assert [m["error"] for m in await p.transcript() if m["role"] == "tool"] == [True, True]
        for file in (p.paths.token, p.paths.database):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_9_the_main_prompt_has_the_workspace_files(tmp_path: Path) -> None:
    """Issue part 9: the workspace files when they exist, each capped with a visible mark."""
    async with pilot(tmp_path) as p:
        for name in ("AGENTS", "SOUL", "TOOLS", "IDENTITY", "USER", "HEARTBEAT", "BOOTSTRAP", "MEMORY"):
            (p.workspace / f"{name}.md").write_text(f"this is {name} " + ("x" * 30_000 if name == "SOUL" else ""))
        await p.say("hello")
        await p.wait_idle()
        system = p.model.requests[-1].system
        for name in ("AGENTS", "SOUL", "TOOLS", "IDENTITY", "USER", "HEARTBEAT", "BOOTSTRAP", "MEMORY"):
            assert f"this is {name}" in system
        assert "SOUL.md is cut here" in system
        assert len(system) < 30_000
        (p.workspace / "AGENTS.md").write_text("changed since")
        await p.say("again")
        await p.wait_idle()
        assert "changed since" in p.model.requests[-1].system


async def test_9_files_of_owners_stay_with_owners(tmp_path: Path) -> None:
    """Channels 3: `MEMORY.md`, `USER.md` and the memory tools belong to owners' sessions only."""
    async with chat_platform() as platform:
        channel = ChatChannel(platform.url)
        async with pilot(tmp_path, plugins={"chat": channel}) as p:
            (p.workspace / "MEMORY.md").write_text("private matter")
            (p.workspace / "AGENTS.md").write_text("house rules")
            await channel.receive("hi", owner=False)
            await platform.wait_posts(1)
            seen = p.model.requests[-1]
            assert "private matter" not in seen.system
            assert "house rules" in seen.system
            assert not {"exec", "memory_get", "memory_search"} & set(seen.tools)


async def test_protocol_8_streams_are_one_post_and_hold_back_silence(tmp_path: Path) -> None:
    """Architecture protocol 8, spec/subagents.md 19: a placeholder row first, deltas after it, one final post."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("many words in a row", chunk_delay=0.001), user="^talk$")
        await p.say("talk")
        await p.wait_idle()
        [post] = p.posts()
        deltas = [e.data for e in p.events if e.type == "delta"]
        assert "".join(d["text"] for d in deltas) == "many words in a row"
        assert {d["messageId"] for d in deltas} == {post["messageId"]}
        assert not (await p.get("/api/outbox"))["posts"]


async def test_11_new_gives_the_key_a_fresh_session(tmp_path: Path) -> None:
    """Issue part 11: `/new` gives the key a fresh session."""
    async with pilot(tmp_path) as p:
        await p.say("before")
        await p.wait_idle()
        first = (await p.session())["sessionId"]
        await p.command("/new")
        await p.say("after")
        await p.wait_idle()
        assert (await p.session())["sessionId"] != first
        assert p.model.requests[-1].users == ("after",)
        assert [m["text"] for m in await p.transcript(KEY)] == ["after", "ok"]

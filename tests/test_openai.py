"""The OpenAI-compatible API: sessions, order, answers that are returned once, and clients that leave."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from gateway.http.openai import SESSION_HEADER
from gateway.store import outbox, sessions
from gateway.store.database import Transaction
from gateway.store.outbox import State
from tests.support.http_gateway import Answered, House, http_gateway
from tests.support.model_script import Call, call, calls, fail, say

CHAT = "/v1/chat/completions"
KEY = "agent:main:api:talk"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with http_gateway(tmp_path) as running:
        yield running


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def chat(house: House, *messages: dict[str, Any], key: str | None = KEY, **more: Any) -> Answered:
    headers = {SESSION_HEADER: key} if key else {}
    headers |= more.pop("headers", {})
    return await house.post(CHAT, {"model": "laneway", "messages": list(messages), **more}, headers=headers)


def content(answered: Answered) -> str:
    assert answered.status == 200, answered.text
    return answered.json["choices"][0]["message"]["content"]


def streamed(answered: Answered) -> tuple[str, list[dict[str, Any]]]:
    """The text of a stream and its chunks."""
    assert answered.status == 200, answered.text
    frames = [line[6:] for line in answered.text.splitlines() if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    chunks = [json.loads(frame) for frame in frames[:-1]]
    pieces = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    return "".join(pieces), chunks


async def announce(house: House, text: str, key: str = KEY) -> None:
    """A post on the route of the session's last request, as an announcement's answer is one."""

    def unit(tx: Transaction) -> None:
        session = sessions.by_key(tx, key)
        assert session is not None
        house.gateway.posting.notice(tx, session, session.last_route, text)

    await house.gateway.database.run(unit)


async def said(house: House, text: str) -> None:
    """Waits until a message with this text is stored."""
    async with asyncio.timeout(30), house.gateway.events.subscribe(last_id=0) as watch:
        while (await anext(watch)).data.get("text") != text:
            pass


async def nothing_held(house: House) -> None:
    """Waits until every post counts as delivered: that is stored after the client has it."""
    async with asyncio.timeout(30), house.gateway.events.subscribe(last_id=0) as watch:
        while await held(house):
            await anext(watch)


async def held(house: House) -> list[str]:
    posts = (await house.get("/api/outbox", params={"state": State.HELD.value})).json["posts"]
    return [post["text"] for post in posts]


async def test_an_answer_in_the_form_that_clients_know(house: House) -> None:
    house.models.on(reply=say("Hello you."))
    answered = await chat(house, user("hello"))
    body = answered.json
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "laneway"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello you.", "refusal": None}
    assert body["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert answered.headers[SESSION_HEADER] == KEY


async def test_a_streamed_answer(house: House) -> None:
    house.models.on(reply=say("Hello you, and more words.", chunk_delay=0.001))
    answered = await chat(house, user("hello"), stream=True, stream_options={"include_usage": True})
    text, chunks = streamed(answered)
    assert text == "Hello you, and more words."
    assert answered.headers[SESSION_HEADER] == KEY
    assert answered.headers["Content-Type"].startswith("text/event-stream")
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 120)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_the_official_client_is_content(house: House) -> None:
    house.models.on(reply=say("Hello you."))
    async with openai.AsyncOpenAI(base_url=house.gateway.url + "/v1", api_key=house.bearer, max_retries=0) as client:
        assert "laneway:main" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("laneway:main")).owned_by == "laneway"
        plain = await client.chat.completions.create(model="laneway:main", messages=[{"role": "user", "content": "a"}])
        assert plain.choices[0].message.content == "Hello you."
        stream = await client.chat.completions.create(
            model="main", messages=[{"role": "user", "content": "b"}], stream=True, user="ann"
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == "Hello you."
        with pytest.raises(openai.NotFoundError, match="laneway:main"):
            await client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "a"}])


async def test_only_what_follows_the_last_answer_is_taken(house: House) -> None:
    house.models.on(reply=say("ok"))
    history = [{"role": "system", "content": "be brief"}, user("old"), {"role": "assistant", "content": "older"}]
    parts = [{"type": "text", "text": "second"}, {"type": "text", "text": "line"}]
    tail = [{"role": "system", "content": "ignored"}, user("first"), {"role": "user", "content": parts}]
    assert content(await chat(house, *history, *tail)) == "ok"
    assert house.models.requests[0].users == ("first\n\nsecond\nline",)
    await chat(house, *history, *tail, {"role": "assistant", "content": "ok"}, user("third"))
    assert house.models.requests[1].users == ("first\n\nsecond\nline", "third")


async def test_sessions_come_from_the_header_the_user_or_nowhere(house: House) -> None:
    house.models.on(reply=say("ok"))
    assert (await chat(house, user("a"), user="ann@example.org", key=None)).headers[SESSION_HEADER] == (
        "agent:main:api:user:ann@example.org"
    )
    odd = (await chat(house, user("a"), user="Ann B/ü", key=None)).headers[SESSION_HEADER]
    assert odd == "agent:main:api:user:Ann%20B%2F%C3%BC"
    fresh = {(await chat(house, user("a"), key=None)).headers[SESSION_HEADER] for _ in range(2)}
    assert len(fresh) == 2
    again = await chat(house, user("b"), key=fresh.pop())
    assert house.models.requests[-1].users == ("a", "b")
    assert content(again) == "ok"


async def test_requests_of_one_session_queue_in_order_and_never_mix(house: House) -> None:
    house.models.on(user="^one$", reply=say("to one", hold="gate"))
    house.models.on(user="^two$", reply=say("to two"))
    house.models.on(user="^three$", reply=say("to three"))
    first = asyncio.create_task(chat(house, user("one"), stream=True))
    await house.models.wait_for(lambda seen: seen.last_user == "one")
    second = asyncio.create_task(chat(house, user("two")))
    await said(house, "two")
    third = asyncio.create_task(chat(house, user("three"), stream=True))
    await said(house, "three")
    house.models.release("gate")
    assert streamed(await first)[0] == "to one"
    assert content(await second) == "to two"
    assert streamed(await third)[0] == "to three"
    assert [seen.last_user for seen in house.models.requests] == ["one", "two", "three"]
    await nothing_held(house)


async def test_what_comes_after_the_answer_is_returned_with_the_next_request_once(house: House) -> None:
    house.models.on(reply=say("ok"))
    assert content(await chat(house, user("a"))) == "ok"
    await announce(house, "the count is 3")
    await announce(house, "the sum is 4")
    assert await held(house) == ["the count is 3", "the sum is 4"]
    assert content(await chat(house, user("b"))) == "the count is 3\n\nthe sum is 4\n\nok"
    assert content(await chat(house, user("c"))) == "ok"
    await announce(house, "the end is near")
    assert streamed(await chat(house, user("d"), stream=True))[0] == "the end is near\n\nok"
    await announce(house, "really")
    assert content(await chat(house, user("/usage"))).startswith("really\n\n")
    await nothing_held(house)


async def test_concurrent_requests_share_what_waits(house: House) -> None:
    house.models.on(reply=say("ok"))
    await chat(house, user("a"))
    for number in range(10):
        await announce(house, f"news {number}.")
    answers = await asyncio.gather(*(chat(house, user(f"q{number}"), stream=bool(number % 2)) for number in range(6)))
    texts = "".join(answered.text for answered in answers)
    assert [texts.count(f"news {number}.") for number in range(10)] == [1] * 10
    await nothing_held(house)


async def test_a_client_that_leaves_cancels_nothing_and_loses_nothing(house: House) -> None:
    house.models.on(user="^one$", reply=say("to one", hold="gate"))
    house.models.on(user="^two$", reply=say("to two"))
    house.models.on(reply=say("to three"))
    for text, stream in (("one", False), ("two", True)):
        leaving = asyncio.create_task(chat(house, user(text), stream=stream))
        await said(house, text)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    house.models.release("gate")
    await said(house, "to two")
    assert content(await chat(house, user("three"))) == "to one\n\nto two\n\nto three"


async def test_a_retry_gets_the_same_answer_without_another_call(house: House) -> None:
    house.models.on(reply=say("ok"))
    headers = {"Idempotency-Key": "k1"}
    first = await chat(house, user("a"), key=None, headers=headers)
    again = await chat(house, user("a"), key=None, headers=headers)
    assert content(first) == content(again) == "ok"
    assert first.headers[SESSION_HEADER] == again.headers[SESSION_HEADER]
    assert again.json["usage"] == first.json["usage"]
    assert streamed(await chat(house, user("a"), key=None, headers=headers, stream=True))[0] == "ok"
    assert len(house.models.requests) == 1
    assert (await chat(house, user("b"), key=None, headers=headers)).status == 409


async def test_slash_commands_are_answered(house: House) -> None:
    assert "/stop" in content(await chat(house, user("/help")))
    assert "/stop" in streamed(await chat(house, user("/help"), stream=True))[0]
    assert not house.models.requests


async def test_a_stopped_turn_ends_the_request(house: House) -> None:
    house.models.on(reply=say("never", hold="gate"))
    asking = asyncio.create_task(chat(house, user("a")))
    await house.models.wait_for(lambda seen: seen.last_user == "a")
    await house.post(f"/api/sessions/{KEY}/messages", {"text": "/stop"})
    stopped = await asyncio.wait_for(asking, 30)
    assert (content(stopped), stopped.json["choices"][0]["finish_reason"]) == ("", "stop")


async def test_a_message_that_is_dropped_while_it_waits_says_so(house: House) -> None:
    house.models.on(reply=say("never", hold="gate"))
    first = asyncio.create_task(chat(house, user("a")))
    await house.models.wait_for(lambda seen: seen.last_user == "a")
    second = asyncio.create_task(chat(house, user("b")))
    await said(house, "b")
    await house.post(f"/api/sessions/{KEY}/messages", {"text": "/stop"})
    assert "dropped" in content(await asyncio.wait_for(second, 30))
    assert content(await asyncio.wait_for(first, 30)) == ""


async def test_a_failed_turn_says_why(house: House) -> None:
    house.models.on(reply=fail(401, "bad key"))
    assert "⚠️" in content(await chat(house, user("a")))
    assert "⚠️" in streamed(await chat(house, user("b"), stream=True))[0]


async def test_silence_of_the_model_becomes_a_notice(house: House) -> None:
    house.models.on(reply=say("NO_REPLY"))
    assert "no answer" in content(await chat(house, user("a")))
    text = streamed(await chat(house, user("b"), stream=True))[0]
    assert "NO_REPLY" not in text
    assert "no answer" in text


async def test_usage_is_that_of_all_calls_of_the_turn(house: House) -> None:
    house.models.on(turn_step=1, reply=call("ls", path="."))
    house.models.on(reply=say("empty"))
    assert (await chat(house, user("a"))).json["usage"]["total_tokens"] == 240
    assert (await chat(house, user("b"))).json["usage"]["total_tokens"] == 240


async def test_text_beside_a_tool_call_does_not_run_into_the_answer(house: House) -> None:
    house.models.on(turn_step=1, reply=calls(Call("ls", {"path": "."}), text="Let me look."))
    house.models.on(reply=say("It is empty."))
    text = streamed(await chat(house, user("a"), stream=True))[0]
    assert text in ("Let me look.\n\nIt is empty.", "It is empty.")
    assert content(await chat(house, user("b"))) == "It is empty."


async def test_a_call_that_is_tried_again_goes_on_where_it_can(house: House) -> None:
    house.models.on(once=True, reply=say("One two three four.", drop=True, drop_after=3))
    house.models.on(reply=say("One two three four."))
    assert streamed(await chat(house, user("a"), stream=True))[0] == "One two three four."


async def test_pictures_are_taken_and_links_are_not(house: House) -> None:
    house.models.on(reply=say("a picture"))

    def picture(url: str) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}

    data = base64.b64encode(PNG).decode()
    assert content(await chat(house, picture(f"data:image/png;base64,{data}"))) == "a picture"
    (kept,) = (house.paths.state / "media").iterdir()
    assert kept.read_bytes() == PNG
    for url in ("https://example.org/a.png", "data:text/plain;base64,YQ==", f"data:image/jpeg;base64,{data}", ""):
        refused = await chat(house, picture(url))
        assert (refused.status, refused.error["param"]) == (400, "messages.0.content.0"), url


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"model": "gpt-5"}, 404, "laneway:main"),
        ({"model": "laneway:nobody"}, 404, "laneway:main"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "no message of a user"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "no message of a user"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "text and pictures"),
        ({"n": 2}, 400, "one answer"),
        ({"tools": [{"type": "function"}]}, 400, "own tools"),
        ({"user": " "}, 400, "user"),
        ({"stream": "perhaps"}, 400, "stream"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_openais_form(
    house: House, change: dict[str, Any], status: int, said: str
) -> None:
    body = {"model": "laneway", "messages": [user("a")], **change}
    refused = await house.post(CHAT, body)
    assert refused.status == status
    assert said in refused.error["message"]
    assert refused.error["type"] == "invalid_request_error"
    assert not house.models.requests


async def test_parameters_of_other_models_are_ignored(house: House) -> None:
    house.models.on(reply=say("ok"))
    more: dict[str, Any] = {
        "temperature": 0.3,
        "max_tokens": 5,
        "tools": [],
        "seed": 1,
        "something_new": {"a": 1},
        "n": 1,
    }
    assert content(await chat(house, user("a"), **more)) == "ok"


async def test_a_session_keeps_its_agent(tmp_path: Path) -> None:
    agents = {"list": [{"id": "main"}, {"id": "helper"}], "defaults": {"model": {"primary": "test/scripted"}}}
    async with http_gateway(tmp_path, config={"agents": agents}) as house:
        house.models.on(reply=say("ok"))
        answered = await chat(house, user("a"), model="helper", key=None)
        key = answered.headers[SESSION_HEADER]
        assert key.startswith("agent:helper:api:")
        assert content(await chat(house, user("b"), model="laneway", key=key)) == "ok"
        refused = await chat(house, user("c"), model="laneway:main", key=key)
        assert (refused.status, "helper" in refused.error["message"]) == (400, True)
        assert (await chat(house, user("c"), key="not a key")).status == 400


async def test_a_gateway_that_stops_says_so_and_keeps_the_answer(tmp_path: Path) -> None:
    async with http_gateway(tmp_path) as house:
        house.models.on(reply=say("late", hold="gate"))
        asking = [asyncio.create_task(chat(house, user("a"), stream=stream)) for stream in (False, True)]
        await house.models.wait_for(lambda seen: seen.last_user == "a")
        await house.gateway.stop()
        try:
            plain, stream = await asyncio.gather(*asking)
        except aiohttp.ClientError:
            pytest.fail("a client was cut off without a word")
    assert (plain.status, plain.error["type"]) == (503, "server_error")
    assert "its answer is kept" in stream.text
    assert "[DONE]" not in stream.text


async def test_delivery_is_told(house: House) -> None:
    house.models.on(reply=say("ok"))
    await chat(house, user("a"))
    async with asyncio.timeout(30), house.gateway.events.subscribe(last_id=0) as watch:
        while (event := await anext(watch)).type != "delivery":
            pass
    post = await house.gateway.database.read(outbox.get, int(event.data["messageId"]))
    assert (event.data["state"], post.state, post.text) == ("delivered", State.DELIVERED, "ok")


async def test_a_sub_agents_result_is_returned_with_the_next_request(tmp_path: Path) -> None:
    async with http_gateway(tmp_path, config={"plugins": {"disabled": ["terminal"]}}) as house:
        house.models.on(role="child", reply=say("3 files", hold="child"))
        house.models.on(user="^count$", turn_step=1, reply=call("sessions_spawn", task="count the files"))
        house.models.on(user="^count$", reply=say("on it"))
        house.models.on(user="3 files", reply=say("there are 3"))
        house.models.on(reply=say("anything else?"))
        assert content(await chat(house, user("count"))) == "on it"
        house.models.release("child")
        await said(house, "there are 3")
        assert content(await chat(house, user("thanks"))) == "there are 3\n\nanything else?"
        await nothing_held(house)
        (run,) = (await house.get("/api/runs", params={"session": KEY})).json["runs"]
        assert (run["status"], run["outcome"], run["result"]) == ("done", "ok", "3 files")
        session = (await house.get(f"/api/sessions/{KEY}")).json
        assert (session["idle"], session["activeRuns"], session["tokens"]["total"]) == (True, 0, 5 * 120)

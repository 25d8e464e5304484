"""The Slack stand-in driven by the real client library: what calls do, and what people see of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError
from slack_sdk.models.messages.chunk import MarkdownTextChunk, PlanUpdateChunk, TaskUpdateChunk

from tests.standins.slack import NotThere, SlackWorkspace, Timeout
from tests.support.slack_app import web_client

Json = dict[str, Any]
STOP: Json = {"type": "button", "action_id": "stop", "value": "7", "text": {"type": "plain_text", "text": "Stop"}}


@pytest_asyncio.fixture
async def ws() -> AsyncGenerator[SlackWorkspace]:
    """A workspace with ann in #general; what a test leaves in it must be clean."""
    async with SlackWorkspace() as workspace:
        workspace.channel("general", "ann")
        yield workspace
        workspace.assert_clean()


@pytest.fixture
def client(ws: SlackWorkspace) -> Any:
    """The bot's client."""
    return web_client(ws)


@pytest.fixture
def general(ws: SlackWorkspace) -> Iterator[str]:
    """The id of #general."""
    yield ws.channel("general")


async def test_a_post_in_a_thread_is_read_by_people_and_found_by_its_metadata(
    ws: SlackWorkspace, client: Any, general: str
) -> None:
    ann = ws.user("ann")
    asked = await ann.says("#general", "count <them> & see https://example.com/a, @laneway")
    posted = await client.chat_postMessage(
        channel=general,
        thread_ts=asked,
        markdown_text="**3** of them",
        metadata={"event_type": "laneway_outbox", "event_payload": {"id": 12}},
    )

    answer = await ws.wait_message("3.* of them", thread=asked)
    assert posted["ts"] == answer.ts
    assert posted["message"]["thread_ts"] == asked
    assert ann.sees("general", asked) == [
        "ann: count <them> & see https://example.com/a, @laneway",
        "laneway: **3** of them",
    ]
    found = await client.conversations_replies(channel=general, ts=asked, include_all_metadata=True)
    parent, reply = found["messages"]
    assert parent["reply_count"] == 1 and parent["latest_reply"] == answer.ts
    assert parent["text"] == f"count &lt;them&gt; &amp; see <https://example.com/a>, <@{ws.app.user_id}>"
    assert reply["metadata"]["event_payload"] == {"id": 12}
    assert reply["bot_id"] == ws.app.bot_id and reply["parent_user_id"] == ann.id
    plain = await client.conversations_replies(channel=general, ts=asked)
    assert "metadata" not in plain["messages"][1]


async def test_history_is_paged_and_bounded(ws: SlackWorkspace, client: Any, general: str) -> None:
    ann = ws.user("ann")
    said = [await ann.says("general", f"line {number}") for number in range(5)]
    await ann.says("general", "reply", thread=said[0])
    await ann.says("general", "shown to all", thread=said[0], broadcast=True)

    texts: list[str] = []
    async for page in await client.conversations_history(channel=general, limit=2):
        texts += [message["text"] for message in page["messages"]]
    assert texts == ["shown to all", *(f"line {number}" for number in (4, 3, 2, 1, 0))]
    between = await client.conversations_history(channel=general, oldest=said[1], latest=said[3])
    assert [message["ts"] for message in between["messages"]] == [said[2]]
    closed = await client.conversations_history(
        channel=general, oldest=said[1], latest=said[3], inclusive=True, limit=9
    )
    assert [message["ts"] for message in closed["messages"]] == [said[3], said[2], said[1]]


async def test_an_edit_keeps_what_it_does_not_name(ws: SlackWorkspace, client: Any, general: str) -> None:
    card: list[Json] = [{"type": "actions", "elements": [STOP]}]
    metadata = {"event_type": "card", "event_payload": {"id": 1}}
    ts = (await client.chat_postMessage(channel=general, text="card", blocks=card, metadata=metadata))["ts"]

    await client.chat_update(channel=general, ts=ts, text="done")
    message = ws.find(general, ts)
    assert (message.text, message.blocks, message.metadata) == ("done", [], metadata)
    await client.chat_update(channel=general, ts=ts, text="done", metadata={})
    assert message.metadata is None and message.edits == 2
    await client.chat_update(channel=general, ts=ts, blocks=card, text="with a card")
    assert ws.view(message) == "[Stop]"

    await client.chat_delete(channel=general, ts=ts)
    assert ws.messages("general") == []


async def test_a_parent_that_is_deleted_leaves_a_tombstone(ws: SlackWorkspace, client: Any, general: str) -> None:
    ann = ws.user("ann")
    root, lone = await ann.says("general", "root"), await ann.says("general", "lone")
    await client.chat_postMessage(channel=general, thread_ts=root, text="reply")
    await ann.deletes("general", root)
    await ann.deletes("general", lone)

    assert [
        message["text"] for message in (await client.conversations_replies(channel=general, ts=root))["messages"]
    ] == [
        "This message was deleted.",
        "reply",
    ]
    stray = await client.chat_postMessage(channel=general, thread_ts=lone, text="too late")
    assert "thread_ts" not in stray["message"], "Slack puts it on the top level without a word"


async def test_a_message_for_one_person(ws: SlackWorkspace, client: Any, general: str) -> None:
    ann, bob = ws.user("ann"), ws.user("bob")
    await bob.joins("general")
    asked = await ann.says("general", "hello")
    await client.chat_postEphemeral(channel=general, user=ann.id, thread_ts=asked, text="only you")

    assert ann.sees("general", asked)[1:] == ["laneway: only you"]
    assert bob.sees("general", asked) == ["ann: hello"]
    assert len((await client.conversations_replies(channel=general, ts=asked))["messages"]) == 1


async def test_a_stream_grows_with_tasks_and_ends_with_metadata(ws: SlackWorkspace, client: Any, general: str) -> None:
    ann = ws.user("ann")
    asked = await ann.says("general", "go", mention=True)
    stream = await client.chat_stream(
        channel=general,
        thread_ts=asked,
        recipient_team_id=ws.team_id,
        recipient_user_id=ann.id,
        task_display_mode="plan",
    )
    await stream.append(
        chunks=[
            PlanUpdateChunk(title="Two helpers"),
            TaskUpdateChunk(id="a", title="Reader", status="in_progress", details="page 1"),
            MarkdownTextChunk(text="First "),
        ]
    )
    await stream.append(chunks=[TaskUpdateChunk(id="a", title="Reader", status="complete", details=", page 2")])
    message = await ws.wait_message("Reader", thread=asked)
    assert ws.view(message) == "Two helpers\n● Reader · page 1, page 2\nFirst "
    with pytest.raises(SlackApiError, match="streaming_state_conflict"):
        await client.chat_update(channel=general, ts=message.ts, text="no")

    metadata = {"event_type": "laneway_outbox", "event_payload": {"id": 3}}
    await stream.stop(markdown_text="and last.", metadata=metadata, blocks=[{"type": "actions", "elements": [STOP]}])
    assert ws.view(message).endswith("First and last.\n[Stop]")
    assert message.metadata == metadata
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await client.chat_stopStream(channel=general, ts=message.ts)
    assert [fault.partition(" ")[0] for fault in ws.take_faults()] == ["chat.update:"], "stopping twice is allowed"


async def test_streams_end_by_time_and_by_people(ws: SlackWorkspace, client: Any, general: str) -> None:
    ann = ws.user("ann")
    asked = await ann.says("general", "go")
    who = {"channel": general, "thread_ts": asked, "recipient_team_id": ws.team_id, "recipient_user_id": ann.id}
    ts = (await client.chat_startStream(**who, markdown_text="a"))["ts"]
    with pytest.raises(NotThere, match="no Stop button"):
        await ann.stops("general", asked)
    await client.agents_sessions_setStatus(channel_id=general, thread_ts=asked, status="processing", title="Work")
    await ann.stops("general", asked)
    with pytest.raises(SlackApiError, match="stopped_by_user"):
        await client.chat_appendStream(channel=general, ts=ts, markdown_text="b")
    await client.chat_stopStream(channel=general, ts=ts, markdown_text=" stopped", session_status="active")
    session = ws.session("general", asked)
    assert session is not None and (session.status, session.title) == ("active", "Work")

    ts = (await client.chat_startStream(**who, markdown_text="a"))["ts"]
    ws.options = replace(ws.options, stream_seconds=0.0)
    await client.chat_update(channel=general, ts=ts, text="the whole answer after all")
    ts = (await client.chat_startStream(**who, markdown_text="a"))["ts"]
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await client.chat_appendStream(channel=general, ts=ts, markdown_text="b")


async def test_what_a_thread_shows_while_the_app_works(ws: SlackWorkspace, client: Any, general: str) -> None:
    asked = await ws.user("ann").says("general", "go")
    await client.assistant_threads_setStatus(channel_id=general, thread_ts=asked, status="is reading")
    assert ws.status("general", asked) == "is reading"
    await client.reactions_add(channel=general, timestamp=asked, name="eyes")
    assert ws.find(general, asked).reactions == {"eyes": [ws.app.user_id]}
    with pytest.raises(SlackApiError, match="already_reacted"):
        await client.reactions_add(channel=general, timestamp=asked, name="eyes")
    got = await client.reactions_get(channel=general, timestamp=asked)
    assert got["message"]["reactions"][0]["count"] == 1
    await client.reactions_remove(channel=general, timestamp=asked, name="eyes")
    await client.chat_postMessage(channel=general, thread_ts=asked, text="done")
    assert ws.status("general", asked) == "" and not ws.find(general, asked).reactions


async def test_files_in_and_out(ws: SlackWorkspace, client: Any, general: str, tmp_path: Path) -> None:
    ann = ws.user("ann")
    asked = await ann.says("general", "read this", files={"notes.txt": b"three lines"})
    (file,) = (await client.conversations_history(channel=general))["messages"][0]["files"]
    assert (file["name"], file["mimetype"], file["size"]) == ("notes.txt", "text/plain", 11)
    assert (await client.files_info(file=file["id"]))["file"]["url_private"] == file["url_private"]
    async with aiohttp.ClientSession() as http:
        async with http.get(file["url_private"], headers={"Authorization": f"Bearer {ws.app.bot_token}"}) as response:
            assert await response.read() == b"three lines"
        async with http.get(file["url_private"]) as response:
            assert (response.status, response.content_type) == (200, "text/html"), "a page to sign in, not a refusal"
    assert len(ws.take_faults()) == 1

    await client.files_upload_v2(
        channel=general, thread_ts=asked, content="result", filename="out.txt", initial_comment="here"
    )
    message = await ws.wait_message("here", thread=asked)
    assert ws.view(message) == "here\n📎 out.txt" and message.files[0].content == b"result"


async def test_who_and_where(ws: SlackWorkspace, client: Any, general: str) -> None:
    ann = ws.user("ann")
    me = await client.auth_test()
    assert (me["user_id"], me["bot_id"], me["team_id"]) == (ws.app.user_id, ws.app.bot_id, ws.team_id)
    assert set(me.headers["x-oauth-scopes"].split(",")) == ws.app.scopes
    assert (await client.users_info(user=ann.id))["user"]["name"] == "ann"
    assert (await client.conversations_info(channel=general))["channel"]["is_member"] is True
    assert (await client.conversations_members(channel=general))["members"] == sorted([ann.id, ws.app.user_id])
    assert (await client.conversations_open(users=ann.id))["channel"]["id"] == ann.dm
    assert (await client.team_info())["team"]["name"] == "acme"
    assert (await client.bots_info(bot=ws.app.bot_id))["bot"]["user_id"] == ws.app.user_id
    types = "public_channel,private_channel,im"
    assert [one["id"] for one in (await client.conversations_list(types=types))["channels"]] == [general, ann.dm]
    posted = await client.chat_postMessage(channel=ann.id, text="to a person is to his direct conversation")
    assert posted["channel"] == ann.dm
    link = await client.chat_getPermalink(channel=ann.dm, message_ts=posted["ts"])
    assert link["permalink"].startswith(ws.base_url)


async def test_waiting_in_vain_says_what_there_is(ws: SlackWorkspace, client: Any, general: str) -> None:
    await client.chat_postMessage(channel=general, text="something else")
    with pytest.raises(Timeout, match="something else"):
        await ws.wait_message("never", timeout=0.01)
    with pytest.raises(NotThere, match="there are"):
        await ws.user("ann").says("nowhere", "hello")

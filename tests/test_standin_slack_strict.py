"""The Slack stand-in refuses what Slack refuses, and keeps what a correct client would not have done."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.standins.slack import Options, SlackWorkspace
from tests.standins.slack.methods import METHODS
from tests.standins.slack.signature import parameters
from tests.support.slack_app import refused, web_client

pytestmark = pytest.mark.filterwarnings("ignore:.*`text` argument is missing:UserWarning")
Json = dict[str, Any]


class Room:
    """A channel with one message of ann's, and the bot's client."""

    def __init__(self, ws: SlackWorkspace, channel: str, asked: str) -> None:
        self.ws = ws
        self.client: Any = web_client(ws)
        self.channel = channel
        self.asked = asked

    async def refused(self, error: str, method: str, fault: str | None = "", **args: Any) -> None:
        """A call that is refused with this error, and what stands among the faults; None is that nothing does."""
        answer = await refused(getattr(self.client, method)(**args))
        assert answer["error"] == error, answer
        faults = self.ws.take_faults()
        if fault is None:
            assert faults == []
        else:
            assert len(faults) == 1 and error in faults[0] and re.search(fault, faults[0]), faults

    async def post(self, error: str, fault: str | None = "", **args: Any) -> None:
        """A post that is refused."""
        await self.refused(error, "chat_postMessage", fault, **{"channel": self.channel, **args})


@pytest_asyncio.fixture
async def room() -> AsyncGenerator[Room]:
    async with SlackWorkspace() as ws:
        channel = ws.channel("general", "ann")
        yield Room(ws, channel, await ws.user("ann").says("general", "hello"))


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def button(**more: Any) -> Json:
    return {"type": "actions", "elements": [{"type": "button", "action_id": "a", "text": plain("Stop"), **more}]}


BLOCKS: dict[str, list[Json]] = {
    "no more than 50": [{"type": "divider"}] * 51,
    "less than 3001": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}],
    "more than 0": [{"type": "section", "text": {"type": "mrkdwn", "text": ""}}],
    "needs `text`": [{"type": "section"}],
    "additional property: colour": [{"type": "section", "text": plain("x"), "colour": "red"}],
    "unsupported type: toast": [{"type": "toast"}],
    "less than 151": [{"type": "header", "text": plain("x" * 151)}],
    "one of plain_text": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
    "1 to 12000": [{"type": "markdown", "text": "x" * 12_001}],
    "less than 76": [button(text=plain("x" * 76))],
    "less than 2001": [button(value="x" * 2001)],
    "less than 256": [button(action_id="x" * 256)],
    "primary or danger": [button(style="red")],
    "action_id 'a' already": [{"type": "actions", "elements": button()["elements"] * 2}],
    "block_id 'x' stands 2": [{"type": "divider", "block_id": "x"}] * 2,
    "1 to 10 items": [{"type": "context", "elements": []}],
    "1 to 25 items": [{"type": "actions", "elements": []}],
    "1 to 100 rows": [{"type": "table", "rows": []}],
    "pending, in_progress": [{"type": "task_card", "task_id": "1", "title": "x", "status": "odd"}],
}


@pytest.mark.parametrize("said", BLOCKS)
async def test_blocks_that_break_a_rule(room: Room, said: str) -> None:
    await room.post("invalid_blocks", re.escape(said), text="x", blocks=BLOCKS[said])


async def test_blocks_of_every_kind_are_taken(room: Room) -> None:
    row = [{"type": "raw_text", "text": "cell"}, {"type": "raw_text", "text": "cell"}]
    rich = {"type": "rich_text_section", "elements": [{"type": "text", "text": "rich"}]}
    confirm = {"title": plain("Sure?"), "text": plain("It stops."), "confirm": plain("Stop"), "deny": plain("Leave")}
    option = {"text": plain("one"), "value": "1"}
    blocks: list[Json] = [
        {"type": "header", "text": plain("Helpers")},
        {"type": "section", "fields": [plain("a"), {"type": "mrkdwn", "text": "*b*"}]},
        {
            "type": "section",
            "text": plain("s"),
            "accessory": {"type": "overflow", "action_id": "o", "options": [option]},
        },
        {"type": "context", "elements": [plain("c"), {"type": "image", "image_url": "https://x.y/z", "alt_text": "p"}]},
        {"type": "rich_text", "elements": [rich]},
        {"type": "table", "rows": [row, row]},
        {"type": "plan", "title": "Plan", "tasks": [{"type": "task_card", "task_id": "1", "title": "One"}]},
        {"type": "image", "image_url": "https://x.y/z", "alt_text": "picture"},
        {"type": "divider"},
        button(confirm=confirm, style="danger", value="1"),
    ]
    posted = await room.client.chat_postMessage(channel=room.channel, text="fallback", blocks=blocks)
    view = room.ws.view(room.ws.find(room.channel, posted["ts"]))
    assert view.splitlines()[:4] == ["# Helpers", "a", "*b*", "s"]
    assert view.endswith("cell | cell\ncell | cell\nPlan\n○ One\n🖼 picture\n———\n[Stop]")
    room.ws.assert_clean()


async def test_texts_over_their_limits(room: Room) -> None:
    await room.post("msg_too_long", "40,001", text="x" * 40_001)
    await room.post("msg_too_long", "12,001", markdown_text="x" * 12_001)
    await room.post("no_text", text="  ")
    await room.post("msg_blocks_too_long", text="x", blocks=[{"type": "section", "text": plain("x" * 3000)}] * 5)
    ts = (await room.client.chat_postMessage(channel=room.channel, text="x" * 40_000))["ts"]
    await room.refused("msg_too_long", "chat_update", "4,001", channel=room.channel, ts=ts, text="x" * 4_001)


@pytest.mark.parametrize("more", [{"text": "x"}, {"blocks": [{"type": "divider"}]}])
async def test_markdown_goes_with_nothing_else(room: Room, more: Json) -> None:
    await room.post("markdown_text_conflict", markdown_text="x", **more)


async def test_metadata_has_a_form(room: Room) -> None:
    wrong: list[Json] = [
        {"event_type": "x"},
        {"event_type": "", "event_payload": {}},
        {"event_type": "x", "event_payload": 1},
    ]
    for metadata in wrong:
        await room.post("invalid_metadata_format", text="x", metadata=metadata)
    await room.post("metadata_too_large", text="x", metadata={"event_type": "x", "event_payload": {"a": "x" * 9000}})


@pytest.mark.parametrize(
    "mention", ["<!channel>", "<!here|here>", "<!everyone>", "<!subteam^S123|@all>", "<@UNOBODY00>"]
)
async def test_mass_mentions_are_taken_and_kept_as_faults(room: Room, mention: str) -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": f"go {mention}"}}
    who = {"recipient_team_id": room.ws.team_id, "recipient_user_id": room.ws.user("ann").id}
    await room.client.chat_postMessage(channel=room.channel, text=f"a {mention} b")
    await room.client.chat_postMessage(channel=room.channel, markdown_text=f"a {mention} b")
    await room.client.chat_postMessage(channel=room.channel, text="x", blocks=[section])
    stream = await room.client.chat_stream(channel=room.channel, thread_ts=room.asked, buffer_size=1, **who)
    await stream.append(markdown_text=f"a {mention[:4]}")
    await stream.append(markdown_text=mention[4:])
    assert [fault.split(":")[0] for fault in room.ws.take_faults()] == ["mass mention"] * 4

    harmless = mention.replace("<", "&lt;").replace(">", "&gt;")
    await room.client.chat_postMessage(channel=room.channel, text=harmless, blocks=[button(text=plain(mention))])
    await room.client.chat_postMessage(channel=room.channel, text=f"<@{room.ws.user('ann').id}> @here in plain text")
    room.ws.assert_clean()
    await room.client.chat_postMessage(channel=room.channel, text="@here", link_names=True)
    assert len(room.ws.take_faults()) == 1


async def test_edits(room: Room) -> None:
    ts = (await room.client.chat_postMessage(channel=room.channel, text="same"))["ts"]
    await room.client.chat_update(channel=room.channel, ts=ts, text="same")
    assert "edit without change" in room.ws.take_faults()[0]
    await room.refused("cant_update_message", "chat_update", channel=room.channel, ts=room.asked, text="not mine")
    await room.refused("message_not_found", "chat_update", channel=room.channel, ts="1000000000.000001", text="x")
    await room.refused("cant_delete_message", "chat_delete", channel=room.channel, ts=room.asked)


async def test_places_that_are_not_there(room: Room) -> None:
    await room.post("channel_not_found", channel="C0NOWHERE", text="x")
    await room.post("thread_not_found", thread_ts="1000000000.000001", text="x")
    reply = await room.ws.user("ann").says("general", "reply", thread=room.asked)
    await room.client.chat_postMessage(channel=room.channel, thread_ts=reply, text="x")
    assert "is that of a reply" in room.ws.take_faults()[0]

    outside, hidden = room.ws.channel("outside", bot=False), room.ws.channel("hidden", private=True, bot=False)
    await room.post("not_in_channel", channel=outside, text="x")
    await room.post("channel_not_found", channel=hidden, text="x")
    await room.refused("not_in_channel", "conversations_history", channel=outside)
    await room.ws.user("ann").removes_bot("general")
    await room.post("not_in_channel", None, text="nobody has told the app")
    await room.ws.user("ann").invites_bot("general")
    room.ws.archive("general")
    await room.post("is_archived", None, text="x")


async def test_streams(room: Room) -> None:
    start = {"channel": room.channel, "thread_ts": room.asked}
    who = {"recipient_team_id": room.ws.team_id, "recipient_user_id": room.ws.user("ann").id}
    await room.refused("missing_recipient_team_id", "chat_startStream", **start)
    await room.refused(
        "invalid_arguments", "api_call", "thread_ts", api_method="chat.startStream", json={"channel": "C1"}
    )
    await room.refused(
        "message_not_owned_by_app", "chat_appendStream", channel=room.channel, ts=room.asked, markdown_text="x"
    )
    chunks: dict[str, list[Json]] = {
        "unsupported type": [{"type": "song"}],
        "missing required field: status": [{"type": "task_update", "id": "1", "title": "x"}],
        "must be one of": [{"type": "task_update", "id": "1", "title": "x", "status": "done"}],
        "additional property: colour": [{"type": "markdown_text", "text": "x", "colour": "red"}],
    }
    for said, wrong in chunks.items():
        await room.refused("invalid_chunks", "chat_startStream", said, **start, **who, chunks=wrong)
    long = [{"type": "task_update", "id": "1", "title": "x" * 257, "status": "pending"}]
    await room.refused("msg_too_long", "chat_startStream", "title", **start, **who, chunks=long)
    ts = (await room.client.chat_startStream(**start, **who))["ts"]
    await room.refused("no_text", "chat_appendStream", channel=room.channel, ts=ts, chunks=[])
    await room.client.chat_stopStream(channel=room.channel, ts=ts)
    await room.refused(
        "message_not_in_streaming_state", "chat_appendStream", channel=room.channel, ts=ts, markdown_text="x"
    )


@pytest.mark.parametrize(
    ("said", "args"),
    [
        ("unknown argument `colour`", {"colour": "red"}),
        ("is not a valid ts", {"thread_ts": 1700000000.000001}),
        ("must be a boolean", {"reply_broadcast": "yes"}),
        ("must be a string", {"username": 7}),
        ("must be a JSON array", {"blocks": "{}"}),
        ("must be a JSON object", {"metadata": []}),
        ("must be one of none, full", {"parse": "client"}),
    ],
)
async def test_arguments_have_names_and_types(room: Room, said: str, args: Json) -> None:
    await room.post("invalid_arguments", re.escape(said), **{"text": "x", **args})


async def test_every_method_is_one_of_the_library_and_unknown_ones_are_faults(room: Room) -> None:
    assert all(parameters(name) is not None for name in METHODS)
    await room.refused("unknown_method", "api_call", api_method="chat.shout", json={})
    await room.refused("unknown_method", "views_publish", "doesn't model", user_id="U1", view={})


async def test_arguments_come_in_the_query_in_a_form_or_as_json(room: Room) -> None:
    address, bearer = f"{room.ws.api_url}chat.postMessage", {"Authorization": f"Bearer {room.ws.app.bot_token}"}
    args = {"channel": room.channel, "text": "x", "blocks": '[{"type":"divider"}]', "reply_broadcast": "1"}
    async with aiohttp.ClientSession(headers=bearer) as http:
        for how in ({"params": args}, {"data": args}, {"json": args | {"reply_broadcast": True}}):
            async with http.post(address, **how) as answer:  # pyright: ignore[reportArgumentType] - three ways of sending
                assert (await answer.json())["ok"] is True
        async with http.get(address, params=args) as answer:
            assert (await answer.json())["ok"] is True
        async with http.post(address, data=b"{", headers={"Content-Type": "application/json"}) as answer:
            assert (await answer.json())["error"] == "invalid_arguments"
    assert len(room.ws.posts("general")) == 4


async def test_tokens(room: Room) -> None:
    async def error(call: Callable[[Any], Awaitable[Any]], token: str) -> str:
        return str((await refused(call(web_client(room.ws, token))))["error"])

    assert await error(lambda client: client.auth_test(), "xoxb-wrong") == "invalid_auth"
    assert await error(lambda client: client.auth_test(), "") == "not_authed"
    room.ws.app.broken = "account_inactive"
    assert await error(lambda client: client.auth_test(), room.ws.app.bot_token) == "account_inactive"
    room.ws.assert_clean()
    wrong_kind = await error(lambda client: client.apps_connections_open(app_token=room.ws.app.bot_token), "x")
    assert wrong_kind == "not_allowed_token_type" and len(room.ws.take_faults()) == 1


async def test_scopes() -> None:
    async with SlackWorkspace(Options(scopes=("channels:history", "users:read"))) as ws:
        channel, client = ws.channel("general", "ann"), web_client(ws)
        answer = await refused(client.chat_postMessage(channel=channel, text="x"))
        assert (answer["needed"], answer["provided"]) == ("chat:write", "channels:history,users:read")
        await client.conversations_history(channel=channel)
        answer = await refused(client.conversations_history(channel=ws.user("ann").dm))
        assert answer["needed"] == "im:history"
        assert (await client.auth_test()).headers["x-oauth-scopes"] == "channels:history,users:read"
        ws.assert_clean()

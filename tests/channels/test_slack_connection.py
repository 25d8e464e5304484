"""The connection to Slack: made in the background, kept, and made again; nothing is lost meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.slack import account as slack_account
from tests.standins.slack import Fault, Options
from tests.support.model_script import say
from tests.support.slack_gateway import GENERAL, slack_room


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library looks at its socket more often, and ours at the library."""
    monkeypatch.setattr(slack_account, "PING_SECONDS", 0.2)
    monkeypatch.setattr(slack_account, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(slack_account, "FIRST_RETRY_SECONDS", 0.1)


async def test_1_a_socket_that_drops_is_opened_again(tmp_path: Path) -> None:
    """Issue: … also when the socket drops: what was said meanwhile is answered once."""
    async with slack_room(tmp_path) as room:
        room.echo()
        await room.told("before")
        assert await room.ws.drop_sockets() == 1
        asked = await room.asks("meanwhile")
        await room.ws.wait_message("heard: ann: meanwhile", thread=asked)
        await room.connected()
        await room.ws.wait_delivered()
        assert sorted(room.heard()) == ["ann: before", "ann: meanwhile"]


async def test_1_a_socket_that_drops_while_an_event_is_being_committed(tmp_path: Path) -> None:
    """Channels 1: the acknowledgement can't be sent any more; what comes again is the same message."""
    async with slack_room(tmp_path) as room:
        room.echo()
        room.ws.next("users.info", Fault(hold="names"))
        asked = await room.asks("hello")
        await room.ws.wait_calls("users.info")
        await room.ws.drop_sockets()
        room.ws.release("names")
        await room.ws.wait_message("heard: ann: hello", thread=asked)
        await room.ws.wait_delivered()
        assert room.heard() == ["ann: hello"]


async def test_1_slack_asks_for_a_new_socket(tmp_path: Path) -> None:
    """facts.md: Slack asks for new sockets now and then; nothing is lost in between."""
    async with slack_room(tmp_path) as room:
        room.echo()
        await room.ws.say_goodbye()
        await room.told("hello")
        await room.ws.wait_connected(2)


async def test_1_a_socket_that_can_t_be_had_back_is_made_anew(tmp_path: Path) -> None:
    """Channels 1: the library may try one address for ever; after a while everything is asked for again."""
    async with slack_room(tmp_path) as room:
        room.echo()
        asked = len([call for call in room.ws.calls if call.method == "auth.test"])
        room.ws.sockets.listening = False
        await room.ws.drop_sockets()
        await room.connected(state="reconnecting")
        await room.ws.wait_calls("auth.test", asked + 1)
        room.ws.sockets.listening = True
        await room.told("back again")


async def test_1_a_slack_that_refuses_the_app_at_first(tmp_path: Path) -> None:
    """Issue: the gateway starts without Slack, says what is wrong, and works once it is right."""
    async with slack_room(tmp_path) as room:
        room.echo()
        room.ws.app.broken = "account_inactive"
        await room.p.restart()
        await room.connected(state="Slack says account_inactive (the app was removed from the workspace)")
        assert (await room.p.ask("GET", "/readyz")).status == 200
        asked = await room.asks("anybody there?")
        room.ws.app.broken = None
        await room.ws.wait_message("heard: ann: anybody there", thread=asked)
        room.ws.next("apps.connections.open", Fault(error="invalid_auth"), Fault(status=502), Fault(drop=True))
        await room.p.restart()
        await room.told("and now?")


async def test_24_a_graceful_stop_leaves_nothing_undone(tmp_path: Path) -> None:
    """Sub-agents 24, Channels 1: what has come in before a stop is answered after the next start, once."""
    async with slack_room(tmp_path, options=Options(ack_seconds=30)) as room:
        room.p.on(reply=say("late", hold="never"), role="main", user="ann: hang")
        room.echo()
        hanging = await room.asks("hang")
        await room.p.wait_asked(lambda seen: seen.last_user.endswith("hang"))
        room.ws.next("users.info", Fault(delay=0.3))  # who Bob is: his message isn't committed yet
        await room.asks("on the threshold", who=room.bob)
        await room.ws.wait_calls("users.info", 2)
        await room.p.stop()
        await room.p.start()
        room.p.model.release("never")
        await room.ws.wait_message("late", thread=hanging)
        await room.ws.wait_message("heard: bob: on the threshold")
        await room.ws.wait_delivered()
        assert len(room.ws.posts(GENERAL)) == 2

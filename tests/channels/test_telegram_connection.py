"""How updates come from Telegram: committed, then confirmed; polling and webhook, and what goes wrong with them."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from channels.telegram.account import SECRET_HEADER
from gateway.reception import Reception
from gateway.routes import Accepted, Incoming
from tests.standins.telegram import TOKEN, Fault
from tests.support.model_script import say
from tests.support.model_server import ScriptedModelServer
from tests.support.pilot import KEY, base_config
from tests.support.telegram_gateway import HURRIED, SECRET, TelegramRoom, telegram_room

PATH = "/channels/telegram/default"


def echo(room: TelegramRoom) -> None:
    """The assistant repeats what it heard."""
    room.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")


async def by_webhook(room: TelegramRoom) -> None:
    """Lets Telegram call the gateway, whose port is known only once it runs."""
    account = {"mode": "webhook", "webhookUrl": room.p.gateway.url, "webhookSecret": SECRET}
    port = int(room.p.gateway.url.rpartition(":")[2])
    await room.p.restart(gateway={"port": port}, channels={"telegram": account})
    await room.tg.until(lambda: _called(room))


async def _called(room: TelegramRoom) -> bool:
    return bool((await room.tg.webhook())["url"])


# ---------------------------------------------------------------------- commit, then confirm


async def test_1_an_update_is_confirmed_after_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels 1: acknowledged after its inbox row is committed, never before; what can't be committed comes again."""
    receive = Reception.receive
    tries: list[list[int]] = []

    async def reluctant(self: Reception, incoming: Incoming, *, quiet: bool = False) -> Accepted:
        tries.append(await room.tg.taken())
        if len(tries) < 3:
            raise OSError("the disk is full")
        return await receive(self, incoming, quiet=quiet)

    async with telegram_room(tmp_path) as room:
        echo(room)
        monkeypatch.setattr(Reception, "receive", reluctant)
        asked = await room.ann.say("hello")
        await room.tg.wait_taken(asked.update)
        await room.reads(room.ann, "heard: hello")
        await room.settled(KEY)
        assert len(tries) == 3
        assert not any(asked.update in taken for taken in tries)


async def test_1_a_chat_whose_update_can_t_be_taken_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One update that breaks isn't confirmed; those of other chats are answered, those of the same stay in order."""
    receive = Reception.receive
    broken = True

    async def reluctant(self: Reception, incoming: Incoming, *, quiet: bool = False) -> Accepted:
        if broken and incoming.text == "one":
            raise OSError("the disk is full")
        return await receive(self, incoming, quiet=quiet)

    async with telegram_room(tmp_path, config={"messages": {"queue": {"mode": "followup"}}}) as room:
        echo(room)
        monkeypatch.setattr(Reception, "receive", reluctant)
        one, two = await room.ann.say("one"), await room.ann.say("two")
        await room.bob.say("elsewhere", room.team, mention=True)
        await room.reads(room.team, "heard: Bob: elsewhere")
        assert not {one.update, two.update} & set(await room.tg.taken())
        broken = False
        await room.tg.wait_taken(two.update)
        await room.settled(KEY)
        await room.settled(room.key(room.team))
        assert await room.texts(room.ann) == ["heard: one", "heard: two"]


async def test_1_a_redelivered_update_is_one_message(tmp_path: Path) -> None:
    """Channels 1: a redelivered event is one message, and one command."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        for text in ("hello", "/status"):
            asked = await room.ann.say(text)
            await room.tg.wait_taken(asked.update)
            await room.settled(KEY)
            assert asked.update is not None
            calls = len(await room.tg.calls("getUpdates"))
            await room.tg.redeliver(asked.update)
            await room.tg.wait_call("getUpdates", count=calls + 1)
        await room.settled(KEY)
        assert len(room.p.main_requests()) == 1
        assert len(await room.texts(room.ann)) == 2


async def test_a_restart_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """What is said while the gateway is away is answered when it is back; what was confirmed stays so."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        first = await room.ann.say("before")
        await room.reads(room.ann, "heard: before")
        await room.p.stop()
        assert first.update in await room.tg.taken()
        await room.ann.say("meanwhile")
        await room.p.start()
        await room.reads(room.ann, "heard: meanwhile")
        await room.settled(KEY)
        assert [seen.last_user for seen in room.p.main_requests()] == ["before", "meanwhile"]


# ---------------------------------------------------------------------- trouble with polling


async def test_polling_survives_bad_gateways_and_lost_connections(tmp_path: Path) -> None:
    """Issue: … also when the platform answers 502, and when the connection drops: polling goes on."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        for fault in (Fault.server_error(502), Fault.dropped(), Fault.flood(1)):
            await room.tg.next("getUpdates", fault)
        await room.ann.say("hello")
        await room.reads(room.ann, "heard: hello")
        await room.settled(KEY)
        assert await room.state() == "connected"


async def test_another_poller_is_named(tmp_path: Path) -> None:
    """409: another program asks for the bot's updates; the state says so, and polling goes on."""
    slow = replace(HURRIED, first_retry=0.3, longest_retry=0.3)
    async with telegram_room(tmp_path, timing=slow) as room:
        conflict = Fault.refused("Conflict: terminated by other getUpdates request", 409)
        await room.tg.next("getUpdates", conflict)
        await room.ann.say("/status")
        await room.tg.wait_call("getUpdates", lambda call: call.status == 409)
        await room.says("terminated by other")
        await room.reads(room.ann, "main")
        await room.says("connected")
        await room.delivered()


async def test_a_revoked_token_is_named(tmp_path: Path) -> None:
    """401: the state says which key is wrong, never what is in it; once it is mended all goes on."""
    slow = replace(HURRIED, first_retry=0.3, longest_retry=0.3)
    async with telegram_room(tmp_path, timing=slow) as room:
        await room.tg.next("getUpdates", Fault.unauthorized())
        await room.ann.say("/status")
        assert TOKEN not in await room.says("channels.telegram.botToken")
        await room.reads(room.ann, "main")
        await room.delivered()


async def test_a_wrong_token_is_named_and_the_gateway_runs(tmp_path: Path) -> None:
    """A bot that Telegram doesn't know holds up nothing; it is tried again."""
    wrong = "1:WrongTokenThatNobodyMayRead"
    async with telegram_room(tmp_path, account={"botToken": wrong}, start=False) as room:
        await room.p.start()
        assert wrong not in await room.says("channels.telegram.botToken")
        await room.p.say("hello")
        await room.p.wait_said("ok")
        await room.p.restart(channels={"telegram": {"botToken": room.tg.token}})
        await room.ann.say("/status")
        await room.reads(room.ann, "main")
        await room.delivered()


async def test_a_round_that_hangs_is_begun_anew(tmp_path: Path) -> None:
    """Channels, Telegram: a watchdog restarts polling that hasn't completed a round in 120 s (here half a second)."""
    hasty = replace(HURRIED, poll=30, read=60.0, watchdog=0.5)
    async with telegram_room(tmp_path, timing=hasty) as room:
        await room.tg.next("getUpdates", Fault.hangs(), times=2)
        await room.ann.say("/status")
        await room.says("hung")
        await room.reads(room.ann, "main")
        await room.says("connected")
        await room.delivered()


async def test_a_webhook_of_before_is_taken_away(tmp_path: Path) -> None:
    """Polling can't be had while a webhook is set; nothing that is waiting is dropped."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await by_webhook(room)
        await room.p.stop()
        await room.ann.say("meanwhile")
        room.p.configure({"channels": {"telegram": {"mode": "polling"}}})
        await room.p.start()
        await room.reads(room.ann, "heard: meanwhile")
        await room.settled(KEY)
        assert (await room.tg.webhook())["url"] == ""


# ---------------------------------------------------------------------- webhook


async def test_by_webhook(tmp_path: Path) -> None:
    """Channels, Telegram: webhook with secret token; 200 only after the commit, and the same conversation."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await by_webhook(room)
        asked = await room.ann.say("hello")
        await room.reads(room.ann, "heard: hello")
        await room.tg.wait_taken(asked.update)
        await room.settled(KEY)
        webhook = await room.tg.webhook()
        assert webhook["url"] == f"{room.p.gateway.url}{PATH}"
        assert [status for _, status in webhook["attempts"]][-1] == 200


async def test_by_webhook_nothing_is_confirmed_before_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels 1: what breaks on the way to the commit is answered with 500, and comes again."""
    receive = Reception.receive
    tries: list[str] = []

    async def reluctant(self: Reception, incoming: Incoming, *, quiet: bool = False) -> Accepted:
        tries.append(incoming.text)
        if len(tries) < 3:
            raise OSError("the disk is full")
        return await receive(self, incoming, quiet=quiet)

    async with telegram_room(tmp_path) as room:
        echo(room)
        await by_webhook(room)
        monkeypatch.setattr(Reception, "receive", reluctant)
        asked = await room.ann.say("hello")
        await room.reads(room.ann, "heard: hello")
        await room.tg.wait_taken(asked.update)
        await room.settled(KEY)
        statuses = [status for update, status in (await room.tg.webhook())["attempts"] if update == asked.update]
        assert statuses == [500, 500, 200]


async def test_by_webhook_a_wrong_secret_is_refused(tmp_path: Path) -> None:
    """Webhooks without the secret get 403, and so does an account that isn't there; nothing is taken from them."""
    async with telegram_room(tmp_path) as room:
        await by_webhook(room)
        asked = await room.ann.say("/status")
        await room.tg.wait_taken(asked.update)
        body: dict[str, Any] = {
            "update_id": 1,
            "message": {**asked.raw, "message_id": 900, "text": "let me in", "entities": []},
        }
        url = room.p.gateway.url
        answers: list[int] = []
        async with aiohttp.ClientSession() as http:
            for path, headers in (
                (PATH, {}),
                (PATH, {SECRET_HEADER: "wrong"}),
                (PATH, {SECRET_HEADER: "sécret"}),
                ("/channels/telegram/nobody", {SECRET_HEADER: SECRET}),
            ):
                async with http.post(url + path, json=body, headers=headers) as response:
                    answers.append(response.status)
            async with http.post(url + PATH, data=b"no JSON", headers={SECRET_HEADER: SECRET}) as response:
                answers.append(response.status)
        assert answers == [403, 403, 403, 403, 400]
        await room.delivered()
        assert room.p.model.requests == []


# ---------------------------------------------------------------------- secrets, and what isn't loaded


async def test_9_the_token_is_shown_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Channels 9: the token is a part of addresses; no log at any level, state, answer or prompt holds it."""
    caplog.set_level(logging.DEBUG)
    async with telegram_room(tmp_path) as room:
        room.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")
        for method, fault in (
            ("getUpdates", Fault.unauthorized()),
            ("getUpdates", Fault.server_error()),
            ("getUpdates", Fault.dropped()),
            ("getFile", Fault.refused("Bad Request: file is temporarily unavailable")),
            ("sendMessage", Fault.unauthorized()),
            ("sendMessage", Fault.server_error(500)),
        ):
            await room.tg.next(method, fault)
        await room.ann.send_document("notes.txt", b"x", caption="what is this?")
        await room.reads(room.ann, "can't be read")
        await room.settled(KEY)
        shown = str(await room.p.get("/api/outbox?state=delivered"))
        asked = "".join(seen.everything for seen in room.p.model.requests)
    logs = caplog.text + "".join(str(record.exc_info) for record in caplog.records)
    assert "channels.telegram.botToken" in logs
    assert TOKEN not in logs + shown + asked


async def test_nothing_of_telegram_is_loaded_unless_it_is_configured(tmp_path: Path) -> None:
    """Issue: loaded only when configured; the gateway without it is what it was."""
    script = """
import asyncio, sys
from pathlib import Path
from gateway.app import Gateway, ServeOptions
from gateway.config import Paths, load_config
from gateway.store.open import open_database

async def main(state):
    paths = Paths(state)
    config = load_config(None, paths=paths, environ={"HOME": str(state), "LANEWAY_OFFLINE": "1"})
    gateway = Gateway(ServeOptions(paths, handle_signals=False), config, open_database(config))
    await gateway.start()
    assert set(gateway.registry.channels) >= {"terminal"}, gateway.registry.channels
    found = sorted(name for name in sys.modules if name.partition(".")[0] in NAMES)
    await gateway.stop()
    print(found)

NAMES = ("telegram", "httpx", "telegramify_markdown", "slack_bolt", "slack_sdk")
asyncio.run(main(Path(sys.argv[1])))
"""
    async with ScriptedModelServer() as models:
        state = tmp_path / "state"
        state.mkdir()
        config: dict[str, Any] = {key: value for key, value in base_config(models).items() if key != "models"}
        (state / "config.json5").write_text(str({"gateway": config["gateway"]}).replace("'", '"'))
        done = subprocess.run(  # noqa: ASYNC221, S603 - our own script; the test has nothing else to do
            [sys.executable, "-c", script, str(state)], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"

"""Setting Telegram up: what the gateway tells Telegram, what is examined, what is printed (issue, part 7)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import pyjson5
import pytest
from aiohttp import web

from channels.telegram.plugin import plugin
from gateway.config import Config
from gateway.doctor import Level
from gateway.doctor.online import channels
from tests.standins.telegram import Fault, TelegramStandIn
from tests.support.laneway import Home
from tests.support.telegram_gateway import SECRET, telegram_room

ADDRESS = "https://laneway.example"


def config(tg: TelegramStandIn, **account: Any) -> Config:
    """A configuration with this bot."""
    telegram = {"botToken": tg.token, "apiRoot": tg.api_root, **account}
    return Config.model_validate({"channels": {"telegram": telegram}})


async def found(tg: TelegramStandIn, **account: Any) -> dict[str, Level]:
    """What an examination says, with how it counts."""
    findings = await channels(config(tg, **account), "telegram")
    assert all(finding.fix for finding in findings if finding.level is not Level.OK)
    return {finding.text: finding.level for finding in findings}


async def test_the_apps_complete_the_gateway_s_commands(tmp_path: Path) -> None:
    """Channels, Telegram: commands registered with `setMyCommands`, from the registry of this gateway."""
    async with telegram_room(tmp_path) as room:
        shown = {each["command"]: each["description"] for each in await room.tg.commands()}
        assert shown.keys() == room.p.gateway.registry.commands.keys()
        assert shown["stop"].startswith("stop the turn")


async def test_who_adds_the_bot_to_a_group_finds_its_id_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The allowlist asks for ids, which Telegram's apps don't show."""
    caplog.set_level(logging.WARNING)
    async with telegram_room(tmp_path) as room:
        await room.ann.kick_bot(room.team)
        await room.ann.add_bot(room.team)
        last = await room.ann.say("/status", room.team)
        await room.tg.wait_taken(last.update)
        assert f"“Team”: its id for channels.telegram.groups is {room.team.id}" in caplog.text
        await room.reads(room.team, "main")
        await room.delivered()


# ---------------------------------------------------------------------- laneway channels test telegram


async def test_7_a_bot_that_works() -> None:
    """Issue, part 7: getMe, privacy mode, webhook state."""
    async with TelegramStandIn() as tg:
        said = await found(tg)
        assert said == {
            "default: the bot is @laneway_bot": Level.OK,
            "default: in groups reads mentions, replies and commands only, "
            "unless it is an administrator there": Level.OK,
            "default: 0 updates waiting, by polling": Level.OK,
        }
        await tg.assert_clean()


async def test_7_a_token_that_doesn_t_work() -> None:
    """Issue, part 7: … the key is named, the token isn't."""
    async with TelegramStandIn() as tg:
        wrong = "1:NobodyMayReadThis"
        [(text, level)] = (await found(tg, botToken=wrong)).items()
        assert (level, "channels.telegram.botToken" in text, wrong in text) == (Level.FAIL, True, False)


async def test_7_a_server_that_can_t_be_reached() -> None:
    """Issue, part 7: … nor the network."""
    async with TelegramStandIn() as tg:
        root = tg.api_root
    settings = Config.model_validate({"channels": {"telegram": {"botToken": "1:x", "apiRoot": root}}})
    [finding] = await channels(settings, "telegram")
    assert (finding.level, "can't be reached" in finding.text) == (Level.FAIL, True)


async def test_7_privacy_against_what_is_configured() -> None:
    """Issue, part 7: privacy mode hides from the bot what `requireMention: false` wants it to answer."""
    async with TelegramStandIn() as tg:
        said = await found(tg, requireMention=False)
        assert [level for text, level in said.items() if "reads mentions" in text] == [Level.WARN]
        said = await found(tg, groups={"-100": {"requireMention": False}})
        assert [level for text, level in said.items() if "reads mentions" in text] == [Level.WARN]
    async with TelegramStandIn(privacy=False) as tg:
        assert (await found(tg, requireMention=False))["default: reads everything in groups"] is Level.OK


async def test_7_the_webhook_against_what_is_configured() -> None:
    """Issue, part 7: webhook state: another address, a forgotten one, an address that can't be reached."""
    async with TelegramStandIn() as tg, aiohttp.ClientSession() as http:
        account = {"mode": "webhook", "webhookUrl": ADDRESS, "webhookSecret": SECRET}
        said = await found(tg, **account)
        url = f"{ADDRESS}/channels/telegram/default"
        assert said[f"default: Telegram calls nobody and not {url}"] is Level.WARN
        await http.post(f"{tg.base_url}{tg.token}/setWebhook", json={"url": "http://127.0.0.1:9/channels"})
        said = await found(tg)
        assert said["default: a webhook is set, and the mode is polling"] is Level.WARN
        ann = await tg.person("Ann")
        await http.post(
            f"{tg.base_url}{tg.token}/setWebhook", json={"url": "http://127.0.0.1:9/channels/telegram/default"}
        )
        await ann.say("hello")
        await tg.until(lambda: _failed(tg))
        said = await found(tg, **{**account, "webhookUrl": "http://127.0.0.1:9"})
        assert [level for text, level in said.items() if "couldn't call it: Connection refused" in text] == [Level.FAIL]


async def _failed(tg: TelegramStandIn) -> bool:
    return "last_error_message" in await tg.webhook()


async def test_7_a_clock_that_is_wrong() -> None:
    """Issue, part 7: clock skew, by the header `Date`."""
    async with TelegramStandIn() as tg:
        bot = {"id": 1, "is_bot": True, "first_name": "Bot", "username": "late_bot", "can_join_groups": True}
        answers = {
            "getMe": bot,
            "getWebhookInfo": {"url": "", "has_custom_certificate": False, "pending_update_count": 0},
        }

        async def answer(request: web.Request) -> web.Response:
            body = {"ok": True, "result": answers[request.match_info["method"]]}
            return web.json_response(body, headers={"Date": formatdate(time.time() - 600, usegmt=True)})

        app = web.Application()
        app.router.add_post("/bot{token}/{method}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            root = f"http://127.0.0.1:{runner.addresses[0][1]}"
            said = await found(tg, apiRoot=root)
        finally:
            await runner.cleanup()
        assert [level for text, level in said.items() if "clock is 60" in text] == [Level.WARN]


async def test_7_on_the_command_line(tmp_path: Path) -> None:
    """Issue, part 7: `laneway channels test telegram`; the token stands in nothing that is printed."""
    async with TelegramStandIn() as tg:
        home = Home(tmp_path)
        home.state.mkdir()
        telegram = {"botToken": tg.token, "apiRoot": tg.api_root}
        (home.state / "config.json5").write_text(json.dumps({"channels": {"telegram": telegram}}))
        good = await asyncio.to_thread(home.run, "channels", "test", "telegram")
        assert (good.code, "@laneway_bot" in good.out) == (0, True)
        await tg.next("getMe", Fault.unauthorized())
        bad = await asyncio.to_thread(home.run, "channels", "test", "telegram", "--json")
        assert (bad.code, bad.json["ok"]) == (1, False)
        assert tg.token not in good.out + good.err + bad.out + bad.err


# ---------------------------------------------------------------------- what is printed


def test_7_the_walk_through_works_as_pasted() -> None:
    """Issue, part 7: the config.json5 is valid, the commands are BotFather's form of this gateway's.

    As it is pasted it lets in nobody's ids; with the ids that were made up in it, it is valid too.
    """
    parts = plugin.setup(Config())
    text = parts["config"].replace("${TELEGRAM_BOT_TOKEN}", "1:x")
    pasted = Config.model_validate(pyjson5.decode(text))
    [account] = pasted.channels.telegram_accounts().values()
    assert (account.groups, pasted.owners) == (None, ())
    whole = Config.model_validate(
        pyjson5.decode(text.replace("// groups:", "groups:").replace("// owners:", "owners:"))
    )
    [account] = whole.channels.telegram_accounts().values()
    assert account.groups and whole.owners
    assert "/newbot" in parts["steps"]
    assert "/setprivacy" in parts["groups"]
    listed = parts["commands"].rpartition("\n\n")[2].splitlines()
    assert all(line.partition(" - ")[0].isidentifier() and line.partition(" - ")[2] for line in listed)
    assert {"help", "stop", "subagents"} <= {line.partition(" - ")[0] for line in listed}
    assert "7878" in parts["webhook"]

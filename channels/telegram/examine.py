"""Whether the configured bots work: `laneway channels test`, `laneway doctor --online`."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from telegram import User, WebhookInfo

from channels.telegram import texts
from channels.telegram.api import Api
from channels.telegram.timing import Timing
from gateway.channel import DeliveryError
from gateway.config import Config
from gateway.config.channels import TelegramAccount
from gateway.doctor import Finding, Level

PART = "telegram"
SKEW_SECONDS = 60.0
RECENT_SECONDS = 3600.0
"""A failed delivery to the webhook that is older is past."""


async def examine(config: Config, timing: Timing) -> list[Finding]:
    """One account after the other."""
    found: list[Finding] = []
    for name, settings in config.channels.telegram_accounts().items():
        token = settings.bot_token.get_secret_value() if settings.bot_token else ""
        api = Api(token, settings.api_root, timing)
        try:
            found += await _account(name, settings, api)
        except DeliveryError as error:
            fix = "check the token, then the network; laneway channels setup telegram says where a token comes from"
            found.append(Finding(PART, Level.FAIL, f"{name}: {error}", fix))
        finally:
            await api.stop()
    return found


async def _account(name: str, settings: TelegramAccount, api: Api) -> list[Finding]:
    await api.start()
    bot: User = api.bot.bot
    found = [Finding(PART, Level.OK, f"{name}: the bot is @{bot.username}")]
    found += _skew(name, api.date)
    found += _reads(name, bot, settings)
    if not bot.can_join_groups and settings.groups:
        fix = "allow it with /setjoingroups in @BotFather"
        found.append(Finding(PART, Level.WARN, f"{name}: the bot can't be added to groups", fix))
    webhook: WebhookInfo = await api("get_webhook_info")
    return [*found, *_webhook(name, settings, webhook)]


def _reads(name: str, bot: User, settings: TelegramAccount) -> list[Finding]:
    """What it gets to read in groups."""
    if bot.can_read_all_group_messages:
        return [Finding(PART, Level.OK, f"{name}: reads everything in groups")]
    text = f"{name}: in groups reads mentions, replies and commands only, unless it is an administrator there"
    groups = (settings.groups or {}).values()
    if settings.require_mention is False or any(each.require_mention is False for each in groups):
        fix = (
            "requireMention is false: disable privacy with /setprivacy in @BotFather, and add the bot to the group anew"
        )
        return [Finding(PART, Level.WARN, text, fix)]
    return [Finding(PART, Level.OK, text)]


def _webhook(name: str, settings: TelegramAccount, webhook: WebhookInfo) -> list[Finding]:
    """Whether updates come the way that is configured."""
    if settings.mode != "webhook":
        if webhook.url:
            text = f"{name}: a webhook is set, and the mode is polling"
            return [Finding(PART, Level.WARN, text, "the gateway takes the webhook away when it starts")]
        return [Finding(PART, Level.OK, f"{name}: {_pending(webhook)}, by polling")]
    url = (settings.webhook_url or "").rstrip("/") + texts.PATH + name
    if webhook.url != url:
        text = f"{name}: Telegram calls {webhook.url or 'nobody'} and not {url}"
        return [Finding(PART, Level.WARN, text, "the gateway sets it when it starts: start it, then test again")]
    found = [Finding(PART, Level.OK, f"{name}: Telegram calls {url}; {_pending(webhook)}")]
    if webhook.last_error_message and webhook.last_error_date is not None:
        ago = time.time() - webhook.last_error_date.timestamp()
        if ago < RECENT_SECONDS:
            text = f"{name}: {ago:.0f} s ago Telegram couldn't call it: {webhook.last_error_message}"
            fix = "check that the address can be reached from outside and passes the path on"
            found.append(Finding(PART, Level.FAIL, text, fix))
    return found


def _pending(webhook: WebhookInfo) -> str:
    number = webhook.pending_update_count
    return f"{number} update{'' if number == 1 else 's'} waiting"


def _skew(name: str, header: str) -> list[Finding]:
    try:
        skew = abs(parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return []
    if skew < SKEW_SECONDS:
        return []
    return [Finding(PART, Level.WARN, f"{name}: this machine's clock is {skew:.0f} s off Telegram's", "set the clock")]

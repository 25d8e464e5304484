"""Whether the configured Slack accounts work: `laneway channels test`, `laneway doctor --online`."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import aiohttp

from channels.slack import texts
from channels.slack.client import Api
from gateway.channel import DeliveryError
from gateway.config import Config
from gateway.config.channels import SlackAccount
from gateway.doctor import Finding, Level

PART = "slack"
SKEW_SECONDS = 60.0
"""Slack refuses signatures that are five minutes old."""


async def examine(config: Config) -> list[Finding]:
    """One account after the other."""
    found: list[Finding] = []
    for name, settings in config.channels.slack_accounts().items():
        try:
            found += await _account(name, settings)
        except DeliveryError as error:
            fix = "check the token, then the network; laneway channels setup slack says where tokens come from"
            found.append(Finding(PART, Level.FAIL, f"{name}: {error}", fix))
    return found


async def _account(name: str, settings: SlackAccount) -> list[Finding]:
    async with aiohttp.ClientSession() as http:
        token = settings.bot_token.get_secret_value() if settings.bot_token else ""
        answer, headers = await Api(token, settings.api_url, http).with_headers("auth_test")
        who = f"{answer.get('user', '?')} in {answer.get('team', '?')}"
        found = [Finding(PART, Level.OK, f"{name}: signed in as {who}")]
        found += _scopes(name, headers.get("x-oauth-scopes", ""))
        found += _clock(name, headers.get("date", ""))
        if settings.mode == "http":
            text = f"{name}: Slack must reach /channels/slack/events of this gateway"
        else:
            app_token = settings.app_token.get_secret_value() if settings.app_token else ""
            await Api(app_token, settings.api_url, http)("apps_connections_open", app_token=app_token)
            text = f"{name}: Socket Mode can be opened"
        return [*found, Finding(PART, Level.OK, text)]


def _scopes(name: str, header: str) -> list[Finding]:
    if not header:
        return []
    missing = sorted(set(texts.SCOPES) - {scope.strip() for scope in header.split(",")})
    if not missing:
        return [Finding(PART, Level.OK, f"{name}: has every scope")]
    fix = "add them under OAuth & Permissions and install the app again"
    return [Finding(PART, Level.FAIL, f"{name}: lacks the scopes {', '.join(missing)}", fix)]


def _clock(name: str, header: str) -> list[Finding]:
    try:
        skew = abs(parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return []
    if skew < SKEW_SECONDS:
        return []
    text = f"{name}: this machine's clock is {skew:.0f} s off Slack's"
    return [Finding(PART, Level.WARN, text, "set the clock: Slack's signatures are valid for five minutes only")]

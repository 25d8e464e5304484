"""Methods that decide how the bot receives updates."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from tests.standins.telegram.description import UPDATE_TYPES
from tests.standins.telegram.refusals import OTHER_POLL, WEBHOOK_ACTIVE, bad, conflict
from tests.standins.telegram.webhook import Webhook
from tests.standins.telegram.world import World

Json = dict[str, Any]

SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
MOST_UPDATES = 100


async def get_updates(world: World, webhook: Webhook, params: Json) -> list[Json]:
    """getUpdates: waits up to `timeout` seconds for the first update."""
    if webhook.url:
        raise conflict(WEBHOOK_ACTIVE)
    _subscribe(world, params)
    limit = min(max(params.get("limit", MOST_UPDATES), 1), MOST_UPDATES)
    batch = await world.updates.poll(params.get("offset", 0), limit, params.get("timeout", 0))
    if webhook.url:
        raise conflict(OTHER_POLL)
    return [update.to_json() for update in batch]


def set_webhook(world: World, webhook: Webhook, params: Json) -> bool:
    """setWebhook. Plain HTTP is taken on loopback only."""
    url = str(params["url"])
    if not url:
        return delete_webhook(world, webhook, params)
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise bad("bad webhook: An HTTPS URL must be provided for webhook")
    secret = params.get("secret_token", "")
    if secret and not SECRET.fullmatch(secret):
        raise bad("secret token contains unallowed characters")
    connections = params.get("max_connections", 40)
    if not 1 <= connections <= 100:
        raise bad("max_connections must be 1-100")
    _subscribe(world, params)
    if params.get("drop_pending_updates"):
        world.updates.drop()
    webhook.point(url, secret, connections)
    return True


def delete_webhook(world: World, webhook: Webhook, params: Json) -> bool:
    """deleteWebhook."""
    if params.get("drop_pending_updates"):
        world.updates.drop()
    webhook.point("", "", 40)
    return True


def webhook_info(world: World, webhook: Webhook, params: Json) -> Json:
    """getWebhookInfo."""
    return webhook.info()


def _subscribe(world: World, params: Json) -> None:
    kinds: list[str] | None = params.get("allowed_updates")
    if kinds is None:
        return
    if unknown := [kind for kind in kinds if kind not in UPDATE_TYPES]:
        raise bad(f"allowed_updates: {unknown} are no update types")
    world.updates.allowed = tuple(kinds)

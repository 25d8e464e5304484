"""The pages that need no knowledge of sessions: is it alive, is it ready, what does it measure, what is it doing."""

from __future__ import annotations

import os
import time
from typing import Any

from aiohttp import web
from sqlalchemy import func, select

from gateway import __version__
from gateway.agent.resolve import DEMO_MODEL, default_model
from gateway.config import UnknownAgent, UnknownModel
from gateway.http.auth import scope
from gateway.http.json import answer
from gateway.http.keys import GATEWAY
from gateway.metrics import CONTENT_TYPE
from gateway.store import outbox, runs, sessions, workers
from gateway.store.database import Transaction
from gateway.store.outbox import State
from gateway.store.schema import approvals
from gateway.views import iso


@scope()
async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return answer({"status": "ok", "version": __version__})


@scope()
async def readyz(request: web.Request) -> web.Response:
    """200 once messages are taken and worked on, else 503."""
    gateway = request.app[GATEWAY]
    parts = {"database": await _database_answers(request), "sessions": gateway.ready}
    ready = all(parts.values())
    return answer({"ready": ready, "parts": parts}, 200 if ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """What the gateway measures, for Prometheus."""
    gateway = request.app[GATEWAY]
    page = gateway.metrics.page(await gateway.database.read(gateway.lanes.stats))
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})


async def status(request: web.Request) -> web.Response:
    """One page about the whole gateway."""
    gateway = request.app[GATEWAY]
    model, offline = _model(request)
    lanes = {
        name: {
            "cap": lane.cap,
            "running": lane.running,
            "waiting": lane.waiting,
            "oldestWaitSeconds": round(lane.oldest_wait_seconds, 3),
        }
        for name, lane in (await gateway.database.read(gateway.lanes.stats)).items()
    }
    return answer(
        {
            "version": __version__,
            "pid": os.getpid(),
            "url": gateway.url,
            "startedAt": iso(gateway.started_at),
            "uptimeSeconds": round(time.time() - gateway.started_at / 1000, 1),
            "model": model,
            "offline": offline,
            "state": str(gateway.paths.state),
            "lanes": lanes,
            "workers": await gateway.database.read(_workers),
            **await gateway.database.read(_counts),
        }
    )


def _workers(tx: Transaction) -> list[dict[str, Any]]:
    busy = workers.busy(tx)
    return [
        {
            "id": each.id,
            "role": each.role,
            "host": each.host,
            "pid": each.pid,
            "lanes": list(each.lanes),
            "concurrency": max(each.lanes.values(), default=0),
            "running": busy.get(each.id, 0),
            "startedAt": iso(each.started_at),
            "leaseUntil": iso(each.lease_until),
        }
        for each in workers.listed(tx)
    ]


def _counts(tx: Transaction) -> dict[str, Any]:
    posts = outbox.counts(tx)
    asked = tx.execute(select(func.count()).where(approvals.c.state == "pending")).scalar_one()
    return {
        "sessions": sessions.count(tx),
        "activeRuns": runs.open_count(tx),
        "outbox": {
            "pending": posts.get(State.PENDING, 0) + posts.get(State.SENDING, 0),
            "failed": posts.get(State.FAILED, 0),
        },
        "approvals": int(asked),
    }


def _model(request: web.Request) -> tuple[str, bool]:
    """The default model's name, and whether it is the scripted stand-in."""
    config = request.app[GATEWAY].config
    try:
        model = default_model(config, config.default_agent_id)
    except (UnknownAgent, UnknownModel):
        choice = config.agent(config.default_agent_id).model
        return (choice.primary if choice else "none"), False
    return model.name, model.name == DEMO_MODEL.name


async def _database_answers(request: web.Request) -> bool:
    await request.app[GATEWAY].database.read(sessions.count)
    return True

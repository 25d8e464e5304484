"""The health page in detail: what an operator wants to know of a process, beside what it is doing."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway import __version__
from gateway.doctor import Finding, examine
from gateway.http.auth import scope
from gateway.http.json import answer
from gateway.http.keys import GATEWAY
from gateway.pulse import WINDOW_SECONDS, peak_bytes, resident_bytes
from gateway.store import starts
from gateway.store.migrate import HEAD
from gateway.views import iso

if TYPE_CHECKING:
    from gateway.app import Gateway

DOCTOR_SECONDS = 60.0
"""So long a report of the doctor is shown again: it reads the whole database."""
STARTS = 20
PACKAGES = ("aiohttp", "litellm", "openai", "pydantic", "sqlalchemy", "slack-bolt", "python-telegram-bot")


class Doctor:
    """Asks the doctor, once for all who want to know at the same time, and not too often."""

    def __init__(self) -> None:
        self._at = 0.0
        self._report: list[Finding] = []
        self._asking = asyncio.Lock()
        self._asked_at = 0.0

    async def report(self, gateway: Gateway) -> tuple[float, list[Finding]]:
        """The findings, with the time (seconds since the epoch) at which they were made."""
        async with self._asking:
            if not self._report or time.monotonic() - self._at > DOCTOR_SECONDS:
                options = gateway.options
                found, _ = await asyncio.to_thread(examine, options.config_path, options.paths, options.environ)
                self._report, self._at, self._asked_at = found, time.monotonic(), time.time()
        return self._asked_at, self._report


DOCTOR: web.AppKey[Doctor] = web.AppKey("doctor", Doctor)


@scope("operator")
async def show_details(request: web.Request) -> web.Response:
    """`GET /api/health/details`."""
    return answer(await details(request.app[GATEWAY], request.app[DOCTOR]))


async def details(gateway: Gateway, doctor: Doctor) -> dict[str, Any]:
    """All of it."""
    database = await gateway.database.health()
    began = await gateway.database.read(starts.newest, STARTS)
    at, findings = await doctor.report(gateway)
    return {
        **_process(gateway),
        "database": {
            "kind": database.kind,
            "place": database.place,
            "schema": HEAD,
            "sizeBytes": database.size_bytes,
            "logBytes": database.log_bytes,
            "lastCheckpoint": iso(database.checkpoint_at),
            "waitingUnits": database.waiting,
        },
        "channels": [{"name": each.name, "accounts": each.state()} for each in gateway.registry.channels.values()],
        "telemetry": _telemetry(gateway),
        "starts": [_start(each) for each in began],
        "doctor": {"at": iso(int(at * 1000)), "findings": [finding.data() for finding in findings]},
    }


def _process(gateway: Gateway) -> dict[str, Any]:
    lag = gateway.pulse.lag()
    return {
        "version": __version__,
        "pid": os.getpid(),
        "ready": gateway.ready,
        "startedAt": iso(gateway.started_at),
        "uptimeSeconds": round(time.time() - gateway.started_at / 1000, 1),
        "versions": versions(),
        "eventLoop": {
            "p50Ms": round(lag.p50 * 1000, 2),
            "p99Ms": round(lag.p99 * 1000, 2),
            "worstMs": round(lag.worst * 1000, 2),
            "samples": lag.samples,
            "seconds": WINDOW_SECONDS,
        },
        "memory": {"residentBytes": resident_bytes(), "peakBytes": peak_bytes()},
    }


@cache
def versions() -> Mapping[str, str]:
    """What Laneway runs on; a package that isn't installed is left out."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _telemetry(gateway: Gateway) -> dict[str, Any]:
    stats = gateway.tracing.stats()
    if stats is None:
        return {"on": False}
    return {"on": True, "sent": stats.sent, "lost": stats.lost, "error": stats.error}


def _start(start: starts.Start) -> dict[str, Any]:
    return {
        "startedAt": iso(start.started_at),
        "before": start.kind.value,
        "downSince": iso(start.down_since),
        "stoppedAt": iso(start.stopped_at),
        "role": start.role,
        "version": start.version,
    }

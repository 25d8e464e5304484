"""Health: what the doctor says, what the process needs, how its channels and its database are, when it was started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.web.site import Fragment, Page, View
from gateway.http.details import DOCTOR, details

LEVELS: Mapping[str, tuple[str, str, str]] = {
    "fail": ("s-error", "broken", "bad"),
    "warn": ("warn", "look at it", "warn"),
    "ok": ("s-ok", "fine", "good"),
}
BEFORE: Mapping[str, str] = {"first": "first start", "clean": "after a stop", "crash": "after a crash"}
SLOW_MS = 250
"""A loop that is later than that is too busy."""


async def load(_view: View) -> Mapping[str, Any]:
    """All of it is live."""
    return {}


async def load_all(view: View) -> Mapping[str, Any]:
    """Everything, the worst first."""
    found = await details(view.gateway, view.request.app[DOCTOR])
    findings = found["doctor"]["findings"]
    order = list(LEVELS)
    return {
        "health": found,
        "findings": sorted(findings, key=lambda each: order.index(each["level"])),
        "bad": sum(each["level"] != "ok" for each in findings),
        "levels": LEVELS,
        "before": BEFORE,
        "slow": found["eventLoop"]["p99Ms"] > SLOW_MS,
    }


PAGE = Page("/web/health", "Health", "health.html", load, icon="health", fragments=("health-all",), operator=True)
ALL = Fragment("health-all", "health_all.html", load_all, every=10, operator=True, label="Health")

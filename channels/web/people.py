"""Sign-ins: which browsers are signed in, and the end of one. An operator sees all, everybody else his own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.web.site import Fragment, Page, View
from gateway.store import signins

PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


async def load(_view: View) -> Mapping[str, Any]:
    """The list is live."""
    return {}


async def load_list(view: View) -> Mapping[str, Any]:
    """Those that are valid."""
    who = view.eyes.who
    found = await view.read(signins.listed, None if who.operator else who.name)
    return {"signins": [(each, browser(each.user_agent)) for each in found]}


def browser(user_agent: str) -> str:
    """`Firefox on Windows`, as far as a browser says it."""
    # The first that fits: most call themselves by the names of others as well.
    program = next((name for mark, name in PROGRAMS if mark in user_agent), "A browser")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return f"{program} on {system}" if system else program


PAGE = Page("/web/signins", "Sign-ins", "signins.html", load, fragments=("signins",))
LIST = Fragment("signins", "signins_list.html", load_list, label="Sign-ins")

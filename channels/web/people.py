"""Sign-ins: which browsers are signed in, and the end of one. An operator sees all, everybody else his own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.web.site import Fragment, Page, View
from gateway.store import signins


async def load(_view: View) -> Mapping[str, Any]:
    """The list is live."""
    return {}


async def load_list(view: View) -> Mapping[str, Any]:
    """Those that are valid."""
    who = view.eyes.who
    return {"signins": await view.read(signins.listed, None if who.operator else who.name)}


PAGE = Page("/web/signins", "Sign-ins", "signins.html", load, fragments=("signins",))
LIST = Fragment("signins", "signins_list.html", load_list, label="Sign-ins")

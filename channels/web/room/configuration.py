"""Configuration: every key with its value and where it came from, and the file to be changed, without its secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from channels.web import render
from channels.web.site import Action, Fragment, Page, Source, View
from gateway.config.show import Setting, settings
from gateway.http import configuration
from gateway.http.errors import ApiError
from gateway.http.json import answer


async def load(view: View) -> Mapping[str, Any]:
    """The page with the file's text."""
    return {**await _source(view), "params": dict(view.params), "q": view.params.get("q", ""), "all": _all(view)}


async def load_values(view: View) -> Mapping[str, Any]:
    """The keys; those that nobody has set only if they are asked for."""
    config, words = view.gateway.config, view.params.get("q", "").strip().lower()
    found = [each for each in settings(config) if _all(view) or words or each.source != "default"]
    lines = [(each, _text(each.value), where(each)) for each in found if words in each.key.lower()]
    return {"lines": lines, "warnings": config.warnings, "q": words}


async def source(view: View) -> web.StreamResponse:
    """`GET /web/config/source`."""
    _operator(view)
    return answer(await _source(view), headers={**render.SAFE, "Cache-Control": "no-store"})


async def check(view: View) -> web.StreamResponse:
    """`POST /web/config/check`."""
    _operator(view)
    return await configuration.check_config(view.request)


async def save(view: View) -> web.StreamResponse:
    """`POST /web/config/save`."""
    _operator(view)
    return await configuration.save_config(view.request)


def _operator(view: View) -> None:
    if not view.eyes.operator:
        raise ApiError(404, "there is no such page")


async def _source(view: View) -> dict[str, Any]:
    return configuration.source_json(await configuration.source_now(view.gateway))


def _all(view: View) -> bool:
    return view.params.get("all", "") == "1"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def where(setting: Setting) -> str:
    """Where a value came from, for people."""
    if setting.source == "env":
        return f"environment: {setting.variable}" if setting.variable else "environment"
    return f"file, line {setting.line}" if setting.source == "file" and setting.line else setting.source


PAGE = Page(
    "/web/config",
    "Configuration",
    "config.html",
    load,
    icon="config",
    short="Config",
    fragments=("config-values",),
    operator=True,
)
VALUES = Fragment("config-values", "config_values.html", load_values, operator=True, label="Values in force")
SOURCE = Source("/web/config/source", source)
ACTIONS = (Action("/web/config/check", check), Action("/web/config/save", save))

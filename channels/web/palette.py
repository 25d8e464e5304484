"""What the command box offers: pages, conversations, runs, and the slash commands that its person may use."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from channels.web import agents, conversations, render, words
from channels.web.site import Source, View
from gateway.http.json import answer
from gateway.store.database import Transaction

RUNS = 30


async def offer(view: View) -> web.StreamResponse:
    """`GET /web/palette`."""

    def unit(tx: Transaction) -> dict[str, Any]:
        eyes = view.eyes
        known = [*conversations.own(tx, eyes), *conversations.others(tx, eyes)]
        runs = agents.newest_runs(tx, eyes, RUNS)
        return {
            "conversations": [
                {"title": each.title, "href": f"/web/chat/{render.path_part(each.key)}"} for each in known
            ],
            "runs": [
                {"id": run.id, "number": run.number, "label": run.label, "state": words.word(run), "open": run.open}
                for run in runs
            ],
        }

    found = await view.read(unit)
    return answer({**found, "commands": commands(view)}, headers={**render.SAFE, "Cache-Control": "no-store"})


def commands(view: View) -> list[dict[str, Any]]:
    """The slash commands that he may use."""
    known = sorted(view.gateway.registry.commands.values(), key=lambda command: command.name)
    return [
        {"name": each.name, "usage": each.usage, "help": each.help, "words": list(each.words)}
        for each in known
        if view.eyes.operator or not each.operator
    ]


PALETTE = Source("/web/palette", offer)

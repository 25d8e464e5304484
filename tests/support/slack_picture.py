"""Draws a thread of the stand-in workspace as it is, for the pages that show one.

`python -m tests.support.slack_picture docs/images/slack-thread.svg` plays a story and draws it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from tests.standins.slack.model import Message
from tests.support.model_script import Call, calls, say
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

WIDTH, LEFT, LINE = 760, 64, 22
WRAP = 88
COLOURS = {"ann": "#b45f06", "laneway": "#1264a3"}
BUTTON_COLOURS = {"danger": "#e01e5a", "primary": "#007a5a", "": "#5b5b5b"}
EMOJI = {"white_check_mark": "✅", "eyes": "👀", "warning": "⚠️"}
_BOLD = re.compile(r"\*\*?([^*]+)\*\*?")
CHANGELOGS = ("parser", "server", "client")


def drawing(room: SlackRoom, thread: str) -> str:
    """A thread in #general as an SVG."""
    lines: list[str] = []
    y = 20
    for message in room.ws.thread(GENERAL, thread):
        author = room.ws.users[message.user].name
        y += LINE
        lines.append(
            f'<rect x="16" y="{y - 16}" width="34" height="34" rx="6" fill="{COLOURS.get(author, "#616061")}"/>'
        )
        lines.append(f'<text x="33" y="{y + 7}" class="letter">{escape(author[0].upper())}</text>')
        lines.append(f'<text x="{LEFT}" y="{y}" class="name">{escape(author)}</text>')
        for kind, content in _parts(room, message):
            y += LINE if kind != "buttons" else LINE + 8
            lines += _line(kind, content, y)
            y += 6 if kind == "buttons" else 0
        y += 14
    size = f'width="{WIDTH}" height="{y + 6}" viewBox="0 0 {WIDTH} {y + 6}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{_STYLE}\n' + "\n".join(lines) + "\n</svg>\n"


_STYLE = """<style>
text { font: 15px Lato, "Helvetica Neue", Arial, sans-serif; fill: #1d1c1d }
.name { font-weight: 900 } .letter { fill: #fff; font-weight: 700; text-anchor: middle }
.small { font-size: 12px; fill: #616061 }
.button { font-size: 13px; font-weight: 700; text-anchor: middle } tspan.bold { font-weight: 700 }
</style>
<rect width="100%" height="100%" fill="#ffffff"/>"""


def _parts(room: SlackRoom, message: Message) -> Iterator[tuple[str, Any]]:
    """Lines of text, rows of buttons, small print."""
    if not message.blocks:
        for paragraph in room.ws.view(message).splitlines():
            if re.fullmatch(r"(:\w+: ?)+", paragraph):
                yield "text", " ".join(EMOJI.get(str(name), "") for name in re.findall(r":(\w+):", paragraph))
            else:
                yield from (("text", line) for line in textwrap.wrap(paragraph, WRAP))
    for block in message.blocks:
        if block["type"] == "section":
            yield from (("text", line) for line in textwrap.wrap(block["text"]["text"], WRAP))
        elif block["type"] == "actions":
            yield "buttons", block["elements"]
        elif block["type"] == "context":
            yield "small", " ".join(element["text"] for element in block["elements"])


def _line(kind: str, content: Any, y: int) -> Iterator[str]:
    if kind != "buttons":
        shown = _BOLD.sub(r'<tspan class="bold">\1</tspan>', escape(content, quote=False).replace("&amp;amp;", "&amp;"))
        yield f'<text x="{LEFT}" y="{y}" class="{kind}">{shown}</text>'
        return
    x = LEFT
    for element in content:
        text, colour = element["text"]["text"], BUTTON_COLOURS[element.get("style", "")]
        width = 26 + 8 * len(text)
        yield f'<rect x="{x}" y="{y - 19}" width="{width}" height="27" rx="4" fill="none" stroke="{colour}"/>'
        yield f'<text x="{x + width / 2}" y="{y}" class="button" style="fill: {colour}">{escape(text)}</text>'
        x += width + 10


async def play(room: SlackRoom) -> str:
    """Three sub-agents at work that Ann has asked for, one of them done; returns their thread."""
    spawns = (Call("sessions_spawn", {"task": f"read {name}", "label": f"{name} changelog"}) for name in CHANGELOGS)
    room.p.on(reply=calls(*spawns), role="main", user="ann: Compare", turn_step=1)
    answer = "Three sub-agents are reading. Each reports **here** when it is done."
    room.p.on(reply=say(answer), role="main", user="ann: Compare")
    room.p.on(reply=say("**parser**: two breaking changes since March, both in the tokenizer."), role="main")
    room.p.on(reply=calls(Call("grep", {"pattern": "breaking", "path": "."})), role="child", step=1)
    room.p.on(lambda seen: say("two breaking changes", hold=f"{seen.first_user}"), role="child")
    thread = await room.asks("Compare the changelogs of parser, server and client, one sub-agent each.")
    card = await room.ws.wait_message(r"3 active.*\[Stop\]", thread=thread)
    room.p.model.release("read parser")
    await room.ws.until(lambda: "2 active" in room.ws.view(card), "the card after the first result")
    await room.ws.wait_message("two breaking changes since March", thread=thread)
    asked = room.ws.find(card.channel, thread)
    await room.ws.until(lambda: set(asked.reactions) == {"white_check_mark"}, "the mark of the first turn")
    return thread


async def picture() -> str:
    """Plays the story and draws it."""
    with tempfile.TemporaryDirectory(prefix="laneway-picture-") as folder:
        async with slack_room(Path(folder), clean=False) as room:
            return drawing(room, await play(room))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(picture()), "utf-8")

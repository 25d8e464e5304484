"""A third party's channel: it takes messages over HTTP and posts answers into a file, a line each.

Installed like any plugin, by an entry point in a folder on the path, so that the crash tests have a channel that
really posts: what is marked as being sent when the process dies may have arrived.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from aiohttp import web

from gateway.channel import Capabilities, Channel, Intake, Post
from gateway.http.auth import scope
from gateway.http.keys import GATEWAY
from gateway.plugins import Registry
from gateway.routes import InboundMessage, Route, Sender

NAME = "sink"
POSTS = "posts.jsonl"
"""File in the state folder's parent that gets the posts."""
_METADATA = "Metadata-Version: 2.1\nName: laneway-crash-sink\nVersion: 0\n"


class SinkChannel(Channel):
    """Posts into a file."""

    name: str = NAME
    capabilities: Capabilities = Capabilities()

    async def start(self, intake: Intake) -> None:
        """Nothing to begin: `say` hands in what it receives."""

    async def stop(self) -> None:
        """Nothing to end."""

    async def post(self, post: Post) -> str | None:
        """Appends a line, at once or not at all."""
        line = json.dumps({"id": post.id, "chat": post.route.chat, "text": post.text, "recovered": post.recovered})
        file = os.open(Path(os.environ["LANEWAY_HOME"]).parent / POSTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)
        return f"sink-{post.id}"


@scope("operator")
async def say(request: web.Request) -> web.Response:
    """`POST /api/sink`: a person's message; the same `id` is the same message."""
    body = await request.json()
    accepted = await request.app[GATEWAY].intake.accept(
        InboundMessage(
            Route(NAME, chat=body["key"], thread=body.get("thread")),
            body["key"],
            body["text"],
            Sender(f"{NAME}:person", "person", owner=True),
            f"{NAME}:{body['id']}",
        )
    )
    return web.json_response({"inboxId": accepted.inbox_id, "duplicate": accepted.duplicate}, status=202)


class SinkPlugin:
    """The plugin `crash-sink`."""

    name = "crash-sink"

    def register(self, registry: Registry) -> None:
        """Registers the channel and the page where people speak."""
        channel: Channel = SinkChannel()
        registry.channel(channel)
        registry.routes([web.post("/api/sink", say)])


plugin = SinkPlugin()


def install(folder: Path) -> str:
    """Installs the plugin into a folder, as pip would, and returns the folder for `PYTHONPATH`."""
    info = folder / "laneway_crash_sink-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(_METADATA)
    (info / "entry_points.txt").write_text("[laneway.plugins]\ncrash-sink = tests.crash.sink:plugin\n")
    return str(folder)

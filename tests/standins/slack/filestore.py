"""Where files are: downloads with the bot token, uploads to an address that was given out."""

from __future__ import annotations

import time

from aiohttp import web

from tests.standins.slack.methods.files import WAITING
from tests.standins.slack.workspace import Workspace

_LOGIN = "<!DOCTYPE html><html><head><title>Sign in | Slack</title></head><body>Sign in to your workspace</body></html>"


class FileStore:
    """Serves and takes the contents of files."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws

    async def download(self, request: web.Request) -> web.Response:
        """`url_private`. Without the bot token or its scope Slack doesn't refuse: it shows a page to sign in."""
        file = self._ws.files.get(request.match_info["file"].rpartition("-")[2])
        app = self._ws.app
        allowed = request.headers.get("Authorization") == f"Bearer {app.bot_token}" and "files:read" in app.scopes
        if file is None:
            return web.Response(status=404)
        if not allowed or app.broken:
            self._ws.fault(f"download of {file.name} without the bot token or files:read")
            return web.Response(status=302, headers={"Location": "/login"})
        return web.Response(body=file.content, content_type=file.media_type)

    async def login(self, request: web.Request) -> web.Response:
        """Where a download without a token ends: with status 200."""
        return web.Response(text=_LOGIN, content_type="text/html")

    async def upload(self, request: web.Request) -> web.Response:
        """The content of an announced file."""
        file = self._ws.files.get(request.match_info["file"])
        content = await request.read()
        if file is None or file.created != WAITING:
            return web.Response(status=404, text="file_not_found")
        if len(content) != int(request.match_info["length"]):
            self._ws.fault(
                f"{file.name} was announced with {request.match_info['length']} bytes and has {len(content)}"
            )
            return web.Response(status=400, text="length_mismatch")
        file.content, file.created = content, int(time.time())
        return web.Response(text=f"OK - {len(content)}")

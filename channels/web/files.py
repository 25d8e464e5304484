"""Files of messages, shown again: pictures in the page, everything else to be saved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from channels.web import entries, render
from channels.web.site import Source, View
from gateway import media
from gateway.http.errors import ApiError
from gateway.store import sessions
from gateway.store.database import Transaction

CSP = "default-src 'none'; sandbox"
"""Whatever a file holds, it is no page of ours."""


async def show(view: View) -> web.StreamResponse:
    """`GET /web/files/{inbox}/{index}`: a file of a message that he sees."""

    def unit(tx: Transaction) -> dict[str, Any] | None:
        found = entries.file_of(tx, int(view.need("inbox")), int(view.need("index")))
        session = sessions.find(tx, found[0]) if found else None
        if found is None or session is None or not view.eyes.sees_key(tx, session.key):
            return None
        if session.owned and not view.eyes.operator:
            return None
        return found[1]

    file = await view.read(unit)
    if file is None or not await asyncio.to_thread(Path(file["path"]).is_file):
        raise ApiError(404, "there is no such file")
    return web.FileResponse(file["path"], headers=_headers(file))


def _headers(file: Mapping[str, Any]) -> dict[str, str]:
    picture = file["media_type"] in media.IMAGES
    name = quote(str(file.get("name") or "file"), safe="")
    return {
        **render.SAFE,
        "Content-Security-Policy": CSP,
        "Cache-Control": "private, max-age=3600",
        "Content-Type": file["media_type"] if picture else "application/octet-stream",
        "Content-Disposition": f"{'inline' if picture else 'attachment'}; filename*=UTF-8''{name}",
    }


FILE = Source("/web/files/{inbox:[0-9]{1,18}}/{index:[0-9]{1,3}}", show)

"""`python -m tests.web.tour [FOLDER]`: takes the pictures of the documentation, from a gateway with something going on.

Each page on a desk, and some of them on a phone and in the dark.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.support.browser import DESK, DESK_DARK, PHONE, PHONE_DARK, Look, Stage, chromium, new_context, stage, watch
from tests.web import scene
from tests.web.small import small

FOLDER = Path(__file__).parents[2] / "docs" / "images"
PAGES = ("now", "runs", "jobs", "sessions", "usage", "health", "config")
SHOWN: tuple[tuple[Look, tuple[str, ...]], ...] = ((PHONE, ("run",)), (DESK_DARK, ("run",)))
MORE: tuple[tuple[Look, tuple[str, ...]], ...] = (
    (PHONE, ("chat", "now", "runs", "jobs", "sessions", "session", "usage", "health", "config")),
    (DESK_DARK, ("chat", "now", "runs", "jobs", "usage", "config")),
    (PHONE_DARK, ("now", "run")),
)


async def paths(s: Stage) -> dict[str, str]:
    """Where each page is."""
    with s.site.rows() as rows:
        (run,) = rows.execute("select id from runs where label = 'Who holds the lock'").fetchone()
        (session,) = rows.execute("select id from sessions where key = 'agent:main:main'").fetchone()
    found = {name: f"/web/{name}" for name in PAGES}
    return {"chat": "/web", "run": f"/web/runs/{run}", "session": f"/web/sessions/{session}", **found}


async def take(s: Stage, names: dict[str, str], wanted: tuple[str, ...], folder: Path) -> None:
    """Pictures of some pages in one look."""
    for name in wanted:
        await s.page.goto(f"{s.site.url()}{names[name]}")
        await s.live()
        await s.page.wait_for_timeout(400)
        if wide := await s.too_wide():
            print(f"{name}, {s.look.name}: {wide}", file=sys.stderr)
        kind = "" if s.look is DESK else f"-{s.look.name}"
        empty = await s.context.new_page()
        picture = await small(empty, await s.page.screenshot())
        await empty.close()
        (folder / f"console-{name}{kind}.png").write_bytes(picture)


async def tour(folder: Path, state: Path, every: bool) -> None:
    """All pictures."""
    async with chromium() as browser, stage(state, browser, DESK, config=scene.config) as s:
        await scene.lively(s)
        names = await paths(s)
        await take(s, names, ("chat", *PAGES, "run", "session"), folder)
        for look, wanted in (*SHOWN, *(MORE if every else ())):
            context = await new_context(browser, look)
            for each in await s.context.cookies():
                name, value = each.get("name", ""), each.get("value", "")
                await context.add_cookies([{"name": name, "value": value, "url": s.site.url()}])
            mine, s.page, s.look = (s.page, s.look), await context.new_page(), look
            watch(s, s.page)
            await take(s, names, wanted, folder)
            s.page, s.look = mine
            await context.close()


def main(words: list[str]) -> None:
    """Without a word the pictures of the documentation; with a folder all there are, in that folder."""
    folder = Path(words[0]) if words else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    state = Path(tempfile.gettempdir()) / "laneway"  # it stands in the pictures
    state.mkdir()
    try:
        asyncio.run(tour(folder, state, every=bool(words)))
    finally:
        shutil.rmtree(state)


if __name__ == "__main__":
    main(sys.argv[1:])

"""A real browser on a real gateway: Debian's Chromium, driven by Playwright, beside `laneway start` as a process.

    async with stage(folder, browser, PHONE) as s:
        await s.sign_in()
        await s.say("hello")
        await s.page.wait_for_selector(".entry.answer")

What the page throws, logs as an error or asks of another host is a fault at the end.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

from tests.support.model_server import ScriptedModelServer
from tests.support.process import Life, Site, start

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SHOTS = os.environ.get("LANEWAY_SHOTS")
"""A folder that gets a picture of each page."""
NEEDED = "LANEWAY_NEEDS_CHROMIUM" in os.environ
"""Without a browser the tests fail instead of being left out."""
AXE = Path(__file__).parent.parent / "web" / "vendor" / "axe.min.js"
PATIENCE_MS = 15_000.0
SIDEWAYS = """new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))
    .then(() => [document.scrollingElement,
        ...document.querySelectorAll("main, .drawer, .drawer h2, .column, #thread, .card")]
    .filter((each) => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).visibility !== "hidden")
    .map((each) => `${each.tagName}.${each.className}: ${each.scrollWidth} in ${each.clientWidth}`).join("; "))"""
EXPECTED = re.compile(
    r"Failed to load resource|ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED|NetworkError"
)
"""What a browser logs of a gateway that was killed, of the door's 401, and of a file that was refused."""


@dataclass(frozen=True, slots=True)
class Look:
    """A screen."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    phone: bool = False


DESK = Look("desk", 1280, 800, "light")
DESK_DARK = Look("desk-dark", 1280, 800, "dark")
PHONE = Look("phone", 380, 760, "light", phone=True)
PHONE_DARK = Look("phone-dark", 380, 760, "dark", phone=True)


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """The browser."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Stage:
    """A gateway, its models, and a page."""

    site: Site
    models: ScriptedModelServer
    look: Look
    life: Life
    context: BrowserContext
    page: Page
    faults: list[str] = field(default_factory=list[str])
    elsewhere: list[str] = field(default_factory=list[str])

    async def sign_in(self) -> str:
        """Opens the link that the gateway has printed; returns it."""
        line = await self.life.printed.get()
        link = re.search(r"http\S+#code=\S+", line)
        assert link, line
        await self.page.goto(link[0])
        await self.live()
        return link[0]

    async def live(self) -> None:
        """Waits until the page hears the gateway."""
        await self.page.wait_for_selector('#link[data-state="live"]', state="attached")

    async def say(self, text: str) -> None:
        """Types a message and sends it."""
        await self.page.fill("#text", text)
        await self.page.press("#text", "Enter")

    async def drawer(self, name: str) -> None:
        """On a narrow screen, opens what stands at the side."""
        if self.look.phone and not await self.page.is_visible(f"#{name}.open"):
            await self.page.click(f'[data-drawer="{name}"]')
            await self.page.wait_for_selector(f"#{name}.open")

    async def me(self) -> None:
        """On a narrow screen, opens what concerns the person and this browser."""
        if self.look.phone:
            await self.page.click('[data-drawer="me"]')

    async def kill(self) -> None:
        """SIGKILL for the gateway."""
        self.life.kill()
        await self.life.exited

    async def start_again(self) -> None:
        """A new gateway in its place."""
        self.life = await start(self.site)
        await self.life.ready()

    async def shot(self, name: str) -> None:
        """A picture, if they are wanted; the page never scrolls sideways."""
        assert not (wide := await self.too_wide()), f"{name}: {wide}"
        if SHOTS:
            await self.page.screenshot(path=Path(SHOTS) / f"{name}-{self.look.name}.png")

    async def too_wide(self) -> str:
        """What makes the page scroll sideways; empty if nothing does."""
        return str(await self.page.evaluate(SIDEWAYS))

    async def axe(self, name: str) -> None:
        """Looks for faults of accessibility: nothing serious or worse may be found."""
        await self.page.evaluate(AXE.read_text("utf-8") + ";0")
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)")
        serious = [
            f"{each['id']}: {[node['html'][:120] for node in each['nodes']][:3]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert not serious, "\n".join([name, *serious])

    def check(self) -> None:
        """What went wrong in the page."""
        assert not self.faults, self.faults
        assert not self.elsewhere, self.elsewhere


@asynccontextmanager
async def stage(
    folder: Path,
    browser: Browser,
    look: Look,
    config: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] | None = None,
) -> AsyncGenerator[Stage]:
    """All of it; ended at the end.

    Args:
        folder: for the gateway.
        browser: which.
        look: the screen.
        config: goes over the usual one, section by section; or makes that of the models' address.
    """
    async with ScriptedModelServer() as models:
        more = config(models.base_url) if callable(config) else config or {}
        site = Site(folder, models.base_url).prepare({"gateway": {"port": free_port(), "drainSeconds": 0}, **more})
        life = await start(site)
        await life.ready()
        context = await new_context(browser, look)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        opened = Stage(site, models, look, life, context, page)
        watch(opened, page)
        try:
            yield opened
        finally:
            await context.close()
            await opened.kill()
        opened.check()
        models.assert_done()


async def new_context(browser: Browser, look: Look) -> BrowserContext:
    """A browser that knows nothing yet."""
    return await browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        has_touch=look.phone,
        reduced_motion="reduce",
    )


def watch(opened: Stage, page: Page) -> None:
    """Notes what goes wrong in a page."""

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not EXPECTED.search(message.text):
            opened.faults.append(f"{message.type}: {message.text}")

    def request(asked: Request) -> None:
        if not asked.url.startswith((opened.site.url() if opened.life.greeting.done() else "", "data:")):
            opened.elsewhere.append(asked.url)

    page.on("console", console)
    page.on("pageerror", lambda error: opened.faults.append(str(error)))
    page.on("request", request)


def free_port() -> int:
    """A port that nobody listens on; the gateway comes back on it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def texts(page: Page, selector: str) -> Sequence[str]:
    """What stands in every element of a kind."""
    return [text.strip() for text in await page.locator(selector).all_inner_texts()]

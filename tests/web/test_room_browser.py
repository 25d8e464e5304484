"""Every page with something going on, in a real browser: nobody is shut out of it, and nothing scrolls sideways."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import DESK, PHONE_DARK, Stage, new_context, stage, watch
from tests.web import scene
from tests.web.tour import paths

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("browser"),
    pytest.mark.asyncio(loop_scope="session"),
]
WIDTHS = (320, 380, 640, 641, 768, 920, 1024, 1080, 1081, 1180, 1181, 1280, 1400, 1920)


async def test_every_page_at_every_width(tmp_path: Path, browser: Browser) -> None:
    async with stage(tmp_path, browser, DESK, config=scene.config) as s:
        await scene.lively(s)
        names = {**await paths(s), "signins": "/web/signins", "none": "/web/nothing"}
        for name, path in names.items():
            await s.page.goto(f"{s.site.url()}{path}")
            await s.live()
            await opens_all(s)
            for width in WIDTHS:
                await s.page.set_viewport_size({"width": width, "height": 800})
                assert not (wide := await s.too_wide()), f"{name} at {width}: {wide}"
        await in_the_dark(s, browser, names)
        await edits(s, names["config"])


async def opens_all(s: Stage) -> None:
    """What is folded is looked at as well."""
    await s.page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")


async def in_the_dark(s: Stage, browser: Browser, names: dict[str, str]) -> None:
    """Every page on a desk by day and on a phone by night, with everything unfolded."""
    await s.page.set_viewport_size({"width": DESK.width, "height": DESK.height})
    other = await new_context(browser, PHONE_DARK)
    for each in await s.context.cookies():
        name, value = each.get("name", ""), each.get("value", "")
        await other.add_cookies([{"name": name, "value": value, "url": s.site.url()}])
    phone = await other.new_page()
    watch(s, phone)
    desk = s.page
    for page in (desk, phone):
        s.page = page
        for name, path in names.items():
            await page.goto(f"{s.site.url()}{path}")
            await s.live()
            await opens_all(s)
            await s.axe(name)
    s.page = desk
    await other.close()


async def edits(s: Stage, path: str) -> None:
    """The configuration is changed in the page, while somebody else changes the file."""
    page, file = s.page, s.site.state / "config.json5"
    await page.goto(f"{s.site.url()}{path}")
    text = await page.input_value("#config-text")
    assert "scripted-key" not in text and "•••1•••" in text
    await page.fill("#config-text", text.replace('ask: "always"', 'ask: "sometimes"'))
    await page.click("#config-check")
    await page.wait_for_selector("#config-problems li >> text=tools.exec.ask")
    assert await page.is_hidden("#config-save")
    await page.click("#config-problems button")
    await page.fill("#config-text", text.replace('ask: "always"', 'ask: "off"'))
    await page.click("#config-check")
    await page.wait_for_selector('#config-diff .add >> text=ask: "off"')
    await s.shot("diff")
    await s.axe("diff")
    await page.click("#config-save")
    await page.wait_for_selector("text=Saved, and in force.")
    await page.wait_for_selector("#f-config-values tr:has-text('tools.exec.ask') >> text=off")
    kept = file.read_text("utf-8")
    assert "// The house's own models" in kept and "scripted-key" in kept and "•••" not in kept
    file.write_text("// somebody else\n" + kept, "utf-8")
    await page.fill("#config-text", text)
    await page.click("#config-check")
    await page.wait_for_selector("#config-say >> text=has changed")
    await page.click("#config-read")
    await page.click("dialog >> text=Yes")
    await expect(page.locator("#config-text")).to_have_value(re.compile("^// somebody else"))

"""What tests of the page share: HTTP without a cookie jar of its own, and a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import CHROMIUM, NEEDED, chromium


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Requests whose cookies are the test's own."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a worker."""
    if not (CHROMIUM.exists() or NEEDED):
        pytest.skip("Debian's package `chromium` isn't installed")
    async with chromium() as opened:
        yield opened

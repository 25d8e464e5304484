"""One stage for all crash tests of a worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.crash.stage import Stage, stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crash(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    """A model server and a nursery, in a folder of their own."""
    async with stage(tmp_path_factory.mktemp("crash")) as opened:
        yield opened

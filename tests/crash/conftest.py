"""One stage for all crash tests of a worker, and the marker of those that take minutes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.crash.stage import Stage, stage


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", "long: takes minutes; runs only with `-m long`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes minutes, unless it is asked for."""
    if not config.getoption("markexpr"):
        items[:] = [item for item in items if "long" not in item.keywords]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crash(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    """A model server and a nursery, in a folder of their own."""
    async with stage(tmp_path_factory.mktemp("crash")) as opened:
        yield opened

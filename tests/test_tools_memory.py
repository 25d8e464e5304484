"""The memory tools over a workspace that changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tools import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "state")
    (made.workspace / "MEMORY.md").write_text("# People\nAda likes green tea.\n\n# Places\nThe office is in Lübeck.\n")
    (made.workspace / "memory").mkdir()
    (made.workspace / "memory" / "2026-11-20.md").write_text("Deployed the bakery site.\nAda was happy.\n")
    (made.workspace / "notes.md").write_text("Ada's secret notes")
    return made


async def test_search_finds_places_and_get_reads_them(world: World) -> None:
    found = (await world.call("memory_search", query="what does ada like?")).text
    assert found.startswith("MEMORY.md:1\n# People\nAda likes green tea.")
    assert "memory/2026-11-20.md:1" in found and "notes" not in found
    assert "Lübeck" in (await world.call("memory_search", query="LUBECK offices")).text
    assert (await world.call("memory_search", query="bakeries")).text.startswith("memory/2026-11-20.md:1")
    assert (await world.call("memory_search", query="zebra")).text == "nothing found"
    read = await world.call("memory_get", path="MEMORY.md", line=4, lines=1)
    assert read.text == "# Places"
    assert (await world.call("memory_get", path="memory/2026-11-20.md")).text.endswith("Ada was happy.")


async def test_the_index_follows_the_files(world: World) -> None:
    await world.call("memory_search", query="ada")
    (world.workspace / "memory" / "new.md").write_text("zebra one")
    assert "memory/new.md:1" in (await world.call("memory_search", query="zebra")).text
    (world.workspace / "memory" / "new.md").write_text("lion")
    assert (await world.call("memory_search", query="zebra")).text == "nothing found"
    (world.workspace / "memory" / "new.md").unlink()
    assert (await world.call("memory_search", query="lion")).text == "nothing found"


async def test_only_memory_is_read(world: World, tmp_path: Path) -> None:
    (tmp_path / "outside.md").write_text("zebra")
    (world.workspace / "memory" / "link.md").symlink_to(tmp_path / "outside.md")
    for path in (
        "notes.md",
        "../token",
        "memory",
        "memory/link.md",
        "memory/../notes.md",
        "/etc/passwd",
        "memory/no.md",
    ):
        assert (await world.call("memory_get", path=path)).error, path
    assert (await world.call("memory_search", query="zebra")).text == "nothing found"


@pytest.mark.parametrize("query", ['"', "a OR b*", "NEAR(", "col:x", "-", "'; drop table chunks", "^", "\0a"])
async def test_no_query_is_syntax(world: World, query: str) -> None:
    await world.call("memory_search", query=query)
    assert "green tea" in (await world.call("memory_search", query="tea")).text

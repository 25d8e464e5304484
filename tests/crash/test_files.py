"""Transcript files that a crash has lost are written the same again at the start (spec/subagents.md 22)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.checks import Left, faults, read
from tests.crash.plots import DAY
from tests.crash.scene import Scene
from tests.crash.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


def files(left: Left) -> dict[Path, bytes]:
    """The transcripts of runs whose sessions are still there."""
    found = [Path(run["transcript_path"]) for run in left.runs if run["archived_at"] is None]
    return {file: file.read_bytes() for file in found}


async def test_22_lost_transcript_files_are_written_again(crash: Stage) -> None:
    """One is gone, one is cut off in the middle of a line, one is empty."""
    scene = Scene(crash.site(), crash.start, DAY.act)
    await scene.play()
    assert faults(scene, DAY) == []
    before = files(read(scene))
    gone, cut, empty, *_ = before
    gone.unlink()
    cut.write_bytes(before[cut][:-7])
    empty.write_bytes(b"")
    life = await crash.start(scene.site)
    await life.ready()
    assert await life.stop() == 0
    assert files(read(scene)) == before
    assert faults(scene, DAY) == []

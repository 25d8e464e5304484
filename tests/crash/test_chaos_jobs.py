"""Jobs under fire for a minute on each database (`make fire`); `make chaos-jobs` goes on for thousands of jobs."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.crash.chaos_jobs import Kind, chaos

SEED = os.environ.get("LANEWAY_SEED")
"""Read before the tests' own environment takes its place."""
SECONDS = 60.0
JOBS = 5_000
"""More than can be done in that time."""


@pytest.mark.fire
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_jobs_survive_whoever_works_on_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: Kind
) -> None:
    """Issue, "How it is shown": 0 lost, 0 finished twice, effects once per successful attempt, caps, announcements."""
    seed = int(SEED or secrets.randbelow(10**6))
    report = await chaos(tmp_path, kind, JOBS, seed, SECONDS)
    with capsys.disabled():
        print(f"\nchaos of jobs on {kind}, LANEWAY_SEED={seed}: {report.text()}")
    assert not report.wrong, f"LANEWAY_SEED={seed}: {report.text()}"
    assert report.kills >= SECONDS / 10  # a gateway that is suspended or by itself at work is spared

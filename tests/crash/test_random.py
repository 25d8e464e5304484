"""Random kills of `laneway start` itself: few here, more with `-m long`, any number with `make chaos`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.crash.chaos import chaos

FEW = 8
MANY = 60
SEED = os.environ.get("LANEWAY_SEED")
"""Of the moments; read before the tests' own environment takes its place."""


@pytest.mark.timeout(300)
async def test_few_random_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each life is a whole `laneway start`, killed at a random moment; the seed is printed."""
    await survive(tmp_path, capsys, FEW, forked=False)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_many_random_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as the issue asks of a change."""
    await survive(tmp_path, capsys, MANY, forked=True)


async def survive(folder: Path, capsys: pytest.CaptureFixture[str], kills: int, *, forked: bool) -> None:
    """Kills so often; `LANEWAY_SEED` gives a seed, else it is a new one."""
    seed = int(SEED or secrets.randbelow(10**6))
    with capsys.disabled():
        print(f"\n{kills} random kills, LANEWAY_SEED={seed}")
    done, wrong = await chaos(folder, kills, seed, forked=forked)
    assert not wrong, f"LANEWAY_SEED={seed}: {len(wrong)} scenes weren't survived:\n" + "\n".join(wrong)
    assert done >= kills

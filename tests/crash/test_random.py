"""Random kills of `laneway start` itself: few here, more with `LANEWAY_CHAOS=60`, any number with `make chaos`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.crash.chaos import chaos

KILLS = int(os.environ.get("LANEWAY_CHAOS", "8"))
EXECUTED = 8
"""Up to so many are worth the imports of a whole start each; more are forked."""


@pytest.mark.timeout(120 + 10 * KILLS)
async def test_random_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed at random moments, with a printed seed (`LANEWAY_SEED` gives one)."""
    seed = int(os.environ.get("LANEWAY_SEED") or secrets.randbelow(10**6))
    with capsys.disabled():
        print(f"\n{KILLS} random kills, LANEWAY_SEED={seed}")
    done, wrong = await chaos(tmp_path, KILLS, seed, forked=KILLS > EXECUTED)
    assert not wrong, f"LANEWAY_SEED={seed}: {len(wrong)} scenes weren't survived:\n" + "\n".join(wrong)
    assert done >= KILLS

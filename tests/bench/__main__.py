"""`python -m tests.bench [NAME …]`: measures a real gateway process and prints a table.

Names choose parts: startup, sdk, latency, fanout, queued, isolation, console, slack, telegram, litellm, jobs, postgres.
Exit code 1 if a target isn't met.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import channels, console, fanout, footprint, jobs, latency, queues
from tests.bench.postgres import postgres
from tests.bench.report import Measurement, table

Part = Callable[[Path], Awaitable[list[Measurement]]]
PARTS: Mapping[str, Part] = {
    "startup": footprint.startup,
    "sdk": footprint.with_sdk,
    "latency": latency.latencies,
    "fanout": fanout.fanout,
    "queued": queues.queued,
    "isolation": queues.isolation,
    "console": console.console,
    "slack": channels.of("slack"),
    "telegram": channels.of("telegram"),
    "litellm": footprint.with_litellm,
    "jobs": jobs.jobs,
    "postgres": postgres,
}


async def measure(names: Sequence[str]) -> list[Measurement]:
    """Runs parts one after the other, each on a folder of its own."""
    found: list[Measurement] = []
    for name in names or PARTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="laneway-bench-") as folder:
            found += await PARTS[name](Path(folder))
    return found


def main(names: Sequence[str]) -> int:
    """Prints the table; returns the exit code."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    gc.disable()  # the clock and the stand-ins live here: they must not stop for 0.1 s
    found = asyncio.run(measure(names))
    print(table(found))
    return 0 if all(each.met for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

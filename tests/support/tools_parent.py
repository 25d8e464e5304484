"""A process that runs one command through the `exec` tool and waits to be killed: `… STATE COMMAND`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.tools.processes import StoreLedger
from tests.support.tools import World, open_database


async def main(state: Path, command: str) -> None:
    world = World(state, {"tools": {"exec": {"ask": "off", "sandbox": "off"}}})
    database = open_database(state)
    ctx = world.context(processes=StoreLedger(database, "s1"))
    result = await world.call("exec", ctx, command=command)
    sys.stdout.write(result.text)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

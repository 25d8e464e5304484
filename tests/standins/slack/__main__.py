"""The stand-in as a process: prints its base URL, then serves until it is killed.

python -m tests.standins.slack --port 0 --log calls.jsonl --options '{"limits": true}'
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any, TextIO, cast

from tests.standins.slack.options import Options
from tests.standins.slack.server import SlackWorkspace


def _options(text: str) -> Options:
    given = cast("dict[str, Any]", json.loads(text))
    lists: dict[str, Any] = {
        name: tuple(cast("list[Any]", value)) for name, value in given.items() if isinstance(value, list)
    }
    return Options(**(given | lists))


async def _serve(port: int, options: Options, log: TextIO | None) -> None:
    workspace = SlackWorkspace(options, log=log)
    await workspace.start(port)
    sys.stdout.write(workspace.base_url + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="JSONL of calls and outcomes, appended")
    parser.add_argument("--options", type=_options, default=Options(), help="fields of Options as JSON")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(arguments.log.open("a")) if arguments.log else None
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(arguments.port, arguments.options, log))


if __name__ == "__main__":
    main()

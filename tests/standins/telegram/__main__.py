"""The stand-in as a process: `python -m tests.standins.telegram --port 0 --log calls.jsonl`.

It prints its base URL first, then serves until it is killed. `POST /_admin/<operation>` with a JSON object of
arguments does what the driver does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

from tests.standins.telegram.standin import TOKEN, TelegramStandIn


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="JSONL of calls and faults, appended")
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--username", default="laneway_bot")
    parser.add_argument("--no-privacy", action="store_true", help="the bot reads all messages of groups")
    parser.add_argument("--topics", action="store_true", help="forum topic mode in private chats")
    return parser.parse_args()


async def _serve(options: argparse.Namespace, standin: TelegramStandIn) -> None:
    await standin.start(options.port)
    sys.stdout.write(standin.base_url + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Serves until it is killed."""
    options = _arguments()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(options.log.open("a")) if options.log else None
        standin = TelegramStandIn(
            token=options.token,
            username=options.username,
            privacy=not options.no_privacy,
            topics=options.topics,
            log=log,
        )
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(options, standin))


if __name__ == "__main__":
    main()

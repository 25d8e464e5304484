"""`laneway worker`: a worker in the foreground. Imports the gateway and argparse, nothing else."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from gateway.cli.errors import exit_code
from gateway.cli.logging import LEVELS, configure
from gateway.config import ConfigError
from gateway.config.paths import Paths
from gateway.plugins import PluginError
from gateway.worker import EXPECTED as REFUSALS
from gateway.worker import WorkOptions, serve_worker

EXPECTED = (*REFUSALS, ConfigError, PluginError, OSError)
DEFAULT_CONCURRENCY = 8


def main(arguments: Sequence[str]) -> int:
    """Runs the worker until it is stopped; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure(options.log_level)
    work = WorkOptions(
        paths=Paths.from_env(os.environ),
        lanes=tuple(dict.fromkeys(options.lane)),
        concurrency=options.concurrency,
        config_path=options.config,
        environ=dict(os.environ),
        announce=lambda line: print(line, flush=True),
    )
    return exit_code(lambda: asyncio.run(serve_worker(work)), EXPECTED)


def _parser() -> argparse.ArgumentParser:
    level = os.environ.get("LANEWAY_LOG", "").lower()
    parser = argparse.ArgumentParser(
        prog="laneway",
        description="Works on the sessions of some lanes, beside the gateway on the same PostgreSQL database, until it "
        "gets SIGTERM or Ctrl-C.",
        usage="laneway worker --lane NAME [--lane NAME …] [--concurrency N] [--config FILE] [--log-level LEVEL]",
    )
    parser.add_argument("worker", choices=["worker"], help=argparse.SUPPRESS)
    parser.add_argument("--lane", action="append", required=True, metavar="NAME", help="a lane to work on: subagent, …")
    parser.add_argument(
        "--concurrency",
        type=_count,
        default=DEFAULT_CONCURRENCY,
        metavar="N",
        help=f"how many sessions at once in this process (default {DEFAULT_CONCURRENCY}); a lane's cap is for all",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (LANEWAY_CONFIG; else config.json5)")
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default=level if level in LEVELS else "warning",
        metavar="LEVEL",
        help=f"{', '.join(LEVELS)} (LANEWAY_LOG; default warning)",
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("it must be 1 to 1000")
    return number

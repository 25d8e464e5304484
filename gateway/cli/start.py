"""`laneway start`: the gateway in the foreground. Imports the gateway and argparse, nothing else."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from gateway.app import ServeOptions, serve
from gateway.cli.errors import exit_code
from gateway.cli.logging import LEVELS, configure, level_from_environment
from gateway.config import ConfigError
from gateway.config.paths import Paths
from gateway.http.server import ListenError
from gateway.plugins import PluginError
from gateway.store.database import StoreError
from gateway.store.lock import LockHeld

EXPECTED = (ConfigError, ListenError, LockHeld, PluginError, StoreError, OSError)
"""Reasons not to start whose text is for a person."""


def main(arguments: Sequence[str]) -> int:
    """Runs the gateway until it is stopped; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure(options.log_level)
    serve_options = ServeOptions(
        paths=Paths.from_env(os.environ),
        config_path=options.config,
        environ=dict(os.environ),
        announce=lambda line: print(line, flush=True),
    )
    return exit_code(lambda: asyncio.run(serve(serve_options)), EXPECTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="laneway",
        description="Starts the gateway and runs it in the foreground until it gets SIGTERM or Ctrl-C.",
        usage="laneway start [--config FILE] [--log-level LEVEL]",
    )
    parser.add_argument("start", choices=["start"], help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (LANEWAY_CONFIG; else config.json5)")
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default=level_from_environment(),
        metavar="LEVEL",
        help=f"{', '.join(LEVELS)} (LANEWAY_LOG; else gateway.log.level)",
    )
    return parser

"""The `laneway` command: decides between the gateway itself and everything else.

`laneway start` must be ready fast and small, so that it is recognised before typer or rich are imported; both never
enter the gateway's process. All other commands are in `app`.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from gateway.cli import errors
from gateway.cli.words import command_of


def main() -> None:
    """The entry point; ends the process with 0, 1 (error), 2 (usage) or 3 (timeout)."""
    errors.install()
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    if (command := command_of(arguments)) in ("start", "worker"):
        return _serve(arguments, worker=command == "worker")
    from gateway.cli import app  # lazy: the gateway's process never imports typer

    return app.main(arguments)


def _serve(arguments: Sequence[str], *, worker: bool) -> int:
    # Start-up is nothing but imports, and all they make stays: the collector would search it in vain, for 0.1 s.
    gc.disable()
    if worker:
        from gateway.cli.worker import main  # lazy: other commands need no gateway
    else:
        from gateway.cli.start import main  # lazy: as above

    gc.freeze()
    gc.enable()
    return main(arguments)

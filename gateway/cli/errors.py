"""The last line of defence: whatever goes wrong, a person gets a sentence and not a traceback.

Errors that were written for people are shown as they are. Anything else is a fault of ours: its traceback goes to
`crash.log` in the state folder and one line says so.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

from gateway.config.paths import Paths

CRASH_LOG = "crash.log"


def install() -> None:
    """Reports uncaught errors of the main thread and of all others this way."""
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def exit_code(work: Callable[[], int], expected: tuple[type[Exception], ...]) -> int:
    """Runs `work`; an expected error becomes one line on stderr and its exit code (1 unless it has its own)."""
    try:
        return work()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as with `laneway … | head`; stdout must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except expected as error:
        print(f"laneway: {error}", file=sys.stderr)
        return int(getattr(error, "code", 1))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = str(error) or kind.__name__
    where = _keep("".join(traceback.format_exception(kind, error, trace)))
    print(f"laneway: something went wrong that shouldn't have: {kind.__name__}: {text[:300]}", file=sys.stderr)
    print(f"laneway: {where}; your data is as it was. `laneway doctor` may say more.", file=sys.stderr)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _keep(trace: str) -> str:
    file = Paths.from_env(os.environ).state / CRASH_LOG
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as log:
            log.write(f"--- {datetime.now(UTC).isoformat(timespec='seconds')} {' '.join(sys.argv[:2])}\n{trace}\n")
    except OSError as error:
        return f"the details could not be written to {file} ({error.strerror})"
    return f"the details are in {file}"

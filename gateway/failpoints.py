"""Places where a test may kill the process: every commit and every effect.

`LANEWAY_FAILPOINT=name:n` kills this process with SIGKILL the n-th time that `name` (`before:reply`) is reached,
without `:n` the first time.
`LANEWAY_FAILPOINT_LOG=file` appends the name of every point as it is reached, so that a test knows which there are.
With neither variable set a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


class _Failpoints:
    def __init__(self, spec: str, log: str) -> None:
        # Names hold a colon themselves.
        name, _, count = spec.rpartition(":")
        self.name, times = (name, int(count)) if count.isdecimal() else (spec, 1)
        self.left = times if spec else 0
        self.log = Path(log) if log else None
        self.active = bool(spec or log)

    def hit(self, name: str) -> None:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(name + "\n")
        if self.left and name == self.name:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)


_points = _Failpoints(os.environ.get("LANEWAY_FAILPOINT", ""), os.environ.get("LANEWAY_FAILPOINT_LOG", ""))


def hit(name: str) -> None:
    """Dies here if a test asked for it."""
    if _points.active:
        _points.hit(name)

"""The small parent of every command: it starts the command only when told to, and leaves nothing of it behind.

Executed by path in an interpreter of its own (standard library only). It leads the process group that the gateway
has recorded. Its control pipe closes when the gateway lets go of it or dies, however it dies; then, and when the
command has ended, everything that came from the command is killed, also what has left the group.

Usage: python shim.py CONTROL_FD FOLDER_FD PROGRAM [ARGUMENT …]
Exits as the command did; 128 + n if a signal ended it, 126 or 127 if it could not be started.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SWEEPS = 400
# The gateway and the command may signal the whole group; who sees to the rest must outlive that.
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def main(arguments: list[str]) -> int:
    """Waits for the word, runs the command, cleans up."""
    control, folder = int(arguments[0]), int(arguments[1])
    for descriptor in (control, folder):
        os.set_inheritable(descriptor, False)
    if os.read(control, 1) != b"g":
        return 125
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake, poke = os.pipe()
    os.set_blocking(poke, False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    signal.set_wakeup_fd(poke)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    me = os.getpid()
    child = os.fork()
    if child == 0:
        _become(me, folder, arguments[2:])
    os.close(folder)
    for descriptor in (1, 2):  # the command has its own; ours would keep the pipes open
        os.close(descriptor)
    code = _wait(child, control, wake)
    _kill_all()
    return code


def _become(parent: int, folder: int, command: list[str]) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above, and nobody will be told
        os._exit(125)
    signal.set_wakeup_fd(-1)
    # Python ignores the last two, and what is ignored stays so in the command.
    for number in (*_IGNORED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.fchdir(folder)
        os.execvp(command[0], command)  # noqa: S606 - this is what it is for
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _wait(child: int, control: int, wake: int) -> int:
    """The child's code once it has ended; 125 if the gateway has let go before."""
    while True:
        ready, _, _ = select.select([control, wake], [], [])
        if control in ready:
            return 125
        os.read(wake, 4096)
        for pid, status in _ended():
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _kill_all() -> None:
    """Kills all descendants and members of the group, until there are none."""
    for _ in range(_SWEEPS):
        found = _others()
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for _pid, _status in _ended():
            pass
        if not found:
            return
        time.sleep(0.002)  # a killed process takes a moment, and then leaves us its own children


def _others() -> list[int]:
    """Our children; orphans below them become ours in turn."""
    try:
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return _listed()


def _listed() -> list[int]:
    """The same from `ps`, with the members of the group, where the kernel doesn't hand orphans to us."""
    # Not needed on Linux, where every command would pay for loading it.
    import subprocess

    me = os.getpid()
    table = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid=,comm="], capture_output=True, text=True, check=False)  # noqa: S607 - its place differs
    rows = [line.split(None, 3) for line in table.stdout.splitlines()]
    return [
        int(row[0]) for row in rows if int(row[0]) != me and me in (int(row[1]), int(row[2])) and row[3].strip() != "ps"
    ]


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))

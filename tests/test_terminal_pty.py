"""The interactive chat on a real pseudo-terminal: what a person sees, the keys, and a process that dies."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.laneway import COMMAND, PATIENCE_SECONDS, Home
from tests.support.screen import Screen

COLUMNS, ROWS = 120, 40
ENTER, CTRL_C, CTRL_D, ESC = "\r", "\x03", "\x04", "\x1b"


class Window:
    """A terminal window with a chat in it."""

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self._screen = Screen(COLUMNS, ROWS, self.type)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._seen = (0, 0)

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._keyboard, keys.encode())

    def see(self, *texts: str) -> str:
        """Waits until these are to be seen below what was seen last, in this order; returns what is there by then."""
        end = self.glimpse(*texts)
        below = self.below
        row = below.count("\n", 0, end)
        self._seen = (self._seen[0] + row, end - below.rfind("\n", 0, end) - 1)
        return below

    def glimpse(self, *texts: str) -> int:
        """The same for what is shown for a while only: what follows may stand in its place."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (end := _in_order(self.below, texts)) is None:
            assert time.monotonic() < deadline, f"not seen: {texts}\n{self.below}"
            self._read()
        return end

    def ready(self) -> None:
        """Waits for the greeting and the first prompt."""
        self.see("/help lists commands")
        self.glimpse("\n❯")

    def left(self) -> int:
        """Waits for the end of the chat; returns its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.below
            self._read()
        self._read()
        return self.process.returncode

    def leave(self) -> int:
        """Presses Ctrl-D."""
        self.type(CTRL_D)
        return self.left()

    @property
    def flags(self) -> int:
        """How the terminal treats what is typed (`c_lflag`)."""
        return int(termios.tcgetattr(self._keyboard)[3])

    def taken(self) -> None:
        """Waits until the chat has taken the keyboard."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.flags & termios.ECHO:
            assert time.monotonic() < deadline, self.below
            self._read()

    @property
    def below(self) -> str:
        """The screen below what was seen last."""
        row, column = self._seen
        first, *others = self._screen.lines[row:] or [""]
        return "\n".join([first.ljust(column)[column:] if row else first, *others])

    def _read(self) -> None:
        if select.select([self._keyboard], [], [], 0.2)[0]:
            try:
                self._screen.feed(self._decoder.decode(os.read(self._keyboard, 65_536)))
            except OSError:
                return  # the other side is closed


def _in_order(text: str, wanted: tuple[str, ...]) -> int | None:
    end = 0
    for each in wanted:
        place = text.find(each, end)
        if place < 0:
            return None
        end = place + len(each)
    return end


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path, {"TERM": "xterm-256color"})
    home.run("init")
    return home


@contextmanager
def chat(home: Home) -> Generator[Window]:
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*COMMAND, "chat"], stdin=inner, stdout=inner, stderr=inner, env=home.environ(), cwd=home.folder
    )
    os.close(inner)
    try:
        yield Window(process, outer)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_SECONDS)
        os.close(outer)


def gateway_pid(home: Home) -> int:
    return int(json.loads((home.state / "gateway.json").read_text())["pid"])


def test_a_conversation(home: Home) -> None:
    with chat(home) as window:
        window.see("Laneway 0.1.0 · demo/offline · agent:main:main")
        window.ready()
        window.type("hello" + ENTER)
        window.see("❯ hello", "stand-in", "how is it going?")
        window.type("/help" + ENTER)
        window.see("Commands:", "/subagents")
        assert window.leave() == 0
        assert "Traceback" not in window.below
    assert not (home.state / "gateway.json").exists()
    assert "hello" in (home.state / "history").read_text()
    assert oct((home.state / "history").stat().st_mode)[-3:] == "600"


def test_what_is_typed_before_the_first_prompt_is_sent(home: Home) -> None:
    with chat(home) as window:
        window.type("hello" + ENTER)  # the terminal echoes it and makes a line's end of Enter
        window.taken()
        window.type("/help" + ENTER)
        window.see("/help lists commands", "❯ hello", "❯ /help", "Commands:")
        window.see("how is it going?")
        window.type("what can you do?" + ENTER + "/usage" + ENTER + CTRL_D)
        assert window.left() == 0
        assert window.below.count("what can you do?") == window.below.count("/usage") == 1
    with home.gateway():
        assert home.run("chat", "-m", "thanks", "--wait").code == 0
        shown = [json.loads(line) for line in home.run("sessions", "export").out.splitlines()]
    said = [message["text"] for message in shown if message["role"] == "user"]
    assert said == ["hello", "what can you do?", "thanks"]


@pytest.fixture
def interruptible() -> Generator[None]:
    """Tests that a shell runs in the background ignore SIGINT, and so would every program that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_terminal_is_as_before_when_a_chat_is_left(home: Home) -> None:
    with chat(home) as window:
        before = window.flags
        window.type(CTRL_D)
        assert window.left() == 0
        assert window.flags == before
    with chat(home) as window:
        window.taken()
        window.process.send_signal(signal.SIGINT)
        assert window.left() == 130
        assert window.flags == before


def test_ctrl_c_stops_the_turn_and_a_second_one_leaves(home: Home) -> None:
    home.env["LANEWAY_DEMO_DELAY"] = "1"
    with chat(home) as window:
        window.ready()
        window.type("list the Markdown files" + ENTER)
        window.see("❯ list the Markdown files")
        window.glimpse("First")
        window.type(CTRL_C)
        window.see("Stopping the turn", "Turn stopped")
        time.sleep(2.1)  # the second press must come later than what counts as twice
        window.type(CTRL_C)
        window.see("Ctrl-C again leaves")
        window.type(CTRL_C)
        assert window.left() == 0


def test_several_lines_are_one_message(home: Home) -> None:
    with chat(home) as window:
        window.ready()
        window.type("first" + ESC + ENTER + "second" + ESC + "[200~\nthird\nfourth" + ESC + "[201~" + ENTER)
        window.see("❯ first", "stand-in")
        shown = json.loads(home.run("sessions", "export").out.splitlines()[0])
        assert shown["text"] == "first\nsecond\nthird\nfourth"


def test_sub_agents_have_live_lines_and_go_on_after_a_kill(home: Home) -> None:
    home.env["LANEWAY_DEMO_DELAY"] = "0.3"
    with chat(home) as window:
        window.ready()
        window.type("spawn two sub-agents: one to count the Markdown files and another to list the headings" + ENTER)
        window.glimpse("Count the Markdown files · ", "List the headings · ")
        window.process.send_signal(signal.SIGKILL)
        window.process.wait(PATIENCE_SECONDS)
    home.env["LANEWAY_DEMO_DELAY"] = "0"
    with chat(home) as window:
        window.see("/help lists commands")
        text = window.see("completed", "completed") + window.see("Markdown files")
        assert "Traceback" not in text
        assert window.leave() == 0
    with home.gateway():
        runs = home.run("subagents", "list", "--json").json["runs"]
        assert [run["outcome"] for run in runs] == ["ok", "ok"]


def test_another_window_sees_the_same_and_takes_over(home: Home) -> None:
    with chat(home) as first:
        first.ready()
        with chat(home) as second:
            second.ready()
            assert gateway_pid(home) == first.process.pid
            first.type("hello" + ENTER)
            second.see("(from another window) hello", "stand-in")
            first.see("stand-in")
            first.process.send_signal(signal.SIGKILL)
            second.see("this chat runs it now")
            assert gateway_pid(home) == second.process.pid
            second.type("what can you do?" + ENTER)
            second.see("❯ what can you do?", "sub-agents")


def test_a_chat_in_a_running_gateway_leaves_it_running(home: Home) -> None:
    home.env["LANEWAY_DEMO_DELAY"] = "0.5"
    with home.gateway() as gateway:
        with chat(home) as window:
            window.ready()
            window.type("spawn a sub-agent to count the Markdown files" + ENTER)
            window.glimpse("Count the Markdown files · ")
            window.type(CTRL_D)
            window.see(f"1 sub-agent goes on in the gateway (process {gateway.pid})")
            assert window.left() == 0
        assert home.run("status", "--json").json["pid"] == gateway.pid


def test_what_was_said_meanwhile_is_shown_on_return(home: Home) -> None:
    with home.gateway():
        with chat(home) as window:
            window.ready()
            window.type("hello" + ENTER)
            window.see("how is it going?")
            assert window.leave() == 0
        assert home.run("chat", "-m", "what can you do?").code == 0
        with chat(home) as window:
            text = window.see("While you were away:", "what can you do?", "sub-agents")
            assert "hello" not in text.split("While you were away")[1].split("what can")[0]


def test_it_says_who_holds_the_state_folder_in_the_way(home: Home) -> None:
    home.state.joinpath("gateway.lock").touch()
    holder = os.open(home.state / "gateway.lock", os.O_RDWR)
    os.write(holder, b'{"pid": 4242}')
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        done = home.run("chat", "-m", "hello")
    finally:
        os.close(holder)
    assert done.code == 1
    assert "process 4242 holds" in done.err

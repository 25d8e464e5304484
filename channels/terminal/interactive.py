"""The chat on a real terminal: answers scroll above, the input stands below, live lines under it.

prompt_toolkit owns the screen's bottom (input, the answer's open block, the toolbar); what is finished is printed
above it with rich. All printing goes through one queue, so that lines never mix and always keep their order.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import in_terminal
from prompt_toolkit.filters import Condition, to_filter
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples, to_formatted_text
from prompt_toolkit.history import FileHistory
from prompt_toolkit.layout import BufferControl
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from channels.terminal import keys, render, texts, toolbar
from channels.terminal.chat import Chat
from channels.terminal.completion import ChatCompleter, model_names
from channels.terminal.keyboard import Keyboard
from gateway.cli.context import FAILED, OK, CliContext
from gateway.cli.format import clean
from gateway.client.records import Run

TWICE_SECONDS = 2.0
"""Within this a second Ctrl-C leaves."""
OPEN_BLOCK_LINES = 16
TOOLBAR_SHARE = 3
"""The sub-agents' lines take at most this part (1/n) of the screen."""


class TerminalScreen:
    """Prints what is finished. One task does all of it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.redraw: Callable[[], None] = lambda: None
        self._queue: asyncio.Queue[Callable[[], None]] = asyncio.Queue()

    def user(self, text: str, *, elsewhere: bool) -> None:
        """See `Screen.user`."""
        mark = "❯ (from another window) " if elsewhere else "❯ "
        self._print(Padding(Text.assemble((mark, "bold cyan"), (clean(text), "bold")), (1, 0, 0, 0)))

    def answer(self, markdown: str, *, begins: bool) -> None:
        """See `Screen.answer`."""
        del begins
        self._print(Text.from_ansi("\n" + render.to_ansi(markdown, self.console)))

    def notice(self, text: str, *, loud: bool = False) -> None:
        """See `Screen.notice`."""
        self._print(Padding(render.notice(clean(text), loud=loud), (1, 0, 0, 0) if loud else 0))

    def run_created(self, run: Run) -> None:
        """The live line shows it."""

    def changed(self) -> None:
        """See `Screen.changed`."""
        self.redraw()

    async def print_all(self) -> None:
        """Prints what is queued, for ever."""
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            async with in_terminal():
                for write in batch:
                    write()
            for _ in batch:
                self._queue.task_done()

    async def flushed(self) -> None:
        """Waits until everything is printed."""
        await self._queue.join()

    def _print(self, renderable: Padding | Text) -> None:
        self._queue.put_nowait(partial(self.console.print, renderable))


class Interactive:
    """The whole of an interactive chat."""

    def __init__(self, context: CliContext, session_key: str) -> None:
        self._screen = TerminalScreen(Console(highlight=False, theme=render.THEME))
        self._chat = Chat(context, session_key, self._screen)
        self._keyboard = Keyboard(sys.stdin)
        self._session = _prompt_session(context.paths.history, self._keyboard)
        self._models = model_names(context.config())
        self._session.key_bindings = keys.bindings(self._interrupt, self._leave)
        self._last_interrupt = -TWICE_SECONDS
        self._wake = asyncio.Event()
        self._helpers: set[asyncio.Task[None]] = set()
        self._screen.redraw = self._redraw

    async def run(self) -> int:
        """Runs the chat until it is left; returns the exit code."""
        for name in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(name, self._leave)
        self._help(self._screen.print_all())
        with self._keyboard.held(), patch_stdout(raw=True):
            try:
                await self._chat.start()
                self._greet()
                with self._keyboard.signals_as_keys():
                    return await self._converse()
            finally:
                await self._close()

    async def _converse(self) -> int:
        self._help(self._animate())
        typing = asyncio.create_task(self._read_all(), name="chat:input")
        failing = asyncio.create_task(self._chat.failure(), name="chat:failure")
        try:
            await asyncio.wait([typing, failing], return_when=asyncio.FIRST_COMPLETED)
            (typing if typing.done() else failing).result()
            return OK if typing.done() else FAILED
        finally:
            # The prompt lets go of the keyboard before the chat does, whatever ended the chat.
            for task in (typing, failing):
                task.cancel()
            await asyncio.gather(typing, failing, return_exceptions=True)

    async def _read_all(self) -> None:
        while True:
            try:
                text = await self._session.prompt_async(
                    self._prompt,
                    bottom_toolbar=self._toolbar,
                    prompt_continuation="  ",
                    multiline=True,
                    style=keys.STYLE,
                    handle_sigint=False,
                )
            except EOFError:
                return
            if text.strip().lower() in texts.QUIT:
                return
            if text.strip():
                self._screen.user(text.rstrip(), elsewhere=False)
                self._chat.say(text.strip())

    def _greet(self) -> None:
        chat = self._chat
        self._session.completer = ChatCompleter(
            chat.commands, self._targets, lambda: sorted(chat.conversation.questions), self._models
        )
        self._screen.notice(texts.greeting(chat.status, chat.key), loud=True)
        if chat.status.offline:
            self._screen.notice(texts.OFFLINE)
        if runs := [view.run for view in chat.conversation.active]:
            self._screen.notice(texts.still_working(runs))
        self._screen.notice(texts.HINT)

    async def _close(self) -> None:
        active = len(self._chat.conversation.runs)
        if text := texts.leaving(active, hosting=self._chat.link.hosting, pid=self._chat.link.pid):
            self._screen.notice(text)
        slow = asyncio.get_running_loop().call_later(1.0, self._screen.notice, texts.CLOSING)
        await self._chat.stop()
        slow.cancel()
        await self._screen.flushed()
        for task in self._helpers:
            task.cancel()
        await asyncio.gather(*self._helpers, return_exceptions=True)

    # ---- what is drawn -----------------------------------------------------------------------------------------

    def _prompt(self) -> StyleAndTextTuples:
        answer = self._chat.conversation.answer
        open_text = answer.open if answer else ""
        height = min(OPEN_BLOCK_LINES, max(3, self._screen.console.height // 2))
        drawn = render.to_ansi(open_text, self._screen.console, height)
        above = to_formatted_text(ANSI(f"\n{drawn}\n\n" if drawn else "\n"))
        return [*above, ("class:mark", "❯ ")]

    def _toolbar(self) -> StyleAndTextTuples:
        size = self._session.app.output.get_size()
        where = f"{self._chat.status.model} · {self._chat.key}"
        room = max(2, size.rows // TOOLBAR_SHARE)
        return toolbar.lines(self._chat.conversation, where, width=size.columns, room=room)

    def _redraw(self) -> None:
        self._wake.set()
        self._session.app.invalidate()

    async def _animate(self) -> None:
        while True:
            if not toolbar.is_moving(self._chat.conversation):
                self._wake.clear()
                await self._wake.wait()
            self._session.app.invalidate()
            await asyncio.sleep(toolbar.FRAME_SECONDS)

    def _targets(self) -> list[Run]:
        return [view.run for view in reversed(self._chat.conversation.active)]

    # ---- keys --------------------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        """Ctrl-C: stops the turn; twice within two seconds leaves."""
        now = time.monotonic()
        if now - self._last_interrupt < TWICE_SECONDS:
            self._leave()
            return
        self._last_interrupt = now
        self._session.default_buffer.reset()
        if self._chat.conversation.busy:
            self._screen.notice(texts.STOPPING)
            self._help(self._chat.stop_turn())
        else:
            self._screen.notice(texts.LEAVE_HINT)

    def _leave(self) -> None:
        if self._session.app.is_running and not self._session.app.is_done:
            self._session.app.exit(exception=EOFError)

    def _help(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)


def _prompt_session(history: Path, keyboard: Keyboard) -> PromptSession[str]:
    history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    history.touch(mode=0o600)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(history)), erase_when_done=True, input=keyboard)
    for window in session.layout.find_all_windows():
        # Or it takes what is left of the screen, and the live lines stand far away at the bottom.
        if isinstance(window.content, BufferControl) and window.content.buffer is session.default_buffer:
            window.dont_extend_height = to_filter(True)
    # Only then is room kept below the input for the list of completions.
    session.complete_while_typing = Condition(lambda: session.default_buffer.text.startswith("/"))
    return session

"""The chat without drawing: for pipes, dumb terminals and screen readers. A line in is a message; an answer comes
block by block as it is finished.

From a pipe each line waits for the answer to the one before it, and at the end for all work to be done, sub-agents and
their announcements included.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from channels.terminal import texts
from channels.terminal.chat import Chat
from gateway.cli.context import OK, CliContext
from gateway.cli.format import clean
from gateway.client.records import Run


class PlainScreen:
    """Prints lines: answers on stdout, everything else on stderr."""

    def user(self, text: str, *, elsewhere: bool) -> None:
        """See `Screen.user`."""
        if elsewhere:
            self._aside(f"> {clean(text)}")

    def answer(self, markdown: str, *, begins: bool) -> None:
        """See `Screen.answer`."""
        del begins
        print(clean(markdown).rstrip("\n"), end="\n\n", flush=True)

    def notice(self, text: str, *, loud: bool = False) -> None:
        """See `Screen.notice`."""
        if loud:
            print(clean(text), flush=True)
        else:
            self._aside(clean(text))

    def run_created(self, run: Run) -> None:
        """See `Screen.run_created`."""
        self._aside(texts.run_created(run))

    def changed(self) -> None:
        """There is nothing that moves."""

    def _aside(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


async def run(context: CliContext, session_key: str) -> int:
    """Runs a plain chat until the input ends; returns the exit code."""
    screen = PlainScreen()
    chat = Chat(context, session_key, screen)
    by_hand = sys.stdin.isatty()
    try:
        await chat.start()
        screen.notice(texts.greeting(chat.status, chat.key))
        if chat.status.offline:
            screen.notice(texts.OFFLINE)
        failing = asyncio.create_task(chat.failure(), name="chat:failure")
        working = asyncio.create_task(_converse(chat, wait=not by_hand), name="chat:lines")
        done, _ = await asyncio.wait([failing, working], return_when=asyncio.FIRST_COMPLETED)
        for task in (failing, working):
            task.cancel()
        await asyncio.gather(failing, working, return_exceptions=True)
        for task in done:
            task.result()
    finally:
        left = texts.leaving(len(chat.conversation.runs), hosting=chat.link.hosting, pid=chat.link.pid)
        await chat.stop()
        if left:
            screen.notice(left)
    return OK


async def _converse(chat: Chat, *, wait: bool) -> None:
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hand_over(line: str | None) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    # A daemon thread of its own: a read of stdin can't be cancelled and must not hold up the exit.
    threading.Thread(target=_read, args=(hand_over,), name="chat-stdin", daemon=True).start()
    while (line := await lines.get()) is not None and line.strip() not in texts.QUIT:
        if line.strip():
            chat.say(line.strip())
            if wait:
                await chat.turn_over()
    if wait:
        await chat.settled()


def _read(hand_over: Callable[[str | None], None]) -> None:
    # The loop may be closed while a line is awaited; then nobody wants it any more.
    with suppress(RuntimeError):
        for line in sys.stdin:
            hand_over(line)
        hand_over(None)

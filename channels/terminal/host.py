"""A gateway inside this process: on a thread and an event loop of its own, so that drawing never holds it up.

Owns the thread. The thread is a daemon: whoever can't wait for a graceful stop may leave at once, since a gateway that
is cut off loses nothing.
"""

from __future__ import annotations

import asyncio
import threading

from gateway.cli.context import CliContext


class HostFailed(Exception):
    """The gateway inside this process could not start. The text says why."""


class HostedGateway:
    """One gateway run by this process."""

    def __init__(self, context: CliContext) -> None:
        self._context = context
        self._outer = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._outer.create_future()
        self._ended = asyncio.Event()
        self._inner: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[int] | None = None
        self._thread = threading.Thread(target=self._run, name="laneway-gateway", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._ended.is_set()

    async def start(self) -> None:
        """Starts it and returns once it listens.

        Raises:
            Exception: whatever kept it from starting, such as `LockHeld`, `ConfigError` or `StoreError`.
        """
        self._thread.start()
        await self._ready

    async def stop(self) -> None:
        """Stops it gracefully: model calls in flight get `gateway.drainSeconds`."""
        if self._inner is not None and self._serving is not None and self.alive:
            self._inner.call_soon_threadsafe(self._serving.cancel)
        await self._ended.wait()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass
        except BaseException as caught:
            error = caught
        self._outer.call_soon_threadsafe(self._finish, error)

    async def _serve(self) -> None:
        # Loads the whole gateway: in this thread, so that the terminal stays alive meanwhile.
        from gateway.app import ServeOptions, serve

        options = ServeOptions(
            paths=self._context.paths,
            config_path=self._context.config_path,
            environ=self._context.environ,
            announce=self._announced,
            allow_other_port=True,
            handle_signals=False,
        )
        self._inner = asyncio.get_running_loop()
        self._serving = asyncio.create_task(serve(options), name="serve")
        code = await self._serving
        if code:
            raise HostFailed(f"the gateway stopped with exit code {code}")

    def _announced(self, _line: str) -> None:
        self._outer.call_soon_threadsafe(self._listening)

    def _listening(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _finish(self, error: BaseException | None) -> None:
        self._ended.set()
        if not self._ready.done():
            self._ready.set_exception(error or HostFailed("the gateway stopped before it was ready"))

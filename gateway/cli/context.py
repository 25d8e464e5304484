"""What every command of the command line needs: the state folder, the configuration file, a client.

Owns nothing but the choice of both; exit codes and the way to report a failure stand here once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gateway.client import ApiClient, ApiError, Unreachable
from gateway.client.find import NoGateway, answering
from gateway.config import Config, ConfigError, load_config
from gateway.config.paths import Paths
from gateway.keys import direct_key

OK, FAILED, USAGE, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""

T = TypeVar("T")


class CliError(Exception):
    """A command can't be done. The text is for the person who typed it.

    Args:
        code: the exit code.
    """

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class CliContext:
    """Where this call of `laneway` works."""

    environ: Mapping[str, str]
    config_path: Path | None = None
    """`--config`; None: `LANEWAY_CONFIG`, else the state folder's."""

    @classmethod
    def here(cls, config_path: Path | None = None) -> CliContext:
        """The context of this process."""
        return cls(dict(os.environ), config_path)

    @property
    def paths(self) -> Paths:
        """The state folder's files."""
        return Paths.from_env(self.environ)

    def config(self) -> Config:
        """The configuration as it stands in the file now.

        Raises:
            ConfigError: it is wrong; the text names every fault.
        """
        return load_config(self.config_path, paths=self.paths, environ=self.environ)

    def default_session(self) -> str:
        """The key of the conversation that a terminal has with the default agent (`session.dmScope`)."""
        config = self.config()
        return direct_key(config.session.dm_scope, config.default_agent_id, "terminal", "local", owner=True)

    def token(self) -> str | None:
        """The bearer token if the configuration sets one; None: the one in the state folder counts."""
        try:
            secret = self.config().gateway.auth.token
        except ConfigError:
            return None  # the gateway runs on an older version of the file; its own token is the best guess
        return secret.get_secret_value() if secret else None

    async def client(self) -> ApiClient:
        """A client to the running gateway.

        Raises:
            NoGateway: none runs on this state folder.
        """
        found = await answering(self.paths, self.token())
        if found is None:
            raise NoGateway(self.paths)
        return found

    def ask(self, question: Callable[[ApiClient], Awaitable[T]]) -> T:
        """Asks the running gateway something and returns its answer."""

        async def asked() -> T:
            async with await self.client() as client:
                return await question(client)

        return run(asked())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine to its end."""
    return asyncio.run(work)


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Ends the command with a text on stderr.

    Raises:
        CliError: always.
    """
    raise CliError(text, code)


KNOWN_ERRORS: tuple[type[Exception], ...] = (CliError, ApiError, Unreachable, NoGateway, ConfigError, OSError)
"""Errors whose text is for people."""

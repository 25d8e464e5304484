"""A whole gateway in this process, listening on a free port, with a scripted model server behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.app import Gateway, ServeOptions
from gateway.config import Paths, load_config
from gateway.plugins import Plugin
from gateway.store.open import open_database
from tests.support import databases
from tests.support.model_server import ScriptedModelServer

KEY = "agent:main:main"


@dataclass(frozen=True, slots=True)
class Answered:
    """One response."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        """The error, if it is one."""
        return self.json["error"]


@dataclass(frozen=True, slots=True)
class House:
    """A running gateway and a client that has its token."""

    gateway: Gateway
    models: ScriptedModelServer
    http: aiohttp.ClientSession
    paths: Paths

    @property
    def bearer(self) -> str:
        """The operator's token."""
        return self.paths.token.read_text("utf-8").strip()

    async def ask(self, method: str, path: str, bearer: str | None = None, **more: Any) -> Answered:
        """One request; with the operator's token unless another one, or `""` for none, is given."""
        bearer = self.bearer if bearer is None else bearer
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        headers |= more.pop("headers", {})
        async with self.http.request(method, self.gateway.url + path, headers=headers, **more) as response:
            text = (await response.read()).decode("utf-8", "replace")
            return Answered(response.status, dict(response.headers), text)

    async def get(self, path: str, **more: Any) -> Answered:
        """A GET."""
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answered:
        """A POST with a JSON body."""
        return await self.ask("POST", path, json={} if body is None else body, **more)


@asynccontextmanager
async def http_gateway(
    folder: Path, *, config: Mapping[str, Any] | None = None, plugins: Mapping[str, Plugin] | None = None
) -> AsyncGenerator[House]:
    """Starts both; stops them at the end.

    Args:
        folder: for the state.
        config: goes over the usual configuration, section by section.
        plugins: plugins beside the core; installed ones are left out.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(databases.owned(folder / "state"))
        models = await stack.enter_async_context(ScriptedModelServer())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        paths = Paths(folder / "state")
        paths.state.mkdir(parents=True, exist_ok=True)
        usual = _config(models) | {"database": databases.section(paths.state)}
        paths.config_file.write_text(json.dumps(usual | dict(config or {})), "utf-8")
        environ = {"HOME": str(folder), "LANEWAY_HOME": str(paths.state), "LANEWAY_OFFLINE": "1"}
        options = ServeOptions(paths, environ=environ, handle_signals=False, plugins=plugins)
        database = open_database(load_config(None, paths=paths, environ=environ))
        gateway = Gateway(options, load_config(None, paths=paths, environ=environ), database)
        try:
            await gateway.start()
            yield House(gateway, models, http, paths)
        finally:
            await gateway.stop()
            await database.close()


def _config(models: ScriptedModelServer) -> dict[str, Any]:
    provider = {
        "baseUrl": models.base_url,
        "api": "openai-completions",
        "apiKey": "scripted-key",
        "models": [{"id": "scripted", "contextWindow": 100_000, "maxTokens": 4096}],
    }
    return {
        "gateway": {"port": 0, "drainSeconds": 0},
        "database": {"durability": "process"},
        "plugins": {"disabled": ["subagents", "terminal"]},
        "models": {"providers": {"test": provider}},
        "agents": {"defaults": {"model": {"primary": "test/scripted"}}},
    }

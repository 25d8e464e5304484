"""What holds for every test: a home of its own, no key of the machine's owner, and no network but loopback."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web_app
from hypothesis import HealthCheck, Phase, settings

from tests.support.databases import ON_POSTGRES

# The same examples at every run, so that a change is judged by what it changes; `make fuzz` looks for new ones. What
# failed is made smaller, but not traced line by line to explain it: that is ten times slower, and has no end in sight.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
_SLOW = (HealthCheck.too_slow,)
settings.register_profile("same", derandomize=True, phases=_PHASES, suppress_health_check=_SLOW)
settings.register_profile("new", phases=_PHASES, suppress_health_check=_SLOW, print_blob=True)
settings.load_profile("new" if "LANEWAY_FUZZ" in os.environ else "same")

_LOCAL_NAMES = frozenset({"", "localhost", "ip6-localhost", socket.gethostname()})
_KEY_WORDS = ("_API_KEY", "_TOKEN", "_SECRET", "_PROXY", "_proxy")


class NetworkForbidden(AssertionError):
    """A test wanted to leave this machine."""


def pytest_configure(config: pytest.Config) -> None:
    """Makes the markers known."""
    config.addinivalue_line("markers", "long: takes minutes; runs only with `-m long`")
    config.addinivalue_line("markers", "fire: jobs under fire, a minute on each database; runs only with `-m fire`")
    config.addinivalue_line("markers", "embedded: looks into SQLite's file, or at what is so with SQLite alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes minutes unless it is asked for, and on PostgreSQL what is about SQLite."""
    if ON_POSTGRES:
        items[:] = [item for item in items if "embedded" not in item.keywords]
    if not config.getoption("markexpr"):
        items[:] = [item for item in items if not {"long", "fire"} & set(item.keywords)]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home and state lie in the test's own folder; keys of model providers are gone."""
    for name in tuple(os.environ):
        if name.startswith("LANEWAY_") or name.endswith(_KEY_WORDS):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LANEWAY_HOME", str(home / "state"))
    monkeypatch.setenv("LANEWAY_OFFLINE", "1")
    return home


@pytest.fixture(autouse=True)
def forget_applications() -> Iterator[None]:
    """aiohttp keeps the last thousand applications alive, and with them the gateways of the tests before."""
    yield
    web_app._cached_build_middleware.cache_clear()  # pyright: ignore[reportPrivateUsage]


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Connections and name look-ups beyond this machine fail the test that makes them."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any, /) -> None:
        _check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any, /) -> int:
        _check(self, address)
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *more: Any, **named: Any) -> Any:
        if not _is_local(host, literals=False):
            raise socket.gaierror(socket.EAI_NONAME, f"a test may not look up {host!r}")
        return look_up(host, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


def _check(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0], literals=True):
        raise NetworkForbidden(f"a test may not connect to {address!r}: only loopback is allowed")


def _is_local(host: Any, *, literals: bool) -> bool:
    """Whether a host is this machine; an address that is no name may be looked up, it asks nobody."""
    if host is None:
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.split("%")[0]).is_loopback or not literals
    except ValueError:
        return False

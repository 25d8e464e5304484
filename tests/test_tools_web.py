"""`web_fetch` against a server on loopback: what it shows, and above all where it doesn't go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.tools.addresses import is_public
from gateway.tools.web import MAX_BYTES, Fetcher
from tests.support.tools import World

PAGE = """<html><head><title>Bread</title><style>p {}</style></head><body><nav>menu</nav>
<script>alert(1)</script><h2>How</h2><p>Mix <b>flour</b> and <a href="/w">water</a>.</p></body></html>"""


class Names(AbstractResolver):
    """Answers with one address, whatever is asked; a list of them is used up one at a time."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        return None


ANSWERS: dict[str, Callable[[], web.Response]] = {
    "/": lambda: web.Response(text=PAGE, content_type="text/html"),
    "/json": lambda: web.json_response({"a": 1}),
    "/bytes": lambda: web.Response(body=b"\0\1", content_type="image/png"),
    "/big": lambda: web.Response(text="x" * (MAX_BYTES + 5), content_type="text/plain"),
    "/gone": lambda: web.Response(status=410, text="no more"),
    "/charset": lambda: web.Response(body=b"\xe4", headers={"Content-Type": "text/plain; charset=nonsense"}),
    "/long": lambda: web.Response(
        text="<script>" + "x" * 900_000 + "</SCRIPT ><p>first</p>" + "<p>more</p>" * 50_000, content_type="text/html"
    ),
    "/deep": lambda: web.Response(text="<div>" * 20_000 + "core", content_type="text/html"),
}


async def _answer(request: web.Request) -> web.Response:
    if request.path == "/slow":
        await asyncio.Event().wait()
    if request.path == "/to":
        return web.Response(status=302, headers={"Location": request.query["u"], "Connection": "close"})
    if request.path.startswith("/hop/"):
        left = int(request.path.rpartition("/")[2])
        return (
            web.Response(status=302, headers={"Location": f"/hop/{left - 1}"}) if left else web.Response(text="there")
        )
    return ANSWERS[request.path]()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", _answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """May reach 127.0.0.1 and nothing else."""
    fetcher = Fetcher(lambda address: address == "127.0.0.1", seconds=5)
    yield World(tmp_path / "state", fetcher=fetcher)
    await fetcher.close()


async def test_html_becomes_markdown(world: World, url: str) -> None:
    result = await world.call("web_fetch", url=f"{url}/")
    assert not result.error
    assert "# Bread" in result.text and "## How" in result.text and "Mix **flour** and [water](/w)." in result.text
    assert "alert" not in result.text and "menu" not in result.text and "p {}" not in result.text


async def test_other_content(world: World, url: str) -> None:
    assert '{"a": 1}' in (await world.call("web_fetch", url=f"{url}/json")).text
    assert "not shown: image/png, 2 bytes" in (await world.call("web_fetch", url=f"{url}/bytes")).text
    gone = await world.call("web_fetch", url=f"{url}/gone")
    assert gone.error and "status 410" in gone.text and "no more" in gone.text
    assert not (await world.call("web_fetch", url=f"{url}/charset")).error
    long = (await world.call("web_fetch", url=f"{url}/long", maxChars=50_000)).text
    assert "first" in long and "xxx" not in long and "more" in long
    assert "core" in (await world.call("web_fetch", url=f"{url}/deep")).text


async def test_size_and_time_are_limited(world: World, url: str) -> None:
    big = await world.call("web_fetch", url=f"{url}/big", maxChars=100)
    assert "only the first 2,000,000 bytes" in big.text and "characters cut" in big.text and len(big.text) < 400
    hasty = Fetcher(lambda _address: True, seconds=0.1)
    slow = await World(world.state, fetcher=hasty).call("web_fetch", url=f"{url}/slow")
    await hasty.close()
    assert slow.error and "longer than 0.1 s" in slow.text


async def test_redirects_are_followed_and_counted(world: World, url: str) -> None:
    assert "there" in (await world.call("web_fetch", url=f"{url}/hop/5")).text
    assert "more than 5 redirects" in (await world.call("web_fetch", url=f"{url}/hop/6")).text


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:1/",
        "http://[::1]:1/",
        "http://[::ffff:127.0.0.2]:1/",
        "http://localhost:1/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706434:1/",
        "http://0:1/",
        "http://0x7f000002:1/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "//",
        "http://user:pass@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
    ],
)
async def test_forbidden_targets_directly_and_by_redirect(world: World, url: str, target: str) -> None:
    guarded = Fetcher(lambda address: address == "127.0.0.1" and not target.startswith("http://localhost"), seconds=5)
    direct = World(world.state, fetcher=guarded)
    assert (await direct.call("web_fetch", url=target)).error
    redirected = await world.call("web_fetch", url=f"{url}/to?u={target.replace('&', '%26')}")
    await guarded.close()
    assert redirected.error


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "::ffff:192.168.0.1", "100.64.0.1"])
async def test_a_name_that_resolves_to_the_inside_is_refused(tmp_path: Path, address: str) -> None:
    fetcher = Fetcher(resolver=Names(address))
    result = await World(tmp_path / "state", fetcher=fetcher).call("web_fetch", url="http://innocent.example/")
    await fetcher.close()
    assert result.error and "not an address of the public internet" in result.text


async def test_a_name_that_changes_its_address_is_checked_again(tmp_path: Path, url: str) -> None:
    """The first answer is allowed, redirects and closes the connection; then the name leads elsewhere."""
    port = url.rpartition(":")[2]
    fetcher = Fetcher(lambda address: address == "127.0.0.1", resolver=Names("127.0.0.1", "127.0.0.5"))
    host = f"http://rebind.example:{port}"
    result = await World(tmp_path / "state", fetcher=fetcher).call("web_fetch", url=f"{host}/to?u={host}/")
    await fetcher.close()
    assert result.error and "127.0.0.5 is not an address" in result.text


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to be refused
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::80ff:fffe", False),
        ("2001:db8::1", False),
        ("nonsense", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public

"""Which network addresses a tool may connect to: those of the public internet only."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

Allowed = Callable[[str], bool]
"""Whether an address, as text, may be connected to."""

_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")
_SITE_LOCAL = IPv6Network("fec0::/10")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")


class AddressRefused(OSError):
    """A name leads to an address that tools may not reach. The text names both."""


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet.

    Loopback, private, link-local, shared (CGNAT), multicast, reserved and unspecified addresses are not, in whichever
    of the IPv6 forms that carry an IPv4 address they are written.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public(address)
    if address in _SITE_LOCAL:
        return False
    carried = _carried(address)
    return all(_is_public(inner) for inner in carried) if carried else _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that packets to this one may end at."""
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if any(address in network for network in (*_NAT64, _COMPATIBLE, _TRANSLATED)):
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return ()


def guarded_socket(allowed: Allowed) -> Callable[[Sequence[Any]], socket.socket]:
    """A socket factory for aiohttp that sees the very address that is about to be connected to.

    What a name resolved to earlier doesn't count, so that a name which changes its address in between gains nothing.
    """

    def make(info: Sequence[Any]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allowed(str(address[0])):
            raise AddressRefused(f"{address[0]} is not an address of the public internet")
        return socket.socket(family=family, type=kind, proto=protocol)

    return make

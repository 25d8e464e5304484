"""Trouble on demand: what goes wrong with the next calls of a method."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Json = dict[str, Any]

PROXY_PAGE = (
    "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    "<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n"
)
TITLES = {500: "500 Internal Server Error", 502: "502 Bad Gateway", 504: "504 Gateway Time-out"}


@dataclass(frozen=True)
class Fault:
    """What happens to a call, in this order: it takes effect (if `applied`), is held, is dropped, is refused.

    A call that is only held takes effect after it is released, unless `applied`.
    """

    status: int = 0
    """The answer's status; 0: answered as usual, if it isn't dropped."""
    description: str = ""
    retry_after: int | None = None
    page: bool = False
    """The proxy in front of the API answers, with a page instead of JSON."""
    drop: bool = False
    """The connection breaks instead of an answer."""
    hold: str | None = None
    """Name of the gate that it waits at; `release(name)` opens it for good."""
    applied: bool = False
    """The call takes effect all the same: its answer is lost."""

    @classmethod
    def flood(cls, retry_after: int = 1) -> Fault:
        """429."""
        return cls(429, f"Too Many Requests: retry after {retry_after}", retry_after)

    @classmethod
    def server_error(cls, status: int = 502, *, applied: bool = False) -> Fault:
        """500 or 502 with the proxy's page."""
        return cls(status, page=True, applied=applied)

    @classmethod
    def dropped(cls, *, applied: bool = False) -> Fault:
        """The connection breaks before (or with `applied` after) the call took effect."""
        return cls(drop=True, applied=applied)

    @classmethod
    def held(cls, name: str, *, applied: bool = False) -> Fault:
        """Nothing happens (with `applied`: nothing is answered) until the gate is opened."""
        return cls(hold=name, applied=applied)

    @classmethod
    def hangs(cls) -> Fault:
        """No answer, ever."""
        return cls(hold="for ever")

    @classmethod
    def unauthorized(cls) -> Fault:
        """401: the token was revoked."""
        return cls(401, "Unauthorized")

    @classmethod
    def refused(cls, reason: str, status: int = 400) -> Fault:
        """An error of the API, such as "Bad Request: can't parse entities"."""
        return cls(status, reason)

    def to_json(self) -> Json:
        """For the admin interface."""
        return asdict(self)

    def body(self) -> Json:
        """The error's JSON."""
        body: Json = {"ok": False, "error_code": self.status, "description": self.description}
        return {**body, "parameters": {"retry_after": self.retry_after}} if self.retry_after else body


@dataclass
class _Planned:
    fault: Fault
    method: str
    chat: int | None
    times: int


class Plan:
    """Faults that wait for their calls."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def next(self, method: str, fault: Fault, *, chat: int | None = None, times: int = 1) -> None:
        """The next calls of a method (`*`: of any), of one chat or of all, get this fault."""
        self._planned.append(_Planned(fault, method, chat, times))

    def take(self, method: str, params: Mapping[str, Any]) -> Fault | None:
        """The fault of this call, used up."""
        for planned in self._planned:
            if planned.method in ("*", method) and planned.chat in (None, params.get("chat_id")):
                planned.times -= 1
                if planned.times == 0:
                    self._planned.remove(planned)
                return planned.fault
        return None

    def left(self) -> list[str]:
        """Methods whose faults were never used."""
        return [planned.method for planned in self._planned]

    def release(self, name: str) -> None:
        """Opens a gate for good."""
        self._gates[name].set()

    async def pass_gate(self, name: str) -> None:
        """Waits until a gate is open."""
        await self._gates[name].wait()

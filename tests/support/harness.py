"""What the conformance suite asks of a channel's surroundings: people who say and read things, and a platform's moods.

Each channel has one implementation, on the channel's own stand-in. Three places are known everywhere: `one` and `two`
are two threads of one chat (or what comes closest), `private` is somebody else's conversation with the assistant.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Literal

from gateway.channel import Capabilities
from gateway.routes import Route
from tests.support.pilot import PATIENCE, Pilot

Place = Literal["one", "two", "private"]
FOLLOWUP = {"messages": {"queue": {"mode": "followup"}}}
"""Each message is a turn of its own, so that answers can be counted."""


class Harness(ABC):
    """A gateway with one channel, and what people and the platform do on the other side."""

    channel: str
    delivers_again = True
    """The platform may deliver a message twice."""
    refuses = True
    """The platform can refuse a post; else its readers come for what is stored."""
    keeps = True
    """What is said while the gateway is away arrives when it is back."""

    def __init__(self, p: Pilot) -> None:
        self.p = p

    @abstractmethod
    async def say(self, place: Place, text: str) -> None:
        """Somebody says something to the assistant there."""

    @abstractmethod
    async def again(self) -> None:
        """What was said last is delivered once more; returns when the gateway has it."""

    @abstractmethod
    def route(self, place: Place) -> Route:
        """Where answers there go; something was said there before."""

    @abstractmethod
    def key(self, place: Place) -> str:
        """The session there; something was said there before."""

    @abstractmethod
    async def texts(self, place: Place) -> list[str]:
        """What people read of the assistant there, oldest first."""

    @abstractmethod
    async def changed(self) -> None:
        """Returns when there may be something new to read."""

    async def refuse(self) -> None:
        """The next post to `private` is refused for good."""
        raise NotImplementedError

    async def fail(self) -> None:
        """The next post to `private` fails, and nothing of it arrives."""
        raise NotImplementedError

    async def glimpse(self, place: Place) -> str:
        """What is seen there of an answer that is being written; empty if nothing."""
        return "\n".join(await self.texts(place))

    async def press(self, place: Place, label: str) -> str:
        """Presses a button of the newest card there; returns the answer."""
        raise NotImplementedError

    async def send_file(self, place: Place, name: str, content: bytes) -> None:
        """Somebody sends a file."""
        raise NotImplementedError

    # ---- what is the same everywhere ----

    @property
    def able(self) -> Capabilities:
        """What the channel says that it can do in `one`."""
        return self.p.gateway.posting.capabilities(self.route("one"))

    async def reads(self, place: Place, text: str, *, times: int = 1) -> list[str]:
        """Waits until a text was posted there; returns everything there.

        Raises:
            AssertionError: it wasn't, in time.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = await self.texts(place)
                    if sum(text in each for each in found) >= times:
                        return found
                    await self.changed()
        except TimeoutError:
            raise AssertionError(f"nobody has read `{text}` in {place}: {await self.texts(place)}") from None

    async def settled(self, *places: Place) -> None:
        """Waits until these places rest and everything is posted."""
        for place in places:
            await self.p.wait_idle(self.key(place))
        while True:
            seen = len(self.p.events)
            if all(each["state"] == "failed" for each in (await self.p.get("/api/outbox"))["posts"]):
                return
            await self.p.wait_until(lambda seen=seen: len(self.p.events) > seen, "a delivery")

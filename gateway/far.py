"""What processes tell each other: which words there are, and who does what when he hears them.

A worker has no channels, no subscribers and no alarms: what it wants shown or rung it says, and the gateway does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.bus import Bus, Words
from gateway.channel import Mark
from gateway.company import Role
from gateway.presence import Presence
from gateway.store.database import Transaction

if TYPE_CHECKING:
    from gateway.app import Gateway


class Far:
    """Tells the others."""

    def __init__(self, bus: Bus, role: Role) -> None:
        self._bus = bus
        self._is_gateway = role.is_gateway

    def events(self, tx: Transaction) -> None:
        """The table of events has grown, once this unit is committed."""
        if not self._is_gateway:
            self._bus.send(tx, "events")

    def fleeting(self, type: str, data: Mapping[str, Any], session_key: str | None, run_id: str | None) -> None:
        """An event that isn't kept."""
        if not self._is_gateway:
            self._bus.say("fleeting", type=type, data=data, sessionKey=session_key, runId=run_id)

    def approval(self, tx: Transaction, approval_id: int) -> None:
        """A question has been closed."""
        self._bus.send(tx, "approval", id=approval_id)


class FarPresence(Presence):
    """Shows by way of the gateway which conversations are being worked on."""

    def __init__(self, bus: Bus) -> None:
        super().__init__({})
        self._bus = bus

    def working(self, session_key: str, route: str | None, message_ids: Sequence[str]) -> None:
        """See `Presence.working`."""
        if route is not None:
            self._bus.say("working", sessionKey=session_key, route=route, messages=list(message_ids))

    def rested(self, session_key: str, route: str | None, message_ids: Sequence[str], mark: Mark) -> None:
        """See `Presence.rested`."""
        if route is not None:
            words = {"sessionKey": session_key, "route": route, "messages": list(message_ids), "mark": mark.value}
            self._bus.say("rested", **words)


def hear(gateway: Gateway) -> None:
    """Lets a process do what others ask for."""
    bus = gateway.bus

    def approval(words: Words) -> None:
        gateway.look_at_approvals(int(words["id"]) if "id" in words else None)

    bus.on("approval", approval)
    bus.on_return(lambda: gateway.look_at_approvals(None))
    if gateway.role.is_gateway:
        _serve(gateway, bus)
    else:
        bus.on("reload", lambda _words: gateway.reload_later())
        bus.on("caps", lambda _words: gateway.load_caps())
        bus.on_return(gateway.load_caps)


def _serve(gateway: Gateway, bus: Bus) -> None:
    def due(words: Words) -> None:
        gateway.ring(int(words.get("at", 0)))

    def fleeting(words: Words) -> None:
        if "type" in words:
            key, run_id = words["sessionKey"], words["runId"]
            gateway.events.publish(words["type"], words["data"], session_key=key, run_id=run_id)

    def working(words: Words) -> None:
        if "route" in words:
            gateway.presence.working(words["sessionKey"], words["route"], words["messages"])

    def rested(words: Words) -> None:
        if "route" in words:
            mark = Mark(words["mark"])
            gateway.presence.rested(words["sessionKey"], words["route"], words["messages"], mark)

    def returned() -> None:
        gateway.deliverer.wake()
        gateway.events.look()
        gateway.ring(0)
        gateway.catch_up()

    bus.on("outbox", lambda _words: gateway.deliverer.wake())
    bus.on("events", lambda _words: gateway.events.look())
    bus.on("due", due)
    bus.on("fleeting", fleeting)
    bus.on("working", working)
    bus.on("rested", rested)
    bus.on_return(returned)

"""The parts of a running stand-in, handed to whatever works on all of them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.standins.telegram.calls import Calls
from tests.standins.telegram.faults import Plan
from tests.standins.telegram.limits import Flood
from tests.standins.telegram.webhook import Webhook
from tests.standins.telegram.world import World


@dataclass(frozen=True)
class Parts:
    """All of it."""

    world: World
    webhook: Webhook
    plan: Plan
    calls: Calls
    flood: Flood

"""A stand-in for Telegram: the Bot API on loopback with a world behind it, strict where the real one is lenient."""

from tests.standins.telegram.driver import Driver
from tests.standins.telegram.faults import Fault
from tests.standins.telegram.limits import Limits
from tests.standins.telegram.people import Group, Person
from tests.standins.telegram.remote import RemoteTelegram, telegram_process
from tests.standins.telegram.standin import TOKEN, TelegramStandIn
from tests.standins.telegram.views import Called, Seen

__all__ = [
    "TOKEN",
    "Called",
    "Driver",
    "Fault",
    "Group",
    "Limits",
    "Person",
    "RemoteTelegram",
    "Seen",
    "TelegramStandIn",
    "telegram_process",
]

"""What is known of the groups that the bot is in: whether they have topics, and whether it may open and delete them.

Learned from what comes by, and asked for once where that isn't enough. Nothing of it survives the process: of a group
that nothing is known of yet, the best is assumed, and opening a topic there asks first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

from telegram import Chat, ChatFullInfo, ChatMember, ChatMemberAdministrator

from channels.telegram.api import Api
from gateway.channel import DeliveryError

KEPT = 5_000


@dataclass(slots=True)
class Place:
    """One chat. None: not known."""

    forum: bool | None = None
    rights: frozenset[str] | None = None
    """What the bot may do as an administrator."""


MANAGE, DELETE = "can_manage_topics", "can_delete_messages"


class Places:
    """Remembers chats."""

    def __init__(self, api: Api) -> None:
        self.bot = 0
        """The bot's id, known once it is connected."""
        self.private_topics = False
        """It has topics in private chats."""
        self._api = api
        self._places: OrderedDict[int, Place] = OrderedDict()

    def seen(self, chat: Chat) -> None:
        """A message has come from a chat."""
        if chat.type != Chat.PRIVATE:
            self._place(chat.id).forum = bool(chat.is_forum)

    def standing(self, chat: Chat, member: ChatMember) -> None:
        """The bot's rights in a chat have changed."""
        if chat.type != Chat.PRIVATE:
            self._place(chat.id).rights = _rights(member)

    def may_open(self, chat_id: int) -> bool:
        """Whether topics can be opened in a chat, as far as that is known."""
        if chat_id > 0:
            return self.private_topics or not self.bot
        place = self._places.get(chat_id, Place())
        return place.forum is not False and (place.rights is None or MANAGE in place.rights)

    async def check(self, chat_id: int) -> None:
        """Asks whether topics can be opened in a chat, unless that is known.

        Raises:
            DeliveryError: they can't; it says what is missing. Or the bot isn't connected yet, which passes.
        """
        if not self.bot:
            raise DeliveryError("the bot isn't connected yet")
        if chat_id > 0:
            if not self.private_topics:
                raise DeliveryError("topics in private chats are off: turn them on in @BotFather", permanent=True)
            return
        place = self._place(chat_id)
        if place.forum is None:
            place.forum = bool(cast("ChatFullInfo", await self._api("get_chat", chat_id=chat_id)).is_forum)
        if not place.forum:
            raise DeliveryError("this group has no topics: turn them on in its settings", permanent=True)
        if place.rights is None:
            member = await self._api("get_chat_member", chat_id=chat_id, user_id=self.bot)
            place.rights = _rights(cast("ChatMember", member))
        if MANAGE not in place.rights:
            raise DeliveryError("the bot may not manage topics here: make it an administrator", permanent=True)

    def may_delete(self, chat_id: int) -> bool:
        """Whether topics can be deleted in a chat."""
        return chat_id > 0 or DELETE in (self._place(chat_id).rights or ())

    def _place(self, chat_id: int) -> Place:
        place = self._places.setdefault(chat_id, Place())
        self._places.move_to_end(chat_id)
        while len(self._places) > KEPT:
            self._places.popitem(last=False)
        return place


def _rights(member: ChatMember) -> frozenset[str]:
    """What somebody may do as an administrator."""
    if not isinstance(member, ChatMemberAdministrator):
        return frozenset()
    return frozenset(name for name in (MANAGE, DELETE) if getattr(member, name))

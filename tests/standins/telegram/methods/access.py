"""What every method asks first: which chat, may the bot act there, which thread, which message."""

from __future__ import annotations

from typing import Any

from tests.standins.telegram import parse_modes
from tests.standins.telegram.model import GENERAL, Chat, Member, Message, Topic
from tests.standins.telegram.refusals import Refusal, bad, forbidden, moved
from tests.standins.telegram.text import TEXT_LIMIT, Formatted, accept
from tests.standins.telegram.world import World

Json = dict[str, Any]


def chat_of(world: World, params: Json, *, key: str = "chat_id") -> Chat:
    """The chat that a call names, which the bot can reach.

    Raises:
        Refusal: unknown, blocked, kicked, moved.
    """
    chat = _named(world, params[key])
    if not chat.group:
        if world.people[chat.id].blocks_bot:
            raise forbidden("bot was blocked by the user")
        return chat
    if chat.moved_to is not None:
        raise moved(chat.moved_to)
    kind = "supergroup" if chat.kind == "supergroup" else "group"
    member = world.member(chat, world.bot.id)
    if member.status == "kicked":
        raise forbidden(f"bot was kicked from the {kind} chat")
    if not member.present:
        raise forbidden(f"bot is not a member of the {kind} chat")
    return chat


def _named(world: World, chat_id: int | str) -> Chat:
    if isinstance(chat_id, str):
        for chat in world.chats.values():
            if chat.group and chat.username and chat_id == f"@{chat.username}":
                return chat
        raise bad("chat not found")
    if chat_id in world.chats:
        return world.chats[chat_id]
    if chat_id in world.people:
        raise forbidden("bot can't initiate conversation with a user")
    raise bad("chat not found")


def bot_member(world: World, chat: Chat) -> Member:
    """The bot's standing in a chat."""
    return world.member(chat, world.bot.id)


def may_send(world: World, chat: Chat) -> None:
    """Raises a refusal if the bot's writing is restricted."""
    if chat.group and bot_member(world, chat).status == "restricted":
        raise Refusal("Bad Request: not enough rights to send text messages to the chat", fault=False)


def topic_of(world: World, chat: Chat, thread: int | None) -> Topic | None:
    """The topic that a post goes to; None outside of topics and for General.

    Raises:
        Refusal: there is no such topic (General is none that can be named), or it is closed.
    """
    member = bot_member(world, chat)
    if thread is None:
        if chat.forum and chat.group and chat.general_closed and not member.may("can_manage_topics"):
            raise bad("TOPIC_CLOSED")
        return None
    general = chat.group and thread == GENERAL
    topic = chat.topics.get(thread) if chat.forum and not general else None
    if topic is None:
        raise bad("message thread not found")
    if topic.closed and not (member.may("can_manage_topics") or topic.creator == world.bot.id):
        raise bad("TOPIC_CLOSED")
    return topic


def message_of(chat: Chat, message_id: int, otherwise: str) -> Message:
    """A message that is still there.

    Raises:
        Refusal: with the text that the method has for it.
    """
    message = chat.messages.get(message_id)
    if message is None or message.deleted:
        raise bad(otherwise, fault=not (message is not None and message.unsure))
    return message


def formatted(params: Json, text: str, entities_key: str, *, limit: int = TEXT_LIMIT, empty: bool = False) -> Formatted:
    """A text parameter with its entities or its parse mode."""
    entities = list(params.get(entities_key) or [])
    if mode := params.get("parse_mode"):
        if entities:
            raise bad(f"both parse_mode and {entities_key} given")
        text, entities = parse_modes.parse(text, mode)
    return accept(text, entities, limit=limit, may_be_empty=empty)


def markup_of(params: Json) -> Json | None:
    """The inline keyboard of a call, checked.

    Raises:
        Refusal: callback data that isn't 1–64 bytes, an empty label.
    """
    markup: Json | None = params.get("reply_markup")
    if markup is None or "inline_keyboard" not in markup:
        return None
    for row in markup["inline_keyboard"]:
        for button in row:
            if not button["text"].strip():
                raise bad("can't parse inline keyboard button: button text must be non-empty")
            data = button.get("callback_data")
            if data is not None and not 1 <= len(data.encode()) <= 64:
                raise bad("BUTTON_DATA_INVALID")
    return markup if any(markup["inline_keyboard"]) else None

"""Methods on forum topics, which need the bot's rights in a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.standins.telegram.methods.access import bot_member, chat_of
from tests.standins.telegram.model import Chat, Topic
from tests.standins.telegram.refusals import Refusal, bad
from tests.standins.telegram.world import World

Json = dict[str, Any]

NAME_LIMIT = 128


def create(world: World, params: Json) -> Json:
    """createForumTopic."""
    chat = _forum(world, params)
    if chat.group and not bot_member(world, chat).may("can_manage_topics"):
        raise bad("not enough rights to create a topic")
    topic = open_topic(world, chat, _name(params), world.bot.id, params.get("icon_color"))
    return {"message_thread_id": topic.id, "name": topic.name, "icon_color": topic.icon_color}


def edit(world: World, params: Json) -> bool:
    """editForumTopic."""
    chat, topic = _changed(world, params)
    name = params.get("name") or topic.name
    if len(name) > NAME_LIMIT:
        raise bad("topic name is too long")
    if name == topic.name:
        raise bad("TOPIC_NOT_MODIFIED")
    topic.name = name
    world.post(chat, world.bot.id, {"forum_topic_edited": {"name": name}}, thread=topic.id, topic=True)
    return True


def set_closed(closed: bool) -> Callable[[World, Json], bool]:
    """closeForumTopic, reopenForumTopic."""

    def change(world: World, params: Json) -> bool:
        chat, topic = _changed(world, params)
        if not chat.group:
            raise bad("the chat is not a supergroup forum")
        if topic.closed == closed:
            raise bad("TOPIC_NOT_MODIFIED")
        topic.closed = closed
        event = "forum_topic_closed" if closed else "forum_topic_reopened"
        world.post(chat, world.bot.id, {event: {}}, thread=topic.id, topic=True)
        return True

    return change


def delete(world: World, params: Json) -> bool:
    """deleteForumTopic: with all its messages."""
    chat, topic = _changed(world, params, right="can_delete_messages")
    remove_topic(world, chat, topic)
    return True


def edit_general(world: World, params: Json) -> bool:
    """editGeneralForumTopic."""
    chat = _general(world, params)
    chat.general_name = _name(params)
    return True


def set_general_closed(closed: bool) -> Callable[[World, Json], bool]:
    """closeGeneralForumTopic, reopenGeneralForumTopic."""

    def change(world: World, params: Json) -> bool:
        chat = _general(world, params)
        if chat.general_closed == closed:
            raise bad("TOPIC_NOT_MODIFIED")
        chat.general_closed = closed
        return True

    return change


def open_topic(world: World, chat: Chat, name: str, creator: int, icon_color: int | None = None) -> Topic:
    """A new topic, by whomever, with the message that creates it."""
    color = icon_color or 7322096
    message = world.post(chat, creator, {"forum_topic_created": {"name": name, "icon_color": color}}, topic=True)
    message.thread = message.id
    chat.topics[message.id] = Topic(message.id, name, creator, color)
    return chat.topics[message.id]


def remove_topic(world: World, chat: Chat, topic: Topic) -> None:
    """Takes a topic away with everything in it."""
    del chat.topics[topic.id]
    for message in chat.messages.values():
        if message.topic and message.thread == topic.id:
            message.deleted = True
    world.changes.mark()


# ---------------------------------------------------------------------- helpers


def _forum(world: World, params: Json) -> Chat:
    chat = chat_of(world, params)
    if not chat.forum:
        raise bad("the chat is not a forum")
    return chat


def _general(world: World, params: Json) -> Chat:
    chat = _forum(world, params)
    if not chat.group or not bot_member(world, chat).may("can_manage_topics"):
        raise bad("not enough rights to manage the General topic")
    return chat


def _name(params: Json) -> str:
    name = str(params["name"]).strip()
    if not name:
        raise bad("TOPIC_TITLE_EMPTY")
    if len(name) > NAME_LIMIT:
        raise bad("topic name is too long")
    return name


def _changed(world: World, params: Json, right: str = "can_manage_topics") -> tuple[Chat, Topic]:
    chat = _forum(world, params)
    topic = chat.topics.get(params["message_thread_id"])
    if topic is None:
        raise bad("TOPIC_ID_INVALID")
    own = topic.creator == world.bot.id and right == "can_manage_topics"
    if chat.group and not own and not bot_member(world, chat).may(right):
        raise Refusal("Bad Request: not enough rights to manage topics in the chat")
    return chat, topic

"""What people do in Telegram, and what the bot is told of it."""

from __future__ import annotations

from typing import Any

from tests.standins.telegram.model import RIGHTS, Chat, Member, Message, Status, root_of
from tests.standins.telegram.text import part, plain
from tests.standins.telegram.world import Query, World

Json = dict[str, Any]


def say(world: World, user: int, chat: Chat, content: Json, thread: int | None, reply_to: int | None) -> Message:
    """Somebody posts something.

    Raises:
        AssertionError: he can't, there.
    """
    place: Json = {"reply_to": reply_to}
    if not chat.group:
        assert not world.people[user].blocks_bot, f"{world.people[user].name} has blocked the bot"
    else:
        assert world.member(chat, user).present, f"{world.people[user].name} isn't in {chat.title}"
    if reply_to is not None:
        assert not chat.messages[reply_to].deleted, f"message {reply_to} is deleted"
        replied = chat.messages[reply_to]
        thread = thread if thread is not None or not replied.topic else replied.thread
    if thread is not None:
        topic = chat.topics[thread]
        assert not topic.closed or world.member(chat, user).may("can_manage_topics"), f"topic {topic.name} is closed"
        place |= {"thread": thread, "topic": True}
    message = world.post(chat, user, content, **place)
    if reply_to is not None and thread is None and chat.kind == "supergroup":
        message.thread = root_of(chat, message)
    tell(world, message)
    return message


def written(text: str) -> Json:
    """Content of a text message."""
    cleaned = plain(text)
    return {"text": cleaned.text, **({"entities": list(cleaned.entities)} if cleaned.entities else {})}


def captioned(media: Json, caption: str) -> Json:
    """Content of a message with a file."""
    if not caption:
        return media
    cleaned = plain(caption)
    entities = {"caption_entities": list(cleaned.entities)} if cleaned.entities else {}
    return {**media, "caption": cleaned.text, **entities}


def edit(world: World, message: Message, text: str) -> None:
    """The author changes his text."""
    world.rewrite(message, {**message.content, **written(text)}, message.markup)
    if _hears(world, message):
        world.updates.add("edited_message", world.to_json(message), message.chat)


def press(world: World, user: int, message: Message, data: str) -> Query:
    """Somebody presses a button, or says that he has."""
    query = world.new_query(user, message, data)
    chat = world.chats[message.chat]
    gone: Json = {"chat": chat.to_json(), "message_id": message.id, "date": 0}
    body: Json = {
        "id": query.id,
        "from": world.user(user),
        "message": gone if message.deleted else world.to_json(message),
        "chat_instance": str(chat.id * 7919),
        "data": data,
    }
    world.updates.add("callback_query", body, chat.id)
    return query


def react(world: World, user: int, message: Message, emoji: str | None) -> None:
    """Somebody's reaction; groups' administrators are told, if they subscribe to it."""
    chat = world.chats[message.chat]
    old = message.reactions.pop(user, None)
    if emoji is not None:
        message.reactions[user] = emoji
    world.changes.mark()
    if chat.group and world.member(chat, world.bot.id).status != "administrator":
        return
    body: Json = {"chat": chat.to_json(), "message_id": message.id, "user": world.user(user)}
    body |= {"date": world.clock.unix(), "old_reaction": _reaction(old), "new_reaction": _reaction(emoji)}
    world.updates.add("message_reaction", body, chat.id)


def set_bot_member(world: World, chat: Chat, by: int, status: Status, rights: frozenset[str] = frozenset()) -> None:
    """Somebody adds, promotes, restricts or removes the bot. It is told, also of its end."""
    assert rights <= set(RIGHTS), f"no rights: {sorted(rights - set(RIGHTS))}"
    old = world.member(chat, world.bot.id)
    new = Member(status, rights)
    chat.members[world.bot.id] = new
    _tell_standing(world, chat, by, old, new)
    if new.present and not old.present:
        tell(world, world.post(chat, by, {"new_chat_members": [world.bot.user()]}))


def set_blocked(world: World, user: int, blocked: bool) -> None:
    """A person blocks the bot, or lets it in again."""
    world.people[user].blocks_bot = blocked
    old, new = Member("kicked" if not blocked else "member"), Member("kicked" if blocked else "member")
    _tell_standing(world, world.private_chat(world.people[user]), user, old, new)
    world.changes.mark()


def upgrade(world: World, chat: Chat, by: int) -> Chat:
    """A group becomes a supergroup: another id, and the old one answers with it."""
    new = world.new_group(chat.title, "supergroup")
    new.members = dict(chat.members)
    chat.moved_to = new.id
    tell(world, world.post(chat, by, {"migrate_to_chat_id": new.id}))
    tell(world, world.post(new, by, {"migrate_from_chat_id": chat.id}))
    return new


def stop_draft(world: World, user: int) -> None:
    """A person presses Stop beside a draft that streams to him."""
    draft = next(draft for draft in reversed(world.drafts) if draft.chat == user)
    assert draft.can_stop, "the draft can't be stopped"
    assert draft.until > world.clock.now(), "the draft has lapsed"
    draft.until = world.clock.now()
    body: Json = {"chat": world.chats[user].to_json(), "draft_id": draft.id}
    if draft.thread is not None:
        body["message_thread_id"] = draft.thread
    world.updates.add("stopped_message_generation", body, user)


def tell(world: World, message: Message) -> None:
    """Tells the bot of a message, if it may hear it."""
    if _hears(world, message):
        message.update = world.updates.add("message", world.to_json(message), message.chat)


# ---------------------------------------------------------------------- helpers


def _hears(world: World, message: Message) -> bool:
    """Group privacy: commands, mentions, replies to the bot, events; everything for administrators."""
    chat = world.chats[message.chat]
    if not chat.group:
        return True
    member = world.member(chat, world.bot.id)
    if not member.present:
        return False
    if member.status == "administrator" or not world.bot.privacy or message.service:
        return True
    replied = chat.messages.get(message.reply_to or 0)
    if replied is not None and replied.sender == world.bot.id and not replied.service:
        return True
    name = f"@{world.bot.username}".lower()
    for entity in message.entities:
        covered = part(message.text, entity["offset"], entity["length"]).lower()
        if entity["type"] == "mention" and covered == name:
            return True
        if entity["type"] == "bot_command" and ("@" not in covered or covered.endswith(name)):
            return True
    return False


def _tell_standing(world: World, chat: Chat, by: int, old: Member, new: Member) -> None:
    bot = world.bot.user()
    body: Json = {"chat": chat.to_json(), "from": world.user(by), "date": world.clock.unix()}
    body |= {"old_chat_member": old.to_json(bot), "new_chat_member": new.to_json(bot)}
    world.updates.add("my_chat_member", body, chat.id)


def _reaction(emoji: str | None) -> list[Json]:
    return [{"type": "emoji", "emoji": emoji}] if emoji else []

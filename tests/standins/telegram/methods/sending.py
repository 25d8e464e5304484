"""Methods that put something into a chat: messages, files, drafts, chat actions."""

from __future__ import annotations

from typing import Any

from tests.standins.telegram.description import Upload
from tests.standins.telegram.methods.access import chat_of, formatted, markup_of, may_send, message_of, topic_of
from tests.standins.telegram.model import GENERAL, Chat, Message, root_of
from tests.standins.telegram.refusals import Refusal, bad
from tests.standins.telegram.text import CAPTION_LIMIT, Formatted
from tests.standins.telegram.world import Action, Draft, World

Json = dict[str, Any]

ACTION_SECONDS = 5.0
DRAFT_SECONDS = 30.0
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF")
FILE_LIMIT = 50 * 2**20


def send_message(world: World, params: Json) -> Json:
    """sendMessage."""
    chat = chat_of(world, params)
    text = formatted(params, params["text"], "entities")
    return _send(world, chat, params, _content("text", "entities", text), text)


def send_file(kind: str) -> Any:
    """sendPhoto, sendDocument, sendVoice."""

    def send(world: World, params: Json) -> Json:
        chat = chat_of(world, params)
        caption = formatted(params, params.get("caption", ""), "caption_entities", limit=CAPTION_LIMIT, empty=True)
        content = _media(world, kind, params[kind])
        if caption.text:
            content |= _content("caption", "caption_entities", caption)
        return _send(world, chat, params, content, caption)

    return send


def send_draft(world: World, params: Json) -> bool:
    """sendMessageDraft: private chats only, gone after half a minute or with the bot's next message."""
    chat = chat_of(world, params)
    if chat.group:
        raise bad("message drafts can be sent to private chats only")
    if params["draft_id"] == 0:
        raise bad("draft_id must be non-zero")
    topic = topic_of(world, chat, params.get("message_thread_id"))
    text = formatted(params, params.get("text", ""), "entities", empty=True)
    thread = topic.id if topic else None
    until = world.clock.now() + DRAFT_SECONDS
    content = _content("text", "entities", text)
    world.drafts.append(Draft(params["draft_id"], chat.id, thread, content, until, params.get("can_stop", False)))
    world.changes.mark()
    _note(world, text)
    return True


def send_action(world: World, params: Json) -> bool:
    """sendChatAction: lapses after 5 s. The General topic may be named here, and only here."""
    chat = chat_of(world, params)
    thread = params.get("message_thread_id")
    if not (chat.forum and chat.group and thread == GENERAL):
        topic = topic_of(world, chat, thread)
        thread = topic.id if topic else None
    now = world.clock.now()
    world.actions.append(Action(chat.id, thread, params["action"], now, now + ACTION_SECONDS))
    world.changes.mark()
    return True


# ---------------------------------------------------------------------- helpers


def _content(text_key: str, entities_key: str, text: Formatted) -> Json:
    entities = [dict(entity) for entity in text.entities]
    return {text_key: text.text, entities_key: entities} if entities else {text_key: text.text}


def _media(world: World, kind: str, given: Upload | str) -> Json:
    if isinstance(given, str):
        file = world.files.get(given)
        if file is None:
            if given.startswith(("http://", "https://")):
                raise Refusal("the stand-in fetches nothing from the web", code=501)
            raise bad("wrong file identifier/HTTP URL specified")
        return world.media(kind, file.data, file.name, file.media_type)
    if not given.data:
        raise bad("file must be non-empty")
    if len(given.data) > FILE_LIMIT:
        raise Refusal("Request Entity Too Large", code=413)
    if kind == "photo" and not given.data.startswith(MAGIC):
        raise bad("IMAGE_PROCESS_FAILED")
    return world.media(kind, given.data, given.name, given.media_type)


def _send(world: World, chat: Chat, params: Json, content: Json, text: Formatted) -> Json:
    may_send(world, chat)
    markup = markup_of(params)
    topic = topic_of(world, chat, params.get("message_thread_id"))
    place: Json = {"thread": topic.id, "topic": True} if topic else {}
    if (replied := _replied(chat, params)) is not None:
        if not topic and replied.topic:
            named = topic_of(world, chat, replied.thread)
            place = {"thread": named.id, "topic": True} if named else {}
        if place.get("thread") == (replied.thread if replied.topic else None):
            place["reply_to"] = replied.id
        else:
            place["external_reply"] = _external(world, chat, replied)
    message = world.post(chat, world.bot.id, content, markup=markup, **place)
    if message.reply_to and not message.topic and chat.kind == "supergroup":
        message.thread = root_of(chat, message)
    _note(world, text)
    return world.to_json(message)


def _replied(chat: Chat, params: Json) -> Message | None:
    reply: Json | None = params.get("reply_parameters")
    if reply is None:
        return None
    if "message_id" not in reply or "chat_id" in reply:
        raise Refusal("the stand-in models replies to messages of the same chat only", code=501)
    try:
        return message_of(chat, reply["message_id"], "message to be replied not found")
    except Refusal:
        if reply.get("allow_sending_without_reply"):
            return None
        raise


def _external(world: World, chat: Chat, replied: Message) -> Json:
    origin = {"type": "user", "date": replied.date, "sender_user": world.user(replied.sender)}
    return {"origin": origin, "chat": chat.to_json(), "message_id": replied.id}


def _note(world: World, text: Formatted) -> None:
    world.ignored += text.ignored

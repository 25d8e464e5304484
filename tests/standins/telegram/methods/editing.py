"""Methods that change what is there: edits, deletions, reactions, answers to buttons."""

from __future__ import annotations

from typing import Any

from tests.standins.telegram.methods.access import bot_member, chat_of, formatted, markup_of, message_of
from tests.standins.telegram.model import Chat, Message
from tests.standins.telegram.refusals import STALE_QUERY, UNMODIFIED, bad, not_modelled
from tests.standins.telegram.text import CAPTION_LIMIT, Formatted, units
from tests.standins.telegram.world import World

Json = dict[str, Any]

DELETABLE_SECONDS = 48 * 3600
ANSWER_LIMIT = 200


def edit_text(world: World, params: Json) -> Json:
    """editMessageText."""
    message = _editable(world, params)
    if "text" not in params:
        raise bad("message text is empty")
    if "text" not in message.content:
        raise bad("there is no text in the message to edit")
    text = formatted(params, params["text"], "entities")
    return _rewrite(world, message, _with(message, "text", "entities", text), markup_of(params), text)


def edit_caption(world: World, params: Json) -> Json:
    """editMessageCaption."""
    message = _editable(world, params)
    if "text" in message.content:
        raise bad("there is no caption in the message to edit")
    caption = formatted(params, params.get("caption", ""), "caption_entities", limit=CAPTION_LIMIT, empty=True)
    content = _with(message, "caption", "caption_entities", caption)
    return _rewrite(world, message, content, markup_of(params), caption)


def edit_markup(world: World, params: Json) -> Json:
    """editMessageReplyMarkup."""
    message = _editable(world, params)
    return _rewrite(world, message, message.content, markup_of(params), None)


def delete_message(world: World, params: Json) -> bool:
    """deleteMessage."""
    chat = chat_of(world, params)
    message = message_of(chat, params["message_id"], "message to delete not found")
    _delete(world, chat, message)
    return True


def delete_messages(world: World, params: Json) -> bool:
    """deleteMessages: what can't be found is skipped."""
    chat = chat_of(world, params)
    if not 1 <= len(params["message_ids"]) <= 100:
        raise bad("message identifiers are not specified" if not params["message_ids"] else "too many messages")
    for number in params["message_ids"]:
        message = chat.messages.get(number)
        if message is not None and not message.deleted:
            _delete(world, chat, message)
    return True


def set_reaction(world: World, params: Json) -> bool:
    """setMessageReaction: one emoji of the allowed list, or none."""
    chat = chat_of(world, params)
    message = message_of(chat, params["message_id"], "message to react not found")
    reactions: list[Json] = params.get("reaction", [])
    if len(reactions) > 1:
        raise bad("REACTIONS_TOO_MANY")
    if any(reaction["type"] != "emoji" for reaction in reactions):
        raise bad("REACTION_INVALID")
    if message.service:
        raise bad("MESSAGE_ID_INVALID")
    message.reactions.pop(world.bot.id, None)
    if reactions:
        message.reactions[world.bot.id] = reactions[0]["emoji"]
    world.changes.mark()
    return True


def answer_callback(world: World, params: Json) -> bool:
    """answerCallbackQuery: in time, and once."""
    query = world.queries.get(params["callback_query_id"])
    if query is None or query.answer is not None or world.clock.now() - query.pressed > world.callback_seconds:
        raise bad(STALE_QUERY, fault=not (query is not None and query.unsure))
    if units(params.get("text", "")) > ANSWER_LIMIT:
        raise bad("MESSAGE_TOO_LONG")
    if "url" in params:
        raise not_modelled("answers with a URL")
    query.answer = {key: value for key, value in params.items() if key != "callback_query_id"}
    world.changes.mark()
    return True


# ---------------------------------------------------------------------- helpers


def _editable(world: World, params: Json) -> Message:
    if "inline_message_id" in params or "rich_message" in params:
        raise not_modelled("inline and rich messages")
    if "chat_id" not in params or "message_id" not in params:
        raise bad("message identifier is not specified")
    chat = chat_of(world, params)
    message = message_of(chat, params["message_id"], "message to edit not found")
    if message.sender != world.bot.id or message.service:
        raise bad("message can't be edited")
    return message


def _with(message: Message, text_key: str, entities_key: str, text: Formatted) -> Json:
    content = {key: value for key, value in message.content.items() if key not in (text_key, entities_key)}
    if text.text:
        content[text_key] = text.text
    if text.entities:
        content[entities_key] = [dict(entity) for entity in text.entities]
    return content


def _rewrite(world: World, message: Message, content: Json, markup: Json | None, text: Formatted | None) -> Json:
    if content == message.content and markup == message.markup:
        raise bad(UNMODIFIED, fault=not message.unsure)
    message.unsure = False
    world.rewrite(message, content, markup)
    world.ignored += text.ignored if text else ()
    return world.to_json(message)


def _delete(world: World, chat: Chat, message: Message) -> None:
    own = message.sender == world.bot.id
    allowed = own or not chat.group or bot_member(world, chat).may("can_delete_messages")
    if not allowed or world.clock.unix() - message.date > DELETABLE_SECONDS:
        raise bad("message can't be deleted")
    message.deleted = True
    world.changes.mark()

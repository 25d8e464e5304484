"""Which function answers which method. A call has been checked against the description before it gets here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.standins.telegram.methods import asking, editing, sending, topics
from tests.standins.telegram.world import World

Json = dict[str, Any]


def _true(world: World, params: Json) -> bool:
    return True


METHODS: dict[str, Callable[[World, Json], Any]] = {
    "getMe": asking.get_me,
    "logOut": _true,
    "close": _true,
    "getChat": asking.get_chat,
    "getChatMember": asking.get_member,
    "getChatAdministrators": asking.get_administrators,
    "getChatMemberCount": asking.count_members,
    "leaveChat": asking.leave,
    "getFile": asking.get_file,
    "setMyCommands": asking.set_commands,
    "getMyCommands": asking.get_commands,
    "deleteMyCommands": asking.delete_commands,
    "sendMessage": sending.send_message,
    "sendPhoto": sending.send_file("photo"),
    "sendDocument": sending.send_file("document"),
    "sendVoice": sending.send_file("voice"),
    "sendMessageDraft": sending.send_draft,
    "sendChatAction": sending.send_action,
    "editMessageText": editing.edit_text,
    "editMessageCaption": editing.edit_caption,
    "editMessageReplyMarkup": editing.edit_markup,
    "deleteMessage": editing.delete_message,
    "deleteMessages": editing.delete_messages,
    "setMessageReaction": editing.set_reaction,
    "answerCallbackQuery": editing.answer_callback,
    "createForumTopic": topics.create,
    "editForumTopic": topics.edit,
    "closeForumTopic": topics.set_closed(True),
    "reopenForumTopic": topics.set_closed(False),
    "deleteForumTopic": topics.delete,
    "editGeneralForumTopic": topics.edit_general,
    "closeGeneralForumTopic": topics.set_general_closed(True),
    "reopenGeneralForumTopic": topics.set_general_closed(False),
}
"""All but those that receive updates (`methods.receiving`)."""

"""Methods that ask: about the bot, chats, members, files, commands."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.standins.telegram.methods.access import chat_of
from tests.standins.telegram.model import Chat, Member
from tests.standins.telegram.refusals import bad
from tests.standins.telegram.text import units
from tests.standins.telegram.world import World

Json = dict[str, Any]

DOWNLOAD_LIMIT = 20 * 2**20
COMMAND = re.compile(r"[a-z0-9_]{1,32}")
COMMAND_LIMIT = 100
DESCRIPTION_LIMIT = 256
_GIFTS = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")


def get_me(world: World, params: Json) -> Json:
    """getMe."""
    return world.bot.me()


def get_chat(world: World, params: Json) -> Json:
    """getChat."""
    chat = chat_of(world, params)
    gifts = dict.fromkeys(_GIFTS, False)
    return {**chat.to_json(), "accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": gifts}


def get_member(world: World, params: Json) -> Json:
    """getChatMember."""
    chat = chat_of(world, params)
    user = params["user_id"]
    if user != world.bot.id and user not in world.people:
        raise bad("invalid user_id specified")
    if not chat.group:
        raise bad("there are no members in the private chat")
    return world.member(chat, user).to_json(world.user(user))


def get_administrators(world: World, params: Json) -> list[Json]:
    """getChatAdministrators: people, and the bot itself."""
    chat = _group(world, params)
    ruling = {user: member for user, member in chat.members.items() if member.status in ("creator", "administrator")}
    return [member.to_json(world.user(user)) for user, member in ruling.items()]


def count_members(world: World, params: Json) -> int:
    """getChatMemberCount."""
    chat = chat_of(world, params)
    return sum(member.present for member in chat.members.values()) if chat.group else 2


def leave(world: World, params: Json) -> bool:
    """leaveChat."""
    chat = _group(world, params)
    chat.members[world.bot.id] = Member("left")
    world.changes.mark()
    return True


def get_file(world: World, params: Json) -> Json:
    """getFile."""
    file = world.files.get(params["file_id"])
    if file is None:
        raise bad("wrong file_id or the file is temporarily unavailable")
    if file.size > DOWNLOAD_LIMIT:
        raise bad("file is too big", fault=False)
    return {"file_id": file.id, "file_unique_id": file.unique, "file_size": file.size, "file_path": file.path}


def set_commands(world: World, params: Json) -> bool:
    """setMyCommands."""
    if len(params["commands"]) > COMMAND_LIMIT:
        raise bad("BOT_COMMANDS_TOO_MUCH")
    for command in params["commands"]:
        if not COMMAND.fullmatch(command["command"]):
            raise bad("BOT_COMMAND_INVALID")
        if not 1 <= units(command["description"]) <= DESCRIPTION_LIMIT:
            raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
    world.commands[_scope(world, params)] = params["commands"]
    world.changes.mark()
    return True


def get_commands(world: World, params: Json) -> list[Json]:
    """getMyCommands."""
    return world.commands.get(_scope(world, params), [])


def delete_commands(world: World, params: Json) -> bool:
    """deleteMyCommands."""
    world.commands.pop(_scope(world, params), None)
    world.changes.mark()
    return True


def scope_key(scope: Json | None, language: str) -> str:
    """Under which key `World.commands` keeps a list."""
    return json.dumps([scope or {"type": "default"}, language], sort_keys=True)


def _scope(world: World, params: Json) -> str:
    language = params.get("language_code", "")
    if language and not re.fullmatch(r"[a-z]{2}", language):
        raise bad("invalid language_code specified")
    scope: Json | None = params.get("scope")
    if scope and "chat_id" in scope:
        chat_of(world, scope)
    return scope_key(scope, language)


def _group(world: World, params: Json) -> Chat:
    chat = chat_of(world, params)
    if not chat.group:
        raise bad("there are no administrators in the private chat")
    return chat

"""The nouns as Slack writes them in JSON."""

from __future__ import annotations

from tests.standins.slack.model import Channel, File, Json, Kind, Message, User
from tests.standins.slack.texts import rich
from tests.standins.slack.workspace import Workspace

_FILE_TYPES = {"text/plain": ("text", "Plain Text"), "application/pdf": ("pdf", "PDF"), "image/png": ("png", "PNG")}


def message_json(ws: Workspace, message: Message, *, metadata: bool = False, event: bool = False) -> Json:
    """A message.

    Args:
        ws: the workspace.
        message: the message.
        metadata: with `metadata`, which histories give only for `include_all_metadata`.
        event: as an event carries it: without what others did to it.
    """
    data: Json = {"type": "message", "user": message.user, "text": message.text, "ts": message.ts, "team": ws.team_id}
    if message.by_app:
        data |= {"bot_id": ws.app.bot_id, "app_id": ws.app.id, "bot_profile": bot_profile(ws)}
    if message.username:
        data |= {"subtype": "bot_message", "username": message.username}
    if subtype := _subtype(message):
        data["subtype"] = subtype
    for name, value in (
        ("client_msg_id", message.client_msg_id),
        ("blocks", _blocks(message)),
        ("attachments", message.attachments),
    ):
        if value:
            data[name] = value
    if message.files:
        data |= {"files": [file_json(ws, file) for file in message.files], "upload": False, "display_as_bot": False}
    if message.edited:
        data["edited"] = {"user": message.user, "ts": message.edited}
    if message.stream:
        data["streaming_state"] = "in_progress" if message.stream.state == "in_progress" else "completed"
    if message.ephemeral_for:
        data["is_ephemeral"] = True
    if metadata and message.metadata:
        data["metadata"] = message.metadata
    data |= _threading(ws, message, event=event)
    if message.reactions and not event:
        data["reactions"] = reactions_json(message)
    return data


def _subtype(message: Message) -> str | None:
    if message.subtype:
        return message.subtype
    if message.broadcast:
        return "thread_broadcast"
    return "file_share" if message.files else None


def _blocks(message: Message) -> list[Json]:
    """The blocks of a message; of markdown Slack makes blocks of its own, here one of type `markdown`."""
    if message.stream:
        return _stream_blocks(message)
    if message.markdown:
        return [{"type": "markdown", "text": message.text}, *message.blocks]
    if message.blocks or message.by_app or not message.text:
        return message.blocks
    return rich(message.text)


def _stream_blocks(message: Message) -> list[Json]:
    stream = message.stream
    assert stream is not None
    cards = [
        {"type": "task_card", "task_id": key, **{k: v for k, v in task.items() if k != "id"}}
        for key, task in stream.tasks.items()
    ]
    if stream.mode == "plan" and cards:
        cards = [{"type": "plan", "title": stream.plan or "", "tasks": cards}]
    text = [{"type": "markdown", "text": message.text}] if message.text else []
    return [*cards, *text, *stream.extra, *message.blocks]


def _threading(ws: Workspace, message: Message, *, event: bool) -> Json:
    channel = ws.channels[message.channel]
    if message.thread_ts:
        parent = channel.messages.get(message.thread_ts)
        return {"thread_ts": message.thread_ts, **({"parent_user_id": parent.user} if parent else {})}
    replies = [] if event else channel.replies(message.ts)
    if not replies:
        return {}
    users = list(dict.fromkeys(reply.user for reply in replies))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users_count": len(users),
        "reply_users": users[:5],
        "latest_reply": replies[-1].ts,
        "is_locked": False,
        "subscribed": False,
    }


def reactions_json(message: Message) -> list[Json]:
    """Who reacted how."""
    return [{"name": name, "users": list(users), "count": len(users)} for name, users in message.reactions.items()]


def bot_profile(ws: Workspace) -> Json:
    """The app's bot, as its messages carry it."""
    return {"id": ws.app.bot_id, "app_id": ws.app.id, "name": ws.app.name, "deleted": False, "team_id": ws.team_id}


def user_json(ws: Workspace, user: User) -> Json:
    """A user, as `users.info` gives him."""
    title = user.name.title()
    profile = {"real_name": title, "display_name": user.name, "team": ws.team_id}
    if user.is_bot:
        profile |= {"bot_id": ws.app.bot_id, "api_app_id": ws.app.id}
    return {
        "id": user.id,
        "team_id": ws.team_id,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": title,
        "tz": "Europe/Berlin",
        "tz_offset": 3600,
        "profile": profile,
        "is_admin": False,
        "is_owner": False,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "updated": 1_700_000_000,
    }


def channel_json(ws: Workspace, channel: Channel) -> Json:
    """A conversation, as `conversations.info` gives it."""
    bot_inside = ws.app.user_id in channel.members
    data: Json = {"id": channel.id, "created": channel.created, "is_archived": channel.archived}
    kinds = {
        "is_channel": channel.kind is Kind.PUBLIC,
        "is_group": channel.kind is Kind.PRIVATE,
        "is_im": channel.kind is Kind.DIRECT,
        "is_mpim": channel.kind is Kind.GROUP,
        "is_private": channel.kind is not Kind.PUBLIC,
    }
    if channel.kind is Kind.DIRECT:
        (partner,) = channel.members - {ws.app.user_id}
        return data | kinds | {"user": partner, "is_open": True}
    return data | kinds | {"name": channel.name, "creator": channel.creator, "is_member": bot_inside}


def file_json(ws: Workspace, file: File) -> Json:
    """A file; `url_private` needs the bot token."""
    kind, pretty = _FILE_TYPES.get(file.media_type, (file.media_type.rpartition("/")[2], file.media_type))
    base = f"{ws.base_url}/files-pri/{ws.team_id}-{file.id}"
    return {
        "id": file.id,
        "created": file.created,
        "timestamp": file.created,
        "name": file.name,
        "title": file.title,
        "mimetype": file.media_type,
        "filetype": kind,
        "pretty_type": pretty,
        "user": file.user,
        "user_team": ws.team_id,
        "size": len(file.content),
        "mode": "hosted",
        "is_external": False,
        "is_public": False,
        "url_private": f"{base}/{file.name}",
        "url_private_download": f"{base}/download/{file.name}",
        "permalink": f"{ws.base_url}/files/{file.user}/{file.id}/{file.name}",
        "channels": [name for name in file.channels if name.startswith("C")],
        "ims": [name for name in file.channels if name.startswith("D")],
        "file_access": "visible",
    }

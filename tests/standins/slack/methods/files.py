"""files.*: what the bot is told of a file, and how it uploads one in three steps."""

from __future__ import annotations

from tests.standins.slack.errors import Refusal
from tests.standins.slack.methods.registry import channel_of, method, thread_of
from tests.standins.slack.model import File, Json, Message
from tests.standins.slack.scopes import Tier
from tests.standins.slack.texts import TEXT_LIMIT, too_long
from tests.standins.slack.wire import file_json
from tests.standins.slack.workspace import Workspace

WAITING = -1
"""`created` of a file whose content was announced and hasn't been posted to the channel yet."""


@method("files.info", scopes=("files:read",), tier=Tier.FOUR)
def info(ws: Workspace, args: Json) -> Json:
    """One file that the bot can see."""
    file = ws.files.get(args["file"])
    if file is None or not any(ws.app.user_id in ws.channels[name].members for name in file.channels):
        raise Refusal("file_not_found", args["file"])
    return {"file": file_json(ws, file), "comments": [], "response_metadata": {"next_cursor": ""}}


@method("files.getUploadURLExternal", scopes=("files:write",), tier=Tier.FOUR)
def upload_url(ws: Workspace, args: Json) -> Json:
    """Announces a file; its content goes to `upload_url`."""
    if args["length"] < 1:
        raise Refusal("invalid_arguments", "length must be at least 1")
    file = ws.add_file(args["filename"], b"", ws.app.user_id)
    file.created = WAITING
    return {"file_id": file.id, "upload_url": f"{ws.base_url}/upload/{file.id}/{args['length']}"}


@method("files.completeUploadExternal", scopes=("files:write",), tier=Tier.FOUR)
def complete(ws: Workspace, args: Json) -> Json:
    """Shares what was uploaded."""
    files = [_uploaded(ws, one) for one in args["files"]]
    names = args.get("channels", []) or ([args["channel_id"]] if "channel_id" in args else [])
    if "thread_ts" in args and len(names) != 1:
        raise Refusal("invalid_arguments", "`thread_ts` goes with one channel")
    comment = str(args.get("initial_comment", ""))
    too_long("initial_comment", comment, TEXT_LIMIT)
    for name in names:
        channel = channel_of(ws, name, write=True)
        thread = thread_of(ws, channel, args["thread_ts"]) if "thread_ts" in args else None
        for file in files:
            file.channels.append(channel.id)
        message = Message(
            channel=channel.id,
            ts=ws.new_ts(),
            user=ws.app.user_id,
            by_app=True,
            text=comment,
            thread_ts=thread,
            files=files,
        )
        ws.post(message)
    return {"files": [file_json(ws, file) for file in files]}


def _uploaded(ws: Workspace, one: Json) -> File:
    file = ws.files.get(str(one.get("id")))
    if file is None or file.user != ws.app.user_id:
        raise Refusal("file_not_found", str(one.get("id")))
    if file.created == WAITING:
        raise Refusal("file_upload_incomplete", f"nothing was sent to the upload URL of {file.name}")
    file.title = str(one.get("title") or file.name)
    return file

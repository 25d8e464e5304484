"""chat.*: posting, editing, deleting."""

from __future__ import annotations

from dataclasses import replace

from tests.standins.slack.errors import Refusal
from tests.standins.slack.methods.content import content_of
from tests.standins.slack.methods.registry import channel_of, message_of, method, thread_of
from tests.standins.slack.model import Channel, Json, Message
from tests.standins.slack.scopes import Tier
from tests.standins.slack.texts import UPDATE_TEXT_LIMIT
from tests.standins.slack.wire import message_json
from tests.standins.slack.workspace import Workspace

_CUSTOM = ("username", "icon_emoji", "icon_url")


def target(ws: Workspace, name: str) -> Channel:
    """Where a post goes: a conversation, or a person by his id, whose direct conversation it is then."""
    if name in ws.users:
        return ws.direct(name)
    everywhere = "chat:write.public" in ws.app.scopes
    return channel_of(ws, name, inside=not (everywhere and name.startswith("C")), write=True)


def customised(ws: Workspace, args: Json) -> str | None:
    """The name that a message is to be shown under.

    Raises:
        Refusal: missing_scope without chat:write.customize.
    """
    if any(name in args for name in _CUSTOM) and "chat:write.customize" not in ws.app.scopes:
        provided = ",".join(sorted(ws.app.scopes))
        raise Refusal("missing_scope", fault=False, needed="chat:write.customize", provided=provided)
    return args.get("username")


@method("chat.postMessage", scopes=("chat:write",), tier=Tier.SPECIAL)
def post_message(ws: Workspace, args: Json) -> Json:
    """Posts a message."""
    channel = target(ws, args["channel"])
    content = content_of(ws, args)
    thread = thread_of(ws, channel, args["thread_ts"]) if "thread_ts" in args else None
    message = Message(
        channel=channel.id,
        ts=ws.new_ts(),
        user=ws.app.user_id,
        by_app=True,
        thread_ts=thread,
        broadcast=bool(args.get("reply_broadcast")) and thread is not None,
        username=customised(ws, args),
        **content.fields(),
    )
    ws.post(message)
    return {"channel": channel.id, "ts": message.ts, "message": message_json(ws, message, metadata=True)}


@method("chat.postEphemeral", scopes=("chat:write",), tier=Tier.FOUR)
def post_ephemeral(ws: Workspace, args: Json) -> Json:
    """Shows a message to one person."""
    channel = channel_of(ws, args["channel"], write=True)
    if args["user"] not in channel.members:
        raise Refusal("user_not_in_channel", args["user"])
    content = content_of(ws, args)
    thread = thread_of(ws, channel, args["thread_ts"]) if "thread_ts" in args else None
    message = Message(
        channel=channel.id,
        ts=ws.new_ts(),
        user=ws.app.user_id,
        by_app=True,
        thread_ts=thread,
        ephemeral_for=args["user"],
        username=customised(ws, args),
        **content.fields(),
    )
    ws.post(message)
    return {"message_ts": message.ts}


@method("chat.update", scopes=("chat:write",))
def update(ws: Workspace, args: Json) -> Json:
    """Changes a message of the app's own."""
    channel = channel_of(ws, args["channel"], write=True)
    message = message_of(channel, args["ts"])
    if not message.by_app:
        raise Refusal("cant_update_message", f"{message.ts} is by {message.user}")
    if ws.stream_state(message) == "in_progress":
        raise Refusal("streaming_state_conflict", f"{message.ts} is streaming")
    content = content_of(ws, _with_kept(message, args), limit=UPDATE_TEXT_LIMIT)
    if "metadata" not in args:  # docs.slack.dev/reference/methods/chat.update: kept unless given, {} removes it
        content = replace(content, metadata=message.metadata)
    marked = "text" in args or "markdown_text" in args
    if not ws.edit(message, edited=marked, stream=None, **content.fields()) and not _unheard(ws, message.ts):
        ws.fault(f"edit without change: {message.ts} in {channel.name}: {content.text[:80]!r}")
    return {
        "channel": channel.id,
        "ts": message.ts,
        "text": message.text,
        "message": message_json(ws, message, metadata=True),
    }


def _unheard(ws: Workspace, ts: str) -> bool:
    """Whether an edit of this message took effect and its caller wasn't told: then he may well do it again."""
    return any(call.applied and not call.answered and call.args.get("ts") == ts for call in ws.calls[-100:])


def _with_kept(message: Message, args: Json) -> Json:
    """The arguments of an edit with what it leaves as it was: without any text, text and blocks stay."""
    if "text" in args or "markdown_text" in args:
        return args
    kept: Json = {"text": message.text} if message.text and not message.markdown else {}
    if "blocks" not in args and message.blocks:
        kept["blocks"] = message.blocks
    if not kept and message.markdown and "blocks" not in args:
        kept["markdown_text"] = message.text
    return kept | args


@method("chat.delete", scopes=("chat:write",))
def delete(ws: Workspace, args: Json) -> Json:
    """Deletes a message of the app's own."""
    channel = channel_of(ws, args["channel"])
    message = message_of(channel, args["ts"])
    if not message.by_app:
        raise Refusal("cant_delete_message", f"{message.ts} is by {message.user}")
    ws.delete(message)
    return {"channel": channel.id, "ts": message.ts}


@method("chat.getPermalink", tier=Tier.SPECIAL)
def permalink(ws: Workspace, args: Json) -> Json:
    """Where a message can be seen."""
    channel = channel_of(ws, args["channel"])
    message = message_of(channel, args["message_ts"])
    link = f"{ws.base_url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.thread_ts:
        link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
    return {"channel": channel.id, "permalink": link}

"""conversations.* and users.info: what was said where, and who is there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from tests.standins.slack.errors import Refusal
from tests.standins.slack.methods.registry import channel_of, method
from tests.standins.slack.model import Channel, Json, Kind, Message
from tests.standins.slack.scopes import Tier
from tests.standins.slack.wire import channel_json, message_json, user_json
from tests.standins.slack.workspace import Workspace

_MOST = 999
_CURSOR = "next_ts:"


@method("conversations.history", scopes=("*:history",))
def history(ws: Workspace, args: Json) -> Json:
    """The top level of a conversation, newest first."""
    channel = channel_of(ws, args["channel"])
    found = [m for m in reversed(channel.messages.values()) if m.thread_ts is None or m.broadcast]
    return _page(ws, args, [m for m in found if _between(m, args)], default=100)


@method("conversations.replies", scopes=("*:history",))
def replies(ws: Workspace, args: Json) -> Json:
    """A thread, oldest first, its parent always at the head. `ts` may be that of a reply."""
    channel = channel_of(ws, args["channel"])
    ts = args["ts"]
    if (asked := channel.messages.get(ts)) is None:
        raise Refusal("thread_not_found", f"no message {ts} in {channel.name}", fault=ts not in channel.deleted)
    parent = channel.messages.get(asked.root)
    thread = [m for m in channel.replies(asked.root) if _between(m, args)]
    return _page(ws, args, thread, default=1000, head=[parent] if parent else [])


def _between(message: Message, args: Json) -> bool:
    """Whether a message lies between `oldest` and `latest`; the bounds themselves only if `inclusive`."""
    key, oldest, latest = _order(message.ts), _order(args.get("oldest", "0")), _order(args.get("latest", "9" * 12))
    return oldest <= key <= latest if args.get("inclusive") else oldest < key < latest


def _order(ts: str) -> tuple[int, int]:
    seconds, _, micros = ts.partition(".")
    return int(seconds), int(micros.ljust(6, "0"))


def _page(ws: Workspace, args: Json, found: Sequence[Message], *, default: int, head: Sequence[Message] = ()) -> Json:
    limit = int(args.get("limit", default))
    if not 0 < limit <= max(_MOST, default):
        raise Refusal("invalid_limit", f"{limit} isn't 1 to {max(_MOST, default)}")
    start = _start(args.get("cursor", ""), found)
    shown, left = found[start : start + limit], found[start + limit :]
    metadata = bool(args.get("include_all_metadata"))
    cursor = base64.b64encode(f"{_CURSOR}{left[0].ts}".encode()).decode() if left else ""
    return {
        "messages": [message_json(ws, message, metadata=metadata) for message in (*head, *shown)],
        "has_more": bool(left),
        **({"response_metadata": {"next_cursor": cursor}} if left else {}),
    }


def _start(cursor: str, found: Sequence[Message]) -> int:
    if not cursor:
        return 0
    try:
        ts = base64.b64decode(cursor, validate=True).decode().removeprefix(_CURSOR)
    except (binascii.Error, UnicodeDecodeError):
        ts = ""
    for index, message in enumerate(found):
        if message.ts == ts:
            return index
    raise Refusal("invalid_cursor", cursor)


@method("conversations.info", scopes=("*:read",))
def info(ws: Workspace, args: Json) -> Json:
    """One conversation. A private one that the bot isn't in doesn't exist for it."""
    public = args["channel"] in ws.channels and ws.channels[args["channel"]].kind is Kind.PUBLIC
    channel = channel_of(ws, args["channel"], inside=not public)
    data = channel_json(ws, channel)
    if args.get("include_num_members"):
        data["num_members"] = len(channel.members)
    return {"channel": data}


@method("conversations.list", scopes=("*:read",), tier=Tier.TWO)
def listed(ws: Workspace, args: Json) -> Json:
    """All conversations that the bot can see."""
    wanted = set(args.get("types", ["public_channel"]))
    names = {Kind.PUBLIC: "public_channel", Kind.PRIVATE: "private_channel", Kind.DIRECT: "im", Kind.GROUP: "mpim"}
    if unknown := wanted - set(names.values()):
        raise Refusal("invalid_types", ", ".join(sorted(unknown)))

    def seen(channel: Channel) -> bool:
        visible = channel.kind is Kind.PUBLIC or ws.app.user_id in channel.members
        return visible and names[channel.kind] in wanted and not (channel.archived and args.get("exclude_archived"))

    shown = [channel_json(ws, channel) for channel in ws.channels.values() if seen(channel)]
    return {"channels": shown, "response_metadata": {"next_cursor": ""}}


@method("conversations.members", scopes=("*:read",), tier=Tier.FOUR)
def members(ws: Workspace, args: Json) -> Json:
    """Who is in a conversation."""
    channel = channel_of(ws, args["channel"])
    return {"members": sorted(channel.members), "response_metadata": {"next_cursor": ""}}


@method("conversations.join", scopes=("channels:join",))
def join(ws: Workspace, args: Json) -> Json:
    """The bot comes into a public channel."""
    channel = channel_of(ws, args["channel"], inside=False, write=True)
    if channel.kind is not Kind.PUBLIC:
        raise Refusal("method_not_supported_for_channel_type", channel.name)
    if ws.app.user_id not in channel.members:
        ws.join(channel, ws.app.user_id)
    return {"channel": channel_json(ws, channel)}


@method("conversations.open", scopes=("im:write",))
def opened(ws: Workspace, args: Json) -> Json:
    """The direct conversation with somebody."""
    if "channel" in args:
        channel = channel_of(ws, args["channel"])
    else:
        users = args.get("users", [])
        if len(users) != 1:  # several would be a group conversation, which nothing here needs
            raise Refusal("not_enough_users", f"one user, not {users}")
        if users[0] not in ws.users:
            raise Refusal("user_not_found", users[0])
        channel = ws.direct(users[0])
    return {"channel": channel_json(ws, channel) if args.get("return_im") else {"id": channel.id}}


@method("users.info", scopes=("users:read",), tier=Tier.FOUR)
def user_info(ws: Workspace, args: Json) -> Json:
    """One user."""
    if (user := ws.users.get(args["user"])) is None:
        raise Refusal("user_not_found", args["user"])
    return {"user": user_json(ws, user)}

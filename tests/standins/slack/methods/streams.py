"""chat.startStream, appendStream, stopStream: a message that grows while it is read.

Chunks are those of docs.slack.dev/reference/methods/chat.appendStream. A task is replaced by a later chunk with its id,
but `details` and `output` are appended, as apps have found.
"""

from __future__ import annotations

import time
from typing import Any, cast

from tests.standins.slack.blocks import STATUSES, check_blocks
from tests.standins.slack.errors import Refusal
from tests.standins.slack.methods.chat import customised
from tests.standins.slack.methods.content import metadata_of, watch
from tests.standins.slack.methods.registry import channel_of, message_of, method, thread_of
from tests.standins.slack.model import Channel, Json, Kind, Message, Session, Stream
from tests.standins.slack.scopes import Tier
from tests.standins.slack.texts import MARKDOWN_LIMIT, too_long
from tests.standins.slack.wire import message_json
from tests.standins.slack.workspace import Workspace

_FIELD_LIMIT = 256
"""Of a task's title, details and output, and of a plan's title, in one chunk."""
_CHUNKS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "markdown_text": (frozenset({"text"}), frozenset()),
    "plan_update": (frozenset({"title"}), frozenset()),
    "task_update": (frozenset({"id", "title", "status"}), frozenset({"details", "output", "sources"})),
    "blocks": (frozenset({"blocks"}), frozenset()),
}
"""Required and optional fields by type."""
_APPENDED = ("details", "output")


@method("chat.startStream", scopes=("chat:write",), tier=Tier.TWO)
def start(ws: Workspace, args: Json) -> Json:
    """Begins a message in a thread."""
    channel = channel_of(ws, args["channel"], write=True)
    if channel.kind is not Kind.DIRECT:
        for name in ("recipient_team_id", "recipient_user_id"):
            if name not in args:
                raise Refusal(f"missing_{name}", "required when streaming to channels")
    if args.get("recipient_user_id", ws.app.user_id) not in ws.users:
        raise Refusal("user_not_found", args["recipient_user_id"])
    if args.get("recipient_team_id", ws.team_id) != ws.team_id:
        raise Refusal("team_not_found", args["recipient_team_id"])
    chunks = _checked(args)
    message = Message(
        channel=channel.id,
        ts=ws.new_ts(),
        user=ws.app.user_id,
        by_app=True,
        markdown=True,
        thread_ts=thread_of(ws, channel, args["thread_ts"]),
        stream=Stream(started=time.monotonic(), mode=args.get("task_display_mode", "timeline")),
        username=customised(ws, args),
    )
    _flow(ws, message, chunks)
    ws.post(message)
    return {"channel": channel.id, "ts": message.ts}


@method("chat.appendStream", scopes=("chat:write",), tier=Tier.FOUR)
def append(ws: Workspace, args: Json) -> Json:
    """Lets more flow in."""
    channel = channel_of(ws, args["channel"], write=True)
    message = _streaming(ws, channel, args["ts"], stopping=False)
    chunks = _checked(args)
    if not chunks:
        raise Refusal("no_text", "neither `markdown_text` nor `chunks`")
    _flow(ws, message, chunks)
    message.edits += 1
    ws.touch()
    return {"channel": channel.id, "ts": message.ts}


@method("chat.stopStream", scopes=("chat:write",), tier=Tier.TWO)
def stop(ws: Workspace, args: Json) -> Json:
    """Ends the stream; what it holds by then is the message."""
    channel = channel_of(ws, args["channel"], write=True)
    message = _streaming(ws, channel, args["ts"], stopping=True)
    chunks = _checked(args)
    blocks = list[Json](args.get("blocks", []))
    check_blocks(blocks)
    watch(ws, blocks)
    metadata = metadata_of(args) or message.metadata
    before = ws.ears.before(message) if ws.ears else {}
    _flow(ws, message, chunks)
    assert message.stream is not None
    message.stream.state = "completed"
    message.blocks, message.metadata = blocks, metadata
    message.edits += 1
    if ws.ears:
        ws.ears.changed(message, before)
    if session := ws.sessions.get((channel.id, message.root)):
        session.status = args.get("session_status", "active")
    elif "session_status" in args:
        ws.sessions[channel.id, message.root] = Session(status=args["session_status"])
    ws.touch()
    return {"channel": channel.id, "ts": message.ts, "message": message_json(ws, message, metadata=True)}


def _streaming(ws: Workspace, channel: Channel, ts: str, *, stopping: bool) -> Message:
    """A message that still streams.

    Raises:
        Refusal: message_not_in_streaming_state, stopped_by_user, message_not_owned_by_app. To stop what is stopped
            already is no fault: the answer to the first stop may have been lost.
    """
    message = message_of(channel, ts)
    if not message.by_app:
        raise Refusal("message_not_owned_by_app", f"{ts} is by {message.user}")
    state = ws.stream_state(message)
    if state == "stopped" and not stopping:
        raise Refusal("stopped_by_user", fault=False)
    if state != "in_progress" and not (state == "stopped" and stopping):
        fault = state is None or (state == "completed" and not stopping)
        raise Refusal("message_not_in_streaming_state", f"{ts} is {state or 'no stream'}", fault=fault)
    return message


def _checked(args: Json) -> list[Json]:
    """The chunks of a call, `markdown_text` as the first.

    Raises:
        Refusal: invalid_chunks, msg_too_long, invalid_blocks.
    """
    text = args.get("markdown_text")
    chunks: list[Any] = [{"type": "markdown_text", "text": text}] if text is not None else []
    chunks += args.get("chunks", [])
    for index, chunk in enumerate(chunks):
        if not isinstance(chunk, dict):
            raise Refusal("invalid_chunks", f"[ERROR] must be an object [json-pointer:/chunks/{index}]")
        if wrong := _wrong(cast("Json", chunk)):
            raise Refusal("invalid_chunks", f"[ERROR] {wrong} [json-pointer:/chunks/{index}]")
    return chunks


def _wrong(chunk: Json) -> str | None:
    """What is wrong with the shape of a chunk."""
    kind = chunk.get("type")
    if kind not in _CHUNKS:
        return f"unsupported type: {kind}"
    required, optional = _CHUNKS[kind]
    given = set(chunk) - {"type"}
    if missing := required - given:
        return f"missing required field: {', '.join(sorted(missing))}"
    if unknown := given - required - optional:
        return f"invalid additional property: {', '.join(sorted(unknown))}"
    if kind == "blocks":
        check_blocks(chunk["blocks"])
        return None
    texts = {name: value for name, value in chunk.items() if name != "sources"}
    if not all(isinstance(value, str) for value in texts.values()):
        return "must be strings"
    if kind == "markdown_text":
        too_long("text", chunk["text"], MARKDOWN_LIMIT)
        return None
    for name, value in texts.items():
        if len(value) > _FIELD_LIMIT:
            raise Refusal(
                "msg_too_long", f"`{name}` of a {kind} has {len(value)} characters, {_FIELD_LIMIT} are allowed"
            )
    if kind == "task_update" and (chunk["status"] not in STATUSES or not chunk["id"] or not chunk["title"]):
        return f"`status` must be one of {', '.join(STATUSES)}, `id` and `title` not empty"
    return _wrong_sources(chunk.get("sources", []))


def _wrong_sources(sources: Any) -> str | None:
    if not isinstance(sources, list):
        return "`sources` must be a list"
    for source in cast("list[Any]", sources):
        if not isinstance(source, dict) or set(cast("Json", source)) != {"type", "url", "text"}:
            return "a source has `type`, `url` and `text`"
    return None


def _flow(ws: Workspace, message: Message, chunks: list[Json]) -> None:
    """Chunks flow into a message. Mentions are looked for in what has come together, not in the pieces."""
    stream = message.stream
    assert stream is not None
    for chunk in chunks:
        kind = chunk["type"]
        if kind == "markdown_text":
            message.text += chunk["text"]
        elif kind == "plan_update":
            stream.plan = chunk["title"]
        elif kind == "blocks":
            stream.extra += chunk["blocks"]
        else:
            task = {name: value for name, value in chunk.items() if name != "type"}
            known = stream.tasks.get(chunk["id"], {})
            for name in _APPENDED:
                if name in task and name in known:
                    task[name] = known[name] + task[name]
            stream.tasks[chunk["id"]] = known | task
    kinds = {chunk["type"] for chunk in chunks}
    if "markdown_text" in kinds:
        watch(ws, message.text)
    watch(ws, [chunk for chunk in chunks if chunk["type"] != "markdown_text"])

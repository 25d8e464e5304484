"""A message as its reader sees it, as plain text."""

from __future__ import annotations

from typing import Any, cast

from tests.standins.slack.model import Json, Message
from tests.standins.slack.texts import shown
from tests.standins.slack.workspace import Workspace

_MARKS = {"pending": "○", "in_progress": "◐", "complete": "●", "error": "▲"}


def view(ws: Workspace, message: Message) -> str:
    """What stands on the screen: cards, text, blocks with buttons in brackets, files, reactions."""
    lines: list[str] = []
    if message.stream:
        lines += _stream(message)
    if message.text and (message.stream or message.markdown or not message.blocks):
        lines.append(message.text)
    lines += [
        line for block in (*(message.stream.extra if message.stream else ()), *message.blocks) for line in _block(block)
    ]
    lines += [str(attachment.get("text") or attachment.get("fallback", "")) for attachment in message.attachments]
    lines += [f"📎 {file.name}" for file in message.files]
    if message.reactions:
        lines.append(" ".join(f":{name}:" for name in message.reactions))
    text = "\n".join(line for line in lines if line)
    return shown(text, lambda user: _name(ws, user), lambda room: _room(ws, room))


def _name(ws: Workspace, user: str) -> str:
    return ws.users[user].name if user in ws.users else user


def _room(ws: Workspace, room: str) -> str:
    return ws.channels[room].name if room in ws.channels else room


def _stream(message: Message) -> list[str]:
    stream = message.stream
    assert stream is not None
    plan = [stream.plan] if stream.plan else []
    return [*plan, *(_task(task) for task in stream.tasks.values())]


def _task(task: Json) -> str:
    parts = (
        f"{_MARKS[task.get('status', 'pending')]} {task['title']}",
        _words(task.get("details")),
        _words(task.get("output")),
    )
    return " · ".join(part for part in parts if part)


def _block(block: Json) -> list[str]:
    kind = block["type"]
    if kind == "header":
        return [f"# {block['text']['text']}"]
    if kind == "section":
        parts = [_words(block.get("text")), *map(_words, block.get("fields", []))]
        return [*parts, _element(block["accessory"]) if "accessory" in block else ""]
    if kind in ("actions", "context"):
        return [" ".join(_element(element) for element in block["elements"])]
    if kind == "divider":
        return ["———"]
    if kind == "image":
        return [f"🖼 {block['alt_text']}"]
    if kind == "plan":
        return [str(block["title"]), *(_task(task) for task in block.get("tasks", []))]
    if kind == "task_card":
        return [_task(block)]
    if kind == "table":
        return [" | ".join(_words(cell) for cell in row) for row in block["rows"]]
    return [_words(block)]


def _element(element: Json) -> str:
    kind = element["type"]
    if kind == "button":
        return f"[{element['text']['text']}]"
    if kind in ("overflow", "static_select"):
        return "[" + "/".join(_words(option["text"]) for option in element["options"]) + "]"
    return f"🖼 {element['alt_text']}" if kind == "image" else _words(element)


def _words(value: Any) -> str:
    """All text within a value, one after the other."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_words, cast("list[Any]", value)))
    if not isinstance(value, dict):
        return ""
    fields = cast("Json", value)
    if fields.get("type") == "user":
        return f"<@{fields['user_id']}>"
    return "".join(_words(fields[name]) for name in ("text", "elements", "url") if name in fields)

"""What a strict provider would refuse: the faults of a chat request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

Json = dict[str, Any]

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


def faults(body: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a request in the OpenAI format; empty if nothing is."""
    messages: object = body.get("messages")
    if not isinstance(body.get("model"), str) or not body.get("model"):
        return ["`model` is missing"]
    if not isinstance(messages, list) or not messages:
        return ["`messages` is missing or empty"]
    found = _message_faults(cast("list[Json]", messages))
    return found + _tool_faults(cast("Sequence[Json]", body.get("tools") or ()))


def _message_faults(messages: list[Json]) -> list[str]:
    found: list[str] = []
    open_calls: Counter[str] = Counter()
    for index, message in enumerate(messages):
        role: object = message.get("role")
        where = f"messages[{index}]"
        if role not in _ROLES:
            found.append(f"{where}: role {role!r} is unknown")
        if role == "tool":
            found += _result_faults(where, message, open_calls)
            continue
        if open_calls.total():
            found.append(f"{where}: calls {sorted(open_calls.elements())} before it have no result")
            open_calls.clear()
        if role == "assistant":
            found += _assistant_faults(where, message, open_calls)
        elif role in ("system", "user") and not message.get("content"):
            found.append(f"{where}: content is empty")
    if open_calls.total():
        found.append(f"the end: calls {sorted(open_calls.elements())} have no result")
    if not any(m.get("role") != "system" for m in messages):
        found.append("nothing but system messages")
    return found


def _result_faults(where: str, message: Json, open_calls: Counter[str]) -> list[str]:
    answered = str(message.get("tool_call_id"))
    if not open_calls[answered]:
        return [f"{where}: result for {answered!r} answers no open call of the assistant message before it"]
    open_calls[answered] -= 1
    if not isinstance(message.get("content"), str | list):
        return [f"{where}: a result without content"]
    return []


def _assistant_faults(where: str, message: Json, open_calls: Counter[str]) -> list[str]:
    found: list[str] = []
    made = cast("list[Json]", message.get("tool_calls") or [])
    if not made and not message.get("content"):
        found.append(f"{where}: neither content nor calls")
    for one in made:
        function = cast("Json", one.get("function") or {})
        if one.get("type") != "function" or not one.get("id") or not function.get("name"):
            found.append(f"{where}: a call without id, type or name")
        if not _is_object(function.get("arguments")):
            found.append(f"{where}: arguments of {function.get('name')} aren't a JSON object")
        open_calls[str(one.get("id"))] += 1
    found += [f"{where}: id {key!r} stands for {n} calls" for key, n in open_calls.items() if n > 1]
    return found


def _is_object(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _tool_faults(tools: Sequence[Json]) -> list[str]:
    found: list[str] = []
    names: Counter[str] = Counter()
    for index, tool in enumerate(tools):
        function = cast("Json", tool.get("function") or {})
        parameters: object = function.get("parameters")
        names[str(function.get("name"))] += 1
        if tool.get("type") != "function" or not function.get("name"):
            found.append(f"tools[{index}]: not a named function")
        elif not isinstance(parameters, dict) or cast("Json", parameters).get("type") != "object":
            found.append(f"tools[{index}] ({function['name']}): parameters aren't an object schema")
    return found + [f"tool {name!r} is given {n} times" for name, n in names.items() if n > 1]

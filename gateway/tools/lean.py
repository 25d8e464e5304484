"""JSON Schemas as a model gets them: without what costs tokens and says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel


def lean_schema(args: type[BaseModel]) -> dict[str, Any]:
    """A JSON Schema of the arguments without what costs tokens and tells a model nothing (titles, null branches)."""
    schema = args.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    return _lean(schema, definitions)


def _lean(node: object, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_lean(item, definitions) for item in cast("list[object]", node)]
    if not isinstance(node, dict):
        return node
    parts = cast("dict[str, Any]", node)
    if "$ref" in parts:
        return _lean(definitions[str(parts["$ref"]).rsplit("/", 1)[-1]], definitions)
    lean: dict[str, Any] = {}
    for key, value in parts.items():
        if key == "properties":
            lean[key] = {name: _lean(each, definitions) for name, each in value.items()}
        elif key == "title" or (key == "default" and value is None):
            continue
        elif key == "anyOf" and len(kept := [each for each in value if each != {"type": "null"}]) == 1:
            lean.update(_lean(kept[0], definitions))
        else:
            lean[key] = _lean(value, definitions)
    return lean

"""`outputSchema`: the form that a child's result must have.

A schema comes from a model, so that it is data: it may refer to itself only, and nothing is fetched for it. The library
is imported when the first schema is used: most runs have none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from gateway.store.runs import Run

_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)
_REFERENCES = ("$ref", "$dynamicRef")
_VALUES = ("enum", "const", "default", "examples")
"""Keywords that hold data and no schema."""


def schema_fault(schema: dict[str, Any]) -> str | None:
    """What is wrong with a schema itself; None: nothing."""
    from jsonschema import Draft202012Validator, SchemaError  # lazy: most runs have no schema

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"at {error.json_path}: {error.message}"
    return _reference_fault(schema)


def output_fault(run: Run, text: str) -> str | None:
    """What is wrong with a run's final text; None: nothing, or the run has no schema."""
    if run.output_schema is None:
        return None
    from jsonschema import Draft202012Validator  # lazy: as above
    from referencing import Registry  # lazy: as above
    from referencing.exceptions import Unresolvable  # lazy: as above

    trimmed = text.strip()
    fenced = _FENCED.match(trimmed)
    try:
        value = json.loads(fenced[1] if fenced else trimmed)
    except (ValueError, RecursionError) as error:
        return f"The result is not JSON ({error})."
    # An empty registry: the library's own would fetch what a schema refers to.
    validator: Any = Draft202012Validator(run.output_schema, registry=Registry())  # its annotations are incomplete
    try:
        faults = sorted(validator.iter_errors(value), key=lambda each: str(each.json_path))
    except (Unresolvable, RecursionError) as error:
        return f"The schema can't be applied ({type(error).__name__}: {error})."
    if not faults:
        return None
    listed = "; ".join(f"at {fault.json_path}: {fault.message[:200]}" for fault in faults[:3])
    return f"The result doesn't fit the schema: {listed}."


def _reference_fault(schema: dict[str, Any]) -> str | None:
    from referencing import Registry  # lazy: as above
    from referencing.exceptions import Unresolvable  # lazy: as above
    from referencing.jsonschema import DRAFT202012  # lazy: as above

    known: Registry[Any] = Registry()
    resolver = known.resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _references(schema):
        if not reference.startswith("#"):
            return f"`$ref` {reference[:200]!r}: a schema may refer to itself only, such as `#/$defs/name`"
        try:
            resolver.lookup(reference)
        except Unresolvable:
            return f"`$ref` {reference[:200]!r} leads nowhere"
    return None


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in cast("dict[str, object]", node).items():
            if key in _REFERENCES and isinstance(value, str):
                yield value
            elif key not in _VALUES:
                yield from _references(value)
    elif isinstance(node, list):
        for item in cast("list[object]", node):
            yield from _references(item)

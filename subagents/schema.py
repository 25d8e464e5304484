"""`outputSchema`: the form that a child's result must have.

A schema comes from a model, so that it is data: it may refer to itself only, and nothing is fetched for it. The library
is imported when the first schema is used: most runs have none.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, cast

from gateway.store.runs import Run

_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)
PATTERN_SECONDS = 1.0
"""For all `pattern`s of one result together: a model's pattern must not hold up the database's thread."""
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
    if any(key == "patternProperties" for key, _ in _keywords(schema)):
        return "`patternProperties` is not supported; use `properties` or `propertyNames`"
    return _reference_fault(schema)


def output_fault(run: Run, text: str) -> str | None:
    """What is wrong with a run's final text; None: nothing, or the run has no schema."""
    if run.output_schema is None:
        return None
    from referencing import Registry  # lazy: as above
    from referencing.exceptions import Unresolvable  # lazy: as above

    trimmed = text.strip()
    fenced = _FENCED.match(trimmed)
    try:
        value = json.loads(fenced[1] if fenced else trimmed)
    except (ValueError, RecursionError) as error:
        return f"The result is not JSON ({error})."
    # An empty registry: the library's own would fetch what a schema refers to.
    nothing: Registry[Any] = Registry()
    validator: Any = _validator(time.monotonic() + PATTERN_SECONDS)(run.output_schema, registry=nothing)
    try:
        faults = sorted(validator.iter_errors(value), key=lambda each: str(each.json_path))
    except (Unresolvable, RecursionError, TimeoutError) as error:
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


def _references(schema: object) -> Iterator[str]:
    for key, value in _keywords(schema):
        if key in _REFERENCES and isinstance(value, str):
            yield value


def _keywords(node: object) -> Iterator[tuple[str, object]]:
    """Every keyword of a schema and of those inside it."""
    if isinstance(node, dict):
        for key, value in cast("dict[str, object]", node).items():
            yield key, value
            if key not in _VALUES:
                yield from _keywords(value)
    elif isinstance(node, list):
        for item in cast("list[object]", node):
            yield from _keywords(item)


def _validator(deadline: float) -> Any:
    """The library's validator, whose patterns give up together at a time of the monotonic clock."""
    import regex  # lazy: as above
    from jsonschema import Draft202012Validator, ValidationError, validators

    library: Any = validators  # its annotations are incomplete

    def pattern(_validator: object, pattern: str, instance: object, _schema: object) -> Iterator[ValidationError]:
        if not isinstance(instance, str):
            return
        left = deadline - time.monotonic()
        if left <= 0 or not regex.search(pattern, instance, timeout=left):
            yield ValidationError(f"{instance[:100]!r} does not match {pattern[:100]!r}")

    return library.extend(Draft202012Validator, {"pattern": pattern})

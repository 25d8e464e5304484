"""`outputSchema`: the form that a child's result must have.

The library is imported when the first schema is used: most runs have none.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gateway.store.runs import Run

_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)


def schema_fault(schema: dict[str, Any]) -> str | None:
    """What is wrong with a schema itself; None: nothing."""
    from jsonschema import Draft202012Validator, SchemaError  # lazy: most runs have no schema

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"at {error.json_path}: {error.message}"
    return None


def output_fault(run: Run, text: str) -> str | None:
    """What is wrong with a run's final text; None: nothing, or the run has no schema."""
    if run.output_schema is None:
        return None
    from jsonschema import Draft202012Validator  # lazy: as above

    trimmed = text.strip()
    fenced = _FENCED.match(trimmed)
    try:
        value = json.loads(fenced[1] if fenced else trimmed)
    except ValueError as error:
        return f"The result is not JSON ({error})."
    validator: Any = Draft202012Validator(run.output_schema)  # the library's own annotations are incomplete
    faults = sorted(validator.iter_errors(value), key=lambda each: str(each.json_path))
    if not faults:
        return None
    listed = "; ".join(f"at {fault.json_path}: {fault.message[:200]}" for fault in faults[:3])
    return f"The result doesn't fit the schema: {listed}."

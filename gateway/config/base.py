"""What every section of the configuration is made of: the base model and the value types.

A section is frozen, camelCase in the file and snake_case in Python, and refuses keys that it doesn't know.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, AllowInfNan, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

Thinking = Literal["off", "minimal", "low", "medium", "high", "xhigh", "max"]
OnRestart = Literal["resume", "fail"]


class Section(BaseModel):
    """A part of the configuration with a fixed set of keys."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )


def _refuse_bool(value: object) -> object:
    # pydantic takes true for 1; in a configuration that is a slip of the pen.
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "must be a number")
    return value


def _agent_id(value: str) -> str:
    lowered = value.lower()
    if not AGENT_ID.fullmatch(lowered):
        raise PydanticCustomError(
            "agent_id", "must be 1 to 64 letters, digits, “-” or “_” and begin with a letter or digit"
        )
    return lowered


def _provider_name(value: str) -> str:
    lowered = value.lower()
    if not PROVIDER_NAME.fullmatch(lowered):
        raise PydanticCustomError(
            "provider_name",
            "must be 1 to 64 letters, digits, “-”, “_” or “.” and begin with a letter or digit",
        )
    return lowered


def _agent_pattern(value: str) -> str:
    return value if value == "*" else _agent_id(value)


def _trimmed(value: str) -> str:
    stripped = value.strip()
    if not stripped:
        raise PydanticCustomError("blank", "must not be empty")
    return stripped


def _path(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("path", "must be a path without a NUL character")
    return _trimmed(value)


Whole = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool), AllowInfNan(False)]
AgentId = Annotated[str, AfterValidator(_agent_id)]
AgentPattern = Annotated[str, AfterValidator(_agent_pattern)]
ProviderName = Annotated[str, AfterValidator(_provider_name)]
Name = Annotated[str, AfterValidator(_trimmed)]
PathText = Annotated[str, AfterValidator(_path)]
Usd = Annotated[Number, Field(gt=0, le=1_000_000)]


def _id_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


PlatformId = Annotated[str, BeforeValidator(_id_text, json_schema_input_type=str | int), AfterValidator(_trimmed)]
"""An id that a platform gives; one that is a number may be written as one."""


class ModelChoice(Section):
    """Which model to use and what to try when it fails."""

    primary: Name = Field(description="The model: provider/model, an alias, or a name that only one model has.")
    fallbacks: tuple[Name, ...] = Field(
        default=(), description="Models to try in order where the first one can't be had."
    )


def _choice(value: object) -> object:
    return {"primary": value} if isinstance(value, str) else value


ModelSetting = Annotated[ModelChoice, BeforeValidator(_choice, json_schema_input_type=str | ModelChoice)]
"""`"provider/model"` or `{primary, fallbacks}` in the file; always a `ModelChoice` in Python."""

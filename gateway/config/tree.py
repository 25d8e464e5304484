"""The shape of the configuration, read off the models: which keys there are, and what each one takes.

One description serves the nearest-key hints, the environment overrides, `config show` and the reference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.config.base import ModelChoice, Section
from gateway.config.positions import KeyPath

REPEATED = (
    "agents.entries",
    "agents.list[].models.providers",
    "channels.slack.accounts",
    "channels.telegram.accounts",
)
"""Records that hold the same keys as another part: `agents.list[]`, `models.providers`, or what stands above them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What stands at one place of the configuration: a section, a list, a record, or a plain value."""

    section: type[Section] | None = None
    items: "Shape | None" = None
    """Shape of the elements of a list."""
    values: "Shape | None" = None
    """Shape of the values of a record with free keys."""
    plain: object = None
    """The type of a plain value."""
    nullable: bool = False

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.plain is SecretStr

    def child(self, key: str | int) -> "Shape | None":
        """The shape one step further in; None where there is none."""
        if self.section is not None:
            field = keys_of(self.section).get(str(key))
            return shape_of(field.annotation) if field else None
        return self.items if isinstance(key, int) else self.values

    def at(self, path: KeyPath) -> "Shape | None":
        """The shape at `path` from here; None where there is none."""
        shape: Shape | None = self
        for key in path:
            shape = shape.child(key) if shape else None
        return shape


def keys_of(section: type[Section]) -> Mapping[str, FieldInfo]:
    """The keys of a section as they are written in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def shape_of(annotation: Any) -> Shape:
    """The shape that a type annotation describes."""
    bare, nullable = _bare(annotation)
    origin, arguments = get_origin(bare), get_args(bare)
    if isinstance(bare, type) and issubclass(bare, Section):
        return Shape(section=bare, nullable=nullable)
    if origin is dict:
        return Shape(values=shape_of(arguments[1]), nullable=nullable)
    if origin is tuple:
        return Shape(items=shape_of(arguments[0]), nullable=nullable)
    return Shape(plain=cast("object", bare), nullable=nullable)


def _bare(annotation: Any) -> tuple[Any, bool]:
    nullable = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            nullable = True
            annotation = next(part for part in get_args(annotation) if part is not NoneType)
        else:
            return annotation, nullable


def words(shape: Shape) -> str:
    """What the place takes, in words for a person."""
    if shape.section is ModelChoice:
        return "text or { primary, fallbacks }"
    if shape.section is not None:
        return "object"
    if shape.items is not None:
        return f"list of {words(shape.items)}"
    if shape.values is not None:
        return f"record of {words(shape.values)}"
    if get_origin(shape.plain) is Literal:
        return " | ".join(f'"{value}"' for value in get_args(shape.plain))
    names: dict[object, str] = {
        bool: "true | false",
        int: "whole number",
        float: "number",
        str: "text",
        SecretStr: "text (secret)",
    }
    return names[shape.plain]


def leaves(value: object, shape: Shape, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Shape, object]]:
    """Every plain value of a configuration, with its path; empty lists and records count as plain."""
    if isinstance(value, Section):
        for name, field in type(value).model_fields.items():
            inner = cast("object", getattr(value, name))
            yield from leaves(inner, shape_of(field.annotation), (*path, field.alias or name))
    elif isinstance(value, Mapping) and value and shape.values:
        for key, inner in cast("Mapping[str, object]", value).items():
            yield from leaves(inner, shape.values, (*path, key))
    elif isinstance(value, tuple) and value and shape.items and shape.items.section:
        for index, inner in enumerate(cast("tuple[object, ...]", value)):
            yield from leaves(inner, shape.items, (*path, index))
    else:
        yield path, shape, value


def keys_below(shape: Shape, path: str = "") -> Iterator[tuple[str, Shape, FieldInfo]]:
    """Every key of the schema once, as `agents.list[].model`; what is `REPEATED` isn't entered."""
    if shape.section is None:
        inner, mark = (shape.items, "[]") if shape.items else (shape.values, ".<name>")
        if inner is not None:
            yield from keys_below(inner, path + mark)
        return
    for key, field in keys_of(shape.section).items():
        name = f"{path}.{key}" if path else key
        child = shape_of(field.annotation)
        yield name, child, field
        if child.section is not ModelChoice and name not in REPEATED:
            yield from keys_below(child, name)

"""Turns what pydantic and pyjson5 say about a configuration into problems that a person can mend."""

import re
from collections.abc import Collection, Mapping
from typing import Any, get_args

import pyjson5
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.positions import KeyPath, skip_space
from gateway.config.problems import Locator, Problem
from gateway.config.suggest import nearest
from gateway.config.tree import Shape, keys_below, keys_of, words

_NEAR = re.compile(r" near (\d+)")
_CODE_POINT = re.compile(r"U\+([0-9a-fA-F]{4,6})")

_BOUNDS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "too_short": "must have at least {min_length} element",
    "string_too_short": "must not be empty",
}


def syntax_problem(error: pyjson5.Json5DecoderException, text: str, locator: Locator) -> Problem:
    """A document that is no JSON5, at the line and column where reading failed."""
    said = str(error.args[0]) if error.args else ""
    near = _NEAR.search(said)
    # pyjson5 names the character after the faulty one, but for more data the one after the valid document.
    offset = int(near[1]) if near else 0
    offset = skip_space(text, offset) if said.startswith("Extra data") else max(offset - 1, 0)
    return locator.at(offset, _syntax_words(said), "JSON5 is expected; see docs/configuration.md")


def _syntax_words(said: str) -> str:
    for beginning, meaning in (
        ("Unclosed b'string'", "this text is not closed with the quote that it began with"),
        ("Unclosed b'object'", "the object that begins here is not closed with }"),
        ("Unclosed b'array'", "the list that begins here is not closed with ]"),
        ("Unclosed b'NumericLiteral'", "this number can't be read"),
        ("Stray b'comma'", "one comma too many"),
        ("Extra data", "something stands after the end of the configuration"),
        ("Maximum nesting", "objects and lists are nested too deeply"),
    ):
        if said.startswith(beginning):
            return meaning
    plain = _NEAR.sub("", said).replace("b'comma'", "a comma").replace("b'JSON5Value'", "a value")
    plain = re.sub(r"b'(\w+)'", r"\1", plain)
    plain = _CODE_POINT.sub(lambda match: ascii(chr(int(match[1], 16))), plain)
    return "can't be read: " + (plain[:1].lower() + plain[1:] if plain else "this is no JSON5")


def validation_problems(
    error: ValidationError, root: Shape, locator: Locator, hidden: Collection[KeyPath]
) -> list[Problem]:
    """Every fault that validation found, in the order of the model.

    Args:
        error: what pydantic found.
        root: shape of the whole configuration.
        locator: knows where values were given.
        hidden: paths whose values must not be repeated in a message.
    """
    return [_problem(details, root, locator, hidden) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails, root: Shape, locator: Locator, hidden: Collection[KeyPath]) -> Problem:
    location: KeyPath = details["loc"]
    if details["type"] == "extra_forbidden":
        return locator.problem(location, "is no known key", _key_hint(location, root), at_key=True)
    if details["type"] == "missing":
        return locator.problem(location[:-1], f"needs the key “{location[-1]}”", "add it")
    at_key = location[-1:] == ("[key]",)  # pydantic's mark for a fault of the key itself
    path = location[:-1] if at_key else location
    shape = root.at(path)
    message = _message(details, shape)
    if shape is not None and not shape.secret and not at_key and path not in hidden:
        message += _got(details["input"], shape)
    return locator.problem(path, message, at_key=at_key)


def _message(details: ErrorDetails, shape: Shape | None) -> str:
    kind = details["type"]
    context: Mapping[str, Any] = details.get("ctx", {})
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    if kind == "literal_error" and shape is not None:
        allowed = ", ".join(f'"{value}"' for value in get_args(shape.plain))
        return f"must be one of {allowed}"
    if kind == "string_pattern_mismatch":
        return "must be an address that begins with http:// or https://"
    if shape is not None and kind.endswith(("_type", "_parsing", "_from_float", "not_a_number", "_parsing_size")):
        return f"must be {_a(words(shape))}"
    return details["msg"]


def _a(noun: str) -> str:
    if noun.startswith(('"', "true")):
        return noun.replace(" | ", " or ")
    if noun.startswith("text"):
        return noun.removesuffix(" (secret)")
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _got(value: object, shape: Shape) -> str:
    if value is None:
        return ", not null"
    if isinstance(value, bool):
        return f", not {str(value).lower()}"
    if isinstance(value, str) and shape.plain is None:
        return ", not text"  # which may be a key that was put one level too high
    if isinstance(value, str):
        return f", not {value[:40]!a}{'…' if len(value) > 40 else ''}"
    if isinstance(value, int | float):
        return f", not {value:.6g}" if isinstance(value, float) else f", not {_digits(value)}"
    return ", not a list" if isinstance(value, list) else ", not an object"


def _digits(value: int) -> str:
    # Python refuses to print integers of more than 4300 digits.
    return str(value) if abs(value) < 10**20 else "so large a number"


def _key_hint(path: KeyPath, root: Shape) -> str:
    key = str(path[-1])
    around = root.at(path[:-1])
    known = list(keys_of(around.section)) if around and around.section else []
    best = nearest(key, known)
    if best:
        return f"did you mean “{best}”?"
    elsewhere = [name for name, _, _ in keys_below(root) if name.rsplit(".", 1)[-1] == key]
    if elsewhere:
        # Of several, the one in a section of the same name is the likeliest.
        inner = str(path[-2]) if len(path) > 1 else ""
        return f"there is {next((name for name in elsewhere if f'.{inner}.' in name), elsewhere[0])}"
    return f"known here: {', '.join(known)}"

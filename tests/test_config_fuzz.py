"""Whatever stands in a file or a variable: a configuration or a list of problems, and every place is found."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pyjson5
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, Paths
from gateway.config.load import parse_config, parse_text
from gateway.config.positions import KeyPath, Lines, scan
from gateway.config.show import settings as shown
from gateway.config.tree import keys_below

PATHS = Paths(Path("/state"))
FILE = Path("/state/config.json5")

words = sorted({part for name, _, _ in keys_below(Config.shape) for part in name.replace("[]", "").split(".")})
keys = st.sampled_from([*words, "main", "openai"]) | st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["${HOME}", "${NO}", "${", "$${x}", "${A:-b}", "openai/x", "steer", "1"])
)
json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def use(config: Config) -> None:
    for agent_id in config.agent_ids():
        assert config.agent(agent_id).workspace.is_absolute()
    assert all(setting.key for setting in shown(config))
    assert all(config.warnings)
    config.secret_values()
    config.tool_name_warnings(["read"])


@quick
@given(st.text())
def test_any_text(text: str) -> None:
    try:
        use(parse_text(text, FILE, paths=PATHS, environ={"HOME": "/h"}))
    except ConfigError as error:
        assert error.problems and str(error)


FRAGMENTS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "'",
    '"',
    "\\",
    "//",
    "/*",
    "*/",
    "\n",
    " ",
    "agents",
    "list",
    "1",
    "0x",
    ".",
]


@quick
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_broken_json5(text: str) -> None:
    try:
        use(parse_text(text, FILE, paths=PATHS, environ={}))
    except ConfigError as error:
        assert all(problem.line and problem.column for problem in error.problems)


@quick
@given(st.dictionaries(keys, json, max_size=5))
def test_any_values(data: dict[str, object]) -> None:
    try:
        use(parse_config(data, paths=PATHS, environ={"HOME": "/h"}))
    except ConfigError as error:
        assert error.problems and str(error)


@st.composite
def shaped(draw: st.DrawFn) -> dict[str, object]:
    """Values at places where there is a setting."""
    data: dict[str, object] = {}
    for name in draw(st.lists(st.sampled_from([name for name, _, _ in keys_below(Config.shape)]), max_size=6)):
        node = data
        *outer, last = name.replace("[]", ".0").replace("<name>", "x").split(".")
        for part in outer:
            inner = node.setdefault(part, {})
            node = cast("dict[str, object]", inner) if isinstance(inner, dict) else {}
        node[last] = draw(json)
    return data


@quick
@given(shaped())
def test_any_values_for_settings(data: dict[str, object]) -> None:
    try:
        use(parse_config(data, paths=PATHS, environ={"HOME": "/h"}))
    except ConfigError as error:
        assert error.problems and str(error)


names = st.lists(keys.filter(lambda key: "\0" not in key), min_size=1, max_size=4).map("__".join)


@quick
@given(st.dictionaries(names, st.text(max_size=12) | st.sampled_from(["[1]", "{a: 1}", "[", "null"]), max_size=4))
def test_any_variables(variables: dict[str, str]) -> None:
    environ = {f"LANEWAY__{name}": value for name, value in variables.items()}
    try:
        use(parse_config({"agents": {"list": [{"id": "a"}]}}, paths=PATHS, environ=environ))
    except ConfigError as error:
        assert all(problem.file in environ or problem.file == "configuration" for problem in error.problems)


space = st.sampled_from(["", " ", "\n", "\r\n", "\t", "/* { [ */", "// ]}\n", "\u00a0", "\u2028", "\ufeff"])


@st.composite
def documents(draw: st.DrawFn, depth: int = 4) -> str:
    """A valid JSON5 document with comments, odd spaces, all kinds of quotes and trailing commas."""
    kind = draw(st.sampled_from(["scalar", "object", "list"])) if depth else "scalar"
    if kind == "scalar":
        core = draw(literals)
    else:
        parts = [draw(documents(depth=depth - 1)) for _ in range(draw(st.integers(0, 3)))]
        if kind == "object":
            parts = [f"{draw(space)}{draw(written_keys)}{draw(space)}:{part}" for part in parts]
        comma = "," if parts and draw(st.booleans()) else ""
        core = ",".join(parts) + comma + draw(space)
        core = f"{{{core}}}" if kind == "object" else f"[{core}]"
    return draw(space) + core + draw(space)


quoted = st.text(max_size=6).map(lambda text: pyjson5.dumps(text))
single = st.sampled_from(["'a\"b'", "'\\''", "'line \\\n on'", "'\\x41'", "''", "'{ // no comment'"])
written_keys = quoted | single | st.sampled_from(["plain", "$_1", "ünï", "\\u0061b", "null", "Infinity"])
literals = quoted | single | st.sampled_from(["1", "-0x1F", ".5", "5.", "+1e3", "NaN", "-Infinity", "true", "null"])


@quick
@given(documents())
def test_every_key_and_value_has_its_place(text: str) -> None:
    data: object = pyjson5.decode(text)
    found = scan(text)
    if found.duplicates:
        return  # the document holds less than its text does
    assert found.values.keys() == dict(everything(data, ())).keys()
    for path, value in everything(data, ()):
        first = text[found.values[path]]
        assert (
            first in "{" if isinstance(value, dict) else first in "[" if isinstance(value, list) else first not in "{["
        )
        if path and isinstance(path[-1], str):
            line, column = Lines(text).at(found.keys[path])
            assert line >= 1 and column >= 1
            token = text[found.keys[path] :].split(":")[0]
            assert token[:1] in "'\"\\" or token.startswith(path[-1])


def everything(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    yield path, value
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(cast("dict[str | int, object]", value).items())
    elif isinstance(value, list):
        inner = list(enumerate(cast("list[object]", value)))
    for key, item in inner:
        yield from everything(item, (*path, key))

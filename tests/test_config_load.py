"""Loading: what is accepted, and how each fault is told."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, Paths, load_config, parse_config

FIXTURES = Path(__file__).parent / "fixtures" / "config"

Load = Callable[..., Config]
Faults = Callable[..., list[str]]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "state")


@pytest.fixture
def load(tmp_path: Path, paths: Paths) -> Load:
    def load(text: str, environ: Mapping[str, str] | None = None) -> Config:
        file = tmp_path / "c.json5"
        file.write_text(text, encoding="utf-8")
        return load_config(file, paths=paths, environ=environ or {})

    return load


@pytest.fixture
def faults(load: Load, tmp_path: Path) -> Faults:
    def faults(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return faults


@pytest.mark.parametrize("file", sorted(FIXTURES.glob("seed-*.json5")), ids=lambda file: file.stem)
def test_seed_examples_load_as_they_stand(file: Path, paths: Paths) -> None:
    assert load_config(file, paths=paths, environ={}).source == file


def test_seed_values_arrive(paths: Paths) -> None:
    config = load_config(FIXTURES / "seed-full.json5", paths=paths, environ={})
    assert config.agent_ids() == ("main", "ops")
    assert config.agents.defaults.subagents.max_concurrent == 4
    main, ops = config.agent("main"), config.agent("ops")
    assert (main.name, main.model and main.model.primary) == (
        "Personal Assistant",
        "anthropic/claude-sonnet-4",
    )
    assert main.subagents.model and main.subagents.model.primary == "minimax/MiniMax-M2.1"
    assert ops.subagents.model and ops.subagents.model.primary == "anthropic/claude-sonnet-4"
    assert (ops.subagents.thinking, ops.subagents.allow_agents) == ("low", ("main",))
    assert (main.subagents.archive_after_minutes, main.subagents.allow_agents) == (30, None)
    assert config.warnings == ()
    (warning,) = config.tool_name_warnings(["read", "exec"])
    assert "seed-full.json5:31:16: tools.subagents.tools.deny[0] names no tool: 'browser'" in warning


def test_unknown_agents_are_warnings_with_a_place(paths: Paths) -> None:
    config = load_config(FIXTURES / "seed-allow-agents.json5", paths=paths, environ={})
    first, _ = config.warnings
    assert "seed-allow-agents.json5:7:25: agents.list[0].subagents.allowAgents[0]" in first
    assert "“researcher” (there are: orchestrator)" in first


def test_no_file_at_all_is_valid(paths: Paths) -> None:
    config = load_config(None, paths=paths, environ={})
    assert (config.source, config.agent_ids(), config.gateway.port) == (None, ("main",), 7878)


def test_a_file_that_was_asked_for_must_be_there(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.json5: can't be read: no such file"):
        load_config(tmp_path / "nothing.json5", paths=paths, environ={})
    with pytest.raises(ConfigError, match="LANEWAY_CONFIG"):
        load_config(None, paths=paths, environ={"LANEWAY_CONFIG": str(tmp_path / "nothing.json5")})
    with pytest.raises(ConfigError, match="can't be read: is a directory"):
        load_config(tmp_path, paths=paths, environ={})


def test_the_state_folder_and_the_variable_are_searched(tmp_path: Path) -> None:
    environ = {"LANEWAY_HOME": "~/lane", "HOME": str(tmp_path)}
    paths = Paths.from_env(environ)
    assert paths.state == tmp_path / "lane"
    assert Paths.from_env({"HOME": str(tmp_path)}).state == tmp_path / ".laneway"
    paths.state.mkdir()
    paths.config_file.write_text("{ gateway: { port: 1 } }")
    assert load_config(None, paths=paths, environ=environ).gateway.port == 1
    (tmp_path / "other.json5").write_text("{ gateway: { port: 2 } }")
    environ["LANEWAY_CONFIG"] = "~/other.json5"
    assert load_config(None, paths=paths, environ=environ).gateway.port == 2


@pytest.mark.parametrize("text", ["", "  // nothing yet\n", "{}", "\ufeff{ /* empty */ }", '{ $schema: "x" }'])
def test_nothing_in_the_file_is_valid(load: Load, text: str) -> None:
    assert load(text).agent_ids() == ("main",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{\n  a: 1,,\n}", "c.json5:2:8: one comma too many"),
        ("{\n  agents: {", "c.json5:2:11: the object that begins here is not closed with }"),
        ("{ owners: [ ", "c.json5:1:11: the list that begins here is not closed with ]"),
        ('{ "x\n": 1 }', "c.json5:1:3: this text is not closed"),
        ("{}\n\nmore", "c.json5:3:1: something stands after the end"),
        ("{ gateway { port: 1 } }", "c.json5:1:11: can't be read: expected colon, found '{'"),
        ("[1]", "c.json5:1:1: must be an object"),
        ("[" * 50, "objects and lists are nested too deeply"),
    ],
)
def test_what_is_no_json5(faults: Faults, text: str, told: str) -> None:
    (fault,) = faults(text)
    assert told in fault


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "{\n agents: { default: {} } }",
            "c.json5:2:12: agents.default is no known key (did you mean “defaults”?)",
        ),
        ("{ '[key]': 1 }", "c.json5:1:3: ['[key]'] is no known key"),
        ("{ gatway: {} }", "c.json5:1:3: gatway is no known key (did you mean “gateway”?)"),
        (
            "{ agents: { defaults: { max_turns: 3 } } }",
            "c.json5:1:25: agents.defaults.max_turns is no known key (did you mean “maxTurns”?)",
        ),
        (
            '{ agents: { list: [{ id: "a", subagents: { maxConcurrent: 3 } }] } }',
            "subagents.maxConcurrent is no known key (there is agents.defaults.subagents.maxConcurrent)",
        ),
        (
            "{ database: { zzz: 1 } }",
            "c.json5:1:15: database.zzz is no known key (known here: url, durability)",
        ),
        (
            '{ gateway: { port: "x" } }',
            "c.json5:1:20: gateway.port must be a whole number, not 'x'",
        ),
        ("{ gateway: { port: 70000 } }", "gateway.port must be at most 65535, not 70000"),
        ("{ gateway: { port: true } }", "gateway.port must be a whole number, not true"),
        ("{ gateway: { drainSeconds: Infinity } }", "gateway.drainSeconds must be a finite number"),
        ("{ gateway: { auth: 'sesame' } }", "c.json5:1:20: gateway.auth must be an object, not text"),
        ("{ gateway: 5 }", "c.json5:1:12: gateway must be an object, not 5"),
        ("{ owners: null }", "owners must be a list of text, not null"),
        (
            '{ messages: { queue: { mode: "steel" } } }',
            'must be one of "steer", "followup", "collect", "interrupt", not \'steel\'',
        ),
        ("{ agents: { defaults: { model: 5 } } }", "must be text or { primary, fallbacks }, not 5"),
        ("{ agents: { list: [{ }] } }", "c.json5:1:20: agents.list[0] needs the key “id”"),
        ('{ agents: { list: [{ id: "a b" }] } }', "agents.list[0].id must be 1 to 64 letters"),
        (
            '{ agents: { list: [{ id: "a" }, { id: "A" }] } }',
            "c.json5:1:39: agents.list[1].id names the agent “A” again",
        ),
        (
            '{ agents: { list: [{ id: "a" }], entries: { a: {} } } }',
            "c.json5:1:48: agents.entries.a names the agent",
        ),
        ("{ models: { providers: { X: {}, x: {} } } }", "models.providers.x names the provider “x” again"),
        ("{ models: { providers: { 'a/b': {} } } }", "c.json5:1:26: models.providers['a/b'] must be 1 to 64"),
        ("{ gateway: { port: 1, 'port': 2 } }", "c.json5:1:23: gateway.port stands twice in the same object"),
        ('{ models: { providers: { x: { baseUrl: "x" } } } }', "must be an address that begins with http://"),
        ("{ agents: { defaults: { workspace: 'a\\0b' } } }", "must be a path without a NUL character"),
    ],
)
def test_faults_say_what_and_where(faults: Faults, text: str, told: str) -> None:
    (fault,) = faults(text)
    assert told in fault


def test_several_faults_are_told_at_once(faults: Faults) -> None:
    told = faults("{ agents: { lst: [] }, gateway: { port: -1, port: 'x' }, owners: ['${NOPE}'] }", {"LANEWAY__X": "1"})
    assert len(told) == 4


def test_a_file_that_is_no_text(load: Load, paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "latin.json5").write_bytes(b"{\n  owners: ['\xe9'] }")
    with pytest.raises(ConfigError, match=r"latin\.json5:2:1: is no UTF-8 text"):
        load_config(tmp_path / "latin.json5", paths=paths, environ={})


def test_variables_in_texts(load: Load) -> None:
    text = """{ gateway: { port: "${PORT:-81}", host: "${HOST}", allowedHosts: ["$${x}.${EMPTY:-y}"] } }"""
    config = load(text, {"HOST": "::1", "EMPTY": "", "UNUSED": "1"})
    assert (config.gateway.port, config.gateway.host, config.gateway.allowed_hosts) == (
        81,
        "::1",
        ("${x}.y",),
    )
    assert config.substituted_variables == ("HOST",)
    assert load(text, {"HOST": "a", "PORT": "99"}).gateway.port == 99


def test_missing_variables_have_a_place(faults: Faults) -> None:
    told = faults('{ owners: ["a",\n "${NO_SUCH}"], gateway: { host: "${ x}" } }')
    assert told == [
        "c.json5:2:2: owners[1] needs the environment variable NO_SUCH, which is not set "
        "(set it, or give a default: ${NO_SUCH:-…})",
        "c.json5:2:34: gateway.host holds “${” without a variable's name (write $${ for a plain ${)",
    ]


def test_what_a_variable_held_is_not_repeated(faults: Faults) -> None:
    (fault,) = faults('{ gateway: { port: "${PORT}" } }', {"PORT": "sesame-open"})
    assert "sesame" not in fault


def test_settings_from_the_environment(load: Load) -> None:
    config = load(
        "{ agents: { defaults: { model: 'a/b', maxTurns: 7 }, list: [{ id: 'one' }] } }",
        {
            "LANEWAY__AGENTS__DEFAULTS__SUBAGENTS__MAX_CONCURRENT": "3",
            "laneway__agents__defaults__subagents__maxspawndepth": "2",
            "LANEWAY__AGENTS__DEFAULTS__SUBAGENTS__THINKING": "low",
            "LANEWAY__AGENTS__DEFAULTS__MODEL__FALLBACKS": "c/d, e/f",
            "LANEWAY__AGENTS__LIST__0__NAME": "Number one",
            "LANEWAY__AGENTS__LIST__1": "{id: 'two'}",
            "LANEWAY__GATEWAY__PORT": "2",
            "LANEWAY__MODELS__PROVIDERS__OPENAI__API_KEY": "sk-from-env",
            "LANEWAY__MODELS__ALIASES__FAST": "a/b",
            "LANEWAY__OWNERS": '["a", "b"]',
            "LANEWAY__TOOLS__ALLOW": "null",
        },
    )
    defaults = config.agents.defaults
    assert (defaults.max_turns, defaults.subagents.max_concurrent, defaults.subagents.max_spawn_depth) == (
        7,
        3,
        2,
    )
    assert defaults.model and (defaults.model.primary, defaults.model.fallbacks) == ("a/b", ("c/d", "e/f"))
    assert (config.agent("one").name, config.agent_ids()) == ("Number one", ("one", "two"))
    assert (config.gateway.port, config.owners, config.models.aliases) == (2, ("a", "b"), {"fast": "a/b"})
    assert "sk-from-env" in config.secret_values()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "LANEWAY__AGENT__X",
            "1",
            "LANEWAY__AGENT__X: names no setting: there is no “AGENT” (did you mean agents?)",
        ),
        ("LANEWAY__GATEWAY__PORT__X", "1", "names no setting: gateway.port is a single value"),
        ("LANEWAY__AGENTS__LIST__3__ID", "x", "names no element of agents.list; use a number from 0 to 0"),
        ("LANEWAY__GATEWAY", "x", "is no valid JSON5"),
        (
            "LANEWAY__GATEWAY__PORT",
            "x",
            "LANEWAY__GATEWAY__PORT: gateway.port must be a whole number, not 'x'",
        ),
        (
            "LANEWAY__MODELS__PROVIDERS__X__MODELS",
            "[{}]",
            "LANEWAY__MODELS__PROVIDERS__X__MODELS: models.providers.x",
        ),
        ("LANEWAY__", "x", "names no setting"),
    ],
)
def test_faulty_variables_are_named(faults: Faults, variable: str, value: str, told: str) -> None:
    (fault,) = faults("{}", {variable: value})
    assert told in fault


def test_data_in_memory_is_checked_as_a_file_is(paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"configuration: gateway\.prt is no known key"):
        parse_config({"gateway": {"prt": 1}}, paths=paths)


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "typer rich pydantic_settings sqlalchemy aiohttp openai litellm"
    code = f"import sys, gateway.config; print(*[name for name in {heavy.split()} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # our own text
    assert result.stdout == "\n"

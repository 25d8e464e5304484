"""The example and the reference keep up with the models."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError, validate

from gateway.config import Config, Paths, load_config
from gateway.config.base import ModelChoice, Section
from gateway.config.positions import KeyPath, scan
from gateway.config.providers import KNOWN_PROVIDERS
from gateway.config.reference import reference
from gateway.config.tree import keys_below, keys_of

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.json5"


NAMED = (
    ("models", "providers"),
    ("agents", "subagentDefs"),
    ("mcp", "servers"),
    ("channels", "slack", "groups"),
    ("channels", "telegram", "groups"),
)
"""Records whose keys are a person's own."""


def test_the_example_loads_without_a_warning(tmp_path: Path) -> None:
    config = load_config(EXAMPLE, paths=Paths(tmp_path), environ={})
    assert config.warnings == ()
    assert config.agent_ids() == ("main", "researcher")


def test_the_example_shows_every_key() -> None:
    shown = {_generic(path) for path in scan(EXAMPLE.read_text(encoding="utf-8")).keys}
    known = {name for name, _, _ in keys_below(Config.shape)}
    known |= {f"agents.defaults.model.{key}" for key in keys_of(ModelChoice)}
    assert known - shown == set()


def _generic(path: KeyPath) -> str:
    text = ""
    for index, part in enumerate(path):
        named = path[:index] in NAMED
        text += "[]" if isinstance(part, int) else ".<name>" if named else f".{part}"
    return text.removeprefix(".")


def test_the_examples_defaults_are_the_defaults(tmp_path: Path) -> None:
    config = load_config(EXAMPLE, paths=Paths(tmp_path), environ={})
    default = Config()
    for name in ("messages", "session", "database", "retention", "plugins"):
        assert getattr(config, name) == getattr(default, name)
    without_tokens = config.gateway.auth.model_copy(update={"tokens": ()})
    assert config.gateway.model_copy(update={"auth": without_tokens}) == default.gateway
    subagents = config.agents.defaults.subagents
    assert subagents == default.agents.defaults.subagents


def test_every_key_is_described_in_one_line() -> None:
    for name, shape, field in keys_below(Config.shape):
        assert field.description and "\n" not in field.description and field.description.endswith("."), name
        assert shape.section is None or issubclass(shape.section, Section)


def test_the_reference_is_current() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "make it anew: python -m gateway.config.reference > docs/configuration.md"


def test_the_schema_is_one_and_takes_a_model_as_text_or_object() -> None:
    schema = Config.model_json_schema(by_alias=True)
    Draft202012Validator.check_schema(schema)
    subagents = {"model": {"primary": "x"}}
    validate({"agents": {"defaults": {"model": "a/b", "subagents": subagents}}}, schema)
    with pytest.raises(ValidationError):
        validate({"agents": {"defaults": {"maxSpawnDepth": 1}}}, schema)


def test_known_providers_can_be_chosen_by_default() -> None:
    for name, known in KNOWN_PROVIDERS.items():
        assert known.variables or known.keyless, name
        assert known.base_url or known.api != "openai-completions", name

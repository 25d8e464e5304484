"""What everybody else asks of a configuration: agents, providers, model names, secrets, restarts."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.config import Config, Paths, UnknownAgent, UnknownModel, diff_restart, parse_config

PATHS = Paths(Path("/state"))


def make(data: Mapping[str, object], **environ: str) -> Config:
    return parse_config(data, paths=PATHS, environ={"HOME": "/home/me", **environ})


def agents(*listed: Mapping[str, object], **more: object) -> dict[str, object]:
    return {"agents": {"list": list(listed), **more}}


def key(config: Config, agent_id: str, provider: str) -> str | None:
    secret = config.agent(agent_id).providers[provider].api_key
    return secret.get_secret_value() if secret else None


def test_without_agents_there_is_main() -> None:
    config = make({})
    main = config.agent("main")
    assert (config.agent_ids(), config.default_agent_id) == (("main",), "main")
    assert (main.id, main.name, main.workspace, main.model) == (
        "main",
        "main",
        Path("/state/workspace"),
        None,
    )
    assert (main.subagents.max_children, main.subagents.max_spawn_depth, main.subagents.allow_agents) == (
        5,
        1,
        None,
    )
    assert config.agent("main") is main


def test_ids_are_lower_case_and_list_goes_before_entries() -> None:
    config = make(agents({"id": "Beta"}, entries={"Alpha": {"default": True}}))
    assert (config.agent_ids(), config.default_agent_id) == (("beta", "alpha"), "alpha")
    assert config.agent("BETA").id == "beta"
    assert make(agents({"id": "b"}, {"id": "a"})).default_agent_id == "b"


def test_an_unknown_agent_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownAgent, match=r"no agent “x” is configured; there are: main"):
        make({}).agent("x")


def test_two_defaults_are_a_warning() -> None:
    (warning,) = make(agents({"id": "a", "default": True}, {"id": "b", "default": True})).warnings
    assert "agents.list[1].default is true for more than one agent" in warning


def test_workspaces() -> None:
    config = make(agents({"id": "a"}, {"id": "b"}, {"id": "c", "workspace": "~/c"}, {"id": "d", "workspace": "d"}))
    found = [str(config.agent(agent_id).workspace) for agent_id in config.agent_ids()]
    assert found == ["/state/workspace", "/state/workspace-b", "/home/me/c", "/state/d"]
    named = make(agents({"id": "a"}, {"id": "b"}, defaults={"workspace": "/srv/w"}))
    assert [str(named.agent(agent_id).workspace) for agent_id in "ab"] == ["/srv/w", "/state/workspace-b"]


def test_subagent_settings_are_the_agents_else_the_defaults() -> None:
    config = make(
        agents(
            {"id": "a", "subagents": {"runTimeoutSeconds": 0, "allowAgents": [], "requireAgentId": False}},
            {"id": "b"},
            defaults={
                "subagents": {
                    "runTimeoutSeconds": 9,
                    "allowAgents": ["B"],
                    "requireAgentId": True,
                    "budgetUsd": 1.5,
                }
            },
        )
    )
    a, b = config.agent("a").subagents, config.agent("b").subagents
    assert (a.run_timeout_seconds, a.allow_agents, a.require_agent_id, a.budget_usd) == (0, (), False, 1.5)
    assert (b.run_timeout_seconds, b.allow_agents, b.require_agent_id, b.budget_usd) == (9, ("b",), True, 1.5)
    assert config.agent("b").settings.subagents.budget_usd is None


def test_an_agents_tools_only_narrow() -> None:
    config = make(
        {
            "tools": {"allow": ["read", "memory_*"], "deny": ["exec"]},
            **agents({"id": "a", "tools": {"allow": ["read", "write", "memory_get"], "deny": ["ls"]}}, {"id": "b"}),
        }
    )
    assert config.agent("a").tools.allow == ("read", "memory_get")
    assert config.agent("a").tools.deny == ("exec", "ls")
    assert config.agent("b").tools.allow == ("read", "memory_*")
    assert make(agents({"id": "a", "tools": {"profile": "minimal"}})).agent("a").tools.profile == "minimal"


def test_a_key_in_the_environment_is_enough() -> None:
    config = make({}, OPENAI_API_KEY="sk-environment", GROQ_API_KEY="")
    main = config.agent("main")
    assert main.usable_providers() == ("openai",)
    assert main.providers["openai"].api == "openai-completions"
    assert main.providers["openai"].base_url == "https://api.openai.com/v1"
    assert main.model and main.model.primary.startswith("openai/")
    assert make({}, ANTHROPIC_API_KEY="x" * 9).agent("main").providers["anthropic"].api == "litellm"


def test_how_a_provider_is_spoken_to() -> None:
    providers = {
        "mine": {"baseUrl": "http://127.0.0.1:1/v1"},
        "claude": {"baseUrl": "http://127.0.0.1:2", "api": "anthropic-messages", "apiKey": "k"},
        "ollama": {},
        "mistral": {},
    }
    config = make({"models": {"providers": providers}})
    found = config.agent("main").providers
    assert {name: found[name].api for name in found} == {
        "mine": "openai-completions",
        "claude": "anthropic",
        "ollama": "openai-completions",
        "mistral": "litellm",
    }
    assert config.agent("main").usable_providers() == ("mine", "claude", "ollama")
    assert config.model_name("main", "claude/x").family == "anthropic"
    assert config.model_name("main", "mistral/x").family == "mistral"


def test_credentials_are_per_agent_with_the_default_agents_as_the_fallback() -> None:
    config = make(
        {
            "models": {"providers": {"groq": {"apiKey": "shared"}}},
            **agents(
                {
                    "id": "main",
                    "models": {"providers": {"openai": {"apiKey": "main"}, "groq": {"apiKey": "main"}}},
                },
                {"id": "ops", "models": {"providers": {"openai": {"apiKey": "ops"}}}},
                {"id": "dev"},
            ),
        },
        XAI_API_KEY="environment",
    )
    assert [key(config, agent_id, "openai") for agent_id in config.agent_ids()] == ["main", "ops", "main"]
    assert [key(config, agent_id, "groq") for agent_id in config.agent_ids()] == ["main", "shared", "shared"]
    assert key(config, "dev", "xai") == "environment"


def test_a_key_is_never_sent_to_an_address_of_another_entry() -> None:
    config = make(
        {
            "models": {"providers": {"acme": {"baseUrl": "https://a/v1", "apiKey": "shared", "headers": {"X": "y"}}}},
            **agents({"id": "a", "models": {"providers": {"acme": {"baseUrl": "https://b/v1"}}}}, {"id": "b"}),
        }
    )
    assert key(config, "a", "acme") is None
    assert config.agent("a").providers["acme"].headers == {}
    assert key(config, "b", "acme") == "shared"


NAMES = {
    "models": {
        "providers": {
            "local": {"baseUrl": "http://127.0.0.1:1/v1", "models": [{"id": "small"}, {"id": "org/big"}]},
            "other": {"baseUrl": "http://127.0.0.1:2/v1", "models": [{"id": "small"}]},
        },
        "aliases": {"Fast": "local/small"},
    }
}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("local/small", "local/small"),
        (" LOCAL/small ", "local/small"),
        ("fast", "local/small"),
        ("org/big", "local/org/big"),
        ("local/org/big", "local/org/big"),
        ("openai/gpt-5.2", "openai/gpt-5.2"),
        ("local/unlisted", "local/unlisted"),
    ],
)
def test_model_names(text: str, name: str) -> None:
    assert str(make(NAMES).model_name("main", text)) == name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("small", "is a model of local, other: write one as local/small"),
        ("fats", "did you mean Fast?"),
        ("nowhere/zzzzzzzz", "write provider/model"),
        ("", "no model '' is known"),
        ("local/", "no model 'local/' is known"),
    ],
)
def test_names_that_lead_to_no_model(text: str, told: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        make(NAMES).model_name("main", text)
    assert told in str(caught.value)


SECRETS = {
    "gateway": {"auth": {"token": "token-0123456789"}},
    "database": {"url": "postgresql://me:database-password@db/x"},
    "tools": {"exec": {"env": {"GH_TOKEN": "injected-value", "CI": "1"}}},
    "models": {"providers": {"x": {"apiKey": "configured-key", "headers": {"Authorization": "Bearer header-key"}}}},
    "agents": {"list": [{"id": "a", "models": {"providers": {"x": {"apiKey": "agents-own-key"}}}}]},
    "owners": ["${MY_PASSWORD}", "${PLAIN_WORD}"],
}
HIDDEN = {
    "token-0123456789",
    "database-password",
    "injected-value",
    "configured-key",
    "header-key",
    "agents-own-key",
    "env-key-of-openai",
    "value-of-password",
}


def test_every_secret_is_known_and_none_is_shown() -> None:
    environ = {
        "OPENAI_API_KEY": "env-key-of-openai",
        "MY_PASSWORD": "value-of-password",
        "PLAIN_WORD": "ordinary",
    }
    config = make(SECRETS, **environ)
    assert config.secret_values() >= HIDDEN
    assert config.secret_values().isdisjoint({"1", "ordinary", "Bearer"})
    shown = repr(config) + repr(config.origin) + repr(config.agent("a")) + config.model_dump_json()
    assert not [secret for secret in HIDDEN - {"value-of-password"} if secret in shown]


def test_a_weak_token_is_a_warning() -> None:
    (warning,) = make({"gateway": {"auth": {"token": "open"}}}).warnings
    assert "gateway.auth.token is easy to guess" in warning
    assert "open" not in warning.replace("openai", "")


def test_what_needs_a_restart() -> None:
    old = make({"gateway": {"port": 1}})
    new = make({"gateway": {"port": 2, "drainSeconds": 3}, "database": {"durability": "process"}})
    assert diff_restart(old, new) == ("gateway.port", "database.durability")
    assert diff_restart(new, new) == ()


def test_paths() -> None:
    assert str(PATHS.session_dir("ops")) == "/state/agents/ops/sessions"
    assert PATHS.workspace("main", default=True) == Path("/state/workspace")
    found = (PATHS.config_file, PATHS.database, PATHS.lock, PATHS.gateway_json, PATHS.token, PATHS.history)
    assert len({path.name for path in found}) == 6

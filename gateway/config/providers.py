"""The `models` section, and the providers that work from their usual environment key alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from gateway.config.base import Name, Number, ProviderName, Section, Whole

ProviderApi = Literal["openai-completions", "litellm", "anthropic", "gemini"]
"""`openai-completions` is spoken by the openai SDK; all others go through litellm: `litellm` under the
provider's own name, `anthropic` and `gemini` for one of any name that speaks that family's protocol."""

Minutes = Annotated[Number, Field(ge=0, le=5_256_000)]
Price = Annotated[Number, Field(ge=0, le=1_000_000)]
Tokens = Annotated[Whole, Field(ge=1, le=1_000_000_000)]

_OTHER_SPELLINGS = {"anthropic-messages": "anthropic", "google-generative-ai": "gemini"}


def _api(value: object) -> object:
    return _OTHER_SPELLINGS.get(value, value) if isinstance(value, str) else value


class ModelCost(Section):
    """What a model costs, in USD per million tokens."""

    input: Price = Field(description="Tokens that go in.")
    output: Price = Field(description="Tokens that come out.")
    cache_read: Price | None = Field(
        default=None, description="Tokens read from the provider's cache; unset: as input."
    )
    cache_write: Price | None = Field(default=None, description="Tokens written to that cache; unset: as input.")


class ModelEntry(Section):
    """One model of a provider. Only what Laneway doesn't know by itself has to be said.

    Window, reply length and sight of well-known families stand in `gateway/agent/families.py`; price and reasoning come
    from litellm's table, where litellm is loaded because a configured model needs it.
    """

    id: Name = Field(description="The name that the provider knows it by.")
    name: Name | None = Field(default=None, description="Name for people; unset: the id.")
    context_window: Tokens | None = Field(
        default=None, description="Tokens of context; unset: by a built-in table of model families, else 128,000."
    )
    max_tokens: Tokens | None = Field(
        default=None, description="Most tokens in one answer; unset: by the same table, else 8,192."
    )
    input: tuple[Literal["text", "image"], ...] | None = Field(
        default=None, description="What it can take in; unset: by the same table, else text."
    )
    cost: ModelCost | None = Field(
        default=None, description="Its price; unset: that of litellm's table, where litellm is in use, else unknown."
    )
    reasoning: bool | None = Field(
        default=None, description="Whether it takes a thinking level; unset: by litellm's table or the model's name."
    )


class ProviderConfig(Section):
    """How to reach one provider and what it offers."""

    base_url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None,
        description="Address of its API, such as `http://127.0.0.1:8000/v1`; unset: its usual one.",
    )
    api_key: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None, description="Its key, best as `${VARIABLE}`; unset: its usual environment variable."
    )
    api: Annotated[ProviderApi, BeforeValidator(_api, json_schema_input_type=str)] | None = Field(
        default=None, description="The protocol it speaks; unset: chosen by name and address."
    )
    headers: dict[str, SecretStr] = Field(default={}, description="Headers sent with every request.")
    max_in_flight: Whole | None = Field(
        default=None, ge=1, le=10_000, description="Calls at once, over all workers; unset: no limit."
    )
    models: tuple[ModelEntry, ...] = Field(
        default=(), description="Its models, where something has to be said about them."
    )


ProviderMap = dict[ProviderName, ProviderConfig]


class ModelsConfig(Section):
    """Which models there are and how they are reached."""

    providers: ProviderMap = Field(default={}, description="Providers by name.")
    aliases: dict[Name, Name] = Field(default={}, description="Short names for models: `fast` for `groq/…`.")


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """A provider that needs no entry in the configuration."""

    variables: tuple[str, ...]
    """Environment variables that may hold its key; the first that is set counts."""
    default_model: str | None = None
    """Model used where a key is all that there is."""
    base_url: str | None = None
    """Its usual address; None: litellm knows it."""
    api: ProviderApi = "litellm"
    """The protocol it is spoken to in."""
    keyless: bool = False
    """It runs on one's own machine and asks for no key; it counts only when it is configured."""


KNOWN_PROVIDERS: Mapping[str, KnownProvider] = {
    "anthropic": KnownProvider(("ANTHROPIC_API_KEY",), "claude-sonnet-5"),
    "openai": KnownProvider(("OPENAI_API_KEY",), "gpt-5.5", "https://api.openai.com/v1", "openai-completions"),
    "openrouter": KnownProvider(
        ("OPENROUTER_API_KEY",), "openrouter/auto", "https://openrouter.ai/api/v1", "openai-completions"
    ),
    "gemini": KnownProvider(("GEMINI_API_KEY",), "gemini-3.8-flash"),
    "google": KnownProvider(("GOOGLE_API_KEY",), "gemini-3.8-flash", api="gemini"),
    "deepseek": KnownProvider(
        ("DEEPSEEK_API_KEY",), "deepseek-v4-flash", "https://api.deepseek.com/v1", "openai-completions"
    ),
    "groq": KnownProvider(
        ("GROQ_API_KEY",), "openai/gpt-oss-120b", "https://api.groq.com/openai/v1", "openai-completions"
    ),
    "mistral": KnownProvider(("MISTRAL_API_KEY",), "mistral-large-latest"),
    "xai": KnownProvider(("XAI_API_KEY",), "grok-4.7"),
    "minimax": KnownProvider(("MINIMAX_API_KEY",), "MiniMax-M2.5"),
    "cerebras": KnownProvider(("CEREBRAS_API_KEY",)),
    "together_ai": KnownProvider(("TOGETHERAI_API_KEY", "TOGETHER_API_KEY")),
    "fireworks_ai": KnownProvider(("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY")),
    "perplexity": KnownProvider(("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY")),
    "ollama": KnownProvider((), None, "http://127.0.0.1:11434/v1", "openai-completions", keyless=True),
    "vllm": KnownProvider((), None, "http://127.0.0.1:8000/v1", "openai-completions", keyless=True),
}
"""In the order in which a key in the environment is looked for."""


@dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """A provider's key that was found in the environment."""

    variable: str
    value: SecretStr


def keys_in(environ: Mapping[str, str]) -> Mapping[str, EnvironmentKey]:
    """The known providers whose usual variable is set and not empty, with their keys."""
    found: dict[str, EnvironmentKey] = {}
    for name, known in KNOWN_PROVIDERS.items():
        for variable in known.variables:
            if environ.get(variable):
                found[name] = EnvironmentKey(variable, SecretStr(environ[variable]))
                break
    return found


def complete(name: str, layers: tuple[ProviderConfig, ...], key: EnvironmentKey | None) -> ProviderConfig:
    """One provider from its entries, the strongest first, and the environment; `api` is always set.

    What the first entry leaves unset comes from the next. An entry with an address of its own takes no key
    and no headers from another entry, so that a key is never sent to a place that it wasn't given for.
    """
    merged = layers[0] if layers else ProviderConfig()
    for layer in layers[1:]:
        merged = _under(merged, layer)
    known = KNOWN_PROVIDERS.get(name)
    default_api: ProviderApi = known.api if known else "litellm"
    if merged.base_url and default_api == "litellm":
        default_api = "openai-completions"
    return merged.model_copy(
        update={
            "api": merged.api or default_api,
            "base_url": merged.base_url or (known.base_url if known else None),
            "api_key": merged.api_key or (key.value if key else None),
        }
    )


def _under(upper: ProviderConfig, lower: ProviderConfig) -> ProviderConfig:
    update: dict[str, object] = {"models": upper.models or lower.models}
    if upper.base_url is None:
        update |= {
            "base_url": lower.base_url,
            "api": upper.api or lower.api,
            "api_key": upper.api_key or lower.api_key,
            "headers": upper.headers or lower.headers,
        }
    return upper.model_copy(update=update)


def is_usable(name: str, provider: ProviderConfig) -> bool:
    """Whether calls to this provider have a chance: it has a key, or it is one that needs none."""
    if provider.api_key or provider.headers:
        return True
    known = KNOWN_PROVIDERS.get(name, KnownProvider(()))
    # At an address of one's own, such as a local proxy, there may be no key.
    return known.keyless or provider.base_url not in (None, known.base_url)


def litellm_family(name: str, provider: ProviderConfig) -> str:
    """The prefix under which litellm knows this provider's protocol, `anthropic` for `anthropic/claude-…`."""
    return name if provider.api in (None, "litellm") else provider.api

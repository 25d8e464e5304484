"""Model names: `provider/model`, a configured alias, or a bare name that only one configured model has."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.providers import KNOWN_PROVIDERS, ModelEntry, ProviderConfig, complete, litellm_family
from gateway.config.suggest import nearest


class UnknownModel(ValueError):
    """A name that leads to no model; the text says what to write instead."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model that can be called."""

    provider: str
    model: str
    """As the provider knows it; may hold slashes."""
    config: ProviderConfig
    """How the provider is reached; complete."""
    entry: ModelEntry | None
    """What the configuration says about the model."""

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def family(self) -> str:
        """The prefix under which litellm knows the provider's protocol."""
        return litellm_family(self.provider, self.config)


def find_model(text: str, providers: Mapping[str, ProviderConfig], aliases: Mapping[str, str]) -> ModelName:
    """The model that `text` names.

    Args:
        text: what a person, a model or the configuration wrote.
        providers: those of the agent that the call is made for.
        aliases: `models.aliases`; their case doesn't matter, and an alias can't lead to another one.

    Raises:
        UnknownModel: nothing, or more than one model, has that name.
    """
    name = text.strip()
    by_case = {alias.lower(): target for alias, target in aliases.items()}
    name = by_case.get(name.lower(), name)
    provider, slash, model = name.partition("/")
    provider = provider.lower()
    if slash and model and (provider in providers or provider in KNOWN_PROVIDERS):
        config = providers.get(provider) or complete(provider, (), None)
        entry = next((entry for entry in config.models if entry.id == model), None)
        return ModelName(provider, model, config, entry)
    return _bare(name, providers, aliases)


def _bare(name: str, providers: Mapping[str, ProviderConfig], aliases: Mapping[str, str]) -> ModelName:
    found = [
        ModelName(provider, entry.id, config, entry)
        for provider, config in providers.items()
        for entry in config.models
        if entry.id == name
    ]
    if len(found) == 1:
        return found[0]
    shown = ascii(name[:80])
    if found:
        raise UnknownModel(f"{shown} is a model of {', '.join(hit.provider for hit in found)}: write one as {found[0]}")
    known = [
        *aliases,
        *(f"{provider}/{entry.id}" for provider, config in providers.items() for entry in config.models),
    ]
    best = nearest(name, known)
    hint = f"did you mean {best}?" if best else "write provider/model, such as anthropic/claude-sonnet-5"
    raise UnknownModel(f"no model {shown} is known; {hint} (providers: models.providers, aliases: models.aliases)")

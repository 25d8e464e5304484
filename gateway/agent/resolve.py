"""Which model a call goes to, and how hard it thinks. Pure functions over the configuration, no I/O.

The chains themselves (explicit, sub-agent setting, agent, defaults) belong to whoever has them; here a name
becomes a `ModelRef` with everything that a client needs.
"""

from __future__ import annotations

from gateway.agent.families import family_of
from gateway.agent.messages import THINKING_LEVELS, ModelRef, Price, ThinkingLevel
from gateway.config import Config, ModelChoice, ModelCost, ModelName, UnknownModel
from gateway.config.providers import KNOWN_PROVIDERS, is_usable

DEMO_MODEL = ModelRef(
    provider="demo", id="offline", api="offline", context_window=128_000, max_tokens=4_096, price=Price(0, 0, 0, 0)
)
"""The scripted stand-in that answers where no provider has a key (issue part 7). It costs nothing."""


class UnknownThinkingLevel(ValueError):
    """Not a thinking level; the text lists them."""


def find_model(config: Config, agent_id: str, name: str) -> ModelRef:
    """The model that a name stands for, with the credentials of this agent, else the shared ones.

    Args:
        config: the configuration.
        agent_id: the agent that the call is made for; a sub-agent's own.
        name: `provider/model`, an alias, or a bare name that only one configured model has.

    Raises:
        UnknownAgent: there is no such agent.
        UnknownModel: nothing or several models have the name, or its provider has no key.
    """
    if name.strip().lower() == DEMO_MODEL.name and "demo" not in config.agent(agent_id).providers:
        return DEMO_MODEL
    found = config.model_name(agent_id, name)
    if found.provider == "demo" and found.model == DEMO_MODEL.id and not found.config.base_url:
        return DEMO_MODEL
    _check_usable(found)
    return _ref(found)


def default_model(config: Config, agent_id: str) -> ModelRef:
    """The model of an agent: its own, the defaults', that of the first provider with a key, `demo/offline`.

    Raises:
        UnknownAgent: there is no such agent.
        UnknownModel: the configured name leads nowhere.
    """
    choice = config.agent(agent_id).model
    return find_model(config, agent_id, choice.primary) if choice else DEMO_MODEL


def fallback_models(config: Config, agent_id: str, choice: ModelChoice | None) -> tuple[ModelRef, ...]:
    """The fallbacks of a choice, in order; those that can't be called are left out.

    A fallback is a help, so that one without a key must not keep the primary from being asked.
    """
    usable: list[ModelRef] = []
    for name in choice.fallbacks if choice else ():
        try:
            usable.append(find_model(config, agent_id, name))
        except UnknownModel:
            continue
    return tuple(usable)


def configured_models(config: Config) -> tuple[ModelRef, ...]:
    """Every model that the agents' settings name, each once: what `Models.prepare` has to be ready for."""
    found: dict[str, ModelRef] = {}
    for agent_id in config.agent_ids():
        agent = config.agent(agent_id)
        for choice in (agent.model, agent.subagents.model):
            for name in (choice.primary, *choice.fallbacks) if choice else (DEMO_MODEL.name,):
                try:
                    ref = find_model(config, agent_id, name)
                except UnknownModel:
                    continue
                found.setdefault(ref.name, ref)
    return tuple(found.values())


def resolve_thinking(text: str | None, *chain: ThinkingLevel | None) -> ThinkingLevel | None:
    """The thinking level: the explicit one, else the first in the chain that is set.

    Raises:
        UnknownThinkingLevel: `text` isn't one; the text lists those there are.
    """
    if text is None:
        return next((level for level in chain if level is not None), None)
    wanted = text.strip().lower()
    for level in THINKING_LEVELS:
        if level == wanted:
            return level
    raise UnknownThinkingLevel(f"thinking level {text[:40]!a} is unknown; there are: {', '.join(THINKING_LEVELS)}")


def _check_usable(found: ModelName) -> None:
    known = KNOWN_PROVIDERS.get(found.provider)
    elsewhere = found.config.base_url and not (known and known.base_url == found.config.base_url)
    if elsewhere or is_usable(found.provider, found.config):
        return
    setting = f"set `models.providers.{found.provider}.apiKey`"
    if known and known.variables:
        setting += f" or the environment variable {known.variables[0]}"
    raise UnknownModel(f"{found} can't be used: its provider has no key; {setting}")


def _ref(found: ModelName) -> ModelRef:
    provider, entry = found.config, found.entry
    family = family_of(found.model)
    return ModelRef(
        provider=found.provider,
        id=found.model,
        api=provider.api or "litellm",
        base_url=provider.base_url,
        api_key=provider.api_key.get_secret_value() if provider.api_key else None,
        headers={name: value.get_secret_value() for name, value in provider.headers.items()},
        max_in_flight=provider.max_in_flight,
        context_window=(entry and entry.context_window) or family.context_window,
        max_tokens=(entry and entry.max_tokens) or family.max_tokens,
        price=_price(entry.cost) if entry and entry.cost else None,
        images="image" in entry.input if entry and entry.input else family.images,
        reasoning=entry.reasoning if entry else None,
    )


def _price(cost: ModelCost) -> Price:
    read = cost.input if cost.cache_read is None else cost.cache_read
    write = cost.input if cost.cache_write is None else cost.cache_write
    return Price(cost.input, cost.output, read, write)

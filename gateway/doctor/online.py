"""`laneway doctor --online`: one tiny call to each provider that has a key, which costs a few tokens, and to each
platform that is configured.
"""

from __future__ import annotations

import asyncio
import time

from gateway.agent.messages import ModelError, ModelRef, ModelRequest, PromptMessage
from gateway.agent.models import Models
from gateway.agent.resolve import find_model
from gateway.config import Config, UnknownModel
from gateway.config.providers import KNOWN_PROVIDERS
from gateway.doctor import Finding, Level
from gateway.plugins import ChecksItself, installed

CALL_SECONDS = 30.0
ANSWER_TOKENS = 16


async def online(config: Config) -> list[Finding]:
    """Calls every usable provider of the default agent once, all at the same time."""
    agent = config.agent(config.default_agent_id)
    models = Models()
    try:
        return list(await asyncio.gather(*(_provider(config, models, name) for name in agent.usable_providers())))
    finally:
        await models.close()


async def channels(config: Config, name: str | None = None) -> list[Finding]:
    """Asks each configured platform whether its tokens work.

    Args:
        config: the configuration.
        name: only this channel.
    """
    plugins = [each for key, each in installed().items() if name in (None, key) and isinstance(each, ChecksItself)]
    found = await asyncio.gather(*(plugin.examine(config) for plugin in plugins))
    return [finding for findings in found for finding in findings]


async def _provider(config: Config, models: Models, name: str) -> Finding:
    agent = config.agent(config.default_agent_id)
    provider, known = agent.providers[name], KNOWN_PROVIDERS.get(name)
    model = provider.models[0].id if provider.models else known.default_model if known else None
    if agent.model and agent.model.primary.startswith(f"{name}/"):
        model = agent.model.primary.removeprefix(f"{name}/")
    if model is None:
        return Finding("online", Level.WARN, f"{name}: no model is known to ask", f"add models.providers.{name}.models")
    try:
        return await _call(models, find_model(config, agent.id, f"{name}/{model}"))
    except (UnknownModel, ModelError) as error:
        return Finding("online", Level.FAIL, f"{name}: {error}", "see the text; then run this again")
    except TimeoutError:
        fix = "check the network and the provider's status page"
        return Finding("online", Level.FAIL, f"{name}: no answer within {CALL_SECONDS:.0f} s", fix)


async def _call(models: Models, ref: ModelRef) -> Finding:
    request = ModelRequest(ref, [PromptMessage("user", "Answer with the word: ready")], max_tokens=ANSWER_TOKENS)
    started = time.monotonic()
    async with asyncio.timeout(CALL_SECONDS):
        await models.complete(request, on_retry=_once)
    return Finding("online", Level.OK, f"{ref.name} answered in {time.monotonic() - started:.1f} s")


async def _once(why: str) -> None:
    """One try is enough to say what is wrong; the sentence ends with what would be tried next."""
    raise ModelError(why.rpartition("; try ")[0] or why)

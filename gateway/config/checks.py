"""What the models can't see one by one: names that are given twice, and names that lead nowhere."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import cast

from gateway.config.agents import AgentsConfig, AgentSettings
from gateway.config.channels import Binding
from gateway.config.positions import KeyPath
from gateway.config.problems import Locator, Problem
from gateway.config.server import GatewayConfig
from gateway.config.suggest import nearest
from gateway.config.tools import ToolsConfig

_SHORT_TOKEN = 16


def name_problems(data: Mapping[str, object], locator: Locator) -> Iterator[Problem]:
    """Agents and providers that the document names twice; upper and lower case are the same.

    Looks at the document as it was read, so that these faults are reported beside all others.
    """
    yield from _repeated(_agent_names(data), "the agent", locator)
    yield from _repeated(_keys_at(data, ("models", "providers")), "the provider", locator)


def _agent_names(data: Mapping[str, object]) -> Iterator[tuple[KeyPath, str]]:
    listed = _at(data, ("agents", "list"))
    for index, entry in enumerate(cast("list[object]", listed) if isinstance(listed, list) else []):
        agent_id = cast("dict[str, object]", entry).get("id") if isinstance(entry, dict) else None
        if isinstance(agent_id, str):
            yield ("agents", "list", index, "id"), agent_id
    yield from _keys_at(data, ("agents", "entries"))


def _keys_at(data: Mapping[str, object], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    record = _at(data, path)
    for key in cast("dict[str, object]", record) if isinstance(record, dict) else ():
        yield (*path, key), key


def _at(data: object, path: KeyPath) -> object:
    for key in path:
        data = cast("dict[str, object]", data).get(str(key)) if isinstance(data, dict) else None
    return data


def _repeated(names: Iterable[tuple[KeyPath, str]], what: str, locator: Locator) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, name in names:
        if name.lower() in seen:
            yield locator.problem(path, f"names {what} “{name[:64]}” again", "names must differ in more than case")
        seen.add(name.lower())


def agent_warnings(agents: AgentsConfig, known: tuple[str, ...], locator: Locator) -> Iterator[Problem]:
    """Ids in `allowAgents` that no agent has, and a second agent that claims to be the default."""
    yield from _allowed(("agents", "defaults"), agents.defaults.subagents.allow_agents, known, locator)
    defaults = 0
    for path, settings in _each(agents):
        yield from _allowed(path, settings.subagents.allow_agents, known, locator)
        defaults += settings.default
        if settings.default and defaults > 1:
            yield locator.problem((*path, "default"), "is true for more than one agent", "the first of them counts")


def _allowed(
    owner: KeyPath, allowed: tuple[str, ...] | None, known: tuple[str, ...], locator: Locator
) -> Iterator[Problem]:
    for index, agent_id in enumerate(allowed or ()):
        if agent_id != "*" and agent_id not in known:
            path = (*owner, "subagents", "allowAgents", index)
            yield locator.problem(path, f"names no configured agent: “{agent_id}”", f"there are: {', '.join(known)}")


def _each(agents: AgentsConfig) -> Iterator[tuple[KeyPath, AgentSettings]]:
    for index, entry in enumerate(agents.list):
        yield ("agents", "list", index), entry
    for agent_id, settings in agents.entries.items():
        yield ("agents", "entries", agent_id), settings


def token_warnings(gateway: GatewayConfig, locator: Locator) -> Iterator[Problem]:
    """A bearer token that can be guessed."""
    token = gateway.auth.token
    if token is not None and len(token.get_secret_value()) < _SHORT_TOKEN:
        hint = f"use {_SHORT_TOKEN} characters or more, or leave it out and one is made"
        yield locator.problem(("gateway", "auth", "token"), "is easy to guess", hint)


def tool_warnings(
    agents: AgentsConfig, tools: ToolsConfig, known: Iterable[str], locator: Locator
) -> Iterator[Problem]:
    """Names in allow and deny lists that match no tool."""
    names = tuple(known)
    for path, listed in _tool_lists(agents, tools):
        for index, name in enumerate(listed or ()):
            if not any(fnmatchcase(tool, name) for tool in names):
                best = nearest(name, names)
                hint = f"did you mean “{best}”?" if best else "it has no effect"
                yield locator.problem((*path, index), f"names no tool: {name[:80]!a}", hint)


def _tool_lists(agents: AgentsConfig, tools: ToolsConfig) -> Iterator[tuple[KeyPath, tuple[str, ...] | None]]:
    yield ("tools", "allow"), tools.allow
    yield ("tools", "deny"), tools.deny
    yield ("tools", "subagents", "tools", "allow"), tools.subagents.tools.allow
    yield ("tools", "subagents", "tools", "deny"), tools.subagents.tools.deny
    for path, settings in _each(agents):
        yield (*path, "tools", "allow"), settings.tools.allow
        yield (*path, "tools", "deny"), settings.tools.deny


def binding_warnings(bindings: Iterable[Binding], known: tuple[str, ...], locator: Locator) -> Iterator[Problem]:
    """Bindings to agents that there aren't."""
    for index, binding in enumerate(bindings):
        if binding.agent_id not in known:
            text = f"names no configured agent: “{binding.agent_id}”"
            yield locator.problem(("bindings", index, "agentId"), text, f"there are: {', '.join(known)}")


def owner_warnings(owners: Iterable[str], locator: Locator) -> Iterator[Problem]:
    """Owners that no sender can ever be."""
    for index, owner in enumerate(owners):
        channel, _, peer = owner.partition(":")
        if not channel or not peer:
            yield locator.problem(
                ("owners", index), f"is nobody: “{owner[:80]}”", "write channel:id, as in slack:U012AB3CD"
            )

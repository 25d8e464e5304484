"""Completion in the chat's input: slash commands, their first words, and sub-agents as targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from gateway.cli import format as fmt
from gateway.client.records import CommandInfo, Run
from gateway.config import Config
from gateway.config.providers import KNOWN_PROVIDERS

LOCAL = (CommandInfo(name="quit", help="Leaves this chat."),)
TARGETED = frozenset({"info", "log", "send", "steer", "stop", "pause", "resume", "retry"})
"""Words of `/subagents` that take a sub-agent."""
WITH_ALL = frozenset({"stop"})
ANSWERS = frozenset({"approve", "deny"})
"""Commands that take the number of a question."""


class ChatCompleter(Completer):
    """Completes what begins with a slash.

    Args:
        commands: the gateway's commands.
        runs: the sub-agents that may be meant, newest first.
        questions: ids of the questions that wait for an answer.
        models: names for `/model`.
    """

    def __init__(
        self,
        commands: Sequence[CommandInfo],
        runs: Callable[[], Sequence[Run]],
        questions: Callable[[], Sequence[int]] = tuple,
        models: Sequence[str] = (),
    ) -> None:
        self._questions = questions
        self._models = models
        self._commands = {command.name: command for command in (*commands, *LOCAL)}
        self._runs = runs

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Offers what may stand at the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        words = text[1:].split(" ")
        if len(words) == 1:
            yield from self._names(words[0])
        elif len(words) == 2:
            yield from _matching(words[1], ((word, "") for word in self._first_words(words[0])))
        elif words[0] == "subagents" and words[1] in TARGETED and len(words) == 3:
            yield from _matching(words[2], self._targets(words[1]))

    def _names(self, typed: str) -> Iterator[Completion]:
        for name, command in sorted(self._commands.items()):
            if name.startswith(typed.lower()):
                yield Completion(
                    f"/{name}", -len(typed) - 1, display=f"/{name} {command.usage}".rstrip(), display_meta=command.help
                )

    def _first_words(self, name: str) -> Sequence[str]:
        if name in ANSWERS:
            return [str(question) for question in self._questions()]
        command = self._commands.get(name.lower())
        words = command.words if command else []
        return [*words, *self._models, "default"] if name == "model" else words

    def _targets(self, word: str) -> Iterator[tuple[str, str]]:
        if word in WITH_ALL:
            yield "all", "every active one"
        runs = self._runs()
        if runs:
            yield "last", "the one spawned last"
        for run in runs:
            if " " not in run.label:
                yield run.label, f"{run.status} · run {run.run_id[:8]}"
            yield run.run_id[:8], fmt.one_line(run.label, 48)


def model_names(config: Config) -> list[str]:
    """Names that `/model` takes: aliases, models of the providers' entries, usual models of those with a key."""
    agent = config.agent(config.default_agent_id)
    names = dict.fromkeys(config.models.aliases)
    for provider in agent.usable_providers():
        known = KNOWN_PROVIDERS.get(provider)
        ids = [model.id for model in agent.providers[provider].models] or [known.default_model if known else None]
        names.update(dict.fromkeys(f"{provider}/{model}" for model in ids if model))
    return [*names, "demo/offline"]


def _matching(typed: str, offers: Iterable[tuple[str, str]]) -> Iterator[Completion]:
    for word, meaning in offers:
        if word.lower().startswith(typed.lower()):
            yield Completion(word, -len(typed), display_meta=meaning)

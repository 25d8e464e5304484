"""The stand-in as the assistant that a person talks to: spawns, reports announcements, answers small talk. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, cast

from gateway.agent.demo import asks, worker
from gateway.agent.demo.announced import Announcement, announcement_in, data_in
from gateway.agent.demo.step import Call, Done, Scene, Step

INTRODUCTION: Final = (
    "I'm Laneway's **offline stand-in**: a script, not a model, because no provider has a key yet. Everything around"
    " me is real: sub-agents, tools, storage. For a real model set a key and start again, for example"
    " `export ANTHROPIC_API_KEY=…` or `export OPENAI_API_KEY=…`, or `models.providers` in the configuration file."
)
_ABILITIES: Final = (
    "I can hand work to sub-agents that run beside this chat and report here. Try:\n"
    "- `spawn two sub-agents: one to count the Python files and another to list the headings in the docs`\n"
    "- `spawn 3 agents: count the tests; find TODO marks; read README.md`\n"
    "- `how is it going?` while they work, or `/subagents list`\n"
    "- `list the Markdown files`, and I look myself"
)
_FILE_WORK: Final = ("count", "list", "read", "find", "search", "grep", "look", "show", "summar", "analy", "check")


def step(scene: Scene) -> Step:
    """The next answer of the assistant."""
    if not scene.request.tools and scene.messages and _is_summary_request(scene):
        return Step(_summary(scene))
    done = _after_tools(scene) if scene.results else Step("")
    if not scene.news:
        return done if done.calls else Step(_introduced(scene, done.text or _ABILITIES))
    said = [message.text for message in scene.news if not announcement_in(message.text)]
    so_far = "" if done.calls else _joined(done.text, _reported(_announced(scene)))
    if not said:
        return Step(_introduced(scene, so_far))
    answered = _answer(scene, said[-1])
    text = _joined(so_far, answered.text)
    return Step(text, answered.calls) if answered.calls else Step(_introduced(scene, text))


def _announced(scene: Scene) -> list[Announcement]:
    # A sub-agent's last words are all that its requester gets to see, so that they repeat what came before.
    messages = scene.messages if scene.is_child else scene.news
    read = (announcement_in(message.text) for message in messages if message.role == "user")
    return [found for found in read if found]


def _answer(scene: Scene, text: str) -> Step:
    if tasks := asks.spawn_tasks(text):
        return _spawn(scene, tasks)
    if asks.asks_stop(text) and _takes(scene, "subagents", "action"):
        return Step("I ask them to stop.", (Call("subagents", {"action": "stop", "target": "all"}),))
    if asks.asks_progress(text) and _takes(scene, "subagents", "action"):
        return Step("Let me look.", (Call("subagents", {"action": "list"}),))
    if asks.asks_help(text):
        return Step(_ABILITIES)
    if asks.is_thanks(text):
        return Step("You're welcome.")
    if asks.is_greeting(text):
        return Step(f"Hello! {_ABILITIES}")
    if any(word in text.lower() for word in _FILE_WORK) and scene.tools & {"ls", "glob", "read", "grep"}:
        return worker.step(scene)
    return Step(f"I'm only a script, so I can't say anything sensible about that. {_ABILITIES}")


def _spawn(scene: Scene, tasks: Sequence[asks.Task]) -> Step:
    if "sessions_spawn" not in scene.tools:
        return Step("I'd spawn sub-agents for that, but I have no `sessions_spawn` tool in this session.")
    calls: list[Call] = []
    for task in tasks:
        arguments: dict[str, Any] = {"task": task.text, "label": task.label}
        if task.timeout_seconds is not None:
            arguments["runTimeoutSeconds"] = task.timeout_seconds
        calls.append(Call("sessions_spawn", arguments))
    how_many = "a sub-agent" if len(calls) == 1 else f"{len(calls)} sub-agents"
    return Step(f"I hand this to {how_many}.", tuple(calls))


def _after_tools(scene: Scene) -> Step:
    spawned = [one for one in scene.results if one.tool == "sessions_spawn"]
    if spawned:
        return Step(_spawned(spawned))
    listed = [one for one in scene.results if one.tool == "subagents"]
    if listed:
        return Step("Here is where things stand:\n\n" + _quoted(data_in(listed[-1].result)))
    return worker.step(scene)


def _spawned(spawned: Sequence[Done]) -> str:
    accepted: list[str] = []
    refused: list[str] = []
    for one in spawned:
        answer = _object(one.result)
        label = str(answer.get("label") or one.arguments.get("label") or "a task")
        if answer.get("status") == "accepted":
            accepted.append(f"- {label}")
        else:
            refused.append(f"- {label}: {answer.get('error') or one.result[:300]}")
    parts: list[str] = []
    if accepted:
        word = "One sub-agent is" if len(accepted) == 1 else f"{len(accepted)} sub-agents are"
        parts.append(f"{word} on its way:\n" if len(accepted) == 1 else f"{word} on their way:\n")
        parts[-1] += "\n".join(accepted) + "\n\nEach reports here when it is done; we can go on talking meanwhile."
    if refused:
        parts.append("This was refused:\n" + "\n".join(refused))
    return "\n\n".join(parts)


def _reported(announced: Sequence[Announcement]) -> str:
    return "\n\n".join(
        f"**{one.label}** {one.status}.\n\n{_shortened(one.text)}" if one.text else f"**{one.label}** {one.status}."
        for one in announced
    )


def _introduced(scene: Scene, text: str) -> str:
    """The text, with what the stand-in is before its first answer that a person sees."""
    return text if scene.has_answered or scene.is_child else _joined(INTRODUCTION, text)


def _takes(scene: Scene, tool: str, parameter: str) -> bool:
    spec = next((spec for spec in scene.request.tools if spec.name == tool), None)
    return spec is not None and parameter in (spec.parameters.get("properties") or {})


def _is_summary_request(scene: Scene) -> bool:
    return scene.messages[-1].role == "user" and "summar" in scene.messages[-1].text.lower()


def _summary(scene: Scene) -> str:
    said = [m for m in scene.messages[:-1] if m.role in ("user", "assistant") and m.text]
    lines = [f"- {m.role}: {' '.join(m.text.split())[:160]}" for m in said[-30:]]
    return "The conversation so far, in its own words:\n" + "\n".join(lines)


def _object(text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _quoted(text: str) -> str:
    return "```\n" + _shortened(text.replace("```", "'''"), 3_000) + "\n```"


def _shortened(text: str, most: int = 1_500) -> str:
    text = text.strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)

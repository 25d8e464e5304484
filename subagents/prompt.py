"""The reduced system prompt of a child (spec/subagents.md 9, 10).

Tooling, workspace, runtime, `AGENTS.md` and `TOOLS.md`, and how to do a task. The task itself is the first message
of the user and never stands here.
"""

from __future__ import annotations

import json

from gateway.agent.prompt import WorkspaceFiles, runtime_section, tooling_section, workspace_section
from gateway.agent.setting import Setting
from gateway.store.runs import Run
from gateway.store.sessions import Session

FILES = ("AGENTS.md", "TOOLS.md")

_TASK = (
    "You are a sub-agent: another agent has handed you the task in the first message, and waits for your result.\n"
    "- Stay on that task, and finish it. Don't begin anything else.\n"
    "- You are not the main agent: you don't talk to its user, send no messages and keep no schedule.\n"
    "- Nobody answers questions. Decide what is sensible, and say in your result what you assumed.\n"
    "- Messages that come later are directions for this task, or reports of sub-agents that you have spawned.\n"
    "- Your last message is your result, and all that the requester sees: what you found or did, with the facts, "
    "numbers, names and paths that matter, and what is missing. No preamble, no offers.\n"
    "- If there is nothing to report, answer with exactly ANNOUNCE_SKIP."
)
_NESTED = (
    "You may hand parts of the task to sub-agents of your own with `sessions_spawn`. Then end your turn with a short "
    "note: you run again with their results when all of them have settled."
)


def child_prompt(setting: Setting, session: Session, run: Run, files: WorkspaceFiles) -> str:
    """The system prompt of a child's session."""
    parts = [
        f"## Your task\n{_TASK}",
        _role(setting, run),
        _NESTED if "sessions_spawn" in setting.tools.tools else "",
        _output_section(run),
        tooling_section(setting.tools.names),
        workspace_section(setting.cwd),
        runtime_section(setting.agent, session.key, setting.model, setting.thinking),
        files.section(setting.agent.workspace, FILES),
    ]
    return "\n\n".join(part for part in parts if part)


def _role(setting: Setting, run: Run) -> str:
    """What its definition says of it (`agents.subagentDefs`)."""
    definition = setting.definitions.get(run.definition) if run.definition else None
    return f"## Your role\n{definition.prompt}" if definition is not None and definition.prompt else ""


def _output_section(run: Run) -> str:
    if run.output_schema is None:
        return ""
    schema = json.dumps(run.output_schema, ensure_ascii=False)
    return (
        "## The form of your result\n"
        f"Your last message must be one JSON value that validates against this JSON Schema, and nothing else:\n{schema}"
    )

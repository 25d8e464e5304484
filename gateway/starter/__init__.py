"""Starter files: what `laneway init` puts into an empty state folder. Never overwrites anything.

The workspace's files are the Markdown files of this folder, each with a few lines that a person changes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.config.paths import Paths

WORKSPACE_FILES = ("AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md", "MEMORY.md")

CONFIG_TEXT = """\
// Laneway's configuration (JSON5). Everything is optional; `laneway config schema` describes every key,
// `laneway config check` checks this file, `laneway reload` makes a running gateway read it again.
{
  agents: {
    defaults: {
      // The model that answers. Without one the first provider with a key in the environment is used
      // (ANTHROPIC_API_KEY, OPENAI_API_KEY, …), and without a key the offline demo.
      // model: { primary: "anthropic/claude-sonnet-5" },

      subagents: {
        // model: "openai/gpt-5.4-mini",  // a cheaper one for sub-agents
        // maxConcurrent: 8,            // how many run at once; the others queue
        // archiveAfterMinutes: 60,
      },
    },
  },
}
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_starter_files` did."""

    written: tuple[Path, ...]
    present: tuple[Path, ...]
    """Files that were there and stay as they are."""


def write_starter_files(paths: Paths, workspace: Path, config_file: Path | None = None) -> Written:
    """Writes every starter file that isn't there.

    Args:
        paths: the state folder; made with 0700 if need be.
        workspace: the default agent's workspace.
        config_file: the configuration to start; None: the state folder's.

    Raises:
        OSError: a file or folder can't be written.
    """
    for folder in (paths.state, workspace, workspace / "memory"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = {config_file or paths.config_file: CONFIG_TEXT}
    here = Path(__file__).parent
    contents |= {workspace / name: (here / name).read_text("utf-8") for name in WORKSPACE_FILES}
    written = [file for file, text in contents.items() if _write_new(file, text)]
    return Written(tuple(written), tuple(file for file in contents if file not in written))


def _write_new(file: Path, text: str) -> bool:
    """Writes a file that doesn't exist; False if it does."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return True

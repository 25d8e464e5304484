"""The `jobs` section: background work of every kind (`spec/jobs.md`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.config.base import Name, Section, Whole


class ShellConfig(Section):
    """Shell jobs: commands that an operator submits."""

    enabled: bool = Field(default=False, description="Whether shell jobs can be submitted and run at all.")
    max_concurrent: Whole = Field(default=4, ge=1, le=1000, description="Shell jobs that run at once.")
    pass_env: tuple[Name, ...] = Field(
        default=("PATH", "HOME", "LANG", "TERM", "TZ", "USER", "SHELL", "TMPDIR"),
        description="Variables of the gateway's environment that every command gets.",
    )
    inheritable: tuple[Name, ...] = Field(
        default=(),
        description="Variables with secrets that a job may ask for by name (`inherit`); they are never stored.",
    )


class JobsConfig(Section):
    """Background work of every kind."""

    max_concurrent: Whole = Field(
        default=8, ge=1, le=1000, description="Jobs that run at once, of kinds without a queue of their own."
    )
    max_depth: Whole = Field(default=5, ge=1, le=50, description="Levels of nesting; no submission can raise it.")
    siblings: Literal["stop", "let_run"] = Field(
        default="stop", description="What becomes of a job's other children when one of them makes it fail."
    )
    shell: ShellConfig = Field(default=ShellConfig(), description="Shell jobs.")

"""Jobs as lines of tables, and their statistics as text."""

from __future__ import annotations

from gateway.cli import format as fmt
from gateway.client.jobs import Job, JobStats
from gateway.icons import ICONS

LABEL_WIDTH = 40
DOING_WIDTH = 60


def columns() -> tuple[str, ...]:
    """The heads of a list of jobs."""
    return ("ID", "NAME", "LABEL", "STATE", "RUNTIME", "TOKENS", "DOING")


def job_row(job: Job) -> tuple[str, ...]:
    """A job as cells."""
    return (
        f"#{job.id}",
        job.name,
        fmt.one_line(job.label, LABEL_WIDTH),
        f"{ICONS.get(job.outcome or job.status, '•')} {state_word(job)}",
        fmt.duration(job.runtime_seconds) if job.runtime_seconds else "–",
        fmt.count(job.tokens.total) if job.tokens.total else "–",
        fmt.one_line(doing(job), DOING_WIDTH),
    )


def state_word(job: Job) -> str:
    """`running`, or how it has ended."""
    return job.status if job.active else fmt.OUTCOME_WORDS.get(job.outcome or "", job.outcome or job.status)


def doing(job: Job) -> str:
    """Why it waits, how far it is, or what was wrong."""
    if job.waiting_reason and job.waiting_reason != job.status:
        return job.waiting_reason
    if not job.active:
        return job.error or ""
    steps = f"{job.progress.step}/{job.progress.total or '?'}" if job.progress.step is not None else ""
    attempt = f"attempt {job.attempt}/{job.max_attempts}" if job.attempt > 1 else ""
    return " · ".join(part for part in (steps, job.progress.message or "", attempt) if part)


def stats_text(stats: JobStats) -> str:
    """The kinds as a table, and each thing that is stuck with the next command to type."""
    head = ("NAME", "WAITING", "RUNNING", "DONE", "FAILED", "AVERAGE", "P95")
    rows = [
        (
            kind.name,
            *(str(number) for number in (kind.waiting, kind.running, kind.done, kind.failed)),
            _span(kind.average_ms),
            _span(kind.p95_ms),
        )
        for kind in stats.kinds
    ]
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    if not rows:
        lines = ["No jobs in the last day."]
    for word, found in (("Wedged", stats.wedged), ("Divergent", stats.divergent)):
        lines += [f"{word}: {each.text}\n  → {each.command}" for each in found]
    if not stats.wedged and not stats.divergent:
        lines.append("Nothing is stuck.")
    return "\n".join(line.rstrip() for line in lines)


def _span(milliseconds: int) -> str:
    if not milliseconds:
        return "–"
    return f"{milliseconds} ms" if milliseconds < 1000 else fmt.duration(milliseconds / 1000)

"""Asking about jobs and following them, for `laneway jobs` and `laneway agent`: the ways to fail stand here once."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import typer

from gateway.cli import format as fmt
from gateway.cli.context import FAILED, OK, TIMED_OUT, USAGE, CliContext, CliError, run
from gateway.cli.output import print_json, print_text
from gateway.cli.runs import message_text
from gateway.client import ApiError
from gateway.client.jobs import Job, JobLog, Jobs
from gateway.client.jobs import follow as followed
from gateway.client.records import Message

BAD_REQUEST = 400
T = TypeVar("T")


def asked(here: CliContext, question: Callable[[Jobs], Awaitable[T]]) -> T:
    """Asks the running gateway something about jobs.

    Raises:
        CliError: what was asked for is wrong (exit code 2), or can't be.
    """
    try:
        return here.ask(lambda client: question(Jobs(client)))
    except ApiError as error:
        raise CliError(str(error), USAGE if error.status == BAD_REQUEST else FAILED) from None


def outcome_code(job: Job) -> int:
    """The exit code of a command that has followed a job: 0 if it has ended well, 3 after a timeout, else 1."""
    return {"ok": OK, "timeout": TIMED_OUT}.get(job.outcome or "", FAILED)


def follow_to_end(here: CliContext, job: Job, *, quiet: bool = False) -> Job:
    """Shows a job's log until it has ended; what it is doing goes to stderr.

    Args:
        here: the context.
        job: which.
        quiet: show nothing.
    """

    def show(message: Message) -> None:
        if not quiet:
            print_text(message_text(message))

    return run(followed(here.client, job, show, _nothing if quiet else _aside))


def submitted(here: CliContext, body: dict[str, Any], *, follow: bool, as_json: bool) -> None:
    """Submits a job, says what became of it, and follows it if that is wanted.

    Raises:
        CliError: it is refused.
        typer.Exit: it was followed, and has not ended well.
    """
    job = asked(here, lambda jobs: jobs.submit(body))
    if follow:
        finish(here, job, as_json=as_json)
    elif as_json:
        print_json(job.data())
    elif job.dry_run:
        found = f"; it is there already, as #{job.id}" if job.coalesced else ""
        print_text(f"A `{job.name}` job “{job.label}” would go to the queue {job.queue}{found}. Nothing was submitted.")
    else:
        reason = f" ({job.waiting_reason})" if job.waiting_reason else ""
        known = " It was there already, under this key." if job.coalesced else ""
        print_text(f"Job #{job.id} ({fmt.one_line(job.label, 60)}) — {job.status}{reason}.{known}")


def finish(here: CliContext, job: Job, *, as_json: bool) -> None:
    """Follows a job to its end, and ends as it did.

    Raises:
        typer.Exit: it has not ended well.
    """
    ended = follow_to_end(here, job, quiet=as_json)
    if as_json:
        print_json(ended.data())
    else:
        print_text(ended.text)
    if (code := outcome_code(ended)) != OK:
        raise typer.Exit(code)


def show_log(here: CliContext, word: str, *, limit: int, follow: bool, as_json: bool) -> None:
    """Shows the end of a job's log, and with `follow` all that it gains until the job has ended."""

    async def looked(jobs: Jobs) -> tuple[Job, JobLog]:
        job = await jobs.get(word)
        return job, await _last(jobs, job, limit)

    job, found = asked(here, looked)
    show = _show_line if as_json and follow else _show_text
    if as_json and not follow:
        print_json({"messages": [message.data() for message in found.messages]})
        return
    for message in found.messages:
        show(message)
    if not found.messages and not follow:
        _aside(f"Its log is empty; what job #{job.id} returns is shown by `laneway jobs get {job.id}`.")
    if follow:
        seen = found.messages[-1].seq if found.messages else 0
        ended = run(followed(here.client, job, show, _nothing if as_json else _aside, after=seen))
        if not as_json:
            _aside(f"#{ended.id} {fmt.OUTCOME_WORDS.get(ended.outcome or '', ended.status)}")


async def _last(jobs: Jobs, job: Job, limit: int) -> JobLog:
    found: list[Message] = []
    page = await jobs.log(job.run_id)
    while page.messages:
        found = [*found, *page.messages][-limit:]
        page = await jobs.log(job.run_id, after=page.messages[-1].seq)
    return JobLog(messages=tuple(found), status=page.status)


def _show_text(message: Message) -> None:
    print_text(message_text(message))


def _show_line(message: Message) -> None:
    sys.stdout.write(json.dumps(message.data(), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _aside(line: str) -> None:
    print(fmt.clean(line), file=sys.stderr, flush=True)


def _nothing(_line: str) -> None:
    """Shows nothing."""

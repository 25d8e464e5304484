"""`laneway jobs …`: submits, follows and steers background jobs of every kind (spec/jobs.md, views).

A job is named by its number (`12`, `#12`) or the beginning of its run id. The command line is an operator: it sees all.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli import format as fmt
from gateway.cli.context import OK
from gateway.cli.durations import milliseconds, timeout_of
from gateway.cli.following import asked, finish, show_log, submitted
from gateway.cli.job_lists import columns, job_row, stats_text
from gateway.cli.job_params import json_object, params_of, set_values, submission_of
from gateway.cli.output import JsonFlag, print_json, print_table, print_text
from gateway.client.jobs import Job, JobPage, Jobs

app = typer.Typer(name="jobs", no_args_is_help=True, help="Submit, follow and steer background jobs.")

JobId = Annotated[str, typer.Argument(metavar="ID", help="Number of a job, or the beginning of its run id.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Numbers of jobs, or beginnings of run ids.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show its log until it has ended; exit as it did.")]
DAY_MS = 86_400_000


@app.command()
def submit(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Kind of job: noop, shell, subagent, aggregate, or a plugin's.")],
    params: Annotated[
        str | None, typer.Option("--params", metavar="JSON|@FILE|-", help="What the job is given, as a JSON object.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    queue: Annotated[str | None, typer.Option(help="Another queue than the kind's.")] = None,
    priority: Annotated[int, typer.Option(help="Lower goes first.")] = 0,
    delay: Annotated[str | None, typer.Option(metavar="SPAN", help="Not before: 30s, 5m.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Attempts before it is dead.")] = None,
    backoff_type: Annotated[str | None, typer.Option(help="fixed or exponential.")] = None,
    backoff_delay: Annotated[str | None, typer.Option(metavar="SPAN", help="Wait after the first failure.")] = None,
    backoff_jitter: Annotated[float | None, typer.Option(help="Share of it left to chance, 0 to 1.")] = None,
    backoff_max: Annotated[str | None, typer.Option(metavar="SPAN", help="Longest wait.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="SPAN", help="Of one attempt: 30s.")] = None,
    timeout_ms: Annotated[int | None, typer.Option(help="The same in milliseconds.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Job that it belongs to.")] = None,
    after: Annotated[list[str] | None, typer.Option(metavar="ID", help="Job that must have ended well before.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(metavar="KEY", help="Under one key, one job.")] = None,
    max_children: Annotated[int | None, typer.Option(help="Most jobs below it.")] = None,
    on_child_fail: Annotated[
        str | None, typer.Option(help="What its failure means above: fail_parent, continue, remove_dep, ignore.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only; leave nothing.")] = False,
    follow: Follow = False,
    as_json: JsonFlag = False,
) -> None:
    """Submits a job."""
    limit_ms = timeout_of(timeout, timeout_ms)
    backoff = {
        "type": backoff_type,
        "delayMs": milliseconds(backoff_delay, "--backoff-delay"),
        "jitter": backoff_jitter,
        "maxMs": milliseconds(backoff_max, "--backoff-max"),
    }
    body = submission_of(
        name=name,
        data=params_of(params),
        label=label,
        queue=queue,
        priority=priority or None,
        delayMs=milliseconds(delay, "--delay"),
        maxAttempts=max_attempts,
        backoff={key: value for key, value in backoff.items() if value is not None} or None,
        timeoutMs=limit_ms,
        parent=parent,
        after=[word for each in after or [] for word in each.split(",") if word.strip()] or None,
        idempotencyKey=idempotency_key,
        maxChildren=max_children,
        onChildFail=on_child_fail,
        dryRun=dry_run or None,
    )
    submitted(ctx.obj, body, follow=follow and not dry_run, as_json=as_json)


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    status: Annotated[str | None, typer.Option(help="open, queued, delayed, running, waiting, paused or done.")] = None,
    outcome: Annotated[str | None, typer.Option(help="ok, error, timeout, stopped, budget or dead.")] = None,
    name: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Only the jobs below this one.")] = None,
    before: Annotated[int | None, typer.Option(metavar="NUMBER", help="Only older ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Lists jobs, the newest first."""

    async def page(jobs: Jobs) -> JobPage:
        return await jobs.page(status=status, outcome=outcome, name=name, parent=parent, before=before, limit=limit)

    found = asked(ctx.obj, page)
    if as_json:
        print_json(found.data())
    else:
        print_table(columns(), (job_row(job) for job in found.jobs), empty="No jobs.")


@app.command()
def get(ctx: typer.Context, job: JobId, as_json: JsonFlag = False) -> None:
    """Shows a job: its state, progress, tokens, children and result."""
    found = asked(ctx.obj, lambda jobs: jobs.get(job))
    if as_json:
        print_json(found.data())
    else:
        print_text(found.text)


@app.command()
def logs(
    ctx: typer.Context,
    job: JobId,
    follow: Follow = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many lines at first, the last ones.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Shows a job's log, or a sub-agent's transcript; with --json one object a line."""
    show_log(ctx.obj, job, limit=limit, follow=follow, as_json=as_json)


@app.command()
def stats(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Shows how each kind stands, and what is stuck, with the next command to type."""
    found = asked(ctx.obj, lambda jobs: jobs.stats())
    if as_json:
        print_json(found.data())
    else:
        print_text(stats_text(found))


@app.command()
def pause(ctx: typer.Context, jobs: JobIds, as_json: JsonFlag = False) -> None:
    """Freezes jobs and all below them; nothing is lost."""
    _change(ctx, jobs, "pause", as_json=as_json)


@app.command()
def resume(ctx: typer.Context, jobs: JobIds, as_json: JsonFlag = False) -> None:
    """Lets paused jobs go on."""
    _change(ctx, jobs, "resume", as_json=as_json)


@app.command()
def stop(ctx: typer.Context, jobs: JobIds, as_json: JsonFlag = False) -> None:
    """Stops jobs and all below them."""
    _change(ctx, jobs, "stop", as_json=as_json)


@app.command()
def retry(ctx: typer.Context, jobs: JobIds, as_json: JsonFlag = False) -> None:
    """Opens jobs again that have not ended well, with fresh counters."""
    _change(ctx, jobs, "retry", as_json=as_json)


@app.command()
def replay(
    ctx: typer.Context,
    job: JobId,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value of what it is given.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Another name.")] = None,
    from_turn: Annotated[int | None, typer.Option(min=1, help="Of a sub-agent: begin after this turn.")] = None,
    follow: Follow = False,
    as_json: JsonFlag = False,
) -> None:
    """Runs a job again as a new one, with all that it was given, changed as asked."""
    overrides: dict[str, Any] = {"label": label} if label is not None else {}
    if values:
        overrides["data"] = set_values(values)
    again = asked(ctx.obj, lambda jobs: jobs.replay(job, overrides, from_turn))
    if follow:
        finish(ctx.obj, again, as_json=as_json)
    elif as_json:
        print_json(again.data())
    else:
        print_text(f"Job #{again.id} ({fmt.one_line(again.label, 60)}) — {again.status}: a replay of {job}.")


@app.command()
def send(
    ctx: typer.Context,
    job: JobId,
    message: Annotated[str, typer.Argument(help='Text, or a JSON object such as {"directive": "…"}.')],
) -> None:
    """Puts a message into a job's inbox; it is read at the next step."""
    payload = json_object(message, "MESSAGE") if message.lstrip().startswith("{") else message
    print_text(asked(ctx.obj, lambda jobs: jobs.send(job, payload)))


@app.command()
def delete(ctx: typer.Context, jobs: JobIds) -> None:
    """Deletes jobs that have ended, with all that is kept of them."""

    async def deleted(client: Jobs) -> list[str]:
        return [f"Job #{(await client.delete(job))['id']} is deleted." for job in jobs]

    print_text("\n".join(asked(ctx.obj, deleted)))


@app.command()
def prune(
    ctx: typer.Context,
    older_than: Annotated[str, typer.Option(metavar="SPAN", help="Since their end: 30d, 12h.")] = "30d",
    name: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say only what would go.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Deletes jobs that have ended long ago."""
    span = milliseconds(older_than, "--older-than") or 0
    done = asked(ctx.obj, lambda jobs: jobs.prune(span / DAY_MS, name, dry_run=dry_run))
    if as_json:
        print_json(done.data())
        return
    numbers = ", ".join(f"#{number}" for number in done.jobs[:50])
    more = f" and {len(done.jobs) - 50} more" if len(done.jobs) > 50 else ""
    verb = "would go" if dry_run else "deleted"
    print_text(f"{fmt.plural(len(done.jobs), 'job')} {verb}{': ' if numbers else '.'}{numbers}{more}")


@app.command()
def smoke(
    timeout: Annotated[str, typer.Option(metavar="SPAN", help="Longest time for all of it.")] = "30s",
    as_json: JsonFlag = False,
) -> None:
    """Proves that a job survives its process: runs one in a gateway of its own, kills that, and starts another."""
    from gateway.cli.smoke import smoke as proved  # starts processes: no other command needs it

    proof = proved((milliseconds(timeout, "--timeout") or 0) / 1000)
    if as_json:
        print_json(proof.data())
    else:
        print_text(proof.text())
    if proof.code != OK:
        raise typer.Exit(proof.code)


@app.command()
def watch(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Shows open jobs, and why each isn't running, as it changes; with --json a list a line. Ctrl-C ends it."""
    from gateway.cli.watch import watch as shown  # rich's live display is for this command alone

    shown(ctx.obj, name=name, limit=limit, as_json=as_json)


def _change(ctx: typer.Context, words: list[str], name: str, *, as_json: bool) -> None:
    async def changed(jobs: Jobs) -> list[Job]:
        return [await jobs.change(word, name) for word in words]

    done = asked(ctx.obj, changed)
    if as_json:
        print_json({"jobs": [job.data() for job in done]})
    else:
        print_text("\n".join(job.text for job in done))

"""`laneway outbox …`: posts that could not be delivered yet, why, and what to do with them (spec/subagents.md 21)."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gateway.cli import format as fmt
from gateway.cli.context import CliContext
from gateway.cli.output import JsonFlag, print_json, print_table, print_text

app = typer.Typer(name="outbox", no_args_is_help=True, help="Posts on their way to a channel.")

PostId = Annotated[int, typer.Argument(help="Number of the post, as `laneway outbox list` shows it.")]


@app.command("list")
def list_posts(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="pending, failed, delivered, dropped, …")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Lists posts that have not arrived, with the reason."""
    here: CliContext = ctx.obj
    posts = here.ask(lambda client: client.outbox(state))
    if as_json:
        print_json({"posts": [post.data() for post in posts]})
        return
    print_table(
        ("POST", "STATE", "TRIES", "TO", "AGE", "REASON", "TEXT"),
        (
            (
                str(post.id),
                post.state,
                str(post.attempts),
                _address(post.route) or post.session_key,
                fmt.ago(post.created_at),
                fmt.one_line(post.error or "", 60),
                fmt.one_line(post.text, 40),
            )
            for post in posts
        ),
        empty="Nothing is waiting to be delivered.",
    )


@app.command()
def retry(ctx: typer.Context, post: PostId) -> None:
    """Tries a post again now."""
    here: CliContext = ctx.obj
    here.ask(lambda client: client.outbox_action(post, "retry"))
    print_text(f"Post {post} is tried again.")


@app.command()
def drop(ctx: typer.Context, post: PostId) -> None:
    """Gives a post up; it stays in the transcript."""
    here: CliContext = ctx.obj
    here.ask(lambda client: client.outbox_action(post, "drop"))
    print_text(f"Post {post} is given up.")


def _address(route: Any) -> str:
    if isinstance(route, str):
        try:
            route = json.loads(route)
        except ValueError:
            return route
    if not isinstance(route, dict):
        return ""
    names = ("channel", "chat", "thread")
    return " ".join(str(route[name]) for name in names if route.get(name))  # pyright: ignore[reportUnknownArgumentType,reportUnknownMemberType]

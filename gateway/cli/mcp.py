"""`laneway mcp`: the MCP server on stdin and stdout."""

from __future__ import annotations

import typer

from gateway.cli.context import CliContext, run

app = typer.Typer(name="mcp", help="The Model Context Protocol: Laneway as a server, and servers whose tools it uses.")


@app.callback(invoke_without_command=True)
def serve(ctx: typer.Context) -> None:
    """Without a further word: speaks MCP on stdin and stdout, for a client that starts it itself."""
    if ctx.invoked_subcommand is not None:
        return
    from gateway.mcp import stdio  # loads the protocol's library, which no other command needs

    here: CliContext = ctx.obj
    run(stdio.serve(here.client))

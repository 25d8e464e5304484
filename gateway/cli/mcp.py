"""`laneway mcp …`: the MCP server on stdin and stdout, and the servers whose tools the agents use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from gateway.cli import format as fmt
from gateway.cli.context import USAGE, CliContext, fail, run
from gateway.cli.output import JsonFlag, print_json, print_table, print_text
from gateway.client.records import McpServer

app = typer.Typer(name="mcp", help="The Model Context Protocol: Laneway as a server, and servers whose tools it uses.")


@app.callback(invoke_without_command=True)
def serve(ctx: typer.Context) -> None:
    """Without a further word: speaks MCP on stdin and stdout, for a client that starts it itself."""
    if ctx.invoked_subcommand is not None:
        return
    from gateway.mcp import stdio  # loads the protocol's library, which no other command needs

    here: CliContext = ctx.obj
    run(stdio.serve(here.client))


@app.command("list")
def list_servers(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Lists the configured MCP servers, their tools, and what isn't used and why."""
    here: CliContext = ctx.obj
    page = here.ask(lambda client: client.mcp_servers())
    if as_json:
        print_json(page.data())
        return
    print_table(
        ("SERVER", "STATE", "TOOLS", "RESTARTS", "WHAT IT IS"),
        (
            (
                server.name,
                server.state,
                f"{sum(tool.why is None for tool in server.tools)}/{len(server.tools)}",
                str(server.restarts),
                server.title or server.transport,
            )
            for server in page.servers
        ),
        empty="No MCP servers are configured; see mcp.servers in docs/configuration.md.",
    )
    for server in page.servers:
        for line in _details(server):
            print_text(line)


@app.command()
def approve(
    ctx: typer.Context,
    server: Annotated[str, typer.Argument(help="The server's name.")],
    tool: Annotated[str | None, typer.Argument(help="The tool, as `laneway mcp list` shows it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All tools of the server that wait.")] = False,
) -> None:
    """Lets a tool be used that is new or has changed."""
    if (tool is None) != everything:
        fail("name a tool, or give --all", USAGE)
    here: CliContext = ctx.obj
    print_text(here.ask(lambda client: client.mcp_approve(server, tool)).text)


def _details(server: McpServer) -> Iterator[str]:
    yield f"\n{server.name}"
    if server.reason:
        yield f"  {server.reason}"
    for tool in server.tools:
        yield f"  {'✓' if tool.why is None else '✗'} {tool.name}: {tool.why or fmt.one_line(tool.description, 100)}"
        if tool.new_description is not None:
            yield f"      accepted: {fmt.one_line(tool.description, 400)}"
            yield f"      now:      {fmt.one_line(tool.new_description, 400)}"
            if tool.schema_changed:
                yield "      its arguments have changed too"
            yield f"      laneway mcp approve {server.name} {tool.tool}"
    yield from (f"  ✗ {fault}" for fault in server.faults)

"""The Model Context Protocol, both ways: Laneway's jobs as a server's tools, and other servers' tools for the agents.

The server's tools stand in `catalogue` (with `arguments` and `schemas`) and `calls` (with `submissions`, `texts` and
`answers`), which know nothing of the protocol; `server` speaks it, over `stdio` (`laneway mcp`) or `endpoint` (`/mcp`
on the gateway). `client` is the other way. The protocol's library is imported only where it is needed.
"""

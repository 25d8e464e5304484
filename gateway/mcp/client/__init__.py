"""MCP servers whose tools the agents use: `servers` owns them all, `server` keeps one alive, `connection` speaks to it.

`catalogue` makes tools of what servers say about themselves, `process` runs a server that is a command. Nobody here
trusts a server: its texts are data, its hints don't count, its time and its output are limited.
"""

"""The table of MCP servers' tools; part of `schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Table, Text

from gateway.store.columns import Json, metadata

mcp_tools = Table(
    "mcp_tools",
    metadata,
    Column("server", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("present", Boolean, nullable=False),
    Column("fingerprint", Text),
    Column("description", Text, nullable=False),
    Column("input_schema", Json, nullable=False),
    Column("new_fingerprint", Text),
    Column("new_description", Text),
    Column("new_schema", Json),
    Column("seen_at", BigInteger, nullable=False),
    Column("approved_at", BigInteger),
    Column("approved_by", Text),
)
"""Tools of MCP servers as they were accepted, and what has changed since."""

"""The tables about browsers: who is signed in, and what people call their conversations; part of `schema`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from gateway.store.columns import metadata

signins = Table(
    "signins",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)
"""Browsers that somebody has signed in with; of what their cookie holds only the digest is kept."""

signin_codes = Table(
    "signin_codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
"""Links to sign in with, until they are used or too old."""

conversations = Table(
    "conversations",
    metadata,
    Column("key", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
"""Names that people have given to their conversations in the browser."""

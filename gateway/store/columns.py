"""What the tables are made of: their registry, and columns that occur in many."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, MetaData, literal_column, text

metadata = MetaData()

POSTGRES_CLOCK = literal_column("(extract(epoch from clock_timestamp()) * 1000)::bigint", BigInteger)
"""The server's time at this very moment (milliseconds)."""

# None is NULL, not the JSON text `null`, which every read of a row would have to parse.
Json = JSON(none_as_null=True)
# SQLite counts rows up by itself only in a column that is declared INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")


def flag(name: str) -> Column[bool]:
    """A column that is false where nothing is said."""
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def count(name: str) -> Column[int]:
    """A column that counts up from 0."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))

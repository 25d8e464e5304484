"""Rows as records.

A statement is built and its cache key computed once, where its module is loaded: that takes SQLAlchemy five times as
long as executing it (docs/performance.md). What changes from call to call goes into bound parameters. Their names must
differ from the table's columns, which an update claims for itself.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def columns(table: Table, record: type[DataclassInstance]) -> list[Column[Any]]:
    """A table's columns in the order of a record's fields, so that a row can be spread into the record."""
    return [table.c[field.name] for field in fields(record)]

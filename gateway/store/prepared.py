"""Statements that are executed again and again: compiled once, and then given to the driver as they are.

At each execution SQLAlchemy looks a statement up, arranges its parameters and makes a context for it. For the short
statements of a unit of work that takes several times as long as the driver and the database together. A statement that
is executed for the second time (those that stand in modules are, those that are made for one occasion aren't) is kept
here with its text, the order of its parameters, and what converts values on their way in and out. What needs more than
that goes SQLAlchemy's way as ever: lists in the text, defaults that are made in Python, several rows at once.

Results and errors are SQLAlchemy's own either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Converter = Callable[[Any], Any]


class Driver(Protocol):
    """What is particular to one kind of database."""

    def arrange(self, compiled: SQLCompiler) -> tuple[Any, Sequence[str]]:
        """A statement's text as the driver takes it, and the names of its parameters by their places."""
        ...

    def send(self, raw: Any, text: Any, values: Sequence[Any]) -> Any:
        """Executes it on a connection of the driver's; returns its cursor."""
        ...


class Rows(IteratorResult[Any]):
    """What a prepared statement has brought."""

    def __init__(self, metadata: SimpleResultMetaData, rows: Sequence[Any], rowcount: int) -> None:
        """
        Args:
            metadata: the names of the columns.
            rows: all of them, with their values in the order of the columns.
            rowcount: how many the statement has changed, as the driver counts.
        """
        super().__init__(metadata, iter(rows))
        self.rowcount = rowcount


class Prepared:
    """A statement with parameters of certain names, as a driver takes it."""

    def __init__(
        self,
        driver: Driver,
        dialect: Dialect,
        compiled: SQLCompiler,
        types: Sequence[TypeEngine[Any]],
    ) -> None:
        """
        Args:
            driver: of the database.
            dialect: SQLAlchemy's.
            compiled: the statement.
            types: of the columns that it brings.
        """
        self._driver = driver
        self._dialect = dialect
        self._text, self._order = driver.arrange(compiled)
        self._given: Mapping[str, Any] = _given(compiled)
        """Values that stand in the statement itself."""
        kinds = {name: bind.type.dialect_impl(dialect) for bind, name in compiled.bind_names.items()}
        found = [(place, kinds[name].bind_processor(dialect)) for place, name in enumerate(self._order)]
        self._inward = [(place, convert) for place, convert in found if convert is not None]
        self._types = types
        self._metadata: SimpleResultMetaData | None = None
        """Known once it has been executed."""
        self._outward: Sequence[tuple[int, Converter]] = ()

    def execute(self, raw: Any, parameters: Mapping[str, Any]) -> Rows:
        """Executes it.

        Args:
            raw: the driver's connection.
            parameters: by their names.

        Raises:
            DBAPIError: the database refuses it.
        """
        given = self._given
        values = [parameters[name] if name in parameters else given[name] for name in self._order]
        for place, convert in self._inward:
            values[place] = convert(values[place])
        try:
            cursor = self._driver.send(raw, self._text, values)
            rows = cursor.fetchall() if self._types else ()
        except self._dialect.loaded_dbapi.Error as error:
            raise self._meaning(error, values) from error
        metadata = self._metadata or self._learn(cursor)
        if self._outward:
            rows = [self._converted(row) for row in rows]
        return Rows(metadata, rows, cursor.rowcount)

    def _learn(self, cursor: Any) -> SimpleResultMetaData:
        columns = [(column[0], column[1]) for column in cursor.description or ()] if self._types else []
        kinds = [each.dialect_impl(self._dialect) for each in self._types]
        found = [kind.result_processor(self._dialect, code) for kind, (_, code) in zip(kinds, columns, strict=True)]
        self._outward = [(place, convert) for place, convert in enumerate(found) if convert is not None]
        self._metadata = SimpleResultMetaData([name for name, _ in columns])
        return self._metadata

    def _converted(self, row: Sequence[Any]) -> tuple[Any, ...]:
        values = list(row)
        for place, convert in self._outward:
            values[place] = convert(values[place])
        return tuple(values)

    def _meaning(self, error: Exception, values: Sequence[Any]) -> BaseException:
        base = self._dialect.loaded_dbapi.Error
        return DBAPIError.instance(str(self._text), values, error, base, hide_parameters=True, dialect=self._dialect)


class Statements:
    """The statements that a kind of database has been given. Threads may share it."""

    def __init__(self, driver: Driver) -> None:
        """
        Args:
            driver: of the database.
        """
        self._driver = driver
        self._known: WeakKeyDictionary[Executable, dict[tuple[str, ...], Prepared | None]] = WeakKeyDictionary()

    def find(self, connection: Connection, statement: Executable, parameters: Any) -> Prepared | None:
        """The statement, if it is executed again and may be given to the driver as it is."""
        forms = self._known.get(statement)
        if forms is None:
            self._known[statement] = {}
            return None
        if isinstance(parameters, list):  # several rows at once
            return None
        names: tuple[str, ...] = tuple(parameters) if parameters else ()
        if names not in forms:
            forms[names] = self._prepare(connection.dialect, statement, names)
        return forms[names]

    def _prepare(self, dialect: Dialect, statement: Executable, names: Sequence[str]) -> Prepared | None:
        columns = getattr(statement, "exported_columns", None)
        if not isinstance(statement, ClauseElement) or columns is None:
            return None
        compiled = statement.compile(dialect=dialect, column_keys=list(names) or None)
        if not isinstance(compiled, SQLCompiler) or _needs_more(compiled, names):
            return None
        return Prepared(self._driver, dialect, compiled, [column.type for column in columns])


def _given(compiled: SQLCompiler) -> dict[str, Any]:
    return {name: bind.effective_value for bind, name in compiled.bind_names.items() if not bind.required}


def _needs_more(compiled: SQLCompiler, names: Sequence[str]) -> bool:
    return bool(
        compiled.post_compile_params
        or compiled.literal_execute_params
        or compiled.escaped_bind_names
        or compiled.insert_prefetch
        or compiled.update_prefetch
        or set(compiled.bind_names.values()).difference(_given(compiled), names)
    )

"""What the records ask of a database, so that one set of statements serves SQLite and PostgreSQL.

Statements mark values with ``?`` and keep to what both read alike. Where the two differ, the
connection knows the difference.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]

BATCH = 2000
"""Rows of a long read that are fetched at once."""


class Cursor(Protocol):
    """The rows of one statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """An open connection; who holds it begins and ends its transactions."""

    @property
    def Error(self) -> type[Exception]:
        """The base of the database's own errors (PEP 249)."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor: ...

    def stream(self, statement: str, batch: int = BATCH) -> Iterator[Row]:
        """The rows of a statement, without holding all of them in memory."""

    def add(self, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
        """Append many rows at once."""

    def merge(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one ``INSERT ... VALUES (?, ...)`` of historian's columns for each of many rows."""

    def as_bytes(self, column: str) -> str:
        """The expression that reads a text column even where damage left no valid text."""

    def version(self) -> int:
        """The version of the tables; 0 where there are none."""

    def faults(self, limit: int) -> list[str]:
        """What the database itself finds wrong with its files."""


class SqliteConnection(sqlite3.Connection):
    """A connection to the file of the embedded store."""

    def stream(self, statement: str, batch: int = BATCH) -> Iterator[Row]:
        return self.execute(statement)

    def add(self, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
        marks = ", ".join("?" * (columns.count(",") + 1))
        self.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    def merge(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self.executemany(statement, rows)

    def as_bytes(self, column: str) -> str:
        return f"CAST({column} AS BLOB)"

    def version(self) -> int:
        return int(self.execute("PRAGMA user_version").fetchone()[0])

    def faults(self, limit: int) -> list[str]:
        lines = (line for (line,) in self.execute(f"PRAGMA quick_check({limit})"))
        return [line for line in lines if line != "ok"]

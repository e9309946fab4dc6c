"""A table of a SQLite or PostgreSQL database, read in the order of a key, never written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from galenic.connect.files.mapping import CsvMapping
from galenic.connect.files.rows import RowReader
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Sample

POSTGRES = ("postgresql", "postgres")
BATCH = 1000
SECONDS = 5


class Database:
    """One connection to a database of somebody else.

    Parameters
    ----------
    address : str
        Path of a SQLite file, or ``postgresql://user@host:port/database``; no password in it
        (``~/.pgpass`` or ``PGPASSWORD``).
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        parts = urlsplit(self.address)
        self.is_postgres = parts.scheme in POSTGRES
        if self.is_postgres and (parts.password or "password" in dict(parse_qsl(parts.query))):
            raise DataError(
                "the address of the database has a password in it",
                hint="put it into ~/.pgpass or PGPASSWORD; addresses are shown and copied",
            )
        self._connection: Any = None

    @property
    def place(self) -> str:
        """The address as it may be shown."""
        return self.address

    def open(self) -> None:
        """Connect for reading only; ConnectionLost where the database is not there."""
        try:
            self._connection = self._postgres() if self.is_postgres else self._sqlite()
        except Exception as error:
            raise ConnectionLost(f"cannot open: {_words(error)}", where=self.place) from error

    def _sqlite(self) -> Any:
        path = Path(self.address).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {str(path)!r}")
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=SECONDS, check_same_thread=False
        )
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return connection

    def _postgres(self) -> Any:
        try:
            import psycopg
        except ImportError as error:
            raise DataError("psycopg is not installed", hint="pip install galenic[postgres]") from (
                error
            )
        limit = f"-c statement_timeout={SECONDS * 1000} -c default_transaction_read_only=on"
        return psycopg.connect(
            self.address, connect_timeout=SECONDS, autocommit=True, options=limit
        )

    def close(self) -> None:
        """Disconnect; also of a dead database."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    def ask(self, question: str, values: Sequence[Any] = ()) -> tuple[list[str], list[Any]]:
        """Names of the columns and rows; ConnectionLost where there is no answer."""
        if self._connection is None:
            self.open()
        cursor = self._connection.cursor()
        try:
            cursor.execute(question, values) if values else cursor.execute(question)
            return [column[0] for column in cursor.description], cursor.fetchall()
        except Exception as error:
            raise ConnectionLost(f"no answer: {_words(error)}", where=self.place) from error
        finally:
            cursor.close()

    def tables(self) -> list[str]:
        """Names of tables and views, with the schema where it is not the usual one."""
        if self.is_postgres:
            _, rows = self.ask(
                "SELECT CASE table_schema WHEN 'public' THEN table_name "
                "ELSE table_schema || '.' || table_name END FROM information_schema.tables "
                "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
            )
        else:
            _, rows = self.ask(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            )
        return [row[0] for row in rows]

    def columns(self, table: str) -> list[str]:
        """Columns of a table; UnknownName where there is none."""
        known = self.tables()
        if table not in known:
            raise UnknownName.among("table", table, known, where=self.place)
        return self.ask(f"SELECT * FROM {quoted(table)} WHERE 1 = 0")[0]


def quoted(name: str) -> str:
    """A name of a table or column as SQL takes it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def _words(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


class DatabaseReader(RowReader):
    """Reads a table in the order of its key; iterate over it, or ask for what is new.

    Parameters
    ----------
    database : Database
    table : str
        Table or view.
    key : str
        Column that grows with every new row, as a running number or the time of entry.
    mapping
        What the columns mean, as for CSV files; numbers and times of the database are taken as
        such, texts by the mapping's decimal sign and format.
    """

    def __init__(
        self,
        database: Database,
        table: str,
        key: str,
        mapping: CsvMapping | Mapping[str, Any] | str | Path,
    ) -> None:
        super().__init__(mapping, f"{database.place}, table {table}")
        self.database, self.table, self.key = database, table, key
        self.header: list[str] = []
        self._columns: list[str] = []
        self._select = ""

    def prepare(self) -> None:
        """Look whether all columns are there."""
        self.header = self.database.columns(self.table)
        self.check_header(self.header)
        if self.key not in self.header:
            raise UnknownName.among("column", self.key, self.header, where=self.where)
        named = self.mapping
        wanted = [named.time, named.tag, named.value, named.quality, named.received]
        wanted += [] if named.tag else named.columns
        self._columns = list(dict.fromkeys(filter(None, wanted)))
        self._select = ", ".join(map(quoted, (self.key, *self._columns)))

    def after(self, key: Any, most: int = BATCH) -> tuple[list[tuple[Any, list[Sample]]], Any]:
        """Key and samples of each row after a key (None for all), and the last key."""
        mark = "%s" if self.database.is_postgres else "?"
        where = "" if key is None else f"WHERE {quoted(self.key)} > {mark} "
        question = (
            f"SELECT {self._select} FROM {quoted(self.table)} {where}"
            f"ORDER BY {quoted(self.key)} LIMIT {int(most)}"
        )
        if key is not None and self.database.is_postgres:
            question = question.replace("%", "%%").replace("> %%s", "> %s")
        _, rows = self.database.ask(question, () if key is None else (key,))
        found = []
        for number, *cells in rows:
            texts = [self._text(*pair) for pair in zip(self._columns, cells, strict=True)]
            row = number if isinstance(number, int) else self.read + 1
            found.append((number, self.read_row(row, self._columns, texts)))
        return found, rows[-1][0] if rows else key

    def newest(self) -> Any:
        """The greatest key, or None of an empty table."""
        _, rows = self.database.ask(f"SELECT max({quoted(self.key)}) FROM {quoted(self.table)}")
        return rows[0][0]

    def rows(self) -> Iterator[list[Sample]]:
        """The samples of each row from the beginning."""
        self.begin()
        self.prepare()
        key: Any = None
        while True:
            found, last = self.after(key)
            yield from (samples for _, samples in found)
            if len(found) < BATCH:
                return
            key = last

    def __iter__(self) -> Iterator[Sample]:
        for batch in self.rows():
            yield from batch

    def _text(self, name: str, cell: Any) -> str:
        """A cell as the mapping reads it."""
        if cell is None:
            return ""
        if isinstance(cell, bool):
            return "true" if cell else "false"
        if isinstance(cell, datetime | date):
            return self._stamp(cell)
        if isinstance(cell, bytes | memoryview):
            return bytes(cell).hex()
        if isinstance(cell, int | float | Decimal) and name != self.mapping.time:
            return str(cell).replace(".", self.mapping.decimal)
        return str(cell)

    def _stamp(self, cell: date) -> str:
        """A time of the database in the format of the mapping."""
        if not isinstance(cell, datetime):
            cell = datetime(cell.year, cell.month, cell.day)
        if self.mapping.format == "unix" and cell.tzinfo is not None:
            return repr(cell.astimezone(UTC).timestamp())
        return cell.strftime(self.mapping.format) if self.mapping.format else cell.isoformat()

"""The tables of a site in PostgreSQL; its sealed files stay in the site's folder.

One session writes, under an advisory lock of the server that goes when the session ends. Each
read is one ``REPEATABLE READ`` transaction. Where the connection is lost during a commit, the
server is asked afterwards what became of it; a transaction never ends in doubt unseen.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from galenic.clock import Clock, to_iso
from galenic.errors import DataError, StorageError
from galenic.records import historian, schema, volumes
from galenic.records.files import WriterLock, storage_errors
from galenic.records.places import Address
from galenic.records.signing import Signer
from galenic.records.site import SiteStore
from galenic.records.sql import BATCH, Cursor, Row
from galenic.records.writing import TableTransaction, Tail

try:
    import psycopg
    from psycopg.pq import TransactionStatus
    from psycopg.types.string import StrDumper, TextLoader
except ImportError as error:
    raise StorageError(
        "records in PostgreSQL need the package psycopg",
        hint="pip install 'galenic[postgres]'",
    ) from error

IDLE = 8  # reading connections kept open
WAIT = "3s"  # for a writer's session to end
LOOK = "500ms"
"""How often the server looks, while a statement of a writer runs, whether the writer is there.

Without it the session of a killed writer keeps the lock until its statement ends. PostgreSQL 14 and
later can, where the system tells of closed connections; elsewhere nothing is set."""
PATIENCE = 10.0  # seconds in which the fate of a commit must be known

KINDS = ("bigint", "bigint", "bigint", "double precision", "text", "text", "smallint", "bigint",
         "bigint", "text")  # fmt: skip
"""Types of `galenic.records.historian.COLUMNS`."""

NUL, MARK = "\0", "\x01"


def lock_number(address: Address) -> int:
    """The number of the writer's advisory lock, within the database."""
    digest = hashlib.sha256(f"galenic writer {address.schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class _Dumper(StrDumper):
    """Text with NUL characters, which PostgreSQL has not, is written with a mark instead.

    The order of texts stays what it is.
    """

    oid = 0

    def dump(self, obj: str) -> Any:
        if NUL in obj or MARK in obj:
            obj = obj.replace(MARK, f"{MARK}\2").replace(NUL, f"{MARK}\1")
        return super().dump(obj)


class _Loader(TextLoader):
    def load(self, data: Any) -> Any:
        text: Any = super().load(data)
        if MARK in text:
            return text.replace(f"{MARK}\1", NUL).replace(f"{MARK}\2", MARK)
        return text


@lru_cache(maxsize=512)
def _marked(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")


@lru_cache(maxsize=16)
def _of_arrays(statement: str) -> str:
    """The statement for all rows at once, one array per column: ten times as fast."""
    before, after = re.split(r"VALUES \([?, ]*\)", statement)
    arrays = ", ".join(f"%s::{kind}[]" for kind in KINDS)
    return f"{before}SELECT * FROM unnest({arrays}){after}"


class PostgresConnection:
    """Implements `galenic.records.sql.Connection` on one session of the server."""

    Error = psycopg.Error

    def __init__(self, address: Address) -> None:
        self.raw = psycopg.connect(
            address.target,
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            application_name="galenic",
            options=f"-c search_path={address.schema} -c tcp_keepalives_idle=10",
        )
        self.raw.adapters.register_dumper(str, _Dumper)
        self.raw.adapters.register_loader("text", _Loader)

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        return self.raw.execute(_marked(statement), values)

    def stream(self, statement: str, batch: int = BATCH) -> Iterator[Row]:
        with self.raw.cursor(f"stream{uuid.uuid4().hex}") as cursor:
            cursor.itersize = batch
            cursor.execute(statement)
            yield from cursor

    def add(self, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
        with self.raw.cursor() as cursor:
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    def merge(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            self.raw.execute(_of_arrays(statement), columns)

    def as_bytes(self, column: str) -> str:
        return column  # the server keeps no invalid text

    def version(self) -> int:
        if self.execute("SELECT to_regclass('meta')").fetchone()[0] is None:
            return 0
        row = self.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        return int(row[0]) if row else 0

    def faults(self, limit: int) -> list[str]:
        (count,) = self.execute(
            "SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database "
            "WHERE datname = current_database()"
        ).fetchone()
        return [f"the server counts {count} pages with a wrong checksum"] if count else []

    @property
    def in_transaction(self) -> bool:
        return self.raw.info.transaction_status != TransactionStatus.IDLE

    @property
    def is_usable(self) -> bool:
        return not self.raw.closed

    def roll_back(self) -> None:
        """End an open transaction without effect; a lost session has ended it already."""
        with contextlib.suppress(psycopg.Error):
            if self.is_usable and self.in_transaction:
                self.raw.execute("ROLLBACK")

    def close(self) -> None:
        self.raw.close()


@contextmanager
def postgres_errors(where: str) -> Iterator[None]:
    """Turn errors of the server and of the connection into StorageError with a hint."""
    try:
        yield
    except psycopg.Error as error:
        raise _meaning(error, where) from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"text that is not Unicode: {error.object!r}", where=where, expected="valid text"
        ) from error


MEANINGS = {
    "53100": ("no room left to write", "free space; writing goes on by itself then"),
    "53300": ("the database has no connection left", "raise max_connections, or close others"),
    "25006": ("the store is read-only", "connect to the primary server to change it"),
    "42501": ("access to the store was refused", "grant the user rights on the schema"),
    "28": ("access to the store was refused", "check user, ~/.pgpass and pg_hba.conf"),
    "3D": ("there is no such database", "create it: createdb NAME"),
    "XX": ("the store's file is damaged", "run verify, then restore from a backup"),
    "57": ("the database is stopping", "writing goes on by itself when it is back"),
    "08": ("the database cannot be reached", "writing goes on by itself when it is back"),
}


def _meaning(error: psycopg.Error, where: str) -> Exception:
    state = error.sqlstate or ""
    if state == "22003":
        return DataError(
            "a number is too large for the store", where=where, expected="64-bit integers"
        )
    if not state and isinstance(error, psycopg.OperationalError):
        state = "08"
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    for sign, (found, hint) in MEANINGS.items():
        if state.startswith(sign):
            return StorageError(f"{found} ({text})", where=where, hint=hint)
    return StorageError(f"the store failed: {text}", where=where)


def _lock(connection: PostgresConnection, address: Address) -> None:
    """Take the lock; the session of a writer that was killed may need a moment to end."""
    try:
        connection.execute("SELECT set_config('lock_timeout', ?, false)", (WAIT,))
        connection.execute("SELECT pg_advisory_lock(?)", (lock_number(address),))
    except psycopg.errors.LockNotAvailable:
        raise _held(connection, address.text) from None
    connection.execute("SELECT set_config('lock_timeout', '0', false)")


def locked(address: Address) -> PostgresConnection:
    """A session that has the writer's lock; it goes when the session ends."""
    connection = PostgresConnection(address)
    try:
        _lock(connection, address)
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
        with contextlib.suppress(psycopg.errors.InvalidParameterValue):
            connection.execute(
                "SELECT set_config(name, ?, false) FROM pg_settings "
                "WHERE name = 'client_connection_check_interval'",
                (LOOK,),
            )
    except BaseException:
        connection.close()
        raise
    return connection


class PostgresStore(SiteStore):
    """The records of a site in a PostgreSQL schema; made by `galenic.records.open_site`."""

    def __init__(
        self, folder: Path, address: Address, readonly: bool, name: str, site: str, clock: Clock
    ) -> None:
        super().__init__(folder, readonly, clock)
        self.address = address
        self._writing = threading.Lock()
        self._writer_thread = 0
        self._writer: PostgresConnection | None = None
        self._idle: list[PostgresConnection] = []
        self._pool = threading.Lock()
        self._view = threading.local()
        self._tail = Tail()
        self._names: dict[str, int] = {}
        self._lock: WriterLock | None = None
        self._ended = ""
        try:
            with postgres_errors(self.place):
                if not readonly:
                    self._open_writer(name, site)
                with self._reading() as connection:
                    self._refuse_strange(connection.version())
                self._opened_as(self._site_id())
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        return self.address.text

    def _refuse_strange(self, version: int) -> None:
        if version == 0:
            raise StorageError("there are no records here", where=self.place, hint="run it first")
        schema.refuse_newer(version, self.place)
        schema.refuse_older(version, self.place)

    def _open_writer(self, name: str, site: str) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / historian.FOLDER).mkdir(exist_ok=True)
        self._lock = WriterLock(self.folder / "writer.lock", self._clock.now())
        self._signer = Signer(self.folder)
        self._writer = writer = locked(self.address)
        _refuse_moved(writer, self.place)
        self._upgrade(writer, name, site)
        self._say_who(writer)
        self._tail, self._names = Tail.to_write_on(writer), _names(writer)
        historian.remove_strays(self.folder, historian.registered(writer))
        volumes.remove_strays(self.folder, writer)

    def _upgrade(self, writer: PostgresConnection, name: str, site: str) -> None:
        before, after = writer.version(), len(schema.POSTGRES)
        schema.refuse_newer(before, self.place)
        if before == after:
            return
        writer.execute("BEGIN")
        schema.prepare(writer, self.address.schema, before)
        self._record_upgrade(writer, before, name, site)
        writer.execute("COMMIT")

    def _say_who(self, writer: PostgresConnection) -> None:
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": to_iso(self._clock.now())}
        writer.execute(
            "INSERT INTO meta VALUES ('writer', ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (json.dumps(me),),
        )

    @contextmanager
    def _reading(self) -> Iterator[PostgresConnection]:
        self._refuse_closed()
        present: PostgresConnection | None = getattr(self._view, "connection", None)
        if present is not None:
            yield present
            return
        with postgres_errors(self.place):
            connection = self._reader()
            self._view.connection = connection
            try:
                yield connection
            finally:
                self._view.connection = None
                connection.roll_back()
                self._give_back(connection)

    def _reader(self) -> PostgresConnection:
        """A connection with a view begun; one from the pool may have been lost meanwhile."""
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        while True:
            with self._pool:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = PostgresConnection(self.address)
                connection.execute(begin)
                return connection
            try:
                connection.execute(begin)
                return connection
            except psycopg.OperationalError:
                connection.close()

    def _give_back(self, connection: PostgresConnection) -> None:
        with self._pool:
            if connection.is_usable and len(self._idle) < IDLE and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def transaction(self) -> Iterator[TableTransaction]:
        self._refuse_writing(self._writer_thread)
        with self._writing, postgres_errors(self.place):
            self._writer_thread = threading.get_ident()
            try:
                writer = self._begin()
                transaction = TableTransaction(writer, self._tail, self._names)
                yield transaction
                signed = self._sign(transaction)
                self._commit(writer)
                self._tail = transaction.tail
                self._names |= transaction.names
                self._signed(signed)
            finally:
                self._writer_thread = 0
                if self._writer is not None:
                    self._writer.roll_back()

    def _begin(self) -> PostgresConnection:
        if self._ended:
            raise StorageError(self._ended, where=self.place, hint="open the site again")
        if self._writer is not None and self._writer.is_usable:
            try:
                self._writer.execute("BEGIN")
                return self._writer
            except psycopg.OperationalError:
                self._writer.close()
        self._writer = self._again()
        self._writer.execute("BEGIN")
        return self._writer

    def _again(self) -> PostgresConnection:
        """A new session in place of a lost one, if nobody wrote in between."""
        connection = locked(self.address)
        try:
            if Tail.of(connection) != self._tail:
                self._ended = "another process has written to the site since the connection broke"
                raise StorageError(self._ended, where=self.place, hint="open the site again")
            self._say_who(connection)
            self._names = _names(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _commit(self, writer: PostgresConnection) -> None:
        (number,) = writer.execute("SELECT pg_current_xact_id()::text").fetchone()
        try:
            writer.execute("COMMIT")
        except psycopg.OperationalError:
            if writer.is_usable or not self._arrived(number):
                raise

    def _arrived(self, number: str) -> bool:
        """Whether the transaction, whose commit nobody answered, was done."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                asked = PostgresConnection(self.address)
                (status,) = asked.execute("SELECT pg_xact_status(?::xid8)", (number,)).fetchone()
                asked.close()
            except psycopg.OperationalError:
                status = None
            if status in ("committed", "aborted"):
                return bool(status == "committed")
            time.sleep(0.2)
        self._ended = "whether the last commit was done is not known"
        raise StorageError(
            self._ended, where=self.place, hint="open the site again when the database is back"
        )

    def close(self) -> None:
        self._sign_last()
        self._closed = True
        with self._pool:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        if self._writer is not None:
            self._writer.close()
        self._history.close()
        if self._lock is not None:
            self._lock.release()


def _names(connection: PostgresConnection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, id FROM names").fetchall())


def _refuse_moved(connection: PostgresConnection, where: str) -> None:
    if connection.version():
        row = connection.execute("SELECT value FROM meta WHERE key = 'moved'").fetchone()
        if row:
            raise StorageError(
                f"these records were moved to {row[0]}", where=where, hint="open them there"
            )


def _held(connection: PostgresConnection, where: str) -> StorageError:
    who = "another session"
    if connection.version():
        row = connection.execute("SELECT value FROM meta WHERE key = 'writer'").fetchone()
        if row:
            holder = json.loads(row[0])
            who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    return StorageError(
        f"the site is open for writing by {who}",
        where=where,
        hint="send the command to the running server, or open the site with readonly=True",
    )

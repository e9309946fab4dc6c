"""The embedded store: one folder, one SQLite file in WAL mode, sealed Parquet segments.

One process writes, under a lock that names it; others open the folder with ``readonly=True``
and read while the writer works. Inside the writing process any thread may read; transactions
of several threads wait for each other.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galenic.clock import Clock
from galenic.records import historian, schema, volumes
from galenic.records.files import WriterLock, storage_errors
from galenic.records.places import DATABASE
from galenic.records.signing import Signer
from galenic.records.site import SiteStore
from galenic.records.sql import SqliteConnection
from galenic.records.writing import TableTransaction, Tail


def connect(path: Path, mode: str) -> SqliteConnection:
    """Open a file: mode "rwc" makes it, "ro" reads beside a writer."""
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=5.0,
        isolation_level=None,
        check_same_thread=False,
        factory=SqliteConnection,
    )


def make_durable(connection: SqliteConnection) -> None:
    """A commit that has returned survives a power cut."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


class EmbeddedStore(SiteStore):
    """The records of a site in its folder; made by `galenic.records.open_site`."""

    def __init__(self, folder: Path, readonly: bool, name: str, site: str, clock: Clock) -> None:
        super().__init__(folder, readonly, clock)
        self.path = folder / DATABASE
        self._writing = threading.Lock()
        self._writer_thread = 0
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        self._names: dict[str, int] = {}
        self._lock: WriterLock | None = None
        try:
            if not readonly:
                self._open_writer(name, site)
            with self._reading() as connection:
                schema.refuse_newer(connection.version(), self.place)
                schema.refuse_older(connection.version(), self.place)
            self._opened_as(self._site_id())
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        return str(self.path)

    def _open_writer(self, name: str, site: str) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / historian.FOLDER).mkdir(exist_ok=True)
        self._lock = WriterLock(self.folder / "writer.lock", self._clock.now())
        self._signer = Signer(self.folder)
        with storage_errors(self.path):
            self._writer = self._connect("rwc")
            make_durable(self._writer)
            self._upgrade(name, site)
            self._tail = Tail.to_write_on(self._writer)
            self._names = dict(self._writer.execute("SELECT name, id FROM names"))
            historian.remove_strays(self.folder, historian.registered(self._writer))
            volumes.remove_strays(self.folder, self._writer)

    def _upgrade(self, name: str, site: str) -> None:
        before, after = schema.upgrade(self._writer, self.place)
        if before != after:
            self._record_upgrade(self._writer, before, name, site)
            self._writer.execute("COMMIT")

    def _connect(self, mode: str) -> SqliteConnection:
        connection = connect(self.path, mode)
        with self._opening:
            self._opened.append(connection)
        return connection

    def _connect_reader(self) -> SqliteConnection:
        connection = self._connect("ro")
        try:
            connection.version()
        except sqlite3.OperationalError:
            # on a read-only volume SQLite cannot make an index of the WAL; no WAL needs none
            if self.path.with_name(f"{DATABASE}-wal").exists():
                raise
            connection = self._connect("ro&immutable=1")
        return connection

    @contextmanager
    def _reading(self) -> Iterator[SqliteConnection]:
        self._refuse_closed()
        with storage_errors(self.path):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect_reader()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[TableTransaction]:
        self._refuse_writing(self._writer_thread)
        with self._writing, storage_errors(self.path):
            self._writer_thread = threading.get_ident()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                transaction = TableTransaction(self._writer, self._tail, self._names)
                yield transaction
                signed = self._sign(transaction)
                self._writer.execute("COMMIT")
                self._tail = transaction.tail
                self._names |= transaction.names
                self._signed(signed)
            finally:
                self._writer_thread = 0
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def close(self) -> None:
        self._sign_last()
        self._closed = True
        with self._opening:
            for connection in reversed(self._opened):  # the writer last: it empties the WAL
                connection.close()
            self._opened.clear()
        self._history.close()
        if self._lock is not None:
            self._lock.release()

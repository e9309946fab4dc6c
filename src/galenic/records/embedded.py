"""The embedded store: one folder, one SQLite file in WAL mode, sealed Parquet segments.

One process writes, under a lock that names it; others open the folder with ``readonly=True``
and read while the writer works. Inside the writing process any thread may read; transactions
of several threads wait for each other.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.clock import Clock, SystemClock
from galenic.errors import StorageError
from galenic.identity import content_hash
from galenic.records import artefacts, historian, journal, schema
from galenic.records.codec import decode, restore
from galenic.records.files import WriterLock, storage_errors
from galenic.records.jobs import Jobs
from galenic.records.ledger import GENESIS, SEAL, Entry, Head
from galenic.records.query import History
from galenic.records.store import Artefact, Checkpoint, Segment
from galenic.records.verify import Verifier, VerifyReport
from galenic.records.writing import EmbeddedTransaction, Tail
from galenic.signals import Record, Sample, Signal

if TYPE_CHECKING:
    import pyarrow as pa

DATABASE = "site.sqlite"
PAGE = 2000


def open_site(
    folder: str | Path,
    readonly: bool = False,
    *,
    name: str = "",
    site: str = "",
    clock: Clock | None = None,
) -> EmbeddedStore:
    """Open the records of a site; make them, if there are none and they may be written.

    Parameters
    ----------
    folder : path
        Where the records are.
    readonly : bool
        Read beside the process that writes. Without it this process becomes the writer, or a
        StorageError names the one that is.
    name, site : str
        Name and id of a site that is made now; the id is random, unless given.
    clock : Clock, optional
        Where the time of the store's own ledger entries comes from.
    """
    path = Path(folder)
    if readonly and not (path / DATABASE).is_file():
        raise StorageError(
            "there are no records here", where=str(path), hint="run the project first"
        )
    clock = clock or SystemClock()
    store = EmbeddedStore(path, readonly, name or path.resolve().name, site, clock)
    try:
        if not readonly:
            Jobs(store, clock).interrupt_open()
    except BaseException:
        store.close()
        raise
    return store


class EmbeddedStore:
    """Implements `galenic.records.store.Store`; made by `open_site`."""

    def __init__(self, folder: Path, readonly: bool, name: str, site: str, clock: Clock) -> None:
        self.folder = folder
        self.path = folder / DATABASE
        self.readonly = readonly
        self._clock = clock
        self._writing = threading.Lock()
        self._writer_thread = 0
        self._sealing = threading.Lock()
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        self._closed = False
        self._history = History(folder, self._reading)
        self._names: dict[str, int] = {}
        self._lock: WriterLock | None = None
        if not readonly:
            self._open_writer(name, site)
        try:
            with self._reading() as connection:
                schema.refuse_newer(schema.version_of(connection), str(self.path))
                row = connection.execute("SELECT value FROM meta WHERE key = 'site'").fetchone()
                if row is None:
                    raise sqlite3.DatabaseError("malformed: the site has no id")
        except BaseException:
            self.close()
            raise
        self.site = str(row[0])

    def _open_writer(self, name: str, site: str) -> None:
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / historian.FOLDER).mkdir(exist_ok=True)
        self._lock = WriterLock(self.folder / "writer.lock", self._clock.now())
        try:
            with storage_errors(self.path):
                self._writer = self._connect("rwc")
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute("PRAGMA synchronous = FULL")
                self._upgrade(name, site)
                self._tail = Tail.of(self._writer)
                self._names = dict(self._writer.execute("SELECT name, id FROM names"))
                historian.remove_strays(self.folder, historian.registered(self._writer))
        except BaseException:
            self.close()
            raise

    def _upgrade(self, name: str, site: str) -> None:
        now = self._clock.now()
        before, after = schema.upgrade(self._writer, str(self.path))
        if before == after:
            return
        if before == 0:
            site = site or str(uuid.uuid4())
            self._writer.execute("INSERT INTO meta VALUES ('site', ?), ('name', ?)", (site, name))
            record = Record(GENESIS, now, site, {"name": name, "schema": after})
        else:
            record = Record("upgrade", now, "schema", {"from": before, "to": after})
        EmbeddedTransaction(self._writer, Tail.of(self._writer), {}).ledger(record)
        self._writer.execute("COMMIT")

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.resolve().as_uri()}?mode={mode}",
            uri=True,
            timeout=5.0,
            isolation_level=None,
            check_same_thread=False,
        )
        with self._opening:
            self._opened.append(connection)
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect("ro")
        try:
            schema.version_of(connection)
        except sqlite3.OperationalError:
            # on a read-only volume SQLite cannot make an index of the WAL; no WAL needs none
            if self.path.with_name(f"{DATABASE}-wal").exists():
                raise
            connection = self._connect("ro&immutable=1")
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The calling thread's connection, in one consistent view of the file."""
        self._refuse_closed()
        with storage_errors(self.path):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect_reader()
            if connection.in_transaction:  # a view inside a view is the same view
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[EmbeddedTransaction]:
        """All that is done with the transaction commits when the block ends, or nothing."""
        self._refuse_closed()
        if self.readonly:
            raise StorageError("the site was opened for reading only", where=str(self.folder))
        if self._writer_thread == threading.get_ident():
            raise StorageError("a transaction is open already", hint="pass it on, do not nest")
        with self._writing, storage_errors(self.path):
            self._writer_thread = threading.get_ident()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                transaction = EmbeddedTransaction(self._writer, self._tail, self._names)
                yield transaction
                self._writer.execute("COMMIT")
                self._tail = transaction.tail
                self._names |= transaction.names
            finally:
                self._writer_thread = 0
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StorageError("the store has been closed", where=str(self.folder))

    def _pages(
        self, columns: str, key: str, start: int, stop: int | None, kinds: Sequence[str] | None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows start <= key < stop, a page at a time, so that no view is held open."""
        where = f"{key} >= ? AND {key} < ?"
        if kinds is not None:
            where += f" AND kind IN ({','.join('?' * len(kinds))})"
        question = f"SELECT {columns} WHERE {where} ORDER BY {key} LIMIT {PAGE}"
        end = 2**62 if stop is None else stop
        while True:
            with self._reading() as connection:
                rows = connection.execute(question, (start, end, *(kinds or ()))).fetchall()
            yield from rows
            if len(rows) < PAGE:
                return
            start = rows[-1][0] + 1

    def journal_read(
        self, start: int = 1, stop: int | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Signal]]:
        """Offset and signal of rows start <= offset < stop, as received."""
        columns = '"offset", kind, body FROM journal'
        for offset, kind, body in self._pages(columns, '"offset"', start, stop, kinds):
            if kind != journal.APPLIED:
                yield offset, decode(body)

    def journal_rows(self, start: int = 1, stop: int | None = None) -> Iterator[journal.Row]:
        """Rows as they are stored, with their hashes: for export and for outside checks."""
        columns = '"offset", received, kind, body, hash FROM journal'
        yield from self._pages(columns, '"offset"', start, stop, None)

    def applied_read(self, subject: str, after: int = 0) -> Iterator[tuple[int, Signal]]:
        """Position and signal in the order ``subject`` applied them, after a position."""
        columns = '"offset", body FROM journal'
        pages = self._pages(columns, '"offset"', after + 1, None, [journal.APPLIED])
        for position, body in pages:
            whose, offsets = journal.applied_offsets(body)
            if whose == subject:
                for signal in self._signals(offsets):
                    yield position, signal

    def _signals(self, offsets: Sequence[int]) -> Iterator[Signal]:
        question = 'SELECT body FROM journal WHERE "offset" = ?'
        with self._reading() as connection:
            rows = [connection.execute(question, (offset,)).fetchone() for offset in offsets]
        for (body,) in rows:
            yield decode(body)

    def ledger_read(
        self, start: int = 0, stop: int | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Entry]:
        """Entries start <= index < stop."""
        columns = "number, body, hash FROM ledger"
        for _, body, digest in self._pages(columns, "number", start, stop, kinds):
            yield Entry.from_bytes(body, digest.hex())

    def head(self) -> Head:
        """The last entry and the last journal row; keep it outside, give it to `verify`."""
        with self._reading() as connection:
            return Tail.of(connection).head

    def verify(self, head: Head | None = None) -> VerifyReport:
        """Recompute ledger, journal, segments and artefacts; compare with an outside head."""
        self._refuse_closed()
        with self._reading() as connection:
            return Verifier(connection, self.folder, head).run()

    def get(self, kind: str, key: str) -> Any:
        """A document, or None."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT value FROM documents WHERE kind = ? AND key = ?", (kind, key)
            ).fetchone()
        return restore(row[0]) if row else None

    def list(self, kind: str, prefix: str = "") -> dict[str, Any]:
        """Documents of a kind by key, in the order of keys."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT key, value FROM documents WHERE kind = ? AND key >= ? "
                "AND substr(key, 1, ?) = ? ORDER BY key",
                (kind, prefix, len(prefix), prefix),
            ).fetchall()
        return {key: restore(value) for key, value in rows}

    def latest(self, tags: Iterable[str] | None = None) -> dict[str, Sample]:
        """The newest sample of each tag (of the given ones that have any)."""
        wanted = None if tags is None else set(tags)
        with self._reading() as connection:
            rows = connection.execute(f"{historian.LATEST} ORDER BY t.name").fetchall()
        return {
            row[0]: historian.sample_of(row) for row in rows if wanted is None or row[0] in wanted
        }

    def history(
        self,
        tags: str | Sequence[str],
        start: int,
        stop: int,
        every: int | None = None,
        limit: int | None = None,
        versions: str = "latest",
    ) -> pa.Table:
        """Samples start <= time < stop, or one row per bucket of ``every`` ns that has samples.

        Parameters
        ----------
        tags : str or list of str
            Unknown tags give no rows.
        start, stop : int [ns]
            The time range.
        every : int [ns], optional
            Bucket length. Buckets count from ``start``; each row has the bucket's start, count,
            good count, minimum and maximum with their times, time-weighted mean of the held
            value, first, last, worst quality, and the covered share of the bucket.
        limit : int, optional
            At most so many single samples, in the order of tag and time.
        versions : "latest" or "all"
            All versions of corrected samples, with their number, or the newest of each.

        Returns
        -------
        pyarrow.Table
            ``.to_pandas()`` for a data frame.
        """
        return self._history.history(tags, start, stop, every, limit, versions)

    def locate(self, key: str) -> tuple[str, int] | None:
        """Tag and time of the sample with this key, or None."""
        return self._history.locate(key)

    def seal(
        self,
        until: int,
        now: int | None = None,
        step: Callable[[str], None] = historian.no_step,
    ) -> Segment | None:
        """Move history before ``until`` [ns] into a segment; None where there is none."""
        with self._sealing:
            with self._reading() as connection:
                rows = historian.hot_rows(connection, -(2**62), until)
            if not rows:
                return None
            with storage_errors(self.folder):
                segment = historian.write_segment(self.folder, rows, step)
            detail = {key: value for key, value in vars(segment).items() if key != "name"}
            time = self._clock.now() if now is None else now
            with self.transaction() as transaction:
                historian.register(self._writer, segment, until)
                step("registered")
                transaction.ledger(Record(SEAL, time, segment.name, detail))
                step("recorded")
            step("committed")
            return segment

    def segments(self) -> Sequence[Segment]:
        """All sealed segments, oldest data first."""
        with self._reading() as connection:
            return historian.registered(connection)

    def artefact(self, digest: str) -> Artefact:
        """The artefact with this SHA-256, checked against it."""
        with self._reading() as connection:
            return artefacts.fetch(connection, digest)

    def artefacts(self) -> Sequence[str]:
        """Hashes of all artefacts, oldest first."""
        with self._reading() as connection:
            return artefacts.names(connection)

    def checkpoint(self, subject: str, until: int | None = None) -> Checkpoint | None:
        """The newest intact checkpoint of a subject, of a time [ns] up to ``until``."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT position, time, data, hash FROM checkpoints WHERE subject = ?1 "
                "AND (?2 IS NULL OR time <= ?2) ORDER BY position DESC",
                (subject, until),
            ).fetchall()
        for position, time, data, digest in rows:
            if content_hash(data) == digest:
                return Checkpoint(subject, position, time, data)
        return None

    def close(self) -> None:
        """Give back the lock and all connections; calling it twice is allowed."""
        self._closed = True
        with self._opening:
            for connection in reversed(self._opened):  # the writer last: it empties the WAL
                connection.close()
            self._opened.clear()
        self._history.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> EmbeddedStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

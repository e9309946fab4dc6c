"""A site's records in tables: every read, and sealing; the same for each database.

What is left to a back end is how it connects, and how a transaction begins and ends.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.clock import Clock
from galenic.errors import DataError, StorageError
from galenic.identity import content_hash
from galenic.records import artefacts, historian, journal, merkle, minutes, schema, tree, volumes
from galenic.records.codec import restore
from galenic.records.files import given_back, storage_errors
from galenic.records.ledger import GENESIS, KEY, SEAL, Entry, Head
from galenic.records.query import History
from galenic.records.signing import (
    Publication,
    SignedHead,
    Signer,
    is_due,
    last_signed,
    recorded_key,
    signed_heads,
)
from galenic.records.sql import Connection
from galenic.records.store import Artefact, Checkpoint, Segment
from galenic.records.verify import Report, Verifier, VerifyReport
from galenic.records.writing import TableTransaction, Tail
from galenic.signals import Record, Sample, Signal

if TYPE_CHECKING:
    from typing import Self

    import pyarrow as pa

PAGE = 2000
JOURNAL_PAGE = 500  # rows can be packs
NEVER = 2**62
LAST = chr(0x10FFFF)  # after every character that a text can have


class SiteStore(ABC):
    """Implements `galenic.records.store.Store` but for `_reading`, `transaction` and `close`.

    Parameters
    ----------
    folder : Path
        The site's folder, with its sealed segments.
    readonly : bool
        Whether this process only reads.
    clock : Clock
        Where the time of the store's own ledger entries comes from.
    """

    site: str
    _signer: Signer

    def __init__(self, folder: Path, readonly: bool, clock: Clock) -> None:
        self.folder = folder
        self.readonly = readonly
        self._clock = clock
        self._sealing = threading.Lock()
        self._volumes = volumes.Volumes(folder)
        self._history = History(folder, self._reading, self._row)
        self._made: dict[int, tuple[historian.Row, Sample]] = {}
        self._closed = False
        self._is_open = False
        self._is_closing = False
        self._last_signed: SignedHead | None = None
        self._publication: Publication | None = None

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]:
        """A connection in one consistent view; inside a view of this thread, that same view."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[TableTransaction]:
        """All that is done with the transaction commits when the block ends, or nothing."""

    @abstractmethod
    def close(self) -> None:
        """Give back the lock and all connections; calling it twice is allowed."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the tables are, as a person would say it; never with a secret."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StorageError("the store has been closed", where=str(self.folder))

    def _refuse_writing(self, thread: int) -> None:
        self._refuse_closed()
        if self.readonly:
            raise StorageError("the site was opened for reading only", where=str(self.folder))
        if thread == threading.get_ident():
            raise StorageError("a transaction is open already", hint="pass it on, do not nest")

    def _site_id(self) -> str:
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'site'").fetchone()
        if row is None:
            raise StorageError("the site has no id", where=self.place, hint="run verify")
        return str(row[0])

    def _record_upgrade(self, connection: Connection, before: int, name: str, site: str) -> None:
        """Enter new tables in the ledger, inside the transaction that made them."""
        now, after = self._clock.now(), len(schema.MIGRATIONS)
        if before == 0:
            site = site or str(uuid.uuid4())
            connection.execute("INSERT INTO meta VALUES ('site', ?), ('name', ?)", (site, name))
            detail = {"name": name, "schema": after, "key": self._signer.public}
            record = Record(GENESIS, now, site, detail)
        else:
            if before < schema.WITH_TREE:
                tree.fill(connection)
            record = Record("upgrade", now, "schema", {"from": before, "to": after})
        TableTransaction(connection, Tail.of(connection), {}).ledger(record)

    def _opened_as(self, site: str) -> None:
        """What every back end does when it has opened its tables."""
        self.site = site
        self._is_open = True
        if self.readonly:
            return
        with self._reading() as connection:
            self._last_signed = last_signed(connection)
            recorded = recorded_key(connection)
        if recorded != self._signer.public:
            detail = {"key": self._signer.public, "before": recorded}
            with self.transaction() as transaction:
                transaction.ledger(Record(KEY, self._clock.now(), site, detail))

    def _sign(self, transaction: TableTransaction) -> SignedHead | None:
        """The head after the transaction, signed and kept in it, if one is due."""
        last, tail, now = self._last_signed, transaction.tail, self._clock.now()
        if not is_due(last, tail.index + 1, tail.offset, now, self._is_closing):
            return None
        signed = self._signer.sign(self.site, last.number + 1 if last else 1, now, tail.head)
        transaction.connection.execute(
            "INSERT INTO heads VALUES (?, ?)", (signed.number, signed.line)
        )
        return signed

    def _signed(self, signed: SignedHead | None) -> None:
        """Take over a head whose transaction was committed."""
        if signed is not None:
            self._last_signed = signed
            self._publish()

    def _publish(self) -> None:
        if self._publication is not None:
            with self._reading() as connection:
                self._publication.catch_up(connection)

    def _sign_last(self) -> None:
        if self._is_open and not self._closed and not self.readonly:
            with contextlib.suppress(StorageError):  # closing must not fail; it is signed next time
                self.sign()

    def sign(self) -> SignedHead | None:
        """Sign the present head now, if anything was written since the last one; the newest."""
        self._is_closing = True
        try:
            with self.transaction():
                pass
        finally:
            self._is_closing = False
        return self._last_signed

    def publish_to(self, path: Path) -> None:
        """Append every signed head, from now on and missing ones, to a file elsewhere."""
        self._publication = Publication(path)
        self._publish()

    def signed_heads(self, after: int = 0) -> Sequence[SignedHead]:
        """All signed heads after a number, oldest first."""
        with self._reading() as connection:
            return signed_heads(connection, after)

    def inclusion(self, index: int, size: int) -> Sequence[bytes]:
        """The proof that entry ``index`` is in the tree of the first ``size`` entries."""
        with self._reading() as connection:
            self._refuse_size(connection, index + 1, size)
            return merkle.inclusion(index, size, partial(tree.root_of, connection))

    def consistency(self, first: int, second: int) -> Sequence[bytes]:
        """The proof that the first ``second`` entries begin with the first ``first`` ones."""
        with self._reading() as connection:
            self._refuse_size(connection, first, second)
            return merkle.consistency(first, second, partial(tree.root_of, connection))

    def _refuse_size(self, connection: Connection, inner: int, outer: int) -> None:
        (count,) = connection.execute("SELECT count(*) FROM ledger").fetchone()
        if not 0 < inner <= outer <= count:
            raise DataError(
                f"a proof of {inner} in {outer} entries", expected=f"0 < {inner} <= size <= {count}"
            )

    def _pages(
        self, columns: str, key: str, start: int, stop: int | None, kinds: Sequence[str] | None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows start <= key < stop, a page at a time, so that no view is held open."""
        question = _page(columns, key, kinds)
        end = NEVER if stop is None else stop
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
        end = NEVER if stop is None else stop
        for row in self._journal(start, end, journal.stored_kinds(kinds)):
            yield from journal.signals(row, start, end)

    def journal_rows(self, start: int = 1, stop: int | None = None) -> Iterator[journal.Row]:
        """Rows as they are stored, with their hashes: for export and for outside checks.

        A pack is one row, and there where any of its samples is in the range.
        """
        yield from self._journal(start, NEVER if stop is None else stop, None)

    def _journal(self, start: int, end: int, kinds: Sequence[str] | None) -> Iterator[journal.Row]:
        """Rows start <= offset < end, from volumes and from the table; each page is one view."""
        while start < end:
            with self._reading() as connection:
                volume = self._volumes.holding(connection, start)
                rows = [] if volume else self._journal_page(connection, start, kinds)
            if volume is not None and volume.name in self._volumes.disposed:
                start = volume.last + 1
                continue
            if volume is not None:
                found = self._volumes.chained(volume, start, end)
                yield from (row for row in found if kinds is None or row[2] in kinds)
                start = volume.last + 1
                continue
            for row in rows:
                if row[0] >= end and row[0] - journal.span(row[2], row[3]) >= end - 1:
                    return
                yield row
            if len(rows) < JOURNAL_PAGE:
                return
            start = rows[-1][0] + 1

    def _journal_page(
        self, connection: Connection, start: int, kinds: Sequence[str] | None
    ) -> list[journal.Row]:
        question = _page(f"{journal.COLUMNS} FROM journal", '"offset"', kinds, JOURNAL_PAGE)
        return connection.execute(question, (start, NEVER, *(kinds or ()))).fetchall()

    def applied_read(self, subject: str, after: int = 0) -> Iterator[tuple[int, Signal]]:
        """Position and signal in the order ``subject`` applied them, after a position."""
        known: dict[int, Signal] = {}
        for position, _, _, body, _ in self._journal(after + 1, NEVER, [journal.APPLIED]):
            whose, offsets = journal.applied_offsets(body)
            if whose == subject:
                for offset in offsets:
                    if offset not in known:
                        known = dict(self._signals_at(offset))
                    yield position, known[offset]

    def _signals_at(self, offset: int) -> Iterator[tuple[int, Signal]]:
        """The signals of the row that holds an offset."""
        with self._reading() as connection:
            row = self._row(connection, offset)
        return journal.signals(row, 0, NEVER)

    def _row(self, connection: Connection, offset: int) -> journal.Row:
        """The row that holds an offset."""
        volume = self._volumes.holding(connection, offset)
        if volume is not None:
            return next(iter(self._volumes.rows(volume, offset, offset + 1)))
        found: journal.Row = connection.execute(
            f'SELECT {journal.COLUMNS} FROM journal WHERE "offset" >= ? ORDER BY "offset" LIMIT 1',
            (offset,),
        ).fetchone()
        return found

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

    def verify(
        self, head: Head | Sequence[Head] | None = None, report: Report | None = None
    ) -> VerifyReport:
        """Recompute all that the ledger vouches for; compare with heads kept outside."""
        self._refuse_closed()
        with self._reading() as connection:
            return Verifier(connection, self.folder, head, report).run()

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
                "SELECT key, value FROM documents WHERE kind = ? AND key >= ? AND key < ? "
                "ORDER BY key",
                (kind, prefix, prefix + LAST),
            ).fetchall()
        return {key: restore(value) for key, value in rows}

    def latest(self, tags: Iterable[str] | None = None) -> dict[str, Sample]:
        """The newest sample of each tag (of the given ones that have any)."""
        wanted = None if tags is None else set(tags)
        with self._reading() as connection:
            packed = self._history.unsettled(connection)
            names = self._history.names(connection)
            rows = historian.latest_rows(connection, wanted)
            samples = historian.samples_of(rows, names, self._made)
        if wanted is not None:
            samples = {tag: sample for tag, sample in samples.items() if tag in wanted}
        for sample in historian.newest_samples(packed):
            known = samples.get(sample.tag)
            is_newer = known is None or sample.source_time >= known.source_time
            if is_newer and (wanted is None or sample.tag in wanted):
                samples[sample.tag] = sample
        return {tag: samples[tag] for tag in sorted(samples)}

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
                table, packed = self._history.due(connection, until)
            if not table.num_rows:
                return None
            with storage_errors(self.folder):
                segment = historian.write_segment(self.folder, [table], step)
                with given_back(self.folder / historian.FOLDER / segment.name):
                    made = minutes.write_minutes(self.folder, segment)
                step("minutes written")
            detail = {key: value for key, value in vars(segment).items() if key != "name"}
            detail["minutes"] = made
            time = self._clock.now() if now is None else now
            with self.transaction() as transaction:
                transaction.settle()
                historian.register(transaction.connection, segment, until, packed)
                step("registered")
                transaction.ledger(Record(SEAL, time, segment.name, detail))
                step("recorded")
            step("committed")
            return segment

    def seal_journal(
        self,
        until: int,
        now: int | None = None,
        count: int = volumes.ROWS,
        step: Callable[[str], None] = volumes.no_step,
    ) -> volumes.Volume | None:
        """Move the oldest ``count`` rows of the journal into a volume.

        None while not all of them came before ``until`` [ns]; the last row always stays.
        """
        with self._sealing:
            with self._reading() as connection:
                known = self._volumes.known(connection)
                first = known[-1].last + 1 if known else 1
                before = bytes.fromhex(known[-1].after) if known else journal.START
                rows = volumes.due_rows(connection, first, until, count)
            if not rows:
                return None
            with storage_errors(self.folder):
                volume = volumes.write_volume(self.folder, rows, before, step)
            time = self._clock.now() if now is None else now
            with self.transaction() as transaction:
                transaction.settle()
                volumes.remove(transaction.connection, volume)
                step("removed")
                transaction.ledger(volume.record(time))
                step("recorded")
            step("committed")
            return volume

    def volumes(self) -> Sequence[volumes.Volume]:
        """All sealed volumes of the journal, oldest first."""
        with self._reading() as connection:
            return list(self._volumes.known(connection))

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
                "SELECT position, time, data, hash FROM checkpoints WHERE subject = ? "
                "AND time <= ? ORDER BY position DESC",
                (subject, NEVER if until is None else until),
            ).fetchall()
        for position, time, data, digest in rows:
            if content_hash(data) == digest:
                return Checkpoint(subject, position, time, data)
        return None


def _page(columns: str, key: str, kinds: Sequence[str] | None, size: int = PAGE) -> str:
    """The question for a page of rows from one key up to another, in the order of the key."""
    where = f"{key} >= ? AND {key} < ?"
    if kinds is not None:
        where += f" AND kind IN ({','.join('?' * len(kinds))})"
    return f"SELECT {columns} WHERE {where} ORDER BY {key} LIMIT {size}"

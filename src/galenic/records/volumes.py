"""Volumes: older rows of the journal, moved out of the database into sealed Parquet files.

A volume is written, synced, renamed, then entered in the ledger in the transaction that removes
its rows from the database: a crash at any moment leaves each row in exactly one place. The ledger
entry is the registration; it carries the file's hash, and the journal's chain before and after,
so the rows need no hashes of their own. Readers see one journal.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from galenic.errors import StorageError
from galenic.identity import content_hash
from galenic.records import journal
from galenic.records.files import given_back, sync_file, sync_folder
from galenic.records.ledger import DISPOSE, VOLUME, Entry
from galenic.records.sql import Connection
from galenic.signals import Record

FOLDER = "journal"
ROWS = 100_000
GROUP = 10_000
KEPT = 4  # decoded row groups in memory
HINT = "galenic verify names what is missing or changed; bring it back from a copy"

Group = tuple[list[int], list[int], list[str], list[str]]
"""Offsets, received times, kinds and bodies of consecutive rows."""


@dataclass(frozen=True)
class Volume:
    """Rows ``first`` to ``last``; ``before`` and ``after`` are the chain's values there (hex).

    ``rows`` is how many rows hold them, packs counted as one (0 where that was not noted).
    """

    name: str
    first: int
    last: int
    size: int
    hash: str
    before: str
    after: str
    rows: int = 0

    @classmethod
    def of(cls, entry: Entry) -> Volume:
        """The volume that a ledger entry registers."""
        return cls(entry.subject, **entry.detail)

    def record(self, time: int) -> Record:
        """The ledger entry that registers it."""
        detail = {key: value for key, value in vars(self).items() if key != "name"}
        return Record(VOLUME, time, self.name, detail)


def no_step(name: str) -> None:
    """Called between the steps of a seal; tests put a fault here."""


def due_rows(connection: Connection, first: int, until: int, count: int) -> list[journal.Row]:
    """The rows of ``count`` offsets from ``first`` on, if they came before ``until`` [ns].

    Empty where no row follows them.
    """
    ends = connection.execute(
        'SELECT "offset", received FROM journal WHERE "offset" >= ? ORDER BY "offset" LIMIT 2',
        (first + count - 1,),
    ).fetchall()
    if len(ends) < 2 or ends[0][1] >= until:
        return []
    return connection.execute(
        f"SELECT {journal.COLUMNS} FROM journal "
        'WHERE "offset" >= ? AND "offset" <= ? ORDER BY "offset"',
        (first, ends[0][0]),
    ).fetchall()


def write_volume(
    folder: Path, rows: Sequence[journal.Row], before: bytes, step: Callable[[str], None] = no_step
) -> Volume:
    """Write rows that follow the chain's value ``before`` to a durable file; not registered yet."""
    import pyarrow.parquet as pq

    _require_chain(rows, before)
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    temporary = target / "sealing.tmp"
    with (
        given_back(temporary),
        pq.ParquetWriter(
            temporary,
            _schema(),
            compression="zstd",
            use_dictionary=["kind"],
            column_encoding={"offset": "DELTA_BINARY_PACKED", "received": "DELTA_BINARY_PACKED"},
        ) as writer,
    ):
        for group in _groups(rows):
            writer.write_table(_table(group), row_group_size=GROUP)
    step("written")
    sync_file(temporary)
    step("synced")
    data = temporary.read_bytes()
    first, last, digest = rows[0][0], rows[-1][0], content_hash(data)
    first += 1 - journal.span(rows[0][2], rows[0][3])
    name = f"{first}-{last}-{digest[:12]}.parquet"
    temporary.replace(target / name)
    step("renamed")
    sync_folder(target)
    step("folder synced")
    return Volume(name, first, last, len(data), digest, before.hex(), rows[-1][4].hex(), len(rows))


def _require_chain(rows: Sequence[journal.Row], previous: bytes) -> None:
    """Refuse to seal what was changed since it was written."""
    for offset, received, kind, body, digest in rows:
        previous = journal.row_hash(previous, offset, received, kind, body)
        if previous != digest:
            raise StorageError(f"journal row {offset} was changed; it is not sealed", hint=HINT)


def _schema() -> Any:
    import pyarrow as pa

    types = {"offset": pa.int64(), "received": pa.int64(), "kind": pa.string(), "body": pa.string()}
    return pa.schema(list(types.items()))


def _table(rows: Sequence[journal.Row]) -> Any:
    import pyarrow as pa

    offsets, received, kinds, bodies, _ = zip(*rows, strict=True)
    texts = [body.decode() for body in bodies]
    return pa.table([offsets, received, kinds, texts], schema=_schema())


def _groups(rows: Sequence[journal.Row]) -> Iterator[Sequence[journal.Row]]:
    """Consecutive rows of about `GROUP` offsets each."""
    start, held = 0, 0
    for number, row in enumerate(rows):
        held += journal.span(row[2], row[3])
        if held >= GROUP:
            yield rows[start : number + 1]
            start, held = number + 1, 0
    if start < len(rows):
        yield rows[start:]


def remove(connection: Connection, volume: Volume) -> None:
    """Remove the rows of a volume from the database, inside the caller's transaction."""
    removed = connection.execute('DELETE FROM journal WHERE "offset" <= ?', (volume.last,)).rowcount
    if removed != volume.rows:
        raise StorageError(
            f"a volume of {volume.rows} rows would replace {removed} rows",
            where=volume.name,
            hint="two seals ran at once; nothing was changed",
        )


def remove_strays(folder: Path, connection: Connection) -> list[str]:
    """Delete files of a seal that a crash cut short: those whose rows are still in the database."""
    strays = []
    begins = _begins(connection)
    held = Volumes(folder)
    held.known(connection)
    for path in (folder / FOLDER).glob("*"):
        first = path.name.partition("-")[0]
        if (
            path.suffix == ".tmp"
            or path.name in held.disposed
            or (first.isdecimal() and begins <= int(first))
        ):
            path.unlink()
            strays.append(path.name)
    return strays


def _begins(connection: Connection) -> int:
    """The first offset that is in the database; beyond all, where none is."""
    row = connection.execute(
        'SELECT "offset", kind, body FROM journal ORDER BY "offset" LIMIT 1'
    ).fetchone()
    return row[0] + 1 - journal.span(row[1], row[2]) if row else 2**62


class Volumes:
    """Reads the volumes of a site; several threads may."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._lock = threading.Lock()
        self._known: list[Volume] = []
        self.disposed: set[str] = set()
        self._seen = -1
        self._last: dict[str, list[int]] = {}
        self._groups: OrderedDict[tuple[str, int], Group] = OrderedDict()

    def known(self, connection: Connection) -> list[Volume]:
        """All volumes that a view of the database registers, in their order."""
        with self._lock:
            rows = connection.execute(
                "SELECT number, body, hash FROM ledger WHERE kind IN (?, ?) AND number > ? "
                "ORDER BY number",
                (VOLUME, DISPOSE, self._seen),
            ).fetchall()
            for number, body, digest in rows:
                try:
                    self._note(Entry.from_bytes(body, digest.hex()))
                except (ValueError, TypeError, AttributeError) as error:
                    raise StorageError(
                        f"ledger entry {number} about a volume is damaged: {error}",
                        where=str(self._folder),
                        hint=HINT,
                    ) from error
                self._seen = number
            return self._known

    def _note(self, entry: Entry) -> None:
        if entry.kind == VOLUME:
            self._known.append(Volume.of(entry))
        else:
            self.disposed.add(entry.subject)

    def holding(self, connection: Connection, offset: int) -> Volume | None:
        """The volume that has row ``offset``; None where it is in the table, or not written."""
        known = self.known(connection)
        if not known or offset > known[-1].last:
            return None
        return known[bisect_left(known, max(offset, 1), key=attrgetter("last"))]

    def rows(
        self, volume: Volume, start: int, stop: int, kinds: Collection[str] | None = None
    ) -> Iterator[journal.Row]:
        """Rows with any of the offsets start <= offset < stop; without their hashes."""
        if volume.name in self.disposed:
            raise StorageError(
                f"the journal rows {volume.first} to {volume.last} were disposed of",
                where=volume.name,
                hint="the ledger says by which rule, and where they were archived",
            )
        for number in range(bisect_left(self._ends(volume), start), len(self._ends(volume))):
            offsets, received, names, bodies = self._group(volume, number)
            for i in range(bisect_left(offsets, start), len(offsets)):
                body = bodies[i].encode()
                if offsets[i] - journal.span(names[i], body) + 1 >= stop:
                    return
                if kinds is None or names[i] in kinds:
                    yield offsets[i], received[i], names[i], body, b""

    def chained(self, volume: Volume, start: int, stop: int) -> Iterator[journal.Row]:
        """The same with each row's chained hash, computed from the volume's beginning."""
        previous = bytes.fromhex(volume.before)
        for offset, received, kind, body, _ in self.rows(volume, volume.first, stop):
            previous = journal.row_hash(previous, offset, received, kind, body)
            if offset >= start:
                yield offset, received, kind, body, previous

    def _ends(self, volume: Volume) -> list[int]:
        """The last offset of each group of rows in the file."""
        found = self._last.get(volume.name)
        if found is None:
            with self._open(volume) as file:
                groups = range(file.metadata.num_row_groups)
                columns = [file.metadata.row_group(group).column(0) for group in groups]
                found = [column.statistics.max for column in columns]
            self._last[volume.name] = found
        return found

    @contextmanager
    def _open(self, volume: Volume) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._folder / volume.name
        try:
            with pq.ParquetFile(path) as file:
                yield file
        except (OSError, pa.ArrowException, UnicodeDecodeError, AttributeError) as error:
            raise StorageError(
                f"a volume of the journal cannot be read: {error}", where=str(path), hint=HINT
            ) from error

    def _group(self, volume: Volume, number: int) -> Group:
        key = (volume.name, number)
        with self._lock:
            found = self._groups.get(key)
            if found is None:
                found = self._groups[key] = self._read(volume, number)
                while len(self._groups) > KEPT:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(key)
            return found

    def _read(self, volume: Volume, number: int) -> Group:
        with self._open(volume) as file:
            table = file.read_row_group(number, columns=["offset", "received", "kind", "body"])
            offsets, received, kinds, bodies = (column.to_pylist() for column in table.columns)
        return offsets, received, kinds, bodies

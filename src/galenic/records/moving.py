"""Move a site's records from one store to the other, and prove that nothing was lost.

Sealed files stay where they are. All rows of all tables are copied in one transaction of the new
store, read back from it and compared by count and hash, then verified as a whole; the first entry
that the new store's ledger gets of its own says what was compared. Until the last step, which is
the switch of the folder's note, the old store is the site; an interrupted move can be repeated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galenic.clock import Clock, SystemClock
from galenic.errors import DataError, StorageError
from galenic.records import schema
from galenic.records.embedded import connect, make_durable
from galenic.records.files import storage_errors, sync_file, sync_folder
from galenic.records.opening import open_store
from galenic.records.places import DATABASE, EMBEDDED, Address, check_place, keep_at, kept_at
from galenic.records.sql import BATCH, Connection, Row
from galenic.records.verify import Verifier
from galenic.records.writing import TableTransaction, Tail
from galenic.signals import Record

MOVED = "moved"
UNFINISHED = f"{DATABASE}.moving"
LOGS = ("-wal", "-shm")
LARGE = 20  # rows at once of tables with large values

Step = Callable[[str], None]


def no_step(name: str) -> None:
    """Called between the steps of a move; tests put a fault here."""


@dataclass(frozen=True)
class Copied:
    """How many rows of a table were copied, and the SHA-256 of all their values in order."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class Moved:
    """What was moved: from where to where, the head and the tables that both stores have."""

    site: str
    source: str
    target: str
    head: str
    tables: Mapping[str, Copied] = field(default_factory=dict)
    files: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "tables": {name: vars(one) for name, one in self.tables.items()}}

    @property
    def text(self) -> str:
        """The report in sentences."""
        rows = sum(one.rows for one in self.tables.values())
        lines = [f"{self.site}: {self.source} -> {self.target}"]
        lines += [f"  {name}: {one.rows} rows, {one.sha256}" for name, one in self.tables.items()]
        lines += [
            f"  {rows} rows compared by count and hash, {self.files} sealed files by hash; equal",
            f"  head before the move: {self.head}",
            f'  now write under [site] of the project: store = "{self.target}"',
        ]
        return "\n".join(lines)


class Tally:
    """Counts and hashes rows as they pass: SHA-256 over one line of JSON for each, bytes as hex."""

    def __init__(self) -> None:
        self._rows = 0
        self._hash = hashlib.sha256()

    def pass_on(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            values = [value.hex() if isinstance(value, bytes) else value for value in row]
            self._hash.update(json.dumps(values, separators=(",", ":")).encode() + b"\n")
            self._rows += 1
            yield row

    @property
    def result(self) -> Copied:
        return Copied(self._rows, self._hash.hexdigest())


def move_site(
    folder: str | Path,
    to: str,
    *,
    who: str = "",
    reason: str = "",
    clock: Clock | None = None,
    step: Step = no_step,
) -> Moved:
    """Move the records of a folder's site to another store.

    Parameters
    ----------
    folder : path
        The site's folder; nothing may be writing it.
    to : str
        "embedded", or ``postgresql://...`` as `galenic.records.places.Address` has it.
    who, reason : str
        For the ledger.
    """
    path, place, clock = Path(folder), check_place(to), clock or SystemClock()
    kept = kept_at(path)
    if kept is None:
        raise StorageError("there are no records here", where=str(path))
    if kept == place:
        raise DataError(f"the records of this site are in {place} already", where=str(path))
    with open_store(path, kept, clock=clock) as source:
        report = source.verify()
        if not report.ok:
            raise StorageError(
                f"records that are not intact are not moved: {report.first_bad}",
                where=str(path),
                hint="run galenic verify, and restore from a backup",
            )
        source.sign()
        with source._reading() as old, _target(path, place, old) as new:
            tables = copy_tables(old, new, step)
            compare_tables(new, tables)
            step("compared")
            moved = Moved(source.site, kept, place, source.head().text, tables, report.segments)
            tail = _followed(new, path, Tail.of(old))
            record = Record(MOVED, clock.now(), source.site, moved.to_dict(), who, reason)
            TableTransaction(new, tail, {}).ledger(record)
            step("recorded")
        step("committed")
        keep_at(path, place)
        step("switched")
        if kept != EMBEDDED:
            with source.transaction() as last:
                last.connection.execute("INSERT INTO meta VALUES (?, ?)", (MOVED, place))
    if kept == EMBEDDED:
        with storage_errors(path):
            _set_aside(path, f"{DATABASE}.{MOVED}-{clock.now()}")
    step("marked")
    return moved


def _set_aside(folder: Path, name: str) -> None:
    """Keep the file that was the site, with the log that belongs to it, under another name."""
    for end in LOGS:
        if (folder / f"{DATABASE}{end}").exists():
            (folder / f"{DATABASE}{end}").replace(folder / f"{name}{end}")
    (folder / DATABASE).replace(folder / name)
    sync_folder(folder)


def copy_tables(old: Connection, new: Connection, step: Step = no_step) -> dict[str, Copied]:
    """Copy all rows of all tables; how many, and their hash."""
    tables = {}
    for name, (columns, _) in schema.TABLES.items():
        tally = Tally()
        new.add(name, columns, tally.pass_on(_rows(old, name)))
        tables[name] = tally.result
        step(f"{name} copied")
    return tables


def _rows(connection: Connection, name: str) -> Iterator[Row]:
    columns, key = schema.TABLES[name]
    large = name in ("artefacts", "checkpoints")
    where = " WHERE key IN ('site', 'name')" if name == "meta" else ""
    statement = f"SELECT {columns} FROM {name}{where} ORDER BY {key}"
    return connection.stream(statement, LARGE if large else BATCH)


def compare_tables(new: Connection, tables: Mapping[str, Copied]) -> None:
    """Read everything back; refuse where a count or a hash differs."""
    for name, expected in tables.items():
        tally = Tally()
        for _ in tally.pass_on(_rows(new, name)):
            pass
        if tally.result != expected:
            raise StorageError(
                f"table {name} came out as {tally.result}",
                expected=str(expected),
                hint="nothing was changed; the old store is still the site",
            )


def _followed(new: Connection, folder: Path, tail: Tail) -> Tail:
    """The new store's tail, which is the old one's; all of it recomputed."""
    found = Tail.of(new)
    report = Verifier(new, folder, tail.head).run()
    if found != tail or not report.ok:
        raise StorageError(
            f"the copy ends at {found.head.text}: {report.text}",
            expected=tail.head.text,
            hint="nothing was changed; the old store is still the site",
        )
    return found


@contextmanager
def _target(folder: Path, place: str, old: Connection) -> Iterator[Connection]:
    """An empty store with an open transaction, committed when the block ends without error."""
    if place == EMBEDDED:
        with storage_errors(folder):
            yield from _file(folder)
    else:
        from galenic.records.postgres import postgres_errors

        with postgres_errors(place):
            yield from _schema(Address.of(place), old)


def _file(folder: Path) -> Iterator[Connection]:
    path = folder / UNFINISHED
    for left in folder.glob(f"{UNFINISHED}*"):
        left.unlink()
    connection = connect(path, "rwc")
    try:
        make_durable(connection)
        schema.upgrade(connection, str(path))
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()
    sync_file(path)
    for end in LOGS:  # the log of an older file of this name must not be taken for this one's
        (folder / f"{DATABASE}{end}").unlink(missing_ok=True)
    path.replace(folder / DATABASE)
    sync_folder(folder)


def _schema(address: Address, old: Connection) -> Iterator[Connection]:
    from galenic.records.postgres import locked

    connection = locked(address)
    try:
        connection.execute("BEGIN")
        if connection.version():
            _refuse_foreign(connection, old, address.text)
            connection.execute(f"DROP SCHEMA {address.schema} CASCADE")
        schema.prepare(connection, address.schema, 0)
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.roll_back()
        connection.close()


def _refuse_foreign(new: Connection, old: Connection, where: str) -> None:
    """Replace only what an earlier move left: records that are all contained in the old ones."""
    last = new.execute("SELECT number, kind FROM ledger ORDER BY number DESC LIMIT 1").fetchone()
    number = last[0] - 1 if last and last[1] == MOVED else last[0] if last else -1
    if last and (number < 0 or not _same_entry(new, old, number) or _is_longer(new, old)):
        raise StorageError(
            "the database has other records in this schema",
            where=where,
            hint="give another schema=, or remove the records there if nobody needs them",
        )


def _same_entry(new: Connection, old: Connection, number: int) -> bool:
    question = "SELECT hash FROM ledger WHERE number = ?"
    both = [one.execute(question, (number,)).fetchone() for one in (new, old)]
    return both[0] is not None and both[0] == both[1]


def _is_longer(new: Connection, old: Connection) -> bool:
    return Tail.of(new).offset > Tail.of(old).offset

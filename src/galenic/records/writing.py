"""The transaction of every store that keeps its records in tables: what one commit writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from galenic import packs
from galenic.identity import content_hash
from galenic.records import artefacts, historian, journal
from galenic.records.codec import canonical, restore
from galenic.records.ledger import ZERO, Head, entry_bytes
from galenic.records.merkle import Frontier
from galenic.records.sql import Connection
from galenic.records.store import Checkpoint
from galenic.records.tree import append, frontier_of
from galenic.signals import Correction, Record, Sample, Signal

SETTLE_AT = 10_000  # samples in packs that the table of latest values may lag behind
FEW = 16
"""Fewer samples than this are journalled one by one: the head of a pack would be longer."""


@dataclass(frozen=True)
class Tail:
    """Where the append-only parts end: what the next row is chained to."""

    index: int = -1
    hash: str = ZERO
    offset: int = 0
    journal: bytes = journal.START
    sequence: int = 0
    tree: Frontier = field(default_factory=Frontier)
    unsettled: tuple[packs.Columns, ...] = field(default=(), compare=False)
    """Packs whose newest samples are not in the table of latest values yet."""

    @classmethod
    def of(cls, connection: Connection) -> Tail:
        """The tail of open records."""
        entry = connection.execute(
            "SELECT number, hash FROM ledger ORDER BY number DESC LIMIT 1"
        ).fetchone()
        row = connection.execute(
            'SELECT "offset", hash FROM journal ORDER BY "offset" DESC LIMIT 1'
        ).fetchone()
        (sequence,) = connection.execute(
            "SELECT coalesce(max(last), 0) FROM (SELECT max(sequence) AS last FROM samples "
            "UNION ALL SELECT max(last) FROM segments "
            "UNION ALL SELECT max(sequence + count - 1) FROM packs) AS ends"
        ).fetchone()
        index, digest = (entry[0], entry[1].hex()) if entry else (-1, ZERO)
        offset, chained = row or (0, journal.START)
        return cls(index, digest, offset, chained, sequence, frontier_of(connection, index + 1))

    @classmethod
    def to_write_on(cls, connection: Connection) -> Tail:
        """The same for the one who writes, with the packs that are to be settled."""
        waiting = [
            packs.unpack(body)
            for offset in historian.unsettled(connection)
            for (body,) in connection.execute(
                'SELECT body FROM journal WHERE "offset" = ?', (offset,)
            ).fetchall()
        ]
        return replace(cls.of(connection), unsettled=tuple(waiting))

    @property
    def head(self) -> Head:
        root = self.tree.root.hex()
        return Head(self.index, self.hash, self.offset, self.journal.hex(), root)


class TableTransaction:
    """Implements `galenic.records.store.Transaction` on an open transaction of a database.

    The store takes `tail` and `names` over when the commit has succeeded, and only then.
    """

    def __init__(self, connection: Connection, tail: Tail, names: Mapping[str, int]) -> None:
        self.connection = connection
        self._do = connection.execute
        self._known = names
        self.tail = tail
        self.names: dict[str, int] = {}

    def journal(self, events: Iterable[Signal], received: int) -> range:
        first = self.tail.offset + 1
        self._append(journal.signal_bodies(events), received)
        return range(first, self.tail.offset + 1)

    def take(self, samples: Iterable[Sample], received: int) -> range:
        first, waiting = self.tail.offset + 1, list(samples)
        for start in range(0, len(waiting), packs.MOST):
            part = waiting[start : start + packs.MOST]
            is_worth = len(part) >= FEW or self.tail.unsettled
            packed = packs.pack(part) if is_worth else None
            if packed is None:
                self.journal(part, received)
                self.samples(part)
            else:
                self._pack(*packed, received)
        return range(first, self.tail.offset + 1)

    def _pack(self, line: bytes, columns: packs.Columns, received: int) -> None:
        self._append([(journal.PACK, line)], received)
        start, stop = int(columns.time.min()), int(columns.time.max()) + 1
        entry = (self.tail.offset, len(columns), self.tail.sequence + 1, start, stop, received)
        self._do("INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?)", entry)
        self.tail = replace(
            self.tail,
            sequence=self.tail.sequence + len(columns),
            unsettled=(*self.tail.unsettled, columns),
        )
        waiting = sum(map(len, self.tail.unsettled))
        if waiting >= max(SETTLE_AT, 5 * len(columns.tags)):
            self.settle()

    def settle(self) -> None:
        """Enter the newest samples of packs in the table of latest values."""
        if self.tail.unsettled:
            newest = historian.newest_samples(self.tail.unsettled)
            self.tail = replace(self.tail, unsettled=())
            rows = [historian.row_of(sample, self.name_id) for sample in newest]
            self.connection.merge(historian.SET_LATEST, rows)
            self.put(*historian.SETTLED, self.tail.offset)

    def applied(self, subject: str, offsets: Iterable[int], received: int) -> int:
        self._append([(journal.APPLIED, journal.applied_body(subject, offsets))], received)
        return self.tail.offset

    def anchor(self, time: int) -> None:
        self.ledger(journal.anchor(self.tail.offset, time, self.tail.journal))

    def ledger(self, entry: Record) -> int:
        index = self.tail.index + 1
        body = entry_bytes(entry, index, self.tail.hash)
        digest = hashlib.sha256(body).digest()
        self._do(
            "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)",
            (index, entry.time, entry.what, entry.subject, body, digest),
        )
        tree = append(self.connection, self.tail.tree, body)
        self.tail = replace(self.tail, index=index, hash=digest.hex(), tree=tree)
        return index

    def samples(self, samples: Iterable[Sample]) -> None:
        rows = [historian.row_of(sample, self.name_id) for sample in samples]
        self._file(rows, None)
        self._set_latest(rows)

    def latest(self, samples: Iterable[Sample]) -> None:
        self._set_latest([historian.row_of(sample, self.name_id) for sample in samples])

    def correct(self, correction: Correction, tag: str, time: int) -> None:
        version = Sample(
            tag,
            correction.value,
            correction.unit,
            time,
            correction.received_time,
            source_key=correction.amends,
        )
        row = historian.row_of(version, self.name_id)
        self.settle()
        self._file([row], "withdrawn" if correction.value is None else "corrected")
        self._do(*historian.correct_latest(row))

    def put(self, kind: str, key: str, value: Any) -> None:
        self._do(
            "INSERT INTO documents VALUES (?, ?, ?) "
            "ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
            (kind, key, canonical(value)),
        )

    def get(self, kind: str, key: str) -> Any:
        found = self._do(
            "SELECT value FROM documents WHERE kind = ? AND key = ?", (kind, key)
        ).fetchone()
        return restore(found[0]) if found else None

    def delete(self, kind: str, key: str) -> None:
        self._do("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))

    def artefact(
        self, data: bytes, media_type: str, provenance: Mapping[str, Any], time: int
    ) -> str:
        new = artefacts.artefact_of(data, media_type, provenance, time)
        record = artefacts.keep(self.connection, new)
        if record is not None:
            self.ledger(record)
        return new.hash

    def checkpoint(self, point: Checkpoint, keep: int = 10) -> None:
        self._do(
            "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?) ON CONFLICT (subject, position) "
            "DO UPDATE SET time = excluded.time, hash = excluded.hash, data = excluded.data",
            (point.subject, point.position, point.time, content_hash(point.data), point.data),
        )
        self._do(
            "DELETE FROM checkpoints WHERE subject = ? AND position NOT IN (SELECT position "
            "FROM checkpoints WHERE subject = ? ORDER BY position DESC LIMIT ?)",
            (point.subject, point.subject, keep),
        )

    def name_id(self, name: str) -> int:
        """The number that stands for a tag or unit in the tables."""
        found = self._known.get(name) or self.names.get(name)
        if found is None:
            (new,) = self._do(
                "INSERT INTO names (id, name) "
                "VALUES ((SELECT coalesce(max(id), 0) + 1 FROM names), ?) RETURNING id",
                (name,),
            ).fetchone()
            found = self.names[name] = int(new)
        return found

    def _append(self, bodies: Iterable[tuple[str, bytes]], received: int) -> None:
        rows = journal.rows_of(bodies, received, self.tail.offset, self.tail.journal)
        if rows:
            self.connection.add("journal", journal.COLUMNS, rows)
            self.tail = replace(self.tail, offset=rows[-1][0], journal=rows[-1][4])
        for record in journal.anchors(rows):
            self.ledger(record)

    def _file(self, rows: list[historian.Row], change: str | None) -> None:
        first = self.tail.sequence + 1
        self.connection.add(
            "samples",
            f"sequence, {historian.COLUMNS}, change",
            [(number, *row, change) for number, row in enumerate(rows, first)],
        )
        self.tail = replace(self.tail, sequence=self.tail.sequence + len(rows))

    def _set_latest(self, rows: list[historian.Row]) -> None:
        self.settle()  # of two samples at one time the last to come counts
        newest: dict[int, historian.Row] = {}
        for row in rows:
            present = newest.get(row[0])
            if present is None or row[1] >= present[1]:
                newest[row[0]] = row
        self.connection.merge(historian.SET_LATEST, list(newest.values()))

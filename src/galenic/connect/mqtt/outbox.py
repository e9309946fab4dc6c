"""What an edge node has still to deliver, kept on disk: durable, bounded, in order."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from galenic.errors import StorageError

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    tag TEXT NOT NULL,
    time INTEGER NOT NULL,
    metric BLOB NOT NULL,
    sent REAL
);
CREATE INDEX IF NOT EXISTS unsent ON outbox (time, id) WHERE sent IS NULL;
CREATE INDEX IF NOT EXISTS sent ON outbox (sent) WHERE sent IS NOT NULL;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Row:
    """A sample that waits: its number, device, tag, source time [ns] and message."""

    id: int
    device: str
    tag: str
    time: int
    metric: bytes


class Outbox:
    """First in, first out on disk, in SQLite.

    A row is kept for a while after it was sent, because an edge node learns late that nobody
    listened; `reopen` makes such rows wait again. At the start every row waits: who knows what
    arrived.

    Parameters
    ----------
    path : Path
        The file; made with its folder when it is not there. One process at a time.
    capacity : int
        Rows at most; then the oldest are lost and counted.
    name : str
        Of the connection, for messages.
    """

    def __init__(self, path: str | Path, capacity: int, name: str) -> None:
        self.path = Path(path)
        self.capacity = capacity
        self.name = name
        self._losing = False
        self._exhausted: tuple[Any, ...] | None = None
        self._lock = RLock()  # the file is written from a thread and looked at from the loop
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=0.0
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            with self._translated():
                self._base.execute("PRAGMA locking_mode=EXCLUSIVE")
                self._base.execute("PRAGMA journal_mode=WAL")
                self._base.execute("PRAGMA synchronous=FULL")
                self._base.executescript(_SCHEMA)
                self._base.execute("UPDATE outbox SET sent = NULL WHERE sent IS NOT NULL")
                (self.held,) = self._base.execute("SELECT count(*) FROM outbox").fetchone()
        except StorageError:
            self._base.close()
            raise
        self.waiting = self.held

    def close(self) -> None:
        """Free the file."""
        self._base.close()

    def append(self, rows: Sequence[tuple[str, str, int, bytes]], settled: float) -> None:
        """Keep ``rows`` (device, tag, source time [ns], message) for good before it returns.

        Rows that were sent before ``settled`` [s] are given up: they have arrived.
        """
        with self._lock, self._transaction():
            self._base.executemany(
                "INSERT INTO outbox (device, tag, time, metric) VALUES (?, ?, ?, ?)", rows
            )
            gone = self._base.execute("DELETE FROM outbox WHERE sent < ?", (settled,)).rowcount
            excess = max(0, self.held + len(rows) - gone - self.capacity)
            lost = self._give_up(excess) if excess else 0
            self.held += len(rows) - gone - excess
            self.waiting += len(rows) - lost
        if lost and not self._losing:
            log.warning(
                "outbox of %s is full at %d samples: oldest are lost", self.name, self.capacity
            )
        self._losing = bool(lost)

    def _give_up(self, count: int) -> int:
        """Delete the oldest, first of those sent; how many of them had not been sent."""
        oldest = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE sent IS {} LIMIT ?)"
        spare = self._base.execute(oldest.format("NOT NULL ORDER BY sent, id"), (count,)).rowcount
        lost = self._base.execute(oldest.format("NULL ORDER BY id"), (count - spare,)).rowcount
        self._base.execute(
            "INSERT INTO facts VALUES ('lost', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (lost,),
        )
        return int(lost)

    def pending(self, boundary: int, limit: int, silent: Collection[str] = ()) -> list[Row]:
        """The next rows: first those up to number ``boundary`` by source time, then the others.

        Rows of the devices in ``silent`` stay where they are.
        """
        marks = ", ".join("?" * len(silent))
        older = (boundary, *sorted(silent))
        with self._lock, self._translated():
            for condition in ("id <= ?", "id > ?"):
                if condition == "id <= ?" and self._exhausted == older:
                    continue  # to look again would pass over every newer row
                found = self._base.execute(
                    "SELECT id, device, tag, time, metric FROM outbox WHERE sent IS NULL "
                    f"AND {condition} AND device NOT IN ({marks}) ORDER BY time, id LIMIT ?",
                    (*older, limit),
                ).fetchall()
                if found:
                    return [Row(*row) for row in found]
                if condition == "id <= ?" and boundary <= self.last:
                    self._exhausted = older
        return []

    def mark(self, ids: Iterable[int], now: float) -> None:
        """Say that rows were sent at ``now`` [s].

        Not synced: a row whose mark is lost in a crash is sent twice, with the same key.
        """
        numbers = [(now, number) for number in ids]
        with self._lock:
            self._base.execute("PRAGMA synchronous=NORMAL")
            try:
                with self._transaction():
                    marked = self._base.executemany(
                        "UPDATE outbox SET sent = ? WHERE id = ? AND sent IS NULL", numbers
                    ).rowcount
                    self.waiting -= marked
            finally:
                self._base.execute("PRAGMA synchronous=FULL")

    def reopen(self, settled: float) -> int:
        """Let what was sent at ``settled`` [s] or later wait again; how many rows."""
        with self._lock, self._transaction():
            again = self._base.execute(
                "UPDATE outbox SET sent = NULL WHERE sent >= ?", (settled,)
            ).rowcount
            self.waiting += again
            self._exhausted = None
        return int(again)

    def newest(self) -> list[Row]:
        """The row with the latest source time of each tag."""
        with self._lock, self._translated():
            found = self._base.execute(
                "SELECT id, device, tag, max(time), metric FROM outbox GROUP BY tag"
            ).fetchall()
        return [Row(*row) for row in found]

    @property
    def last(self) -> int:
        """Number of the newest row."""
        with self._lock, self._translated():
            found = self._base.execute("SELECT seq FROM sqlite_sequence").fetchone()
        return int(found[0]) if found else 0

    @property
    def lost(self) -> int:
        """Rows that overflowed, ever."""
        return self.fact("lost")

    def fact(self, name: str) -> int:
        """A number kept under ``name``; 0 before it was."""
        with self._lock, self._translated():
            found = self._base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return int(found[0]) if found else 0

    def keep(self, name: str, value: int) -> None:
        """Keep a number for good."""
        with self._lock, self._transaction():
            self._base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StorageError:
        return StorageError(
            f"cannot use the outbox: {error}", where=str(self.path),
            hint="is the disk full or read-only, or another process using the file?",
        )  # fmt: skip

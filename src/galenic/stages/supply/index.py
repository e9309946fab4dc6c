"""An index of the events of a repository: which event names what, without reading them all.

It is a file of its own beside the records (``epcis-index.sqlite``), made from them and made anew
where it does not fit them: nothing in it is a record, so backups and replicas leave it out. Events
have numbers, from 0, in the order of capture. Any process may bring it up to date; one that cannot
write there has an index in memory.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from galenic.connect.epcis.event import Event, TransformationEvent
from galenic.connect.epcis.identity import event_hash
from galenic.connect.epcis.keys import DOMAIN, KEYS, canonical, class_of
from galenic.connect.epcis.query import Recorded

FILE = "epcis-index.sqlite"
VERSION = 1
AT_ONCE = 1000
GTIN = 14  # digits
WAIT = 60.0  # s for another process that is at it
LAST = chr(0x10FFFF)
FOREVER = 2**63 - 1

THING, CLASS, INPUT, OUTPUT, MAKING = "thing", "class", "input", "output", "making"
INSTANCES = ("epcList", "childEPCs", "inputEPCList", "outputEPCList")
QUANTITIES = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")
SIDES = (
    (INPUT, "inputEPCList", "inputQuantityList"),
    (OUTPUT, "outputEPCList", "outputQuantityList"),
)

TABLES = """
CREATE TABLE state (next INTEGER NOT NULL, newest TEXT NOT NULL);
INSERT INTO state VALUES (0, '');
CREATE TABLE events (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, record INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_record ON events (record);
CREATE INDEX events_time ON events (time, id);
CREATE TABLE names (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, tail TEXT NOT NULL,
    UNIQUE (kind, name));
CREATE INDEX names_tail ON names (tail);
CREATE TABLE named (
    name INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (name, number)) WITHOUT ROWID;
CREATE TABLE wrong (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""

Reader = Callable[[int], Recorded]


class Index:
    """What is known of each event.

    Parameters
    ----------
    folder : Path
        Of the site.
    read : callable
        Gives the event of a number.
    """

    def __init__(self, folder: Path, read: Reader) -> None:
        self._lock = threading.RLock()
        self._read = read
        self._db = _opened(folder)
        self.next, newest = self._db.execute("SELECT next, newest FROM state").fetchone()
        self._newest = str(newest)
        self._checked = False
        weakref.finalize(self, self._db.close)

    def catch_up(self, until: int) -> int:
        """Learn of the events before this number; the number itself."""
        with self._lock:
            if not self._checked:
                self._check(until)
            while self.next < until:
                self._learn(until)
        return until

    def _check(self, until: int) -> None:
        """Begin anew where the records are not those from which the index was made."""
        self._checked = True
        n = self.next
        if n and (n > until or self._read(n - 1).id != self._newest):
            with self._writing():
                for table in ("events", "names", "named", "wrong"):
                    self._db.execute(f"DELETE FROM {table}")
                self._set(0, "")

    def _learn(self, until: int) -> None:
        with self._writing():
            self.next = self._db.execute("SELECT next FROM state").fetchone()[0]
            some = [self._read(n) for n in range(self.next, min(until, self.next + AT_ONCE))]
            if not some:
                return
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?)",
                ((r.number, r.id, r.record_time, r.event.time) for r in some),
            )
            self._name({(*word, r.number) for r in some for word in words_of(r.event) if word[1]})
            wrong = {(name,) for r in some for name in _declared(r.event)}
            self._db.executemany("INSERT OR IGNORE INTO wrong VALUES (?)", wrong)
            self._set(some[-1].number + 1, some[-1].id)

    def _name(self, named: set[tuple[str, str, int]]) -> None:
        words = {(kind, name, tail_of(name)) for kind, name, _ in named}
        self._db.executemany(
            "INSERT OR IGNORE INTO names (kind, name, tail) VALUES (?, ?, ?)", words
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO named SELECT id, ? FROM names WHERE kind = ? AND name = ?",
            ((number, kind, name) for kind, name, number in named),
        )

    def _set(self, number: int, newest: str) -> None:
        self._db.execute("UPDATE state SET next = ?, newest = ?", (number, newest))
        self.next, self._newest = number, newest

    def _writing(self) -> _Writing:
        return _Writing(self._db)

    # -- looking ----------------------------------------------------------------------------------

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def number(self, id: str) -> int | None:
        """The event of this id."""
        found = self._all("SELECT number FROM events WHERE id = ?", (id,))
        return int(found[0][0]) if found else None

    def recorded_from(self, time: int) -> int:
        """The first event that was recorded at a time [ns] or later."""
        found = self._all("SELECT min(number) FROM events WHERE record >= ?", (time,))
        return self.next if found[0][0] is None else int(found[0][0])

    def names(self, kind: str) -> list[str]:
        """Everything of a kind that events name, in order."""
        return [n for (n,) in self._all("SELECT name FROM names WHERE kind = ? ORDER BY name",
                                        (kind,))]  # fmt: skip

    def has(self, kind: str, name: str) -> bool:
        """Whether an event names something."""
        return bool(self._ids([kind], [name]))

    def search(self, text: str, most: int) -> list[tuple[str, int]]:
        """Things and classes by the beginning of their name, or of its last part; events of each.

        A name may be written in any form; of a GTIN, SSCC, or other number the digits are enough.
        """
        text = text.strip()
        starts = [canonical(text), *(f"{DOMAIN}/{key}/{text}" for key in KEYS)]
        if text.isdecimal() and len(text) < GTIN:
            starts.append(f"{DOMAIN}/01/{text.zfill(GTIN)}")
        like = " UNION ".join(
            ["SELECT id FROM names WHERE tail >= ? AND tail < ?"]
            + [
                f"SELECT id FROM names WHERE kind = '{kind}' AND name >= ? AND name < ?"
                for kind in (THING, CLASS)
                for _ in starts
            ]
        )
        values = [b for start in (text, *starts * 2) for b in (start, start + LAST)]
        found = self._all(
            "SELECT name, max((SELECT count(*) FROM named WHERE named.name = n.id)) FROM names n "
            f"WHERE id IN ({like}) AND kind IN ('{THING}', '{CLASS}') "
            "GROUP BY name ORDER BY name LIMIT ?", (*values, most),
        )  # fmt: skip
        return [(str(name), int(count)) for name, count in found]

    def wrong(self) -> set[str]:
        """Ids and hashes of events that were declared wrong."""
        return {name for (name,) in self._all("SELECT name FROM wrong")}

    def in_time(self) -> Iterator[int]:
        """Every event in the order in which they happened."""
        mark: tuple[int, str] = (-FOREVER, "")
        while True:
            some = self._all(
                "SELECT number, time, id FROM events WHERE (time, id) > (?, ?) "
                "ORDER BY time, id LIMIT ?", (*mark, AT_ONCE),
            )  # fmt: skip
            if not some:
                return
            yield from (row[0] for row in some)
            mark = some[-1][1:]

    def numbers(
        self,
        start: int,
        until: int,
        low: int = -FOREVER,
        high: int = FOREVER,
        names: tuple[Iterable[str], Iterable[str]] | None = None,
    ) -> Iterator[int]:
        """Events start <= number < until that happened in low <= time < high [ns], in order.

        Parameters
        ----------
        names : (kinds, names), optional
            Only those that name one of these as one of these kinds.
        """
        ids = [None] if names is None else self._ids(*names)
        newest = -1
        for number in heapq.merge(*(self._stream(id, start, until, low, high) for id in ids)):
            if number > newest:
                newest = number
                yield number

    def _stream(self, id: int | None, start: int, until: int, low: int, high: int) -> Iterator[int]:
        table, named, values = "events", "", [low, high]
        if id is not None:
            table, named = "named CROSS JOIN events USING (number)", "AND name = ?"
            values.append(id)
        while True:
            some = self._all(
                f"SELECT number FROM {table} WHERE number >= ? AND number < ? AND time >= ? "
                f"AND time < ? {named} ORDER BY number LIMIT ?", (start, until, *values, AT_ONCE),
            )  # fmt: skip
            yield from (number for (number,) in some)
            if len(some) < AT_ONCE:
                return
            start = some[-1][0] + 1

    def _ids(self, kinds: Iterable[str], names: Iterable[str]) -> list[Any]:
        found = self._all(
            "SELECT n.id FROM json_each(?) k CROSS JOIN json_each(?) w CROSS JOIN names n "
            "ON n.kind = k.value AND n.name = w.value",
            (json.dumps(list(kinds)), json.dumps(list(names))),
        )
        return [id for (id,) in found]


class _Writing:
    """One transaction of the index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _opened(folder: Path) -> sqlite3.Connection:
    """The file of a site where it can be written, or memory."""
    try:
        return _prepared(str(folder / FILE))
    except sqlite3.OperationalError:  # a read-only medium, or no folder
        return _prepared(":memory:")
    except sqlite3.DatabaseError:  # damaged: it is made from the records again
        (folder / FILE).unlink()
        return _prepared(str(folder / FILE))


def _prepared(place: str) -> sqlite3.Connection:
    db = sqlite3.connect(place, timeout=WAIT, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")  # what a power failure takes is made again
    with _Writing(db):
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            for (table,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall():
                db.execute(f"DROP TABLE {table}")
            for statement in TABLES.strip().split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
    return db


def tail_of(name: str) -> str:
    """The last part of a name, by which people look for it: a serial, lot or number.

    Examples
    --------
    >>> tail_of("https://id.gs1.org/01/10614141073464/21/2017"), tail_of("urn:uuid:2d6b")
    ('2017', '2d6b')
    """
    return name.rpartition("/")[2].rpartition(":")[2]


def things_of(event: Event) -> set[str]:
    """Every instance that an event names."""
    named: list[str] = []
    for name in INSTANCES:
        named += getattr(event, name, None) or ()
    parent = getattr(event, "parentID", None)
    return {canonical(one) for one in (*named, *([parent] if parent else []))}


def classes_of(event: Event, fields: Iterable[str] = QUANTITIES) -> set[str]:
    """Every class of which an event names a quantity."""
    return {canonical(q.epcClass) for name in fields for q in getattr(event, name, None) or ()}


def words_of(event: Event) -> Iterator[tuple[str, str]]:
    """Kind and name of everything by which an event is found."""
    yield "type", event.type
    for kind in ("bizStep", "disposition"):
        value = getattr(event, kind)
        if value:
            yield kind, value
    for kind in ("bizLocation", "readPoint"):
        place = getattr(event, kind)
        if place is not None:
            yield kind, canonical(place.id)
    for thing in things_of(event):
        yield THING, thing
        yield CLASS, class_of(thing)
    for one in classes_of(event):
        yield CLASS, one
        yield CLASS, class_of(one)
    if isinstance(event, TransformationEvent):
        for side, instances, quantities in SIDES:
            for epc in getattr(event, instances) or ():
                yield side, canonical(epc)
            for one in classes_of(event, [quantities]):
                yield side, one
        if event.transformationID:
            yield MAKING, canonical(event.transformationID)


def _declared(event: Event) -> Iterator[str]:
    """By which names an event declares another one wrong."""
    if event.errorDeclaration is not None:
        if event.eventID is not None:
            yield event.eventID
        yield event_hash(event)

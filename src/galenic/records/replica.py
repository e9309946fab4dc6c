"""A replica: the same record at another place, row by row, proved by its chain.

An edge site sends what its replica lacks, in parts. The replica recomputes the chain of the journal
and the chain and tree of the ledger, and takes a part only if they lead to the head that the part
names; a part that comes twice changes nothing; one that does not follow on is refused. Sealed files
come before the part that names them, and are compared with their hash. So the replica is always
a beginning of the site's record, and in the end all of it: no gap, no double, in the same order.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from galenic.clock import SystemClock
from galenic.errors import DataError, StorageError
from galenic.records import historian, journal, minutes, schema, volumes
from galenic.records.embedded import connect, make_durable
from galenic.records.files import WriterLock, file_hash, storage_errors, sync_file, sync_folder
from galenic.records.ledger import ARTEFACT, VOLUME, Head
from galenic.records.places import DATABASE, EMBEDDED, kept_at
from galenic.records.signing import SignedHead
from galenic.records.site import SiteStore
from galenic.records.sql import Connection, SqliteConnection
from galenic.records.tree import append
from galenic.records.writing import Tail

LIMIT = 2000
FOLDERS = (historian.FOLDER, minutes.FOLDER, volumes.FOLDER)
REPLICA = "replica"

Facts = dict[str, Any]


def sealed_files(connection: Connection, folder: Path) -> list[Facts]:
    """The sealed files that the tables name and that are there: name and SHA-256."""
    found = []
    for one in historian.registered(connection):
        found.append({"name": f"{historian.FOLDER}/{one.name}", "sha256": one.hash})
        path = folder / minutes.FOLDER / one.name
        if path.is_file():
            found.append({"name": f"{minutes.FOLDER}/{one.name}", "sha256": file_hash(path)})
    held = volumes.Volumes(folder)
    for volume in held.known(connection):
        if volume.name not in held.disposed:
            found.append({"name": f"{volumes.FOLDER}/{volume.name}", "sha256": volume.hash})
    return found


def missing(store: SiteStore, mark: Mapping[str, Any]) -> list[Facts]:
    """The sealed files that a replica at ``mark`` does not have yet."""
    with store._reading() as connection:
        known = set(mark["files"])
        return [one for one in sealed_files(connection, store.folder) if one["name"] not in known]


def part(store: SiteStore, mark: Mapping[str, Any], limit: int = LIMIT) -> Facts:
    """What follows on a replica's mark, at most ``limit`` rows of each kind.

    The last part (``is_last``) also has what is present state: documents, latest values, and which
    samples are in no segment yet.
    """
    with store._reading() as connection:
        _refuse_fork(connection, mark)
        after = mark["offset"]
        held = [one for one in volumes.Volumes(store.folder).known(connection)]
        entries = connection.execute(
            "SELECT number, body, hash FROM ledger WHERE number > ? ORDER BY number LIMIT ?",
            (mark["index"], limit),
        ).fetchall()
        index = entries[-1][0] if entries else mark["index"]
        sealed = max((one.last for one in held), default=0)
        rows: list[Any] = []
        if len(entries) < limit or after >= sealed:
            rows = connection.execute(
                f'SELECT {journal.COLUMNS} FROM journal WHERE "offset" > ? '
                'ORDER BY "offset" LIMIT ?',
                (after, limit),
            ).fetchall()
        samples = connection.execute(
            f"SELECT sequence, {historian.COLUMNS}, change FROM samples WHERE sequence > ? "
            "ORDER BY sequence LIMIT ?",
            (mark["sequence"], limit),
        ).fetchall()
        is_last = max(len(entries), len(rows), len(samples)) < limit
        made: Facts = {
            "site": store.site,
            "schema": len(schema.MIGRATIONS),
            "entries": [[number, body.decode()] for number, body, _ in entries],
            "rows": [[row[0], row[1], row[2], row[3].decode()] for row in rows],
            "samples": [list(row) for row in samples],
            "names": _all(connection, "SELECT id, name FROM names WHERE id > ?", mark["names"]),
            "artefacts": _artefacts(connection, mark["index"], index),
            "is_last": is_last,
            "state": _state(connection, mark) if is_last else None,
            "end": _end(connection, index, rows, mark, held),
        }
        return made


def _refuse_fork(connection: Connection, mark: Mapping[str, Any]) -> None:
    if mark["index"] < 0:
        return
    found = connection.execute(
        "SELECT hash FROM ledger WHERE number = ?", (mark["index"],)
    ).fetchone()
    if found is None or found[0].hex() != mark["hash"]:
        raise StorageError(
            "the replica has entries that this site has not",
            expected="a replica that is a beginning of this site's record",
            hint="the site was restored from an older backup: begin a new replica beside this one",
        )


def _end(
    connection: Connection, index: int, rows: list[Any], mark: Mapping[str, Any], held: list[Any]
) -> Facts:
    """Where the replica must be after the part: hashes that it has to reach by itself."""
    digest = mark["hash"]
    if index > mark["index"]:
        (found,) = connection.execute(
            "SELECT hash FROM ledger WHERE number = ?", (index,)
        ).fetchone()
        digest = found.hex()
    offset, chained = mark["offset"], mark["journal"]
    entered = index
    for volume in held:
        at = connection.execute(
            "SELECT number FROM ledger WHERE kind = ? AND subject = ?", (VOLUME, volume.name)
        ).fetchone()[0]
        if at <= entered and volume.last > offset:
            offset, chained = volume.last, volume.after
    if rows:
        offset, chained = rows[-1][0], rows[-1][4].hex()
    return {"index": index, "hash": digest, "offset": offset, "journal": chained}


def _all(connection: Connection, statement: str, *values: Any) -> list[list[Any]]:
    return [list(row) for row in connection.execute(statement, values).fetchall()]


def _artefacts(connection: Connection, after: int, until: int) -> list[list[Any]]:
    rows = connection.execute(
        "SELECT a.hash, a.media_type, a.created, a.provenance, a.data FROM artefacts a "
        "JOIN ledger l ON l.subject = a.hash AND l.kind = ? WHERE l.number > ? AND l.number <= ? "
        "ORDER BY l.number",
        (ARTEFACT, after, until),
    ).fetchall()
    return [[*row[:3], bytes(row[3]).decode(), base64.b64encode(row[4]).decode()] for row in rows]


def _state(connection: Connection, mark: Mapping[str, Any]) -> Facts:
    documents = connection.execute("SELECT kind, key, value FROM documents").fetchall()
    sequences = connection.execute("SELECT sequence FROM samples ORDER BY sequence").fetchall()
    return {
        "documents": [[kind, key, bytes(value).decode()] for kind, key, value in documents],
        "latest": _all(connection, f"SELECT {historian.COLUMNS} FROM latest"),
        "packs": _all(connection, "SELECT * FROM packs"),
        "segments": _all(connection, "SELECT * FROM segments"),
        "heads": _all(connection, "SELECT number, line FROM heads WHERE number > ?", mark["heads"]),
        "kept": _runs([sequence for (sequence,) in sequences]),
        "name": connection.execute("SELECT value FROM meta WHERE key = 'name'").fetchone()[0],
    }


def _runs(numbers: list[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


class Replica:
    """The copy of a site that another one sends; it is read with ``open_site(readonly=True)``.

    Parameters
    ----------
    folder : path
        Its own folder. Nothing else may write there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def mark(self) -> Facts:
        """How far it is: what `part` needs to send what follows."""
        if kept_at(self.folder) is None:
            return {"site": "", "index": -1, "hash": Head(-1, "0" * 64).hash, "offset": 0,
                    "journal": journal.START.hex(), "sequence": 0, "names": 0, "heads": 0,
                    "files": self._files()}  # fmt: skip
        with self._open() as connection:
            tail = _tail(connection)
            site = connection.execute("SELECT value FROM meta WHERE key = 'site'").fetchone()
            return {
                "site": site[0] if site else "",
                "index": tail.index,
                "hash": tail.hash,
                "offset": tail.offset,
                "journal": tail.journal.hex(),
                "sequence": _value(connection, f"meta WHERE key = '{REPLICA}'", "value"),
                "names": _value(connection, "names", "max(id)"),
                "heads": _value(connection, "heads", "max(number)"),
                "files": self._files(),
            }

    def _files(self) -> list[str]:
        return [
            f"{folder}/{path.name}"
            for folder in FOLDERS
            for path in sorted((self.folder / folder).glob("*.parquet"))
        ]

    def put_file(self, name: str, digest: str, data: bytes, start: int = 0, size: int = 0) -> int:
        """Keep a piece of a sealed file, before the part that names it; how much is there.

        Pieces come in order; the file gets its name when all of it gives its hash.
        """
        folder, _, short = name.partition("/")
        if folder not in FOLDERS or Path(short).name != short or not short.endswith(".parquet"):
            raise DataError(f"{name!r} is no sealed file", expected=" or ".join(FOLDERS))
        with storage_errors(self.folder):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
            temporary = self.folder / folder / f"{short}.tmp"
            if start and (not temporary.is_file() or temporary.stat().st_size < start):
                raise DataError(f"a piece of {name} before byte {start} is missing")
            with temporary.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.truncate()
                file.write(data)
                reached = file.tell()
            if reached >= (size or len(data)):
                if file_hash(temporary) != digest:
                    temporary.unlink()
                    raise DataError(f"{name} was changed on the way", expected=f"SHA-256 {digest}")
                sync_file(temporary)
                temporary.replace(self.folder / folder / short)
                sync_folder(self.folder / folder)
        return reached

    def take(self, given: Mapping[str, Any]) -> Facts:
        """Take a part, in one transaction; the new mark. A part that is known changes nothing."""
        if given["schema"] != len(schema.MIGRATIONS):
            raise DataError(
                f"the site has schema version {given['schema']}",
                expected=f"{len(schema.MIGRATIONS)}, as here",
                hint="run the same release of galenic at both ends",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(self.folder / "writer.lock", SystemClock().now())
        try:
            with self._open("rwc") as connection:
                make_durable(connection)
                schema.upgrade(connection, str(self.folder))
                if not connection.in_transaction:
                    connection.execute("BEGIN IMMEDIATE")
                self._take(connection, given)
                connection.execute("COMMIT")
        finally:
            lock.release()
        return self.mark()

    @contextmanager
    def _open(self, mode: str = "ro") -> Iterator[SqliteConnection]:
        if kept_at(self.folder) not in (None, EMBEDDED):
            raise StorageError("a replica is kept in its folder", where=str(self.folder))
        with storage_errors(self.folder):
            connection = connect(self.folder / DATABASE, mode)
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                connection.close()

    def _take(self, connection: SqliteConnection, given: Mapping[str, Any]) -> None:
        known = connection.execute("SELECT value FROM meta WHERE key = 'site'").fetchone()
        if known is None:
            connection.execute(
                "INSERT INTO meta VALUES ('site', ?), ('name', ''), (?, '0')",
                (given["site"], REPLICA),
            )
        elif known[0] != given["site"]:
            raise DataError(
                f"a part of the site {given['site']!r}", where=str(self.folder), expected=known[0]
            )
        tail = _tail(connection)
        for number, text in given["entries"]:
            tail = _entered(connection, tail, number, text.encode())
        for offset, received, kind, text in given["rows"]:
            tail = _rowed(connection, tail, offset, received, kind, text.encode())
        end = given["end"]
        found = {"index": tail.index, "hash": tail.hash, "offset": tail.offset,
                 "journal": tail.journal.hex()}  # fmt: skip
        is_known = tail.index > end["index"] or tail.offset > end["offset"]
        if found != end and not is_known:
            raise DataError(
                f"the part leads to {found}", expected=str(end), hint="it was changed on the way"
            )
        if not is_known:
            self._enter(connection, given)

    def _enter(self, connection: SqliteConnection, given: Mapping[str, Any]) -> None:
        for row in given["artefacts"]:
            data = base64.b64decode(row[4])
            if hashlib.sha256(data).hexdigest() != row[0]:
                raise DataError(f"artefact {row[0]} was changed on the way")
            connection.execute(
                "INSERT OR IGNORE INTO artefacts (hash, media_type, created, provenance, data) "
                "VALUES (?, ?, ?, ?, ?)",
                (*row[:3], row[3].encode(), data),
            )
        _many(connection, "INSERT OR IGNORE INTO names VALUES (?, ?)", given["names"])
        marks = ", ".join("?" * 12)
        _many(connection, f"INSERT OR IGNORE INTO samples VALUES ({marks})", given["samples"])
        if given["samples"]:
            connection.execute(
                "UPDATE meta SET value = ? WHERE key = ?", (given["samples"][-1][0], REPLICA)
            )
        if given["state"] is not None:
            self._present(connection, given["state"])

    def _present(self, connection: SqliteConnection, state: Mapping[str, Any]) -> None:
        """Make present state that of the site: nothing of it is covered by the chain."""
        for table in ("documents", "latest", "packs", "segments"):
            connection.execute(f"DELETE FROM {table}")
        documents = [(kind, key, value.encode()) for kind, key, value in state["documents"]]
        _many(connection, "INSERT INTO documents VALUES (?, ?, ?)", documents)
        latest = f"INSERT INTO latest VALUES ({', '.join('?' * 10)})"
        _many(connection, latest, state["latest"])
        _many(connection, "INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?)", state["packs"])
        _many(connection, "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", state["segments"])
        for number, line in state["heads"]:
            if not SignedHead.from_line(line).is_signed:
                raise DataError(f"signed head {number} has a signature that does not fit")
            connection.execute("INSERT OR IGNORE INTO heads VALUES (?, ?)", (number, line))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'name'", (state["name"],))
        before = 0
        for first, last in [*state["kept"], [2**62, 2**62]]:
            connection.execute(
                "DELETE FROM samples WHERE sequence > ? AND sequence < ?", (before, first)
            )
            before = last
        for one in sealed_files(connection, self.folder):
            path = self.folder / one["name"]
            if not path.is_file() or file_hash(path) != one["sha256"]:
                raise DataError(f"{one['name']} has not arrived", hint="send it before its part")


def _many(connection: SqliteConnection, statement: str, rows: Any) -> None:
    connection.executemany(statement, [tuple(row) for row in rows])


def _value(connection: SqliteConnection, table: str, what: str) -> int:
    row = connection.execute(f"SELECT coalesce({what}, 0) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def _tail(connection: SqliteConnection) -> Tail:
    """The tail of a replica; behind a volume whose rows were never sent one by one, its end."""
    tail = Tail.of(connection)
    known = volumes.Volumes(Path()).known(connection)
    if known and known[-1].last > tail.offset:
        last = known[-1]
        tail = replace(tail, offset=last.last, journal=bytes.fromhex(last.after))
    return tail


def _entered(connection: SqliteConnection, tail: Tail, number: int, body: bytes) -> Tail:
    digest = hashlib.sha256(body).digest()
    if number <= tail.index:
        (kept,) = connection.execute(
            "SELECT hash FROM ledger WHERE number = ?", (number,)
        ).fetchone()
        if kept != digest:
            raise DataError(f"entry {number} is another one than the replica has")
        return tail
    facts = json.loads(body)
    if (number, facts["index"], facts["previous"]) != (tail.index + 1, number, tail.hash):
        raise DataError(f"entry {number} does not follow on entry {tail.index}")
    connection.execute(
        "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)",
        (number, facts["time"], facts["kind"], facts["subject"], body, digest),
    )
    tree = append(connection, tail.tree, body)
    tail = replace(tail, index=number, hash=digest.hex(), tree=tree)
    if facts["kind"] == VOLUME:
        detail = facts["detail"]
        connection.execute('DELETE FROM journal WHERE "offset" <= ?', (detail["last"],))
        if detail["last"] > tail.offset:
            after = bytes.fromhex(detail["after"])
            tail = replace(tail, offset=detail["last"], journal=after)
    return tail


def _rowed(
    connection: SqliteConnection, tail: Tail, offset: int, received: int, kind: str, body: bytes
) -> Tail:
    if offset <= tail.offset:
        return tail
    if offset != tail.offset + journal.span(kind, body):
        raise DataError(f"row {offset} does not follow on row {tail.offset}")
    digest = journal.row_hash(tail.journal, offset, received, kind, body)
    connection.execute(
        "INSERT INTO journal VALUES (?, ?, ?, ?, ?)", (offset, received, kind, body, digest)
    )
    return replace(tail, offset=offset, journal=digest)

"""Artefacts: bytes under their SHA-256, in the database of the site.

A new artefact gets a ledger entry with its media type, size and provenance, so that neither its
bytes nor its origin can be changed unseen. The same bytes again are the same artefact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galenic.errors import DataError, StorageError
from galenic.identity import content_hash
from galenic.records.codec import canonical, restore
from galenic.records.ledger import ARTEFACT
from galenic.records.sql import Connection
from galenic.records.store import Artefact
from galenic.signals import Record

COLUMNS = "hash, media_type, created, provenance, data"


def keep(connection: Connection, new: Artefact) -> Record | None:
    """Keep an artefact; the ledger record that belongs to it, or None if it was there."""
    known = connection.execute("SELECT 1 FROM artefacts WHERE hash = ?", (new.hash,))
    if known.fetchone():
        return None
    connection.execute(
        f"INSERT INTO artefacts ({COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        (new.hash, new.media_type, new.created, canonical(new.provenance), new.data),
    )
    detail = {"media_type": new.media_type, "size": len(new.data), "provenance": new.provenance}
    return Record(ARTEFACT, new.created, new.hash, detail)


def artefact_of(data: bytes, media_type: str, provenance: Mapping[str, Any], time: int) -> Artefact:
    """The artefact that ``data`` is."""
    data = bytes(data)
    return Artefact(content_hash(data), media_type, time, provenance, data)


def fetch(connection: Connection, digest: str) -> Artefact:
    """The artefact with this hash; its bytes are checked against it."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM artefacts WHERE hash = ?", (digest,)
    ).fetchone()
    if row is None:
        raise DataError(f"there is no artefact {digest}")
    found = Artefact(row[0], row[1], row[2], restore(row[3]), row[4])
    if content_hash(found.data) != digest:
        raise StorageError(f"artefact {digest} is damaged", hint="restore it from a backup")
    return found


def names(connection: Connection) -> list[str]:
    """Hashes of all artefacts, oldest first."""
    return [row[0] for row in connection.execute("SELECT hash FROM artefacts ORDER BY rowid")]

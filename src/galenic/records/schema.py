"""The tables of a site, by version, and how an older one becomes the newest.

A released version is never edited: a change is one more entry of `MIGRATIONS` (SQLite) and of
`POSTGRES`, applied in the transaction that raises the version. Both databases have the same
tables with the same columns. SQLite holds the version as ``PRAGMA user_version``, PostgreSQL as a
row of ``meta``.
"""

from __future__ import annotations

import sqlite3

from galenic.errors import StorageError
from galenic.records.sql import Connection, SqliteConnection

VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (
    "offset" INTEGER PRIMARY KEY, received INTEGER NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX journal_applied ON journal ("offset") WHERE kind = 'applied';
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL,
    subject TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX ledger_kind ON ledger (kind, number);
CREATE TABLE documents (
    kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE latest (
    tag INTEGER PRIMARY KEY, time INTEGER NOT NULL, received INTEGER NOT NULL, number REAL,
    text TEXT, type TEXT NOT NULL, quality INTEGER NOT NULL, status INTEGER NOT NULL,
    unit INTEGER NOT NULL, key TEXT);
CREATE TABLE samples (
    sequence INTEGER PRIMARY KEY, tag INTEGER NOT NULL, time INTEGER NOT NULL,
    received INTEGER NOT NULL, number REAL, text TEXT, type TEXT NOT NULL,
    quality INTEGER NOT NULL, status INTEGER NOT NULL, unit INTEGER NOT NULL, key TEXT,
    change TEXT);
CREATE INDEX samples_time ON samples (tag, time);
CREATE TABLE segments (
    name TEXT PRIMARY KEY, start INTEGER NOT NULL, stop INTEGER NOT NULL, rows INTEGER NOT NULL,
    last INTEGER NOT NULL, size INTEGER NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE artefacts (
    hash TEXT PRIMARY KEY, media_type TEXT NOT NULL, created INTEGER NOT NULL,
    provenance BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE checkpoints (
    subject TEXT NOT NULL, position INTEGER NOT NULL, time INTEGER NOT NULL,
    hash TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (subject, position));
"""

POSTGRES_1 = """
CREATE TABLE meta (key text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE TABLE journal (
    "offset" bigint PRIMARY KEY, received bigint NOT NULL, kind text COLLATE "C" NOT NULL,
    body bytea NOT NULL, hash bytea NOT NULL);
CREATE INDEX journal_applied ON journal ("offset") WHERE kind = 'applied';
CREATE TABLE ledger (
    number bigint PRIMARY KEY, time bigint NOT NULL, kind text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL, body bytea NOT NULL, hash bytea NOT NULL);
CREATE INDEX ledger_kind ON ledger (kind, number);
CREATE TABLE documents (
    kind text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, value bytea NOT NULL,
    PRIMARY KEY (kind, key));
CREATE TABLE names (id bigint PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE latest (
    tag bigint PRIMARY KEY, time bigint NOT NULL, received bigint NOT NULL,
    number double precision, text text COLLATE "C", type text COLLATE "C" NOT NULL,
    quality smallint NOT NULL, status bigint NOT NULL, unit bigint NOT NULL,
    key text COLLATE "C");
CREATE TABLE samples (
    sequence bigint PRIMARY KEY, tag bigint NOT NULL, time bigint NOT NULL,
    received bigint NOT NULL, number double precision, text text COLLATE "C",
    type text COLLATE "C" NOT NULL, quality smallint NOT NULL, status bigint NOT NULL,
    unit bigint NOT NULL, key text COLLATE "C", change text COLLATE "C");
CREATE INDEX samples_time ON samples (tag, time);
CREATE TABLE segments (
    name text COLLATE "C" PRIMARY KEY, start bigint NOT NULL, stop bigint NOT NULL,
    rows bigint NOT NULL, last bigint NOT NULL, size bigint NOT NULL,
    hash text COLLATE "C" NOT NULL);
CREATE TABLE artefacts (
    hash text COLLATE "C" PRIMARY KEY, media_type text COLLATE "C" NOT NULL,
    created bigint NOT NULL, provenance bytea NOT NULL, data bytea NOT NULL,
    rowid bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE checkpoints (
    subject text COLLATE "C" NOT NULL, position bigint NOT NULL, time bigint NOT NULL,
    hash text COLLATE "C" NOT NULL, data bytea NOT NULL, PRIMARY KEY (subject, position));
"""
"""``rowid`` is what every SQLite table has of itself: the order in which rows came."""

VERSION_2 = """
CREATE TABLE nodes (
    level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (level, position)) WITHOUT ROWID;
CREATE TABLE heads (number INTEGER PRIMARY KEY, line TEXT NOT NULL);
"""

POSTGRES_2 = """
CREATE TABLE nodes (
    level bigint NOT NULL, position bigint NOT NULL, hash bytea NOT NULL,
    PRIMARY KEY (level, position));
CREATE TABLE heads (number bigint PRIMARY KEY, line text COLLATE "C" NOT NULL);
"""

VERSION_3 = """
CREATE TABLE packs (
    last INTEGER PRIMARY KEY, count INTEGER NOT NULL, sequence INTEGER NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, received INTEGER NOT NULL);
"""

POSTGRES_3 = """
CREATE TABLE packs (
    last bigint PRIMARY KEY, count bigint NOT NULL, sequence bigint NOT NULL,
    start bigint NOT NULL, stop bigint NOT NULL, received bigint NOT NULL);
"""

WITH_TREE = 2
"""The version from which on the ledger's Merkle tree is kept."""

MIGRATIONS: tuple[str, ...] = (VERSION_1, VERSION_2, VERSION_3)
"""Statement scripts; the one at index n leads from version n to n + 1 (0 is an empty file)."""

POSTGRES: tuple[str, ...] = (POSTGRES_1, POSTGRES_2, POSTGRES_3)
"""The same for PostgreSQL."""


SAMPLE = "tag, time, received, number, text, type, quality, status, unit, key"

TABLES: dict[str, tuple[str, str]] = {
    "meta": ("key, value", "key"),
    "journal": ('"offset", received, kind, body, hash', '"offset"'),
    "ledger": ("number, time, kind, subject, body, hash", "number"),
    "nodes": ("level, position, hash", "level, position"),
    "heads": ("number, line", "number"),
    "documents": ("kind, key, value", "kind, key"),
    "names": ("id, name", "id"),
    "latest": (SAMPLE, "tag"),
    "samples": (f"sequence, {SAMPLE}, change", "sequence"),
    "packs": ("last, count, sequence, start, stop, received", "last"),
    "segments": ("name, start, stop, rows, last, size, hash", "name"),
    "artefacts": ("hash, media_type, created, provenance, data", "rowid"),
    "checkpoints": ("subject, position, time, hash, data", "subject, position"),
}
"""Columns of each table, and the order in which its rows are compared and copied."""


def refuse_older(found: int, where: str) -> None:
    """Raise if a reader meets tables that only a writer may bring to the newest version."""
    if found < len(MIGRATIONS):
        raise StorageError(
            f"the store has schema version {found}",
            where=where,
            expected=f"version {len(MIGRATIONS)}",
            hint="open it for writing once (galenic run), or a copy of it: that upgrades it",
        )


def refuse_newer(found: int, where: str) -> None:
    """Raise if the file was written by a later release than this one."""
    known = len(MIGRATIONS)
    if found > known:
        raise StorageError(
            f"the store has schema version {found}",
            where=where,
            expected=f"version {known} or older",
            hint="open it with the release of galenic that wrote it, or a later one",
        )


def upgrade(connection: SqliteConnection, where: str) -> tuple[int, int]:
    """Bring an open file to the newest version; all steps in one transaction.

    Returns
    -------
    (int, int)
        The versions before and after. The transaction is left open when they differ, so that
        the caller can record the upgrade in it.
    """
    before = connection.version()
    refuse_newer(before, where)
    if before < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        for script in MIGRATIONS[before:]:
            for statement in statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    return before, len(MIGRATIONS)


def prepare(connection: Connection, name: str, before: int) -> None:
    """Bring a PostgreSQL schema to the newest version, inside the caller's transaction."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    for script in POSTGRES[before:]:
        for statement in statements(script):
            connection.execute(statement)
    connection.execute(
        "INSERT INTO meta VALUES ('schema', ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (str(len(POSTGRES)),),
    )


def statements(script: str) -> list[str]:
    """The single statements of a script (``executescript`` would commit by itself)."""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current.strip())
            current = ""
    return found

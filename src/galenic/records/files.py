"""What the embedded store asks of the operating system: lock, durable files, errors."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galenic.clock import to_iso
from galenic.errors import DataError, StorageError


class WriterLock:
    """The right to be the one process that writes a site; given back when the process ends.

    The lock is on the file (``flock``), so a killed writer leaves nothing to clean up. Its text
    names the holder. A forked child closes its copy and so cannot keep the lock alive.
    """

    def __init__(self, path: Path, now: int) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise storage_error(error, path) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise _held(path) from error
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": to_iso(now)}
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(me).encode(), 0)
        except OSError as error:
            os.close(self._file)
            raise storage_error(error, path) from error
        alive = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forget(alive))

    def release(self) -> None:
        """Give the lock back; calling it twice is allowed."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


def _forget(alive: weakref.ref[WriterLock]) -> None:
    lock = alive()
    if lock is not None and lock._file >= 0:
        os.close(lock._file)
        lock._file = -1


def _held(path: Path) -> StorageError:
    try:
        holder = json.loads(path.read_text())
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError):
        who = "another process"
    return StorageError(
        f"the site is open for writing by {who}",
        where=str(path.parent),
        hint="send the command to the running server, or open the site with readonly=True",
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Return when the file's bytes are on the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Return when the folder's names are on the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def given_back(path: Path) -> Iterator[None]:
    """Remove a file that is not registered yet where its making fails: a full volume gets room."""
    try:
        yield
    except Exception:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into StorageError with a hint."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise storage_error(error, where) from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"text that is not Unicode: {error.object!r}", where=str(where), expected="valid text"
        ) from error
    except OverflowError as error:
        raise DataError(
            "a number is too large for the store", where=str(where), expected="64-bit integers"
        ) from error


MEANINGS = (
    ("full", "no room left to write", "free space; writing goes on by itself when there is room"),
    ("No space left", "no room left to write", "free space; writing goes on by itself then"),
    ("readonly", "the store is read-only", "open it with write access to change it"),
    ("Read-only", "the store is read-only", "open it on a volume that can be written"),
    ("locked", "the store is busy", "another process holds it; try again"),
    ("malformed", "the store's file is damaged", "run verify, then restore from a backup"),
    ("not a database", "the store's file is damaged", "run verify, then restore from a backup"),
    ("disk I/O", "the disk refused to read or write", "check the volume and its free space"),
    ("unable to open", "the store's file cannot be opened", "check the path and its permissions"),
    ("Permission", "access to the store was refused", "check the owner of the folder"),
)


def storage_error(error: Exception, where: Path) -> StorageError:
    """The StorageError that says what ``error`` means to a user."""
    text = str(error)
    for sign, found, hint in MEANINGS:
        if sign in text:
            return StorageError(f"{found} ({text})", where=str(where), hint=hint)
    return StorageError(f"the store failed: {text}", where=str(where))

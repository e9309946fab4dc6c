"""Back up a site while it runs, and bring it back.

A backup is a folder: the tables of one consistent moment as an SQLite file, wherever they are kept,
the sealed files that they name, and a manifest with the size and SHA-256 of each file and the head
of the records. What is restored is compared with the manifest byte by byte, then recomputed and
compared with the head: nothing that was in the backup can be missing. The head also belongs
elsewhere (a mail, a print): only that shows that the backup itself was not changed.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.clock import Clock, SystemClock, to_iso
from galenic.errors import DataError, StorageError
from galenic.provenance import provenance
from galenic.records import historian, minutes, moving, schema, volumes
from galenic.records.embedded import connect, make_durable
from galenic.records.files import file_hash, storage_errors, sync_file, sync_folder
from galenic.records.ledger import Head
from galenic.records.opening import open_store
from galenic.records.places import DATABASE, EMBEDDED, kept_at
from galenic.records.signing import KEY_FILE
from galenic.records.site import SiteStore
from galenic.records.verify import Verifier
from galenic.records.writing import TableTransaction, Tail
from galenic.signals import Record

MANIFEST = "backup.json"
FORMAT = "galenic backup 1"
RESTORED = "restored"
TRIES = 5
UNFINISHED = ".unfinished"

Step = Callable[[str], None]


@dataclass(frozen=True)
class Backup:
    """What a backup holds: the site, its head then, and its files with size and SHA-256."""

    site: str
    time: int
    store: str
    head: Head
    files: tuple[dict[str, Any], ...]
    versions: dict[str, Any]
    has_key: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the manifest has them."""
        return {
            "format": FORMAT,
            **vars(self),
            "head": self.head.to_dict(),
            "files": list(self.files),
        }

    @property
    def text(self) -> str:
        """The report in sentences."""
        size = sum(one["size"] for one in self.files) / 1e6
        key = "with its signing key" if self.has_key else "without its signing key"
        return (
            f"{self.site} of {to_iso(self.time)} from {self.store}: {len(self.files)} files, "
            f"{size:.1f} MB, {key}\n  head, to be kept elsewhere: {self.head.text}"
        )

    @classmethod
    def read(cls, folder: Path) -> Backup:
        """The manifest of a backup; a DataError where there is none."""
        path = folder / MANIFEST
        try:
            facts = json.loads(path.read_bytes())
            if facts.pop("format") != FORMAT:
                raise ValueError("another format")
            facts["head"], facts["files"] = Head(**facts["head"]), tuple(facts["files"])
            return cls(**facts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"no backup can be read here: {error}", where=str(path), expected=FORMAT
            ) from error


def no_step(name: str) -> None:
    """Called between the steps of a backup or a restore; tests put a fault here."""


def back_up(
    store: SiteStore,
    target: str | Path,
    *,
    with_key: bool = False,
    clock: Clock | None = None,
    step: Step = no_step,
) -> Backup:
    """Copy the records of an open site to a new folder; the site may be written meanwhile.

    Parameters
    ----------
    store : SiteStore
        Open for reading or for writing.
    target : path
        A new or empty folder, best on another volume.
    with_key : bool
        Whether the signing key is copied too. Who has it can sign in the site's name; without it
        the restored site makes a new one, and says so in its ledger.
    """
    folder = Path(target)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("there is something already", where=str(folder), expected="a new folder")
    begun = folder.with_name(folder.name + UNFINISHED)
    with storage_errors(folder):
        for _ in range(TRIES):
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir(parents=True)
            try:
                return _copied(store, begun, folder, with_key, clock or SystemClock(), step)
            except FileNotFoundError:
                pass  # put together or away meanwhile
            finally:
                shutil.rmtree(begun, ignore_errors=True)  # a full volume gets its room back
    raise StorageError(
        f"sealed files went away while they were copied, {TRIES} times",
        where=str(store.folder),
        hint="run verify; try again when nothing is being compacted",
    )


def _copied(
    store: SiteStore, begun: Path, folder: Path, with_key: bool, clock: Clock, step: Step
) -> Backup:
    time = clock.now()
    with store._reading() as view:
        if isinstance(view, sqlite3.Connection):
            _copy_database(view, begun / DATABASE)
        else:
            _copy_tables(view, begun / DATABASE)
    step("tables copied")
    connection = connect(begun / DATABASE, "ro")
    try:
        names = _sealed_files(connection)
        head = Tail.of(connection).head
    finally:
        connection.close()
    extra = [f"{minutes.FOLDER}/{Path(name).name}" for name in names]
    for name in [*names, *(one for one in extra if (store.folder / one).is_file())]:
        (begun / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(store.folder / name, begun / name)
        sync_file(begun / name)
        step("file copied")
    if with_key:
        shutil.copyfile(store.folder / KEY_FILE, begun / KEY_FILE)
        (begun / KEY_FILE).chmod(0o600)
    files = tuple(_listed(begun, path) for path in sorted(begun.rglob("*")) if path.is_file())
    made = Backup(store.site, time, store.place, head, files, provenance().to_dict(), with_key)
    (begun / MANIFEST).write_text(json.dumps(made.to_dict(), indent=2) + "\n", encoding="utf-8")
    _refuse_damaged(begun, made)
    for place in (begun / MANIFEST, begun / DATABASE):
        sync_file(place)
    sync_folder(begun)
    step("listed")
    if folder.exists():
        folder.rmdir()
    begun.replace(folder)
    sync_folder(folder.parent)
    return made


def _copy_database(view: sqlite3.Connection, path: Path) -> None:
    """The file of one moment; writers go on meanwhile (WAL)."""
    copy = sqlite3.connect(path)
    try:
        view.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()


def _copy_tables(view: Any, path: Path) -> None:
    """The tables of another database, in one view of it, as an SQLite file."""
    connection = connect(path, "rwc")
    try:
        make_durable(connection)
        schema.upgrade(connection, str(path))
        tables = moving.copy_tables(view, connection)
        moving.compare_tables(connection, tables)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()


def _sealed_files(connection: Any) -> list[str]:
    """The files that the tables name, relative to the site's folder."""
    segments = [one.name for one in historian.registered(connection)]
    held = volumes.Volumes(Path())
    journal = [one.name for one in held.known(connection) if one.name not in held.disposed]
    return [
        *(f"{historian.FOLDER}/{name}" for name in segments),
        *(f"{volumes.FOLDER}/{name}" for name in journal),
    ]


def _listed(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    return {"name": name, "size": path.stat().st_size, "sha256": file_hash(path)}


def _refuse_damaged(folder: Path, backup: Backup) -> None:
    """Compare every file with the manifest, and the sealed ones with the ledger beside them."""
    for one in backup.files:
        path = folder / one["name"]
        if not path.is_file():
            raise StorageError("a file of the backup is missing", where=str(path))
        found = path.stat().st_size, file_hash(path)
        if found != (one["size"], one["sha256"]):
            raise StorageError(
                f"a file of the backup has {found[0]} bytes with the hash {found[1]}",
                where=str(path),
                expected=f"{one['size']} bytes with the hash {one['sha256']}",
                hint="take another backup",
            )


def restore(
    source: str | Path,
    folder: str | Path,
    *,
    head: Head | None = None,
    who: str = "",
    reason: str = "",
    clock: Clock | None = None,
    step: Step = no_step,
) -> Backup:
    """Bring a backup back as the site of a new folder, and prove that nothing is missing.

    Parameters
    ----------
    source : path
        The folder of the backup.
    folder : path
        A new or empty folder; nothing is ever overwritten.
    head : Head, optional
        The head of the backup as it was kept elsewhere.
    who, reason : str
        For the ledger.
    """
    origin, target, clock = Path(source), Path(folder), clock or SystemClock()
    backup = Backup.read(origin)
    if kept_at(target) is not None or (target.exists() and any(target.iterdir())):
        raise StorageError(
            "there is a site, or something else, already",
            where=str(target),
            expected="a new or empty folder",
            hint="nothing is overwritten; move away what is there if nobody needs it",
        )
    begun = target.with_name(target.name + UNFINISHED)
    with storage_errors(target):
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        for one in backup.files:
            (begun / one["name"]).parent.mkdir(exist_ok=True)
            shutil.copyfile(origin / one["name"], begun / one["name"])
            sync_file(begun / one["name"])
            step("file copied")
        if backup.has_key:
            (begun / KEY_FILE).chmod(0o600)
        _refuse_damaged(begun, backup)
        _refuse_incomplete(begun, backup, [backup.head, *([head] if head else [])])
        step("verified")
        _enter(begun, backup, Record(RESTORED, clock.now(), backup.site, {}, who, reason))
        if target.exists():
            target.rmdir()
        begun.replace(target)
        sync_folder(target.parent)
    step("in place")
    with open_store(target, EMBEDDED, clock=clock):  # makes a key where none came with it
        pass
    return backup


def _refuse_incomplete(folder: Path, backup: Backup, heads: list[Head]) -> None:
    connection = connect(folder / DATABASE, "ro&immutable=1")
    try:
        report = Verifier(connection, folder, heads).run()
        found = Tail.of(connection).head
    finally:
        connection.close()
    if not report.ok or found != backup.head:
        raise StorageError(
            f"the backup is not what was backed up: {report.first_bad or found.text}",
            where=str(folder),
            expected=backup.head.text,
            hint="nothing was put in place; take another backup",
        )


def _enter(folder: Path, backup: Backup, record: Record) -> None:
    """Say in the ledger that, and from what, the site was restored."""
    detail = {"taken": backup.time, "from": backup.store, "head": backup.head.text}
    connection = connect(folder / DATABASE, "rw")
    try:
        make_durable(connection)
        connection.execute("BEGIN IMMEDIATE")
        transaction = TableTransaction(connection, Tail.of(connection), {})
        said = Record(RESTORED, record.time, record.subject, detail, record.who, record.reason)
        transaction.ledger(said)
        connection.execute("COMMIT")
    finally:
        connection.close()

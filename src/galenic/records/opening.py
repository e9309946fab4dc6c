"""Open the records of a site, wherever its tables are.

The site's folder is always there: it holds the sealed segments and the lock of the writer. Where
the tables are in PostgreSQL, the file `PLACE` in it says where, so that every reader finds them
by the folder alone.
"""

from __future__ import annotations

from pathlib import Path

from galenic.clock import Clock, SystemClock
from galenic.errors import StorageError
from galenic.records.embedded import DATABASE, EmbeddedStore
from galenic.records.files import storage_errors, sync_file, sync_folder
from galenic.records.jobs import Jobs
from galenic.records.site import SiteStore

EMBEDDED = "embedded"
PLACE = "store"


def open_site(
    folder: str | Path,
    readonly: bool = False,
    *,
    name: str = "",
    site: str = "",
    clock: Clock | None = None,
    store: str | None = None,
) -> SiteStore:
    """Open the records of a site; make them, if there are none and they may be written.

    Parameters
    ----------
    folder : path
        The site's folder.
    readonly : bool
        Read beside the process that writes. Without it this process becomes the writer, or a
        StorageError names the one that is.
    name, site : str
        Name and id of a site that is made now; the id is random, unless given.
    clock : Clock, optional
        Where the time of the store's own ledger entries comes from.
    store : str, optional
        Where the tables must be: "embedded", or the address ``postgresql://...`` of a database
        (`galenic.records.postgres.Address`). Without it, where the folder says they are.
    """
    path = Path(folder)
    clock = clock or SystemClock()
    kept = kept_at(path)
    wanted = kept or EMBEDDED if store is None else _agreed(path, kept, store)
    name = name or path.resolve().name
    if readonly and kept is None:
        raise StorageError("there are no records here", where=str(path), hint="run it first")
    opened = _open(path, wanted, readonly, name, site, clock)
    try:
        if not readonly:
            if kept is None:
                keep_at(path, wanted)
            Jobs(opened, clock).interrupt_open()
    except BaseException:
        opened.close()
        raise
    return opened


def _open(
    folder: Path, place: str, readonly: bool, name: str, site: str, clock: Clock
) -> SiteStore:
    if place == EMBEDDED:
        return EmbeddedStore(folder, readonly, name, site, clock)
    from galenic.records.postgres import Address, PostgresStore

    return PostgresStore(folder, Address.of(place), readonly, name, site, clock)


def kept_at(folder: Path) -> str | None:
    """Where the tables of a folder's site are; None where there is no site yet."""
    with storage_errors(folder):
        if (folder / PLACE).is_file():
            return (folder / PLACE).read_text(encoding="utf-8").strip()
    return EMBEDDED if (folder / DATABASE).is_file() else None


def keep_at(folder: Path, place: str) -> None:
    """Note durably, and in one step, where the tables are."""
    with storage_errors(folder):
        target = folder / PLACE
        if place == EMBEDDED:
            target.unlink(missing_ok=True)
        else:
            temporary = folder / f"{PLACE}.tmp"
            temporary.write_text(f"{place}\n", encoding="utf-8")
            sync_file(temporary)
            temporary.replace(target)
        sync_folder(folder)


def _agreed(folder: Path, kept: str | None, wanted: str) -> str:
    """The wanted place, in the form in which it is noted; refused where the records are not."""
    if wanted != EMBEDDED:
        from galenic.records.postgres import Address

        wanted = Address.of(wanted).text
    if kept not in (None, wanted):
        raise StorageError(
            f"the records of this site are in {kept}, not in {wanted}",
            where=str(folder),
            expected=f"store = {kept!r} under [site] of the project",
            hint="galenic move takes a site from one store to another",
        )
    return wanted

"""Open the records of a site, wherever its tables are."""

from __future__ import annotations

from pathlib import Path

from galenic.clock import Clock, SystemClock
from galenic.errors import StorageError
from galenic.records.embedded import EmbeddedStore
from galenic.records.jobs import Jobs
from galenic.records.places import EMBEDDED, Address, agreed, keep_at, kept_at
from galenic.records.site import SiteStore


def open_site(
    folder: str | Path,
    readonly: bool = False,
    *,
    name: str = "",
    site: str = "",
    clock: Clock | None = None,
    store: str | None = None,
    publish: str | Path | None = None,
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
        Where the tables must be: "embedded", or ``postgresql://...`` as
        `galenic.records.places.Address` has it. Without it, where the folder says they are.
    publish : path, optional
        A file, best on another volume, to which every signed head is appended.
    """
    path = Path(folder)
    clock = clock or SystemClock()
    kept = kept_at(path)
    place = agreed(path, store) if store is not None else kept or EMBEDDED
    if readonly and kept is None:
        raise StorageError(
            "there are no records here", where=str(path), hint="run the project first"
        )
    opened = open_store(path, place, readonly, name, site, clock)
    try:
        if not readonly:
            if kept is None and place != EMBEDDED:
                keep_at(path, place)
            Jobs(opened, clock).interrupt_open()
            if publish:
                opened.publish_to(Path(publish))
    except BaseException:
        opened.close()
        raise
    return opened


def open_store(
    folder: Path,
    place: str,
    readonly: bool = False,
    name: str = "",
    site: str = "",
    clock: Clock | None = None,
) -> SiteStore:
    """Open the tables at one place, and nothing more."""
    name, clock = name or folder.resolve().name, clock or SystemClock()
    if place == EMBEDDED:
        return EmbeddedStore(folder, readonly, name, site, clock)
    from galenic.records.postgres import PostgresStore

    return PostgresStore(folder, Address.of(place), readonly, name, site, clock)

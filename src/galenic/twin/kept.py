"""The versions of a twin's definition in the records: kept with it, found again by identity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galenic.errors import DataError
from galenic.records.thread import Link, link
from galenic.signals import Command, Record
from galenic.twin.definition import TwinDefinition
from galenic.twin.versions import Evolved, Version, to_version

KEPT = "twin-definition"
DEFINITION = "application/vnd.galenic.definition+json"
SYSTEM = "application/vnd.galenic.system+json"
EVOLVE = "evolve"


def keep(tx: Any, twin: str, identity: str, definition: TwinDefinition, time: int) -> str:
    """Keep a definition as a version of a twin; its hash, empty where it cannot be recorded.

    Parameters
    ----------
    tx : Transaction
    twin : str
        The twin's id.
    identity : str
        ``definition.identity(values)`` of the twin.
    definition : TwinDefinition
        As ``as_recorded`` gave it.
    time : int [ns]
    """
    version: Version | None = definition.__dict__.get("_version")
    if version is None:
        return ""
    said = {"name": definition.name, "version": definition.version, "twin": twin}
    model = {"what": "flattened model", "identity": version.facts["definition"]["model"], **said}
    system = tx.artefact(version.system, SYSTEM, model, time)
    digest: str = tx.artefact(
        version.document,
        DEFINITION,
        {"what": "twin definition", "identity": identity, **said},
        time,
    )
    link(tx, Link(digest, "contains", system, time))
    known = tx.get(KEPT, _key(twin, identity)) or []
    if digest not in known:
        tx.put(KEPT, _key(twin, identity), [*known, digest])
    return digest


def keep_evolved(tx: Any, twin: str, decided: Any) -> None:
    """Keep the version to which a twin has gone over, if that is what was decided."""
    if isinstance(decided, Record) and isinstance(decided.detail, Evolved):
        definition = decided.detail.definition
        if definition is not None:
            keep(tx, twin, str(decided.detail["after"]), definition, decided.time)


def _key(twin: str, identity: str) -> str:
    return f"{twin}|{identity}"


class Versions:
    """The recorded versions of one twin.

    Parameters
    ----------
    store : Store
    twin : str
    folder : Path, optional
        Where files of code are looked for first.
    """

    def __init__(self, store: Any, twin: str, folder: Path | None = None) -> None:
        self._store = store
        self._twin = twin
        self._folder = folder
        self._led: dict[tuple[int, str, str], list[str]] = {}
        for entry in store.ledger_read(kinds=(EVOLVE,)):
            if entry.subject == twin:
                key = (entry.time, entry.who, entry.reason)
                self._led.setdefault(key, []).append(str(entry.detail["after"]))

    def all(self, identity: str) -> list[Version]:
        """The versions of an identity, oldest first: same definition, maybe other code."""
        hashes = self._store.get(KEPT, _key(self._twin, identity)) or []
        found = []
        for digest in hashes:
            document = self._store.artefact(digest).data
            system = json.loads(document)["system"]
            found.append(Version(document, self._store.artefact(system).data))
        return found

    def find(self, identity: str, values: Mapping[str, Any]) -> TwinDefinition | None:
        """The definition of an identity; None where none was kept."""
        versions = self.all(identity)
        if not versions:
            return None
        definition = versions[-1].definition(self._folder)
        if definition.identity(values) != identity:
            raise DataError(
                "the recorded definition is not the one that was recorded with the twin",
                where=f"twin {self._twin}",
                expected=f"identity {identity[:12]}, found {definition.identity(values)[:12]}",
                hint="galenic verify says what was changed",
            )
        return definition

    def add(self, definition: TwinDefinition, values: Mapping[str, Any], time: int) -> None:
        """Keep what a twin runs on now, if it is new: the same definition, with other code."""
        version: Version | None = definition.__dict__.get("_version")
        identity = definition.identity(values)
        known = self._store.get(KEPT, _key(self._twin, identity)) or []
        if version is not None and version.hash not in known:
            with self._store.transaction() as tx:
                keep(tx, self._twin, identity, definition, time)

    def differences(self, identity: str, other: TwinDefinition) -> list[str]:
        """In which of its parts another definition is not the recorded one of an identity."""
        versions = self.all(identity)
        said, now = versions[-1].facts["definition"] if versions else {}, other.facts()
        return sorted(name for name in said if said[name] != now.get(name))

    def led(self, event: Any) -> list[Version]:
        """The versions to which an evolve command led that named a definition; else none."""
        if not isinstance(event, Command) or event.name != EVOLVE:
            return []
        led = self._led.get((event.time, event.who, event.reason))
        return self.all(led.pop(0)) if led and event.arguments.get("definition") else []

    def recalled(self, event: Any) -> Any:
        """The event, with the version to which an evolve command led in place of its name."""
        led = self.led(event)
        return to_version(event, led[-1].definition(self._folder)) if led else event

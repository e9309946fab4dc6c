"""The versions of a twin's definition in the records: kept as data, found again by identity.

A version is two artefacts: what the definition says, with hashes of the code that it names, and its
flattened model. A twin that is recorded runs on what these bytes give when they are read back, so
that a replay has the same model down to the order of its instructions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from galenic.errors import DataError, GalenicError
from galenic.identity import canonical_json, content_hash
from galenic.records.thread import Link, link
from galenic.signals import Command, Record
from galenic.twin import sources
from galenic.twin.definition import FORMAT, TwinDefinition
from galenic.twin.earlier import EarlierDefinition
from galenic.twin.portable import Reference

KEPT = "twin-definition"
DEFINITION = "application/vnd.galenic.definition+json"
SYSTEM = "application/vnd.galenic.system+json"
EVOLVE = "evolve"


@dataclass(frozen=True)
class Version:
    """A definition as it is kept: the bytes of what it says, and those of its model."""

    document: bytes
    system: bytes

    @classmethod
    def of(cls, definition: TwinDefinition) -> Version:
        """The version that a definition is.

        Raises
        ------
        DataError
            Something it says is not data, or some of its code cannot be found by name.
        """
        if "_version" in definition.__dict__:
            version: Version = definition.__dict__["_version"]
            return version
        system = definition.system().serialise()
        document = {
            "format": FORMAT,
            "definition": definition.facts(),
            "system": content_hash(system),
            "code": sources.fingerprint(definition.code()),
        }
        return cls(canonical_json(document), system)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The document: format, definition, system, code."""
        facts: dict[str, Any] = json.loads(self.document)
        if facts.get("format") != FORMAT:
            raise DataError(
                f"a recorded definition of format {facts.get('format')}",
                expected=f"format {FORMAT}",
                hint="read it with the release of galenic that wrote it, or a later one",
            )
        return facts

    @property
    def hash(self) -> str:
        return content_hash(self.document)

    @property
    def code(self) -> Mapping[str, Any]:
        """What the code was; see ``sources.fingerprint``."""
        code: Mapping[str, Any] = self.facts["code"]
        return code

    def definition(self, folder: Path | None = None) -> TwinDefinition:
        """The definition; nothing of its code is loaded yet.

        Parameters
        ----------
        folder : Path, optional
            Where files of code are looked for first; then where they were.
        """
        from galenic.modeling.system import System

        said = self.facts["definition"]
        try:
            system = System.deserialise(self.system)
        except (RuntimeError, ValueError, KeyError) as error:
            casadi = self.code["libraries"].get("casadi", "unknown")
            raise DataError(
                f"the recorded model cannot be read: {str(error).splitlines()[0]}",
                where=f"definition {said['name']} {said['version']}",
                hint=f"it was written by casadi {casadi}",
            ) from error
        if system.identity != said["model"]:
            raise DataError("the recorded model is not that of its definition", where=said["name"])
        made = TwinDefinition.from_facts(said, system, lambda at: self._reference(at, folder))
        made.__dict__["_version"] = self
        return made

    def _reference(self, at: str, folder: Path | None) -> Reference:
        place = at.rpartition(":")[0]
        was = self.code["files"].get(place)
        if was is None or (folder is not None and (folder / place).is_file()):
            return Reference(at, folder)
        return Reference(at, Path(was).parent)


def as_recorded(definition: TwinDefinition) -> tuple[TwinDefinition, str]:
    """The definition as its record gives it; itself, and why, where it cannot be recorded."""
    if "_version" in definition.__dict__:
        return definition, ""
    try:
        return Version.of(definition).definition(), ""
    except DataError as error:
        return definition, f"{error.found} ({error.where})" if error.where else error.found


def successor(old: TwinDefinition, new: TwinDefinition) -> TwinDefinition:
    """``new`` in the form in which a twin of ``old`` goes over to it."""
    if isinstance(old, EarlierDefinition):
        return EarlierDefinition.of(new)
    return as_recorded(new)[0]


class Evolved(dict[str, Any]):
    """The facts of an evolve entry, together with the definition that led to them."""

    def __init__(self, facts: Any, definition: TwinDefinition | None = None) -> None:
        super().__init__(facts)
        self.definition = definition


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


def to_version(event: Command, definition: TwinDefinition) -> Command:
    """An evolve command with the definition itself in place of its name."""
    return replace(event, arguments={**event.arguments, "definition": definition})


def refuse_lost(parts: Mapping[str, Reference], where: str, release: str) -> None:
    """Refuse code that cannot be found any more; ``release`` is the one that recorded it."""
    for name, reference in parts.items():
        try:
            reference.load()
        except GalenicError as error:
            raise DataError(
                f"the {name} {reference.at} cannot be found: {error.found}",
                where=where,
                expected="the function or class that the recorded definition names",
                hint=f"put it back, or replay with the source of that time (galenic {release})",
            ) from error

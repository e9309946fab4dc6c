"""A version of a definition: the bytes that say all of it, and the definition that they give.

They are two: what the definition says, with hashes of the code that it names, and its flattened
model. A twin that is recorded runs on what these bytes give when they are read back, so that a
replay has the same model down to the order of its instructions.
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
from galenic.signals import Command
from galenic.twin import sources
from galenic.twin.definition import FORMAT, TwinDefinition
from galenic.twin.earlier import EarlierDefinition
from galenic.twin.portable import Reference


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

"""Connections that a project names, and the connectors they become.

Paths among their options are relative to the folder of the project file, for every kind: an option
is a path where its connector takes a ``Path``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from galenic.clock import Clock
from galenic.connect import registry
from galenic.errors import DataError, GalenicError

FILES = ("path", "mapping", "certificate", "key", "trusted", "ca")
"""Options that name files, which must be there; other paths may be made later."""


@dataclass(frozen=True)
class ConnectionSpec:
    """A named connection: its kind, what that kind needs, and where the project says so.

    Relative paths among the options belong to ``folder``.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    folder: Path = Path()


@dataclass(frozen=True)
class RecordSpec:
    """Which tags of a connection are recorded: those that fit a pattern, and no twin reads."""

    connection: str
    tags: tuple[str, ...] = ("*",)

    def chosen(self, offered: Sequence[str]) -> list[str]:
        """The tags of ``offered`` that fit."""
        return [tag for tag in offered if any(fnmatchcase(tag, one) for one in self.tags)]


def beside(folder: Path, given: Any, where: str) -> str:
    """The absolute path of one that a project file in ``folder`` names."""
    if not isinstance(given, str | Path):
        raise DataError(f"{given!r} is not a path", where=where, expected="a text")
    return str((folder / given).resolve())


def connector_of(spec: ConnectionSpec, clock: Clock) -> Any:
    """The connector of a connection; options that it does not know are refused by name."""
    if spec.kind == "memory":
        raise DataError(
            f"connection {spec.name!r} is in memory",
            where=spec.where,
            expected="a connector passed to Runner(connectors={...})",
        )
    try:
        return registry.create(spec.kind, _options(spec), name=spec.name, clock=clock)
    except GalenicError as error:
        error.where = ", ".join(filter(None, (spec.where, error.where)))
        raise


def _options(spec: ConnectionSpec) -> dict[str, Any]:
    """The options by the names of the connector, with absolute paths."""
    options = dict(spec.options)
    if spec.kind == "files":
        options.setdefault("folder", ".")
    if spec.kind == "replay" and "file" in options:
        options["path"] = options.pop("file")
    known = registry.options_of(spec.kind)
    for key, given in options.items():
        takes = known[key][0] if key in known else ""
        if "Path" in takes and not isinstance(given, Mapping):
            options[key] = _paths(spec, key, given)
    return options


def _paths(spec: ConnectionSpec, key: str, given: Any) -> Any:
    where = f"connection {spec.name}, {key}"
    if isinstance(given, list | tuple):
        return [_paths(spec, key, one) for one in given]
    if isinstance(given, str) and "://" in given:
        return given  # an address
    path = beside(spec.folder, given, where)
    if key in FILES and not Path(path).is_file():
        raise DataError(
            f"there is no file {path!r}",
            where=where,
            hint="paths in a project are relative to the folder of its file",
        )
    return path

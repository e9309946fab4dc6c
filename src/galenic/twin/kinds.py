"""Kinds of connections that a project may name: their options, and the connectors they become.

Paths among the options are relative to the folder of the project file, for every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galenic.clock import Clock
from galenic.errors import DataError

FOLDERS = {"files": {"folder": "."}}
FILES = {
    "opcua": ("certificate", "key", "trusted"),
    "replay": ("file", "mapping"),
    "files": ("mapping",),
}
BESIDE = "paths in a project are relative to the folder of its file"


@dataclass(frozen=True)
class ConnectionSpec:
    """A named connection: its kind, what that kind needs, and where the project says so.

    Paths among the options are absolute, or relative to the working directory.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def place(self) -> str:
        """The connection in an error message."""
        return ", ".join(filter(None, (self.where, f"connection {self.name}")))


def beside(folder: Path, given: Any, where: str) -> str:
    """The absolute path of one that a project file in ``folder`` names."""
    if not isinstance(given, str | Path):
        raise DataError(f"{given!r} is not a path", where=where, expected="a text")
    return str((folder / given).resolve())


def with_paths(
    kind: str, options: Mapping[str, Any], folder: Path, where: Callable[[str], str]
) -> dict[str, Any]:
    """The options of a connection with absolute paths.

    Parameters
    ----------
    where : callable
        The place of an option in the project file.
    """
    found = {**FOLDERS.get(kind, {}), **options}
    for key in (*FOLDERS.get(kind, {}), *FILES.get(kind, ())):
        given = found.get(key)
        if isinstance(given, list):
            found[key] = [beside(folder, one, where(key)) for one in given]
        elif key in found and not isinstance(given, Mapping):
            found[key] = beside(folder, given, where(key))
    return found


def known_kinds() -> Iterable[str]:
    """Every kind that a project may name."""
    return {*MAKERS, *_outside()}


def _outside() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group="galenic.connectors")}


def connector_of(spec: ConnectionSpec, clock: Clock) -> Any:
    """The connector of a connection; options that it does not know are refused by name."""
    _require_files(spec)
    try:
        if spec.kind in MAKERS:
            return MAKERS[spec.kind](spec, clock)
        return _outside()[spec.kind].load()(name=spec.name, clock=clock, **spec.options)
    except TypeError as error:
        raise DataError(str(error), where=spec.place) from error


def _require_files(spec: ConnectionSpec) -> None:
    for key in FILES.get(spec.kind, ()):
        given = spec.options.get(key, ())
        for path in given if isinstance(given, list | tuple) else [given]:
            if isinstance(path, str | Path) and not Path(path).is_file():
                raise DataError(
                    f"{key}: there is no file {str(path)!r}", where=spec.place, hint=BESIDE
                )


def _opcua(spec: ConnectionSpec, clock: Clock) -> Any:
    from galenic.connect.opcua.client import OpcUaConnector

    return OpcUaConnector(name=spec.name, clock=clock, **spec.options)


def _replay(spec: ConnectionSpec, clock: Clock) -> Any:
    from galenic.connect.replay import ReplayConnector

    options = dict(spec.options)
    if "file" not in options:
        raise DataError("a connection of kind replay needs its file", where=spec.place)
    record = _record(Path(options.pop("file")), options.pop("mapping", None), spec.place)
    return ReplayConnector(record, name=spec.name, clock=clock, **options)


def _record(path: Path, mapping: Any, where: str) -> Any:
    """The samples of a recorded file; a CSV file needs its mapping (a table or a TOML file)."""
    if path.suffix == ".csv":
        from galenic.connect.files import CsvReader

        if mapping is None:
            raise DataError(f"which columns of {str(path)!r} are which tags?", where=where,
                            expected="a mapping")  # fmt: skip
        return CsvReader(path, mapping)
    from galenic.connect.files.recorded import Recorded

    return Recorded(path)


def _files(spec: ConnectionSpec, clock: Clock) -> Any:
    from galenic.connect.files.folder import CsvFolder

    return CsvFolder(name=spec.name, clock=clock, **spec.options)


def _memory(spec: ConnectionSpec, clock: Clock) -> Any:
    raise DataError(
        f"connection {spec.name!r} is in memory",
        where=spec.where,
        expected="a connector passed to Runner(connectors={...})",
    )


MAKERS: dict[str, Callable[[ConnectionSpec, Clock], Any]] = {
    "memory": _memory,
    "replay": _replay,
    "opcua": _opcua,
    "files": _files,
}

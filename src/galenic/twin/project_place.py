"""Places in a project file, and what a table of it may have: errors name file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from galenic.errors import DataError, GalenicError, UnknownName


class Place:
    """A file and the lines of its tables, for errors."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.folder = path.parent.resolve()
        self.lines = text.splitlines()

    def at(self, table: str, index: int = 0, key: str = "") -> str:
        """``file:line`` of a key in the n-th table of a name; of the table if there is no key."""
        head = re.compile(rf"\s*\[+\s*{re.escape(table)}\s*\]+")
        starts = [n for n, line in enumerate(self.lines) if head.match(line)]
        if index >= len(starts):
            return str(self.path)
        start = starts[index]
        if key:
            wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""")
            for n in range(start + 1, len(self.lines)):
                if wanted.match(self.lines[n]):
                    return f"{self.path}:{n + 1}"
                if self.lines[n].lstrip().startswith("[") and table == self._name(n):
                    break
        return f"{self.path}:{start + 1}"

    def _name(self, n: int) -> str:
        return self.lines[n].strip().strip("[]").strip()


def tables(record: Mapping[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    """All tables of a name, as [[name]]."""
    found = record.get(name, [])
    if not isinstance(found, list):
        raise DataError(f"[{name}] is a list of tables", where=str(path), expected=f"[[{name}]]")
    return found


def known(what: str, key: str, names: Iterable[str], where: str) -> None:
    """Refuse a name that is none of those."""
    if key not in names:
        raise UnknownName.among(what, key, names, where=where)


def distinct(what: str, names: list[str], path: Path) -> None:
    """Refuse a name that is there twice."""
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"two {what}s are called {name!r}", where=str(path))


def typed(
    table: Mapping[str, Any], types: Mapping[str, type], name: str, index: int, place: Place
) -> None:
    """Refuse keys that a table does not have, and values of another kind."""
    for key, value in table.items():
        known("key", key, types, place.at(name, index, key))
        wanted = (int, float) if types[key] is float else types[key]
        if not isinstance(value, wanted):
            raise DataError(
                f"{key} = {value!r}",
                where=place.at(name, index, key),
                expected=f"a {types[key].__name__}",
            )


def pair(value: Any, key: str, where: str) -> tuple[float, float]:
    """Two numbers."""
    numbers = isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value)
    if not numbers or len(value) != 2:
        raise DataError(f"{key} = {value!r}", where=where, expected="two numbers")
    return float(value[0]), float(value[1])


def span(value: Any, where: str) -> float:
    """A duration [s]."""
    from galenic.units import duration

    try:
        return float(duration(value))
    except GalenicError as error:
        error.where = where
        raise

"""What a service gives back: values with units, tables, plots, artefacts and text.

All surfaces render these same objects: the terminal prints tables, REST sends ``to_dict``, pages
draw the plots. Numbers are in the unit that stands beside them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from galenic.errors import DataError, UnknownName

STYLES = ("measured", "estimated", "predicted", "setpoint", "line")


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: arrays as lists, numbers that are not finite as None."""
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value)


@dataclass(frozen=True)
class Value:
    """One named result with its unit, and an interval where it is uncertain."""

    value: float | int | bool | str | None
    unit: str = ""
    meaning: str = ""
    lower: float | None = None
    upper: float | None = None

    def to_dict(self) -> dict[str, Any]:
        facts = {"value": self.value, "unit": self.unit, "meaning": self.meaning}
        facts |= {"lower": self.lower, "upper": self.upper}
        return {key: plain(item) for key, item in facts.items() if item not in ("", None)} | {
            "value": plain(self.value)
        }


@dataclass(frozen=True)
class Column:
    """One column of a table: data in ``unit``; an empty unit means text or a plain count."""

    name: str
    data: Sequence[Any]
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """Columns of equal length with units; the form of tables going in and coming out."""

    title: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        lengths = {column.name: len(column.data) for column in self.columns}
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"the columns of table {self.title!r} differ in length: {lengths}",
                expected="columns of equal length",
            )

    @classmethod
    def of_rows(cls, title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
        """A table without units from its rows."""
        columns = (Column(name, [row[i] for row in rows]) for i, name in enumerate(names))
        return cls(title, tuple(columns))

    def __len__(self) -> int:
        return len(self.columns[0].data) if self.columns else 0

    def column(self, name: str) -> Column:
        """The column called ``name``."""
        for column in self.columns:
            if column.name == name:
                return column
        raise UnknownName.among("column", name, [c.name for c in self.columns], where=self.title)

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.column(name).data

    def si(self, name: str) -> Any:
        """The column ``name`` as an array of SI values."""
        import numpy as np

        from galenic.units import to_si

        column = self.column(name)
        return to_si(np.asarray(column.data, dtype=float), column.unit or "1")

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows, top down."""
        return zip(*(column.data for column in self.columns), strict=True)

    def to_dict(self) -> dict[str, Any]:
        columns = [
            {"name": c.name, "unit": c.unit, "meaning": c.meaning, "data": plain(c.data)}
            for c in self.columns
        ]
        return {"title": self.title, "columns": columns}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Table:
        return cls(record["title"], tuple(Column(**column) for column in record["columns"]))


@dataclass(frozen=True)
class Axis:
    """The shared x of a plot."""

    name: str
    data: Sequence[Any]
    unit: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a plot in one of the fixed styles; ``lower`` and ``upper`` draw its band."""

    name: str
    data: Sequence[Any]
    unit: str = ""
    style: str = "line"
    lower: Sequence[Any] | None = None
    upper: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise UnknownName.among("plot style", self.style, STYLES, where=self.name)


@dataclass(frozen=True)
class Plot:
    """Series over one axis, ready for any chart library."""

    title: str
    x: Axis
    y: tuple[Series, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "y", tuple(self.y))

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "x": plain(vars(self.x)),
            "y": [
                {key: plain(item) for key, item in vars(series).items() if item is not None}
                for series in self.y
            ],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Plot:
        series = tuple(Series(**item) for item in record["y"])
        return cls(record["title"], Axis(**record["x"]), series)


@dataclass(frozen=True)
class Artefact:
    """A file that a service made; known by the hash of its content."""

    name: str
    data: bytes = field(repr=False)
    media: str = "application/octet-stream"

    @property
    def hash(self) -> str:
        """SHA-256 of the content, as 64 hex digits."""
        return hashlib.sha256(self.data).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "media": self.media, "hash": self.hash, "size": len(self.data)}


@dataclass(frozen=True)
class Result:
    """The answer of a service.

    Parameters
    ----------
    text : str
        The answer in words; LaTeX source and reports too.
    values : mapping of str to Value or number
        Named values; a bare number has no unit.
    tables, plots, artefacts : sequences
        Further parts, in the order in which they should be shown.
    ok : bool, default True
        False where the question was "is it in order?" and the answer is no; the command line
        then ends with exit code 1.
    """

    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    artefacts: Sequence[Artefact] = ()
    ok: bool = True

    def __post_init__(self) -> None:
        named = {
            name: value if isinstance(value, Value) else Value(value)
            for name, value in self.values.items()
        }
        object.__setattr__(self, "values", named)
        for part in ("tables", "plots", "artefacts"):
            object.__setattr__(self, part, tuple(getattr(self, part)))

    def __getitem__(self, name: str) -> Any:
        if name not in self.values:
            raise UnknownName.among("value", name, self.values)
        return self.values[name].value

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; parts that are empty are left out."""
        parts = {
            "text": self.text,
            "values": {name: value.to_dict() for name, value in self.values.items()},
            "tables": [table.to_dict() for table in self.tables],
            "plots": [plot.to_dict() for plot in self.plots],
            "artefacts": [artefact.to_dict() for artefact in self.artefacts],
        }
        return {"ok": self.ok} | {key: part for key, part in parts.items() if part}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], artefacts: Sequence[Artefact] = ()) -> Result:
        """The result that ``to_dict`` described; artefacts' content travels apart."""
        return cls(
            text=record.get("text", ""),
            values={name: Value(**value) for name, value in record.get("values", {}).items()},
            tables=[Table.from_dict(table) for table in record.get("tables", ())],
            plots=[Plot.from_dict(plot) for plot in record.get("plots", ())],
            artefacts=artefacts,
            ok=record.get("ok", True),
        )

    @classmethod
    def of(cls, answer: Any) -> Result:
        """``answer`` of a service function as a Result: itself, text, or a mapping of values."""
        if isinstance(answer, Result):
            return answer
        if answer is None:
            return cls()
        if isinstance(answer, str):
            return cls(text=answer)
        if isinstance(answer, Mapping):
            return cls(values=answer)
        raise DataError(
            f"a service returned {type(answer).__name__}",
            expected="a Result, a text, or a mapping of names to values",
        )

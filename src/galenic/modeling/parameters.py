"""Parameter sets: values with unit, spread and source, from a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.errors import DataError, UnitError, UnknownName
from galenic.modeling.declare import Parameter
from galenic.modeling.system import System
from galenic.units import Quantity, Unit, from_si, unit

COLUMNS = ("name", "value", "unit", "spread", "source")


@dataclass(frozen=True)
class ParameterValue:
    """One row: ``value`` and ``spread`` (standard deviation) in ``unit``, and their source."""

    name: str
    value: float
    unit: Unit
    spread: float | None
    source: str

    @property
    def quantity(self) -> Quantity:
        """The value with its unit."""
        return Quantity(self.value, self.unit)


class ParameterSet(Mapping[str, ParameterValue]):
    """Values of parameters by name (a path in the model), nothing else.

    ``Simulator(model).run(values=parameter_set.values_for(model))`` uses them.
    """

    def __init__(self, rows: Mapping[str, ParameterValue], name: str = "") -> None:
        self._rows = dict(rows)
        self.name = name

    def __getitem__(self, name: str) -> ParameterValue:
        if name not in self._rows:
            raise UnknownName.among("parameter", name, self._rows, where=self.name)
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @classmethod
    def read(cls, path: str | Path) -> ParameterSet:
        """The set in a CSV file with columns name, value, unit, spread, source."""
        path = Path(path)
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(line for line in file if not line.startswith("#"))
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"the columns {', '.join(missing)} are missing",
                    where=path.name,
                    expected=",".join(COLUMNS),
                )
            rows = [_row(row, f"{path.name}, row {i}") for i, row in enumerate(reader, 2)]
        return cls.of(rows, path.stem)

    @classmethod
    def of(cls, rows: list[ParameterValue], name: str = "") -> ParameterSet:
        """A set of rows with different names."""
        seen: dict[str, ParameterValue] = {}
        for row in rows:
            if row.name in seen:
                raise DataError(f"{row.name!r} is given twice", where=name)
            seen[row.name] = row
        return cls(seen, name)

    def write(self, path: str | Path) -> None:
        """Write the set as a CSV file that :meth:`read` reads."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in self._rows.values():
                spread = "" if row.spread is None else repr(row.spread)
                writer.writerow((row.name, repr(row.value), row.unit.text, spread, row.source))

    def quantities(self) -> dict[str, Quantity]:
        """The values with units, as every ``values=`` argument takes them."""
        return {name: row.quantity for name, row in self._rows.items()}

    def values_for(self, model: Any) -> dict[str, Quantity]:
        """The values of parameters that ``model`` has, units and names checked."""
        system: System = model if isinstance(model, System) else model.flatten()
        known = {entry.path: entry for entry in system.parameters}
        for name, row in self._rows.items():
            if name not in known:
                raise UnknownName.among("parameter", name, known, where=system.name)
            if not row.unit.same_dimension(known[name].unit):
                raise UnitError(
                    f"{name} is given in [{row.unit}], the model declares [{known[name].unit}]",
                    where=self.name,
                )
        return self.quantities()

    @classmethod
    def from_model(cls, model: Any) -> ParameterSet:
        """The defaults of a model's parameters, with their declared spread and source."""
        system: System = model if isinstance(model, System) else model.flatten()
        rows = [
            ParameterValue(
                entry.path,
                float(from_si(entry.value, entry.unit)),
                entry.unit,
                None if entry.spread is None else entry.spread / entry.unit.scale,
                entry.source or f"default of {system.name}",
            )
            for entry in system.parameters
        ]
        return cls.of(rows, system.name)


def _row(row: Mapping[str, str | None], where: str) -> ParameterValue:
    facts = {key: (row.get(key) or "").strip() for key in COLUMNS}
    for column in ("name", "value", "unit", "source"):
        if not facts[column]:
            raise DataError(
                f"no {column}" + (f" of {facts['name']!r}" if facts["name"] else ""),
                where=where,
                expected="name, value, unit and source in every row (unit 1 for plain numbers)",
            )
    try:
        value = float(facts["value"])
        spread = float(facts["spread"]) if facts["spread"] else None
    except ValueError as error:
        raise DataError(f"{facts['name']}: {error}", where=where) from error
    if spread is not None and not spread >= 0:
        raise DataError(f"the spread of {facts['name']!r} is {spread}", where=where)
    return ParameterValue(facts["name"], value, unit(facts["unit"]), spread, facts["source"])


def declared(values: ParameterSet, name: str, **facts: Any) -> Parameter:
    """A Parameter declaration from a row: ``CL = declared(theophylline, "CL", lower=0)``."""
    row = values[name]
    return Parameter(
        row.value, row.unit.text, facts.pop("meaning", ""), spread=row.spread, source=row.source,
        **facts,
    )  # fmt: skip

"""What differs between individuals: one column per parameter, input or start value.

A column is named by the path of a quantity, with a unit behind it where the numbers are not in the
declared one: ``"CL"`` or ``"CL [mL/min]"``. Names and units are checked here, on the way in; what
goes on is an array in SI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.engine.compile import Compiled
from galenic.errors import DataError, GalenicError, UnitError, UnknownName
from galenic.modeling.variability import Cohort
from galenic.units import Quantity, Unit, conversion_error, to_si, unit, value_in

Array = npt.NDArray[np.float64]

KINDS = ("parameter", "input", "state", "algebraic")
_HEADER = re.compile(r"(?P<path>.*\S)\s+\[(?P<unit>[^\[\]]+)\]\s*")


@dataclass(frozen=True)
class Place:
    """Where a column goes: kind and index in the System; path and declared unit."""

    kind: str
    index: int
    path: str
    unit: str


@dataclass(frozen=True, eq=False)
class Individuals:
    """The checked table: ``values`` (n, n_columns) in SI, and where each column goes."""

    places: tuple[Place, ...]
    values: Array
    cohort: Cohort | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def rows(self, chosen: Any) -> Individuals:
        """Some of the individuals, by index."""
        return Individuals(self.places, self.values[chosen])

    @classmethod
    def of(cls, compiled: Compiled, table: Any, count: int | None = None) -> Individuals:
        """The individuals of a table.

        Parameters
        ----------
        compiled : Compiled
            Whose quantities the columns are.
        table : mapping, DataFrame, Cohort, int or None
            Columns by path; what ``Population.sample`` gave; or how many equal individuals.
        count : int, optional
            How many there are, where something else says so (schedules, one for each).
        """
        if isinstance(table, Cohort):
            made = _of_cohort(compiled, table)
        elif table is None or isinstance(table, (int, np.integer)):
            number = count if table is None else int(table)
            if number is None:
                raise DataError(
                    "nothing says how many individuals there are",
                    expected="a table, a number, or one experiment for each",
                )
            made = cls((), np.zeros((number, 0)))
        else:
            made = _of_columns(compiled, _columns(table))
        _check_count(made, count)
        return made


def _check_count(made: Individuals, count: int | None) -> None:
    if count is not None and count != len(made):
        raise DataError(
            f"there are {count} experiments for {len(made)} individuals",
            expected="one experiment for all, or one for each row of the table",
        )
    if not len(made):
        raise DataError("the table has no rows", expected="at least one individual")


def _of_cohort(compiled: Compiled, cohort: Cohort) -> Individuals:
    """The parameters in which the individuals of a sample may differ."""
    system = cohort.population.system
    if system.identity != compiled.system.identity:
        raise DataError(
            f"the sample is of {system.name}, the simulator runs {compiled.system.name}",
            expected="a sample of a Population of the same model with the same values",
            hint="make the Simulator of population.system",
        )
    relations = {b.parameter for b in cohort.population.between} | set(cohort.population.relations)
    places = tuple(
        Place("parameter", i, entry.path, entry.unit.text)
        for i, entry in enumerate(system.parameters)
        if entry.path in relations
    )
    values = np.ascontiguousarray(cohort.values[:, [place.index for place in places]])
    return Individuals(places, values, cohort)


def _columns(table: Any) -> dict[str, tuple[Any, str | None]]:
    """Header without unit to (cells, unit); a DataFrame may carry units in ``attrs['units']``."""
    noted: Mapping[str, str] = {}
    if hasattr(table, "attrs") and hasattr(table, "columns"):
        noted = table.attrs.get("units", {})
        pairs = [(header, table[header].to_numpy()) for header in table.columns]
    elif isinstance(table, Mapping):
        pairs = list(table.items())
    else:
        raise DataError(
            f"{type(table).__name__} is not a table of individuals",
            expected="a mapping of columns, a DataFrame, a sample of a Population, or a number",
        )
    columns: dict[str, tuple[Any, str | None]] = {}
    for header, cells in pairs:
        match = _HEADER.fullmatch(str(header))
        path, of = (match["path"], match["unit"]) if match else (str(header), None)
        if path in columns:
            raise DataError(f"the column {path!r} is given twice", where="table of individuals")
        columns[path] = (cells, of or noted.get(str(header)))
    return columns


def _of_columns(compiled: Compiled, columns: Mapping[str, tuple[Any, str | None]]) -> Individuals:
    places, data = [], []
    for path, (cells, of) in columns.items():
        scalars = _scalars(compiled, path)
        for scalar, part in zip(scalars, _parts(path, cells, len(scalars)), strict=True):
            kind, index = _found(compiled, scalar)
            declared = compiled.tables[kind][index].unit
            places.append(Place(kind, index, scalar, declared.text))
            data.append(_numbers(scalar, part, declared, of))
    return Individuals(tuple(places), _side_by_side(places, data))


def _found(compiled: Compiled, path: str) -> tuple[str, int]:
    try:
        return compiled.find(path, *KINDS)
    except UnknownName as error:
        error.where = f"column {path!r} of the table of individuals"
        raise


def _scalars(compiled: Compiled, path: str) -> tuple[str, ...]:
    try:
        return compiled.system.expand(path)
    except UnknownName:
        return (path,)


def _parts(path: str, cells: Any, elements: int) -> list[Any]:
    """The cells of an array quantity by element; a column of numbers counts for all elements."""
    if elements > 1 and isinstance(cells, np.ndarray) and cells.ndim == 2:
        if cells.shape[1] != elements:
            raise DataError(
                f"the rows of {path!r} have {cells.shape[1]} values",
                expected=f"{elements} values, one for each element",
                where=f"column {path!r}",
            )
        return [cells[:, k] for k in range(elements)]
    return [cells] * elements


def _numbers(path: str, cells: Any, declared: Unit, of: str | None) -> Array:
    """One column in SI: an array, one value for all, or texts with units."""
    where = f"column {path!r}"
    if isinstance(cells, Quantity):
        return np.atleast_1d(np.asarray(_checked(cells, declared, where), float))
    if isinstance(cells, (str, float, int, np.number)):
        cells = [cells]
    array = np.asarray(cells)
    if array.ndim != 1:
        raise DataError(
            f"the column has shape {array.shape}", where=where, expected="one value for each row"
        )
    if array.dtype.kind in "fiu":
        return _in_unit(array.astype(np.float64), declared, of, where)
    return _cell_by_cell(where, cells, declared, of)


def _in_unit(numbers: Array, declared: Unit, of: str | None, where: str) -> Array:
    given = declared if of is None else unit(of)
    return np.asarray(_checked(Quantity(numbers, given), declared, where), float)


def _checked(given: Quantity, declared: Unit, where: str) -> Any:
    if not given.unit.same_dimension(declared):
        error = conversion_error(given.unit, declared)
        error.where = where
        raise error
    return to_si(given.value, given.unit)


def _cell_by_cell(where: str, cells: Sequence[Any], declared: Unit, of: str | None) -> Array:
    """Texts, quantities or missing values; an error names the row, counted from 1."""
    numbers = np.empty(len(cells))
    for row, cell in enumerate(cells, 1):
        place = f"{where}, row {row}"
        if cell is None:
            numbers[row - 1] = np.nan
            continue
        if isinstance(cell, bool) or not isinstance(cell, (str, int, float, np.number, Quantity)):
            raise DataError(f"{cell!r} is not a number", where=place, expected=_wanted(declared))
        try:
            given = float(cell) if not isinstance(cell, (str, Quantity)) else _plain(cell)
            if isinstance(given, float) and of is not None:
                given = Quantity(given, unit(of))
            numbers[row - 1] = float(value_in(given, declared))
        except UnitError as error:
            raise UnitError(
                error.found, where=place, expected=error.expected or _wanted(declared),
                hint=error.hint,
            ) from error  # fmt: skip
        except GalenicError as error:
            raise DataError(error.found, where=place, expected=_wanted(declared)) from error
    return numbers


def _plain(cell: str | Quantity) -> float | str | Quantity:
    """A text that is a bare number as that number."""
    if isinstance(cell, Quantity):
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def _wanted(declared: Unit) -> str:
    return f"a number in [{declared.text}], or a quantity that converts to it"


def _side_by_side(places: Sequence[Place], data: Sequence[Array]) -> Array:
    """Columns as (n, n_columns); a column of one value counts for all rows."""
    lengths = {len(column) for column in data}
    rows = max(lengths, default=0)
    wrong = [place for place, column in zip(places, data, strict=True) if len(column) < rows]
    for place in wrong:
        length = len(data[places.index(place)])
        if length != 1:
            raise DataError(
                f"the column has {length} rows, the longest {rows}",
                where=f"column {place.path!r}",
                expected=f"{rows} values, or one for all",
            )
    values = np.empty((rows, len(data)))
    for k, column in enumerate(data):
        values[:, k] = column
    return values

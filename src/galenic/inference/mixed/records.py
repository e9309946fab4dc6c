"""Data sets of populations as records of individuals, checked row by row.

A row that cannot be is an error that names row and column; what is unusual but possible is a flag
in the report of what was used.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError
from galenic.inference.mixed.layout import ANY, Layout, _key
from galenic.units import duration, to_si, unit

Array = npt.NDArray[np.float64]
MISSING = {"", ".", "na", "nan", "none", "null"}
_EVIDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Dose:
    """One dose row: amount and rate in SI, rate 0 at once, -1 and -2 by a parameter."""

    time: float
    amount: float
    rate: float
    route: str
    ii: float
    steady: int
    order: int
    row: int


@dataclass(frozen=True, eq=False)
class Individual:
    """The rows of one subject, times in s from its first row.

    Parameters
    ----------
    times, values, endpoint, censored, limits, rows : arrays (n_observations,)
        Values and limits in the units of DV; ``endpoint`` counts those of the Records.
    orders : array (n_observations,)
        Place among all rows of the subject, for what happens at one time.
    knots : array (n_rows,)
        Times of all rows, where covariates (n_rows, n_covariates) [SI] and occasions are known.
    resets : tuple of (time, order)
        Where the system starts anew (EVID 3 and 4).
    """

    id: str
    doses: tuple[Dose, ...]
    times: Array
    values: Array
    endpoint: npt.NDArray[np.int64]
    censored: npt.NDArray[np.bool_]
    limits: Array
    rows: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]
    knots: Array
    knot_orders: npt.NDArray[np.int64]
    covariates: Array
    occasions: npt.NDArray[np.int64]
    resets: tuple[tuple[float, int], ...] = ()

    def with_values(self, values: Array) -> Individual:
        """The same with other observed values."""
        return replace(self, values=values)


@dataclass(frozen=True, eq=False)
class Records:
    """What was read.

    Parameters
    ----------
    endpoints : tuple of (output path, unit of DV or empty)
    covariates : tuple of str
        Names, in the order of the columns of each individual.
    occasions : tuple of str
        Labels of occasions; individuals hold their places.
    flags : tuple of str
        What is unusual, with its row.
    used : mapping of str to int
        Counts: rows, individuals, doses, observations, what was left out and why.
    """

    individuals: tuple[Individual, ...]
    layout: Layout
    endpoints: tuple[tuple[str, str], ...]
    covariates: tuple[str, ...]
    occasions: tuple[str, ...]
    flags: tuple[str, ...] = ()
    used: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.individuals)

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(len(one.times) for one in self.individuals)

    def subset(self, chosen: Iterable[int]) -> Records:
        """The individuals at these places, which may repeat (for a bootstrap)."""
        return replace(self, individuals=tuple(self.individuals[i] for i in chosen))

    def report(self) -> str:
        """What was used, in words."""
        lines = [f"{name}: {count}" for name, count in self.used.items()]
        return "\n".join([*lines, *(f"flag: {flag}" for flag in self.flags)])


def read(source: Any, layout: Layout) -> Records:
    """Read a data set.

    Parameters
    ----------
    source : path, pandas.DataFrame, or sequence of mappings
        Rows sorted by subject and time.
    layout : Layout
        What the columns mean.

    Raises
    ------
    DataError
        Names the row (as in the file, the header is row 1) and the column.
    """
    rows, name = _rows(source)
    if not rows:
        raise DataError("the data set is empty", where=name)
    return _Reading(rows, layout, name).records()


def _rows(source: Any) -> tuple[list[dict[str, Any]], str]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return list(csv.DictReader(handle)), path.name
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        return source.to_dict("records"), "table"
    return [dict(row) for row in source], "table"


class _Reading:
    """One pass over the rows."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], layout: Layout, name: str) -> None:
        self.rows, self.layout, self.name = rows, layout, name
        self.columns = layout.found([str(key) for key in rows[0]])
        self.second = duration(f"1 {layout.time}")
        self.routes, self.outputs = layout.routes, layout.outputs
        kept = [pair for pair in self.outputs.values() if pair is not None]
        self.endpoints = tuple(dict.fromkeys(kept))
        self.flags: list[str] = []
        self.used = dict.fromkeys(
            ("rows", "individuals", "doses", "observations", "below the limit"), 0
        )
        self.labels: dict[str, int] = {}
        self._check_covariates()

    def records(self) -> Records:
        groups = self._groups()
        people = tuple(self._individual(id_, rows) for id_, rows in groups.items())
        people = tuple(one for one in people if len(one.times) or one.doses)
        self.used["rows"] = len(self.rows)
        self.used["individuals"] = len(people)
        return Records(
            people, self.layout, self.endpoints, tuple(self.layout.covariates),
            tuple(self.labels), tuple(self.flags), self.used,
        )  # fmt: skip

    def _check_covariates(self) -> None:
        header = {str(key).casefold(): str(key) for key in self.rows[0]}
        self.sources = {}
        for name, column in self.layout.covariates.items():
            if column.name.casefold() not in header:
                raise DataError(
                    f"no column {column.name!r} for the covariate {name}",
                    where=self.name,
                    expected=", ".join(header.values()),
                )
            self.sources[name] = header[column.name.casefold()]

    def _groups(self) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        last = None
        for i, row in enumerate(self.rows):
            if not self.layout.keeps(row):
                self.used["left out rows"] = self.used.get("left out rows", 0) + 1
                continue
            id_ = str(row[self.columns["id"]]).strip()
            if id_.casefold() in MISSING:
                raise self._error(i, "id", "no subject")
            if id_ in groups and id_ != last:
                raise self._error(
                    i, "id", f"subject {id_} again", expected="the rows of a subject together"
                )
            groups.setdefault(id_, []).append(i)
            last = id_
        return groups

    def _error(self, row: int, role: str, found: str, **facts: str) -> DataError:
        column = self.columns.get(role, role)
        return DataError(found, where=f"{self.name}, row {row + 2}, column {column}", **facts)

    def number(self, row: int, role: str, default: float = 0.0) -> float:
        """The number of a cell; the default where the column or the value is missing."""
        if role not in self.columns:
            return default
        value = self.rows[row][self.columns[role]]
        if value is None or str(value).strip().casefold() in MISSING:
            return default
        try:
            return float(value)
        except ValueError:
            raise self._error(row, role, f"{value!r}", expected="a number") from None

    def _evid(self, row: int) -> tuple[int, str | None]:
        """Kind of a row, and the compartment where an old three-digit code names it."""
        amount = self.number(row, "amt")
        evid = self.number(row, "evid", 1.0 if amount > 0 else 0.0)
        if 100 < evid < 10_000 and evid == int(evid) and int(evid) % 100 == 1:
            return 1, _key(int(evid) // 100)
        if evid not in _EVIDS:
            raise self._error(row, "evid", f"{evid:g}", expected="0 to 4, or 101, 201, ...")
        return int(evid), None

    def _individual(self, id_: str, rows: list[int]) -> Individual:
        seen = _Rows()
        shift, last = 0.0, -math.inf
        begin = None
        for order, row in enumerate(rows):
            evid, coded = self._evid(row)
            time = self.number(row, "time", math.nan) * self.second
            if not math.isfinite(time):
                raise self._error(row, "time", "no time", expected="a number")
            begin = time if begin is None else begin
            anew = evid in (3, 4)
            if time + shift < last and (anew or self.layout.restart):
                shift, anew = last - time, True
            time += shift
            if time < last:
                raise self._error(
                    row, "time", f"{time / self.second:g} after {last / self.second:g}",
                    expected="times that do not fall within a subject",
                    hint="sort the data; EVID 3 or 4 begins a new time",
                )  # fmt: skip
            last = time
            seen.knots.append((time, order))
            seen.covariates.append(self._covariates(row))
            seen.occasions.append(self._occasion(row))
            if anew:
                seen.resets.append((time, order))
            if evid in (1, 4):
                seen.doses.extend(self._doses(row, time, order, coded))
            elif evid == 0 and self.number(row, "mdv") == 0:
                self._observe(seen, row, time, order)
        self._carry(seen, rows)
        return seen.individual(id_, len(self.layout.covariates))

    def _occasion(self, row: int) -> int:
        if "occasion" not in self.columns:
            return 0
        label = _key(self.rows[row][self.columns["occasion"]])
        return self.labels.setdefault(label, len(self.labels))

    def _covariates(self, row: int) -> list[float]:
        values = []
        for name, column in self.layout.covariates.items():
            text = self.rows[row][self.sources[name]]
            if text is None or str(text).strip().casefold() in MISSING:
                values.append(math.nan)
                continue
            word = str(text).strip()
            if word in column.codes:
                values.append(float(column.codes[word]))
                continue
            try:
                values.append(float(to_si(float(text), unit(column.unit))))
            except ValueError:
                raise self._error(
                    row, self.sources[name], f"{text!r} for {name}",
                    expected=" or ".join(["a number", *column.codes]),
                ) from None  # fmt: skip
        return values

    def _carry(self, seen: _Rows, rows: list[int]) -> None:
        """Fill gaps of covariates from the subject's other rows; none at all is an error."""
        for k, name in enumerate(self.layout.covariates):
            column = [values[k] for values in seen.covariates]
            if all(math.isnan(v) for v in column):
                raise self._error(
                    rows[0], self.sources[name], f"no value of {name} in any row of the subject",
                    expected="one at least", hint="fill it in, or leave the subject out",
                )  # fmt: skip
            gaps = [i for i, v in enumerate(column) if math.isnan(v)]
            if gaps:
                self.flags.append(
                    f"row {rows[gaps[0]] + 2}: {name} missing in {len(gaps)} rows, carried"
                )
            known = next(v for v in column if not math.isnan(v))
            for i, value in enumerate(column):
                known = known if math.isnan(value) else value
                seen.covariates[i][k] = known

    def _doses(self, row: int, time: float, order: int, coded: str | None) -> list[Dose]:
        key = coded or (_key(self.rows[row][self.columns["cmt"]]) if "cmt" in self.columns else ANY)
        route = key if key in self.routes else ANY
        if route not in self.routes:
            raise self._error(
                row, "cmt", f"a dose into {key}", expected=" or ".join(self.routes) or "no doses",
                hint="say where it goes: Layout(doses={...})",
            )  # fmt: skip
        scale = unit(self.routes[route].unit).scale
        amount, rate = self.number(row, "amt") * scale, self.number(row, "rate")
        if amount < 0:
            raise self._error(row, "amt", f"a dose of {amount / scale:g}", expected="above 0")
        if amount == 0:
            raise self._error(row, "amt", "a dose of 0", expected="above 0", hint="EVID 2?")
        if rate < 0 and rate not in (-1, -2):
            raise self._error(row, "rate", f"{rate:g}", expected="0, above 0, -1 or -2")
        wanted = {-1.0: "rate", -2.0: "duration"}.get(rate, "")
        if wanted and not getattr(self.routes[route], wanted):
            raise self._error(
                row, "rate", f"{rate:g}", expected=f"a Route with its {wanted} as a parameter"
            )
        rate = rate if wanted else rate * scale / self.second
        interval = self.number(row, "ii") * self.second
        steady, more = int(self.number(row, "ss")), int(self.number(row, "addl"))
        if steady not in (0, 1, 2):  # some data sets mark "no" by another number
            steady = 0
        if (steady or more > 0) and interval <= 0:
            raise self._error(row, "ii", "no interval", expected="II above 0 with SS or ADDL")
        if interval < 0 or more < 0:
            raise self._error(row, "ii", "a negative interval or count", expected="0 or above")
        first = Dose(time, amount, rate, route, interval, steady, order, row + 2)
        self.used["doses"] += 1 + more
        later = [replace(first, time=time + k * interval, steady=0) for k in range(1, more + 1)]
        return [first, *later]

    def _endpoint(self, row: int) -> int | None:
        if set(self.outputs) == {ANY}:
            return 0
        role = "dvid" if "dvid" in self.columns else "cmt"
        key = _key(self.rows[row][self.columns[role]]) if role in self.columns else ANY
        key = key if key in self.outputs else ANY
        if key not in self.outputs:
            value = self.rows[row].get(self.columns.get(role, ""), "")
            raise self._error(
                row, role, f"an observation of {value!r}", expected=" or ".join(self.outputs),
                hint="None leaves it out: endpoints={...: None}",
            )  # fmt: skip
        pair = self.outputs[key]
        return None if pair is None else self.endpoints.index(pair)

    def _observe(self, seen: _Rows, row: int, time: float, order: int) -> None:
        place = self._endpoint(row)
        if place is None:
            self.used["left out endpoints"] = self.used.get("left out endpoints", 0) + 1
            return
        value = self.number(row, "dv", math.nan)
        below = self.number(row, "blq") == 1
        limit = self.number(row, "limit", self.layout.limit or math.nan)
        if below and math.isnan(limit):
            limit = value
        if not below and math.isnan(value):
            raise self._error(
                row, "dv", "no value", expected="a number, or MDV 1 to leave the row out"
            )
        if below and math.isnan(limit):
            raise self._error(row, "limit", "below a limit that is not given")
        self._flag(seen, row, time, place, value)
        seen.observations.append((time, value, place, below, limit, row + 2, order))
        self.used["observations"] += 1
        self.used["below the limit"] += below

    def _flag(self, seen: _Rows, row: int, time: float, place: int, value: float) -> None:
        if not seen.doses and self.routes and value != 0:
            self.flags.append(f"row {row + 2}: an observation of {value:g} before any dose")
        for other in reversed(seen.observations):
            if other[0] != time or (seen.doses and seen.doses[-1].order > other[6]):
                break
            if (
                other[2] == place
                and other[1] == value
                and dict(self.rows[row]) == dict(self.rows[other[5] - 2])
            ):
                raise self._error(
                    row, "time", f"the same record as row {other[5]}", expected="each record once"
                )
            if other[2] == place:
                self.flags.append(f"row {row + 2}: a second value at the time of row {other[5]}")


class _Rows:
    """What was seen of one subject."""

    def __init__(self) -> None:
        self.doses: list[Dose] = []
        self.observations: list[tuple[Any, ...]] = []
        self.knots: list[tuple[float, int]] = []
        self.covariates: list[list[float]] = []
        self.occasions: list[int] = []
        self.resets: list[tuple[float, int]] = []

    def individual(self, id_: str, n_covariates: int) -> Individual:
        columns = list(zip(*self.observations, strict=True)) or [()] * 7
        real, whole = np.float64, np.int64
        return Individual(
            id=id_,
            doses=tuple(self.doses),
            times=np.array(columns[0], real),
            values=np.array(columns[1], real),
            endpoint=np.array(columns[2], whole),
            censored=np.array(columns[3], bool),
            limits=np.array(columns[4], real),
            rows=np.array(columns[5], whole),
            orders=np.array(columns[6], whole),
            knots=np.array([k[0] for k in self.knots], real),
            knot_orders=np.array([k[1] for k in self.knots], whole),
            covariates=np.array(self.covariates, real).reshape(len(self.knots), n_covariates),
            occasions=np.array(self.occasions, whole),
            resets=tuple(self.resets),
        )

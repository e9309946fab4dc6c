"""Named values over time, with units: what a simulation or a record of a thing gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError, UnknownName
from galenic.units import Unit, convert, duration, from_si, to_si, unit

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from galenic.engine.state import State

Array = npt.NDArray[np.float64]

_TIME_UNITS = (("s", 300.0), ("min", 3 * 3600.0), ("h", 10 * 86400.0), ("d", np.inf))


@dataclass(frozen=True)
class Column:
    """Path, declared unit and meaning of one quantity of a trajectory."""

    path: str
    unit: Unit
    meaning: str = ""
    kind: str = "output"


@dataclass(frozen=True)
class Event:
    """Something that happened at ``time`` [s]: a model event by its name, or the end."""

    time: float
    name: str


@dataclass(frozen=True)
class Violation:
    """The worst excursion of a quantity beyond a declared bound, in its declared unit."""

    path: str
    time: float
    value: float
    bound: float

    def __str__(self) -> str:
        side = "below" if self.value < self.bound else "above"
        return f"{self.path} = {self.value:.6g} {side} {self.bound:.6g} at t = {self.time:.6g} s"


class Series(np.ndarray[Any, np.dtype[np.float64]]):
    """The values of one quantity in its unit: an array that knows its unit and times.

    Arithmetic gives plain arrays, because the unit of a result is not known here.
    """

    unit: Unit | None
    times: Array
    path: str

    def __new__(cls, values: Any, of: Unit, times: Array, path: str) -> Series:
        self = np.asarray(values, dtype=float).view(cls)
        self.unit, self.times, self.path = of, times, path
        return self

    def __array_finalize__(self, source: Any) -> None:
        self.unit = getattr(source, "unit", None)
        self.times = getattr(source, "times", np.zeros(0))
        self.path = getattr(source, "path", "")

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if plain.ndim == 0 else plain

    @property
    def values(self) -> Array:
        """The numbers alone."""
        return np.asarray(self)

    def to(self, other: str | Unit) -> Series:
        """The same values in another unit."""
        if self.unit is None:
            raise DataError(f"the unit of {self.path or 'this array'} is not known")
        return Series(convert(self.values, self.unit, other), unit(other), self.times, self.path)


class Snapshot(Mapping[str, float]):
    """The values of all quantities at one time, each in its declared unit."""

    def __init__(self, time: float, values: dict[str, float]) -> None:
        self.time = time
        self._values = values

    def __getitem__(self, path: Any) -> float:
        if str(path) not in self._values:
            raise UnknownName.among("quantity", str(path), self._values, where="snapshot")
        return self._values[str(path)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Trajectory:
    """Named values over time.

    A value at the time of a jump is the value after it; at the very end jumps are not yet made.

    Parameters
    ----------
    times : array [s]
        Increasing.
    values : array (n_times, n_columns) [SI]
        One column per quantity.
    columns : sequence of Column
        Path, unit and meaning of each.
    events, violations : sequences
        Events in order of time; excursions beyond declared bounds.
    balances : mapping
        Name of a conserved quantity to (amount, inflow integrated) over time, in SI.
    final : State, optional
        From which a run can go on.
    """

    def __init__(
        self,
        times: Any,
        values: Any,
        columns: Sequence[Column],
        *,
        events: Sequence[Event] = (),
        violations: Sequence[Violation] = (),
        balances: Mapping[str, tuple[Array, Array]] | None = None,
        final: State | None = None,
        name: str = "",
    ) -> None:
        self.times = np.asarray(times, dtype=float)
        self._si = np.asarray(values, dtype=float).reshape(len(self.times), len(columns))
        self.columns = tuple(columns)
        self.events = tuple(events)
        self.violations = tuple(violations)
        self.final = final
        self.name = name
        self._balances = dict(balances or {})
        self._place = {column.path: i for i, column in reversed(list(enumerate(self.columns)))}

    @property
    def paths(self) -> tuple[str, ...]:
        """All quantities."""
        return tuple(column.path for column in self.columns)

    def __len__(self) -> int:
        return len(self.times)

    def __contains__(self, path: Any) -> bool:
        return str(path) in self._place

    def __getitem__(self, path: Any) -> Series:
        column = self.columns[self._index(path)]
        values = from_si(self._si[:, self._index(path)], column.unit)
        return Series(values, column.unit, self.times, column.path)

    def si(self, path: Any) -> Array:
        """The values of a quantity in SI."""
        return self._si[:, self._index(path)]

    def at(self, time: Any) -> Snapshot:
        """All values at a time, interpolated linearly between neighbouring output times."""
        t = duration(time)
        if not self.times[0] <= t <= self.times[-1]:
            raise DataError(
                f"the trajectory has no value at {time}",
                expected=f"a time between {self.times[0]:g} s and {self.times[-1]:g} s",
            )
        right = min(int(np.searchsorted(self.times, t)), len(self.times) - 1)
        row = self._si[right]
        if self.times[right] != t:
            left = right - 1
            share = (t - self.times[left]) / (self.times[right] - self.times[left])
            row = (1 - share) * self._si[left] + share * row
        return Snapshot(
            t,
            {c.path: float(from_si(v, c.unit)) for c, v in zip(self.columns, row, strict=True)},
        )

    def window(self, start: Any, stop: Any) -> Trajectory:
        """The part between two times, both included."""
        a, b = duration(start), duration(stop)
        keep = (self.times >= a) & (self.times <= b)
        return Trajectory(
            self.times[keep],
            self._si[keep],
            self.columns,
            events=[event for event in self.events if a <= event.time <= b],
            violations=[v for v in self.violations if a <= v.time <= b],
            balances={
                key: (amount[keep], inflow[keep])
                for key, (amount, inflow) in self._balances.items()
            },
            name=self.name,
        )

    def compare(self, other: Trajectory) -> pd.DataFrame:
        """Largest differences per quantity that both have, at the times of this one.

        Columns: unit, ``absolute`` (in the unit), ``relative`` (to the largest value of the
        other), ``time`` [s] of the largest difference.
        """
        import pandas as pd

        inside = (self.times >= other.times[0]) & (self.times <= other.times[-1])
        times = self.times[inside]
        rows = {}
        for column in self.columns:
            if column.path not in other or not len(times):
                continue
            theirs = np.interp(times, other.times, other.si(column.path))
            gap = np.abs(self.si(column.path)[inside] - theirs)
            worst, scale = int(np.argmax(gap)), float(np.abs(theirs).max())
            rows[column.path] = {
                "unit": column.unit.text,
                "absolute": gap[worst] / column.unit.scale,
                "relative": gap[worst] / scale if scale else float(gap[worst] > 0),
                "time": times[worst],
            }
        return pd.DataFrame.from_dict(
            rows, orient="index", columns=["unit", "absolute", "relative", "time"]
        )

    def drift(self, balance: Any) -> float:
        """Largest departure of a conserved amount from start plus inflow, relative to its scale.

        The scale is the largest amount or the largest inflow so far, whichever is more.
        """
        name = str(getattr(balance, "name", balance))
        if name not in self._balances:
            raise UnknownName.among("conserved quantity", name, self._balances, where=self.name)
        amount, inflow = self._balances[name]
        gained = inflow - inflow[0]
        scale = max(float(np.abs(amount).max()), float(np.abs(gained).max()), 1e-300)
        return float(np.abs(amount - amount[0] - gained).max() / scale)

    @property
    def balances(self) -> tuple[str, ...]:
        """Names of the conserved quantities."""
        return tuple(self._balances)

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The values in declared units as an xarray Dataset with unit and meaning as attributes."""
        import xarray as xr

        data = {
            c.path: ("time", self[c.path].values, {"unit": c.unit.text, "meaning": c.meaning})
            for c in self.columns
        }
        coordinate = {"time": ("time", self.times, {"unit": "s", "meaning": "time"})}
        return xr.Dataset(data, coords=coordinate, attrs={"name": self.name})

    def to_dataframe(self, paths: Sequence[Any] | None = None) -> pd.DataFrame:
        """A pandas table indexed by time [s]; ``attrs['units']`` holds the units."""
        import pandas as pd

        chosen = [str(path) for path in paths] if paths is not None else list(self.paths)
        frame = pd.DataFrame(
            {path: self[path].values for path in chosen}, index=pd.Index(self.times, name="time")
        )
        units = {path: self.columns[self._index(path)].unit.text for path in chosen}
        frame.attrs["units"] = {"time": "s"} | units
        return frame

    def to_dict(self, paths: Sequence[Any] | None = None) -> dict[str, Any]:
        """Plot data in declared units: title, x and y as named lists, and the events."""
        chosen = [str(path) for path in paths] if paths is not None else list(self.paths)
        scale, text = self._time_scale()
        return {
            "title": self.name,
            "x": {"name": "time", "unit": text, "data": (self.times / scale).tolist()},
            "y": [
                {
                    "name": path,
                    "unit": self.columns[self._index(path)].unit.text,
                    "meaning": self.columns[self._index(path)].meaning,
                    "data": [v if np.isfinite(v) else None for v in self[path].tolist()],
                }
                for path in chosen
            ],
            "events": [{"time": e.time / scale, "name": e.name} for e in self.events],
        }

    def plot(self, *paths: Any, columns: int = 2) -> Figure:
        """Small multiples, one per quantity, with units on the axes and events as lines."""
        from matplotlib.figure import Figure

        chosen = [str(path) for path in paths] or [
            c.path for c in self.columns if c.kind in ("state", "output")
        ][:12]
        wide = min(columns, max(len(chosen), 1))
        rows = -(-len(chosen) // wide)
        figure = Figure(figsize=(5.0 * wide, 2.4 * rows), layout="constrained")
        axes = figure.subplots(rows, wide, squeeze=False, sharex=True)
        scale, text = self._time_scale()
        for axis, path in zip(axes.flat, chosen, strict=False):
            column = self.columns[self._index(path)]
            axis.plot(self.times / scale, self[path].values)
            axis.set_title(column.meaning or path, fontsize=9)
            axis.set_ylabel(f"{path} [{column.unit.text}]", fontsize=8)
            for event in self.events:
                axis.axvline(event.time / scale, color="0.8", linewidth=0.8)
        for axis in axes.flat[len(chosen) :]:
            axis.set_visible(False)
        for axis in axes[-1]:
            axis.set_xlabel(f"time [{text}]", fontsize=8)
        return figure

    @classmethod
    def from_table(
        cls, times: Any, data: Mapping[str, tuple[Any, str]], name: str = ""
    ) -> Trajectory:
        """A trajectory of given values: ``{path: (values, unit)}`` at times [s]."""
        columns = [Column(path, unit(text)) for path, (_, text) in data.items()]
        values = [to_si(np.asarray(v, dtype=float), unit(text)) for v, text in data.values()]
        return cls(times, np.column_stack(values), columns, name=name)

    def __repr__(self) -> str:
        span = f"{self.times[0]:g} to {self.times[-1]:g} s" if len(self) else "empty"
        return (
            f"Trajectory({self.name or 'unnamed'}: {len(self)} times, {span}, "
            f"{len(self.columns)} quantities, {len(self.events)} events)"
        )

    def _index(self, path: Any) -> int:
        if str(path) not in self._place:
            raise UnknownName.among("quantity", str(path), self._place, where=self.name)
        return self._place[str(path)]

    def _time_scale(self) -> tuple[float, str]:
        return time_scale(float(self.times[-1]) if len(self) else 0.0)


def time_scale(span: float) -> tuple[float, str]:
    """The unit of time in which a span [s] reads well: seconds per unit, and its name."""
    text = next(text for text, limit in _TIME_UNITS if span <= limit)
    return unit(text).scale, text

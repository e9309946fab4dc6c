"""What many individuals amount to, gathered block by block without keeping them.

A summary makes a part of each block where the block was solved; parts are joined in the order of
the blocks, so the numbers do not depend on which worker was first. Individuals that failed do not
count, nor does what comes after the end of a run that ended early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from galenic.engine.trajectory import Column
from galenic.errors import DataError, UnknownName
from galenic.units import from_si, value_in

if TYPE_CHECKING:
    import xarray as xr

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Frame:
    """The axes of a run: times [s], outputs with their units and nominal sizes, individuals."""

    times: tuple[float, ...]
    columns: tuple[Column, ...]
    nominal: tuple[float, ...]
    individuals: int

    def place(self, path: Any) -> int:
        """The position of an output."""
        paths = [column.path for column in self.columns]
        if str(path) not in paths:
            raise UnknownName.among("output of this run", str(path), paths)
        return paths.index(str(path))

    def number(self, value: Any, path: Any) -> float:
        """A limit or an edge in the declared unit of an output."""
        column = self.columns[self.place(path)]
        si = value_in(value, column.unit, where=f"limit for {path}")
        return float(from_si(si, column.unit))

    @property
    def coordinates(self) -> dict[str, Any]:
        """Coordinates of labelled arrays: time [s], output, and the unit of each output."""
        return {
            "time": ("time", np.array(self.times), {"unit": "s"}),
            "output": [column.path for column in self.columns],
            "unit": ("output", [column.unit.text for column in self.columns]),
        }


class Summary(Protocol):
    """Makes a part of a block of values (m, n_times, n_outputs), and joins parts."""

    @property
    def name(self) -> str: ...

    def check(self, frame: Frame) -> None:
        """Names and units, before anything is run."""

    def part(self, values: Array, frame: Frame) -> Any:
        """What a block amounts to; rows that failed are left out already."""

    def join(self, first: Any, second: Any) -> Any:
        """Both parts as one; may use up ``first``."""

    def dataset(self, part: Any, frame: Frame) -> xr.Dataset:
        """The labelled result in declared units."""


@dataclass(frozen=True)
class Moments:
    """Count, mean, standard deviation (n - 1), minimum and maximum at each time.

    Parts are joined by the update of Chan, Golub and LeVeque (1983, doi 10.2307/2683386), which
    does not cancel where the spread is small against the mean.
    """

    name: str = "moments"

    def check(self, frame: Frame) -> None:
        """There is nothing to check."""

    def part(self, values: Array, frame: Frame) -> tuple[Counts, Array, Array, Array, Array]:
        """Count, mean, sum of squared departures, minimum and maximum of a block."""
        known = np.isfinite(values)
        if known.all():
            count = np.full(values.shape[1:], len(values))
            zeros = low = high = values
        else:
            count = known.sum(axis=0)
            zeros, low, high = (np.where(known, values, gap) for gap in (0.0, np.inf, -np.inf))
        mean = zeros.sum(axis=0) / np.maximum(count, 1)
        away = values - mean
        if zeros is not values:
            away[~known] = 0.0
        # The second term mends the rounding of the mean (two-pass algorithm, same authors).
        spread = np.square(away).sum(axis=0) - away.sum(axis=0) ** 2 / np.maximum(count, 1)
        low, high = low.min(axis=0, initial=np.inf), high.max(axis=0, initial=-np.inf)
        return count, mean, np.maximum(spread, 0.0), low, high

    def join(self, first: Any, second: Any) -> Any:
        """Both parts as one."""
        n, mean, spread, low, high = first
        m, other, its_spread, its_low, its_high = second
        total = np.maximum(n + m, 1)
        gap = np.where(m > 0, other - mean, 0.0)
        return (
            n + m,
            np.where(n > 0, mean + gap * (m / total), other),
            spread + its_spread + np.where(n > 0, gap**2 * (n * (m / total)), 0.0),
            np.minimum(low, its_low),
            np.maximum(high, its_high),
        )

    def dataset(self, part: Any, frame: Frame) -> xr.Dataset:
        """The variables count, mean, sd, minimum, maximum over (time, output)."""
        import xarray as xr

        count, mean, spread, low, high = part
        some, several = count > 0, count > 1
        axes = ("time", "output")
        data = {
            "count": (axes, count),
            "mean": (axes, np.where(some, mean, np.nan)),
            "sd": (axes, np.where(several, np.sqrt(spread / np.maximum(count - 1, 1)), np.nan)),
            "minimum": (axes, np.where(some, low, np.nan)),
            "maximum": (axes, np.where(some, high, np.nan)),
        }
        return xr.Dataset(data, coords=frame.coordinates)


@dataclass(frozen=True)
class Histogram:
    """How many individuals lie in each bin of one output, at each time.

    Parameters
    ----------
    path : str
        The output.
    edges : sequence
        Increasing edges: numbers in the declared unit or texts with one. The last bin includes its
        upper edge; what lies outside is counted as below and above.
    """

    path: str
    edges: Sequence[Any]

    @property
    def name(self) -> str:
        """Under which the result is found."""
        return f"histogram of {self.path}"

    def check(self, frame: Frame) -> None:
        """The edges increase."""
        edges = self._edges(frame)
        if len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise DataError(
                f"the edges of the histogram of {self.path} are {list(self.edges)}",
                expected="at least two, increasing",
            )

    def _edges(self, frame: Frame) -> Array:
        return np.array([frame.number(edge, self.path) for edge in self.edges])

    def part(self, values: Array, frame: Frame) -> Counts:
        """Counts (n_times, below + bins + above)."""
        edges = self._edges(frame)
        column = values[:, :, frame.place(self.path)]
        slot = np.searchsorted(edges, column, side="right")
        slot[column == edges[-1]] = len(edges) - 1
        width = len(edges) + 1
        flat = slot + width * np.arange(column.shape[1])
        counted = np.bincount(flat[np.isfinite(column)], minlength=width * column.shape[1])
        return counted.reshape(column.shape[1], width)

    def join(self, first: Any, second: Any) -> Any:
        """Both counts as one."""
        return first + second

    def dataset(self, part: Any, frame: Frame) -> xr.Dataset:
        """The counts by (time, bin), below and above (time), and the edges of the bins."""
        import xarray as xr

        edges = self._edges(frame)
        text = frame.columns[frame.place(self.path)].unit.text
        data = {
            "count": (("time", "bin"), part[:, 1:-1]),
            "below": ("time", part[:, 0]),
            "above": ("time", part[:, -1]),
        }
        coordinates = {
            "time": frame.coordinates["time"],
            "lower": ("bin", edges[:-1], {"unit": text}),
            "upper": ("bin", edges[1:], {"unit": text}),
        }
        return xr.Dataset(data, coords=coordinates, attrs={"output": self.path, "unit": text})


@dataclass(frozen=True)
class Attainment:
    """The share of individuals for whom one output is above, below or between limits.

    Parameters
    ----------
    path : str
        The output.
    above, below : number or str, optional
        Limits in the declared unit or with one; with both, strictly between them.
    """

    path: str
    above: Any = None
    below: Any = None

    @property
    def name(self) -> str:
        """Under which the result is found."""
        words = [f"above {self.above}"] if self.above is not None else []
        words += [f"below {self.below}"] if self.below is not None else []
        return f"{self.path} {' and '.join(words)}"

    def check(self, frame: Frame) -> None:
        """There is a limit, and it is one of this output."""
        if self.above is None and self.below is None:
            raise DataError(
                f"the attainment of {self.path} has no limit",
                expected="above=, below= or both",
            )
        self._limits(frame)

    def _limits(self, frame: Frame) -> tuple[float, float]:
        low = -np.inf if self.above is None else frame.number(self.above, self.path)
        high = np.inf if self.below is None else frame.number(self.below, self.path)
        return low, high

    def part(self, values: Array, frame: Frame) -> tuple[Counts, Counts, Counts]:
        """Known and inside per time; individuals: all, ever inside, always inside."""
        low, high = self._limits(frame)
        column = values[:, :, frame.place(self.path)]
        known = np.isfinite(column)
        inside = known & (column > low) & (column < high)
        some = known.any(axis=1)
        ever = inside.any(axis=1)
        always = some & (inside | ~known).all(axis=1)
        whole = np.array([some.sum(), ever.sum(), always.sum()])
        return known.sum(axis=0), inside.sum(axis=0), whole

    def join(self, first: Any, second: Any) -> Any:
        """Both counts as one."""
        return tuple(a + b for a, b in zip(first, second, strict=True))

    def dataset(self, part: Any, frame: Frame) -> xr.Dataset:
        """The share at each time, and the shares ever and always inside at the output times."""
        import xarray as xr

        known, inside, (some, ever, always) = part
        with np.errstate(invalid="ignore", divide="ignore"):
            data = {
                "share": ("time", inside / known),
                "ever": ((), np.float64(ever) / some),
                "always": ((), np.float64(always) / some),
            }
        low, high = self._limits(frame)
        facts = {"output": self.path, "above": low, "below": high}
        facts["unit"] = frame.columns[frame.place(self.path)].unit.text
        return xr.Dataset(data, coords={"time": frame.coordinates["time"]}, attrs=facts)

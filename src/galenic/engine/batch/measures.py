"""One number per individual: a peak, an area, a value at a time.

Measures are taken where the individual was solved, so a million curves need not be sent or kept.
They see the output times only: peaks and areas are as fine as the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.summaries import Frame
from galenic.errors import DataError
from galenic.units import Unit, duration, unit

if TYPE_CHECKING:
    import xarray as xr

Array = npt.NDArray[np.float64]
Rule = Callable[[Array, Array], Array]

_TIME = unit("h")


@dataclass(frozen=True)
class Measure:
    """A number per individual from the course of one output; made by the class methods.

    Parameters
    ----------
    path : str
        The output.
    what : str
        What is measured, in words.
    rule : callable
        ``(times [s], values (m, n_times) in the declared unit) -> (m,)``; must be known by name to
        other processes where the run is spread over several.
    of : str, optional
        The unit of the number; that of the output if left out.
    """

    path: str
    what: str
    rule: Rule
    of: str | None = None
    each = True

    @property
    def name(self) -> str:
        """Under which the result is found: ``peak of C``."""
        return f"{self.what} of {self.path}"

    @classmethod
    def peak(cls, path: Any) -> Measure:
        """The largest value."""
        return cls(str(path), "peak", _peak)

    @classmethod
    def trough(cls, path: Any) -> Measure:
        """The smallest value."""
        return cls(str(path), "trough", _trough)

    @classmethod
    def at(cls, path: Any, time: Any) -> Measure:
        """The value at one of the output times."""
        return cls(str(path), f"value at {time}", _At(duration(time)))

    @classmethod
    def area(cls, path: Any) -> Measure:
        """The area under the curve by the trapezoidal rule, in the unit of the output times h."""
        return cls(str(path), "area", _area, "area")

    @classmethod
    def share_above(cls, path: Any, limit: Any) -> Measure:
        """The share of the time above a limit; straight lines between output times."""
        return cls(str(path), f"share of time above {limit}", _Above(limit), "1")

    def check(self, frame: Frame) -> None:
        """Whether output, time and limit are those of the run."""
        frame.place(self.path)
        if isinstance(self.rule, _At) and self.rule.time not in frame.times:
            nearest = min(frame.times, key=lambda time: abs(time - self.rule.time))  # type: ignore[attr-defined]
            raise DataError(
                f"{self.rule.time:g} s is no output time",
                where=f"measure {self.name!r}",
                hint=f"the nearest is {nearest:g} s",
            )
        if isinstance(self.rule, _Above):
            frame.number(self.rule.limit, self.path)

    def unit(self, frame: Frame) -> Unit:
        """The unit of the number."""
        own = frame.columns[frame.place(self.path)].unit
        if self.of == "area":
            return own.difference * _TIME
        return own if self.of is None else unit(self.of)

    def part(self, values: Array, frame: Frame) -> list[Array]:
        """The numbers of a block."""
        place = frame.place(self.path)
        rule = self.rule
        if isinstance(rule, _Above):
            rule = rule.in_unit(frame.number(rule.limit, self.path))
        found = np.asarray(rule(np.array(frame.times), values[:, :, place]), dtype=np.float64)
        if found.shape != values.shape[:1]:
            raise DataError(
                f"the measure {self.name!r} gave shape {found.shape}",
                expected=f"one number for each of {len(values)} individuals",
            )
        return [found]

    def join(self, first: Any, second: Any) -> Any:
        """Both parts as one."""
        first.extend(second)
        return first

    def dataset(self, part: Any, frame: Frame) -> xr.Dataset:
        """The number of each individual; NaN for those that failed."""
        import xarray as xr

        facts = {"unit": self.unit(frame).text, "output": self.path, "meaning": self.name}
        return xr.Dataset({"value": ("individual", np.concatenate(part), facts)})


def _peak(times: Array, values: Array) -> Array:
    return np.asarray(np.fmax.reduce(values, axis=1))


def _trough(times: Array, values: Array) -> Array:
    return np.asarray(np.fmin.reduce(values, axis=1))


def _area(times: Array, values: Array) -> Array:
    return np.asarray(np.trapezoid(values, times / _TIME.scale, axis=1))


@dataclass(frozen=True)
class _At:
    """The value at an output time."""

    time: float

    def __call__(self, times: Array, values: Array) -> Array:
        return values[:, int(np.flatnonzero(times == self.time)[0])]


@dataclass(frozen=True)
class _Above:
    """The share of the time above a limit, in the unit of the values once it is known."""

    limit: Any

    def in_unit(self, limit: float) -> _Above:
        return _Above(limit)

    def __call__(self, times: Array, values: Array) -> Array:
        level = values - self.limit
        before, after = level[:, :-1], level[:, 1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = np.abs(before) / (np.abs(before) + np.abs(after))
        share = np.where(before > 0, 1.0, 0.0)
        share = np.where((before > 0) & (after <= 0), crossing, share)
        share = np.where((before <= 0) & (after > 0), 1.0 - crossing, share)
        share = np.where(np.isfinite(level[:, :-1] + level[:, 1:]), share, np.nan)
        return np.asarray(share @ np.diff(times) / (times[-1] - times[0]))

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
    def peak(cls, path: Any, since: Any = None, until: Any = None) -> Measure:
        """The largest value, of all times or between two output times."""
        return cls(str(path), _said("peak", since, until), _window(_peak, since, until))

    @classmethod
    def trough(cls, path: Any, since: Any = None, until: Any = None) -> Measure:
        """The smallest value, of all times or between two output times."""
        return cls(str(path), _said("trough", since, until), _window(_trough, since, until))

    @classmethod
    def at(cls, path: Any, time: Any) -> Measure:
        """The value at one of the output times."""
        return cls(str(path), f"value at {time}", _At(duration(time)))

    @classmethod
    def area(cls, path: Any, since: Any = None, until: Any = None) -> Measure:
        """The area under the curve by the trapezoidal rule, in the unit of the output times h."""
        rule = _window(_area, since, until)
        return cls(str(path), _said("area", since, until), rule, "area")

    @classmethod
    def share_above(cls, path: Any, limit: Any) -> Measure:
        """The share of the time above a limit; straight lines between output times."""
        return cls(str(path), f"share of time above {limit}", _Above(limit), "1")

    def check(self, frame: Frame) -> None:
        """Whether output, time and limit are those of the run."""
        frame.place(self.path)
        for wanted in getattr(self.rule, "times", ()):
            if wanted not in frame.times:
                nearest = min(frame.times, key=lambda time: abs(time - wanted))
                raise DataError(
                    f"{wanted:g} s is no output time",
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


def _said(what: str, since: Any, until: Any) -> str:
    """The name of a measure between two times."""
    words = [what, *([f"from {since}"] if since is not None else [])]
    return " ".join([*words, *([f"to {until}"] if until is not None else [])])


def _window(rule: Rule, since: Any, until: Any) -> Rule:
    if since is None and until is None:
        return rule
    edges = [None if edge is None else duration(edge) for edge in (since, until)]
    return _Between(rule, *edges)


@dataclass(frozen=True)
class _Between:
    """A rule that sees the output times between two of them, both included."""

    rule: Rule
    since: float | None
    until: float | None

    @property
    def times(self) -> tuple[float, ...]:
        """The output times that must be there."""
        return tuple(edge for edge in (self.since, self.until) if edge is not None)

    def __call__(self, times: Array, values: Array) -> Array:
        low = -np.inf if self.since is None else self.since
        high = np.inf if self.until is None else self.until
        inside = (times >= low) & (times <= high)
        return self.rule(times[inside], values[:, inside])


@dataclass(frozen=True)
class _At:
    """The value at an output time."""

    time: float

    @property
    def times(self) -> tuple[float, ...]:
        """The output time that must be there."""
        return (self.time,)

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

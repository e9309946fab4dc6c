"""Noncompartmental analysis: exposure, terminal slope, clearance and volume without a model.

Areas are linear while levels rise and logarithmic while they fall. Sources: Gabrielsson and Weiner,
Pharmacokinetic and Pharmacodynamic Data Analysis, 5th edition, 2016, chapter 2.8; Purves,
J Pharmacokinet Biopharm 20:211-226, 1992, doi:10.1007/BF01062525 (the logarithmic rule and its
moment); choice of the terminal slope by the adjusted R^2 as is usual in the field (from memory).

All quantities are in the units that the caller uses throughout: with h, mg/L and mg areas are
mg h/L, clearances L/h and volumes L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import linregress, t

from galenic.errors import DataError

Array = npt.NDArray[np.float64]
Route = Literal["bolus", "infusion", "extravascular"]
Below = Literal["standard", "zero", "missing"]

AS_GOOD = 1e-4
"""Loss of adjusted R^2 at which more points are still preferred."""


@dataclass(frozen=True)
class Profile:
    """Levels that enter the analysis.

    Parameters
    ----------
    time, level : array
        Ascending times; levels, zero only where the rule for values below the limit put it there.
    last : int
        Row of the last level that was quantified.
    """

    time: Array
    level: Array
    last: int


@dataclass(frozen=True)
class Terminal:
    """The terminal slope: log level = intercept - rate time, over the last ``count`` points.

    ``lower`` and ``upper`` bound ``rate`` with 95 % by the t distribution of the regression.
    """

    rate: float
    intercept: float
    lower: float
    upper: float
    fit: float
    count: int
    first: float
    end: float

    @property
    def half_life(self) -> float:
        """Time in which the level halves."""
        return float(np.log(2.0)) / self.rate

    @property
    def span(self) -> float:
        """Time that the points cover, in half-lives."""
        return (self.end - self.first) / self.half_life

    def level(self, time: float) -> float:
        """The line's level at a time."""
        return float(np.exp(self.intercept - self.rate * time))


def profile(
    time: npt.ArrayLike, level: npt.ArrayLike, limit: float = 0.0, below: Below = "standard"
) -> Profile:
    """Put levels in order and apply the rule for those below the limit of quantification.

    Parameters
    ----------
    time, level : array
        After one dose at time 0; before a dose at steady state the time is 0 too.
    limit : float
        Lower limit of quantification; levels below it, and zeros, are below.
    below : {"standard", "zero", "missing"}
        ``standard``: 0 before the first quantified level, left out after it; ``zero``: always 0;
        ``missing``: always left out.

    Raises
    ------
    DataError
        For values that are not finite or negative, times that repeat, and when nothing is
        quantified.
    """
    times, levels = np.asarray(time, float), np.asarray(level, float)
    if times.shape != levels.shape or times.ndim != 1:
        raise DataError(f"{times.size} times, {levels.size} levels", where="noncompartmental")
    for name, values in (("time", times), ("level", levels)):
        wrong = np.flatnonzero(~np.isfinite(values) | (values < 0))
        if wrong.size:
            raise DataError(
                f"{name} {values[wrong[0]]:g}", where=f"levels, row {wrong[0] + 1}",
                expected="a finite number, not negative",
                hint="times count from the dose",
            )  # fmt: skip
    order = np.argsort(times, kind="stable")
    times, levels = times[order], levels[order]
    again = np.flatnonzero(np.diff(times) == 0)
    if again.size:
        raise DataError(
            f"two levels at time {times[again[0]]:g}", where="levels", expected="one level a time"
        )
    seen = (levels >= limit) & (levels > 0)
    if not seen.any():
        raise DataError("no level is above the limit", where="levels", expected="three or more")
    early = np.arange(levels.size) < int(np.argmax(seen))
    as_zero = ~seen & (early if below == "standard" else below == "zero")
    kept = seen | as_zero
    values = np.where(seen, levels, 0.0)[kept]
    return Profile(times[kept], values, int(np.flatnonzero(seen[kept])[-1]))


def with_start(levels: Profile, route: Route, steady: bool = False) -> Profile:
    """The profile with the level at time 0 that the route implies, where none was measured.

    After a bolus the line through the logarithms of the first two levels if they fall, else the
    first level; otherwise 0, and at steady state the last level (one interval later is the same).
    """
    if levels.time[0] == 0.0:
        return levels
    if route == "bolus":
        start = _back(levels)
    else:
        start = float(levels.level[levels.last]) if steady else 0.0
    return Profile(np.append(0.0, levels.time), np.append(start, levels.level), levels.last + 1)


def _back(levels: Profile) -> float:
    first = levels.level[:2]
    if first.size < 2 or first[0] <= first[1] or first[1] <= 0.0:
        return float(first[0])
    slope = np.log(first[0] / first[1]) / (levels.time[1] - levels.time[0])
    return float(first[0] * np.exp(slope * levels.time[0]))


def areas(time: Array, level: Array) -> tuple[float, float]:
    """Area under the curve and under its first moment, linear up and logarithmic down.

    Examples
    --------
    >>> time = np.array([0.0, 1.0, 4.0])
    >>> area, moment = areas(time, np.exp(-time))
    >>> round(area, 12) == round(1 - float(np.exp(-4)), 12)
    True
    """
    a, b, x, y = level[:-1], level[1:], time[:-1], time[1:]
    width = y - x
    area = 0.5 * width * (a + b)
    # The exact moment of a straight line; the trapezoid of t c would not be that of the same curve.
    moment = width * (x * (2 * a + b) + y * (a + 2 * b)) / 6.0
    falls = (b < a) & (b > 0)
    rate = np.log(a[falls] / b[falls]) / width[falls]
    area[falls] = (a[falls] - b[falls]) / rate
    ends = a[falls] * x[falls] - b[falls] * y[falls]
    moment[falls] = ends / rate + (a[falls] - b[falls]) / rate**2
    return float(area.sum()), float(moment.sum())


def terminal(levels: Profile, route: Route, points: int | None = None) -> Terminal | None:
    """The terminal slope by regression of log levels on time.

    Parameters
    ----------
    points : int, optional
        How many of the last quantified levels are used. If left out, the number from three up
        that has the largest adjusted R^2, more points where it is as good within 1e-4; the peak
        itself counts only after a bolus.

    Returns
    -------
    Terminal or None
        None where no choice of points falls.
    """
    seen = np.flatnonzero(levels.level[: levels.last + 1] > 0)
    if points is not None:
        if not 3 <= points <= seen.size:
            raise DataError(
                f"{points} points", where="argument points",
                expected=f"3 to {seen.size}, the quantified levels",
            )  # fmt: skip
        return _line(levels, seen[-points:])
    peak = int(np.argmax(levels.level))
    usable = seen[seen >= peak] if route == "bolus" else seen[seen > peak]
    best: Terminal | None = None
    for count in range(3, usable.size + 1):
        found = _line(levels, usable[-count:])
        if found is not None and (best is None or found.fit > best.fit - AS_GOOD):
            best = found
    return best


def _line(levels: Profile, rows: npt.NDArray[np.intp]) -> Terminal | None:
    time, count = levels.time[rows], rows.size
    found = linregress(time, np.log(levels.level[rows]))
    rate = -float(found.slope)
    if not rate > 0:
        return None
    fit = 1.0 - (1.0 - float(found.rvalue) ** 2) * (count - 1) / (count - 2)
    reach = float(t.ppf(0.975, count - 2)) * float(found.stderr)
    return Terminal(
        rate, float(found.intercept), rate - reach, rate + reach, fit, count,
        float(time[0]), float(time[-1]),
    )  # fmt: skip


def within(levels: Profile, tail: Terminal | None, interval: float) -> tuple[float, float]:
    """Area and moment over one dosing interval; the end is interpolated, or read off the line.

    Raises
    ------
    DataError
        When levels end before the interval and there is no terminal slope.
    """
    last = levels.last + 1
    time, level = levels.time[:last], levels.level[:last]
    if interval > time[-1]:
        if tail is None:
            raise DataError(
                f"levels end at {time[-1]:g}, the interval at {interval:g}", where="levels",
                expected="a level at the end of the interval, or a terminal slope",
            )  # fmt: skip
        end = float(level[-1] * np.exp(-tail.rate * (interval - time[-1])))
        return areas(np.append(time, interval), np.append(level, end))
    k = int(np.searchsorted(time, interval))
    inside = time[: k + 1].copy(), level[: k + 1].copy()
    if time[k] > interval:
        share = (interval - time[k - 1]) / (time[k] - time[k - 1])
        a, b = level[k - 1], level[k]
        falls = 0 < b < a
        inside[1][k] = a * (b / a) ** share if falls else a + share * (b - a)
        inside[0][k] = interval
    return areas(*inside)

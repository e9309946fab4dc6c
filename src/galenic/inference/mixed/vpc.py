"""Visual predictive checks: percentiles of the data among those of simulated data.

With prediction correction every value is divided by the typical prediction and multiplied by the
median one of its bin (Bergstrand et al., AAPS J 13:143-151, 2011, doi:10.1208/s12248-011-9255-z).
Values below a limit count as lowest; a percentile among them is not shown, and their share is
compared beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galenic.errors import UnknownName
from galenic.inference.algebra import Array
from galenic.inference.mixed.simulate import replicates

if TYPE_CHECKING:
    from galenic.inference.mixed.fit import Fit

LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False)
class Check:
    """One panel; arrays by bin, in units of DV.

    Parameters
    ----------
    time : array (bins,) [s]
        Median time of the bin's observations.
    observed : array (levels, bins)
        Percentiles of the data.
    low, middle, high : array (levels, bins)
        Interval and median of the percentiles of simulated data.
    below, below_low, below_high : array (bins,)
        Share below the limit: observed, and its simulated interval.
    points : pair of arrays
        Time [s] and value of each observation (corrected, if asked for).
    """

    title: str
    levels: tuple[float, ...]
    time: Array
    observed: Array
    low: Array
    middle: Array
    high: Array
    below: Array
    below_low: Array
    below_high: Array
    points: tuple[Array, Array]

    @property
    def outside(self) -> float:
        """Share of observed percentiles that lie outside of their interval."""
        known = np.isfinite(self.observed) & np.isfinite(self.low)
        wrong = (self.observed < self.low) | (self.observed > self.high)
        return float(wrong[known].mean()) if known.any() else float("nan")


def check(
    fit: Fit,
    endpoint: int = 0,
    corrected: bool = False,
    bins: int | Sequence[float] = 8,
    simulations: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
    levels: tuple[float, ...] = LEVELS,
    stratify: str = "",
    since_dose: bool = False,
) -> list[Check]:
    """Compare the data with simulations from a fit.

    Parameters
    ----------
    endpoint : int
        Which of the data set's endpoints.
    corrected : bool
        Whether values are corrected by predictions.
    bins : int or sequence [s]
        How many bins of equal count, or their borders; where there are at most twice as many
        different times each is a bin of its own.
    confidence : float
        Of the intervals around simulated percentiles.
    stratify : str
        A covariate; one panel for each of its values, or below and above its median where it has
        more than four.
    since_dose : bool
        Whether time counts from the last dose.
    """
    problem, course = fit.problem, fit.problem.course
    made = replicates(problem, fit.vector, simulations, seed).y
    none = np.zeros((len(course), problem.joined.n_effects))
    pred = course.predict(fit.point.fixed, none, slopes=False).f
    times = _since(fit) if since_dose else course.times
    whole = course.mask & (course.endpoint == endpoint)
    name = problem.records.endpoints[endpoint][0]
    found = []
    for label, rows in _strata(fit, stratify).items():
        mine = whole & rows[:, None]
        if mine.any():
            title = f"{name}, {label}" if label else name
            found.append(
                _panel(
                    title, times[mine], course.y[mine], course.limits[mine], course.censored[mine],
                    pred[mine] if corrected else None, made[:, mine], bins, confidence, levels,
                )
            )  # fmt: skip
    return found


def _strata(fit: Fit, name: str) -> Mapping[str, npt.NDArray[np.bool_]]:
    people = fit.problem.course.people
    if not name:
        return {"": np.ones(len(people), bool)}
    known = fit.problem.records.covariates
    if name not in known:
        raise UnknownName.among("covariate", name, known, where="stratify")
    column = np.array([one.covariates[0, known.index(name)] for one in people])
    values = np.unique(column)
    if len(values) <= 4:
        return {f"{name} {value:g}": column == value for value in values}
    middle = float(np.median(column))
    return {f"{name} below its median": column <= middle, f"{name} above": column > middle}


def _since(fit: Fit) -> Array:
    """Time after the last dose."""
    course = fit.problem.course
    found = course.times.copy()
    for i, one in enumerate(course.people):
        doses = np.array([d.time for d in one.doses] or [one.knots[0]])
        last = np.searchsorted(doses, one.times, side="right") - 1
        found[i, : len(one.times)] = one.times - doses[np.maximum(last, 0)]
    return found


def _borders(times: Array, bins: int | Sequence[float]) -> Array:
    if not isinstance(bins, int):
        return np.asarray(bins, float)
    nominal = np.unique(times)
    if len(nominal) <= 2 * bins:
        return np.append(nominal, nominal[-1] + 1.0)
    edges = np.unique(np.quantile(times, np.linspace(0, 1, bins + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0], edges[0] + 1.0])
    edges[-1] += 1.0
    return edges


def _panel(
    title: str,
    times: Array,
    y: Array,
    limits: Array,
    censored: npt.NDArray[np.bool_],
    pred: Array | None,
    made: Array,
    bins: int | Sequence[float],
    confidence: float,
    levels: tuple[float, ...],
) -> Check:
    edges = _borders(times, bins)
    place = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(edges) - 2)
    used = np.unique(place)
    low_sim = np.where(np.isnan(limits), -np.inf, limits)
    hidden = made < low_sim
    size = (len(levels), len(used))
    observed, low, middle, high = (np.full(size, np.nan) for _ in range(4))
    shares = np.full((3, len(used)), np.nan)
    centre, values = np.zeros(len(used)), y.copy()
    tail = (1 - confidence) / 2
    for b, one in enumerate(used):
        mine = place == one
        centre[b] = np.median(times[mine])
        factor = np.ones(mine.sum())
        if pred is not None:
            factor = np.median(pred[mine]) / np.where(pred[mine] == 0, np.nan, pred[mine])
            factor = np.where(np.isfinite(factor), factor, 1.0)
        values[mine] = y[mine] * factor
        observed[:, b] = _percentiles(values[mine], censored[mine], levels)
        every = np.array(
            [
                _percentiles(m * factor, h, levels)
                for m, h in zip(made[:, mine], hidden[:, mine], strict=True)
            ]
        )
        enough = np.isfinite(every).mean(axis=0) > 0.5
        for target, share in ((low, tail), (middle, 0.5), (high, 1 - tail)):
            target[enough, b] = np.nanquantile(every[:, enough], share, axis=0)
        shares[0, b] = censored[mine].mean()
        shares[1:, b] = np.quantile(hidden[:, mine].mean(axis=1), (tail, 1 - tail))
    return Check(
        title, levels, centre, observed, low, middle, high, shares[0], shares[1], shares[2],
        (times[~censored], values[~censored]),
    )  # fmt: skip


def _percentiles(values: Array, hidden: npt.NDArray[np.bool_], levels: tuple[float, ...]) -> Array:
    """Percentiles with hidden values lowest; nan where one falls among them."""
    if not hidden.any():
        return np.asarray(np.quantile(values, levels))
    shown = np.where(hidden, -np.inf, values)
    found = np.quantile(shown, levels, method="lower")
    return np.where(np.isfinite(found), found, np.nan)

"""How well individuals are forecast: from the first k observations the next one, for every k.

Each forecast has an interval, so its calibration can be counted; beside it stands what the
population alone says. Metrics as usual for model-informed dosing: Sheiner and Beal, J
Pharmacokinet Biopharm 9:503-512, 1981, doi:10.1007/BF01060893, in the relative form of later work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.inference.mixed.errors import Errors, Terms
from galenic.inference.mixed.fit import Fit, evaluate, fit
from galenic.inference.mixed.modes import find
from galenic.inference.mixed.packing import Point
from galenic.inference.mixed.problem import Problem

DRAWS = 400


@dataclass(frozen=True, eq=False)
class Forecasts:
    """One row per forecast observation; values in the units of DV.

    Parameters
    ----------
    id : tuple of str
    time : array [s]
        From the subject's first row.
    known : array of int
        How many observations of the subject were used, at least one.
    endpoint : array of int
    observed, predicted, lower, upper : array
        The observation, the median of its forecast, and the interval of probability ``level``.
    population, population_lower, population_upper : array
        The same without any observation of the subject.
    level : float
    """

    id: tuple[str, ...]
    time: Array
    known: npt.NDArray[np.int64]
    endpoint: npt.NDArray[np.int64]
    observed: Array
    predicted: Array
    lower: Array
    upper: Array
    population: Array
    population_lower: Array
    population_upper: Array
    level: float = 0.9

    def __len__(self) -> int:
        return len(self.id)

    def where(self, rows: Any) -> Forecasts:
        """Some of the rows: a mask or their numbers."""
        places = np.arange(len(self))[rows]
        arrays: dict[str, Any] = {
            name: value[places]
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray)
        }
        return replace(self, id=tuple(self.id[i] for i in places), **arrays)

    @property
    def individual(self) -> Quality:
        """Quality of the forecasts that used the subject's observations."""
        return quality(self.observed, self.predicted, self.lower, self.upper)

    @property
    def without(self) -> Quality:
        """Quality of the population's forecast of the same observations."""
        return quality(self.observed, self.population, self.population_lower, self.population_upper)


@dataclass(frozen=True)
class Quality:
    """How good forecasts were.

    Parameters
    ----------
    n : int
    bias, rmse : float [%]
        Mean, and root of the mean square, of 2 (predicted - observed) / (predicted + observed).
    within_20, within_30 : float [%]
        Share of forecasts within 20 and 30 % of the observation.
    coverage, coverage_error : float [%]
        Share of observations inside their interval, and its standard error.
    """

    n: int
    bias: float
    rmse: float
    within_20: float
    within_30: float
    coverage: float
    coverage_error: float


def quality(observed: Array, predicted: Array, lower: Array, upper: Array) -> Quality:
    """The quality of forecasts; observations that are not positive are left out."""
    use = (observed > 0) & (predicted > 0)
    y, f = observed[use], predicted[use]
    if not len(y):
        raise DataError("no forecast of a positive observation", where="quality")
    relative = 2.0 * (f - y) / (f + y)
    off = np.abs(f / y - 1.0)
    inside = float(np.mean((y >= lower[use]) & (y <= upper[use])))
    return Quality(
        len(y),
        100.0 * float(relative.mean()),
        100.0 * float(np.sqrt(np.mean(relative**2))),
        100.0 * float(np.mean(off <= 0.2)),
        100.0 * float(np.mean(off <= 0.3)),
        100.0 * inside,
        100.0 * float(np.sqrt(inside * (1.0 - inside) / len(y))),
    )


def prequential(
    problem: Problem,
    rng: np.random.Generator,
    values: Any = None,
    level: float = 0.9,
    least: int = 1,
) -> Forecasts:
    """Forecast every observation of every subject from those before it.

    Parameters
    ----------
    problem : Problem
        The subjects to forecast; its population is not estimated here.
    rng : numpy Generator
        For the intervals.
    values : Fit, array or mapping, optional
        Estimates to use; the population's own values if left out.
    level : float
        Probability of the intervals.
    least : int
        Observations known before the first forecast.
    """
    course = problem.course
    if course.censored.any():
        raise DataError(
            "observations below a limit", where="prequential",
            expected="blq='M1': a forecast of a number that was not reported cannot be judged",
        )  # fmt: skip
    point = problem.packing.point(evaluate(problem, start=values).vector)
    n, width = course.mask.shape
    zero = np.zeros((n, problem.joined.n_effects))
    bounds = (0.5 - level / 2, 0.5, 0.5 + level / 2)
    prior: Array = np.repeat(np.asarray(point.omega, float)[None], n, axis=0)
    cold = _quantiles(problem, point, zero, prior, rng, bounds)
    rows: list[tuple[Any, ...]] = []
    effects = zero
    for k in range(least, width):
        found = find(course, _First(problem.errors, np.arange(width) < k), point, effects)
        effects = found.effects
        spread: Array = np.asarray(np.linalg.inv(found.curvature), float)
        warm = _quantiles(problem, point, effects, spread, rng, bounds)
        for i in np.flatnonzero(course.mask[:, k]):
            told = (course.people[i].id, course.times[i, k], k, course.endpoint[i, k])
            rows.append((*told, course.y[i, k], *warm[:, i, k], *cold[:, i, k]))
    if not rows:
        raise DataError(
            "no subject has a second observation", where="prequential",
            expected=f"subjects with more than {least} observations",
        )  # fmt: skip
    ids, time, known, endpoint, *numbers = zip(*rows, strict=True)
    y, low, middle, high, cold_low, cold_middle, cold_high = (np.array(c) for c in numbers)
    return Forecasts(
        tuple(map(str, ids)), np.array(time), np.array(known), np.array(endpoint), y, middle, low,
        high, cold_middle, cold_low, cold_high, level,
    )  # fmt: skip


class _First(Errors):
    """The error models, of which only some observations of each subject count."""

    def __init__(self, errors: Errors, seen: npt.NDArray[np.bool_]) -> None:
        super().__init__(errors.models, errors.truncated)
        self.seen = seen

    def terms(self, *given: Any, **named: Any) -> Terms:
        """Terms of the observations that count; zero of the others."""
        whole = super().terms(*given, **named)
        kept = {
            name: np.where(self.seen[:, None] if part.ndim == 3 else self.seen, part, 0.0)
            for name, part in vars(whole).items()
        }
        return Terms(**kept)


def _quantiles(
    problem: Problem,
    point: Point,
    effects: Array,
    spread: Array,
    rng: np.random.Generator,
    bounds: tuple[float, ...],
) -> Array:
    """Quantiles (n_bounds, n, T) of readings; effects are normal, the model is not linearised."""
    course, errors = problem.course, problem.errors
    n, q = effects.shape
    root = np.linalg.cholesky(spread + 1e-14 * np.eye(q))
    z = rng.standard_normal((DRAWS, n, q))
    moved = effects + np.einsum("nij,dnj->dni", root, z)
    who = np.tile(np.arange(n), DRAWS)
    f = course.predict(point.fixed, moved.reshape(-1, q), who, slopes=False).f
    drawn = errors.draw(course, f.reshape(DRAWS, n, -1), point.sigma, rng)
    return np.asarray(np.quantile(drawn, bounds, axis=0))


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Forecasts of subjects by populations that were estimated without them.

    Parameters
    ----------
    forecasts : Forecasts
        Of all subjects.
    fits : tuple of Fit
        By fold.
    """

    forecasts: Forecasts
    fits: tuple[Fit, ...] = field(repr=False)


def cross_validate(
    problem: Problem,
    rng: np.random.Generator,
    folds: int = 5,
    method: str = "focei",
    level: float = 0.9,
    estimate: Callable[[Problem], Fit] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Estimate the population without each fold of subjects, and forecast the subjects left out.

    Parameters
    ----------
    problem : Problem
    rng : numpy Generator
        Deals the subjects and draws the intervals.
    folds : int
    method : str
        Of the estimation.
    level : float
    estimate : callable, optional
        Estimates a Problem, in place of ``fit(problem, method)``.
    told : callable, optional
        Told how many folds are done, of how many.
    """
    people = problem.records.individuals
    if not 2 <= folds <= len(people):
        raise DataError(
            f"{folds} folds of {len(people)} subjects", where="cross_validate",
            expected=f"from 2 to {len(people)}",
        )  # fmt: skip
    parts, fits = [], []
    for i, out in enumerate(_dealt(len(people), folds, rng)):
        held = set(out.tolist())
        rest = [one for j, one in enumerate(people) if j not in held]
        kept = problem.with_records(replace(problem.records, individuals=tuple(rest)))
        found = estimate(kept) if estimate else fit(kept, method)
        left = replace(problem.records, individuals=tuple(people[j] for j in sorted(held)))
        parts.append(prequential(problem.with_records(left), rng, dict(found.values), level))
        fits.append(found)
        if told is not None:
            told(i + 1, folds)
    return CrossValidation(_joined(parts), tuple(fits))


def _dealt(n: int, folds: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    yield from np.array_split(rng.permutation(n), folds)


def _joined(parts: list[Forecasts]) -> Forecasts:
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name, value in vars(parts[0]).items()
        if isinstance(value, np.ndarray)
    }
    return replace(parts[0], id=tuple(i for part in parts for i in part.id), **arrays)

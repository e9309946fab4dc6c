"""Uncertainty of estimates beyond standard errors: bootstrap, SIR, likelihood profiles.

Sampling importance resampling (SIR): Dosne, Bergstrand, Harling and Karlsson, J Pharmacokinet
Pharmacodyn 43:583-596, 2016, doi:10.1007/s10928-016-9487-8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri

from galenic.errors import DataError, SolveError
from galenic.inference.algebra import Array
from galenic.inference.belief import square_root
from galenic.inference.mixed.fit import Fit
from galenic.inference.mixed.marginal import Approximation
from galenic.inference.mixed.search import minimise

Share = Callable[[float], bool | None]


@dataclass(frozen=True, eq=False)
class Sample:
    """Draws of the estimates, as reported (draws, numbers).

    Parameters
    ----------
    failed : int
        Draws that gave nothing and are left out.
    """

    names: tuple[str, ...]
    values: Array
    failed: int = 0
    notes: str = ""

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Percentiles of one number."""
        tail = (1 - level) / 2
        low, high = np.quantile(self.values[:, self.names.index(name)], (tail, 1 - tail))
        return float(low), float(high)

    def errors(self) -> dict[str, float]:
        """Standard deviations."""
        return dict(zip(self.names, map(float, self.values.std(axis=0, ddof=1)), strict=True))


def bootstrap(fit_: Fit, replicates: int = 200, seed: int = 0, told: Share | None = None) -> Sample:
    """Estimate again from subjects drawn with replacement.

    Parameters
    ----------
    fit_ : Fit
        By one of the approximations; each search begins from its estimates.
    told : callable, optional
        Gets the share of the work done; returning False stops.
    """
    problem, rng = fit_.problem, np.random.default_rng(seed)
    made, count = _approximation(fit_), len(problem.course)
    rows, failed = [], 0
    for k in range(replicates):
        weights = np.bincount(rng.integers(0, count, count), minlength=count).astype(float)
        run = minimise(_weighted(made, weights), fit_.vector, problem.packing.free, tolerance=1e-3)
        if np.isfinite(run.objective):
            rows.append(problem.packing.natural(run.vector))
        else:
            failed += 1
        if told is not None and told((k + 1) / replicates) is False:
            break
    return Sample(tuple(problem.names), np.array(rows), failed, "bootstrap over subjects")


def _weighted(made: Approximation, weights: Array) -> Callable[[Array], tuple[float, Array]]:
    """The objective with each individual as often as its weight says."""

    def function(xi: Array) -> tuple[float, Array]:
        try:
            one = made(xi, slopes=True)
        except SolveError:
            return np.inf, np.zeros((len(weights), len(xi)))
        assert one.by is not None
        total = float(weights @ one.each)
        return (total if np.isfinite(total) else np.inf), weights[:, None] * one.by

    return function


def sir(
    fit_: Fit,
    samples: int = 1000,
    resamples: int = 500,
    seed: int = 0,
    inflation: float = 1.2,
    told: Share | None = None,
) -> Sample:
    """Draw vectors around the estimates and weigh them by their likelihood.

    Parameters
    ----------
    inflation : float
        By which the sd of the proposal exceeds the standard errors.
    """
    problem, rng = fit_.problem, np.random.default_rng(seed)
    free = np.flatnonzero(problem.packing.free)
    covariance = fit_.covariance()
    if not np.isfinite(covariance).all():
        covariance = fit_.covariance("s")
    if not np.isfinite(covariance).all():
        raise DataError("the estimates have no standard errors to propose from", where="SIR")
    root = inflation * square_root(covariance)
    made = _approximation(fit_)
    z = rng.standard_normal((samples, len(free)))
    logs = np.full(samples, -np.inf)
    for k, row in enumerate(z):
        xi = fit_.vector.copy()
        xi[free] += root @ row
        try:
            value = made(xi).total
        except SolveError:
            value = np.inf
        if np.isfinite(value):
            logs[k] = -0.5 * (value - fit_.objective) + 0.5 * float(row @ row)
        if told is not None and told((k + 1) / samples) is False:
            break
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    count = min(resamples, int((weights > 0).sum()))
    places = rng.choice(samples, count, replace=False, p=weights)
    rows = []
    for place in places:
        xi = fit_.vector.copy()
        xi[free] += root @ z[place]
        rows.append(problem.packing.natural(xi))
    effective = 1.0 / float(np.sum(weights**2))
    note = f"{effective:.0f} effective of {samples} draws"
    return Sample(tuple(problem.names), np.array(rows), int(np.isinf(logs).sum()), note)


def profile(fit_: Fit, name: str, level: float = 0.95) -> tuple[float, float]:
    """The interval of one number from the likelihood with all others estimated again.

    An end that is not found within eight standard errors is infinite or nan.
    """
    problem = fit_.problem
    k = problem.names.index(name)
    free = problem.packing.free.copy()
    place = int(np.searchsorted(np.flatnonzero(free), k))
    sd = float(np.sqrt(fit_.covariance()[place, place]))
    free[k] = False
    rise = float(chdtri(1, 1 - level))
    made, start = _approximation(fit_), {0.0: fit_.vector.copy()}

    def excess(shift: float) -> float:
        nearest = min(start, key=lambda known: abs(known - shift))
        xi = start[nearest].copy()
        xi[k] = fit_.vector[k] + shift * sd

        def function(vector: Array) -> tuple[float, Array]:
            one = made(vector, slopes=True)
            assert one.by is not None
            return one.total, one.by

        run = minimise(function, xi, free, tolerance=1e-4, iterations=60)
        start[shift] = run.vector
        return run.objective - fit_.objective - rise

    ends = []
    for sign in (-1.0, 1.0):
        reach = 1.0
        while reach <= 8.0 and excess(sign * reach) < 0:
            reach *= 1.6
        if reach > 8.0:
            ends.append(sign * np.inf)
            continue
        inner = 0.0 if reach == 1.0 else reach / 1.6
        shift = brentq(lambda r, s=sign: excess(s * r), inner, reach, xtol=1e-3)
        moved = fit_.vector.copy()
        moved[k] += sign * shift * sd
        ends.append(float(problem.packing.natural(moved)[k]))
    return ends[0], ends[1]


def _approximation(fit_: Fit) -> Approximation:
    p = fit_.problem
    made = Approximation(
        p.course, p.errors, p.packing, fit_.approximation, fit_.notes.get("nodes", 5)
    )
    made.last = fit_.effects
    return made

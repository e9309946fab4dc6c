"""Maximum likelihood for a PEtab problem, with the covariance of the estimates.

The search runs on the parameters' own scales inside their bounds, with the gradient from central
differences of predictions and noise parameters. The covariance is the inverse of the expected
information: for normal noise sum (dy dy' + 2 ds ds') / s^2.

Source: Bates and Watts, Nonlinear Regression Analysis and Its Applications, Wiley 1988.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtri
from scipy.stats import qmc

from galenic.errors import DataError, SolveError, UnknownName
from galenic.inference.algebra import Array
from galenic.inference.petab.problem import Problem
from galenic.inference.petab.refusal import refused

_STEP = 3e-4
_LEFT = 1e-4  # the fit has converged when the log-likelihood can grow by no more


@dataclass(frozen=True, eq=False)
class Estimate:
    """Estimates of the parameters marked so; ``theta`` and ``information`` on their own scales.

    ``starts`` are the log-likelihoods reached, best first, -inf where a start failed.
    ``converged`` says whether a further step would gain less than 1e-4 in log-likelihood.
    """

    problem: Problem
    theta: Array
    log_likelihood: float
    information: Array
    converged: bool
    starts: Array

    @cached_property
    def values(self) -> dict[str, float]:
        """Linear values by id."""
        pairs = zip(self.problem.estimated, self.theta, strict=True)
        return {p.name: p.linear(float(x)) for p, x in pairs}

    @cached_property
    def covariance(self) -> Array:
        """Covariance on the own scales; infinite where the measurements do not tell."""
        size = np.sqrt(np.diag(self.information))
        if np.any(size == 0):
            return np.full_like(self.information, np.inf)
        scaled = self.information / np.outer(size, size)
        if np.linalg.cond(scaled) > 1e12:
            return np.full_like(self.information, np.inf)
        return np.asarray(np.linalg.inv(scaled) / np.outer(size, size))

    def at_bound(self, name: str) -> bool:
        """Whether an estimate lies at a bound, where its interval means little."""
        p = self.problem.estimated[self._position(name)]
        x, low, high = self.theta[self._position(name)], p.scaled(p.lower), p.scaled(p.upper)
        return bool(min(x - low, high - x) <= 1e-6 * (high - low))

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Wald interval, made on the own scale and given on the linear one."""
        i = self._position(name)
        reach = float(ndtri(0.5 + level / 2) * np.sqrt(self.covariance[i, i]))
        p, x = self.problem.estimated[i], float(self.theta[i])
        if not np.isfinite(reach):
            return (-np.inf if p.scale == "lin" else 0.0), np.inf
        return p.linear(x - reach), p.linear(x + reach)

    def _position(self, name: str) -> int:
        names = [p.name for p in self.problem.estimated]
        if name not in names:
            raise UnknownName.among("estimated parameter", name, names)
        return names.index(name)


def fit(problem: Problem, *, starts: int = 1, rng: np.random.Generator | None = None) -> Estimate:
    """The most likely parameters.

    Parameters
    ----------
    starts : int
        The nominal values (the middle of the bounds where there are none), then a Latin hypercube
        inside the bounds on the own scales, which needs ``rng``.

    Raises
    ------
    NotExpressible
        An observable has Laplace noise, whose likelihood has kinks.
    SolveError
        No start led to a result.
    """
    for observable in problem.observables.values():
        if observable.distribution != "normal":
            raise refused("a fit with Laplace noise, whose likelihood has kinks", observable.where,
                          hint="log_likelihood works")  # fmt: skip
    if not problem.estimated:
        raise DataError("no parameter to estimate", where="fit", expected="estimate 1 in a row")
    search = _Search(problem)
    found, failed = [], ""
    for start in search.starts(starts, rng):
        try:
            found.append(search.run(start))
        except SolveError as error:
            failed = str(error)
    if not found:
        raise SolveError(f"none of {starts} starts led to a result: {failed}", where="fit")
    found.sort(key=lambda one: -one.log_likelihood)
    best = found[0]
    reached = np.full(max(starts, 1), -np.inf)
    reached[: len(found)] = [one.log_likelihood for one in found]
    return Estimate(
        problem, best.theta, best.log_likelihood, best.information, best.converged, reached
    )


class _Search:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.free = problem.estimated
        self.lower = np.array([p.scaled(p.lower) for p in self.free])
        self.upper = np.array([p.scaled(p.upper) for p in self.free])
        self.measured = problem.on_scale(np.array([m.value for m in problem.measurements]))

    def starts(self, count: int, rng: np.random.Generator | None) -> list[Array]:
        middle = (self.lower + self.upper) / 2
        nominal = [
            p.scaled(p.nominal) if np.isfinite(p.nominal) else middle[i]
            for i, p in enumerate(self.free)
        ]
        first = np.array(nominal)
        if count <= 1:
            return [first]
        if rng is None:
            raise DataError("several starts need a generator", where="fit", hint="pass rng=")
        cube = qmc.LatinHypercube(len(first), rng=rng).random(count - 1)
        return [first, *(self.lower + row * (self.upper - self.lower) for row in cube)]

    def predict(self, theta: Array) -> tuple[Array, Array]:
        """Predictions on their scales, and noise parameters."""
        values = {p.name: p.linear(float(x)) for p, x in zip(self.free, theta, strict=True)}
        predicted, noise = self.problem.predict(values)
        return self.problem.on_scale(predicted), noise

    def slopes(self, theta: Array) -> tuple[Array, Array]:
        """Derivatives ``(measurements, parameters)`` of predictions and noise parameters."""
        columns: list[Any] = []
        for i, x in enumerate(theta):
            step = min(_STEP * max(1.0, abs(x)) if self.free[i].scale != "lin" else
                       _STEP * max(abs(x), 1e-6), (self.upper[i] - self.lower[i]) / 2)  # fmt: skip
            ends = theta.copy(), theta.copy()
            ends[0][i] = max(x - step, self.lower[i])
            ends[1][i] = min(x + step, self.upper[i])
            (y0, s0), (y1, s1) = map(self.predict, ends)
            width = ends[1][i] - ends[0][i]
            columns.append(((y1 - y0) / width, (s1 - s0) / width))
        return np.array([c[0] for c in columns]).T, np.array([c[1] for c in columns]).T

    def local(self, theta: Array) -> tuple[float, Array, Array]:
        """Minus log-likelihood, its gradient, and the expected information."""
        predicted, noise = self.predict(theta)
        dy, ds = self.slopes(theta)
        r = (self.measured - predicted) / noise
        dy, ds = dy / noise[:, None], ds / noise[:, None]
        gradient = -dy.T @ r + ds.T @ (1 - r**2)
        value = -self.problem.log_density(predicted, noise)
        return value, gradient, dy.T @ dy + 2 * ds.T @ ds

    def run(self, start: Array) -> Estimate:
        """The search from one start, in steps as long as a parameter is well known there."""
        information = self.local(start)[2]
        size = np.sqrt(np.maximum(np.diag(information), 1e-12))
        size = np.maximum(size, 1.0 / (self.upper - self.lower))

        def objective(u: Array) -> tuple[float, Array]:
            value, gradient, _ = self.local(self._inside(u / size))
            return value, gradient / size

        found = minimize(
            objective,
            start * size,
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(self.lower * size, self.upper * size, strict=True)),
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-6},
        )
        theta = self._inside(found.x / size)
        value, gradient, information = self.local(theta)
        left = self._left(theta, gradient, information)
        return Estimate(self.problem, theta, -value, information, left < _LEFT, np.zeros(0))

    def _inside(self, theta: Array) -> Array:
        return np.clip(theta, self.lower, self.upper)

    def _left(self, theta: Array, gradient: Array, information: Array) -> float:
        """What one more step could gain, bounds that hold an estimate aside."""
        held = ((theta <= self.lower) & (gradient > 0)) | ((theta >= self.upper) & (gradient < 0))
        free = ~held
        step = np.linalg.lstsq(information[np.ix_(free, free)], gradient[free], rcond=1e-12)[0]
        return float(gradient[free] @ step) / 2

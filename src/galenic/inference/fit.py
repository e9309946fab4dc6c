"""Fit parameters to readings, and say how well they are known.

Minimises, over the parameters on their own scale,

    sum ((reading - prediction) / sd)^2 + sum ((theta - prior) / prior sd)^2

which is minus twice the log posterior for normal errors, with exact derivatives and from several
starts. With ``noise="estimate"`` one factor per measured quantity scales the stated sd; it is
estimated with the parameters (iteratively reweighted, corrected for degrees of freedom).

Sources: Bates and Watts, Nonlinear Regression Analysis and Its Applications, Wiley 1988 (Wald and
profile intervals); Raue et al., Bioinformatics 25(15):1923-1929, 2009,
doi:10.1093/bioinformatics/btp358 (profile likelihood).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.special import chdtrc, chdtri, ndtri, stdtrit
from scipy.stats import qmc

from galenic.errors import DataError, SolveError, UnknownName
from galenic.inference.algebra import Array
from galenic.inference.belief import Axis, Gaussian
from galenic.inference.problem import Problem
from galenic.inference.profile import Profile, profile_likelihood
from galenic.units import from_si, unit


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of a fit.

    Parameters
    ----------
    theta : array
        Estimates on the own scale (log where the parameter is on the log scale).
    jacobian : array ``(m, k)``
        Derivative of the standardised predictions.
    factors : mapping quantity -> float
        Estimated multiple of the stated sd; 1 if the noise is known.
    starts : array
        Objective reached from every start (infinite where it failed), best first.
    """

    problem: Problem
    theta: Array
    predicted: Array
    jacobian: Array
    objective: float
    factors: dict[str, float]
    starts: Array
    message: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def values(self) -> dict[str, float]:
        """Estimates [SI] by name."""
        natural = self.problem.natural(self.theta)
        return dict(zip(self.problem.names, map(float, natural), strict=True))

    @cached_property
    def information(self) -> Array:
        """Fisher information on the own scale, prior included."""
        prior = np.array([p.prior_sd for p in self.problem.parameters])
        return self.jacobian.T @ self.jacobian + np.diag(1.0 / prior**2)

    @cached_property
    def covariance(self) -> Array:
        """Covariance on the own scale; infinite where the information is singular."""
        info = self.information
        scale = np.sqrt(np.diag(info))
        if np.any(scale == 0) or np.linalg.cond(info / np.outer(scale, scale)) > 1e14:
            return np.full_like(info, np.inf)
        whitened = np.linalg.inv(info / np.outer(scale, scale))
        return np.asarray(whitened / np.outer(scale, scale))

    @property
    def correlation(self) -> Array:
        """Correlation of the estimates on the own scale."""
        sd = np.sqrt(np.diag(self.covariance))
        with np.errstate(invalid="ignore"):
            return np.asarray(self.covariance / np.outer(sd, sd))

    @property
    def degrees_of_freedom(self) -> int:
        """Readings minus parameters without prior."""
        free = sum(not np.isfinite(p.prior_sd) for p in self.problem.parameters)
        return len(self.problem.readings) - free

    @property
    def is_scaled(self) -> bool:
        return bool(self.notes.get("scaled"))

    def position(self, name: object) -> int:
        if str(name) not in self.problem.names:
            raise UnknownName.among("fitted parameter", str(name), self.problem.names)
        return self.problem.names.index(str(name))

    def sd(self, name: object) -> float:
        """Standard error [SI] (on the log scale: estimate times relative error)."""
        i = self.position(name)
        error = float(np.sqrt(self.covariance[i, i]))
        value = self.values[str(name)]
        return error * value if self.problem.parameters[i].log else error

    def interval(
        self, name: object, level: float = 0.95, method: str = "wald"
    ) -> tuple[float, float]:
        """Confidence interval [SI]: from the curvature (wald) or the profile likelihood."""
        if method == "profile":
            profile = self.profile(name, level)
            return profile.lower, profile.upper
        i = self.position(name)
        reach = self.quantile(level) * float(np.sqrt(self.covariance[i, i]))
        parameter = self.problem.parameters[i]
        ends = [parameter.natural(self.theta[i] + s * reach) for s in (-1, 1)]
        return float(ends[0]), float(ends[1])

    def quantile(self, level: float) -> float:
        """Normal quantile; Student's where the noise was estimated."""
        upper = 0.5 + level / 2
        if self.is_scaled and self.degrees_of_freedom > 0:
            return float(stdtrit(self.degrees_of_freedom, upper))
        return float(ndtri(upper))

    def refit(self, start: Array, held: Sequence[int]) -> Fit:
        """The best fit from ``start`` with the parameters at ``held`` kept there."""
        return minimise(self.problem, start, self.factors, held=held)

    def profile(self, name: object, level: float = 0.95, points: int = 12) -> Profile:
        """Profile likelihood of one parameter with its interval."""
        return profile_likelihood(self, self.position(name), level, points)

    def region(self, a: object, b: object, level: float = 0.95, points: int = 60) -> Array:
        """Boundary ``(points, 2)`` of the joint Wald region of two parameters [SI]."""
        pair = [self.position(a), self.position(b)]
        block = self.covariance[np.ix_(pair, pair)]
        reach = np.sqrt(chdtri(2, 1 - level))
        angles = np.linspace(0, 2 * np.pi, points)
        circle = np.stack([np.cos(angles), np.sin(angles)])
        theta = self.theta[pair][:, None] + reach * np.linalg.cholesky(block) @ circle
        return np.stack(
            [self.problem.parameters[i].natural(row) for i, row in zip(pair, theta, strict=True)],
            axis=1,
        )

    @cached_property
    def residuals(self) -> Array:
        """Standardised residuals, ``(reading - prediction) / sd``."""
        factor = np.array([self.factors[r.quantity] for r in self.problem.readings])
        gap = self.problem.values - self.predicted
        return np.asarray(gap / (self.problem.sds * factor))

    def diagnostics(self) -> dict[str, dict[str, float]]:
        """Per quantity: count, bias and sd of standardised residuals, R^2, trend of signs."""
        from galenic.inference.diagnose import ljung_box

        names = np.array([r.quantity for r in self.problem.readings])
        result = {}
        for name in dict.fromkeys(names):
            rows = names == name
            order = np.argsort([self.problem.readings[i].time for i in np.flatnonzero(rows)])
            r, y = self.residuals[rows][order], self.problem.values[rows]
            total = float(np.sum((y - y.mean()) ** 2))
            left = float(np.sum((y - self.predicted[rows]) ** 2))
            result[str(name)] = {
                "count": int(rows.sum()),
                "bias": float(r.mean()),
                "sd": float(np.sqrt(np.mean(r**2))),
                "r_squared": 1.0 - left / total if total > 0 else np.nan,
                "whiteness_p": ljung_box(r).p if rows.sum() > 6 else np.nan,
            }
        return result

    @property
    def goodness(self) -> float:
        """Probability of residuals this large or larger if model and stated sd are right."""
        if self.degrees_of_freedom <= 0:
            return float("nan")
        return float(chdtrc(self.degrees_of_freedom, np.sum(self.residuals**2)))

    def table(self, level: float = 0.95) -> list[dict[str, Any]]:
        """One row per parameter in its declared unit."""
        rows = []
        for i, p in enumerate(self.problem.parameters):
            low, high = self.interval(p.name, level)
            sd = self.sd(p.name)
            rows.append(
                {
                    "parameter": p.name,
                    "value": float(from_si(self.values[p.name], p.unit)),
                    "sd": sd / unit(p.unit).scale,
                    "lower": float(from_si(low, p.unit)),
                    "upper": float(from_si(high, p.unit)),
                    "unit": p.unit,
                    "at_bound": self._at_bound(i),
                }
            )
        return rows

    def _at_bound(self, i: int) -> bool:
        p = self.problem.parameters[i]
        slack = 1e-6 * max(1.0, abs(self.theta[i]))
        return bool(self.theta[i] - p.lower < slack or p.upper - self.theta[i] < slack)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not finite is None."""
        told: dict[str, Any] = _plain(
            {
                "parameters": self.table(),
                "correlation": self.correlation.tolist(),
                "objective": self.objective,
                "degrees_of_freedom": self.degrees_of_freedom,
                "goodness": self.goodness,
                "noise_factors": self.factors,
                "diagnostics": self.diagnostics(),
                "starts": self.starts.tolist(),
                "message": self.message,
            }
        )
        return told

    def to_belief(self, time: int) -> Gaussian:
        """The estimates as a belief: a prior for a twin."""
        axes = tuple(
            Axis(
                p.name,
                p.unit,
                "log" if p.log else "none",
                float(p.natural(p.lower)),
                float(p.natural(p.upper)),
            )
            for p in self.problem.parameters
        )
        return Gaussian(time, axes, self.theta, self.covariance)


def fit(
    problem: Problem,
    *,
    starts: int = 1,
    rng: np.random.Generator | None = None,
    noise: str = "known",
    robust: bool = False,
) -> Fit:
    """The best parameters of a problem.

    Parameters
    ----------
    starts : int
        Number of starts: the problem's own, then a Latin hypercube inside the bounds (needs
        ``rng``; an open side reaches a factor e^2, or ten times the value, from the start).
    noise : str
        ``"known"``: stated sds hold. ``"estimate"``: one factor per quantity is estimated.
    robust : bool
        Huber's loss with a kink at 1.345 sd: few wild readings lose their pull.
    """
    if noise not in ("known", "estimate"):
        raise DataError(f"noise is {noise!r}", where="fit", expected="'known' or 'estimate'")
    tries = [_from(problem, start, noise, robust) for start in first_values(problem, starts, rng)]
    done = sorted((t for t in tries if not isinstance(t, str)), key=lambda t: t.objective)
    if not done:
        raise SolveError(
            f"none of {len(tries)} starts led to a solution: {tries[0]}",
            where="fit",
            hint="check that the model runs at the start values and the bounds are sensible",
        )
    best = done[0]
    reached = np.array([t.objective for t in done] + [np.inf] * (len(tries) - len(done)))
    return Fit(
        problem,
        best.theta,
        best.predicted,
        best.jacobian,
        best.objective,
        best.factors,
        reached,
        best.message,
        {"scaled": noise == "estimate", "robust": robust},
    )


def first_values(problem: Problem, count: int, rng: np.random.Generator | None) -> list[Array]:
    """The problem's own start and further ones spread over the bounds, on the own scale."""
    if count <= 1:
        return [problem.start]
    if rng is None:
        raise DataError("several starts need a generator", where="fit", hint="pass rng=")
    reach = np.where(problem.logs, 2.0, 10.0 * np.maximum(np.abs(problem.start), 1e-12))
    lower, upper = problem.bounds
    low = np.where(np.isfinite(lower), lower, problem.start - reach)
    high = np.where(np.isfinite(upper), upper, problem.start + reach)
    cube = qmc.LatinHypercube(len(problem.start), rng=rng).random(count - 1)
    return [problem.start, *(low + row * (high - low) for row in cube)]


def _from(problem: Problem, start: Array, noise: str, robust: bool) -> Fit | str:
    """The fit from one start, or the reason why there is none."""
    factors = {r.quantity: 1.0 for r in problem.readings}
    theta = start
    try:
        for _ in range(30 if noise == "estimate" else 1):
            result = minimise(problem, theta, factors, robust)
            before, factors = factors, _factors(problem, result) if noise == "estimate" else factors
            theta = result.theta
            if all(abs(factors[q] / before[q] - 1) < 1e-8 for q in factors):
                break
        if noise == "estimate":
            result = minimise(problem, theta, factors, robust)
    except (SolveError, np.linalg.LinAlgError, FloatingPointError) as error:
        return str(error)
    return result


def _factors(problem: Problem, result: Fit) -> dict[str, float]:
    """Root mean square of the residuals per quantity over the stated sd, with its share of dof."""
    names = np.array([r.quantity for r in problem.readings])
    raw = (problem.values - result.predicted) / problem.sds
    share = result.degrees_of_freedom / len(names)
    if share <= 0:
        raise DataError(
            f"{len(names)} readings for {len(problem.names)} parameters",
            where="fit with noise to estimate",
            expected="more readings than parameters",
        )
    return {
        str(q): max(float(np.sqrt(np.mean(raw[names == q] ** 2) / share)), 1e-300)
        for q in dict.fromkeys(names)
    }


def minimise(
    problem: Problem,
    start: Array,
    factors: dict[str, float],
    robust: bool = False,
    held: Sequence[int] = (),
) -> Fit:
    """Least squares from one start, with the parameters in ``held`` kept at their start value."""
    sd = problem.sds * np.array([factors[r.quantity] for r in problem.readings])
    measured = problem.values
    free = [i for i in range(len(start)) if i not in held]
    prior_mean = np.array([p.prior_mean for p in problem.parameters])
    prior_sd = np.array([p.prior_sd for p in problem.parameters])
    with_prior = [i for i in free if np.isfinite(prior_sd[i])]
    memory: dict[bytes, tuple[Array, Array]] = {}

    def full(part: Array) -> Array:
        theta = start.copy()
        theta[free] = part
        return theta

    def linear(part: Array) -> tuple[Array, Array]:
        key = part.tobytes()
        if key not in memory:
            memory.clear()
            memory[key] = problem.linear(full(part))
        return memory[key]

    def residual(part: Array) -> Array:
        prior = (full(part) - prior_mean)[with_prior] / prior_sd[with_prior]
        return np.concatenate([(linear(part)[0] - measured) / sd, prior])

    def jacobian(part: Array) -> Array:
        top = linear(part)[1][:, free] / sd[:, None]
        rows = np.zeros((len(with_prior), len(free)))
        for k, i in enumerate(with_prior):
            rows[k, free.index(i)] = 1.0 / prior_sd[i]
        return np.concatenate([top, rows])

    lower, upper = problem.bounds
    inside = np.clip(
        start[free], np.nextafter(lower[free], np.inf), np.nextafter(upper[free], -np.inf)
    )
    found = (
        least_squares(
            residual,
            inside,
            jac=jacobian,
            bounds=(lower[free], upper[free]),
            x_scale="jac",
            loss="huber" if robust else "linear",
            f_scale=1.345,
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
            max_nfev=400,
        )
        if free
        else None
    )
    theta = full(found.x) if found is not None else start
    predicted, derivative = problem.linear(theta)
    gap = residual(theta[free])
    objective = 2.0 * found.cost if found is not None else float(gap @ gap)
    return Fit(
        problem,
        theta,
        predicted,
        derivative / sd[:, None],
        float(objective),
        factors,
        np.array([objective]),
        "" if found is None else found.message,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value

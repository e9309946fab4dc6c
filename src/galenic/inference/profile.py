"""Profile likelihood: how far one parameter can go before the best fit gets worse than chance.

Source: Raue et al., Bioinformatics 25(15):1923-1929, 2009, doi:10.1093/bioinformatics/btp358.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri

from galenic.errors import SolveError
from galenic.inference.algebra import Array

if TYPE_CHECKING:
    from galenic.inference.fit import Fit


@dataclass(frozen=True)
class Profile:
    """The best objective with one parameter held: values on the own scale, and the interval.

    ``lower`` and ``upper`` are SI; infinite (or at a bound) where the data leave that side open.
    """

    name: str
    values: Array
    objective: Array
    lower: float
    upper: float
    open_below: bool
    open_above: bool

    @property
    def is_closed(self) -> bool:
        """Whether the data bound the parameter on both sides."""
        return not (self.open_below or self.open_above)


def profile_likelihood(fitted: Fit, i: int, level: float, points: int) -> Profile:
    """Follow the best objective away from the estimate until it has risen by the quantile."""
    parameter = fitted.problem.parameters[i]
    rise = float(chdtri(1, 1 - level))
    if fitted.is_scaled:
        rise = fitted.quantile(level) ** 2
    step = float(np.sqrt(fitted.covariance[i, i]))
    if not np.isfinite(step) or step > 5.0 * max(1.0, abs(fitted.theta[i])):
        step = 0.5 if parameter.log else 0.5 * max(abs(fitted.theta[i]), 1e-12)
    walks = [_walk(fitted, i, sign * step, rise, points) for sign in (-1, 1)]
    values = np.concatenate([walks[0][0][::-1], [fitted.theta[i]], walks[1][0]])
    objective = np.concatenate([walks[0][1][::-1], [fitted.objective], walks[1][1]])
    ends = [float(parameter.natural(walk[2])) for walk in walks]
    return Profile(parameter.name, values, objective, ends[0], ends[1], walks[0][3], walks[1][3])


def _walk(
    fitted: Fit, i: int, step: float, rise: float, points: int
) -> tuple[Array, Array, float, bool]:
    """Values and objectives on one side, the crossing, and whether there is none."""
    problem = fitted.problem
    limit = problem.bounds[0][i] if step < 0 else problem.bounds[1][i]
    memory = {fitted.theta[i]: fitted.theta}

    def best(value: float) -> float:
        near = min(memory, key=lambda known: abs(known - value))
        start = memory[near].copy()
        start[i] = value
        found = fitted.refit(start, held=(i,))
        memory[value] = found.theta
        return found.objective - fitted.objective - rise

    values: list[float] = []
    objectives: list[float] = []
    value = fitted.theta[i]
    for k in range(points):
        before = value
        value = fitted.theta[i] + step * (k + 1) * (1.0 if k < 4 else 1.5 ** (k - 3))
        value = max(value, limit) if step < 0 else min(value, limit)
        try:
            above = best(value)
        except (SolveError, ValueError):
            return np.array(values), np.array(objectives), limit, True
        values.append(value)
        objectives.append(above + fitted.objective + rise)
        if above > 0:
            crossing = brentq(best, before, value, xtol=1e-6 * abs(step), rtol=1e-10)
            return np.array(values), np.array(objectives), float(crossing), False
        if value == limit:
            break
    return np.array(values), np.array(objectives), float(limit), True

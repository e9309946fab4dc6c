"""The marginal likelihood by numerical integration over the random effects.

Adaptive Gauss-Hermite quadrature puts its nodes around the modes, as wide as the curvature there;
one node is the approximation of Laplace with that curvature. Importance sampling draws from a
Student t there and tells its own Monte Carlo error.

Source: Pinheiro and Bates, J Comput Graph Stat 4:12-35, 1995, doi:10.2307/1390625.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.inference.mixed import modes
from galenic.inference.mixed.packing import Point

if TYPE_CHECKING:
    from galenic.inference.mixed.course import Course
    from galenic.inference.mixed.errors import Errors
    from galenic.inference.mixed.fit import Fit

_MOST_NODES = 20_000
_ROWS = 20_000
_FREEDOM = 5.0


def cost(
    course: Course, errors: Errors, point: Point, effects: Array, who: npt.NDArray[np.int64]
) -> Array:
    """J of rows of effects; infinite where the model cannot be solved."""
    found = np.empty(len(effects))
    for first in range(0, len(effects), _ROWS):
        part = slice(first, first + _ROWS)
        made = course.predict(point.fixed, effects[part], who[part], slopes=False)
        found[part] = errors.cost(course, made.f, point.sigma, who[part]).sum(axis=1)
    found += np.sum((effects @ point.precision) * effects, axis=1)
    return np.where(np.isfinite(found), found, np.inf)


def quadrature(
    course: Course, errors: Errors, point: Point, found: modes.Modes, curvature: Array, nodes: int
) -> Array:
    """Minus twice the log likelihood of each individual, without n ln(2 pi)."""
    n, q = found.effects.shape
    count = nodes**q
    if count > _MOST_NODES:
        raise DataError(
            f"{nodes} nodes in {q} dimensions",
            expected=f"at most {_MOST_NODES} points per individual",
            hint="use fewer nodes, or importance sampling",
        )
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.array(list(product(x, repeat=q))).reshape(count, q)
    weights = np.log([np.prod(row) for row in product(w / w.sum(), repeat=q)]).reshape(count)
    roots = _roots(curvature)
    effects = found.effects[:, None, :] + np.einsum("nij,kj->nki", roots, grid)
    who = np.repeat(np.arange(n), count)
    j = cost(course, errors, point, effects.reshape(n * count, q), who).reshape(n, count)
    total = logsumexp(weights - 0.5 * (j - np.sum(grid**2, axis=1)), axis=1)
    volume = np.linalg.slogdet(point.omega)[1] + np.linalg.slogdet(curvature)[1] if q else 0.0
    return np.asarray(volume - 2.0 * total)


def _roots(curvature: Array) -> Array:
    """Square roots of the inverses of H."""
    if not curvature.shape[-1]:
        return curvature
    lower = np.linalg.cholesky(curvature)
    return np.asarray(np.linalg.inv(lower).transpose(0, 2, 1))


@dataclass(frozen=True, eq=False)
class Sampled:
    """A likelihood by importance sampling.

    Parameters
    ----------
    objective : float
        Minus twice the log likelihood without n ln(2 pi).
    error : float
        Monte Carlo standard error of it.
    minus2ll : float
        With all constants.
    each : array (n,)
    effective : array (n,)
        Effective number of samples of each individual.
    """

    objective: float
    error: float
    minus2ll: float
    each: Array
    effective: Array


def importance(
    fit: Fit,
    samples: int = 1000,
    seed: int = 0,
    told: Callable[[float], bool | None] | None = None,
) -> Sampled:
    """The likelihood at the estimates of a fit.

    Parameters
    ----------
    samples : int
        Per individual.
    seed : int
        Equal seeds give equal numbers.
    told : callable, optional
        Gets the share of the work done.
    """
    problem, found = fit.problem, fit.found
    point, rng = fit.point, np.random.default_rng(seed)
    n, q = found.effects.shape
    roots = _roots(found.curvature)
    batch = max(1, min(samples, _ROWS // n))
    logs = []
    for done in range(0, samples, batch):
        size = min(batch, samples - done)
        z = rng.standard_normal((n, size, q))
        stretch = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, (n, size, 1)))
        t = z * stretch
        effects = found.effects[:, None, :] + np.einsum("nij,nkj->nki", roots, t)
        who = np.repeat(np.arange(n), size)
        flat = effects.reshape(n * size, q)
        j = cost(problem.course, problem.errors, point, flat, who).reshape(n, size)
        logs.append(-0.5 * j - _log_density(t, q))
        if told is not None and told((done + size) / samples) is False:
            break
    weights = np.concatenate(logs, axis=1)
    volume = np.linalg.slogdet(point.omega)[1] + np.linalg.slogdet(found.curvature)[1]
    peak = weights.max(axis=1, keepdims=True)
    w = np.exp(weights - peak)
    mean = w.mean(axis=1)
    each = volume + q * np.log(2 * np.pi) - 2.0 * (np.log(mean) + peak[:, 0])
    variance = 4.0 * w.var(axis=1, ddof=1) / (w.shape[1] * mean**2)
    total = float(each.sum())
    effective = w.sum(axis=1) ** 2 / np.sum(w**2, axis=1)
    return Sampled(total, float(np.sqrt(variance.sum())), total + problem.constant, each, effective)


def _log_density(t: Array, q: int) -> Array:
    """Logarithm of the density of the standard multivariate Student t."""
    size = np.sum(t**2, axis=-1)
    norm = gammaln((_FREEDOM + q) / 2) - gammaln(_FREEDOM / 2) - q / 2 * np.log(_FREEDOM * np.pi)
    return np.asarray(norm - (_FREEDOM + q) / 2 * np.log1p(size / _FREEDOM))

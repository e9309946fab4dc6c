"""The most likely random effects of each individual: minima of

    J(eta) = sum cost(y, f(eta)) + eta' Omega^-1 eta,

all individuals at once, by a quasi-Newton search that begins with H = Omega^-1 + sum weight g g'
or a better guess of the curvature, and shorter steps where J does not fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from galenic.inference.algebra import Array
from galenic.inference.mixed.errors import Terms

if TYPE_CHECKING:
    from galenic.inference.mixed.course import Course
    from galenic.inference.mixed.errors import Errors
    from galenic.inference.mixed.packing import Point

_ROUNDS = 100
_MISSES = 12


@dataclass(frozen=True, eq=False)
class Modes:
    """The modes and what was computed there.

    Parameters
    ----------
    effects : array (n, q)
    cost : array (n,)
        J; infinite where the model could not be solved.
    by : array (n, T, d)
        Derivatives of predictions ``f`` (n, T).
    curvature : array (n, q, q)
        H, half the expected second derivative of J.
    left : array (n,)
        What a further step promises; near zero where the search has ended.
    """

    effects: Array
    cost: Array
    f: Array
    by: Array
    terms: Terms
    curvature: Array
    left: Array


@dataclass(frozen=True, eq=False)
class _Seen:
    cost: Array
    f: Array
    by: Array
    terms: Terms
    gradient: Array
    curvature: Array


def find(
    course: Course,
    errors: Errors,
    point: Point,
    start: Array,
    at: Array | None = None,
    tolerance: float = 1e-12,
    metric: Array | None = None,
) -> Modes:
    """The modes from given effects.

    Parameters
    ----------
    start : array (n, q)
    at : array (n, T), optional
        Predictions at which variances are frozen (FOCE without interaction).
    tolerance : float
        Of J.
    metric : array (n, q, q), optional
        Half the true second derivatives near the modes; steps by it converge faster than scoring.
    """
    inverse = point.precision
    here = np.array(start, float)
    seen = _look(course, errors, point, here, at, inverse, None)
    lost = ~np.isfinite(seen.cost)
    if lost.any():
        here[lost] = 0.0
        seen = _look(course, errors, point, here, at, inverse, None)
    by = _inverses(seen.curvature if metric is None else metric)
    step, left = _step(seen.gradient, by)
    share = _longest(step, point)
    misses = np.zeros(len(here), int)
    for _ in range(_ROUNDS):
        active = np.flatnonzero((left > tolerance) & (misses < _MISSES))
        if not len(active):
            break
        move = share[active, None] * step[active]
        tried = _look(course, errors, point, here[active] + move, at, inverse, active)
        gain = seen.cost[active] - tried.cost
        promise = share[active] * left[active]
        good = np.isfinite(tried.cost) & (gain >= 0.1 * promise - 1e-11 * np.abs(tried.cost))
        won, lost_rows = active[good], active[~good]
        if len(won):
            here[won] += move[good]
            by[won] = _updated(by[won], move[good], tried.gradient[good] - seen.gradient[won])
            _put(seen, won, tried, good)
            step[won], left[won] = _step(seen.gradient[won], by[won])
            share[won], misses[won] = _longest(step[won], point), 0
        if len(lost_rows):
            share[lost_rows] *= 0.3
            misses[lost_rows] += 1
            again = lost_rows[misses[lost_rows] == 3]  # back to scoring
            by[again] = _inverses(seen.curvature[again])
            step[again], left[again] = _step(seen.gradient[again], by[again])
            share[again] = _longest(step[again], point)
    return Modes(here, seen.cost, seen.f, seen.by, seen.terms, seen.curvature, left)


def _inverses(curvature: Array) -> Array:
    return np.asarray(np.linalg.inv(curvature)) if curvature.shape[-1] else curvature.copy()


def _step(gradient: Array, by: Array) -> tuple[Array, Array]:
    """Steps, and what they promise to take off J."""
    step = -np.einsum("nij,nj->ni", by, gradient)
    return step, -np.einsum("ni,ni->n", step, gradient)


def _updated(by: Array, s: Array, y: Array) -> Array:
    """Inverse curvatures after a step s that changed the gradient by y (BFGS)."""
    sy = np.einsum("ni,ni->n", s, y)
    size = np.linalg.norm(s, axis=1) * np.linalg.norm(y, axis=1)
    good = sy > 1e-8 * size
    rho = np.where(good, 1.0 / np.where(good, sy, 1.0), 0.0)
    left = np.eye(s.shape[1]) - rho[:, None, None] * s[:, :, None] * y[:, None, :]
    outer = rho[:, None, None] * s[:, :, None] * s[:, None, :]
    return np.asarray(left @ by @ left.transpose(0, 2, 1) + outer)


def _longest(step: Array, point: Point) -> Array:
    """Share of a step that moves no effect by more than 4 sd of the population."""
    sd = np.sqrt(np.diag(point.omega))
    size = np.max(np.abs(step) / sd, axis=1, initial=0.0)
    return np.asarray(np.minimum(1.0, 4.0 / np.maximum(size, 1e-300)))


def _look(
    course: Course,
    errors: Errors,
    point: Point,
    effects: Array,
    at: Array | None,
    inverse: Array,
    who: np.ndarray | None,
) -> _Seen:
    """J with half its gradient and H."""
    made = course.predict(point.fixed, effects, who)
    assert made.by is not None
    with np.errstate(all="ignore"):
        terms = errors.terms(
            course, made.f, point.sigma, at if at is None or who is None else at[who], who
        )
    q = effects.shape[1]
    g = made.by[..., :q]
    prior = effects @ inverse
    cost = terms.cost.sum(axis=1) + np.sum(prior * effects, axis=1)
    gradient = prior + 0.5 * np.einsum("nt,ntk->nk", terms.by_f, g)
    curvature = inverse + (g * terms.weight[..., None]).transpose(0, 2, 1) @ g
    bad = ~(np.isfinite(cost) & np.isfinite(gradient).all(1) & np.isfinite(curvature).all((1, 2)))
    if bad.any():
        cost = np.where(bad, np.inf, cost)
        gradient[bad], curvature[bad] = 0.0, inverse
    return _Seen(cost, made.f, made.by, terms, gradient, curvature)


def _put(seen: _Seen, rows: np.ndarray, tried: _Seen, good: np.ndarray) -> None:
    """Take over what was seen at accepted trials."""
    for name in ("cost", "f", "by", "gradient", "curvature"):
        getattr(seen, name)[rows] = getattr(tried, name)[good]
    for name in vars(seen.terms):
        getattr(seen.terms, name)[rows] = getattr(tried.terms, name)[good]

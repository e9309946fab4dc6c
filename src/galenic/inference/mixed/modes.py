"""The most likely random effects of each individual: minima of

    J(eta) = sum cost(y, f(eta)) + eta' Omega^-1 eta,

all individuals at once, by scoring with H = Omega^-1 + sum weight g g' and halved steps.
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

_ROUNDS = 80


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
) -> Modes:
    """The modes from given effects.

    Parameters
    ----------
    start : array (n, q)
    at : array (n, T), optional
        Predictions at which variances are frozen (FOCE without interaction).
    tolerance : float
        Of J.
    """
    inverse = point.precision
    here = np.array(start, float)
    seen = _look(course, errors, point, here, at, inverse, None)
    lost = ~np.isfinite(seen.cost)
    if lost.any():
        here[lost] = 0.0
        seen = _look(course, errors, point, here, at, inverse, None)
    step, left = _step(seen)
    share = np.minimum(1.0, 4.0 / np.maximum(_size(step, point.omega), 1e-300))
    stuck = np.zeros(len(here), bool)
    for _ in range(_ROUNDS):
        active = np.flatnonzero((left > tolerance) & ~stuck)
        if not len(active):
            break
        trial = here[active] + share[active, None] * step[active]
        tried = _look(course, errors, point, trial, at, inverse, active)
        gain = seen.cost[active] - tried.cost
        promise = share[active] * left[active]
        good = np.isfinite(tried.cost) & (gain >= 0.1 * promise - 1e-11 * np.abs(tried.cost))
        won, lost_rows = active[good], active[~good]
        here[won] = trial[good]
        _put(seen, won, tried, good)
        if len(won):
            new_step, new_left = _step(_rows(seen, won))
            step[won], left[won] = new_step, new_left
            share[won] = np.minimum(1.0, 4.0 / np.maximum(_size(new_step, point.omega), 1e-300))
        share[lost_rows] *= 0.4
        stuck |= share < 1e-8
    return Modes(here, seen.cost, seen.f, seen.by, seen.terms, seen.curvature, left)


def _size(step: Array, omega: Array) -> Array:
    """The largest move in units of population sd."""
    sd = np.sqrt(np.diag(omega))
    return np.asarray(np.max(np.abs(step) / sd, axis=1, initial=0.0))


def _step(seen: _Seen) -> tuple[Array, Array]:
    """Scoring's step and what it promises to take off J."""
    if not seen.gradient.shape[1]:
        return np.zeros_like(seen.gradient), np.zeros(len(seen.gradient))
    step = -np.linalg.solve(seen.curvature, seen.gradient[..., None])[..., 0]
    return np.asarray(step), np.asarray(-np.sum(step * seen.gradient, axis=1))


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


def _rows(seen: _Seen, rows: np.ndarray) -> _Seen:
    return _Seen(
        seen.cost[rows], seen.f, seen.by, seen.terms, seen.gradient[rows], seen.curvature[rows]
    )


def _put(seen: _Seen, rows: np.ndarray, tried: _Seen, good: np.ndarray) -> None:
    """Take over what was seen at accepted trials."""
    for name in ("cost", "f", "by", "gradient", "curvature"):
        getattr(seen, name)[rows] = getattr(tried, name)[good]
    for name in vars(seen.terms):
        getattr(seen.terms, name)[rows] = getattr(tried.terms, name)[good]

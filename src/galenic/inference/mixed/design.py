"""How well a design would tell the numbers of a population: its Fisher information.

First-order information with the block form (fixed effects apart from variances), linearised at
eta = 0; the derivative of the variance of observations by fixed effects is left out. Source:
Mentre, Mallet and Baccar, Biometrika 84:429-442, 1997, doi:10.1093/biomet/84.2.429.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import Individual


@dataclass(frozen=True, eq=False)
class Information:
    """Expected information of a design on the free elements of the search vector.

    Parameters
    ----------
    matrix : array (p, p)
    errors : mapping of name to float
        Expected relative standard errors [1] of reported numbers.
    criterion : float
        |M|^(1/p), what D-optimality maximises.
    """

    matrix: Array
    errors: dict[str, float]
    criterion: float


def information(problem: Problem, vector: Array | None = None) -> Information:
    """The information of all individuals of a problem under their own doses and times.

    Parameters
    ----------
    vector : array, optional
        Where it is computed; the population's own values if left out.
    """
    xi = problem.packing.start() if vector is None else vector
    return _summed(problem, xi, _each(problem, xi).sum(axis=0))


def _each(problem: Problem, xi: Array) -> Array:
    """Information (n, p, p) of each individual."""
    point, packing, course = problem.packing.point(xi), problem.packing, problem.course
    q, size, mask = problem.joined.n_effects, packing.size, course.mask
    none = np.zeros((len(course), q))
    made = course.predict(point.fixed, none)
    assert made.by is not None
    linear = problem.errors.linear(course, made.f, point.sigma)
    slope = made.by * linear.slope[..., None] * mask[..., None]
    g = slope[..., :q]
    width = mask.shape[1]
    spread = g @ point.omega @ g.transpose(0, 2, 1)
    spread[:, np.arange(width), np.arange(width)] += np.where(mask, linear.variance, 1.0)
    inverse = np.linalg.inv(spread)
    columns = slope[..., [course.column(j) for j in range(packing.n_fixed)]]
    total = np.zeros((len(course), size, size))
    n = packing.n_fixed
    total[:, :n, :n] = columns.transpose(0, 2, 1) @ inverse @ columns
    moved = [inverse @ d for d in _by_variances(problem, xi, made.f, g)]
    for a, left in enumerate(moved, start=n):
        for b, right in enumerate(moved[: a - n + 1], start=n):
            value = 0.5 * np.einsum("nij,nji->n", left, right)
            total[:, a, b] = total[:, b, a] = value
    return total


def _by_variances(problem: Problem, xi: Array, f: Array, g: Array) -> list[Array]:
    """Derivatives (n, T, T) of the variance of observations by Omega and sigmas."""
    packing, found = problem.packing, []
    step = 1e-5
    for k in range(packing.n_fixed, packing.size):
        sides = []
        for sign in (1.0, -1.0):
            moved = xi.copy()
            moved[k] += sign * step
            point = packing.point(moved)
            spread = g @ point.omega @ g.transpose(0, 2, 1)
            linear = problem.errors.linear(problem.course, f, point.sigma)
            width = spread.shape[1]
            spread[:, np.arange(width), np.arange(width)] += linear.variance
            sides.append(spread)
        found.append((sides[0] - sides[1]) / (2 * step))
    return found


def _summed(problem: Problem, xi: Array, matrix: Array) -> Information:
    packing = problem.packing
    free = np.flatnonzero(packing.free)
    kept = matrix[np.ix_(free, free)]
    sign, log = np.linalg.slogdet(kept)
    criterion = float(np.exp(log / len(free))) if sign > 0 else 0.0
    errors = dict.fromkeys(problem.names, float("inf"))
    if sign > 0:
        spread = np.linalg.inv(kept)
        for at, k in enumerate(free):
            sides = []
            for step in (1e-5, -1e-5):
                moved = xi.copy()
                moved[k] += step
                sides.append(packing.natural(moved)[k])
            slope = (sides[0] - sides[1]) / 2e-5
            value = packing.natural(xi)[k]
            errors[problem.names[k]] = float(abs(slope / value) * np.sqrt(spread[at, at]))
    return Information(kept, errors, criterion)


@dataclass(frozen=True, eq=False)
class Design:
    """The best times that were found.

    Parameters
    ----------
    times : array [s]
    information : Information
        Of the given number of such subjects.
    """

    times: Array
    information: Information


def optimise(
    problem: Problem,
    candidates: Sequence[float],
    count: int,
    subjects: int = 1,
    vector: Array | None = None,
    starts: int = 4,
    seed: int = 0,
) -> Design:
    """Sampling times that make |M| largest, by exchange of one time after the other.

    Parameters
    ----------
    problem : Problem
        Its first individual gives doses and covariates.
    candidates : sequence of float [s]
        Allowed times.
    count : int
        Times per subject.
    subjects : int
        For which standard errors are expected.
    starts : int
        Random designs from which exchange begins; the best end is taken.
    """
    allowed = np.unique(np.asarray(candidates, float))
    if not 0 < count <= len(allowed):
        raise DataError(f"{count} of {len(allowed)} times", expected="at most as many as allowed")
    xi = problem.packing.start() if vector is None else vector
    rng = np.random.default_rng(seed)
    best: tuple[float, tuple[int, ...]] = (-np.inf, ())
    for _ in range(starts):
        chosen = sorted(rng.choice(len(allowed), count, replace=False))
        best = max(best, _exchange(problem, xi, allowed, list(map(int, chosen))))
    times = allowed[list(best[1])]
    one = _with_times(problem, [times])
    return Design(times, _summed(one, xi, subjects * _each(one, xi)[0]))


def _exchange(
    problem: Problem, xi: Array, allowed: Array, chosen: list[int]
) -> tuple[float, tuple[int, ...]]:
    value = -np.inf
    while True:
        designs = [chosen]
        for k in range(len(chosen)):
            for other in range(len(allowed)):
                if other not in chosen:
                    designs.append(sorted([*chosen[:k], *chosen[k + 1 :], other]))
        made = _with_times(problem, [allowed[d] for d in designs])
        free = np.flatnonzero(problem.packing.free)
        each = _each(made, xi)[:, free][:, :, free]
        signs, logs = np.linalg.slogdet(each)
        logs = np.where(signs > 0, logs, -np.inf)
        at = int(np.argmax(logs))
        if not logs[at] > value + 1e-9:
            return float(value), tuple(chosen)
        value, chosen = logs[at], designs[at]


def _with_times(problem: Problem, times: Sequence[Array]) -> Problem:
    """Individuals like the first one with other times, all endpoints at each."""
    one = problem.course.people[0]
    people = tuple(_observed(one, row, len(problem.records.endpoints)) for row in times)
    return problem.with_records(replace(problem.records, individuals=people))


def _observed(one: Individual, times: Array, endpoints: int) -> Individual:
    size = len(times) * endpoints
    return replace(
        one,
        times=np.repeat(times, endpoints),
        values=np.ones(size),
        endpoint=np.tile(np.arange(endpoints), len(times)),
        censored=np.zeros(size, bool),
        limits=np.full(size, np.nan),
        rows=np.zeros(size, np.int64),
        orders=np.full(size, 10**9),
    )

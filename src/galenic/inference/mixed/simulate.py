"""Observations that a population would give under the design of a data set, and new populations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.inference.algebra import Array
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import Individual, Records

if TYPE_CHECKING:
    from galenic.inference.mixed.fit import Fit

_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Simulated:
    """Replicates of a data set in units of DV.

    Parameters
    ----------
    y : array (replicates, n, T)
        With residual error; nan where there is no observation.
    f : array (replicates, n, T)
        Without.
    effects : array (replicates, n, n_effects)
    """

    y: Array
    f: Array
    effects: Array


def replicates(problem: Problem, vector: Array, count: int, seed: int = 0) -> Simulated:
    """Simulate a data set again and again with new individuals.

    Parameters
    ----------
    vector : array
        Estimates on their search scales, ``fit.vector``.
    count : int
        Replicates.
    seed : int
        Equal seeds give equal numbers.
    """
    rng, point = np.random.default_rng(seed), problem.packing.point(vector)
    course, q = problem.course, problem.joined.n_effects
    n, batch = len(course), max(1, _ROWS // len(course))
    root = np.linalg.cholesky(point.omega) if q else np.zeros((0, 0))
    parts = []
    for first in range(0, count, batch):
        size = min(batch, count - first)
        effects = rng.standard_normal((size * n, q)) @ root.T
        who = np.tile(np.arange(n), size)
        f = course.predict(point.fixed, effects, who, slopes=False).f.reshape(size, n, -1)
        y = np.array([problem.errors.draw(course, one, point.sigma, rng) for one in f])
        parts.append((y, f, effects.reshape(size, n, q)))
    y, f, effects = (np.concatenate(part) for part in zip(*parts, strict=True))
    blank = ~course.mask
    y[:, blank], f[:, blank] = np.nan, np.nan
    return Simulated(y, f, effects)


def data_set(problem: Problem, vector: Array, seed: int = 0) -> Records:
    """One simulated data set as Records, for instance to estimate again from."""
    one = replicates(problem, vector, 1, seed).y[0]
    return with_values(problem, one)


def with_values(problem: Problem, y: Array) -> Records:
    """The records with other observed values (n, T); what lies below a limit is censored."""
    people = []
    for one, row in zip(problem.course.people, y, strict=True):
        values = row[: len(one.times)].copy()
        below = values < one.limits
        censored = np.where(np.isnan(one.limits), False, below)
        people.append(
            replace(one, values=np.where(censored, one.limits, values), censored=censored)
        )
    return replace(problem.course.records, individuals=tuple(people))


def population_records(
    problem: Problem,
    design: Individual | int,
    count: int,
    seed: int = 0,
    covariates: Any = None,
) -> Records:
    """Records of new individuals under one individual's doses and times, without values.

    Parameters
    ----------
    design : Individual or int
        Whose doses and times; a number counts those of the data.
    count : int
        New individuals; their covariates are drawn from the population's unless given.
    covariates : array (count, n_covariates) [SI], optional
    """
    one = problem.course.people[design] if isinstance(design, int) else design
    rng = np.random.default_rng(seed)
    drawn = covariates
    if drawn is None:
        known = {c.name: c for c in problem.population.covariates}
        columns = [known[name].draw(count, rng) for name in problem.records.covariates]
        drawn = np.array(columns).reshape(len(columns), count).T
    people = tuple(
        replace(one, id=str(i + 1), covariates=np.tile(row, (len(one.knots), 1)))
        for i, row in enumerate(np.asarray(drawn, float))
    )
    return replace(problem.records, individuals=people)


def new_subjects(problem: Problem, count: int, seed: int = 0) -> Records:
    """Records of new subjects with doses, times and covariates of subjects drawn from the data."""
    people = problem.course.people
    drawn = np.random.default_rng([seed, 1]).integers(0, len(people), count)
    chosen = tuple(replace(people[i], id=str(k + 1)) for k, i in enumerate(drawn))
    return replace(problem.course.records, individuals=chosen)


def curves(fit: Fit, endpoint: int = 0, points: int = 100) -> tuple[Array, Array, Array]:
    """Times [s] (n, points) with typical and individual predictions of an endpoint.

    A curve goes from an individual's first row to its last observation.
    """
    problem, people = fit.problem, []
    for one in fit.problem.course.people:
        times = np.linspace(one.knots[0], max(one.times[-1], one.knots[0] + 1.0), points)
        size = len(times)
        people.append(
            replace(
                one,
                times=times,
                values=np.ones(size),
                endpoint=np.full(size, endpoint),
                censored=np.zeros(size, bool),
                limits=np.full(size, np.nan),
                rows=np.zeros(size, np.int64),
                orders=np.full(size, 10**9),
            )
        )
    other = problem.with_records(replace(problem.records, individuals=tuple(people)))
    none = np.zeros_like(fit.effects)
    typical = other.course.predict(fit.point.fixed, none, slopes=False).f
    own = other.course.predict(fit.point.fixed, fit.effects, slopes=False).f
    return other.course.times, typical, own

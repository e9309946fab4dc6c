"""How fixed effects move the centres of random effects, where they do so linearly.

With h the scale of a random effect (the logarithm for a log-normal one), an individual's parameter
is h^-1(mu_i + eta). Where mu_i is linear in fixed effects, mu_i = X_i beta, these are a linear
regression of individual values; that holds for typical values and, for instance, for exponents of
covariates that do not change over time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from galenic.inference.algebra import Array
from galenic.inference.mixed.effects import Joined

if TYPE_CHECKING:
    from galenic.inference.mixed.problem import Problem

_STEP = 1e-3


def design(problem: Problem) -> tuple[Array, list[int]]:
    """The matrices X (n, n_effects, k) and which fixed effects their columns are."""
    joined, course = problem.joined, problem.course
    n = len(course)
    columns, chosen = [], []
    for j, follows in enumerate(joined.follows):
        if follows >= 0:
            column = np.zeros((n, joined.n_effects))
            column[:, follows] = 1.0
        else:
            found = _linear(problem, j)
            if found is None:
                continue
            column = found
        columns.append(column)
        chosen.append(j)
    x = np.stack(columns, axis=-1) if columns else np.zeros((n, joined.n_effects, 0))
    return x, chosen


def _linear(problem: Problem, j: int) -> Array | None:
    """The column of a coefficient, None where it is not linear or covariates change."""
    joined, course = problem.joined, problem.course
    moving = any(len(np.unique(one.covariates, axis=0)) > 1 for one in course.people)
    known = {c.name for c in problem.population.coefficients}
    if moving or joined.fixed[j].path not in known:
        return None
    at = joined.inner()
    slopes = []
    for shift in (0.0, 0.3):
        sides = []
        for sign in (1.0, -1.0):
            moved = at.copy()
            moved[j] += shift + sign * _STEP
            sides.append(_scaled(problem, moved))
        slopes.append((sides[0] - sides[1]) / (2 * _STEP))
    if not np.allclose(slopes[0], slopes[1], rtol=1e-6, atol=1e-9):
        return None
    names = [e.path for e in problem.population.system.parameters]
    terms = [t.parameter for t in problem.population.between]
    column = np.zeros((len(course), joined.n_effects))
    for k, name in enumerate(terms):
        column[:, k] = slopes[0][:, names.index(name)]
    others = [
        i
        for i, name in enumerate(names)
        if name not in terms and name != joined.fixed[j].path and slopes[0][:, i].any()
    ]
    return None if others else column


def _scaled(problem: Problem, fixed: Array) -> Array:
    """Parameters (n, n_parameters) of typical individuals on the scales of their effects."""
    course, joined = problem.course, problem.joined
    none = np.zeros((len(course), joined.n_effects))
    theta = course.theta(fixed, none, np.arange(len(course))).T
    cuts = [
        joined.first_covariate,
        joined.first_effect,
        joined.first_effect + joined.n_eta,
        joined.first_mark,
    ]
    parts = np.split(theta[: joined.first_mark + joined.marks], cuts)
    values = np.asarray(joined.parameters(*parts), float).T
    return np.stack([_scale(joined, i, values[:, i]) for i in range(values.shape[1])], axis=1)


def _scale(joined: Joined, i: int, values: Array) -> Array:
    entry = joined.population.system.parameters[i]
    term = joined.term(entry.path)
    if term is None:
        return values
    if term.kind in ("log-normal", "box-cox"):
        return np.asarray(np.log(values))
    if term.kind == "logit":
        share = (values - entry.lower) / (entry.upper - entry.lower)
        return np.asarray(np.log(share / (1 - share)))
    return np.asarray(values / entry.unit.scale)

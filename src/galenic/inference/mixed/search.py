"""A quasi-Newton search that starts from the information in individual gradients.

Progress is told after every step, and the search can be stopped there and gone on with later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from galenic.inference.algebra import Array

_FLAT = 6  # steps that together gain less than the tolerance each end a search

Told = Callable[["Step"], bool | None]


@dataclass(frozen=True)
class Step:
    """Where a search is: iteration, objective, vector, and the share of the work done."""

    iteration: int
    objective: float
    vector: Array
    share: float = 0.0
    phase: str = ""


@dataclass(eq=False)
class Search:
    """The end of a search.

    Parameters
    ----------
    converged : bool
        Whether the gradient promises no more than the tolerance.
    message : str
    trace : list of float
        Objective after each step.
    """

    vector: Array
    objective: float
    converged: bool
    message: str
    trace: list[float] = field(default_factory=list)
    evaluations: int = 0


def minimise(
    function: Callable[[Array], tuple[float, Array]],
    start: Array,
    free: Array,
    tolerance: float = 1e-5,
    iterations: int = 200,
    told: Told | None = None,
) -> Search:
    """Minimise a sum over individuals.

    Parameters
    ----------
    function : callable
        Gives the objective and its gradients by individual (n, size).
    free : array of bool
        Which elements are searched.
    tolerance : float
        Of the objective.
    told : callable, optional
        Gets each Step; returning False stops the search.
    """
    x = np.array(start, float)
    value, each = function(x)
    run = Search(x, value, False, "", [value], 1)
    if not np.isfinite(value):
        run.message = "the objective is not finite at the start"
        return run
    gradient, inverse = each[:, free].sum(axis=0), _metric(each[:, free])
    fresh = True
    for iteration in range(1, iterations + 1):
        step = -inverse @ gradient
        promise = -float(step @ gradient)
        if promise / 2 < tolerance and (not fresh or promise / 2 < 1e-2 * tolerance):
            run.converged, run.message = True, "converged"
            break
        found = _line(function, x, step, free, value, promise, run)
        if found is None:
            if fresh:
                run.converged = promise / 2 < 100 * tolerance
                run.message = "no step lowers the objective"
                break
            inverse, fresh = _metric(each[:, free]), True
            continue
        x_new, value_new, each = found
        gradient_new = each[:, free].sum(axis=0)
        inverse = _updated(inverse, (x_new - x)[free], gradient_new - gradient)
        x, value, gradient, fresh = x_new, value_new, gradient_new, False
        run.vector, run.objective = x, value
        run.trace.append(value)
        if len(run.trace) > _FLAT and run.trace[-1 - _FLAT] - value < _FLAT * tolerance:
            run.converged, run.message = True, "the objective no longer falls"
            break
        if told is not None and told(Step(iteration, value, x, iteration / iterations)) is False:
            run.message = "stopped"
            break
    else:
        run.message = f"no convergence after {iterations} iterations"
    return run


def _metric(each: Array) -> Array:
    """Inverse of half the sum of outer products of gradients, kept away from singular."""
    information = 0.5 * each.T @ each
    size = np.sqrt(np.maximum(np.diag(information), 1e-8))
    scaled = information / np.outer(size, size)
    values, vectors = np.linalg.eigh(scaled)
    values = np.maximum(values, 0.02)
    inverse = (vectors / values) @ vectors.T
    return np.asarray(inverse / np.outer(size, size))


def _updated(inverse: Array, s: Array, y: Array) -> Array:
    """The BFGS update, left out where the curvature is negative."""
    sy = float(s @ y)
    if sy <= 1e-10 * float(np.linalg.norm(s) * np.linalg.norm(y)):
        return inverse
    rho = 1.0 / sy
    left = np.eye(len(s)) - rho * np.outer(s, y)
    return np.asarray(left @ inverse @ left.T + rho * np.outer(s, s))


def _line(
    function: Callable[[Array], tuple[float, Array]],
    x: Array,
    step: Array,
    free: Array,
    value: float,
    promise: float,
    run: Search,
) -> tuple[Array, float, Array] | None:
    """A shorter and shorter step, then one that is longer where the slope says so."""
    share = min(1.0, 1.5 / max(float(np.max(np.abs(step))), 1e-300))
    for _ in range(14):
        trial = x.copy()
        trial[free] += share * step
        found, each = function(trial)
        run.evaluations += 1
        if np.isfinite(found) and found <= value - 1e-4 * share * promise:
            return trial, found, each
        if np.isfinite(found):
            curved = found - value + share * promise
            share *= float(np.clip(0.5 * share * promise / curved, 0.1, 0.5))
        else:
            share *= 0.2
    return None

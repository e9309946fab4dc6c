"""Doses at steady state: how many doses before one make it, and where one may be added on top.

A dose at steady state on top of what there is (SS 2) adds the course of the same dose given ever
before to the running one. The sum is a solution only where equations are linear and homogeneous;
elsewhere such a dose is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import casadi as ca
import numpy as np

from galenic.engine.native import is_linear
from galenic.engine.native.problem import Problem
from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.inference.mixed.effects import Joined
from galenic.inference.mixed.layout import Route
from galenic.inference.mixed.records import Dose, Individual
from galenic.units import unit

_MOST_CYCLES = 400


def cycles(problem: Problem, joined: Joined, people: Sequence[Individual]) -> dict[str, int]:
    """How many doses make a steady state, by the slowest rate of the typical individual."""
    steady = [d for one in people for d in one.doses if d.steady]
    if not steady:
        return {}
    p = problem
    slope = ca.Function("slope", [p.t, p.x, p.z, p.theta], [ca.jacobian(p.ode, p.x)])
    matrix = np.array(slope(0.0, p.nominal[: p.nx], 0.0, _typical(problem, joined)))
    rates = -np.linalg.eigvals(matrix).real
    slowest = min((r for r in rates if r > 1e-12), default=np.inf)
    found: dict[str, int] = {}
    for dose in steady:
        if slowest * dose.ii * _MOST_CYCLES < 14.0:  # a part in a million would be missing
            raise DataError(
                f"a steady state that {_MOST_CYCLES} doses do not reach (rate {slowest:.2g} 1/s)",
                where=f"row {dose.row}, column SS",
                expected=f"II of {14.0 / (slowest * _MOST_CYCLES):.3g} s or more",
                hint="write the earlier doses as rows, with ADDL and II",
            )
        count = int(np.ceil(40.0 / (slowest * dose.ii))) + 2
        found[dose.route] = max(found.get(dose.route, 0), min(count, _MOST_CYCLES))
    return found


def check_on_top(
    problem: Problem, joined: Joined, people: Sequence[Individual], routes: Mapping[str, Route]
) -> None:
    """Refuse SS 2 where courses do not add up, or where parameters move the doses."""
    added = [(one, d) for one in people for d in one.doses if d.steady == 2]
    if not added:
        return
    if not is_linear(problem):
        raise _refused(added[0][1], "equations that are not linear with constant coefficients")
    p, theta = problem, _typical(problem, joined)
    for one in joined.fixed:
        theta[one.place] = theta[one.place] or 1.0
    rest = ca.Function("rest", [p.t, p.x, p.z, p.theta], [p.ode, p.x0])
    slope, start = (np.array(v) for v in rest(0.0, 0.0, 0.0, theta))
    if slope.any() or start.any():
        raise _refused(added[0][1], "a system that is not empty without doses (a baseline)")
    for person, dose in added:
        for other in person.doses:
            route = routes[other.route]
            moved = route.lag or other.rate < 0 or (other.rate > 0 and route.bioavailability)
            if moved:
                raise _refused(dose, f"row {other.row}, a dose that parameters move or stretch")


def _refused(dose: Dose, found: str) -> DataError:
    return DataError(
        f"SS 2, a steady state on top of what there is, with {found}",
        where=f"row {dose.row}, column SS",
        expected="linear equations of an empty system, doses whose times are in the data",
        hint="write the earlier doses as rows, with ADDL and II",
    )


def _typical(problem: Problem, joined: Joined) -> Array:
    """Theta of the typical individual."""
    theta = problem.defaults.copy()
    theta[joined.first_covariate : joined.first_effect] = [
        float(unit(c.unit).scale * c.value) for c in joined.population.covariates
    ]
    theta[joined.first_effect :] = 0.0
    return theta

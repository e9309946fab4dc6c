"""Forward sensitivities: the derivatives of all unknowns by chosen elements of theta as states.

With w = (x, z) and S = dw/dp, the new equations are M S' = (df/dw) S + df/dp. Every column of S has
the same iteration matrix as the states; as equal values are one value of the graph, state and
sensitivities share one factorisation. The step size looks at the states only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import casadi as ca
import numpy as np

from galenic.engine.native.job import Kind
from galenic.engine.native.problem import Problem
from galenic.engine.native.schedule import Events
from galenic.errors import DataError, ModelError


def with_sensitivities(problem: Problem, wrt: Sequence[int]) -> Problem:
    """The problem with dy/dtheta_j for each j of ``wrt`` appended to its outputs.

    Outputs come as y, then dy/dtheta of the first element of ``wrt``, and so on. Start values
    given to a run must be those of the new states as well: (x, S columns), then (z, S columns).

    Parameters
    ----------
    problem : Problem
        The model.
    wrt : sequence of int
        Elements of theta.
    """
    chosen = [problem.theta[int(j)] for j in wrt]
    by = ca.vertcat(*chosen)
    nx, nz, m = problem.nx, problem.nz, len(chosen)
    sx = [ca.SX.sym(f"sx{j}", nx) for j in range(m)]
    sz = [ca.SX.sym(f"sz{j}", nz) for j in range(m)]
    w = ca.vertcat(problem.x, problem.z)
    columns = [ca.vertcat(a, b) for a, b in zip(sx, sz, strict=True)]

    def along(expression: ca.SX) -> list[ca.SX]:
        """The derivative of an expression by each element, the unknowns following."""
        inner, direct = ca.jacobian(expression, w), ca.jacobian(expression, by)
        return [ca.densify(ca.mtimes(inner, s) + direct[:, j]) for j, s in enumerate(columns)]

    rules = _rules(problem, columns, along)
    starts = [ca.densify(ca.jacobian(problem.x0, by)[:, j]) for j in range(m)]
    defaults = np.asarray(problem.defaults, dtype=float)
    scales = [abs(defaults[int(j)]) or 1.0 for j in wrt]
    nominal = [problem.nominal[:nx], *(problem.nominal[:nx] / s for s in scales)]
    nominal += [problem.nominal[nx:], *(problem.nominal[nx:] / s for s in scales)]
    return replace(
        problem,
        x=ca.vertcat(problem.x, *sx),
        z=ca.vertcat(problem.z, *sz),
        ode=ca.vertcat(problem.ode, *along(problem.ode)),
        alg=ca.vertcat(problem.alg, *along(problem.alg)) if nz else problem.alg,
        y=ca.vertcat(problem.y, *along(problem.y)),
        x0=ca.vertcat(problem.x0, *starts),
        z0=problem.z0 + (0.0,) * (nz * m),
        nominal=np.nan_to_num(np.concatenate(nominal), nan=1.0, posinf=1.0),
        states=_names(problem, m),
        outputs=problem.outputs + tuple(f"d{o}/d{j}" for j in wrt for o in problem.outputs),
        rules=rules,
        controlled=None if nz else nx,
        columns=(problem, tuple(int(j) for j in wrt)),
    )


def sensitive_events(events: Events, problem: Problem, wrt: Sequence[int]) -> Events:
    """The events with what they do to the sensitivities, for :func:`with_sensitivities`.

    Amounts are constants but for their factor: where that is an element of ``wrt``, the amount
    itself goes into its column. Elements of ``wrt`` cannot be changed by events.
    """
    nx, place = problem.nx, {int(j): k for k, j in enumerate(wrt)}
    rows: list[tuple[float, int, int, float, int]] = []
    lengths = []
    for time, (kind, index, factor), value in zip(
        events.time, events.what, events.value, strict=True
    ):
        if kind == Kind.THETA and int(index) in place:
            raise DataError(
                f"an event changes element {int(index)} of theta, by which is differentiated",
                hint="differentiate by a parameter that stays as it is",
            )
        mine = [(time, kind, index, value, factor)]
        if kind in (Kind.ADD, Kind.SET, Kind.SCALE) and index < nx:
            for column in range(len(place)):
                state = nx * (1 + column) + index
                mine += _effect(time, int(kind), int(state), value, int(factor), place, column)
        elif kind in (Kind.ADD, Kind.SET, Kind.SCALE):
            mine[0] = (time, kind, index + nx * len(place), value, factor)
        lengths.append(len(mine))
        rows += mine
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    made = Events([0, len(rows)], *(zip(*rows, strict=True) if rows else ([],) * 5))
    made.first, made.last = ends[events.first], ends[events.last]
    return made


def _effect(
    time: float,
    kind: int,
    state: int,
    value: float,
    factor: int,
    place: dict[int, int],
    column: int,
) -> list[tuple[float, int, int, float, int]]:
    """What an event on a state does to one of its sensitivities."""
    own = place.get(factor) == column
    if kind == Kind.SCALE:
        if factor in place:
            raise DataError(
                "an event scales a state by an element of theta by which is differentiated",
                hint="differentiate by a parameter that is no factor of a scaling event",
            )
        return [(time, Kind.SCALE, state, value, factor)]
    if kind == Kind.SET:
        return [(time, Kind.SET, state, value if own else 0.0, -1)]
    return [(time, Kind.ADD, state, value, -1)] if own else []


def _rules(
    problem: Problem, columns: Sequence[ca.SX], along: Callable[[ca.SX], list[ca.SX]]
) -> tuple[ca.SX, ...]:
    """Event rules on states and sensitivities; a state event moves with the parameters."""
    nx, m = problem.nx, len(columns)
    levels = dict(problem.triggers)
    if levels and problem.nz:
        raise ModelError(
            "sensitivities through state events of a model with algebraic equations",
            where=problem.name,
            expected="state events or algebraic equations, not both",
        )
    rules = []
    for number, after in enumerate(problem.rules):
        shifts = [ca.SX(0)] * m
        jump = ca.SX.zeros(nx)
        if number in levels:
            level = levels[number]
            rate = ca.jtimes(level, problem.x, problem.ode) + ca.jacobian(level, problem.t)
            shifts = [-s / rate for s in along(level)]
            flow = ca.jtimes(after[:nx], problem.x, problem.ode)
            flow += ca.jacobian(after[:nx], problem.t)
            later = ca.substitute(problem.ode, problem.x, after[:nx])
            jump = flow - later
        moved = [s[:nx] + jump * shift for s, shift in zip(along(after[:nx]), shifts, strict=True)]
        zs = [column[nx:] for column in columns]
        rules.append(ca.densify(ca.vertcat(after[:nx], *moved, after[nx:], *zs)))
    return tuple(rules)


def _names(problem: Problem, columns: int) -> tuple[str, ...]:
    nx = problem.nx
    x, z = problem.states[:nx], problem.states[nx:]
    extra = tuple(f"d{name}/d#{j}" for j in range(columns) for name in x)
    return x + extra + z + tuple(f"d{name}/d#{j}" for j in range(columns) for name in z)

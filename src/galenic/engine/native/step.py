"""One step of a Rosenbrock method as a program of the graph."""

from __future__ import annotations

from collections.abc import Callable

from galenic.engine.native.equations import Equations, Values
from galenic.engine.native.factor import Entries, Factors, Ordering, factorise
from galenic.engine.native.graph import Graph, Program, Value
from galenic.engine.native.methods import Rosenbrock

Calls = Callable[[str], tuple[str, ...]]
SHRINK, GROW, SAFETY = 0.15, 6.0, 0.9
_WORST = 1e12  # mean square error that stands for one that is no number


def step_program(equations: Equations, method: Rosenbrock, kept: list[int]) -> Program:
    """Reads Y, T, HS; stores YN, the mean square error ERR and D for the states ``kept``.

    ERR includes what the linear solver left of the first stage: a pivot that has lost its digits
    shows there, and the step is refused.
    """
    g = equations.graph
    program = Program("step", g)
    y = load_all(g, "Y", equations.n)
    time, step = g.load("T", 0), g.load("HS", 0)
    inverse = g.div(g.const(1.0), step)
    f, jacobian, drift = equations.linearised(time, y)
    matrix = iteration_matrix(equations, jacobian, g.mul(inverse, g.const(1 / method.gamma)))
    factors = factorise(g, order_of(equations), matrix)
    first = [add_drift(g, f[i], drift[i], step, method.slopes[0]) for i in range(equations.n)]
    stages = [factors.solve(first)]
    argument = y
    for s in range(1, method.stages):
        argument = _argument(g, method, s, y, argument, stages)
        at = g.fma(g.const(method.nodes[s]), step, time) if equations.timed else time
        slope = equations.slopes(at, argument)
        right = []
        for i in range(equations.n):
            value = add_drift(g, slope[i], drift[i], step, method.slopes[s])
            if i < equations.nx:
                value = g.fma(_combination(g, method.coupling[s - 1], stages, i), inverse, value)
            right.append(value)
        stages.append(factors.solve(right))
    new = [g.add(argument[i], stages[-1][i]) for i in range(equations.n)]
    program.store_all("YN", new)
    scales = [reciprocal_scale(g, i, y[i], new[i]) for i in range(controlled(equations))]
    program.store("ERR", 0, mean_square(g, stages[-1], scales))
    left = residual(g, factors, matrix, first, stages[0], len(scales))
    program.store("GUARD", 0, mean_square(g, left, scales))
    for m, row in enumerate(method.dense):
        for j, i in enumerate(kept):
            program.store("D", m * len(kept) + j, _combination(g, row, stages, i))
    return program


def load_all(g: Graph, array: str, n: int) -> Values:
    """All elements of an array."""
    return [g.load(array, i) for i in range(n)]


def order_of(equations: Equations) -> Ordering:
    """The elimination order of the iteration matrix."""
    places = sorted({*equations.pattern, *((i, i) for i in range(equations.nx))})
    return Ordering.of(equations.n, places, equations.nx, equations.magnitudes)


def iteration_matrix(equations: Equations, jacobian: Entries, shift: Value) -> Entries:
    """M / (h gamma) - J by place."""
    g = equations.graph
    matrix = {place: g.neg(value) for place, value in jacobian.items()}
    for i in range(equations.nx):
        matrix[i, i] = g.add(shift, matrix[i, i]) if (i, i) in matrix else shift
    return matrix


def residual(
    g: Graph, factors: Factors, matrix: Entries, right: Values, found: Values, count: int
) -> Values:
    """What the solution leaves of each row, over its pivot: an error of the pivot's unknown."""
    left = list(right)
    for (row, column), value in matrix.items():
        left[row] = g.fma(g.neg(value), found[column], left[row])
    errors = {
        column: g.mul(left[row], inverse) for (row, column), inverse in factors.inverse.items()
    }
    return [errors[i] for i in range(count)]


def mean_square(g: Graph, errors: Values, scales: Values) -> Value:
    """The mean of (error times reciprocal scale) squared."""
    shares = [g.mul(error, scale) for error, scale in zip(errors, scales, strict=False)]
    total = g.total([g.mul(share, share) for share in shares])
    return g.mul(total, g.const(1 / max(len(scales), 1)))


def control_program(g: Graph, method: Rosenbrock) -> Program:
    """Reads ERR and GUARD; stores their sum in ERR2 and the factor for the step size in FAC."""
    program = Program("control", g)
    error = g.add(g.load("ERR", 0), g.load("GUARD", 0))
    known = g.op("eq", error, error)
    error = g.pick(known, error, g.const(_WORST))
    error = g.pick(g.op("lt", g.const(_WORST), error), g.const(_WORST), error)
    floor = g.const(1e-12)
    bounded = g.pick(g.op("lt", error, floor), floor, error)
    factor = g.mul(g.op("root", bounded, g.const(-0.5 / method.order)), g.const(SAFETY))
    factor = g.pick(g.op("lt", factor, g.const(SHRINK)), g.const(SHRINK), factor)
    factor = g.pick(g.op("lt", g.const(GROW), factor), g.const(GROW), factor)
    program.store("ERR2", 0, error)
    program.store("FAC", 0, factor)
    return program


def interpolate(g: Graph, kept: list[int], rows: int, n: int) -> Values:
    """The unknowns at share POS of the step; only those in ``kept`` are made."""
    share = g.load("POS", 0)
    rest = g.sub(g.const(1.0), share)
    values = [g.const(0.0)] * n
    for j, i in enumerate(kept):
        value = g.load("D", (rows - 1) * len(kept) + j)
        for m in range(rows - 2, -1, -1):
            value = g.fma(value, share, g.load("D", m * len(kept) + j))
        value = g.fma(rest, value, g.load("YN", i))
        values[i] = g.fma(rest, g.load("Y", i), g.mul(share, value))
    return values


def controlled(equations: Equations) -> int:
    """The number of unknowns whose error counts."""
    wanted = equations.problem.controlled
    return equations.n if wanted is None else wanted


def _argument(
    g: Graph, method: Rosenbrock, s: int, y: Values, before: Values, stages: list[Values]
) -> Values:
    if s - 1 >= len(method.a):
        return [g.add(u, k) for u, k in zip(before, stages[-1], strict=True)]
    found = []
    for i, value in enumerate(y):
        for share, stage in zip(method.a[s - 1], stages, strict=True):
            value = g.fma(g.const(share), stage[i], value)
        found.append(value)
    return found


def _combination(g: Graph, row: tuple[float, ...], stages: list[Values], i: int) -> Value:
    total = g.mul(g.const(row[0]), stages[0][i])
    for share, stage in zip(row[1:], stages[1:], strict=True):
        total = g.fma(g.const(share), stage[i], total)
    return total


def add_drift(g: Graph, f: Value, drift: Value, step: Value, share: float) -> Value:
    """``f + h d df/dt``."""
    return g.fma(g.mul(step, g.const(share)), drift, f)


def reciprocal_scale(g: Graph, i: int, old: Value, new: Value) -> Value:
    """One over the tolerated error of unknown i."""
    a, b = g.unary("abs", old), g.unary("abs", new)
    size = g.pick(g.op("lt", b, a), a, b)
    return g.div(g.const(1.0), g.fma(g.load("RTOL", 0), size, g.load("ATOL", i)))

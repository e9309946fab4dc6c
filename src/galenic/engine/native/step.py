"""One step of a Rosenbrock method as a program of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from galenic.engine.native.equations import Equations, Values
from galenic.engine.native.factor import Entries, Factors, Ordering, factorise
from galenic.engine.native.graph import Graph, Program, Value
from galenic.engine.native.methods import Rosenbrock
from galenic.engine.native.sides import Sides

Calls = Callable[[str], tuple[str, ...]]
SHRINK, GROW, SAFETY = 0.15, 6.0, 0.9
_WORST = 1e12  # mean square error that stands for one that is no number


def step_program(equations: Equations, method: Rosenbrock, kept: list[int]) -> Program:
    """Reads Y, T, HS; stores YN, the mean square error ERR, and all k of the states ``kept`` in KS.

    GUARD is what the linear solver left of the first stage: a pivot that has lost its digits
    shows there, and the step is refused.
    """
    g = equations.graph
    program = Program("step", g)
    y = load_all(g, "Y", equations.n)
    time, step = g.load("T", 0), g.load("HS", 0)
    f, jacobian, drift = equations.linearised(time, y)
    matrix = iteration_matrix(equations, jacobian, g.const(1 / method.gamma), step)
    factors = factorise(g, order_of(equations), matrix)
    sides = Sides(equations, method, time, y, step)
    first = sides.first(f, drift)
    stages = [factors.solve(first)]
    for s in range(1, method.stages):
        stages.append(factors.solve(sides.of_stage(s, stages)))
    new = [arrival(g, method, y[i], [stage[i] for stage in stages]) for i in range(equations.n)]
    program.store_all("YN", new)
    scales = [reciprocal_scale(g, i, y[i], new[i]) for i in range(controlled(equations))]
    program.store("ERR", 0, mean_square(g, stages[-1], scales))
    left = residual(equations, factors, matrix, first, stages[0], len(scales))
    program.store("GUARD", 0, mean_square(g, left, scales))
    for s, stage in enumerate(stages):
        for j, i in enumerate(kept):
            program.store("KS", s * len(kept) + j, stage[i])
    return program


def arrival(g: Graph, method: Rosenbrock, begin: Value, stages: Sequence[Value]) -> Value:
    """The new value of an unknown."""
    value = begin
    for share, stage in zip(method.a[-1], stages, strict=False):
        value = g.fma(g.const(share), stage, value)
    for stage in stages[len(method.a[-1]) :]:
        value = g.add(value, stage)
    return value


def dense_program(g: Graph, method: Rosenbrock, places: Sequence[int], size: int) -> Program:
    """Reads KS, ``size`` vectors per stage; stores D of the unknowns at ``places`` in it."""
    program = Program("dense", g)
    for m, row in enumerate(method.dense):
        for j, place in enumerate(places):
            total = g.mul(g.const(row[0]), g.load("KS", place))
            for stage, share in enumerate(row[1:], start=1):
                total = g.fma(g.const(share), g.load("KS", stage * size + place), total)
            program.store("D", m * len(places) + j, total)
    return program


def load_all(g: Graph, array: str, n: int) -> Values:
    """All elements of an array."""
    return [g.load(array, i) for i in range(n)]


def order_of(equations: Equations) -> Ordering:
    """The elimination order of the iteration matrix."""
    places = sorted({*equations.pattern, *((i, i) for i in range(equations.nx))})
    return Ordering.of(equations.n, places, equations.nx, equations.magnitudes)


def iteration_matrix(
    equations: Equations, jacobian: Entries, shift: Value, step: Value | None = None
) -> Entries:
    """M shift - J by place; in rows with a derivative M shift - h J where a step is given."""
    g, nx = equations.graph, equations.nx
    matrix = {}
    for (row, column), value in jacobian.items():
        falling = g.neg(value)
        matrix[row, column] = g.mul(step, falling) if step is not None and row < nx else falling
    for i in range(nx):
        slope = jacobian.get((i, i))
        if slope is None:
            matrix[i, i] = shift
        elif step is None:
            matrix[i, i] = g.add(shift, matrix[i, i])
        else:
            matrix[i, i] = g.fma(step, g.neg(slope), shift)
    return matrix


def residual(
    equations: Equations,
    factors: Factors,
    matrix: Entries,
    right: Values,
    found: Values,
    count: int,
) -> Values:
    """What the solution leaves of each row, over its pivot: an error of the pivot's unknown.

    A pivot that grew out of one that was lost is huge and would hide what is left of its row, so
    that of an algebraic row is taken over the largest element of the row, if that is more.
    """
    g = equations.graph
    left = list(right)
    for (row, column), value in matrix.items():
        left[row] = g.fma(g.neg(value), found[column], left[row])
    errors = {
        column: g.mul(left[row], inverse) for (row, column), inverse in factors.inverse.items()
    }
    nominal = [float(size) for size in equations.problem.nominal]
    for row, column in factors.inverse:
        if row < equations.nx:
            continue
        shares = [
            g.mul(g.unary("abs", value), g.const(nominal[c] / nominal[column]))
            for (r, c), value in matrix.items()
            if r == row
        ]
        largest = shares[0]
        for share in shares[1:]:
            largest = g.greatest(largest, share)
        whole = g.div(left[row], largest)
        more = g.op("lt", g.unary("abs", errors[column]), g.unary("abs", whole))
        errors[column] = g.pick(more, whole, errors[column])
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


def reciprocal_scale(g: Graph, i: int, old: Value, new: Value) -> Value:
    """One over the tolerated error of unknown i."""
    a, b = g.unary("abs", old), g.unary("abs", new)
    size = g.pick(g.op("lt", b, a), a, b)
    return g.div(g.const(1.0), g.fma(g.load("RTOL", 0), size, g.load("ATOL", i)))

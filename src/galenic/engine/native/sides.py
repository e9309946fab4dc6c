"""Right-hand sides of the stages of a Rosenbrock method, as values of a graph.

Either f is evaluated at every stage, or its curved terms alone (see ``methods``), whichever is
less work. Rows with a derivative are multiplied by h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from galenic.engine.native.equations import Equations, Values
from galenic.engine.native.graph import Graph, Value
from galenic.engine.native.methods import Rosenbrock

Place = tuple[int, int]
_WORTH = 0.9  # share of the work from which curved terms alone are evaluated


def is_split(equations: Equations, method: Rosenbrock) -> bool:
    """Whether the curved terms alone are evaluated at the stages."""
    whole, terms = equations.split
    stages, n = method.stages, equations.n
    arguments = sum(map(len, method.a)) + stages - 1 - len(method.a)
    direct = (stages - 1) * whole + n * (arguments + sum(map(len, method.coupling)))
    carried = sum(map(len, method.carry[:-1])) + stages
    parted = (stages - 1) * terms + len(equations.curved) * arguments
    parted += len(equations.bent) * (arguments + stages) + n * carried
    parted += stages * len(equations.curved.shares)
    return parted <= _WORTH * direct


class Sides:
    """The right-hand sides of one step.

    Parameters
    ----------
    equations : Equations
        The model.
    method : Rosenbrock
        Coefficients.
    time, y, step : Value, Values, Value
        The begin of the step and its size.
    """

    def __init__(
        self, equations: Equations, method: Rosenbrock, time: Value, y: Values, step: Value
    ) -> None:
        self.equations, self.method, self.graph = equations, method, equations.graph
        self.time, self.y, self.step = time, y, step
        self.split = is_split(equations, method)
        self.begin: Values = []
        self.drift: Values = []
        self.straight: Values = []
        self.argument = y
        self.away = dict.fromkeys(equations.bent, self.graph.const(0.0))
        if self.split:
            self.shares = scaled_shares(equations, step)
            self.terms, self.slopes, self.moving = equations.terms_linearised(time, y)
            self.rho = [drifted(self.graph, None, self.moving, step, method.slopes[0])]
            self.last: Values = []

    def first(self, f: Values, drift: Values) -> Values:
        """The first one, from f and df/dt at the begin."""
        self.begin, self.drift = scaled(self.equations, f, self.step), drift
        share = self.method.slopes[0]
        return scaled(self.equations, drifted(self.graph, f, drift, self.step, share), self.step)

    def of_stage(self, s: int, stages: list[Values]) -> Values:
        """The one of a later stage, from the k so far."""
        return self._parted(s, stages) if self.split else self._whole(s, stages)

    def _moment(self, s: int) -> Value:
        if not self.equations.timed:
            return self.time
        return self.graph.fma(self.graph.const(self.method.nodes[s]), self.step, self.time)

    def _whole(self, s: int, stages: list[Values]) -> Values:
        g, equations = self.graph, self.equations
        self.argument = [
            moved(g, self.method, s, [k[i] for k in stages], self.y[i], before)
            for i, before in enumerate(self.argument)
        ]
        f = equations.slopes(self._moment(s), self.argument)
        f = drifted(g, f, self.drift, self.step, self.method.slopes[s])
        right = []
        for i, value in enumerate(f):
            if i < equations.nx:
                earlier = combination(g, self.method.coupling[s - 1], stages, i)
                value = g.fma(self.step, value, earlier)
            right.append(value)
        return right

    def _parted(self, s: int, stages: list[Values]) -> Values:
        g, equations, method = self.graph, self.equations, self.method
        rho = self._rho(s, stages) if self.terms else []
        before, share = self.straight, method.again[s]
        self.straight = []
        for i, value in enumerate(self.begin):
            total = g.mul(g.const(method.start[s]), value)
            if i < equations.nx and share:
                total = g.mul(g.const(share), before[i])
                total = g.fma(g.const(method.carry[s][-1]), stages[-1][i], total)
            elif i < equations.nx:
                total = combination(g, method.carry[s], stages, i, total)
            self.straight.append(total)
        right = list(self.straight)
        for (row, term), share in self.shares.items():
            right[row] = g.fma(share, rho[term], right[row])
        return right

    def _rho(self, s: int, stages: list[Values]) -> Values:
        g, method = self.graph, self.method
        zero = g.const(0.0)
        for i, before in self.away.items():
            self.away[i] = moved(g, method, s, [k[i] for k in stages], zero, before)
        argument = [g.add(v, self.away[i]) if i in self.away else v for i, v in enumerate(self.y)]
        terms = self.equations.terms(self._moment(s), argument)
        rest = tangent_rest(self.equations, terms, self.terms, self.slopes, self.away)
        rest = drifted(g, rest, self.moving, self.step, method.slopes[s])
        if s - 1 < len(method.a):
            found = list(rest)
            for m in range(len(found)):
                for share, earlier in zip(method.a[s - 1], self.rho, strict=True):
                    found[m] = g.fma(g.const(-share), earlier[m], found[m])
        else:
            found = [g.sub(now, before) for now, before in zip(rest, self.last, strict=True)]
        self.rho.append(found)
        self.last = rest
        return found


def scaled(equations: Equations, f: Values, step: Value) -> Values:
    """The values times h in rows with a derivative, as they are in the others."""
    g, nx = equations.graph, equations.nx
    return [g.mul(step, value) if i < nx else value for i, value in enumerate(f)]


def scaled_shares(equations: Equations, step: Value) -> dict[Place, Value]:
    """The shares of the curved terms in the rows of ``scaled``."""
    g, nx = equations.graph, equations.nx
    return {
        (row, term): g.mul(step, share) if row < nx else share
        for (row, term), share in equations.shares().items()
    }


def drifted(g: Graph, f: Values | None, drift: Values, step: Value, share: float) -> Values:
    """``f + h d df/dt``; f is zero if left out."""
    moved = g.mul(step, g.const(share))
    given = f or [g.const(0.0)] * len(drift)
    return [g.fma(moved, rate, value) for value, rate in zip(given, drift, strict=True)]


def moved(
    g: Graph, method: Rosenbrock, s: int, stages: Sequence[Value], begin: Value, before: Value
) -> Value:
    """An unknown at stage s from its value at the begin of the step, or at the stage before."""
    if s - 1 >= len(method.a):
        return g.add(before, stages[-1])
    for share, stage in zip(method.a[s - 1], stages, strict=True):
        begin = g.fma(g.const(share), stage, begin)
    return begin


def tangent_rest(
    equations: Equations,
    terms: Values,
    begin: Values,
    slopes: Mapping[Place, Value],
    away: Mapping[int, Value],
) -> Values:
    """What terms have over their tangents from the begin of the step.

    For quadratic terms that is a product, without a difference of nearly equal values.
    """
    g, bends = equations.graph, equations.bends(away)
    rest = [g.sub(now, then) for now, then in zip(terms, begin, strict=True)]
    for (term, column), slope in slopes.items():
        if term not in bends:
            rest[term] = g.fma(g.neg(slope), away[column], rest[term])
    return [bends.get(term, value) for term, value in enumerate(rest)]


def combination(
    g: Graph, row: Sequence[float], stages: list[Values], i: int, total: Value | None = None
) -> Value:
    """``total`` and the k of unknown i, each with its share."""
    value = g.const(0.0) if total is None else total
    for share, stage in zip(row, stages, strict=True):
        value = g.fma(g.const(share), stage[i], value)
    return value

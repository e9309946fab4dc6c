"""Linear models with constant coefficients: exact steps from event to event and output to output.

y' = A y + b has y(t + h) = y + P y with P = exp(h A) - 1, where b joins A as the column of a state
that is always 1. P comes from a Taylor polynomial of degree 15 of the halved matrix and squaring
as 2 P + P P, which keeps the digits of small entries. Only entries that can be non-zero are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from galenic.engine.native.driving import Driver
from galenic.engine.native.equations import Equations
from galenic.engine.native.graph import Graph, Program, Value
from galenic.engine.native.scribe import Layout, Scribe
from galenic.engine.native.step import Calls, load_all

Place = tuple[int, int]
Matrix = dict[Place, Value]

_REACH = 0.5  # norm up to which the polynomial is exact: 0.5**16 / 16! = 7e-19
_MOST_HALVINGS = 60
_LARGEST = 1500  # products of one matrix multiplication


class ExactStep:
    """The programs and the driver of exact steps.

    Parameters
    ----------
    equations : Equations
        A linear model.
    """

    def __init__(self, equations: Equations) -> None:
        self.equations, self.graph, self.n = equations, equations.graph, equations.n
        self.places = sorted(_closure(_pattern(equations)))
        self.slots = {place: k for k, place in enumerate(self.places)}
        self.programs = [self._scale(), self._polynomial(), self._square(), self._propagate()]

    def lay_out(self, layout: Layout) -> None:
        """Reserve the arrays of the step."""
        sizes = {"P": len(self.places), "PNEW": len(self.places)}
        for name in ("HALVINGS", "LEFT", "LEFTNEW", "HLAST"):
            sizes[name] = 1
        for name, size in sizes.items():
            layout.add(name, size)

    def text(self, layout: Layout, calls: Calls) -> str:
        """The functions ``step`` and ``control``: P where a step size is new, then the states."""
        s = Driver(layout)
        size = s.load("HS")
        changed = s.compare("une", size, s.load("HLAST"))
        with s.when(s.any(changed)):
            s.store("HLAST", size)
            s.call_all((*calls("scale"), *calls("polynomial")))
            self._repeat(s, calls)
        s.call_all(calls("propagate"))
        s.store("FAC", s.const(1.0))
        s.store("GUARD", "zeroinitializer")
        return s.function("step", "ptr noalias %ws")

    def _repeat(self, s: Driver, calls: Calls) -> None:
        """Square as often as each lane was halved."""
        with s.forever() as (_, out):
            more = s.label("more")
            s.branch(s.any(s.compare("ogt", s.load("LEFT"), s.const(0.0))), more, out)
            s.begin(more)
            s.call_all(calls("square"))
            with s.loop(len(self.places)) as i:
                s.store("P", s.load("PNEW", i), i)
            s.store("LEFT", s.load("LEFTNEW"))

    def _matrix(self) -> Matrix:
        """A with b as its last column; fixed values."""
        g, n = self.graph, self.n
        zero = g.const(0.0)
        _, jacobian, _ = self.equations.linearised(zero, [zero] * n)
        matrix = {place: value for place, value in jacobian.items() if g.number(value) != 0}
        for i, value in enumerate(self.equations.slopes(zero, [zero] * n)):
            if g.number(value) != 0:
                matrix[i, n] = value
        return matrix

    def _scale(self) -> Program:
        """Reads HS; stores how often the matrix is to be halved."""
        g = self.graph
        program = Program("scale", g)
        nominal = [*(float(v) for v in self.equations.problem.nominal), 1.0]
        rows: dict[int, list[Value]] = {}
        for (row, column), value in self._matrix().items():
            share = g.const(nominal[column] / nominal[row])
            rows.setdefault(row, []).append(g.mul(g.unary("abs", value), share))
        norm = g.const(0.0)
        for terms in rows.values():
            norm = g.greatest(norm, g.total(terms))
        reach = g.mul(g.unary("abs", g.load("HS", 0)), g.mul(norm, g.const(1 / _REACH)))
        wanted = g.unary("ceil", g.mul(g.unary("log", reach), g.const(1 / math.log(2))))
        none = g.const(0.0)
        count = g.pick(g.op("lt", none, wanted), wanted, none)
        most = g.const(float(_MOST_HALVINGS))
        count = g.pick(g.op("lt", most, count), most, count)
        program.store("HALVINGS", 0, count)
        program.store("LEFT", 0, count)
        return program

    def _polynomial(self) -> Program:
        """Reads HS, HALVINGS; stores P of the halved matrix."""
        g = self.graph
        program = Program("polynomial", g)
        step = g.mul(g.load("HS", 0), g.op("two_to", g.neg(g.load("HALVINGS", 0))))
        power: dict[int, Matrix] = {
            1: {place: g.mul(step, value) for place, value in self._matrix().items()}
        }
        for k in (2, 3, 4):
            power[k] = _product(g, power[k - 1], power[1])
        total: Matrix = {}
        for group in (12, 8, 4, 0):
            total = _product(g, total, power[4])
            for k in (1, 2, 3, 0):
                if group + k > 0:
                    share = g.const(1 / math.factorial(group + k))
                    _add(g, total, power[k] if k else self._one(), share)
        program.store_all("P", (total.get(p, g.const(0.0)) for p in self.places))
        return program

    def _one(self) -> Matrix:
        one = self.graph.const(1.0)
        return {(i, i): one for i in range(self.n + 1)}

    def _square(self) -> Program:
        """Reads P, LEFT; stores 2 P + P P in the lanes that have halvings left."""
        g = self.graph
        program = Program("square", g)
        old: Matrix = {place: g.load("P", k) for place, k in self.slots.items()}
        new = _product(g, old, old)
        left = g.load("LEFT", 0)
        going = g.op("lt", g.const(0.0), left)
        for place, k in self.slots.items():
            twice = g.add(old[place], old[place])
            value = g.add(twice, new[place]) if place in new else twice
            program.store("PNEW", k, g.pick(going, value, old[place]))
        program.store("LEFTNEW", 0, g.sub(left, g.const(1.0)))
        return program

    def _propagate(self) -> Program:
        """Reads Y, P; stores YN, and ERR2 as 0 or, where a state is not finite, as infinite."""
        g, n = self.graph, self.n
        program = Program("propagate", g)
        y = [*load_all(g, "Y", n), g.const(1.0)]
        new = list(y[:n])
        for (row, column), k in self.slots.items():
            if row < n:
                new[row] = g.fma(g.load("P", k), y[column], new[row])
        program.store_all("YN", new)
        size = g.total([g.unary("abs", value) for value in new])
        finite = g.op("lt", size, g.const(math.inf))
        program.store("ERR2", 0, g.pick(finite, g.const(0.0), g.const(math.inf)))
        return program


def is_exact(equations: Equations) -> bool:
    """Whether the model is linear with constant coefficients and small enough for exact steps."""
    if not equations.linear or equations.problem.triggers:
        return False
    places = _closure(_pattern(equations))
    below: dict[int, int] = {}
    for row, _ in places:
        below[row] = below.get(row, 0) + 1
    return sum(below.get(column, 0) for _, column in places) <= _LARGEST


def interpolated(g: Graph, n: int) -> list[Value]:
    """The states at an output: those at the begin or at the end of the step."""
    at_begin = g.op("eq", g.load("POS", 0), g.const(0.0))
    return [g.pick(at_begin, g.load("Y", i), g.load("YN", i)) for i in range(n)]


def forget(s: Scribe) -> None:
    """After a change of parameters P is made anew."""
    s.store("HLAST", s.const(math.nan))


def _pattern(equations: Equations) -> set[Place]:
    """Places of A and b that can be non-zero."""
    n = equations.n
    return {*equations.pattern, *((row, n) for row in equations.offset_rows)}


def _closure(pattern: set[Place]) -> set[Place]:
    """Places of the exponential without the unit matrix, the paths of the pattern."""
    reach: dict[int, set[int]] = {}
    for row, column in pattern:
        reach.setdefault(row, set()).add(column)
    found = set()
    for row in reach:
        stack, seen = list(reach[row]), set(reach[row])
        while stack:
            for column in reach.get(stack.pop(), ()):
                if column not in seen:
                    seen.add(column)
                    stack.append(column)
        found |= {(row, column) for column in seen}
    return found


def _product(g: Graph, left: Mapping[Place, Value], right: Mapping[Place, Value]) -> Matrix:
    rows: dict[int, list[tuple[int, Value]]] = {}
    for (row, column), value in right.items():
        rows.setdefault(row, []).append((column, value))
    terms: Matrix = {}
    for (row, middle), value in sorted(left.items()):
        for column, other in rows.get(middle, ()):
            before = terms.get((row, column))
            product = g.mul(value, other)
            terms[row, column] = product if before is None else g.fma(value, other, before)
    return terms


def _add(g: Graph, total: Matrix, other: Mapping[Place, Value], share: Value) -> None:
    for place, value in other.items():
        before = total.get(place, g.const(0.0))
        total[place] = g.fma(share, value, before)

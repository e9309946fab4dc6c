"""The derivatives that sensitivities need of a model, on a graph, without what is zero."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import casadi as ca

from galenic.engine.native.affine import Form, forms
from galenic.engine.native.equations import Equations, Values
from galenic.engine.native.factor import Place
from galenic.engine.native.graph import Value
from galenic.engine.native.lower import lower
from galenic.engine.tape import Tape

Columns = list[dict[int, Value]]


class Tangents:
    """Derivatives of f and of its Jacobian along columns of sensitivities.

    Parameters
    ----------
    equations : Equations
        The model without sensitivities.
    wrt : sequence of int
        Elements of theta, one for each column.
    """

    def __init__(self, equations: Equations, wrt: Sequence[int]) -> None:
        self.equations, self.graph = equations, equations.graph
        problem = equations.problem
        self.n, self.count = equations.n, len(wrt)
        self._w = ca.vertcat(problem.x, problem.z)
        self._arguments = [problem.t, self._w, problem.theta]
        self._f = ca.densify(ca.vertcat(problem.ode, problem.alg))
        self._by = ca.vertcat(*(problem.theta[int(j)] for j in wrt))
        self._columns = [ca.SX.sym(f"s{j}", self.n) for j in range(self.count)]
        self.affine = equations.affine
        self.places = [place for place in equations.pattern if not self.affine[place[0]]]

    @cached_property
    def moving(self) -> list[Place]:
        """Places of the Jacobian whose value changes with the unknowns or the time."""
        if not self.places:
            return []
        tape = Tape(ca.Function("entries", self._arguments, [self._entries]))
        found = forms(tape, {1}, {0})[0]
        return [
            place for place, form in zip(self.places, found, strict=True) if form > Form.CONSTANT
        ]

    @property
    def _entries(self) -> ca.SX:
        jacobian = ca.jacobian(self._f, self._w)
        return ca.vertcat(*(jacobian[row, column] for row, column in self.places))

    @cached_property
    def _slopes(self) -> ca.SX:
        return ca.jacobian(self._f, self._by)

    def direct(self, time: Value, u: Values, v: Values) -> Columns:
        """The derivatives of f by each element of ``wrt``: at u, of affine rows at v.

        Affine rows are multiplied out: their coefficients change with parameters alone.
        """
        zeros = [self.graph.const(0.0)] * self.n
        found: Columns = [{} for _ in range(self.count)]
        for at, affine in ((u, False), (zeros, True)):
            places = [place for place in self._sloped if self.affine[place[0]] == affine]
            values = self._lowered([self._slopes[place] for place in places], [[time], at])
            for (row, column), value in zip(places, values, strict=True):
                if self.graph.number(value) != 0:
                    found[column][row] = value
        self._add_products(found, v)
        return found

    @cached_property
    def _sloped(self) -> list[Place]:
        return list(zip(*self._slopes.sparsity().get_triplet(), strict=True))

    def _add_products(self, found: Columns, v: Values) -> None:
        """The terms of affine rows that are proportional to an unknown."""
        g = self.graph
        places = [place for place in self._sloped if self.affine[place[0]]]
        expressions = ca.vertcat(*(self._slopes[place] for place in places))
        if not places:
            return
        inner = ca.jacobian(expressions, self._w)
        triplets = list(zip(*inner.sparsity().get_triplet(), strict=True))
        values = self._lowered([inner[one] for one in triplets], [[g.load("T", 0)], v])
        for (k, unknown), value in zip(triplets, values, strict=True):
            row, column = places[k]
            before = found[column].get(row, g.const(0.0))
            found[column][row] = g.fma(value, v[unknown], before)

    def turned(
        self, time: Value, y: Values, columns: Sequence[Values]
    ) -> tuple[list[dict[Place, Value]], Columns]:
        """How the entries at ``places`` and df/dt change along each column."""
        drift = ca.densify(ca.jacobian(self._f, self.equations.problem.t))
        turns = [self._along(self._entries, j) for j in range(self.count)]
        drifts = [self._along(drift, j) for j in range(self.count)]
        given = [[time], y, *columns]
        entries: list[dict[Place, Value]] = []
        rows: Columns = []
        for turn, change in zip(turns, drifts, strict=True):
            used = [k for k in range(len(self.places)) if not turn[k].is_zero()]
            values = self._lowered([turn[k] for k in used], given)
            entries.append({self.places[k]: v for k, v in zip(used, values, strict=True)})
            wanted = [r for r in range(self.n) if not change[r].is_zero()]
            values = self._lowered([change[r] for r in wanted], given)
            rows.append(dict(zip(wanted, values, strict=True)))
        return entries, rows

    def _along(self, expression: ca.SX, column: int) -> ca.SX:
        if not expression.numel():
            return expression
        inner = ca.jacobian(expression, self._w)
        direct = ca.jacobian(expression, self._by)[:, column]
        return ca.simplify(ca.densify(ca.mtimes(inner, self._columns[column]) + direct))

    def _lowered(self, expressions: list[ca.SX], given: list[Values]) -> Values:
        """Values of expressions of (t, y, columns, theta)."""
        if not expressions:
            return []
        t, w, theta = self._arguments
        columns = self._columns if len(given) > 2 else []
        function = ca.Function("along", [t, w, *columns, theta], [ca.vertcat(*expressions)])
        return lower(self.graph, Tape(function), [*given, self.equations.theta])[0]

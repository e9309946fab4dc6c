"""The equations of a Problem as tapes, with exact sparse derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import casadi as ca
import numpy as np

from galenic.engine.intervals import Bounds, Enclosure
from galenic.engine.native.affine import Form, forms
from galenic.engine.native.curved import Curved, curved_part
from galenic.engine.native.graph import Graph, Value
from galenic.engine.native.lower import lower
from galenic.engine.native.problem import Problem
from galenic.engine.tape import Tape
from galenic.errors import ModelError

Values = list[Value]


class Equations:
    """Values of right-hand side, derivatives, outputs and event maps on a graph.

    The unknowns are x and z in one vector of length n; rows of f are ode, then alg.
    """

    def __init__(self, problem: Problem, graph: Graph) -> None:
        self.problem, self.graph = problem, graph
        self.n, self.nx = problem.n, problem.nx
        self.theta = [graph.load("THETA", i) for i in range(problem.n_theta)]
        self._unknowns = ca.vertcat(problem.x, problem.z)
        self._f = ca.densify(ca.vertcat(problem.ode, problem.alg))

    @cached_property
    def _jacobian(self) -> ca.SX:
        return ca.jacobian(self._f, self._unknowns)

    @cached_property
    def _drift(self) -> ca.SX:
        return ca.jacobian(self._f, self.problem.t)

    @cached_property
    def pattern(self) -> list[tuple[int, int]]:
        """(row, column) of the non-zeros of df/dy in the order of their values."""
        sparsity = self._jacobian.sparsity()
        return list(zip(sparsity.row(), sparsity.get_col(), strict=True))

    @cached_property
    def magnitudes(self) -> dict[tuple[int, int], float]:
        """Sizes of the derivatives of algebraic rows at nominal values, in nominal units."""
        problem = self.problem
        if not problem.nz:
            return {}
        function = ca.Function(
            "sizes", [problem.t, self._unknowns, problem.theta], [self._jacobian]
        )
        nominal = np.asarray(problem.nominal)
        at = np.concatenate([nominal[: self.nx], problem.z0])
        sizes = np.abs(np.array(function(0.0, at, problem.defaults).nonzeros(), dtype=float))
        usable = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1e-12)
        return {
            (row, column): float(size) * nominal[column]
            for (row, column), size in zip(self.pattern, usable, strict=True)
            if row >= self.nx
        }

    def algebraic(self, time: Value, y: Values) -> tuple[Values, dict[tuple[int, int], Value]]:
        """The algebraic residuals and their derivatives by z, places counted in z."""
        found = lower(self.graph, self._algebraic, [[time], y, self.theta])
        return found[0], dict(zip(self._algebraic_pattern, found[1], strict=True))

    @cached_property
    def _algebraic_jacobian(self) -> ca.SX:
        return ca.jacobian(self.problem.alg, self.problem.z)

    @cached_property
    def _algebraic_pattern(self) -> list[tuple[int, int]]:
        sparsity = self._algebraic_jacobian.sparsity()
        return list(zip(sparsity.row(), sparsity.get_col(), strict=True))

    @cached_property
    def _algebraic(self) -> Tape:
        return self._tape(ca.densify(self.problem.alg), self._algebraic_jacobian.nz[:])

    @cached_property
    def linear(self) -> bool:
        """Whether f = A(theta) y + b(theta), without algebraic equations."""
        return bool(self.n) and not self.problem.nz and not self.timed and all(self.affine)

    @cached_property
    def affine(self) -> list[bool]:
        """For each row of f, whether it is A(theta) y + b(t, theta)."""
        return [form <= Form.AFFINE for form in forms(self._rhs, {1}, {0})[0]]

    @cached_property
    def offset_rows(self) -> list[int]:
        """Rows of f that do not vanish with the unknowns: where b of a linear model may be."""
        problem = self.problem
        rest = ca.substitute(
            self._f, ca.vertcat(self._unknowns, problem.t), ca.DM.zeros(self.n + 1)
        )
        return [i for i in range(self.n) if not ca.simplify(rest[i]).is_zero()]

    @cached_property
    def timed(self) -> bool:
        """Whether f contains the time; its derivative by it may be zero all the same."""
        return any(step.name == "input" and step.place[0] == 0 for step in self._rhs.instructions)

    def slopes(self, time: Value, y: Values) -> Values:
        """f(t, y)."""
        return lower(self.graph, self._rhs, [[time], y, self.theta])[0]

    def linearised(
        self, time: Value, y: Values
    ) -> tuple[Values, dict[tuple[int, int], Value], Values]:
        """f, the non-zeros of df/dy by place, and df/dt."""
        f, entries, drift = lower(self.graph, self._full, [[time], y, self.theta])
        jacobian = dict(zip(self.pattern, entries, strict=True))
        return self._straightened(f, jacobian, y), jacobian, drift

    def _straightened(self, f: Values, jacobian: dict[tuple[int, int], Value], y: Values) -> Values:
        """Linear rows made of the derivatives, which are needed anyway."""
        g = self.graph
        zero = g.const(0.0)
        offsets = lower(g, self._rhs, [[zero], [zero] * self.n, self.theta])[0]
        sums: dict[int, Values] = {i: [] for i in range(self.n)}
        for (row, column), slope in jacobian.items():
            sums[row].append(g.mul(slope, y[column]))
        return [
            value if i in self._curved_rows else g.total([offsets[i], *sums[i]])
            for i, value in enumerate(f)
        ]

    @cached_property
    def curved(self) -> Curved:
        """What of f is no linear combination of unknowns."""
        changing = ca.vertcat(self._unknowns, self.problem.t)
        return curved_part(self._f, changing, self.problem.theta)

    @cached_property
    def _curved_rows(self) -> set[int]:
        return {row for row, _ in self.curved.shares}

    @cached_property
    def split(self) -> tuple[int, int]:
        """Operations of one evaluation of f, and of its curved terms with their tangents."""
        terms = _work(self._terms) + self._terms_jacobian.nnz() + 2 * len(self.curved)
        return _work(self._rhs), terms

    @cached_property
    def bent(self) -> list[int]:
        """The unknowns that the curved terms look at."""
        return self.reads(self.curved.terms)

    def shares(self) -> dict[tuple[int, int], Value]:
        """The shares of the curved terms in the rows of f by (row, term); fixed values."""
        entries = self.curved.shares
        if not entries:
            return {}
        tape = Tape(ca.Function("shares", [self.problem.theta], [ca.vertcat(*entries.values())]))
        return dict(zip(entries, lower(self.graph, tape, [self.theta])[0], strict=True))

    def terms(self, time: Value, y: Values) -> Values:
        """The curved terms."""
        return lower(self.graph, self._terms, [[time], y, self.theta])[0]

    def terms_linearised(
        self, time: Value, y: Values
    ) -> tuple[Values, dict[tuple[int, int], Value], Values]:
        """The curved terms, their derivatives by the unknowns by (term, unknown), and by time."""
        found, entries, drift = lower(self.graph, self._terms_full, [[time], y, self.theta])
        sparsity = self._terms_jacobian.sparsity()
        places = zip(sparsity.row(), sparsity.get_col(), strict=True)
        return found, dict(zip(places, entries, strict=True)), drift

    def bends(self, away: Mapping[int, Value]) -> dict[int, Value]:
        """What quadratic terms have over their tangents: half the second derivatives, twice along.

        Parameters
        ----------
        away : dict
            How far the unknowns ``bent`` are from where the tangents touch.
        """
        along = [away.get(i, self.graph.const(0.0)) for i in range(self.n)]
        found = lower(self.graph, self._bends, [[self.graph.const(0.0)], along, self.theta])[0]
        return {m: found[m] for m in self.quadratic}

    @cached_property
    def quadratic(self) -> list[int]:
        """The curved terms of second degree in the unknowns whose coefficients do not change."""
        found = forms(self._terms, {1}, {0})[0]
        timed = ca.which_depends(self.curved.terms, self.problem.t, 1, True) if found else []
        return [m for m, form in enumerate(found) if form == Form.QUADRATIC and not timed[m]]

    @cached_property
    def _bends(self) -> Tape:
        terms = []
        for m in range(len(self.curved)):
            total = ca.SX(0)
            if m in self.quadratic:
                second = ca.hessian(self.curved.terms[m], self._unknowns)[0]
                for row, column in zip(*second.sparsity().get_triplet(), strict=True):
                    product = self._unknowns[row] * self._unknowns[column]
                    if row < column:
                        total += second[row, column] * product
                    elif row == column:
                        total += second[row, column] / 2 * product
            terms.append(total)
        return self._tape(ca.vertcat(*terms))

    @cached_property
    def _terms(self) -> Tape:
        return self._tape(self.curved.terms)

    @cached_property
    def _terms_jacobian(self) -> ca.SX:
        return ca.jacobian(self.curved.terms, self._unknowns)

    @cached_property
    def _terms_full(self) -> Tape:
        terms, jacobian = self.curved.terms, self._terms_jacobian
        entries = jacobian.nz[:] if jacobian.nnz() else ca.SX(0, 1)
        return self._tape(terms, entries, ca.densify(ca.jacobian(terms, self.problem.t)))

    def outputs(self, time: Value, y: Values) -> Values:
        """The observed quantities."""
        return lower(self.graph, self._outputs, [[time], y, self.theta])[0]

    def levels(self, time: Value, y: Values) -> Values:
        """The triggers."""
        return lower(self.graph, self._levels, [[time], y, self.theta])[0]

    def level_bounds(self, enclosure: Enclosure, time: Bounds, y: list[Bounds]) -> list[Bounds]:
        """Bounds of the triggers over an interval of time."""
        theta = [Bounds(value, value) for value in self.theta]
        return enclosure.of(self._levels, [[time], y, theta])[0]

    def rate_bounds(
        self,
        enclosure: Enclosure,
        time: tuple[Bounds, Bounds],
        y: list[Bounds],
        slopes: list[Bounds],
    ) -> list[Bounds]:
        """Bounds of the rates of the triggers, where time and unknowns move at given rates."""
        theta = [Bounds(value, value) for value in self.theta]
        return enclosure.of(self._rates, [[time[0]], y, theta, slopes, [time[1]]])[0]

    def after(self, rule: int, time: Value, y: Values) -> Values:
        """The unknowns after event rule number ``rule``."""
        tape = self._tape(self.problem.rules[rule])
        return lower(self.graph, tape, [[time], y, self.theta])[0]

    def start(self) -> Values:
        """The unknowns at the start, from parameters alone."""
        problem = self.problem
        try:
            function = ca.Function("start", [problem.theta], [ca.densify(problem.x0)])
        except RuntimeError as error:
            raise ModelError(
                "a start value depends on more than parameters",
                where=problem.name,
                hint="start values may use parameters only",
            ) from error
        x = lower(self.graph, Tape(function), [self.theta])[0]
        return x + [self.graph.const(value) for value in problem.z0]

    @cached_property
    def seen(self) -> list[int]:
        """The unknowns that outputs look at."""
        return self.reads(self.problem.y)

    @cached_property
    def watched(self) -> list[int]:
        """The unknowns that triggers look at."""
        return self.reads(ca.vertcat(*(level for _, level in self.problem.triggers)))

    def reads(self, expression: ca.SX) -> list[int]:
        """Unknowns an expression depends on."""
        pattern = ca.jacobian_sparsity(expression, self._unknowns) if expression.numel() else None
        return sorted(set(pattern.get_col())) if pattern is not None else []

    @cached_property
    def _rhs(self) -> Tape:
        return self._tape(self._f)

    @cached_property
    def _full(self) -> Tape:
        entries = self._jacobian.nz[:] if self._jacobian.nnz() else ca.SX(0, 1)
        rows = [self._f[i] if i in self._curved_rows else ca.SX(0) for i in range(self.n)]
        return self._tape(ca.vertcat(*rows), entries, ca.densify(self._drift))

    @cached_property
    def _outputs(self) -> Tape:
        return self._tape(self.problem.y)

    @cached_property
    def _levels(self) -> Tape:
        return self._tape(ca.vertcat(*(level for _, level in self.problem.triggers)))

    @cached_property
    def _rates(self) -> Tape:
        problem, w = self.problem, self._unknowns
        levels = ca.vertcat(*(level for _, level in problem.triggers))
        slopes, speed = ca.SX.sym("slopes", self.n), ca.SX.sym("speed")
        rates = ca.jtimes(levels, w, slopes) + ca.jacobian(levels, problem.t) * speed
        given = [problem.t, w, problem.theta, slopes, speed]
        return Tape(ca.Function("rates", given, [ca.densify(rates)]))

    def _tape(self, *expressions: ca.SX) -> Tape:
        problem = self.problem
        arguments = [problem.t, self._unknowns, problem.theta]
        try:
            return Tape(ca.Function(_plain(problem.name), arguments, list(expressions)))
        except RuntimeError as error:
            raise ModelError(
                f"{problem.name} contains a symbol that is no quantity of the model",
                where=problem.name,
                hint=str(error).strip().splitlines()[-1],
            ) from error


def _work(tape: Tape) -> int:
    """Operations of a tape of (t, y, theta) that are to be done anew when t or y change."""
    changing: set[int] = set()
    count = 0
    for step in tape.instructions:
        moves = step.place[0] < 2 if step.name == "input" else not changing.isdisjoint(
            step.arguments
        )  # fmt: skip
        if step.name == "output":
            continue
        (changing.add if moves else changing.discard)(step.slot)
        count += moves and step.name != "input"
    return count


def _plain(name: str) -> str:
    """A name CasADi takes for a Function."""
    kept = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return f"model_{kept}".replace("__", "_").rstrip("_")

"""One step of a Rosenbrock method for many unknowns: stages share their code.

The right-hand side and the triangular solves are functions called once per stage, the combinations
of stages are loops; so code size grows with the model, not with model times stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from galenic.engine.native.equations import Equations
from galenic.engine.native.factor import Factors, Place, factorise
from galenic.engine.native.graph import Program, Value
from galenic.engine.native.methods import Rosenbrock
from galenic.engine.native.scribe import Layout, Scribe
from galenic.engine.native.step import (
    Calls,
    add_drift,
    controlled,
    iteration_matrix,
    load_all,
    order_of,
    residual,
)

_K = TypeVar("_K")


class LoopedStep:
    """The programs and the driver of such a step.

    Parameters
    ----------
    equations : Equations
        The model.
    method : Rosenbrock
        Coefficients.
    kept : list of int
        Unknowns for which dense output is made.
    """

    def __init__(self, equations: Equations, method: Rosenbrock, kept: list[int]) -> None:
        self.equations, self.method, self.kept = equations, method, kept
        self.graph, self.n = equations.graph, equations.n
        self._slots: dict[Value, int] = {}
        factors, matrix, prepare = self._prepare()
        self.programs = [
            prepare,
            self._solve(factors),
            self._rhs(),
            self._guard(factors, matrix),
            self._dense(),
        ]

    def lay_out(self, layout: Layout) -> None:
        """Reserve the arrays of the step."""
        sizes = {"U": self.n, "G": self.n, "R": self.n, "R1": self.n, "DRIFT": self.n}
        sizes |= {"KS": self.n * self.method.stages, "LU": len(self._slots)}
        sizes |= {"TI": 1, "HINV": 1, "HD": 1}
        for name, size in sizes.items():
            layout.add(name, size)

    def text(self, layout: Layout, calls: Calls) -> str:
        """The function ``step``."""
        s = Scribe(layout)
        method, n = self.method, self.n
        size = s.load("HS")
        inverse = s.binary("fdiv", s.const(1.0), size)
        s.store("HINV", inverse)
        self._call(s, calls("prepare"))
        self._call(s, calls("solve"), 0)
        for stage in range(1, method.stages):
            with s.loop(n) as i:
                self._combine(s, stage, i)
            moved = s.call("llvm.fma", s.const(method.nodes[stage]), size, s.load("T"))
            s.store("TI", moved)
            s.store("HD", s.binary("fmul", size, s.const(method.slopes[stage])))
            self._call(s, calls("rhs"))
            self._call(s, calls("solve"), stage)
        self._call(s, calls("guard"))
        self._error(s)
        return s.function("step", "ptr noalias %ws")

    def _call(self, s: Scribe, calls: tuple[str, ...], stage: int | None = None) -> None:
        place = "" if stage is None else s.address("KS", stage * self.n)
        for call in calls:
            s.do(call.replace("%k", place))

    def _combine(self, s: Scribe, stage: int, i: str) -> None:
        """U and G of a stage: both read each earlier k once."""
        method = self.method
        stages = [self._k(s, j, i) for j in range(stage)]
        if stage - 1 < len(method.a):
            argument = s.load("Y", i)
            for share, k in zip(method.a[stage - 1], stages, strict=True):
                argument = s.call("llvm.fma", s.const(share), k, argument)
        else:
            argument = s.binary("fadd", s.load("U", i), stages[-1])
        coupling = method.coupling[stage - 1]
        total = s.binary("fmul", s.const(coupling[0]), stages[0])
        for share, k in zip(coupling[1:], stages[1:], strict=True):
            total = s.call("llvm.fma", s.const(share), k, total)
        s.store("U", argument, i)
        s.store("G", total, i)

    def _error(self, s: Scribe) -> None:
        """YN, ERR and GUARD; what the solver left is in G."""
        last, count = self.method.stages - 1, controlled(self.equations)
        with s.loop(self.n) as i:
            s.store("YN", s.binary("fadd", s.load("U", i), self._k(s, last, i)), i)
        with s.summed(count, 2) as (i, sums):
            a, b = s.call("llvm.fabs", s.load("Y", i)), s.call("llvm.fabs", s.load("YN", i))
            larger = s.pick(s.compare("olt", b, a), a, b)
            scale = s.call("llvm.fma", s.load("RTOL"), larger, s.load("ATOL", i))
            inverse = s.binary("fdiv", s.const(1.0), scale)
            for k, error in enumerate((self._k(s, last, i), s.load("G", i))):
                share = s.binary("fmul", error, inverse)
                sums[k] = s.call("llvm.fma", share, share, sums[k])
        for name, total in zip(("ERR", "GUARD"), sums, strict=True):
            s.store(name, s.binary("fmul", total, s.const(1 / max(count, 1))))

    def _k(self, s: Scribe, stage: int, i: str) -> str:
        base = s.address("KS", stage * self.n)
        return s.get(f"load {s.V}, ptr {s.get(f'getelementptr {s.V}, ptr {base}, i64 {i}')}, "
                     f"align {s.align}")  # fmt: skip

    def _prepare(self) -> tuple[Factors, Mapping[Place, Value], Program]:
        """Reads Y, T, HS; stores the factors, the first right-hand side and df/dt."""
        equations, g = self.equations, self.graph
        program = Program("prepare", g)
        y = load_all(g, "Y", self.n)
        step, inverse = g.load("HS", 0), g.load("HINV", 0)
        f, jacobian, drift = equations.linearised(g.load("T", 0), y)
        shift = g.mul(inverse, g.const(1 / self.method.gamma))
        matrix = iteration_matrix(equations, jacobian, shift)
        factors = factorise(g, order_of(equations), matrix)
        share = self.method.slopes[0]
        first = [add_drift(g, f[i], drift[i], step, share) for i in range(self.n)]
        program.store_all("R", first)
        program.store_all("R1", first)
        if equations.timed:
            program.store_all("DRIFT", drift)
        for value in [*values_of(factors), *matrix.values()]:
            if not g.fixed[value] and value not in self._slots:
                self._slots[value] = len(self._slots)
                program.store("LU", self._slots[value], value)
        return factors, matrix, program

    def _kept(self, value: Value) -> Value:
        """A value of the factorisation as later programs read it."""
        slot = self._slots.get(value)
        return value if slot is None else self.graph.load("LU", slot)

    def _solve(self, factors: Factors) -> Program:
        """Reads R and the factors; stores k."""
        program = Program("solve", self.graph)
        program.store_all(
            "K", kept_factors(factors, self._kept).solve(load_all(self.graph, "R", self.n))
        )
        return program

    def _rhs(self) -> Program:
        """Reads U, G, TI; stores the right-hand side of the stage in R."""
        equations, g = self.equations, self.graph
        program = Program("rhs", g)
        f = equations.slopes(g.load("TI", 0), load_all(g, "U", self.n))
        for i, value in enumerate(f):
            if equations.timed:
                value = g.fma(g.load("HD", 0), g.load("DRIFT", i), value)
            if i < equations.nx:
                value = g.fma(g.load("G", i), g.load("HINV", 0), value)
            program.store("R", i, value)
        return program

    def _guard(self, factors: Factors, matrix: Mapping[Place, Value]) -> Program:
        """Reads R1, the first k and the matrix; stores what the solver left in G."""
        equations, g = self.equations, self.graph
        program = Program("guard", g)
        count = controlled(equations)
        found = load_all(g, "KS", self.n)
        kept = {place: self._kept(value) for place, value in matrix.items()}
        right = load_all(g, "R1", self.n)
        left = residual(g, kept_factors(factors, self._kept), kept, right, found, count)
        program.store_all("G", left)
        return program

    def _dense(self) -> Program:
        """Reads all k; stores D of the unknowns that outputs read."""
        g = self.graph
        program = Program("dense", g)
        for m, row in enumerate(self.method.dense):
            for j, i in enumerate(self.kept):
                total = g.mul(g.const(row[0]), g.load("KS", i))
                for stage, share in enumerate(row[1:], start=1):
                    total = g.fma(g.const(share), g.load("KS", stage * self.n + i), total)
                program.store("D", m * len(self.kept) + j, total)
        return program


def values_of(factors: Factors) -> Iterator[Value]:
    """All values that solving needs."""
    yield from factors.inverse.values()
    for lists in (*factors.lower.values(), *factors.upper.values(), *factors.coupling.values()):
        for _, value in lists:
            yield value


def kept_factors(factors: Factors, keep: Callable[[Value], Value]) -> Factors:
    """The factors with each value replaced by the one that a later program reads."""

    def rows(lists: Mapping[_K, list[tuple[int, Value]]]) -> dict[_K, list[tuple[int, Value]]]:
        return {key: [(i, keep(value)) for i, value in row] for key, row in lists.items()}

    return replace(
        factors,
        lower=rows(factors.lower),
        upper=rows(factors.upper),
        inverse={place: keep(value) for place, value in factors.inverse.items()},
        coupling=rows(factors.coupling),
    )

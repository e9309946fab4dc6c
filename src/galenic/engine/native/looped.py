"""One step of a Rosenbrock method for many unknowns: stages share their code.

Right-hand sides and triangular solves are functions called once per stage, the combinations
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
from galenic.engine.native.scribe import Layout
from galenic.engine.native.sides import is_split
from galenic.engine.native.stages import Bench, Parted, Whole
from galenic.engine.native.step import (
    Calls,
    controlled,
    dense_program,
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
        sides = Parted if is_split(equations, method) else Whole
        self.sides: Parted | Whole = sides(equations, method)
        factors, matrix, prepare = self._prepare()
        self.programs = [
            prepare,
            self._solve(factors),
            *self.sides.programs(self._kept),
            self._guard(factors, matrix),
            dense_program(self.graph, method, kept, self.n),
        ]

    def lay_out(self, layout: Layout) -> None:
        """Reserve the arrays of the step."""
        n, stages = self.n, self.method.stages
        sizes = {"R": n, "R1": n, "KS": n * stages, "LU": len(self._slots)}
        for name, size in (sizes | self.sides.arrays()).items():
            layout.add(name, size)

    def text(self, layout: Layout, calls: Calls) -> str:
        """The function ``step``."""
        s = Bench(layout, self.n)
        s.run(calls("prepare"))
        self.sides.begin(s)
        s.run(calls("solve"), 0)
        for stage in range(1, self.method.stages):
            self.sides.write(s, stage, calls)
            s.run(calls("solve"), stage)
        s.run(calls("guard"))
        self._error(s)
        return self.sides.tables() + s.function("step", "ptr noalias %ws")

    def _error(self, s: Bench) -> None:
        """YN, ERR and GUARD; what the solver left is in R."""
        count = controlled(self.equations)
        with s.summed(count, 2) as (i, sums):
            old, new, error = self._arrive(s, i)
            a, b = s.call("llvm.fabs", old), s.call("llvm.fabs", new)
            larger = s.pick(s.compare("olt", b, a), a, b)
            scale = s.call("llvm.fma", s.load("RTOL"), larger, s.load("ATOL", i))
            inverse = s.binary("fdiv", s.const(1.0), scale)
            for k, one in enumerate((error, s.load("R", i))):
                share = s.binary("fmul", one, inverse)
                sums[k] = s.call("llvm.fma", share, share, sums[k])
        for name, total in zip(("ERR", "GUARD"), sums, strict=True):
            s.store(name, s.binary("fmul", total, s.const(1 / max(count, 1))))
        if self.n > count:
            with s.loop(self.n - count) as i:
                self._arrive(s, s.get(f"add i64 {i}, {count}"))

    def _arrive(self, s: Bench, i: str) -> tuple[str, str, str]:
        """Store the new value of an unknown; gives the old one, the new one and the last k."""
        old = s.load("Y", i)
        new = s.total(self.method.a[-1], i, old)
        last = ""
        for stage in range(len(self.method.a[-1]), self.method.stages):
            last = s.k(stage, i)
            new = s.binary("fadd", new, last)
        s.store("YN", new, i)
        return old, new, last

    def _prepare(self) -> tuple[Factors, Mapping[Place, Value], Program]:
        """Reads Y, T, HS; stores the factors and what the right-hand sides need."""
        equations, g = self.equations, self.graph
        program = Program("prepare", g, near=True)
        y = load_all(g, "Y", self.n)
        step, time = g.load("HS", 0), g.load("T", 0)
        f, jacobian, drift = equations.linearised(time, y)
        matrix = iteration_matrix(equations, jacobian, g.const(1 / self.method.gamma), step)
        factors = factorise(g, order_of(equations), matrix)
        needed = self.sides.prepare(program, time, y, step, f, drift)
        for value in [*values_of(factors), *matrix.values(), *needed]:
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
        right = self.sides.completed(load_all(self.graph, "R", self.n), self._kept)
        program.store_all("K", kept_factors(factors, self._kept).solve(right))
        return program

    def _guard(self, factors: Factors, matrix: Mapping[Place, Value]) -> Program:
        """Reads R1, the first k and the matrix; stores what the solver left in R."""
        equations, g = self.equations, self.graph
        program = Program("guard", g, near=True)
        count = controlled(equations)
        found = load_all(g, "KS", self.n)
        kept = {place: self._kept(value) for place, value in matrix.items()}
        right = load_all(g, "R1", self.n)
        left = residual(equations, kept_factors(factors, self._kept), kept, right, found, count)
        program.store_all("R", left)
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

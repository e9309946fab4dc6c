"""One step of states and their sensitivities: all columns share one factorisation.

With v_i = u_i + k_i the stages of a Rosenbrock method (see ``methods``) read

    W v_i = M q_i / h + f(t_i, u_i) - J u_i + h d_i df/dt,    q_i = u_i / gamma + sum_(j<i) C_ij k_j

where u_i and q_i are sums of y and earlier v, and y_(n+1) is the last v. In rows of f that are
affine in y, f - J u is what is left at y = 0, so nothing is multiplied there. Differentiated along
a column S of sensitivities with U_i, V_i for u_i, v_i and T = dJ/dp + (dJ/dy) S this is

    W V_i = M Q_i / h + f_p(t_i, u_i) + (J(t_i, u_i) - J) U_i + T (v_i - u_i) + h d_i (df/dt)'

and in affine rows f_p(t_i, u_i) + T (v_i - u_i) = f_p(t_i, v_i). So a column costs one sum and one
triangular solve per stage, a multiplication for each entry of J that moves, and what depends on p
itself. The states are stepped by the same code, with f - J(t_i, u_i) u_i for f_p. The result is the
exact derivative of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from galenic.engine.native.driving import Driver
from galenic.engine.native.equations import Equations, Values
from galenic.engine.native.factor import Factors, Place, factorise
from galenic.engine.native.graph import Program, Value
from galenic.engine.native.looped import kept_factors, values_of
from galenic.engine.native.methods import Rosenbrock
from galenic.engine.native.scribe import Layout
from galenic.engine.native.step import (
    Calls,
    iteration_matrix,
    load_all,
    mean_square,
    order_of,
    reciprocal_scale,
    residual,
)
from galenic.engine.native.tangents import Tangents
from galenic.engine.native.transformed import Row, combinations, shortened

_K = TypeVar("_K")


class TogetherStep:
    """The programs and the driver of such a step.

    Unknowns lie in blocks of ``n``, the states first and then the columns. The driver keeps all
    differential unknowns before all algebraic ones; where there are any, blocks are copied.

    Parameters
    ----------
    equations : Equations
        The model without sensitivities.
    wrt : sequence of int
        Elements of theta, one for each column.
    method : Rosenbrock
        Coefficients.
    kept : list of int
        Unknowns of the driver for which dense output is made.
    """

    def __init__(
        self, equations: Equations, wrt: Sequence[int], method: Rosenbrock, kept: list[int]
    ) -> None:
        self.equations, self.method, self.kept = equations, method, kept
        self.graph, self.n, self.nx = equations.graph, equations.n, equations.nx
        self.tangents = Tangents(equations, wrt)
        self.columns, self.stages = len(wrt), method.stages
        self.blocks = 1 + self.columns
        self.start, self.new = ("Y", "YN") if self.n == self.nx else ("YBLOCKS", "NBLOCKS")
        self.arguments, self.sums, self.dense = combinations(method)
        self.short = shortened(method, self.sums)
        self._slots: dict[Value, int] = {}
        self._turned: list[dict[Place, int]] = []
        self._drifting: list[dict[int, int]] = []
        factors, matrix, prepare = self._prepare()
        force, acted = self._force()
        tangents, pushed = self._tangents()
        self._read = sorted(
            {index for program in (force, *tangents) for index in program.loads("AT_POINT")}
        )
        self.programs = [
            prepare,
            force,
            *tangents,
            *(self._advance(f"state{i}", i, factors, acted) for i in range(self.stages)),
            *(self._advance(f"column{i}", i, factors, pushed) for i in range(self.stages)),
            self._guard(factors, matrix, acted),
        ]

    def lay_out(self, layout: Layout) -> None:
        """Reserve the arrays of the step; FORCE is zero where nothing is written."""
        whole = self.blocks * self.n
        once = self.n * self.stages
        sizes = {"STAGES": self.blocks * once, "POINTS": once, "FORCE": once, "PUSH": once}
        sizes |= {"MOVED": self.stages * len(self.tangents.moving), "DRIFT": self.n}
        sizes |= {"LU": len(self._slots), "TURN": self._turns, "TI": 1, "HINV": 1, "HD": 1}
        sizes["SUMS"] = 2 * self.n if self.short else 0
        if self.start != "Y":
            sizes |= {"YBLOCKS": whole, "NBLOCKS": whole}
        for name, size in sizes.items():
            layout.add(name, size)

    def text(self, layout: Layout, calls: Calls) -> str:
        """The functions ``step`` and ``dense``."""
        return "\n".join([self._step(Driver(layout), calls), self._interior(Driver(layout))])

    def _step(self, s: Driver, calls: Calls) -> str:
        n, size = self.n, s.load("HS")
        if self.start != "Y":
            self._copy(s, "Y", self.start, forth=True)
        s.store("HINV", s.binary("fdiv", s.const(1.0), size))
        self._call(s, calls("prepare"), {})
        force, stages, points = s.address("FORCE"), s.address("STAGES"), s.address("POINTS")
        start, new = s.address(self.start), s.address(self.new)
        whole = {"%start": start, "%stages": stages, "%force": force, "%new": new}
        for i in range(self.stages):
            for row in self._read:
                argument = self._sum(s, self.arguments[i], start, stages, str(row))
                s.store("POINTS", argument, i * n + row)
            self._set_time(s, i)
            now = {
                "%force": self._beyond(s, force, i * n),
                "%point": self._beyond(s, points, i * n),
                "%moved": s.address("MOVED", i * len(self.tangents.moving)),
            }
            self._call(s, calls("force"), now)
            self._call(s, calls(f"state{i}"), whole)
        for j in range(self.columns):
            self._push(s, calls(f"tangent{j}"))
            places = {
                "%start": self._beyond(s, start, (1 + j) * n),
                "%new": self._beyond(s, new, (1 + j) * n),
                "%stages": self._beyond(s, stages, (1 + j) * n * self.stages),
                "%force": s.address("PUSH"),
            }
            for i in range(self.stages):
                self._call(s, calls(f"column{i}"), places)
        self._call(s, calls("guard"), {})
        if self.start != "Y":
            self._copy(s, "YN", self.new, forth=False)
        return s.function("step", "ptr noalias %ws")

    def _set_time(self, s: Driver, stage: int) -> None:
        if self.equations.timed:
            size = s.load("HS")
            moved = s.call("llvm.fma", s.const(self.method.nodes[stage]), size, s.load("T"))
            s.store("TI", moved)
            s.store("HD", s.binary("fmul", size, s.const(self.method.slopes[stage])))

    def _push(self, s: Driver, calls: tuple[str, ...]) -> None:
        """The forces on one column at all stages."""
        for i in range(self.stages):
            self._set_time(s, i)
            now = {
                "%force": s.address("PUSH", i * self.n),
                "%point": s.address("POINTS", i * self.n),
                "%stages": s.address("STAGES", i * self.n),
            }
            self._call(s, calls, now)

    def _call(self, s: Driver, calls: tuple[str, ...], places: Mapping[str, str]) -> None:
        for call in calls:
            for name, place in places.items():
                call = call.replace(f"ptr {name}", f"ptr {place}")
            s.do(call)

    def _beyond(self, s: Driver, base: str, index: int | str) -> str:
        return s.get(f"getelementptr {s.V}, ptr {base}, i64 {index}")

    def _sum(
        self,
        s: Driver,
        shares: Row,
        start: str,
        stages: str,
        row: str,
    ) -> str:
        """A combination of y and the stages of one unknown."""
        total = ""
        for k, share in enumerate(shares):
            if not share:
                continue
            place = self._beyond(s, start, row)
            if k:
                place = self._beyond(s, self._beyond(s, stages, (k - 1) * self.n), row)
            value = s.get(f"load {s.V}, ptr {place}, align {s.align}")
            if not total:
                total = value if share == 1 else s.binary("fmul", s.const(share), value)
            else:
                total = s.call("llvm.fma", s.const(share), value, total)
        return total

    def _copy(self, s: Driver, driven: str, blocks: str, forth: bool) -> None:
        """Between the order of the driver and blocks of states, columns."""
        nz = self.n - self.nx
        for first, count, skip in ((0, self.nx, 0), (self.nx * self.blocks, nz, self.nx)):
            with s.loop(self.blocks) as block:
                there = s.get(f"mul i64 {block}, {count}")
                here = s.get(f"mul i64 {block}, {self.n}")
                with s.loop(count) as i:
                    mine = s.get(f"add i64 {s.get(f'add i64 {there}, {first}')}, {i}")
                    other = s.get(f"add i64 {s.get(f'add i64 {here}, {skip}')}, {i}")
                    if forth:
                        s.store(blocks, s.load(driven, mine), other)
                    else:
                        s.store(driven, s.load(blocks, other), mine)

    def _interior(self, s: Driver) -> str:
        """dense(ws): D of the unknowns in ``kept``."""
        rows: dict[int, list[tuple[int, int]]] = {}
        for position, driven in enumerate(self.kept):
            number, row = self._block_of(driven)
            rows.setdefault(row, []).append((number, position))
        for unknown, found in rows.items():
            for begin, count, step in _runs(found):
                with s.loop(count) as k:
                    block = s.get(f"add i64 {k}, {begin[0]}")
                    start = self._beyond(
                        s, s.address(self.start), s.get(f"mul i64 {block}, {self.n}")
                    )
                    length = self.n * self.stages
                    stages = self._beyond(
                        s, s.address("STAGES"), s.get(f"mul i64 {block}, {length}")
                    )
                    place = s.get(f"add i64 {s.get(f'mul i64 {k}, {step}')}, {begin[1]}")
                    values = [
                        self._sum(s, shares, start, stages, str(unknown)) for shares in self.dense
                    ]
                    for m, value in enumerate(values):
                        s.store("D", value, s.get(f"add i64 {place}, {m * len(self.kept)}"))
        return s.function("dense", "ptr noalias %ws")

    def _block_of(self, unknown: int) -> tuple[int, int]:
        """Block and row of an unknown of the driver."""
        border = self.nx * self.blocks
        if unknown < border:
            return unknown // self.nx, unknown % self.nx
        nz = self.n - self.nx
        return (unknown - border) // nz, self.nx + (unknown - border) % nz

    def _place_of(self, row: int) -> int:
        """Where the driver keeps an unknown of the model."""
        return row if row < self.nx else self.nx * self.blocks + row - self.nx

    def _prepare(self) -> tuple[Factors, Mapping[Place, Value], Program]:
        """Reads the blocks, T, HS; stores the factors, what moves, and how it turns."""
        g, n = self.graph, self.n
        program = Program("prepare", g, near=True)
        time = g.load("T", 0)
        y = load_all(g, self.start, n)
        _, jacobian, drift = self.equations.linearised(time, y)
        shift = g.mul(g.load("HINV", 0), g.const(1 / self.method.gamma))
        matrix = iteration_matrix(self.equations, jacobian, shift)
        factors = factorise(g, order_of(self.equations), matrix)
        if self.equations.timed:
            program.store_all("DRIFT", drift)
        moving = [jacobian[place] for place in self.tangents.moving]
        for value in [*values_of(factors), *matrix.values(), *moving]:
            if not g.fixed[value] and value not in self._slots:
                self._slots[value] = len(self._slots)
                program.store("LU", self._slots[value], value)
        self._moving = [self._kept(value) for value in moving]
        columns = [
            [g.load(self.start, n * (1 + j) + i) for i in range(n)] for j in range(self.columns)
        ]
        self._turns = 0
        entries, drifts = self.tangents.turned(time, y, columns)
        self._turned = [self._store_turns(program, found) for found in entries]
        self._drifting = [self._store_turns(program, found) for found in drifts]
        return kept_factors(factors, self._kept), matrix, program

    def _store_turns(self, program: Program, found: Mapping[_K, Value]) -> dict[_K, int]:
        places = {}
        for key, value in found.items():
            places[key] = self._turns
            program.store("TURN", self._turns, value)
            self._turns += 1
        return places

    def _kept(self, value: Value) -> Value:
        """A value of ``prepare`` as later programs read it."""
        slot = self._slots.get(value)
        return value if slot is None else self.graph.load("LU", slot)

    def _force(self) -> tuple[Program, set[int]]:
        """Reads u, TI, HD; stores the forces on the states, and how far J has moved.

        Also gives the rows that have forces.
        """
        g, equations = self.graph, self.equations
        program = Program("force", g, near=True)
        u, time = load_all(g, "AT_POINT", self.n), self._time()
        slopes, jacobian, _ = equations.linearised(time, u)
        offsets = equations.slopes(time, [g.const(0.0)] * self.n)
        acted = set()
        for row in range(self.n):
            value = offsets[row]
            if not self.tangents.affine[row]:
                value = slopes[row]
                for place in self.tangents.places:
                    if place[0] == row:
                        value = g.fma(g.neg(jacobian[place]), u[place[1]], value)
            if equations.timed:
                value = g.fma(g.load("HD", 0), g.load("DRIFT", row), value)
            if g.number(value) != 0:
                acted.add(row)
                program.store("AT_FORCE", row, value)
        for k, (place, before) in enumerate(zip(self.tangents.moving, self._moving, strict=True)):
            program.store("AT_MOVED", k, g.sub(jacobian[place], before))
        return program, acted

    def _time(self) -> Value:
        return self.graph.load("TI", 0) if self.equations.timed else self.graph.load("T", 0)

    def _tangents(self) -> tuple[list[Program], set[int]]:
        """Read u, v, TI, HD, TURN; store the forces on one column. Also all rows with forces."""
        g, tangents = self.graph, self.tangents
        u, v = load_all(g, "AT_POINT", self.n), load_all(g, "AT_STAGES", self.n)
        time = self._time()
        forces = []
        for j, force in enumerate(tangents.direct(time, u, v)):
            for (row, column), slot in self._turned[j].items():
                moved = g.sub(v[column], u[column])
                force[row] = g.fma(g.load("TURN", slot), moved, force.get(row, g.const(0.0)))
            for row, slot in self._drifting[j].items():
                drift = g.load("TURN", slot)
                force[row] = g.fma(g.load("HD", 0), drift, force.get(row, g.const(0.0)))
            forces.append(force)
        pushed = set().union(*forces)
        programs = [Program(f"tangent{j}", g, near=True) for j in range(self.columns)]
        for program, force in zip(programs, forces, strict=True):
            for row in sorted(pushed):
                program.store("AT_FORCE", row, force.get(row, g.const(0.0)))
        return programs, pushed

    def _advance(self, name: str, stage: int, factors: Factors, forced: set[int]) -> Program:
        """Reads y, earlier v and forces of one block; stores v of one stage."""
        g, n = self.graph, self.n
        program = Program(name, g, near=True)
        start = load_all(g, "AT_START", n)
        stages = [[g.load("AT_STAGES", j * n + i) for i in range(n)] for j in range(stage)]
        force = {row: g.load("AT_FORCE", stage * n + row) for row in sorted(forced)}
        found = factors.solve(self._right(program, start, stages, stage, force))
        for i, value in enumerate(found):
            program.store("AT_STAGES", stage * n + i, value)
        if stage == self.stages - 1:
            program.store_all("AT_NEW", found)
        return program

    def _sum_of(
        self, program: Program, start: Values, stages: list[Values], stage: int, row: int
    ) -> Value:
        """Q of one unknown; in the last stage from those of the two before, kept in SUMS."""
        g = self.graph
        if not self.short or stage < self.stages - 1:
            value = self._total(self.sums[stage], [start[row], *(v[row] for v in stages)])
            if self.short and stage >= self.stages - 3:
                program.store("SUMS", (stage - self.stages + 3) * self.n + row, value)
            return value
        before = [g.load("SUMS", k * self.n + row) for k in range(2)]
        return self._total(self.short, [*before, stages[-2][row], stages[-1][row]])

    def _right(
        self,
        program: Program,
        start: Values,
        stages: list[Values],
        stage: int,
        force: Mapping[int, Value],
    ) -> Sequence[Value]:
        """The right-hand side of one stage of one block, made row by row as it is asked for."""
        g = self.graph
        moving = [
            (row, column, g.load("MOVED", stage * len(self.tangents.moving) + k))
            for k, (row, column) in enumerate(self.tangents.moving if stage else [])
        ]

        def total(shares: Row, unknown: int) -> Value:
            return self._total(shares, [start[unknown], *(v[unknown] for v in stages)])

        def right(row: int) -> Value:
            value = force.get(row, g.const(0.0))
            if row < self.nx:
                sums = self._sum_of(program, start, stages, stage, row)
                value = g.fma(sums, g.load("HINV", 0), value)
            for there, column, moved in moving:
                if there == row:
                    value = g.fma(moved, total(self.arguments[stage], column), value)
            return value

        return _Made(right, self.n)

    def _total(self, shares: Row, given: Values) -> Value:
        g = self.graph
        total = g.const(0.0)
        for share, value in zip(shares, given, strict=False):
            total = g.fma(g.const(share), value, total)
        return total

    def _guard(self, factors: Factors, matrix: Mapping[Place, Value], forced: set[int]) -> Program:
        """ERR and GUARD of the states: the last k, and what the solver left of the first stage."""
        g, n = self.graph, self.n
        program = Program("guard", g, near=True)
        old, new = load_all(g, self.start, n), load_all(g, self.new, n)
        last = [g.sub(new[i], g.load("STAGES", (self.stages - 2) * n + i)) for i in range(n)]
        scales = [reciprocal_scale(g, self._place_of(i), old[i], new[i]) for i in range(n)]
        program.store("ERR", 0, mean_square(g, last, scales))
        first = []
        for row in range(n):
            force = g.load("FORCE", row) if row in forced else g.const(0.0)
            if row < self.nx:
                total = g.mul(g.const(self.sums[0][0]), old[row])
                force = g.fma(total, g.load("HINV", 0), force)
            first.append(force)
        kept = {place: self._kept(value) for place, value in matrix.items()}
        found = load_all(g, "STAGES", n)
        left = residual(self.equations, factors, kept, first, found, n)
        program.store("GUARD", 0, mean_square(g, left, scales))
        return program


class _Made(Sequence[Value]):
    """A sequence whose elements are made when they are asked for."""

    def __init__(self, make: Callable[[int], Value], size: int) -> None:
        self._make, self._size = make, size

    def __getitem__(self, index: Any) -> Any:
        return self._make(index)

    def __len__(self) -> int:
        return self._size


def _runs(found: list[tuple[int, int]]) -> list[tuple[tuple[int, int], int, int]]:
    """(block, place) pairs as runs (first pair, length, step of the place) over blocks in order."""
    runs: list[tuple[tuple[int, int], int, int]] = []
    for block, place in sorted(found):
        if runs:
            first, count, step = runs[-1]
            step = place - first[1] if count == 1 else step
            if (block, place) == (first[0] + count, first[1] + count * step) and first[0]:
                runs[-1] = first, count + 1, step
                continue
        runs.append(((block, place), 1, 0))
    return runs

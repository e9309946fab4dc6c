"""Right-hand sides of the stages where stages share their code: see ``sides`` for the equations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from galenic.engine.native.equations import Equations, Values
from galenic.engine.native.graph import Program, Value
from galenic.engine.native.methods import Rosenbrock
from galenic.engine.native.scribe import Layout, Scribe
from galenic.engine.native.sides import drifted, scaled, scaled_shares, tangent_rest

Calls = Callable[[str], tuple[str, ...]]
Kept = Callable[[Value], Value]


class Bench(Scribe):
    """A scribe that knows where the k of the stages are.

    Parameters
    ----------
    layout : Layout
        The workspace.
    n : int
        Number of unknowns.
    """

    def __init__(self, layout: Layout, n: int) -> None:
        super().__init__(layout)
        self.n = n

    def run(self, calls: tuple[str, ...], stage: int | None = None) -> None:
        """Run a program; one that stores a k gets the place of that of ``stage``."""
        place = "" if stage is None else self.address("KS", stage * self.n)
        for call in calls:
            self.do(call.replace("%k", place))

    def k(self, stage: int, i: str) -> str:
        """The k of an unknown."""
        return self.element("KS", stage * self.n, i)

    def element(self, array: str, begin: int, i: str) -> str:
        """A vector of a part of an array."""
        place = self.get(f"getelementptr {self.V}, ptr {self.address(array, begin)}, i64 {i}")
        return self.get(f"load {self.V}, ptr {place}, align {self.align}")

    def set_element(self, array: str, begin: int, i: str, value: str) -> None:
        """Write a vector of a part of an array."""
        place = self.get(f"getelementptr {self.V}, ptr {self.address(array, begin)}, i64 {i}")
        self.do(f"store {self.V} {value}, ptr {place}, align {self.align}")

    def total(self, shares: Sequence[float], i: str, total: str = "") -> str:
        """``total`` and the k of the first stages, each with its share."""
        for stage, share in enumerate(shares):
            if share and total:
                total = self.call("llvm.fma", self.const(share), self.k(stage, i), total)
            elif share:
                total = self.binary("fmul", self.const(share), self.k(stage, i))
        return total


class Whole:
    """f is evaluated at every stage.

    Parameters
    ----------
    equations : Equations
        The model.
    method : Rosenbrock
        Coefficients.
    """

    def __init__(self, equations: Equations, method: Rosenbrock) -> None:
        self.equations, self.method = equations, method
        self.graph, self.n, self.timed = equations.graph, equations.n, equations.timed

    def arrays(self) -> dict[str, int]:
        """Arrays that are needed beside R, R1 and KS."""
        return {"U": self.n, "G": self.n, "DRIFT": self.n if self.timed else 0, "TI": 1, "HD": 1}

    def prepare(
        self, program: Program, time: Value, y: Values, step: Value, f: Values, drift: Values
    ) -> Values:
        """Store the first right-hand side; gives values that later programs read."""
        g = self.graph
        first = drifted(g, f, drift, step, self.method.slopes[0])
        first = scaled(self.equations, first, step)
        program.store_all("R", first)
        program.store_all("R1", first)
        if self.timed:
            program.store_all("DRIFT", drift)
        return []

    def programs(self, kept: Kept) -> list[Program]:
        """``rhs``: reads U, G, TI; stores R."""
        equations, g = self.equations, self.graph
        program = Program("rhs", g, near=True)
        f = equations.slopes(g.load("TI", 0), [g.load("U", i) for i in range(self.n)])
        for i, value in enumerate(f):
            if self.timed:
                value = g.fma(g.load("HD", 0), g.load("DRIFT", i), value)
            if i < equations.nx:
                value = g.fma(g.load("HS", 0), value, g.load("G", i))
            program.store("R", i, value)
        return [program]

    def begin(self, s: Bench) -> None:
        """Nothing is to be done before the first stage."""

    def tables(self) -> str:
        """No constants are needed."""
        return ""

    def write(self, s: Bench, stage: int, calls: Calls) -> None:
        """R of a stage: U and G read each earlier k once."""
        method = self.method
        with s.loop(self.n) as i:
            if stage - 1 < len(method.a):
                argument = s.total(method.a[stage - 1], i, s.load("Y", i))
            else:
                argument = s.binary("fadd", s.load("U", i), s.k(stage - 1, i))
            s.store("U", argument, i)
            s.store("G", s.total(method.coupling[stage - 1], i), i)
        if self.timed:
            _moment(s, method, stage)
        s.run(calls("rhs"))

    def completed(self, right: Values, kept: Kept) -> Values:
        """R as it is."""
        return right


class Parted:
    """The curved terms alone are evaluated at the stages.

    Parameters
    ----------
    equations : Equations
        The model.
    method : Rosenbrock
        Coefficients.
    """

    def __init__(self, equations: Equations, method: Rosenbrock) -> None:
        self.equations, self.method = equations, method
        self.graph, self.n, self.timed = equations.graph, equations.n, equations.timed
        self.terms = len(equations.curved)
        self._shares: dict[tuple[int, int], Value] = {}
        self._slopes: dict[tuple[int, int], Value] = {}
        self._begin: Values = []
        self._moving: Values = []

    def arrays(self) -> dict[str, int]:
        """Arrays that are needed beside R, R1 and KS."""
        if not self.terms:
            return {}
        sizes = {"U": self.n, "AWAY": self.n, "RHO": self.terms * self.method.stages}
        sizes |= dict.fromkeys(("NOW", "REST", "LAST"), self.terms)
        return sizes | {"BEGIN": self.n if self.timed else 0, "TI": 1, "HD": 1}

    def prepare(
        self, program: Program, time: Value, y: Values, step: Value, f: Values, drift: Values
    ) -> Values:
        """Store the first right-hand side; gives values that later programs read."""
        equations, g, share = self.equations, self.graph, self.method.slopes[0]
        first = scaled(equations, drifted(g, f, drift, step, share), step)
        program.store_all("R", first)
        program.store_all("R1", first)
        self._shares = scaled_shares(equations, step)
        self._begin, self._slopes, self._moving = equations.terms_linearised(time, y)
        if self.timed and self.terms:
            program.store_all("BEGIN", scaled(equations, f, step))
            program.store_all("RHO", drifted(g, None, self._moving, step, share))
        curved = [value for m, value in enumerate(self._begin) if m not in equations.quadratic]
        slopes = [v for (m, _), v in self._slopes.items() if m not in equations.quadratic]
        return [*self._shares.values(), *curved, *slopes, *self._moving]

    def programs(self, kept: Kept) -> list[Program]:
        """``rest``: reads U, AWAY, TI; stores what terms have over their tangents in REST."""
        if not self.terms:
            return []
        equations, g = self.equations, self.graph
        program = Program("rest", g, near=True)
        found = equations.terms(g.load("TI", 0), [g.load("U", i) for i in range(self.n)])
        begin = [kept(value) for value in self._begin]
        slopes = {place: kept(value) for place, value in self._slopes.items()}
        away = {i: g.load("AWAY", i) for i in equations.bent}
        rest = tangent_rest(equations, found, begin, slopes, away)
        if self.timed:
            moved = g.load("HD", 0)
            rest = [
                g.fma(moved, kept(rate), value)
                for value, rate in zip(rest, self._moving, strict=True)
            ]
        program.store_all("REST", rest)
        return [program]

    def begin(self, s: Bench) -> None:
        """The first stage has no remainder that R does not hold."""
        if self.terms:
            with s.loop(self.terms) as m:
                s.store("NOW", "zeroinitializer", m)

    def tables(self) -> str:
        """Which unknowns curved terms look at, and which they do not."""
        return "".join(
            f"@{name} = internal constant [{len(found)} x i64] "
            f"[{', '.join(f'i64 {i}' for i in found)}]\n"
            for name, found in self._groups.items()
            if found
        )

    @cached_property
    def _groups(self) -> dict[str, list[int]]:
        bent, nx = set(self.equations.bent), self.equations.nx
        return {
            "bent": [i for i in range(nx) if i in bent],
            "flat": [i for i in range(nx) if i not in bent],
            "bent_algebraic": [i for i in range(nx, self.n) if i in bent],
        }

    @contextmanager
    def _each(self, s: Bench, group: str) -> Iterator[str]:
        """A loop over the unknowns of a group."""
        count = len(self._groups[group])
        with s.loop(count) as place:
            yield place if count == self.n else s.item(f"@{group}", place, "i64")

    def write(self, s: Bench, stage: int, calls: Calls) -> None:
        """R of a stage without curved terms, and the remainders of these in NOW."""
        if self._groups["bent"]:
            with self._each(s, "bent") as i:
                away, right = self._away(s, stage, i), self._straight(s, stage, i)
                s.store("R", right, i)
                self._store_argument(s, away, i)
        if self._groups["bent_algebraic"]:
            with self._each(s, "bent_algebraic") as i:
                self._store_argument(s, self._away(s, stage, i), i)
        if self.terms:
            if self.timed:
                _moment(s, self.method, stage)
            s.run(calls("rest"))
            self._remainders(s, stage)
        if self._groups["flat"]:
            with self._each(s, "flat") as i:
                s.store("R", self._straight(s, stage, i), i)
        nx = self.equations.nx
        if self.n > nx:
            with s.loop(self.n - nx) as place:
                i = s.get(f"add i64 {place}, {nx}")
                s.store("R", self._share_of_begin(s, stage, i) or "zeroinitializer", i)

    def _straight(self, s: Bench, stage: int, i: str) -> str:
        """R of a row with a derivative, without curved terms."""
        carry, again = self.method.carry[stage], self.method.again[stage]
        if not again:
            return s.total(carry, i, self._share_of_begin(s, stage, i))
        before = s.binary("fmul", s.load("R", i), s.const(again))
        return s.call("llvm.fma", s.const(carry[-1]), s.k(stage - 1, i), before)

    def _share_of_begin(self, s: Bench, stage: int, i: str) -> str:
        """What the begin of the step gives to R of a stage; nothing in the last ones."""
        start = self.method.start[stage]
        if not start:
            return ""
        begin = s.load("BEGIN" if self.timed and self.terms else "R1", i)
        return s.binary("fmul", begin, s.const(start))

    def _away(self, s: Bench, stage: int, i: str) -> str:
        """How far an unknown is from the begin of the step."""
        if stage - 1 < len(self.method.a):
            return s.total(self.method.a[stage - 1], i)
        return s.binary("fadd", s.load("AWAY", i), s.k(stage - 1, i))

    def _store_argument(self, s: Bench, away: str, i: str) -> None:
        argument = s.binary("fadd", s.load("Y", i), away)
        s.store("AWAY", away, i)
        s.store("U", argument, i)

    def _remainders(self, s: Bench, stage: int) -> None:
        method, terms = self.method, self.terms
        with s.loop(terms) as m:
            rest = rho = s.load("REST", m)
            if stage - 1 < len(method.a):
                for j, share in enumerate(method.a[stage - 1]):
                    if j or self.timed:
                        earlier = s.element("RHO", j * terms, m)
                        rho = s.call("llvm.fma", s.const(-share), earlier, rho)
            else:
                rho = s.binary("fsub", rest, s.load("LAST", m))
            s.store("LAST", rest, m)
            s.store("NOW", rho, m)
            s.set_element("RHO", stage * terms, m, rho)

    def completed(self, right: Values, kept: Kept) -> Values:
        """R with the shares of the remainders."""
        g = self.graph
        for (row, term), share in self._shares.items():
            right[row] = g.fma(kept(share), g.load("NOW", term), right[row])
        return right


def _moment(s: Bench, method: Rosenbrock, stage: int) -> None:
    """The time of a stage in TI, what multiplies df/dt in HD."""
    size = s.load("HS")
    s.store("TI", s.call("llvm.fma", s.const(method.nodes[stage]), size, s.load("T")))
    s.store("HD", s.binary("fmul", size, s.const(method.slopes[stage])))

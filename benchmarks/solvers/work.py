"""The work of a benchmark problem in the forms that the compared tools want.

States are put into the order of least bandwidth (reverse Cuthill-McKee), so that tools with banded
linear algebra can use it. Every tool gets the exact Jacobian where it takes one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from galenic.engine.tape import Tape

ATOL = 1e-2
"""Absolute tolerance in the state's unit, as a share of rtol: 1e-8 at 1e-6."""

_FORMS = {
    "add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "div": "({} / {})",
    "neg": "(-{})", "sq": "({0} * {0})", "twice": "(2.0 * {})", "inv": "(1.0 / {})",
    "pow": "({} ** {})", "copy": "{}",
}  # fmt: skip


@dataclass(frozen=True)
class Leg:
    """From dose to dose: amounts at the begin, output times after it, and the end."""

    begin: float
    end: float
    doses: tuple[tuple[int, float], ...]
    nodes: tuple[float, ...]


class Work:
    """Equations, individuals, doses and output times of a benchmark case."""

    def __init__(self, name: str, case: Any) -> None:
        problem = case.problem
        self.name, self.n = name, problem.n
        self.theta, self.times = case.theta, case.times
        pattern = ca.jacobian(problem.ode, problem.x).sparsity()
        self.order = order = _narrow(pattern)
        place = {int(old): new for new, old in enumerate(order)}
        self.x = ca.SX.sym("x", self.n)
        self.p = ca.SX.sym("p", problem.n_theta)
        back = [place[i] for i in range(self.n)]
        whole = ca.Function("all", [problem.x, problem.theta], [problem.ode, problem.y, problem.x0])
        ode, y, x0 = whole(self.x[back], self.p)
        self.ode = ca.densify(ode)[order.tolist()]
        self.y, self.x0 = ca.densify(y), ca.densify(x0)[order.tolist()]
        self.n_outputs = int(self.y.numel())
        self.doses = [(time, place[index], amount) for time, index, amount in case.doses]

    @cached_property
    def jacobian(self) -> ca.SX:
        """Sparse, exact."""
        return ca.jacobian(self.ode, self.x)

    @cached_property
    def band(self) -> tuple[int, int] | None:
        """Lower and upper bandwidth where a band is worth it."""
        row, column = (np.array(part) for part in self.jacobian.sparsity().get_triplet())
        lower, upper = int((row - column).max()), int((column - row).max())
        return (lower, upper) if 4 * (lower + upper) < self.n else None

    @cached_property
    def legs(self) -> list[Leg]:
        """Equally long where the doses are: the last one is as long as the others."""
        begins = sorted({0.0, *(time for time, _, _ in self.doses)})
        ends = [*begins[1:], float(self.times[-1])]
        made = []
        for begin, end in zip(begins, ends, strict=True):
            doses = tuple((i, amount) for time, i, amount in self.doses if time == begin)
            inside = self.times[(self.times > begin) & (self.times <= end)]
            assert inside[-1] == end
            made.append(Leg(begin, end, doses, tuple(inside)))
        return made

    @cached_property
    def starts(self) -> np.ndarray:
        """Start values (N, n), before the first dose."""
        start = ca.Function("start", [self.p], [self.x0]).map(len(self.theta))
        return np.array(start(self.theta.T)).T

    def python(self, name: str, arguments: str, expression: ca.SX) -> str:
        """A function that writes the numbers of an expression into its last argument."""
        tape = Tape(ca.Function("f", [self.x, self.p], [expression]))
        lines = [f"def {name}({arguments}, out):"]
        for step in tape.instructions:
            if step.name == "input":
                lines.append(f"    w{step.slot} = {'xp'[step.place[0]]}[{step.place[1]}]")
            elif step.name == "const":
                lines.append(f"    w{step.slot} = {step.value!r}")
            elif step.name == "output":
                lines.append(f"    out[{step.place[1]}] = w{step.slot}")
            else:
                body = _FORMS[step.name].format(*(f"w{i}" for i in step.arguments))
                lines.append(f"    w{step.slot} = {body}")
        return "\n".join(lines)

    def formulas(self) -> list[str]:
        """The right-hand sides written out in x0, x1, ... and p0, p1, ..."""
        tape = Tape(ca.Function("f", [self.x, self.p], [self.ode]))
        slots: dict[int, str] = {}
        found = [""] * self.n
        for step in tape.instructions:
            if step.name == "input":
                slots[step.slot] = f"{'xp'[step.place[0]]}{step.place[1]}"
            elif step.name == "const":
                slots[step.slot] = repr(step.value)
            elif step.name == "output":
                found[step.place[1]] = slots[step.slot]
            else:
                form = _FORMS[step.name].replace("**", "^")
                slots[step.slot] = form.format(*(slots[i] for i in step.arguments))
        return found


def _narrow(pattern: ca.Sparsity) -> np.ndarray:
    from scipy.sparse import csc_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    colind, row = pattern.colind(), pattern.row()
    matrix = csc_matrix((np.ones(len(row)), row, colind), shape=pattern.shape)
    return np.asarray(reverse_cuthill_mckee((matrix + matrix.T).tocsr(), symmetric_mode=True))


@dataclass(frozen=True, eq=False)
class Compiled:
    """Right-hand side (t, x, p, out), Jacobian numbers and outputs (x, p, out), by numba."""

    slope: Callable[..., None]
    jacobian: Callable[..., None]
    outputs: Callable[..., None]
    sources: str


_compiled: dict[str, Compiled] = {}


def compiled(work: Work) -> Compiled:
    """The equations as machine code that Python can call; made once per problem."""
    import numba

    if work.name not in _compiled:
        sources = "\n\n".join(
            [
                work.python("slope", "t, x, p", work.ode),
                work.python("jacobian", "t, x, p", ca.densify(work.jacobian.nz[:])),
                work.python("outputs", "x, p", work.y),
            ]
        )
        space: dict[str, Any] = {}
        exec(sources, space)
        names = ("slope", "jacobian", "outputs")
        _compiled[work.name] = Compiled(*(numba.njit(space[name]) for name in names), sources)
    return _compiled[work.name]


def march(work: Work, i: int, leg: Callable[[Any, Leg], Any], outputs: Any) -> np.ndarray:
    """Values of one individual from a function (x, leg) -> states at the nodes of the leg."""
    x, theta = work.starts[i].copy(), work.theta[i]
    values = np.empty((len(work.times), work.n_outputs))
    row = 0
    for part in work.legs:
        for index, amount in part.doses:
            x[index] += amount
        if part.begin == work.times[row]:
            outputs(x, theta, values[row])
        states = leg(x, part)
        for offset, state in enumerate(states, 1):
            outputs(state, theta, values[row + offset])
        row += len(part.nodes)
        x = np.array(states[-1])
    return values

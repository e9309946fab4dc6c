"""From a traced model to a System: order, solve, substitute, name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np

from galenic.errors import StructureError
from galenic.modeling import naming
from galenic.modeling.blocks import Pivot, Singular, Solution, solve
from galenic.modeling.declare import Output
from galenic.modeling.events import When
from galenic.modeling.faults import dependent, implicit_rate, require_regular
from galenic.modeling.model import Model
from galenic.modeling.plan import Plan, column, make_plan, spread
from galenic.modeling.resets import resets_of, rules
from galenic.modeling.source import info
from galenic.modeling.system import Conserved, Delayed, Entry, System
from galenic.modeling.trace import Slot, Trace, numbers, trace


@dataclass
class Flat:
    """A System together with how it was found; ``check`` looks at both.

    ``pivots`` are the matrices by which blocks were divided, as functions of t, x, z, u, p.
    """

    system: System
    trace: Trace
    plan: Plan
    pivots: list[Pivot]


def flatten(model: Model) -> Flat:
    """Trace ``model`` and solve its equations for derivatives and variables."""
    found = trace(model)
    plan = make_plan(found)
    require_regular(found, plan)
    try:
        solution = solve(plan.incidence, _preferred(plan))
    except Singular as fault:
        raise dependent(found, plan, fault.rows, fault.columns) from None
    implicit = [j for j in solution.algebraic if j < plan.rates]
    if implicit:
        raise implicit_rate(found, plan, implicit)
    return _Assembly(found, plan, solution).flat()


def _preferred(plan: Plan) -> set[int]:
    """Columns that should rather be solved than stay algebraic: declared outputs."""
    keep: set[int] = set()
    start = plan.rates
    for slot in plan.sought:
        if isinstance(slot.declared, Output):
            keep |= set(range(start, start + slot.sx.numel()))
        start += slot.sx.numel()
    return keep


class _Assembly:
    """Substitutes what was solved into everything, and names what is left."""

    def __init__(self, found: Trace, plan: Plan, solution: Solution) -> None:
        self.found = found
        self.plan = plan
        self.solution = solution
        self.bound = column([slot.sx for slot, _ in found.bound])
        if found.bound:
            values = [spread(value.sx, slot.sx.numel()) for slot, value in found.bound]
            solution.symbols.insert(0, self.bound)
            solution.definitions.insert(0, column(values))
        self.x = column([slot.sx for slot in found.states])
        self.u = column([slot.sx for slot in plan.inputs])
        self.p = column([slot.sx for slot in found.parameters])
        self.z = plan.incidence.w[solution.algebraic] if solution.algebraic else ca.SX(0, 1)

    def flat(self) -> Flat:
        """The finished System with its pivots."""
        found, resets = self.found, resets_of(self.found)
        values, solved = self._substituted(resets)
        alg = next(values)
        pivots = [(r, c, next(values)) for r, c, _ in self.solution.pivots]
        starts = [next(values) for slot in found.states if slot.start is not None]
        outputs, y = self._outputs(solved)
        guesses = naming.entries(self.plan.sought, "algebraic")
        algebraics = tuple(guesses[j - self.plan.rates] for j in self.solution.algebraic)
        inputs = naming.entries(self.plan.inputs, "input")
        parameters = naming.entries(found.parameters, "parameter")
        x0 = self._start(starts, inputs, algebraics)
        system = System(
            name=type(found.root).__name__,
            t=found.time.sx, x=self.x, z=self.z, u=self.u, p=self.p,
            ode=self._ode(solved), alg=alg, y=y, x0=x0,
            states=self._states(x0, parameters),
            algebraics=algebraics, inputs=inputs, parameters=parameters, outputs=outputs,
            events=rules(found, resets, values),
            conserved=tuple(
                Conserved(b.name, next(values), next(values), b.unit) for b in found.conserved
            ),
            parts=naming.part_info(found.root),
            connections=tuple((c.source._path, c.target._path) for c in found.connections),
            equations=tuple(info(equation) for equation in found.equations),
            delays=self._delays(values),
        )  # fmt: skip
        return Flat(system, found, self.plan, pivots)

    def _substituted(self, resets: list[list[tuple[int, ca.SX]]]) -> tuple[Iterator[ca.SX], ca.SX]:
        """Everything that may contain solved unknowns, free of them, in one pass."""
        wanted = [column(self.solution.residuals), *(m for _, _, m in self.solution.pivots)]
        wanted += [slot.start.sx for slot in self.found.states if slot.start is not None]
        wanted += [event.trigger for _, event in self.found.events if isinstance(event, When)]
        wanted += [value for group in resets for _, value in group]
        wanted += [sx for b in self.found.conserved for sx in (b.amount, b.inflow)]
        wanted += [e.sx for _, value, by, _ in self.found.delays for e in (value, by)]
        values, solved = self.solution.substituted(wanted)
        return iter(values), solved

    def _delays(self, values: Iterator[ca.SX]) -> tuple[Delayed, ...]:
        """The inputs that are earlier values of the model."""
        first, at = {}, 0
        for slot in self.plan.inputs:
            first[id(slot)] = at
            at += slot.sx.numel()
        made = []
        for slot, _, _, place in self.found.delays:
            value, by = next(values), next(values)
            if ca.depends_on(by, ca.vertcat(self.found.time.sx, self.x, self.z, self.u)):
                raise StructureError(
                    f"the exact delay {slot.path} changes with states, inputs or time",
                    where=place.with_source(),
                    expected="a delay that parameters give",
                    hint="without exact=True the delay may change",
                )
            made.append(Delayed(first[id(slot)], value, by))
        return tuple(made)

    def _ode(self, solved: ca.SX) -> ca.SX:
        """Time derivatives in the order of the states; zero for discrete ones."""
        shift = self.bound.numel()
        where = [0] * self.plan.rates
        for k, j in enumerate(self.solution.columns):
            if j < self.plan.rates:
                where[j] = shift + k
        rates = solved[where] if where else ca.SX(0, 1)
        if all(slot.rate is not None for slot in self.found.states):
            return rates
        parts, at = [], 0
        for slot in self.found.states:
            count = slot.sx.numel()
            parts.append(ca.SX.zeros(count) if slot.rate is None else rates[at : at + count])
            at += count if slot.rate is not None else 0
        return column(parts)

    def _outputs(self, solved: ca.SX) -> tuple[tuple[Entry, ...], ca.SX]:
        """Solved variables, and parameters that others give, in order of declaration."""
        shift, first = self.bound.numel(), self.plan.rates
        place = {j: shift + k for k, j in enumerate(self.solution.columns)}
        columns = [j for j in range(first, self.plan.incidence.w.numel()) if j in place]
        named = naming.outputs(self.plan.sought)
        given = naming.outputs(slot for slot, _ in self.found.bound)
        order = [*range(shift), *(place[j] for j in columns)]
        y = ca.densify(solved[order]) if order else ca.SX(0, 1)
        return given + tuple(named[j - first] for j in columns), y

    def _start(
        self, starts: list[ca.SX], inputs: Sequence[Entry], algebraics: Sequence[Entry]
    ) -> ca.SX:
        """Start values as expressions of the parameters; other quantities take their defaults."""
        given = iter(starts)
        x0 = column([_start_of(slot, given) for slot in self.found.states])
        if not starts:
            return x0
        for symbols, group in ((self.u, inputs), (self.z, algebraics)):
            x0 = ca.substitute(x0, symbols, ca.SX(ca.DM([e.value for e in group])))
        x0 = ca.substitute(x0, self.found.time.sx, 0)
        for _ in range(len(starts) + 1):
            if not ca.depends_on(x0, self.x):
                return ca.densify(x0)
            x0 = ca.substitute(x0, self.x, x0)
        raise StructureError(
            "start values depend on each other in a circle", where=type(self.found.root).__name__
        )

    def _states(self, x0: ca.SX, parameters: Sequence[Entry]) -> tuple[Entry, ...]:
        """Entries of the states, with the start value at default parameters."""
        start = ca.Function("start", [self.p], [x0])(ca.DM([e.value for e in parameters]))
        values = np.asarray(start, float).ravel().tolist()
        result: list[Entry] = []
        for slot in self.found.states:
            count, at = slot.sx.numel(), len(result)
            result += naming.of_slot(slot, "state", values[at : at + count])
        return tuple(result)


def _start_of(slot: Slot, given: Iterator[ca.SX]) -> ca.SX:
    if slot.start is not None:
        return spread(next(given), slot.sx.numel())
    return ca.SX(ca.DM(list(numbers(slot))))

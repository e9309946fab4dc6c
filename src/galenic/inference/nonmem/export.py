"""A population with its data as a NONMEM control stream and data file.

The equations are written out step by step as ADVAN13 with $DES, in the units of the data; $PK gives
the individual's parameters in SI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from galenic.engine.tape import Tape
from galenic.inference.algebra import Array
from galenic.inference.mixed.problem import Problem
from galenic.inference.nonmem.refusal import refused
from galenic.units import duration, unit

_OPERATIONS = {
    "add": "{0}+{1}", "sub": "{0}-{1}", "mul": "{0}*{1}", "div": "{0}/{1}", "pow": "{0}**{1}",
    "copy": "{0}", "neg": "-{0}", "sq": "{0}*{0}", "twice": "2*{0}", "inv": "1/{0}",
    "sqrt": "SQRT({0})", "exp": "EXP({0})", "log": "LOG({0})", "sin": "SIN({0})",
    "cos": "COS({0})", "tan": "TAN({0})", "abs": "ABS({0})",
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """The control stream, and the data file it names."""

    control: str
    data: str


def export(problem: Problem, vector: Array | None = None, file: str = "data.csv") -> Exported:
    """The control stream of a problem at its start values or at ``vector``, such as ``fit.vector``.

    Raises
    ------
    NotExpressible
        The model or the data have something that the written subset has not: occasions, several
        endpoints, values below a limit, resets, events, delays, start values other than 0.
    """
    return _Export(problem, problem.start() if vector is None else vector, file).made()


class _Export:
    def __init__(self, problem: Problem, vector: Array, file: str) -> None:
        self.problem, self.file = problem, file
        self.packing, self.population = problem.packing, problem.population
        self.joined, self.records = problem.joined, problem.records
        self.system = self.population.system
        self.point = self.packing.point(vector)
        self.states = [self.system.index(e.path)[1] for e in self.joined.system.states]
        self.order = [i for block in self.packing.blocks for i in block]
        self.covariates = [f"COV{k + 1}" for k in range(len(self.population.covariates))]
        self.second = duration(f"1 {self.records.layout.time}")
        self._check()

    def _check(self) -> None:
        system, people = self.system, self.records.individuals
        start = system.x0[self.states] if self.states else ca.SX(0, 1)
        residual = self.problem.errors.models[0].residual
        routes = self.records.layout.routes.values()
        for wrong, what in (
            (any(_repeats(one) for one in people),
             "additional doses (ADDL) where covariates change"),
            (bool(self.population.occasions), "variability between occasions"),
            (len(self.records.endpoints) != 1, "several endpoints"),
            (any(one.censored.any() for one in people), "values below a limit"),
            (any(one.resets for one in people), "resets (EVID 3, 4)"),
            (bool(system.events or system.delays or system.z.numel()),
             "events, delays or algebraic equations"),
            (not start.is_zero(), "start values other than 0"),
            (residual.combine == "log" or residual.power != 1.0, "this residual error"),
            (any(system.index(r.path)[1] not in self.states for r in routes),
             "doses into a state that is not observed"),
        ):  # fmt: skip
            if wrong:
                raise refused(f"{what} cannot be exported", expected="ADVAN13 with one endpoint")

    def made(self) -> Exported:
        """The two files."""
        names = ["ID", "TIME", "DV", "AMT", "RATE", "II", "SS", "CMT", "EVID", "MDV"]
        lines = [
            f"$PROBLEM {self.system.name}",
            f"$INPUT {' '.join([*names, *self.covariates])}",
            f"$DATA {self.file} IGNORE=@",
            "$SUBROUTINES ADVAN13 TOL=9",
            "$MODEL " + " ".join(self._compartment(k) for k in range(len(self.states))),
            *self._code(),
            *self._numbers(),
            "$ESTIMATION METHOD=1 INTERACTION MAXEVAL=9999",
        ]
        rows = [",".join([*names, *self.covariates]), *self._rows()]
        return Exported("\n".join(lines) + "\n", "\n".join(rows) + "\n")

    def _compartment(self, k: int) -> str:
        return f"COMP=(C{k + 1}{',DEFDOSE,DEFOBS' if k == 0 else ''})"

    # -- code --

    def _individual(self) -> tuple[ca.SX, list[str], list[ca.SX]]:
        """Parameters [SI] as expressions of thetas, covariates and etas in declared units."""
        theta = ca.SX.sym("theta", len(self.joined.fixed))
        covariates = ca.SX.sym("c", len(self.covariates))
        eta = ca.SX.sym("eta", len(self.population.between))
        typical = ca.SX(self.joined.outer(self.point.fixed))
        for k, fixed in enumerate(self.joined.fixed):
            typical[fixed.place] = theta[k] * fixed.unit.scale
        scales = ca.DM([unit(c.unit).scale for c in self.population.covariates])
        values = self.population.individual(typical, covariates * scales, eta)
        names = [f"THETA({k + 1})" for k in range(theta.numel())]
        names += self.covariates
        names += [f"ETA({self.order.index(k) + 1})" for k in range(eta.numel())]
        return values, names, [theta, covariates, eta]

    def _code(self) -> list[str]:
        system = self.system
        values, names, symbols = self._individual()
        used = [i for i in range(system.p.numel()) if self._needs(i)]
        lines = ["$PK", *_written("Q", symbols, names, values[used], [f"P{i}" for i in used])]
        for path, key in self._route_parameters():
            place = system.index(path)[1]
            scale = system.parameters[place].unit.scale
            factor = self._route_scale(key, scale)
            lines += _written("R", symbols, names, values[place] * factor, [key])
        amounts = ca.SX.sym("a", len(self.states))
        scales = ca.DM([system.states[i].unit.scale for i in self.states])
        inputs = ca.DM([e.value for e in system.inputs])
        whole = ca.SX.zeros(system.x.numel())
        whole[self.states] = amounts * scales
        place = system.index(self.records.endpoints[0][0])[1]
        right = ca.substitute(
            [system.ode[self.states] * self.second / scales,
             system.y[place] / self.problem.course.scales[0]],
            [system.x, system.u], [whole, ca.SX(inputs)],
        )  # fmt: skip
        known = [f"A({k + 1})" for k in range(len(self.states))] + [f"P{i}" for i in used]
        inside = [amounts, system.p[used]]
        ends = [f"DADT({k + 1})" for k in range(len(self.states))]
        lines += ["$DES", *_written("S", inside, known, right[0], ends)]
        lines += ["$ERROR", *_written("T", inside, known, right[1], ["IPRED"]), self._residual()]
        return lines

    def _needs(self, i: int) -> bool:
        place = self.system.index(self.records.endpoints[0][0])[1]
        both = ca.vertcat(self.system.ode[self.states], self.system.y[place])
        return bool(ca.depends_on(both, self.system.p[i]))

    def _route_parameters(self) -> list[tuple[str, str]]:
        found = []
        for route in self.records.layout.routes.values():
            n = self._place(route.path)
            for kind, path in (("F", route.bioavailability), ("ALAG", route.lag),
                               ("D", route.duration), ("R", route.rate)):  # fmt: skip
                if path:
                    found.append((path, f"{kind}{n}"))
        return list(dict.fromkeys(found))

    def _route_scale(self, key: str, scale: float) -> float:
        if key.startswith(("ALAG", "D")):
            return 1.0 / self.second
        if key.startswith("R"):
            raise refused("a rate as a parameter cannot be exported", expected="a duration")
        return 1.0

    def _place(self, path: str) -> int:
        return self.states.index(self.system.index(path)[1]) + 1

    def _residual(self) -> str:
        parts = self.problem.errors.models[0].names
        if len(parts) == 2:
            if self.problem.errors.models[0].residual.combine == "sd":
                n = len(self.joined.fixed)
                return f"Y = IPRED + (THETA({n + 1}) + THETA({n + 2})*IPRED)*EPS(1)"
            return "Y = IPRED + EPS(1) + IPRED*EPS(2)"
        return "Y = IPRED + EPS(1)" if parts[0] == "additive" else "Y = IPRED + IPRED*EPS(1)"

    # -- numbers --

    def _numbers(self) -> list[str]:
        lines = []
        for fixed, x in zip(self.joined.fixed, self.point.fixed, strict=True):
            value = fixed.declared(x)
            low = fixed.low / fixed.unit.scale
            bounds = {
                "log": f"(0, {value!r})",
                "logit": f"({low!r}, {value!r}, {low + fixed.width / fixed.unit.scale!r})",
                "plain": repr(value),
            }[fixed.scale]
            lines.append(f"$THETA {bounds} ; {fixed.path} [{fixed.unit.text}]")
        model = self.problem.errors.models[0]
        sd = [float(v) for v in np.exp(self.point.sigma)]
        free = dict(zip(self.packing.names, self.packing.free, strict=True))
        fixes = ["" if free[n] else " FIX" for n in self.packing.errors.names]
        if len(sd) == 2 and model.residual.combine == "sd":
            lines += [f"$THETA (0, {v!r}){f}" for v, f in zip(sd, fixes, strict=True)]
            sigma = ["$SIGMA 1 FIX"]
        else:
            sigma = [f"$SIGMA {v * v!r}{f}" for v, f in zip(sd, fixes, strict=True)]
        return [*lines, *self._omega(free), *sigma]

    def _omega(self, free: dict[str, Any]) -> list[str]:
        lines = []
        terms = [term.parameter for term in self.population.between]
        for block in self.packing.blocks:
            rows = [[float(self.point.omega[i, j]) for j in block if j <= i] for i in block]
            fix = "" if free[f"omega({terms[block[0]]})"] else " FIX"
            numbers = " ".join(repr(v) for row in rows for v in row)
            head = f"BLOCK({len(block)}) " if len(block) > 1 else ""
            lines.append(f"$OMEGA {head}{numbers}{fix} ; {', '.join(terms[i] for i in block)}")
        return lines

    # -- data --

    def _rows(self) -> list[str]:
        return [row for k, one in enumerate(self.records.individuals, 1)
                for row in self._subject(k, one)]  # fmt: skip

    def _subject(self, number: int, one: Any) -> list[str]:
        scales = np.array([unit(c.unit).scale for c in self.population.covariates])
        table = [self.records.covariates.index(c.name) for c in self.population.covariates]
        events: list[tuple[float, int, list[str]]] = []
        for dose in one.doses:
            route = self.records.layout.routes[dose.route]
            scale = unit(route.unit).scale
            rate = dose.rate if dose.rate < 0 else dose.rate / scale * self.second
            cells = ["0", f"{dose.amount / scale!r}", repr(float(rate)),
                     repr(dose.ii / self.second if dose.steady else 0.0), str(dose.steady),
                     str(self._place(route.path)), "1", "1"]  # fmt: skip
            events.append((dose.time, dose.order, cells))
        for time, value, order in zip(one.times, one.values, one.orders, strict=True):
            cells = [repr(float(value)), *["0"] * 4, "0", "0", "0"]
            events.append((time, int(order), cells))
        events.sort(key=lambda event: event[:2])
        found = []
        for time, order, cells in events:
            place = int(np.flatnonzero(one.knot_orders == order)[0])
            known = [repr(float(v)) for v in one.covariates[place][table] / scales]
            found.append(",".join([str(number), repr(float(time / self.second)), *cells, *known]))
        return found


def _repeats(one: Any) -> bool:
    """Whether rows stand for several doses while covariates change: it matters whose row counts."""
    orders = [dose.order for dose in one.doses]
    return len(set(orders)) < len(orders) and bool(np.ptp(one.covariates, axis=0).any())


def _written(
    letter: str, inside: Sequence[ca.SX], names: Sequence[str], right: ca.SX, ends: Sequence[str]
) -> list[str]:
    """Assignments that calculate ``right``, one operation each."""
    tape = Tape(ca.Function("block", [ca.vertcat(*inside)], [right]))
    slots: dict[int, str] = {}
    lines = []
    for step in tape.instructions:
        if step.name == "const":
            slots[step.slot] = f"({float(step.value)!r})"
        elif step.name == "input":
            slots[step.slot] = names[step.place[1]]
        elif step.name == "output":
            lines.append(f"{ends[step.place[1]]} = {slots[step.slot]}")
        elif step.name in _OPERATIONS:
            name = f"{letter}Z{len(lines) + 1}"
            text = _OPERATIONS[step.name].format(*(slots[a] for a in step.arguments))
            lines.append(f"{name} = {text}")
            slots[step.slot] = name
        else:
            raise refused(f"the operation {step.name} cannot be exported",
                          expected=", ".join(_OPERATIONS))  # fmt: skip
    return lines

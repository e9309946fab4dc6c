"""How a block of individuals is solved: one after the other, or in lanes of a compiled kernel."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from threading import RLock
from typing import Any, Protocol

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.batch.plan import Block, Method, Plan
from galenic.engine.integrate import Integrators, Leg
from galenic.engine.march import March
from galenic.engine.sensitivity import Response
from galenic.engine.simulate import Simulator
from galenic.engine.timeline import Timeline
from galenic.errors import GalenicError, SolveError

Array = npt.NDArray[np.float64]

SINGLE = "single"
"""The method that solves one individual after the other: CVODES, IDAS, CasADi's Rosenbrock."""

EXACT = "exact"
"""The method of linear models: from event to event without steps."""

CASADI = RLock()
"""Held while CasADi works: its integrators keep their memory in the Function, not in the call."""

_KEPT = 16


class Status(IntEnum):
    """What became of an individual."""

    SOLVED = 0
    ENDED = 1  # by a terminal event; what comes after it is NaN
    FAILED = 2  # all its values are NaN


@dataclass(eq=False)
class Solved:
    """Values (m, n_times, n_outputs) in SI, status, steps taken and rejected, reasons by row.

    ``doubtful`` counts where a state event may have been passed over.
    """

    values: Array
    status: npt.NDArray[np.uint8]
    accepted: npt.NDArray[np.int64]
    rejected: npt.NDArray[np.int64]
    doubtful: npt.NDArray[np.int64]
    reasons: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, plan: Plan, count: int) -> Solved:
        """Nothing is known of ``count`` individuals."""
        shape = (count, len(plan.frame.times), len(plan.frame.columns))
        zeros = np.zeros(count, np.int64)
        failed = np.full(count, Status.FAILED, np.uint8)
        return cls(np.full(shape, np.nan), failed, zeros, zeros.copy(), zeros.copy())

    def put(self, rows: Any, other: Solved) -> None:
        """Take the rows over from another solution; the work adds up."""
        self.values[rows] = other.values
        self.status[rows] = other.status
        self.accepted[rows] += other.accepted
        self.rejected[rows] += other.rejected
        self.doubtful[rows] = other.doubtful
        for place, row in enumerate(rows):
            self.reasons.pop(int(row), None)
            if place in other.reasons:
                self.reasons[int(row)] = other.reasons[place]


class Backend(Protocol):
    """Solves blocks of one plan by the methods it knows."""

    def solve(self, block: Block, method: Method) -> Solved:
        """The individuals of a block; a numeric failure is a status, never an exception."""


def vectors(plan: Plan, block: Block) -> tuple[Array, Array]:
    """Parameters (m, np) and inputs (m, nu) of the individuals in SI."""
    p = np.repeat(plan.p[None, :], len(block), axis=0)
    u = np.repeat(plan.u[None, :], len(block), axis=0)
    for k, place in enumerate(plan.places):
        if place.kind in ("parameter", "input"):
            (p if place.kind == "parameter" else u)[:, place.index] = block.columns[:, k]
    return p, u


class Single:
    """One individual after the other, each as ``Simulator.run`` does it.

    Parameters
    ----------
    plan : Plan
        The run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        with CASADI:
            self.simulator = Simulator(plan.system)
            self.simulator.integrators = self.counter = _Counting(self.simulator.compiled)
            compiled = self.simulator.compiled
            self.timelines = [
                Timeline(compiled, experiment) for experiment in plan.schedules.experiments
            ]
        self.place = {time: i for i, time in enumerate(plan.frame.times)}
        self.paths = list(plan.outputs)

    def solve(self, block: Block, method: Method) -> Solved:
        """The individuals of a block, one after the other."""
        solved = Solved.empty(self.plan, len(block))
        p, u = vectors(self.plan, block)
        with CASADI:
            for row in range(len(block)):
                self.counter.accepted = self.counter.rejected = 0
                try:
                    self._solve_one(solved, row, block, p[row], u[row], method)
                except GalenicError as error:
                    solved.reasons[row] = error.found
                solved.accepted[row] = self.counter.accepted
                solved.rejected[row] = self.counter.rejected
        return solved

    def _solve_one(
        self, solved: Solved, row: int, block: Block, p: Array, u: Array, method: Method
    ) -> None:
        starts = {(kind, i): value for kind, i, value in self.plan.starts}
        for k, place in enumerate(self.plan.places):
            if place.kind in ("state", "algebraic"):
                starts[place.kind, place.index] = block.columns[row, k]
        timeline = self.timelines[block.schedule[row]]
        march = self.simulator.march_from(timeline, p, u, starts, None, method.rtol, method.atol)
        samples = list(self.plan.frame.times)
        if self.plan.wrt:
            self._differentiate(solved, row, march, samples)
            return
        march.advance(samples[-1], samples)
        found = self.simulator.trajectory(march, self.paths)
        reached = [i for i, time in enumerate(found.times) if time in self.place]
        at = [self.place[found.times[i]] for i in reached]
        for column, path in enumerate(self.paths):
            solved.values[row, at, column] = found.si(path)[reached]
        whole = np.isfinite(solved.values[row, at]).all()
        solved.status[row] = Status.ENDED if march.ended else Status.SOLVED
        if not whole:
            solved.values[row] = np.nan
            solved.status[row] = Status.FAILED
            solved.reasons[row] = "an output is not a number"

    def _differentiate(self, solved: Solved, row: int, march: March, samples: list[float]) -> None:
        """Outputs and derivatives of one individual from the replay of its run."""
        if any(by.kind == "dose" for by in self.plan.wrt):
            raise SolveError("derivatives by doses outside of kernels", where=self.plan.system.name)
        wrt = [by.path for by in self.plan.wrt]
        found = Response(march, wrt, self.paths, samples).sensitivity()
        slopes = found.values.transpose(0, 2, 1).reshape(len(samples), -1)
        solved.values[row] = np.hstack([found.nominal, slopes])
        solved.status[row] = Status.SOLVED


class _Counting(Integrators):
    """Integrators that count the steps they take, and give up quickly."""

    accepted = 0
    rejected = 0

    def _attempt(
        self, integrator: ca.Function, leg: Leg, x: Array, z: Array
    ) -> tuple[Array, Array, Array] | None:
        found = super()._attempt(integrator, leg, x, z)
        if found is not None:
            stats = integrator.stats()
            self.accepted += int(stats.get("nsteps", stats.get("n_steps", 0)))
            self.rejected += int(stats.get("netfails", stats.get("n_reject", 0)))
        return found

    def _diagnosis(
        self, leg: Leg, x: Array, z: Array, rtol: float, atol: float | None
    ) -> SolveError:
        """Where it stopped, without the search for why, which takes many runs."""
        return SolveError(
            f"the integration stops between t = {leg.start:.6g} s and {leg.start + leg.span:.6g} s",
            time=leg.start,
            where=self.compiled.system.name,
        )


_backends: OrderedDict[tuple[str, bool], Backend] = OrderedDict()
_making = RLock()


def backend(plan: Plan, method: str) -> Backend:
    """The back end for a method of a plan; made once per process and plan."""
    single = method == SINGLE
    key = (plan.identity, single)
    with _making:
        if key not in _backends:
            _backends[key] = Single(plan) if single else _compiled(plan)
            while len(_backends) > _KEPT:
                _backends.popitem(last=False)
        _backends.move_to_end(key)
        return _backends[key]


def _compiled(plan: Plan) -> Backend:
    from galenic.engine.batch.lanes import Lanes

    return Lanes(plan)

"""Individuals in the lanes of a compiled kernel: parameters, start values and events as arrays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.backend import CASADI, EXACT, SINGLE, Solved, Status, vectors
from galenic.engine.batch.derivatives import By, Derivatives
from galenic.engine.batch.plan import Block, Method, Plan
from galenic.engine.compile import compile_system
from galenic.engine.timeline import Change, Timeline
from galenic.errors import GalenicError

if TYPE_CHECKING:
    from galenic.engine.native import Events, Kernel, Problem

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_KEPT = 32
_REASONS = {
    "STEP_TOO_SMALL": "the step became too small",
    "TOO_MANY_STEPS": "too many steps",
    "NOT_FINITE": "a value is not a number",
    "PIVOT": "a pivot vanished",
    "ALGEBRAIC": "no consistent algebraic values",
    "CHATTERING": "an event fires without end",
}
Content = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[By, ...]]
_problems: OrderedDict[Content, Derivatives] = OrderedDict()
_kernels: OrderedDict[tuple[Content, str], Kernel] = OrderedDict()
_making = RLock()


def content(plan: Plan) -> Content:
    """What the machine code of a plan depends on."""
    schedules = plan.schedules
    return (plan.system.identity, plan.outputs, schedules.ramped, schedules.infused, plan.wrt)


def problem(plan: Plan) -> Problem:
    """The kernel problem of a plan: outputs, inputs that ramp, states that are infused."""
    made = derivatives(plan)
    return made.problem if plan.wrt else made.base


def derivatives(plan: Plan) -> Derivatives:
    """The kernel problem of a plan without, and with, the derivatives it asks for."""
    from galenic.engine.native import Problem

    with CASADI, _making:
        key = content(plan)
        if key not in _problems:
            _, outputs, ramped, infused, wrt = key
            varied = [by.slot for by in wrt]
            base = Problem.of_system(plan.system, outputs, ramped, infused, varied)
            _problems[key] = Derivatives(base, wrt)
            while len(_problems) > _KEPT:
                _problems.popitem(last=False)
        _problems.move_to_end(key)
        return _problems[key]


def is_linear(plan: Plan) -> bool:
    """Whether the kernel can go from event to event exactly."""
    from galenic.engine import native

    with CASADI:
        return native.is_linear(problem(plan))


def obstacle(plan: Plan, method: str | None) -> str:
    """Why no kernel can solve a plan by a method (by any, for None); empty where one can."""
    try:
        if method is None:
            method = EXACT if is_linear(plan) else "rodas5p"
        kernel(plan, method)
    except GalenicError as error:
        return error.found
    return ""


def kernel(plan: Plan, method: str) -> Kernel:
    """The compiled kernel of a plan and method; made once per process."""
    from galenic.engine.native import compile_kernel

    with CASADI, _making:
        key = (content(plan), method)
        if key not in _kernels:
            _kernels[key] = compile_kernel(problem(plan), method=method)
            while len(_kernels) > _KEPT:
                _kernels.popitem(last=False)
        _kernels.move_to_end(key)
        return _kernels[key]


def machine(plan: Plan) -> dict[str, Any]:
    """Lanes, processor and hash of the kernel of the first method."""
    if plan.methods[0].name == SINGLE:
        return {}
    made = kernel(plan, plan.methods[0].name)
    return {"lanes": made.lanes, "cpu": made.cpu, "kernel": made.digest}


@dataclass(frozen=True, eq=False)
class Rows:
    """The events of all schedules: number ``s`` has ``length[s]`` rows, from ``first[s]`` on.

    The value of a row is ``value + share * theta[of]`` where ``of`` is not negative, multiplied by
    the element ``factor`` of theta where that is not negative. ``theta``
    holds the runtime parameters that a schedule changes before its start, by its number.
    """

    time: Array
    kind: Indices
    index: Indices
    value: Array
    share: Array
    of: Indices
    factor: Indices
    first: Indices
    length: Indices
    theta: dict[int, list[tuple[int, float]]]

    @classmethod
    def of_writers(cls, writers: Sequence[_Writer]) -> Rows:
        """The rows that writers found, one after the other."""
        found = [row for writer in writers for row in writer.found]
        columns = list(zip(*found, strict=True)) or [()] * 7
        times, values, shares = (np.array(columns[k], np.float64) for k in (0, 3, 4))
        kinds, indices, of, factors = (np.array(columns[k], np.int64) for k in (1, 2, 5, 6))
        length = np.array([len(writer.found) for writer in writers], np.int64)
        theta = {number: writer.theta for number, writer in enumerate(writers) if writer.theta}
        first = np.cumsum(length) - length
        return cls(times, kinds, indices, values, shares, of, factors, first, length, theta)

    @cached_property
    def is_common(self) -> bool:
        """Whether all individuals get the same values."""
        return len(self.length) == 1 and not (self.of >= 0).any()


class Lanes:
    """A compiled kernel per method for one plan.

    Parameters
    ----------
    plan : Plan
        The run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.derivatives = derivatives(plan)
        self.problem = problem(plan)
        self.compiled = compile_system(plan.system)
        with CASADI:
            self.rows = Rows.of_writers(
                [
                    _Writer(self, Timeline(self.compiled, experiment))
                    for experiment in plan.schedules.experiments
                ]
            )

    def solve(self, block: Block, method: Method) -> Solved:
        """The individuals of a block in lanes; what fails is NaN and has a reason."""
        from galenic.engine.native import Status as Ended

        known = np.isfinite(block.columns).all(axis=1)
        solved = Solved.empty(self.plan, len(block))
        rows = np.flatnonzero(known)
        for row in np.flatnonzero(~known):
            solved.reasons[int(row)] = "a value in its row of the table is missing"
        if not len(rows):
            return solved
        part = Block(block.index, block.first, block.columns[rows], block.schedule[rows])
        theta, states = self._begin(part)
        outcome = kernel(self.plan, method.name).run(
            theta,
            np.array(self.plan.frame.times),
            events=self._events(part, theta),
            states=states,
            rtol=method.rtol,
            atol=None if method.atol is None else method.atol * self.problem.nominal,
            threads=1,
        )
        if len(rows) == len(block):
            solved.values = outcome.values
        else:
            solved.values[rows] = outcome.values
        solved.accepted[rows], solved.rejected[rows] = outcome.accepted, outcome.rejected
        solved.doubtful[rows] = outcome.doubtful
        good = Ended.good(outcome.status)
        ended = outcome.status == Ended.ENDED
        solved.status[rows] = np.where(
            good, np.where(ended, Status.ENDED, Status.SOLVED), Status.FAILED
        )
        for place in np.flatnonzero(~good):
            code = Ended(int(outcome.status[place])).name
            words = _REASONS.get(code, code.lower())
            solved.reasons[int(rows[place])] = f"{words} at t = {outcome.reached[place]:.6g} s"
        self._check_finite(solved, rows[good & ~ended])
        return solved

    def _check_finite(self, solved: Solved, rows: Indices) -> None:
        """An output outside of its domain, of an individual that was integrated."""
        values = solved.values if len(rows) == len(solved.values) else solved.values[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(values.sum()):
                return
        for row in rows[~np.isfinite(solved.values[rows]).all(axis=(1, 2))]:
            solved.status[row] = Status.FAILED
            solved.reasons[int(row)] = "an output is not a number"

    def _begin(self, block: Block) -> tuple[Array, Array | None]:
        """Runtime parameters and start values; computed ones follow changes at the start.

        With state events these changes are left to the first event, because a trigger that they
        carry over zero fires.
        """
        theta = self._theta(block)
        changes = self.rows.theta
        if not changes:
            return theta, self._states(block, theta)
        changed = theta.copy()
        for number in set(block.schedule.tolist()) & set(changes):
            for index, value in changes[number]:
                changed[block.schedule == number, index] = value
        if self.problem.triggers:
            return theta, self._states(block, changed, always=True)
        return changed, self._states(block, changed)

    def _theta(self, block: Block) -> Array:
        """Runtime parameters (m, n_theta) before any change."""
        theta = np.repeat(self.problem.defaults[None, :], len(block), axis=0)
        p, u = vectors(self.plan, block)
        layout = self.problem.layout
        for values, kind, entries in (
            (p, "parameter", self.compiled.system.parameters),
            (u, "input", self.compiled.system.inputs),
        ):
            theta[:, [layout[kind, entry.path] for entry in entries]] = values
        return np.ascontiguousarray(theta)

    def _states(self, block: Block, theta: Array, always: bool = False) -> Array | None:
        """Start values (m, n) where any are given; None leaves them to the kernel."""
        columns = [(k, place) for k, place in enumerate(self.plan.places) if place.kind in _OFFSETS]
        if not (columns or self.plan.starts or always or self.plan.wrt):
            return None
        compiled = self.compiled
        layout = self.problem.layout
        parameters = [layout["parameter", e.path] for e in compiled.system.parameters]
        with CASADI:
            x = np.array(compiled.start(theta[:, parameters].T)).T.reshape(len(block), compiled.nx)
        z = np.repeat(np.nan_to_num(compiled.defaults("algebraic"))[None, :], len(block), axis=0)
        states = np.ascontiguousarray(np.hstack([x, z]))
        for kind, i, value in self.plan.starts:
            states[:, i + _OFFSETS[kind] * compiled.nx] = value
        for k, place in columns:
            states[:, place.index + _OFFSETS[place.kind] * compiled.nx] = block.columns[:, k]
        if not self.plan.wrt:
            return states
        given = np.zeros(compiled.nx, bool)
        given[[i for kind, i, _ in self.plan.starts if kind == "state"]] = True
        given[[place.index for _, place in columns if place.kind == "state"]] = True
        with CASADI:
            return self.derivatives.start(states, theta, given)

    def _events(self, block: Block, theta: Array) -> Events | None:
        """The schedules of the individuals: stored once where all get the same."""
        from galenic.engine.native import Events

        rows = self.rows
        if not len(rows.time):
            return None
        if rows.is_common:
            events = Events.shared(
                len(block), rows.time, rows.kind, rows.index, rows.value, rows.factor
            )
            return self._differentiated(events)
        length = rows.length[block.schedule]
        offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(
            rows.first[block.schedule] - offsets[:-1], length
        )
        who = np.repeat(np.arange(len(block)), length)
        value, of = rows.value[places], rows.of[places]
        own = of >= 0
        value[own] += rows.share[places][own] * theta[who[own], of[own]]
        return self._differentiated(
            Events(
                offsets, rows.time[places], rows.kind[places], rows.index[places], value,
                rows.factor[places],
            )
        )  # fmt: skip

    def _differentiated(self, events: Events) -> Events:
        """With what the events do to derivatives."""
        from galenic.engine.native import sensitive_events

        if not self.plan.wrt:
            return events
        return sensitive_events(events, self.derivatives.base, self.derivatives.places)


_OFFSETS = {"state": 0, "algebraic": 1}


class _Writer:
    """Writes a timeline as rows of events, in the order in which ``March`` applies them."""

    def __init__(self, lanes: Lanes, timeline: Timeline) -> None:
        from galenic.engine.native import Kind

        self.kinds = {kind.name: int(kind) for kind in Kind}
        self.problem, self.compiled, self.timeline = lanes.problem, lanes.compiled, timeline
        self.layout = lanes.problem.layout
        self.stop = lanes.plan.frame.times[-1]
        self.inputs = lanes.compiled.system.inputs
        self.touched = sorted(
            {c.index for c in timeline.changes if c.kind == "input"}
            | {s.index for s in timeline.spans if s.kind in ("input", "ramp")}
        )
        self.infused = sorted({s.index for s in timeline.spans if s.kind == "state"})
        self.found: list[tuple[float, int, int, float, float, int, int]] = []  # as in Rows
        self.theta = [
            (self.layout["parameter", self.compiled.system.parameters[c.index].path], c.value)
            for c in timeline.at(0.0)
            if c.kind == "parameter"
        ]
        self._write()

    def _write(self) -> None:
        """All rows up to the end of the run."""
        due: dict[float, list[int]] = {}
        for time, rule in self.timeline.scheduled(0.0, self.stop):
            due.setdefault(time, []).append(rule)
        for time in self.timeline.breakpoints(0.0, self.stop):
            for change in self.timeline.at(time):
                self._change(time, change)
            if self.touched or self.infused:
                self._drives(time)
            for rule in due.get(time, ()):
                self._put(time, "RESET", rule, 0.0)

    def _change(self, time: float, change: Change) -> None:
        if change.kind == "state":
            self._put(time, "SET", change.index, change.value)
        elif change.kind == "add":
            path = self.compiled.system.states[change.index].path
            factor = self.layout.get(("dose", path), -1)
            self._put(time, "ADD", change.index, change.value, factor=factor)
        elif change.kind == "parameter":
            path = self.compiled.system.parameters[change.index].path
            self._put(time, "THETA", self.layout["parameter", path], change.value)

    def _drives(self, time: float) -> None:
        """Levels and slopes of inputs and rates into states from this time on."""
        base, slope = self.timeline.inputs(time, np.zeros(len(self.inputs)))
        share, rise = self.timeline.shares(time)
        dosed = self.timeline.through_inputs(time)
        for i in self.touched:
            path = self.inputs[i].path
            own = self.layout["input", path]
            if ("given", path) in self.layout:
                self._put(time, "THETA", self.layout["given", path], dosed[i])
                base[i] -= dosed[i]
            self._put(time, "THETA", own, base[i], share[i], own)
            if ("slope", path) in self.layout:
                self._put(time, "THETA", self.layout["slope", path], slope[i], rise[i], own)
                self._put(time, "THETA", self.layout["since", path], time)
        rates = self.timeline.rates(time)
        for i in self.infused:
            path = self.compiled.system.states[i].path
            self._put(time, "THETA", self.layout["rate", path], rates[i])

    def _put(
        self,
        time: float,
        kind: str,
        index: int,
        value: float,
        share: float = 0.0,
        of: int = -1,
        factor: int = -1,
    ) -> None:
        of = of if share != 0.0 else -1
        row = (time, self.kinds[kind], index, float(value), float(share), of, factor)
        self.found.append(row)

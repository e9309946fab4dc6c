"""Compiled populations: many individuals of one model integrated at once, one per vector lane."""

from __future__ import annotations

import ctypes
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock, Thread
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.engine.native.assemble import UNROLLED, Facts, assemble
from galenic.engine.native.equations import Equations
from galenic.engine.native.exact import is_exact
from galenic.engine.native.graph import Graph
from galenic.engine.native.job import FIELD, FIELDS, Status
from galenic.engine.native.machine import (
    Code,
    compile_ir,
    generator,
    load,
    recall,
    remember,
    this_machine,
)
from galenic.engine.native.methods import Rosenbrock, method_named
from galenic.engine.native.problem import Problem
from galenic.engine.native.schedule import Events, Times, plan_times
from galenic.errors import DataError

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

EXACT = "exact"
_WIDE = 40  # unknowns from which vectors wider than a register cost more than they bring
_FIRST_STEP = 5e-3
_KEPT = 64
_loaded: OrderedDict[str, tuple[Facts, Code]] = OrderedDict()
_making = RLock()


class Control:
    """Stops a run from another thread, and tells how far it is."""

    def __init__(self) -> None:
        self._cancel = np.zeros(1, dtype=np.int64)
        self._counter = np.zeros(1, dtype=np.int64)

    def cancel(self) -> None:
        """End the run after the steps that are being made; the rest is marked CANCELLED."""
        self._cancel[0] = 1

    @property
    def cancelled(self) -> bool:
        """Whether the run was told to stop."""
        return bool(self._cancel[0])

    @property
    def taken(self) -> int:
        """Individuals that have been begun (may exceed their number by threads times lanes)."""
        return int(self._counter[0])


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run gives: values (individual, time, output) in SI, and how each individual ended.

    For times that differ between individuals ``values`` has one row per output time in the order
    of the individuals. Rows after a failure are nan.
    """

    values: Array
    status: npt.NDArray[np.int32]
    accepted: Whole
    rejected: Whole
    doubtful: Whole
    reached: Array
    final: Array | None


class Kernel:
    """Machine code for one problem and method.

    Made by :func:`compile_kernel`. May be run from several threads at once.
    """

    def __init__(self, problem: Problem, method: str, facts: Facts, code: Code) -> None:
        self.problem, self.method, self.facts = problem, method, facts
        self.lanes = facts.lanes
        self.cpu = this_machine().cpu
        self.digest = ""
        self.warm = False
        self.seconds = 0.0
        self._code = code
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code.address)

    def run(
        self,
        theta: npt.ArrayLike,
        times: Times,
        events: Events | None = None,
        start: npt.ArrayLike = 0.0,
        stop: npt.ArrayLike | None = None,
        states: npt.ArrayLike | None = None,
        rtol: float = 1e-6,
        atol: npt.ArrayLike | None = None,
        threads: int = 1,
        max_steps: int = 100_000,
        out: Array | None = None,
        before: bool = False,
        keep_final: bool = False,
        control: Control | None = None,
    ) -> Outcome:
        """Integrate individuals.

        Parameters
        ----------
        theta : array (N, n_theta)
            Runtime parameters of each individual, SI.
        times : array (T,) or (offsets, flat) [s]
            Output times of all, or of each individual ``flat[offsets[i]:offsets[i + 1]]``;
            ascending.
        events : Events, optional
            What happens to each individual, and when.
        start, stop : float or array (N,) [s]
            Begin and end; the end is the last output time if left out. Events at or after the end
            do not happen.
        states : array (N, n), optional
            Start values; those of the model if left out.
        rtol : float
            Relative tolerance.
        atol : array (n,), optional
            Absolute tolerances, SI.
        threads : int
            Number of threads. They share the individuals; no result depends on it.
        max_steps : int
            Steps, accepted and rejected, after which an individual is given up.
        out : array, optional
            Where values are written: (N, T, n_outputs), or (rows, n_outputs).
        before : bool
            Outputs at the time of an event are those before it, instead of after it.
        keep_final : bool
            Give the unknowns at the end as well.
        control : Control, optional
            To stop the run or watch it from another thread.
        """
        given = _table("theta", theta, self.facts.n_theta)
        count = len(given)
        plan = plan_times(times, count)
        begin = _column("start", start, count)
        end = plan.last(begin) if stop is None else _column("stop", stop, count)
        _check_spans(begin, end, plan.first_times())
        schedule = (events or Events.none(count)).checked(count, self.facts)
        values = _result(out, (*plan.shape(count), self.facts.n_outputs))
        outcome = Outcome(
            values=values,
            status=np.zeros(count, dtype=np.int32),
            accepted=np.zeros(count, dtype=np.int64),
            rejected=np.zeros(count, dtype=np.int64),
            doubtful=np.zeros(count, dtype=np.int64),
            reached=np.full(count, np.nan),
            final=np.full((count, self.facts.n), np.nan) if keep_final else None,
        )
        from_states = None if states is None else _table("states", states, self.facts.n, count)
        guide = control or Control()
        guide._counter[0] = 0
        fields: dict[str, Any] = {
            "counter": guide._counter,
            "last": count,
            "cancel": guide._cancel,
            "theta": given,
            "start": begin,
            "stop": end,
            "states": from_states,
            "times": np.append(plan.packed, np.full(self.lanes, np.nan)),  # read in vectors
            "times_first": plan.starts,
            "out": values,
            "out_first": plan.rows,
            "event_time": schedule.time,
            "event_what": schedule.what,
            "event_value": schedule.value,
            "event_first": schedule.first,
            "event_last": schedule.last,
            "status": outcome.status,
            "accepted": outcome.accepted,
            "rejected": outcome.rejected,
            "doubtful": outcome.doubtful,
            "reached": outcome.reached,
            "final": outcome.final,
            "rtol": float(rtol),
            "atol": self._tolerances(rtol, atol),
            "max_steps": int(max_steps),
            "before": float(before),
            "first_step": _FIRST_STEP * rtol**0.2,
        }
        job = _pack(fields)
        self._work(job, max(1, min(threads, count)))
        if guide.cancelled:
            plan.blank(values, outcome.status == Status.PENDING)
            outcome.status[outcome.status == Status.PENDING] = Status.CANCELLED
        return outcome

    def _tolerances(self, rtol: float, atol: npt.ArrayLike | None) -> Array:
        if not 0 < rtol < 1:
            raise DataError(f"a relative tolerance of {rtol}", expected="between 0 and 1")
        if atol is None:
            return np.ascontiguousarray(self.problem.atol(rtol))
        given = np.broadcast_to(np.asarray(atol, dtype=float), (self.facts.n,))
        if not (given > 0).all():
            raise DataError("absolute tolerances must be positive", where="atol")
        return np.ascontiguousarray(given)

    def _work(self, job: Whole, threads: int) -> None:
        if threads == 1:
            self._one(job)
            return
        workers = [Thread(target=self._one, args=(job,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _one(self, job: Whole) -> None:
        """The run of one thread in a workspace of its own."""
        size = self.facts.workspace * self.lanes
        memory = np.zeros(size + 16)
        skip = -memory.ctypes.data % 128 // 8
        self._run(memory[skip:].ctypes.data, job.ctypes.data)


def compile_kernel(
    problem: Problem, method: str = "rodas5p", lanes: int | None = None, disk: bool = True
) -> Kernel:
    """The kernel of a problem, from disk where the same one was compiled before.

    Parameters
    ----------
    problem : Problem
        Equations and outputs.
    method : str
        Name of a method, see ``METHODS``, or ``exact`` where :func:`is_linear`.
    lanes : int, optional
        Individuals per vector: 4, 8 or 16. Results do not depend on it.
    disk : bool
        Keep machine code on disk and in this process.
    """
    begin = perf_counter()
    tableau = None if method == EXACT else method_named(method)
    machine = this_machine()
    width = lanes or _width(problem, machine.lanes)
    content = f"{problem.digest}|{method}|{width}|{machine.identity}|{generator()}"
    key = hashlib.sha256(content.encode()).hexdigest()
    with _making:
        facts, code, warm = _code(key, problem, tableau, width, disk)
    kernel = Kernel(problem, method, facts, code)
    kernel.digest, kernel.warm = key, warm
    kernel.seconds = perf_counter() - begin
    return kernel


def is_linear(problem: Problem) -> bool:
    """Whether the method ``exact`` can be used: linear, constant coefficients, not too large."""
    return is_exact(Equations(problem, Graph()))


def _width(problem: Problem, register: int) -> int:
    """Lanes: two registers where few unknowns leave the processor waiting for results.

    Sensitivities keep it busy, and fill the first cache sooner.
    """
    unknowns = problem.columns[0].n if problem.columns else problem.n
    if unknowns <= UNROLLED:
        return 2 * register
    return max(register, 8) if unknowns <= _WIDE and not problem.columns else register


def _code(
    key: str, problem: Problem, method: Rosenbrock | None, lanes: int, disk: bool
) -> tuple[Facts, Code, bool]:
    """Machine code from this process, from disk, or made now; and whether it was kept."""
    if key in _loaded:
        _loaded.move_to_end(key)
        return *_loaded[key], True
    kept = recall(key) if disk else None
    if kept is None:
        text, facts = assemble(problem, method, lanes)
        binary = compile_ir(text)
        if disk:
            remember(key, facts.to_json(), binary)
    else:
        facts, binary = Facts.from_json(kept[0]), kept[1]
    code = load(binary)
    if disk:
        _loaded[key] = facts, code
        while len(_loaded) > _KEPT:
            _loaded.popitem(last=False)
    return facts, code, kept is not None


def _pack(fields: dict[str, Any]) -> Whole:
    job = np.zeros(len(FIELDS), dtype=np.int64)
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            job[FIELD[name]] = value.ctypes.data
        elif isinstance(value, float):
            job[FIELD[name]] = np.float64(value).view(np.int64)
        elif value is not None:
            job[FIELD[name]] = value
    return job


def _table(what: str, given: npt.ArrayLike, columns: int, rows: int | None = None) -> Array:
    table = np.ascontiguousarray(given, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != columns or (rows is not None and len(table) != rows):
        raise DataError(
            f"{what} has the shape {table.shape}",
            expected=f"({'N' if rows is None else rows}, {columns}): one row per individual",
        )
    return table


def _column(what: str, given: npt.ArrayLike, count: int) -> Array:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim > 1 or (values.ndim == 1 and len(values) != count):
        raise DataError(f"{what} has the shape {values.shape}", expected=f"one or {count} times")
    return np.ascontiguousarray(np.broadcast_to(values, (count,)))


def _check_spans(begin: Array, end: Array, first: Array) -> None:
    wrong = np.flatnonzero(~(end > begin))
    if len(wrong):
        i = int(wrong[0])
        raise DataError(
            f"individual {i} ends at {end[i]:g} s and begins at {begin[i]:g} s",
            expected="an end after the begin",
            hint="give stop= where the only output time is the begin",
        )
    early = np.flatnonzero(first < begin)
    if len(early):
        i = int(early[0])
        raise DataError(
            f"individual {i} has an output at {first[i]:g} s and begins at {begin[i]:g} s",
            expected="outputs from the begin on",
        )


def _result(out: Array | None, shape: Sequence[int]) -> Array:
    if out is None:
        return np.empty(shape)
    if out.shape != tuple(shape) or out.dtype != np.float64 or not out.flags.c_contiguous:
        raise DataError(
            f"out has the shape {out.shape} and the type {out.dtype}",
            expected=f"a contiguous float64 array of shape {tuple(shape)}",
        )
    return out

"""Run a compiled system under an experiment and give the trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from galenic.engine.compile import Compiled, compile_system
from galenic.engine.experiment import Experiment
from galenic.engine.initial import consistent
from galenic.engine.integrate import Integrators
from galenic.engine.march import March
from galenic.engine.state import State
from galenic.engine.timeline import Timeline, tidy
from galenic.engine.trajectory import Column, Trajectory, Violation
from galenic.errors import ModelError, UnknownName
from galenic.modeling.declare import DELAYED
from galenic.units import duration, from_si, value_in

if TYPE_CHECKING:
    from galenic.engine.batch.result import Trajectories
    from galenic.engine.batch.summaries import Summary
    from galenic.engine.linear import Linear
    from galenic.engine.sensitivity import Response, Sensitivity

Array = npt.NDArray[np.float64]

_POINTS = 200
_integrators: WeakKeyDictionary[Compiled, Integrators] = WeakKeyDictionary()


class Simulator:
    """Runs one model; compiled once per process and identity.

    Parameters
    ----------
    model : System or Model
        A flattened System, or anything with ``flatten()``.
    """

    def __init__(self, model: Any) -> None:
        self.compiled = compile_system(model)
        self.system = self.compiled.system
        self.integrators = _integrators.setdefault(self.compiled, Integrators(self.compiled))

    def run(
        self,
        experiment: Experiment | None = None,
        values: Mapping[Any, Any] | None = None,
        until: Any = None,
        every: Any = None,
        outputs: Sequence[Any] | None = None,
        start: State | Mapping[Any, Any] | None = None,
        rtol: float = 1e-6,
        atol: float | None = None,
        times: Iterable[Any] | None = None,
    ) -> Trajectory:
        """Simulate.

        Parameters
        ----------
        experiment : Experiment, optional
            Settings, ramps and doses over time.
        values : mapping, optional
            Path to value for parameters, inputs and start values: text with unit, Quantity, or a
            bare number in the declared unit.
        until : str or float [s]
            End of the run; not needed with ``times``.
        every : str or float [s], optional
            Interval of the output times; 200 intervals and all jumps if left out.
        outputs : sequence of paths, optional
            What the trajectory holds; everything if left out. Arrays by their name.
        start : State or mapping, optional
            A state to go on from (``trajectory.final``), or start values by path.
        rtol : float
            Relative tolerance of the solution (CVODES and IDAS are run ten times tighter).
        atol : float, optional
            Absolute tolerance as a share of each state's nominal value; 1e-3 rtol if left out.
        times : iterable, optional
            Exact output times instead of ``until`` and ``every``.

        Returns
        -------
        Trajectory
            Values at a time are those after what happens at that time; doses at ``until`` are not
            given.
        """
        march = self.march(experiment, values, start, rtol, atol)
        samples = _output_times(march.time, until, every, times)
        if every is None and times is None:
            jumps = march.timeline.breakpoints(march.time, samples[-1])
            samples = sorted({*samples, *jumps})
        march.advance(samples[-1], samples)
        return self.trajectory(march, outputs)

    def march(
        self,
        experiment: Experiment | None = None,
        values: Mapping[Any, Any] | None = None,
        start: State | Mapping[Any, Any] | None = None,
        rtol: float = 1e-6,
        atol: float | None = None,
    ) -> March:
        """A run that has not begun: names and units are checked here."""
        compiled = self.compiled
        timeline = Timeline(compiled, experiment)
        begin = start if isinstance(start, State) else None
        given = dict(values or {})
        if start is not None and not isinstance(start, State):
            given |= dict(start)
        p, u, starts = self.given(given, begin)
        return self.march_from(timeline, p, u, starts, begin, rtol, atol)

    def march_from(
        self,
        timeline: Timeline,
        p: Array,
        u: Array,
        starts: Mapping[tuple[str, int], float],
        begin: State | None = None,
        rtol: float = 1e-6,
        atol: float | None = None,
    ) -> March:
        """A run that has not begun, from vectors and start values (kind, index) in SI."""
        compiled = self.compiled
        if begin:
            self.system.require_no_delays("a run that goes on from a state")
        time = begin.time if begin else 0.0
        if begin:
            x = begin.x.copy()
        else:
            p_start = p.copy()
            for change in timeline.at(0.0):
                if change.kind == "parameter":
                    p_start[change.index] = change.value
            x = np.array(compiled.start(p_start)).ravel()
        z = begin.z.copy() if begin else np.nan_to_num(compiled.defaults("algebraic"))
        for (kind, i), value in starts.items():
            (x if kind == "state" else z)[i] = value
        p = timeline.parameters(time, p)
        self.check_complete(u, p)
        fixed = frozenset(range(compiled.nx)) if begin else {i for k, i in starts if k == "state"}
        return March(
            compiled, self.integrators, timeline, time, x, z, u, p, rtol, atol, frozenset(fixed)
        )

    def run_many(
        self,
        experiment: Experiment | Sequence[Experiment] | None = None,
        table: Any = None,
        outputs: Sequence[Any] | None = None,
        until: Any = None,
        every: Any = None,
        times: Iterable[Any] | None = None,
        *,
        values: Mapping[Any, Any] | None = None,
        rtol: float = 1e-6,
        atol: float | None = None,
        method: str = "auto",
        accuracy: float | None = None,
        keep: bool | str | Path = True,
        summaries: Sequence[Summary] | None = None,
        dtype: str = "float64",
        executor: Any = None,
        workers: int | None = None,
        progress: bool | Callable[[float, str], None] = False,
        wrt: Sequence[Any] = (),
    ) -> Trajectories:
        """Simulate many individuals.

        Parameters
        ----------
        experiment : Experiment or sequence of Experiment, optional
            What is done: the same to all, or one for each individual.
        table : mapping, DataFrame, Cohort or int
            How individuals differ: columns of parameters, inputs and start values by path, with a
            unit in the header (``"CL [mL/min]"``) or in the declared one; a sample of a
            Population; or the number of equal individuals.
        outputs : sequence of paths, optional
            States, outputs, algebraic quantities, inputs; all states and outputs if left out.
        until, every, times
            Output times as for ``run``, the same for all (200 intervals if nothing is said).
        values : mapping, optional
            What all have in common, as for ``run``.
        rtol, atol : float
            Tolerances as for ``run``.
        method : str, default "auto"
            ``rodas5p``, ``rodas5``, ``rodas4``, ``rodas4p``; ``exact`` for linear models;
            ``single`` (one after the other with CVODES or IDAS). "auto" takes ``exact`` where it
            is possible, else what needs least work in a pilot; ``record.choice`` says why.
        accuracy : float, optional
            The largest relative error wanted: sampled, reported as ``accuracy``, and the tolerance
            is lowered until it holds.
        keep : bool or path, default True
            True keeps all values in memory, False none (summaries only), ``file.npy`` in a file
            that is memory-mapped, ``file.parquet`` in a table.
        summaries : sequence of Summary, optional
            Gathered on the way: ``Moments``, ``Quantiles``, ``Histogram``, ``Attainment``,
            ``Measure``. Moments and quantiles if left out and values are not kept in memory.
        dtype : str
            ``float64``, or ``float32`` for values at half the size.
        executor : concurrent.futures.Executor or Dask client, optional
            Where blocks of individuals are solved. The numbers are those of one machine.
        workers : int, optional
            Threads of this process; all cores if left out.
        progress : bool or callable
            True shows a bar; a callable gets (share, text). What it raises stops the run.
        wrt : sequence of paths
            Derivatives of all outputs by these as well, in the same kernel: parameters, states
            (their start values), inputs (a constant added over the whole run), and
            ``"dose(depot)"`` (a factor of all doses to it). ``sensitivity(output, by)`` of the
            result gives them; as outputs they are called ``"d C / d CL"``.

        Returns
        -------
        Trajectories
            Individuals that cannot be solved are NaN, with the reason; nothing is raised for them.
        """
        from galenic.engine.batch.run import Request, run_many

        samples = tuple(_output_times(0.0, until, every, times))
        return run_many(
            self,
            Request(
                experiment, table, outputs, samples, values, rtol, atol, method, accuracy,
                keep, summaries, dtype, executor, workers, progress, wrt,
            ),
        )  # fmt: skip

    def step(
        self,
        state: State | None = None,
        inputs: Mapping[Any, Any] | None = None,
        until: Any = None,
        values: Mapping[Any, Any] | None = None,
        rtol: float = 1e-6,
    ) -> State:
        """Go from a state to ``until`` [s] under constant inputs, events included."""
        march = self.march(None, dict(values or {}) | dict(inputs or {}), state, rtol)
        march.advance(tidy(duration(until)), [])
        return self._state(march)

    def state(
        self,
        values: Mapping[Any, Any] | None = None,
        experiment: Experiment | None = None,
    ) -> State:
        """The consistent state at the start."""
        march = self.march(experiment, values)
        u, _ = march.timeline.inputs(march.time, march.given)
        z = consistent(self.compiled, march.time, march.x, march.z, u, march.p)
        return State(self.compiled, march.time, march.x, z, u, march.p, march.given)

    def steady(
        self,
        values: Mapping[Any, Any] | None = None,
        inputs: Mapping[Any, Any] | None = None,
        start: State | Mapping[Any, Any] | None = None,
    ) -> State:
        """The steady state that is reached from the start values under constant inputs."""
        from galenic.engine.steady import steady_state

        march = self.march(None, dict(values or {}) | dict(inputs or {}), start)
        return steady_state(State(self.compiled, 0.0, march.x, march.z, march.u, march.p, march.u))

    def linearise(
        self,
        at: State | None = None,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
    ) -> Linear:
        """The linear model around a state (default: the start), SI, algebraic part eliminated."""
        from galenic.engine.linear import linearise

        return linearise(at or self.state(), inputs, outputs)

    def sensitivities(
        self,
        experiment: Experiment | None = None,
        wrt: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        method: str = "forward",
        values: Mapping[Any, Any] | None = None,
        until: Any = None,
        every: Any = None,
        times: Iterable[Any] | None = None,
        start: State | Mapping[Any, Any] | None = None,
        rtol: float = 1e-8,
    ) -> Sensitivity:
        """Derivatives of outputs over time by parameters, start values and inputs.

        An input stands for a constant added to it over the whole run. Event times and resets are
        differentiated too. ``method`` is ``forward`` (cost grows with ``wrt``) or ``adjoint``
        (cost grows with outputs times output times).
        """
        response = self.response(experiment, wrt, outputs, values, until, every, times, start, rtol)
        return response.sensitivity(method)

    def response(
        self,
        experiment: Experiment | None = None,
        wrt: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        values: Mapping[Any, Any] | None = None,
        until: Any = None,
        every: Any = None,
        times: Iterable[Any] | None = None,
        start: State | Mapping[Any, Any] | None = None,
        rtol: float = 1e-8,
    ) -> Response:
        """The outputs of a run as a differentiable CasADi Function of ``wrt`` (SI)."""
        from galenic.engine.sensitivity import Response

        self.system.require_no_delays("sensitivities")
        march = self.march(experiment, values, start, rtol, None)
        return Response(march, wrt, outputs, _output_times(march.time, until, every, times))

    def trajectory(self, march: March, outputs: Sequence[Any] | None = None) -> Trajectory:
        """The recorded rows of a run with all outputs evaluated."""
        compiled = self.compiled
        stacked = [np.array([row[i] for row in march.rows], dtype=float) for i in range(6)]
        t, x, z, u, p, inflow = (part.reshape(len(march.rows), -1) for part in stacked)
        vectors = [t.T, x.T, z.T, u.T, p.T]
        y = np.array(compiled.outputs(*vectors)).T.reshape(len(t), compiled.ny)
        every = np.hstack([x, z, y, u])
        entries = (
            self.system.states + self.system.algebraics + self.system.outputs + self.system.inputs
        )
        balances = {}
        if self.system.conserved:
            amounts = np.array(compiled.amounts(*vectors))
            for i, balance in enumerate(self.system.conserved):
                balances[balance.name] = (amounts[i], inflow[:, i])
        kept = self._chosen(entries, outputs)
        return Trajectory(
            t.ravel(),
            every[:, kept],
            [Column(e.path, e.unit, e.meaning, e.kind) for e in (entries[i] for i in kept)],
            events=march.events,
            violations=_violations(t.ravel(), every, entries),
            balances=balances,
            final=self._state(march),
            name=self.system.name,
        )

    def _state(self, march: March) -> State:
        u, _ = march.timeline.inputs(march.time, march.given)
        if march.past is not None:
            u[list(march.past.places)] = march.past.now(march.time, march.p)
        return State(self.compiled, march.time, march.x, march.z, u, march.p, march.given)

    def given(
        self, values: Mapping[Any, Any], begin: State | None = None
    ) -> tuple[Array, Array, dict[tuple[str, int], float]]:
        """Parameters, inputs and start values (kind, index) in SI after what the user gave."""
        compiled = self.compiled
        p = begin.p.copy() if begin else compiled.defaults("parameter")
        u = begin.given.copy() if begin else compiled.defaults("input")
        starts: dict[tuple[str, int], float] = {}
        for path, value in values.items():
            for scalar, one in self._scalars(path, value):
                kind, i = compiled.find(scalar, "parameter", "input", "state", "algebraic")
                compiled.require_free(kind, i)
                number = float(value_in(one, compiled.tables[kind][i].unit, where=scalar))
                if kind == "parameter":
                    p[i] = number
                elif kind == "input":
                    u[i] = number
                else:
                    starts[kind, i] = number
        return p, u, starts

    def _scalars(self, path: Any, value: Any) -> list[tuple[str, Any]]:
        """An array quantity takes one value for all elements, or one for each."""
        try:
            paths = self.system.expand(path)
        except UnknownName:
            paths = (str(path),)
        if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) == 1:
            if len(value) != len(paths):
                raise ModelError(
                    f"{path} was given {len(value)} values",
                    where=self.system.name,
                    expected=f"{len(paths)} values or one",
                )
            return list(zip(paths, value, strict=True))
        return [(scalar, value) for scalar in paths]

    def check_complete(self, u: Array, p: Array) -> None:
        """ModelError if a parameter or an input has no value."""
        for entries, vector in ((self.system.inputs, u), (self.system.parameters, p)):
            for entry, value in zip(entries, vector, strict=True):
                if np.isnan(value) and entry.role != DELAYED:
                    raise ModelError(
                        f"the {entry.kind} {entry.path} has no value",
                        where=self.system.name,
                        hint=f'give one, for example values={{"{entry.path}": "1 {entry.unit}"}}',
                    )

    def _chosen(self, entries: tuple[Any, ...], outputs: Sequence[Any] | None) -> list[int]:
        if outputs is None:
            return list(range(len(entries)))
        places = {entry.path: i for i, entry in reversed(list(enumerate(entries)))}
        kept = []
        for path in outputs:
            for scalar in self.system.expand(path):
                if scalar not in places:
                    raise UnknownName.among("output", scalar, places, where=self.system.name)
                kept.append(places[scalar])
        return kept


def _output_times(begin: float, until: Any, every: Any, times: Iterable[Any] | None) -> list[float]:
    if times is not None:
        exact = sorted({tidy(duration(_number(time))) for time in times})
        if not exact or exact[0] < begin:
            raise ModelError(
                "output times are empty or begin before the run",
                expected=f"times from {begin:g} s on",
            )
        return exact
    if until is None:
        raise ModelError("the run has no end", hint='give until="8 h" or times=[...]')
    end = tidy(duration(_number(until)))
    step = duration(_number(every)) if every is not None else (end - begin) / _POINTS
    if not (end > begin and step > 0):
        raise ModelError(
            f"the run goes from {begin:g} s to {end:g} s every {step:g} s",
            expected="an end after the start and a positive interval",
        )
    count = int(np.floor((end - begin) / step * (1 + 1e-12) + 1e-9))
    regular = [tidy(begin + k * step) for k in range(count + 1)]
    return [*[time for time in regular if time < end], end]


def _number(time: Any) -> Any:
    return float(time) if isinstance(time, (int, np.number)) else time


def _violations(times: Array, values: Array, entries: tuple[Any, ...]) -> list[Violation]:
    """The worst excursion per quantity, beyond a millionth of its nominal value."""
    found = []
    for i, entry in enumerate(entries):
        if entry.lower == -np.inf and entry.upper == np.inf:
            continue
        column = values[:, i]
        slack = 1e-6 * abs(entry.nominal)
        below, above = entry.lower - column, column - entry.upper
        excess = np.maximum(below, above)
        worst = int(np.argmax(excess))
        if excess[worst] > slack:
            bound = entry.lower if below[worst] > above[worst] else entry.upper
            found.append(
                Violation(
                    entry.path,
                    float(times[worst]),
                    float(from_si(column[worst], entry.unit)),
                    float(from_si(bound, entry.unit)),
                )
            )
    return found

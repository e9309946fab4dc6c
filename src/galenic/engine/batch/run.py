"""A run of many individuals: check, choose, spread, gather."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.accuracy import Accuracy, held
from galenic.engine.batch.backend import EXACT, SINGLE
from galenic.engine.batch.derivatives import chosen, with_derivatives
from galenic.engine.batch.individuals import Individuals
from galenic.engine.batch.lanes import is_linear, machine, obstacle
from galenic.engine.batch.pilot import STAGES, Choice, choose
from galenic.engine.batch.plan import Method, Plan, Schedules, blocks, rows_of_block
from galenic.engine.batch.quantiles import Quantiles
from galenic.engine.batch.result import Record, Trajectories
from galenic.engine.batch.spread import Spread, workers_of
from galenic.engine.batch.storage import check_keep, storage
from galenic.engine.batch.summaries import Frame, Moments, Summary
from galenic.engine.batch.work import Answer
from galenic.engine.experiment import Experiment
from galenic.engine.trajectory import Column
from galenic.errors import DataError, UnknownName

if TYPE_CHECKING:
    from galenic.engine.simulate import Simulator

log = logging.getLogger(__name__)

Report = Callable[[float, str], None]
Schedule = npt.NDArray[np.int64] | None

METHODS = (*STAGES, EXACT, SINGLE)
TIGHTER = 0.1


@dataclass(frozen=True)
class Request:
    """What a user asked of ``Simulator.run_many``; see there."""

    experiment: Experiment | Sequence[Experiment] | None
    table: Any
    outputs: Sequence[Any] | None
    times: Sequence[float]
    values: Mapping[Any, Any] | None
    rtol: float
    atol: float | None
    method: str
    accuracy: float | None
    keep: bool | str | Path
    summaries: Sequence[Summary] | None
    dtype: str
    executor: Any
    workers: int | None
    progress: bool | Report
    wrt: Sequence[Any] = ()


def run_many(simulator: Simulator, request: Request) -> Trajectories:
    """Solve all individuals of a request."""
    experiments, schedule = _schedules(request.experiment)
    individuals = Individuals.of(
        simulator.compiled, request.table, None if schedule is None else len(schedule)
    )
    plan = _plan(simulator, request, experiments, individuals)
    plan, choice = _with_method(plan, request, individuals, schedule)
    accuracy = None
    if request.accuracy is not None:
        accuracy = held(plan, individuals, schedule, request.accuracy)
        if not accuracy.holds:
            log.warning("the accuracy of %s: %s", plan.system.name, accuracy)
        plan = replace(plan, methods=_chain(accuracy.method))
    return _Gathering(plan, individuals, schedule, choice, accuracy).run(request)


def _schedules(given: Any) -> tuple[tuple[Experiment, ...], Schedule]:
    """The different experiments, and the number of its own for each individual."""
    if given is None or isinstance(given, Experiment):
        return (given or Experiment(),), None
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise DataError(
            f"{type(given).__name__} is no experiment",
            expected="an Experiment, or a list with one for each individual",
        )
    numbers: dict[Experiment, int] = {}
    schedule = np.empty(len(given), np.int64)
    for i, experiment in enumerate(given):
        if not isinstance(experiment, Experiment):
            raise DataError(
                f"{type(experiment).__name__} is no experiment",
                where=f"experiment of individual {i}",
                expected="an Experiment",
            )
        schedule[i] = numbers.setdefault(experiment, len(numbers))
    return tuple(numbers), schedule


def _plan(
    simulator: Simulator,
    request: Request,
    experiments: tuple[Experiment, ...],
    individuals: Individuals,
) -> Plan:
    """The checked request, with one method that stands for whatever is chosen."""
    compiled = simulator.compiled
    schedules = Schedules.of(compiled.system, experiments)
    p, u, starts = simulator.given(request.values or {})
    _check_complete(simulator, individuals, p, u)
    frame, picks = _frame(simulator, request, len(individuals))
    wrt = chosen(compiled, request.wrt)
    frame = with_derivatives(frame, wrt)
    summaries = request.summaries
    if summaries is None:
        summaries = () if request.keep is True else (Moments(), Quantiles())
    for summary in summaries:
        summary.check(frame)
    name = request.method if request.method != "auto" else SINGLE
    if name not in METHODS:
        raise UnknownName.among("method", name, ["auto", *METHODS], where="run_many")
    if request.dtype not in ("float64", "float32"):
        raise DataError(f"values of {request.dtype}", expected="float64 or float32")
    check_keep(request.keep)
    return Plan(
        simulator.system, schedules, frame, picks, individuals.places, p, u,
        tuple((kind, i, value) for (kind, i), value in starts.items()),
        (Method(name, request.rtol, request.atol),),
        request.dtype, request.keep is not False, tuple(summaries), wrt,
    )  # fmt: skip


def _check_complete(
    simulator: Simulator, individuals: Individuals, p: npt.NDArray[Any], u: npt.NDArray[Any]
) -> None:
    """Parameters and inputs without a value are found before anything is run."""
    p, u = p.copy(), u.copy()
    for place in individuals.places:
        if place.kind in ("parameter", "input"):
            (p if place.kind == "parameter" else u)[place.index] = 0.0
    simulator.check_complete(u, p)


def _frame(
    simulator: Simulator, request: Request, count: int
) -> tuple[Frame, tuple[tuple[str, int], ...]]:
    """The axes of the result, and where its columns are found."""
    compiled = simulator.compiled
    wanted = request.outputs
    if wanted is None:
        wanted = [e.path for e in (*compiled.system.states, *compiled.system.outputs)]
    paths = [scalar for path in wanted for scalar in compiled.system.expand(path)]
    picks = tuple(
        compiled.find(path, "state", "algebraic", "output", "input")
        for path in dict.fromkeys(paths)
    )
    if not picks:
        raise DataError("there are no outputs", expected="at least one path in outputs=")
    entries = [compiled.tables[kind][i] for kind, i in picks]
    columns = tuple(Column(e.path, e.unit, e.meaning, e.kind) for e in entries)
    nominal = tuple(_size(entry) for entry in entries)
    return Frame(tuple(request.times), columns, nominal, count), picks


def _size(entry: Any) -> float:
    """The nominal size of a quantity in its declared unit."""
    size = abs(float(entry.nominal)) / entry.unit.scale
    return size if np.isfinite(size) and size > 0 else 1.0


def _with_method(
    plan: Plan, request: Request, individuals: Individuals, schedule: Schedule
) -> tuple[Plan, Choice]:
    """The plan with its methods, and why they are these."""
    asked = Method(request.method, request.rtol, request.atol)
    if request.method == SINGLE:
        choice = Choice(SINGLE, "asked for")
    elif request.method != "auto":
        choice = _unless(obstacle(plan, request.method), Choice(request.method, "asked for"))
    elif why := obstacle(plan, None):
        choice = _unless(why, Choice(SINGLE, ""))
    elif is_linear(plan):
        choice = Choice(EXACT, "the model is linear: exact between events")
    else:
        choice = choose(plan, individuals, schedule, asked)
    if choice.method == SINGLE and choice.why != "asked for":
        log.warning("%s is solved one individual after the other: %s", plan.system.name, choice.why)
    return replace(plan, methods=_chain(replace(asked, name=choice.method))), choice


def _unless(obstacle: str, choice: Choice) -> Choice:
    """The choice, or the slow way where something is in the way."""
    return Choice(SINGLE, f"not compiled: {obstacle}") if obstacle else choice


def _chain(method: Method) -> tuple[Method, ...]:
    """The method, then what is tried where it fails: another, ten times tighter, then CVODES."""
    single = Method(SINGLE, method.rtol, method.atol)
    if method.name == SINGLE:
        return method, single.tighter(TIGHTER)
    if method.name == EXACT:
        return method, single
    other = "rodas5" if method.name != "rodas5" else "rodas5p"
    return method, Method(other, method.rtol, method.atol).tighter(TIGHTER), single


@dataclass
class _Gathering:
    """Answers on their way to one result."""

    plan: Plan
    individuals: Individuals
    schedule: Schedule
    choice: Choice
    accuracy: Accuracy | None

    def run(self, request: Request) -> Trajectories:
        """Solve all blocks and put the result together."""
        plan, count = self.plan, len(self.individuals)
        rows = rows_of_block(
            count, len(plan.frame.times), len(plan.frame.columns), len(plan.system.states)
        )
        spread = Spread(plan, request.executor, self._workers(request))
        store = storage(plan, request.keep)
        work: dict[str, npt.NDArray[Any]] = {
            "status": np.empty(count, np.uint8),
            "method": np.empty(count, np.uint8),
            "accepted": np.empty(count, np.int64),
            "rejected": np.empty(count, np.int64),
            "doubtful": np.empty(count, np.int64),
        }
        reasons: dict[int, str] = {}
        parts: list[Any] = []
        answers = spread.answers(list(blocks(self.individuals, self.schedule, rows)))
        with _reporting(request.progress, count) as report, closing(answers):
            for answer in answers:
                store.take(answer)
                span = slice(answer.first, answer.first + len(answer))
                for name, array in work.items():
                    array[span] = getattr(answer, name)
                reasons |= answer.reasons
                parts = self._joined(parts, answer)
                report(answer.first + len(answer))
        record = Record(
            plan.system.name, plan.identity, plan.methods, self.choice, rows, machine(plan),
            spread.again,
        )  # fmt: skip
        doubted = np.flatnonzero(work["doubtful"])
        if len(doubted):
            log.warning(
                "%s: a trigger of a state event touches zero, or may have crossed it and come "
                "back, in %d of %d individuals, the first is %d",
                plan.system.name, len(doubted), count, doubted[0],
            )  # fmt: skip
        path = None if isinstance(request.keep, bool) else Path(request.keep)
        return Trajectories(
            plan.frame, store.close(), self.individuals, work, reasons, self._labelled(parts),
            record, self.accuracy, path,
        )  # fmt: skip

    def _labelled(self, parts: list[Any]) -> dict[str, Any]:
        return {
            summary.name: summary.dataset(part, self.plan.frame)
            for summary, part in zip(self.plan.summaries, parts, strict=True)
        }

    def _joined(self, parts: list[Any], answer: Answer) -> list[Any]:
        if not parts:
            return list(answer.parts)
        return [
            summary.join(old, new)
            for summary, old, new in zip(self.plan.summaries, parts, answer.parts, strict=True)
        ]

    def _workers(self, request: Request) -> int:
        """CasADi works in one thread at a time; kernels on all cores."""
        if request.executor is not None:
            return workers_of(request.executor)
        if request.workers is not None:
            return max(1, int(request.workers))
        alone = self.plan.methods[0].name == SINGLE
        return 1 if alone else len(os.sched_getaffinity(0))


@contextmanager
def _reporting(progress: bool | Report, count: int) -> Iterator[Callable[[int], None]]:
    """What is called after each block with the number of individuals that are done."""
    if not progress:
        yield lambda done: None
    elif callable(progress):
        progress(0.0, f"0 of {count} individuals")
        yield lambda done: progress(done / count, f"{done} of {count} individuals")
    else:
        from rich.progress import Progress

        with Progress() as bar:
            task = bar.add_task("individuals", total=count)
            yield lambda done: bar.update(task, completed=done)

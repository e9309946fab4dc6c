"""Campaigns: control strategies on the virtual plant, many seeds, side by side.

Twin and plant run in one process, second by second, with the same events that a runner would
pass between them; the controller answers within the second in which it was asked. A trial is one
strategy on one history of the plant; its result is a JSON file named by everything that decides
it, so a campaign that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from galenic.clock import SECOND
from galenic.errors import UnknownName
from galenic.identity import content_hash
from galenic.signals import Command, Computed, Effect, Receipt, Tick, Write
from galenic.stages.manufacturing.plant.disturbances import CommunicationLoss
from galenic.stages.manufacturing.plant.line import TabletLine
from galenic.stages.manufacturing.plant.metrics import score
from galenic.stages.manufacturing.plant.scenarios import Scenario, find_scenario
from galenic.stages.manufacturing.twin import tablet_line
from galenic.stages.manufacturing.watch import Watch
from galenic.twin.definition import Control, TwinDefinition
from galenic.twin.level import Level
from galenic.twin.twin import Twin

BEGIN = 1_800_000_000 * SECOND
SETTLING = 300.0
PLAN_DEADLINE = 2.0
DECISIVE = (
    "stages/manufacturing/plant/*.py", "stages/manufacturing/[ctw]*.py", "decision/[gmt]*.py",
    "inference/[akef]*.py", "engine/discrete.py", "twin/[afghlt]*.py",
)  # fmt: skip

WRONG: Mapping[str, str] = {
    "blender.tau_ref": "90 s",
    "api.beta": "5 1/kg",
    "excipient.beta": "1.5 1/kg",
    "api.integral": "40 s",
    "excipient.integral": "40 s",
    "feed_frame.M": "0.06 kg",
    "press.a": "0.72",
}


@dataclass(frozen=True)
class Strategy:
    """A way to run the line.

    Parameters
    ----------
    name, meaning : str
    control : str
        Local loops of the plant: ``local`` or ``ratio``.
    level : str
        ``model`` (no twin), ``shadow`` (a twin that watches) or ``twin`` (one that acts).
    values : mapping
        Parameters of the twin's model that differ from the commissioned ones.
    """

    name: str
    meaning: str
    control: str = "local"
    level: str = "model"
    values: Mapping[str, str] = field(default_factory=dict)


STRATEGIES = {
    s.name: s
    for s in (
        Strategy("local", "feeders at fixed set points, force loop on weight, NIR diversion"),
        Strategy("ratio", "as local; the excipient follows the displayed flow of the active",
                 control="ratio"),
        Strategy("shadow", "as local, with a twin that only watches", level="shadow"),
        Strategy("mpc", "two-way twin: predictive control and diversion", level="twin"),
        Strategy("mpc-wrong", "the two-way twin with wrong residence times and feed factors",
                 level="twin", values=WRONG),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One strategy on one history of the plant.

    Parameters
    ----------
    strategy : str
        Name in ``STRATEGIES``.
    scenario : str
        Named scenario of the plant, a TOML file, or ``gone`` (ten minutes without communication).
    seed : int
    duration : float [s]
    """

    strategy: str
    scenario: str = "day"
    seed: int = 1
    duration: float = 4 * 3600.0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UnknownName.among("strategy", self.strategy, STRATEGIES)

    def key(self, code: str) -> str:
        """Identity of the result: the trial, the strategy and the code that decides it."""
        return content_hash({**asdict(self), **asdict(STRATEGIES[self.strategy]), "code": code})

    def file(self, folder: Path, code: str) -> Path:
        """Where the result is kept."""
        scenario = Path(self.scenario).stem
        name = f"{self.strategy}-{scenario}-{self.seed}-{self.duration:.0f}s"
        return folder / f"{name}-{self.key(code)[:12]}.json"


def gone() -> Scenario:
    """Ten minutes in which nothing comes out of the plant and nothing gets in."""
    return Scenario("gone", (CommunicationLoss(at=900.0, duration=600.0),), "no communication")


@dataclass
class Operator:
    """Raises the twin's level once it has been in good health for a while; nobody else does.

    Parameters
    ----------
    first, again : float [s]
        Good health wanted before the first time, and after the twin has lowered itself.
    score : float [1]
        Health that counts as good: no more than one sensor that does not fit.
    """

    first: float = 60.0
    again: float = 300.0
    score: float = 0.75
    raised: int = 0
    _good: float = 0.0

    def look(self, twin: Twin) -> Command | None:
        """The command to raise the level, when it is time."""
        self._good = self._good + 1.0 if twin.health.score > self.score else 0.0
        wanted = self.again if self.raised else self.first
        if twin.level is Level.TWIN or self._good < wanted:
            return None
        self.raised += 1
        self._good = 0.0
        reason = f"in step with the data for {wanted:.0f} s"
        return Command("level", twin.now, "operator", reason, {"level": "twin"})


class Loop:
    """A twin and a plant in one process, advanced second by second.

    Parameters
    ----------
    plant : TabletLine
    twin : Twin or None
        None leaves the plant alone.
    operator : Operator or None
        Who raises the level.
    """

    def __init__(
        self, plant: TabletLine, twin: Twin | None, operator: Operator | None = None
    ) -> None:
        self.plant = plant
        self.twin = twin
        self.operator = operator
        self.solving: list[float] = []
        self.fallbacks = 0
        self.refused = 0

    def second(self, now: int) -> None:
        """Everything that happens in the second that ends at ``now`` [ns]."""
        samples = self.plant.advance(now)
        twin = self.twin
        if twin is None:
            return
        for sample in samples:
            self._perform(twin, twin.accept(sample), now)
        self._perform(twin, twin.accept(Tick(now)), now)
        command = self.operator.look(twin) if self.operator else None
        if command is not None:
            self._perform(twin, twin.accept(command), now)

    def _perform(self, twin: Twin, effects: Iterable[Effect], now: int) -> None:
        for effect in effects:
            if isinstance(effect, Write):
                self._perform(twin, twin.accept(self._written(effect, now)), now)
            elif effect.kind == "compute":
                self._perform(twin, twin.accept(self._computed(effect, now)), now)

    def _written(self, write: Write, now: int) -> Receipt:
        result = self.plant.write(write.tag, write.value, write.unit, now)
        good = result.status < 0x40000000
        self.refused += not good
        outcome = "done" if good else "failed"
        return Receipt(write.key, write.tag, outcome, now, result.read_back, result.detail)

    def _computed(self, compute: Any, now: int) -> Computed:
        from galenic.twin.workers import perform

        outcome = perform(compute.function, compute.arguments)
        self.solving.append(outcome.elapsed)
        if not outcome.error:
            self.fallbacks += outcome.result.get("status") == "fallback"
        return Computed(compute.task, now, outcome.result, outcome.error, outcome.elapsed)


def start(trial: Trial) -> Loop:
    """Plant, twin and operator of a trial at its beginning."""
    strategy = STRATEGIES[trial.strategy]
    scenario = gone() if trial.scenario == "gone" else find_scenario(trial.scenario, trial.seed)
    plant = TabletLine(scenario, trial.seed, control=strategy.control, start=BEGIN)
    if strategy.level == "model":
        return Loop(plant, None)
    definition = tablet_line()
    definition = replace(definition, controller=_patient(definition, strategy))
    values = dict(strategy.values)
    twin = Twin(definition, "line-1", values, start=BEGIN - SECOND, level=Level.SHADOW)
    return Loop(plant, twin, Operator() if strategy.level == "twin" else None)


def _patient(definition: TwinDefinition, strategy: Strategy) -> Control | None:
    """The controller of a trial: none for a twin that watches; else its deadline is lifted.

    What a plan gives must not depend on what else the computer does; how long it took is kept.
    """
    control = definition.controller
    if strategy.level != "twin" or control is None:
        return None
    return replace(control, options={**control.options, "deadline": 60.0})


def run(
    trial: Trial,
    progress: Callable[[float], None] | None = None,
    settling: float = SETTLING,
) -> dict[str, Any]:
    """One trial from beginning to end; plain numbers. Nothing before ``settling`` [s] counts."""
    begun = time.perf_counter()
    loop = start(trial)
    watch = Watch(loop.plant, loop.twin, after=settling)
    seconds_ = int(trial.duration)
    for k in range(1, seconds_ + 1):
        now = BEGIN + k * SECOND
        loop.second(now)
        watch.look(k)
        if progress is not None and k % 60 == 0:
            progress(k / seconds_)
    record = loop.plant.record().window(settling)
    acted = {}
    if loop.operator is not None and loop.solving:
        ordered = sorted(loop.solving)
        acted = {
            "raised": loop.operator.raised,
            "lowered": loop.operator.raised - (loop.twin is not None and loop.twin.level == 2),
            "plans": len(ordered),
            "fallbacks": loop.fallbacks,
            "refused": loop.refused,
            "plan_median": ordered[len(ordered) // 2],
            "plan_worst": ordered[-1],
            "plan_late": sum(t > PLAN_DEADLINE for t in ordered),
        }
    return {
        "trial": asdict(trial),
        "score": score(record).to_dict(),
        "watch": watch.summary(record),
        "acting": acted,
        "wall": time.perf_counter() - begun,
    }


def code_identity() -> str:
    """Hash of the source files that decide the outcome of a trial."""
    import galenic

    root = Path(str(galenic.__file__)).parent
    files = sorted({path for pattern in DECISIVE for path in root.glob(pattern)})
    return content_hash([[str(f.relative_to(root)), content_hash(f.read_bytes())] for f in files])


def campaign(
    trials: Iterable[Trial],
    folder: Path,
    *,
    resume: bool = True,
    workers: int = 2,
    executor: Executor | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> list[dict[str, Any]]:
    """All trials, those that are done already read from ``folder``.

    Parameters
    ----------
    trials : iterable of Trial
    folder : Path
        Where results are kept, one file per trial.
    resume : bool
        Take results of earlier runs of the same code.
    workers : int
        Processes beside this one, if no ``executor`` is given; 0 runs the trials here.
    executor : Executor, optional
        Any ``concurrent.futures`` executor, such as a Dask client's.
    progress : callable (fraction, text), optional
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, code = list(trials), code_identity()
    results: dict[Trial, dict[str, Any]] = {}
    for trial in wanted:
        file = trial.file(folder, code)
        if resume and file.is_file():
            results[trial] = json.loads(file.read_text(encoding="utf-8"))

    def done(trial: Trial, result: dict[str, Any]) -> None:
        _keep(trial.file(folder, code), result)
        results[trial] = result
        if progress is not None:
            text = f"{trial.strategy} on {trial.scenario}, seed {trial.seed}"
            progress(len(results) / len(wanted), text)

    open_ = [trial for trial in wanted if trial not in results]
    if executor is None and (workers == 0 or len(open_) < 2):
        for trial in open_:
            done(trial, run(trial))
    elif open_:
        _spread(open_, executor, workers, done)
    return [results[trial] for trial in wanted]


def _spread(
    trials: list[Trial],
    executor: Executor | None,
    workers: int,
    done: Callable[[Trial, dict[str, Any]], None],
) -> None:
    """Run trials in other processes; each result is kept as soon as it is there."""
    # Small matrices: more threads per process only get in each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    own = executor is None
    pool = executor or ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(run, trial): trial for trial in trials}
        for future in as_completed(futures):
            done(futures[future], future.result())
    finally:
        if own:
            pool.shutdown(cancel_futures=True)


def _keep(file: Path, result: Mapping[str, Any]) -> None:
    """Write a result so that a stop in between leaves no half file."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1), encoding="utf-8")
    part.replace(file)

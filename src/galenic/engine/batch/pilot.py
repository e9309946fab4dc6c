"""Which method: a pilot on a few individuals, judged by counted work at equal error.

Work is counted, not timed, so that the same run chooses the same method on every machine: steps,
taken and rejected, times the stages of a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.accuracy import TIGHTEST, mixed_error, sample, solved_by
from galenic.engine.batch.backend import Status
from galenic.engine.batch.individuals import Individuals
from galenic.engine.batch.plan import Block, Method, Plan

if TYPE_CHECKING:
    from galenic.engine.batch.work import Answer

STAGES = {"rodas5p": 8, "rodas5": 8, "rodas4": 6, "rodas4p": 6}
DEFAULT = "rodas5p"
DRAWS = 15
FEWEST = 256
"""Fewer individuals than this are done before a pilot would be."""
GAIN = 0.95
"""Another method than the default must promise less than this share of its work."""
LOOSE = 1e-4  # from this tolerance on methods of order 4 are tried too


@dataclass(frozen=True)
class Trial:
    """What a method needed in the pilot: work at the asked tolerance, error, work at equal error.

    ``error`` is the median over the individuals of the largest error over times and outputs;
    ``work`` counts stages per individual.
    """

    method: str
    work: float
    error: float
    at_equal_error: float


@dataclass(frozen=True)
class Choice:
    """The method that was chosen, why, and what the pilot found."""

    method: str
    why: str
    trials: tuple[Trial, ...] = ()


def choose(
    plan: Plan,
    individuals: Individuals,
    schedule: npt.NDArray[np.int64] | None,
    method: Method,
) -> Choice:
    """The method for a plan that a kernel can run: by a pilot, if that is worth it."""
    if len(individuals) < FEWEST:
        return Choice(DEFAULT, f"the default for fewer than {FEWEST} individuals")
    block = _few(plan, individuals, schedule)
    names = [DEFAULT, "rodas5", *(["rodas4", "rodas4p"] if method.rtol >= LOOSE else [])]
    tightest = Method(DEFAULT, max(method.rtol * 1e-3, TIGHTEST), method.atol)
    reference = solved_by(plan, block, tightest)
    runs = {name: [solved_by(plan, block, m) for m in _pair(name, method)] for name in names}
    good = np.all(
        [a.status != Status.FAILED for pair in runs.values() for a in pair]
        + [reference.status != Status.FAILED],
        axis=0,
    )
    if not good.any():
        return Choice(DEFAULT, "the default: no individual of the pilot was solved by all methods")
    target = _error(runs[DEFAULT][0], reference, good)
    trials = tuple(_trial(name, pair, reference, good, target) for name, pair in runs.items())
    best = min(trials[1:], key=lambda trial: trial.at_equal_error)
    count = int(good.sum())
    if best.at_equal_error < GAIN * trials[0].at_equal_error:
        share = best.at_equal_error / trials[0].at_equal_error
        return Choice(
            best.method,
            f"{share:.2f} of the work of {DEFAULT} at equal error on {count} individuals",
            trials,
        )
    return Choice(DEFAULT, f"the least work at equal error on {count} individuals", trials)


def _pair(name: str, method: Method) -> tuple[Method, Method]:
    first = Method(name, method.rtol, method.atol)
    return first, first.tighter(0.1)


def _few(plan: Plan, individuals: Individuals, schedule: npt.NDArray[np.int64] | None) -> Block:
    """The nominal individual, and draws of the population or fixed rows of the table."""
    if individuals.cohort is not None and schedule is None:
        drawn = individuals.cohort.population.quasi_sample(DRAWS)
        rows = drawn.values[:, [place.index for place in plan.places]]
        numbers = np.zeros(DRAWS, np.int64)
    else:
        chosen = sample(individuals, DRAWS)
        rows = individuals.values[chosen]
        numbers = np.zeros(len(chosen), np.int64) if schedule is None else schedule[chosen]
    nominal = np.array([_nominal(plan, place.kind, place.index) for place in plan.places])
    if np.isfinite(nominal).all():
        rows = np.vstack([nominal, rows])
        numbers = np.concatenate([numbers[:1], numbers])
    return Block(0, 0, rows, numbers)


def _nominal(plan: Plan, kind: str, index: int) -> float:
    """The value of a column in the model as it is; NaN for start values."""
    if kind == "parameter":
        return float(plan.p[index])
    return float(plan.u[index]) if kind == "input" else float("nan")


def _error(answer: Answer, reference: Answer, good: npt.NDArray[np.bool_]) -> float:
    assert answer.values is not None and reference.values is not None
    error = mixed_error(answer.values[good], reference.values[good])
    return float(np.median(error.max(axis=1)))


def _trial(
    name: str,
    pair: list[Answer],
    reference: Answer,
    good: npt.NDArray[np.bool_],
    target: float,
) -> Trial:
    """Work at ``target`` error, on the line through both tolerances (logarithmic scales)."""
    work = [STAGES[name] * float((a.accepted[good] + a.rejected[good]).mean()) for a in pair]
    error = [_error(answer, reference, good) for answer in pair]
    if min(*error, target) <= 0 or error[1] >= error[0]:
        return Trial(name, work[0], error[0], work[0])
    slope = np.log(work[1] / work[0]) / np.log(error[0] / error[1])
    equal = work[0] * float(np.clip(error[0] / target, 1e-3, 1e3)) ** slope
    return Trial(name, work[0], error[0], float(equal))

"""The error that a run really has, found on a fixed sample of its individuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.backend import EXACT, SINGLE, Status
from galenic.engine.batch.individuals import Individuals
from galenic.engine.batch.plan import Block, Method, Plan
from galenic.engine.batch.work import Answer, solve_block
from galenic.errors import DataError

Array = npt.NDArray[np.float64]

FEWEST, MOST = 16, 256
TIGHTEST = 1e-12
ROUNDS = 6
INDEPENDENT = 4  # individuals that CVODES or IDAS solves too
TRUSTED = 1e-7  # what those are good for, at the tolerance below
REFERENCE = 1e-10
COMPARED = "rodas5p"  # what exact solutions are compared with


@dataclass(frozen=True)
class Accuracy:
    """Errors of sampled individuals: the largest over times and outputs, per individual.

    An error is ``|y - r| / (|r| + peak / 1000)`` against the reference ``r``, whose largest size
    over time is ``peak``, at least a thousandth of the largest peak of any sampled individual.

    Attributes
    ----------
    asked : float
        What was asked for.
    median, p95, worst : float
        Over the sampled individuals.
    by_output : mapping
        The worst error of each output.
    sampled : tuple of int
        The individuals.
    method, against : Method
        What was used, and what gave the reference: the same with tolerances 100 times
        tighter; for ``exact`` Rodas5P.
    independent : float or None
        The worst error of the first four of them against CVODES or IDAS.
    holds : bool
        Whether ``worst`` is at most ``asked`` (and ``independent`` at most that or 1e-7).
    """

    asked: float
    median: float
    p95: float
    worst: float
    by_output: Mapping[str, float]
    sampled: tuple[int, ...]
    method: Method
    against: Method
    independent: float | None
    holds: bool

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "does not hold"
        return (
            f"asked {self.asked:g}, worst of {len(self.sampled)} sampled {self.worst:.2g} "
            f"(95 % below {self.p95:.2g}), {self.method}: {verdict}"
        )


def mixed_error(values: Array, reference: Array) -> Array:
    """Largest error over time (m, n_outputs) of values (m, n_times, n_outputs)."""
    size = np.abs(reference)
    peak = np.fmax.reduce(size, axis=1, initial=0.0)
    peak = np.maximum(peak, 1e-3 * peak.max(axis=0, initial=0.0))[:, None, :]
    scale = size + 1e-3 * peak
    gap = np.abs(values - reference)
    known = np.isfinite(gap)
    error = np.divide(gap, scale, out=np.where(gap > 0, np.inf, 0.0), where=known & (scale > 0))
    return np.asarray(np.where(known, error, 0.0).max(axis=1, initial=0.0))


def sample(individuals: Individuals, count: int) -> npt.NDArray[np.int64]:
    """``count`` individuals that depend on their own values alone, not on their order."""
    if count >= len(individuals):
        return np.arange(len(individuals))
    mixed = np.full(len(individuals), 0x9E3779B97F4A7C15, np.uint64)
    for column in individuals.values.T:
        mixed = _mixed(mixed ^ np.ascontiguousarray(column).view(np.uint64))
    return np.sort(np.argsort(mixed, kind="stable")[:count])


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def solved_by(plan: Plan, block: Block, *methods: Method) -> Answer:
    """The values of a block in declared units, by these methods."""
    bare = replace(plan, methods=methods, dtype="float64", keep=True, summaries=())
    return solve_block(bare, block)


def held(
    plan: Plan,
    individuals: Individuals,
    schedule: npt.NDArray[np.int64] | None,
    asked: float,
) -> Accuracy:
    """The accuracy of a plan, its tolerance lowered until the sampled error is at most ``asked``.

    Where even the tightest tolerance does not do, the result says so.
    """
    if not asked > 0:
        raise DataError(f"the accuracy asked for is {asked:g}", expected="a number above 0")
    chosen = sample(individuals, min(max(len(individuals) // 100, FEWEST), MOST))
    given = np.zeros(len(chosen), np.int64) if schedule is None else schedule[chosen]
    block = Block(0, 0, individuals.values[chosen], given)
    method = plan.methods[0]
    if method.rtol > asked:
        method = method.tighter(asked / method.rtol)
    for _ in range(ROUNDS):
        found = _measured(plan, block, method, asked, chosen)
        if found.worst <= asked or method.rtol <= TIGHTEST:
            break
        factor = min(max(0.5 * asked / found.worst, 1e-3), 0.3)
        method = method.tighter(max(factor, TIGHTEST / method.rtol))
    return _checked(plan, block, found)


def _measured(
    plan: Plan, block: Block, method: Method, asked: float, chosen: npt.NDArray[np.int64]
) -> Accuracy:
    against = method.tighter(max(0.01, 0.1 * TIGHTEST / method.rtol))
    if method.name == EXACT:
        against = Method(COMPARED, max(0.01 * min(asked, method.rtol), TIGHTEST))
    answer = solved_by(plan, block, method, *plan.methods[1:])
    reference = solved_by(plan, block, against, *plan.methods[1:])
    error = _errors(answer, reference)
    worst = error.max(axis=1, initial=0.0)
    return Accuracy(
        asked,
        float(np.median(worst)) if len(worst) else np.nan,
        float(np.quantile(worst, 0.95)) if len(worst) else np.nan,
        float(worst.max()) if len(worst) else np.nan,
        {c.path: float(e) for c, e in zip(plan.frame.columns, error.max(axis=0), strict=True)}
        if len(worst)
        else {},
        tuple(int(i) for i in chosen),
        method,
        against,
        None,
        bool(len(worst) and worst.max() <= asked),
    )


def _errors(answer: Answer, reference: Answer) -> Array:
    """Errors (m, n_outputs) of the individuals that both solved."""
    both = (answer.status != Status.FAILED) & (reference.status != Status.FAILED)
    assert answer.values is not None and reference.values is not None
    return mixed_error(answer.values[both], reference.values[both])


def _checked(plan: Plan, block: Block, found: Accuracy) -> Accuracy:
    """The same with the error against an independent solver."""
    if found.method.name == SINGLE or any(by.kind == "dose" for by in plan.wrt):
        return found
    few = Block(0, 0, block.columns[:INDEPENDENT], block.schedule[:INDEPENDENT])
    answer = solved_by(plan, few, found.method, *plan.methods[1:])
    error = _errors(answer, solved_by(plan, few, Method(SINGLE, REFERENCE)))
    worst = float(error.max(initial=0.0))
    holds = found.holds and worst <= max(found.asked, TRUSTED)
    return replace(found, independent=worst, holds=holds)

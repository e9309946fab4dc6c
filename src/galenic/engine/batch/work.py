"""One block of individuals, on whatever machine: solve, fall back, convert, summarise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.backend import Solved, Status, backend
from galenic.engine.batch.plan import Block, Plan
from galenic.units import from_si


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a block: values in declared units if they are kept, parts of summaries.

    ``method`` is the place of the method that solved each individual in ``plan.methods``.
    """

    index: int
    first: int
    values: npt.NDArray[Any] | None
    parts: tuple[Any, ...]
    status: npt.NDArray[np.uint8]
    method: npt.NDArray[np.uint8]
    accepted: npt.NDArray[np.int64]
    rejected: npt.NDArray[np.int64]
    doubtful: npt.NDArray[np.int64]
    reasons: dict[int, str]

    def __len__(self) -> int:
        return len(self.status)


def solve_blocks(plan: Plan, blocks: Sequence[Block]) -> list[Answer]:
    """Several blocks in turn: one task of a worker."""
    return [solve_block(plan, block) for block in blocks]


def solve_block(plan: Plan, block: Block) -> Answer:
    """Solve a block by the first method of the plan that works for each individual."""
    solved, method = _with_fallback(plan, block)
    values = _declared(plan, solved)
    good = solved.status != Status.FAILED
    gathered = values.astype(np.float64, copy=False)
    parts = tuple(
        summary.part(gathered if _each(summary) else gathered[good], plan.frame)
        for summary in plan.summaries
    )
    return Answer(
        block.index,
        block.first,
        values if plan.keep else None,
        parts,
        solved.status,
        method,
        solved.accepted,
        solved.rejected,
        solved.doubtful,
        {
            block.first + row: text
            for row, text in solved.reasons.items()
            if solved.status[row] == Status.FAILED
        },
    )


def _each(summary: Any) -> bool:
    """Whether a summary has a number for each individual, failed ones included."""
    return bool(getattr(summary, "each", False))


def _with_fallback(plan: Plan, block: Block) -> tuple[Solved, npt.NDArray[np.uint8]]:
    first, *others = plan.methods
    solved = backend(plan, first.name).solve(block, first)
    method = np.zeros(len(block), np.uint8)
    for place, fallback in enumerate(others, 1):
        rows = np.flatnonzero(solved.status == Status.FAILED)
        rows = rows[np.isfinite(block.columns[rows]).all(axis=1)]
        if not len(rows):
            break
        again = Block(block.index, block.first, block.columns[rows], block.schedule[rows])
        solved.put(rows, backend(plan, fallback.name).solve(again, fallback))
        method[rows] = place
    return solved, method


def _declared(plan: Plan, solved: Solved) -> npt.NDArray[Any]:
    """Values in declared units; those of failed individuals are NaN."""
    values = solved.values
    for place, column in enumerate(plan.frame.columns):
        if column.unit.scale != 1.0 or column.unit.offset:
            values[:, :, place] = from_si(values[:, :, place], column.unit)
    values[solved.status == Status.FAILED] = np.nan
    return values.astype(plan.dtype, copy=False)

"""What forces can tell about powder and die: which combinations, from which settings.

The whole chain from density to force has five unknowns,

    F = A/b C/(a - C),   C = 1 - (rho_bulk/rho_fill) gap/fill

with die area A, Kawakita a and b, the density to which the die is filled and the bulk density from
which Kawakita's law counts. ``identify`` says which of their combinations the forces of a record
show at the settings that occurred in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np

from galenic.inference.identify import Identifiability, identify
from galenic.inference.problem import Free, FunctionProblem
from galenic.stages.manufacturing.press_record.definition import FILL, MAIN, PRE, TAGS
from galenic.stages.manufacturing.press_record.rows import STEADY, Array, Rows

UNKNOWN = ("area", "b", "a", "rho_fill", "rho_bulk")
START = {"area": 29.2, "b": 32.0, "a": 0.92, "rho_fill": 0.5, "rho_bulk": 0.5}
BLOCK = 30  # rows of a mean: 5 min
LAW = 0.02  # sd of a mean about the law: what drifts within a batch
TOUCHES = 3.0  # mm; a wider pre gap leaves the powder untouched


@dataclass(frozen=True, eq=False)
class Settings:
    """Means of steady rows: forces [kN] at fills and gaps [mm]."""

    force: Array
    fill: Array
    gap: Array

    def with_also(self, other: Settings) -> Settings:
        """Both together."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Settings(*(np.concatenate(pair) for pair in pairs))


def means(rows: Rows, quantity: str) -> Settings:
    """Means over five minutes of steady running; of pre compression where it touches."""
    gaps = rows.columns["Press.MainGap" if quantity == MAIN else "Press.PreGap"]
    table = np.column_stack([rows.columns[TAGS[quantity]], rows.columns[TAGS[FILL]], gaps])
    found = []
    for stretch in np.unique(rows.stretch[rows.running]):
        at = np.flatnonzero((rows.stretch == stretch) & (rows.kinds == STEADY))
        if quantity == PRE:
            at = at[gaps[at] < TOUCHES]
        blocks = [at[k : k + BLOCK] for k in range(0, len(at) - BLOCK + 1, BLOCK)]
        found += [table[block].mean(axis=0) for block in blocks]
    return Settings(*np.array(found, dtype=float).reshape(-1, 3).T)


def problem(settings: Settings) -> FunctionProblem:
    """Readings of ln F under the five unknowns, each with the sd of the law itself."""
    theta = ca.SX.sym("theta", len(UNKNOWN))
    area, b, a, rho_fill, rho_bulk = ca.vertsplit(theta)
    reduction = 1 - rho_bulk / rho_fill * ca.DM(settings.gap / settings.fill)
    forces = ca.log(area / b * reduction / (a - reduction))
    function = ca.Function("forces", [theta], [forces, ca.jacobian(forces, theta)])

    def predict(values: Array) -> tuple[Array, Array]:
        y, slopes = function(values)
        return np.array(y).ravel(), np.array(slopes)

    free = [Free(name, lower=0.97 * v, upper=1.03 * v, start=v, log=True)
            for name, v in START.items()]  # fmt: skip
    return FunctionProblem(predict, free, np.log(settings.force), LAW)


def cases(rows: Rows) -> dict[str, Settings]:
    """The settings that occurred, from the poorest to the richest."""
    main, pre = means(rows, MAIN), means(rows, PRE)
    gaps, counts = np.unique(np.round(main.gap, 2), return_counts=True)
    usual = np.abs(main.gap - gaps[np.argmax(counts)]) < 0.006
    fixed = Settings(main.force[usual], main.fill[usual], main.gap[usual])
    found = {"main force, one gap": fixed}
    if len(pre.force):
        found["main and pre force, one main gap"] = fixed.with_also(pre)
    found["main force, all gaps"] = main
    if len(pre.force):
        found["main and pre force, all gaps"] = main.with_also(pre)
    return found


def judge(rows: Rows, tolerance: float = 0.1) -> dict[str, Identifiability]:
    """What can be estimated from each case, known better than ``tolerance``."""
    return {
        name: identify(problem(settings), tolerance=tolerance, rng=np.random.default_rng(0))
        for name, settings in cases(rows).items()
    }


def effects(found: Identifiability) -> Sequence[str]:
    """Combinations that can be estimated, in words."""
    return [f"{c.text} (sd {c.sd:.1%})" for c in found.estimable]

"""Scores of forecasts by batch, class of row, force and horizon, against the rivals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from galenic.inference.diagnose import crps_normal, skill
from galenic.stages.manufacturing.press_record.pursuit import FORCES, HORIZONS, Foretold
from galenic.stages.manufacturing.press_record.rivals import (
    STEP,
    Key,
    Persistence,
    Rival,
    actual,
    tune_mean,
    tune_ridge,
    tune_sd,
)
from galenic.stages.manufacturing.press_record.rows import CLASSES, Array, Rows

TWIN, PERSISTENCE, MEAN = "twin", "persistence", "rolling mean"
RIDGE, RIDGES = "ridge", "ridge by class"
LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class Score:
    """One line of the result; errors and CRPS in kN.

    ``inside50`` and ``inside90`` are shares of readings inside the central interval, end points
    as they are. Readings come in steps as wide as the intervals, so those shares are coarse;
    ``calibrated50`` and ``calibrated90`` share each reading out over the step that it stands for
    (non-randomised probability integral transform: Czado, Gneiting, Held, Biometrics 65 (2009)
    1254-1261) and are nominal where the forecast is right.
    """

    batch: str
    kind: str
    force: str
    horizon: float
    method: str
    readings: int
    mae: float
    rmse: float
    crps: float
    inside50: float
    inside90: float
    calibrated50: float
    calibrated90: float
    skill: float = 0.0


@dataclass(frozen=True, eq=False)
class Tuned:
    """The rivals, tuned on one batch, with their sd by class, force and horizon."""

    rivals: Mapping[str, Rival]
    sds: Mapping[str, Mapping[Key, float]]


def tune(rows: Rows) -> Tuned:
    """Tune all rivals on the rows of one batch."""
    rivals: dict[str, Rival] = {
        PERSISTENCE: Persistence(),
        MEAN: tune_mean(rows),
        RIDGE: tune_ridge(rows, together=True),
        RIDGES: tune_ridge(rows, together=False),
    }
    return Tuned(rivals, {name: tune_sd(rival, rows) for name, rival in rivals.items()})


def score(rows: Rows, foretold: Foretold, tuned: Tuned) -> list[Score]:
    """Scores of one batch; skill is the share of the CRPS of persistence that is saved."""
    batch, found = str(rows.batch[0]), []
    for force in range(len(FORCES)):
        for horizon in range(len(HORIZONS)):
            truth, there = actual(rows, force, horizon)
            forecasts = {TWIN: (foretold.mean[:, horizon, force], foretold.sd[:, horizon, force])}
            for name, rival in tuned.rivals.items():
                sd = np.array(
                    [tuned.sds[name].get((kind, force, horizon), np.nan) for kind in rows.kinds]
                )
                forecasts[name] = (rival.means(rows, force, horizon), sd)
            for kind in CLASSES:
                at = there & (rows.kinds == kind) & np.isfinite(forecasts[TWIN][0])
                if at.any():
                    key = (batch, kind, FORCES[force], HORIZONS[horizon])
                    found += compared(
                        key, truth[at], {n: (m[at], s[at]) for n, (m, s) in forecasts.items()}
                    )
    return found  # fmt: skip


def compared(
    key: tuple[str, str, str, float], truth: Array, forecasts: Mapping[str, tuple[Array, Array]]
) -> list[Score]:
    """One score per method, all on the same readings."""
    worth = {method: measured(truth, *given) for method, given in forecasts.items()}
    base = worth[PERSISTENCE].crps
    return [
        Score(*key, method, **one._asdict(), skill=skill(one.crps, base))
        for method, one in worth.items()
    ]


class Measured(NamedTuple):
    """What one method's forecasts of some readings were worth; see ``Score``."""

    readings: int
    mae: float
    rmse: float
    crps: float
    inside50: float
    inside90: float
    calibrated50: float
    calibrated90: float


def measured(truth: Array, mean: Array, sd: Array) -> Measured:
    """Count, MAE, RMSE, CRPS, and both kinds of coverage at both levels."""
    error = mean - truth
    half, most = (float(np.mean(np.abs(error) <= ndtri(0.5 + p / 2) * sd)) for p in LEVELS)
    fair, fairest = (float(np.mean(shared_out(truth, mean, sd, p))) for p in LEVELS)
    return Measured(
        len(truth),
        float(np.mean(np.abs(error))),
        float(np.sqrt(np.mean(error**2))),
        crps_normal(truth, mean, sd),
        half,
        most,
        fair,
        fairest,
    )


def shared_out(truth: Array, mean: Array, sd: Array, level: float) -> Array:
    """Share of each rounded reading's probability that lies in the central interval.

    ``sd`` includes the variance of rounding, which is taken off again for the unrounded value.
    """
    own = np.sqrt(np.maximum(sd**2 - STEP**2 / 12, (0.2 * STEP) ** 2))
    below, above = ndtr((truth - STEP / 2 - mean) / own), ndtr((truth + STEP / 2 - mean) / own)
    low, high = 0.5 - level / 2, 0.5 + level / 2
    overlap = np.clip(np.minimum(above, high) - np.maximum(below, low), 0.0, None)
    width = above - below
    middle = 0.5 * (above + below)
    narrow = ((middle >= low) & (middle <= high)).astype(float)
    return np.asarray(np.where(width > 1e-12, overlap / np.maximum(width, 1e-12), narrow))

"""What the twin is measured against: persistence, a rolling mean, a ridge regression.

All are tuned on one batch, for each class of row, force and horizon by itself, so that each is as
good as it can be: the length of the mean and whether it begins anew at a restart, the penalty of
the ridge (fitted to all rows together, and by class), and the sd of every method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from galenic.errors import DataError
from galenic.stages.manufacturing.press_record.definition import FILL, MAIN, PRE, TAGS
from galenic.stages.manufacturing.press_record.pursuit import FORCES, HORIZONS
from galenic.stages.manufacturing.press_record.rows import CLASSES, Array, Flags, Rows

T = TypeVar("T")
Key = tuple[str, int, int]

LENGTHS = (6, 18, 30, 90, 180, 360)
PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)
LAGS = 6
FOLDS = 5
FEWEST = FOLDS
STEP = 0.1  # kN, of the displayed forces


class Length(NamedTuple):
    """How many rows a mean takes, and whether it begins anew at a restart."""

    rows: int
    anew: bool = False


class Rival(Protocol):
    """Gives the mean foretold from each row for a force and a horizon [kN]."""

    def means(self, rows: Rows, force: int, horizon: int) -> Array: ...


@dataclass(frozen=True)
class Persistence:
    """The reading stays as it is."""

    def means(self, rows: Rows, force: int, horizon: int) -> Array:
        return rows.columns[TAGS[FORCES[force]]]


@dataclass(frozen=True)
class RollingMean:
    """The mean of the last readings of a running press; a ``Length`` by class, force, horizon."""

    lengths: Mapping[Key, Length]

    def means(self, rows: Rows, force: int, horizon: int) -> Array:
        return by_class(
            rows, lambda kind: rolled(rows, FORCES[force], self.lengths[kind, force, horizon])
        )


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear model of present and past readings and settings, by class, force, horizon."""

    weights: Mapping[Key, Array]

    def means(self, rows: Rows, force: int, horizon: int) -> Array:
        table = features(rows)
        return by_class(rows, lambda kind: table @ self.weights[kind, force, horizon])


def by_class(rows: Rows, means: Callable[[str], Array]) -> Array:
    """For each running row what ``means`` gives for its class."""
    result = np.full(len(rows), np.nan)
    for kind in CLASSES:
        mine = rows.kinds == kind
        if mine.any():
            result[mine] = means(kind)[mine]
    return result


def rolled(rows: Rows, force: str, length: Length) -> Array:
    """Mean of the last running readings of the batch (or of the stretch), up to each row."""
    result = np.full(len(rows), np.nan)
    groups = rows.stretch if length.anew else rows.batch
    for group in np.unique(groups[rows.running]):
        at = np.flatnonzero(rows.running & (groups == group))
        total = np.concatenate([[0.0], np.cumsum(rows.columns[TAGS[force]][at])])
        stop = np.arange(1, len(at) + 1)
        start = np.maximum(stop - length.rows, 0)
        result[at] = (total[stop] - total[start]) / (stop - start)
    return result


def features(rows: Rows) -> Array:
    """Lagged readings and fill depths, rolling means, settings, time since the restart."""
    columns = [np.ones(len(rows))]
    for quantity in (MAIN, PRE, FILL):
        values = rows.columns[TAGS[quantity]]
        for lag in range(LAGS):
            shifted = np.concatenate([np.repeat(values[:1], lag), values[: len(values) - lag]])
            columns.append(shifted)
    columns += [
        np.nan_to_num(rolled(rows, name, Length(n))) for name in FORCES for n in (6, 30, 90)
    ]
    for tag in ("Press.MainGap", "Press.PreGap", "Press.EjectionForce"):
        columns.append(rows.columns[tag])
    columns.append(np.exp(-rows.since / 60.0))
    return np.column_stack(columns)


def actual(rows: Rows, force: int, horizon: int) -> tuple[Array, Flags]:
    """Reading foretold from each row, and where there is one."""
    at = rows.target(HORIZONS[horizon])
    values = rows.columns[TAGS[FORCES[force]]][at]
    return np.where(at >= 0, values, np.nan), at >= 0


def tune_mean(rows: Rows) -> RollingMean:
    """The lengths with the least squared error."""
    choices = [Length(n, anew) for n in LENGTHS for anew in (False, True)]

    def best(key: Key, there: Flags, truth: Array) -> Length:
        means = [rolled(rows, FORCES[key[1]], choice)[there] for choice in choices]
        return choices[int(np.argmin([np.mean((mean - truth) ** 2) for mean in means]))]

    return RollingMean(each(rows, best))


def tune_ridge(rows: Rows, together: bool) -> Ridge:
    """The penalty with the least squared error in contiguous cross-validation, then all rows.

    ``together`` fits one model for all classes; otherwise each class has its own.
    """
    table = features(rows)

    def best(key: Key, there: Flags, truth: Array) -> Array:
        if together:
            truth, there = actual(rows, *key[1:])
            truth = truth[there]
        x = table[there]
        fold = np.minimum(np.arange(len(truth)) * FOLDS // len(truth), FOLDS - 1)

        def error(penalty: float) -> float:
            left = [
                x[fold == k] @ fit_ridge(x[fold != k], truth[fold != k], penalty) - truth[fold == k]
                for k in np.unique(fold)
            ]
            return float(np.mean(np.concatenate(left) ** 2))

        return fit_ridge(x, truth, min(PENALTIES, key=error))

    return Ridge(each(rows, best))


def fit_ridge(x: Array, y: Array, penalty: float) -> Array:
    """Weights for standardised columns, the first (constant) column not penalised."""
    centre, scale = x[:, 1:].mean(axis=0), x[:, 1:].std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    z = (x[:, 1:] - centre) / scale
    inner = np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ (y - y.mean())) / scale
    return np.concatenate([[y.mean() - centre @ inner], inner])


def tune_sd(rival: Rival, rows: Rows) -> dict[Key, float]:
    """Root mean squared error on the tuning rows; never less than that of rounding."""

    def spread(key: Key, there: Flags, truth: Array) -> float:
        error = rival.means(rows, *key[1:])[there] - truth
        return float(max(np.sqrt(np.mean(error**2)), STEP / np.sqrt(12.0)))

    return each(rows, spread)


def each(rows: Rows, make: Callable[[Key, Flags, Array], T]) -> dict[Key, T]:
    """What ``make`` gives for each class, force and horizon from its rows and their outcomes."""
    found = {}
    for force in range(len(FORCES)):
        for horizon in range(len(HORIZONS)):
            truth, scored = actual(rows, force, horizon)
            for kind in CLASSES:
                there = scored & (rows.kinds == kind)
                if there.sum() < FEWEST:
                    raise DataError(
                        f"{there.sum()} rows of class {kind!r} to tune on",
                        where=f"{HORIZONS[horizon]:g} s ahead",
                        expected=f"{FEWEST} or more",
                        hint="name a longer batch",
                    )
                key = (kind, force, horizon)
                found[key] = make(key, there, truth[there])
    return found

"""Morris screening: the effect of each factor, one at a time, along random paths.

Morris, Technometrics 33(2):161-174, 1991, doi:10.1080/00401706.1991.10484804; the mean of absolute
effects is that of Campolongo, Cariboni and Saltelli, Environmental Modelling & Software
22(10):1509-1518, 2007, doi:10.1016/j.envsoft.2006.10.004. Factors move on levels of their
distribution (shares (k + 1/2) / levels), so that normal factors stay finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError
from galenic.inference.study import Study, Target, by_factor

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

STEP = 0.5  # of the share of the distribution


@dataclass(frozen=True, eq=False)
class Morris:
    """Effects of going through the whole distribution, in the unit of the target.

    ``effects`` (paths, n_targets, n_factors): change of the target per change of the share of the
    factor's distribution. ``mean`` tells direction, ``size`` (mean of absolute effects)
    importance, ``spread`` (standard deviation) curvature and interaction; all (n_targets,
    n_factors).
    """

    factors: tuple[str, ...]
    targets: tuple[Target, ...]
    effects: Array

    @property
    def mean(self) -> Array:
        """Mean effect."""
        return np.asarray(self.effects.mean(axis=0))

    @property
    def size(self) -> Array:
        """Mean of absolute effects."""
        return np.asarray(np.abs(self.effects).mean(axis=0))

    @property
    def spread(self) -> Array:
        """Standard deviation of the effects."""
        return np.asarray(self.effects.std(axis=0, ddof=1))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per target and factor."""
        units = [[target.unit.text] * len(self.factors) for target in self.targets]
        return by_factor(
            self.targets, self.factors, unit=units, mean=self.mean, size=self.size,
            spread=self.spread,
        )  # fmt: skip


def effects(study: Study, paths: int, levels: int, seed: int) -> Morris:
    """The effects along ``paths`` random paths through a grid of ``levels`` per factor."""
    if levels < 2 or levels % 2 or paths < 2:
        raise DataError(
            f"{paths} paths on {levels} levels",
            expected="at least two paths, an even number of levels",
            where="morris",
        )
    d = len(study.factors)
    points, order, sign = _walks(paths, levels, d, np.random.default_rng(seed))
    targets, found = study.evaluate(study.columns(points.reshape(-1, d)))
    y = found.reshape(paths, d + 1, -1)
    change = np.diff(y, axis=1) / (STEP * sign[:, :, None])
    sorted_ = np.empty_like(change)
    np.put_along_axis(sorted_, order[:, :, None], change, axis=1)
    return Morris(tuple(study.names), targets, np.swapaxes(sorted_, 1, 2))


def _walks(
    paths: int, levels: int, d: int, rng: np.random.Generator
) -> tuple[Array, npt.NDArray[np.int64], Array]:
    """Points (paths, d + 1, d), which factor moves in each step, and whether up or down."""
    start = rng.integers(0, levels, (paths, d))
    order = np.argsort(rng.random((paths, d)), axis=1)
    half = levels // 2
    up = start < half
    points = np.repeat(start[:, None, :], d + 1, axis=1)
    rows = np.arange(paths)
    for step in range(d):
        factor = order[:, step]
        shift = np.where(up[rows, factor], half, -half)
        points[rows[:, None], np.arange(step + 1, d + 1)[None, :], factor[:, None]] += shift[
            :, None
        ]
    sign = np.where(np.take_along_axis(up, order, axis=1), 1.0, -1.0)
    return (points + 0.5) / levels, order, sign

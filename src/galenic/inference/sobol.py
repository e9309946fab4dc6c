"""Sobol indices: how much of the variance of a result each factor causes.

Estimators of Saltelli et al., Computer Physics Communications 181(2):259-270, 2010,
doi:10.1016/j.cpc.2009.09.018 (first order) and of Jansen, Computer Physics Communications
117(1):35-43, 1999, doi:10.1016/S0010-4655(98)00154-4 (total order), on scrambled Sobol sequences,
with percentile intervals from bootstrap over the points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError
from galenic.inference.study import Study, Target, by_factor

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sobol:
    """Indices (n_targets, n_factors) with intervals (2, n_targets, n_factors) at ``level``.

    A target that does not vary has NaN indices. First-order indices below zero or totals below
    first-order ones are noise of the sample: the intervals say how much.
    """

    factors: tuple[str, ...]
    targets: tuple[Target, ...]
    first: Array
    total: Array
    first_interval: Array
    total_interval: Array
    variance: Array
    n: int
    level: float

    def to_dataframe(self) -> pd.DataFrame:
        """One row per target and factor."""
        (first_low, first_high), (total_low, total_high) = self.first_interval, self.total_interval
        return by_factor(
            self.targets, self.factors, first=self.first, first_low=first_low,
            first_high=first_high, total=self.total, total_low=total_low, total_high=total_high,
        )  # fmt: skip

    def plot(self) -> Figure:
        """Bars with intervals for single numbers, lines over time for outputs."""
        from galenic.inference.draw import bars_and_lines

        return bars_and_lines(self)


def indices(study: Study, n: int, seed: int, resamples: int, level: float = 0.95) -> Sobol:
    """The indices of a study from ``n`` points of twice as many dimensions as factors."""
    if n < 2 or n & (n - 1):
        raise DataError(
            f"{n} points", expected="a power of two, so that the Sobol sequence is balanced",
            where="sobol",
        )  # fmt: skip
    d = len(study.factors)
    points = study.points(n, "sobol", seed, 2 * d)
    a, b = points[:, :d], points[:, d:]
    mixed = np.repeat(a[None, :, :], d, axis=0)
    for k in range(d):
        mixed[k, :, k] = b[:, k]
    whole = np.concatenate([a, b, mixed.reshape(-1, d)])
    targets, found = study.evaluate(study.columns(whole))
    y = found.reshape(d + 2, n, -1)
    return estimated(study.names, targets, y, seed, resamples, level)


def estimated(
    factors: Sequence[str],
    targets: Sequence[Target],
    y: Array,
    seed: int,
    resamples: int,
    level: float,
) -> Sobol:
    """Indices from values (d + 2, n, n_targets) at the points A, B and A with column k of B."""
    scale = np.maximum(np.abs(y).max(axis=(0, 1)), 1e-300)
    y = y - y[:2].mean(axis=(0, 1))
    n = y.shape[1]
    weights = np.full((1, n), 1.0 / n)
    first, total, variance = (part[0] for part in _estimates(y, weights))
    rng = np.random.default_rng([seed, 1])
    drawn = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)])
    edges = [(1 - level) / 2, (1 + level) / 2]
    several = _estimates(y, drawn / n)[:2]
    first_interval, total_interval = (np.quantile(part, edges, axis=0) for part in several)
    still = variance <= (1e-13 * scale) ** 2
    for part in (first, total, first_interval, total_interval):
        part[..., still, :] = np.nan
    return Sobol(
        tuple(factors), tuple(targets), first, total, first_interval, total_interval, variance,
        n, level,
    )  # fmt: skip


def _estimates(y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """First and total order (r, n_targets, d) and variance (r, n_targets) for weights (r, n)."""
    a, b, mixed = y[0], y[1], y[2:]
    mean = weights @ (0.5 * (a + b))
    variance = weights @ (0.5 * (a**2 + b**2)) - mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        first = [weights @ (b * (c - a)) / variance for c in mixed]
        total = [weights @ (0.5 * (a - c) ** 2) / variance for c in mixed]
    return np.stack(first, axis=2), np.stack(total, axis=2), variance

"""Shapley effects: shares of the variance for factors that depend on each other.

Where factors are correlated, first and total order indices no longer add up to one and can cross.
Shapley effects (Owen, SIAM/ASA J. Uncertainty Quantification 2, 2014; Song, Nelson and Staum, the
same journal 4, 2016; cited from memory) share out what several factors explain together: they are
never negative and add up to one. Beside them stand what a factor explains alone with all that comes
with it, Var(E[Y|X_i]), and what nothing but it explains, E[Var(Y|all others)]: the full and
independent indices of Mara, Tarantola and Annoni (Environmental Modelling & Software 72, 2015; from
memory).

The cost of a set, E[Var(Y|the others)], is the mean of half the squared difference between a point
and one in which the set is drawn anew given the others (normal scores, so that this is exact).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError
from galenic.inference.study import Study, Target, by_factor

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Set = tuple[int, ...]

ALL_SETS = 8  # factors up to which every set is evaluated


@dataclass(frozen=True, eq=False)
class Shapley:
    """Shares of the variance (n_targets, n_factors), with intervals (2, ...) at ``level``.

    ``effect`` adds up to one; ``alone`` is what a factor explains with all that is correlated with
    it; ``beyond`` is what remains to it when all others are known. Estimates below zero are noise
    of the sample: the intervals say how much. A target that does not vary has NaN.
    """

    factors: tuple[str, ...]
    targets: tuple[Target, ...]
    effect: Array
    alone: Array
    beyond: Array
    effect_interval: Array
    variance: Array
    n: int
    level: float

    def to_dataframe(self) -> pd.DataFrame:
        """One row per target and factor."""
        low, high = self.effect_interval
        return by_factor(
            self.targets, self.factors, shapley=self.effect, shapley_low=low, shapley_high=high,
            alone=self.alone, beyond=self.beyond,
        )  # fmt: skip


def effects(
    study: Study, n: int, seed: int, orders: int, resamples: int, level: float = 0.95
) -> Shapley:
    """The effects from ``n`` points; of many factors from ``orders`` random orders."""
    if n < 2 or n & (n - 1):
        raise DataError(
            f"{n} points", expected="a power of two, so that the Sobol sequence is balanced",
            where="shapley",
        )  # fmt: skip
    d = len(study.factors)
    walks = _orders(d, orders, np.random.default_rng([seed, 2]))
    sets = _sets(walks, d)
    points = study.points(n, "sobol", seed, 2 * d)
    scores = study.scores(points[:, :d])
    fresh = study.scores(points[:, d:], correlated=False)
    drawn = [_drawn(scores, fresh, one, study.correlation) for one in sets]
    whole = np.concatenate([scores, *drawn])
    targets, found = study.evaluate(study.table(whole))
    y = found.reshape(len(sets) + 1, n, -1)
    halves = 0.5 * (y[1:] - y[0]) ** 2
    estimate = _Estimate(sets, walks, d)
    weights = np.full((1, n), 1.0 / n)
    effect, alone, beyond, variance = (part[0] for part in estimate.of(halves, weights))
    rng = np.random.default_rng([seed, 1])
    counts = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)])
    several = estimate.of(halves, counts / n)[0]
    interval = np.quantile(several, [(1 - level) / 2, (1 + level) / 2], axis=0)
    still = variance <= (1e-13 * np.abs(y).max(axis=(0, 1))) ** 2
    for part in (effect, alone, beyond, interval):
        part[..., still, :] = np.nan
    return Shapley(tuple(study.names), targets, effect, alone, beyond, interval, variance, n, level)


def _orders(d: int, orders: int, rng: np.random.Generator) -> list[Set] | None:
    """Random orders of the factors, each with its reverse; None where all sets are evaluated."""
    if d <= ALL_SETS:
        return None
    if orders < 2:
        raise DataError(f"{orders} orders of {d} factors", expected="at least 2", where="shapley")
    drawn = [tuple(int(i) for i in rng.permutation(d)) for _ in range(orders // 2)]
    return [*drawn, *(one[::-1] for one in drawn)]


def _sets(walks: list[Set] | None, d: int) -> list[Set]:
    """The sets of factors that are needed, the whole one last."""
    everything = tuple(range(d))
    if walks is None:
        return [one for size in range(1, d + 1) for one in combinations(everything, size)]
    found = {tuple(sorted(walk[:k])) for walk in walks for k in range(1, d)}
    found |= {(i,) for i in everything}
    found |= {everything[:i] + everything[i + 1 :] for i in everything}
    return [*sorted(found), everything]


def _drawn(scores: Array, fresh: Array, chosen: Set, correlation: Array) -> Array:
    """Normal scores with those of a set drawn anew, given the others."""
    others = [i for i in range(scores.shape[1]) if i not in chosen]
    u = list(chosen)
    slope: Array = np.zeros((len(u), len(others)))
    if others:
        across = correlation[np.ix_(others, u)]
        inner = correlation[np.ix_(others, others)]
        slope = np.asarray(np.linalg.lstsq(inner, across, rcond=None)[0].T, np.float64)
    rest = correlation[np.ix_(u, u)] - slope @ correlation[np.ix_(others, u)]
    size, direction = np.linalg.eigh(rest)
    root = direction * np.sqrt(np.maximum(size, 0.0))
    made = scores.copy()
    made[:, u] = scores[:, others] @ slope.T + fresh[:, u] @ root.T
    return made


@dataclass(frozen=True)
class _Estimate:
    """From costs of sets to effects."""

    sets: list[Set]
    walks: list[Set] | None
    d: int

    def of(self, halves: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
        """Effect, alone, beyond (r, n_targets, d) and variance (r, n_targets), weights (r, n)."""
        costs = {one: weights @ half for one, half in zip(self.sets, halves, strict=True)}
        everything = tuple(range(self.d))
        variance = costs[everything]
        costs[()] = np.zeros_like(variance)
        effect: Array = np.zeros((*variance.shape, self.d))
        for factor, without, share in self._steps():
            with_it = tuple(sorted((*without, factor)))
            effect[..., factor] += share * (costs[with_it] - costs[without])
        others = [everything[:i] + everything[i + 1 :] for i in everything]
        alone = np.stack([variance - costs[one] for one in others], axis=-1)
        beyond = np.stack([costs[(i,)] for i in everything], axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = [np.asarray(part / variance[..., None]) for part in (effect, alone, beyond)]
        return shares[0], shares[1], shares[2], variance

    def _steps(self) -> Iterator[tuple[int, Set, float]]:
        """(factor, set it joins, weight of the gain); the weights of a factor add up to one."""
        if self.walks is not None:
            for walk in self.walks:
                for k, factor in enumerate(walk):
                    yield factor, tuple(sorted(walk[:k])), 1.0 / len(self.walks)
            return
        for factor in range(self.d):
            rest = [i for i in range(self.d) if i != factor]
            for size in range(self.d):
                share = 1.0 / (self.d * comb(self.d - 1, size))
                for without in combinations(rest, size):
                    yield factor, without, share

"""The no-U-turn sampler: Hamiltonian Monte Carlo that finds its own path length.

Points of a path are drawn in proportion to their density; the step size follows dual averaging, the
diagonal metric the variance of draws in growing windows of the warm-up. Sources: Hoffman and
Gelman, J Mach Learn Res 15:1593-1623, 2014; Betancourt, arXiv:1701.02434, 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from galenic.inference.algebra import Array

Density = Callable[[Array], tuple[Array, Array]]
Asking = Generator[Array, tuple[float, Array], "_T"]  # asks for the density at points
_T = TypeVar("_T")
_DIVERGED = 1000.0


@dataclass(frozen=True, eq=False)
class Chain:
    """Draws (n, size) of one chain after its warm-up.

    Parameters
    ----------
    accepted : float
        Mean acceptance probability.
    diverged : int
        Paths after the warm-up on which the energy went wrong.
    depth : array (n,)
        Doublings of each path.
    """

    draws: Array
    accepted: float
    diverged: int
    depth: npt.NDArray[np.int64]
    step: float


@dataclass
class _Edge:
    q: Array
    p: Array
    gradient: Array


@dataclass
class _Tree:
    left: _Edge
    right: _Edge
    sample: Array
    weight: float
    value: float
    gradient: Array
    total: Array
    going: bool
    accept: float
    count: int
    diverged: bool


def sample(
    density: Density,
    starts: Array,
    rngs: Sequence[np.random.Generator],
    draws: int,
    warmup: int,
    told: Callable[[float], bool | None] | None = None,
) -> list[Chain]:
    """Chains side by side, of which each step is one call of the density.

    Parameters
    ----------
    density : callable
        Of points (m, size): logarithms of the density (m,), up to a constant, and gradients.
    starts : array (chains, size)
    rngs : sequence of numpy Generator
        One for each chain.
    draws, warmup : int
    told : callable, optional
        Gets the share of the work done; returning False stops.
    """
    samplers = [_Sampler(rng, len(start)) for rng, start in zip(rngs, starts, strict=True)]
    asking = [one.run(start, draws, warmup) for one, start in zip(samplers, starts, strict=True)]
    points = {k: next(one) for k, one in enumerate(asking)}
    done: dict[int, Chain] = {}
    said, total = 0, len(asking) * (warmup + draws)
    while points:
        values, gradients = density(np.array(list(points.values())))
        for k, value, gradient in zip(list(points), values, gradients, strict=True):
            try:
                points[k] = asking[k].send((float(value), gradient))
            except StopIteration as end:
                done[k] = end.value
                del points[k]
        made = sum(one.made for one in samplers)
        if told is not None and made > said and told(made / total) is False:
            for one in samplers:
                one.stopped = True
        said = made
    return [done[k] for k in range(len(asking))]


class _Sampler:
    """NUTS for one chain, as a generator that asks for the density where it needs it."""

    def __init__(
        self, rng: np.random.Generator, size: int, target: float = 0.8, depth: int = 9
    ) -> None:
        self.metric, self.rng = np.ones(size), rng
        self.target, self.depth = target, depth
        self.step, self.made, self.stopped = 0.1, 0, False

    def run(self, start: Array, draws: int, warmup: int) -> Asking[Chain]:
        """One chain."""
        q = np.array(start, float)
        value, gradient = yield q
        self.step = yield from self._reasonable(q, value, gradient)
        averaging = _Averaging(self.step, self.target)
        windows = set(_windows(warmup))
        seen: list[Array] = []
        kept, depths, accepted, diverged = [], [], [], 0
        for k in range(warmup + draws):
            tree, depth = yield from self._path(q, value, gradient)
            q, value, gradient = tree.sample, tree.value, tree.gradient
            share = tree.accept / max(tree.count, 1)
            if k < warmup:
                self.step = averaging.update(share)
                seen.append(q)
                if k in windows:
                    self._adapt(np.array(seen))
                    seen = []
                    self.step = yield from self._reasonable(q, value, gradient)
                    averaging = _Averaging(self.step, self.target)
                if k == warmup - 1:
                    self.step = averaging.final
            else:
                kept.append(q)
                depths.append(depth)
                accepted.append(share)
                diverged += tree.diverged
            self.made = k + 1
            if self.stopped:
                break
        return Chain(
            np.array(kept).reshape(len(kept), len(q)),
            float(np.mean(accepted)) if accepted else float("nan"),
            diverged,
            np.array(depths, np.int64),
            self.step,
        )

    def _adapt(self, seen: Array) -> None:
        n = len(seen)
        self.metric = (n * seen.var(axis=0) + 5e-3 * self.metric) / (n + 5.0) + 1e-10

    def _leap(self, at: _Edge, step: float) -> Asking[tuple[_Edge, float]]:
        p = at.p + 0.5 * step * at.gradient
        q = at.q + step * self.metric * p
        value, gradient = yield q
        return _Edge(q, p + 0.5 * step * gradient, gradient), value

    def _energy(self, value: float, p: Array) -> float:
        return value - 0.5 * float(np.sum(self.metric * p * p))

    def _reasonable(self, q: Array, value: float, gradient: Array) -> Asking[float]:
        """A step whose acceptance is about one half."""
        step = 0.1
        p = self.rng.standard_normal(len(q)) / np.sqrt(self.metric)
        before = self._energy(value, p)
        way = 0
        for _ in range(40):
            edge, found = yield from self._leap(_Edge(q, p, gradient), step)
            change = self._energy(found, edge.p) - before
            up = np.isfinite(change) and change > np.log(0.5)
            if way and (1 if up else -1) != way:
                break
            way = 1 if up else -1
            step *= 2.0**way
        return step

    def _path(self, q: Array, value: float, gradient: Array) -> Asking[tuple[_Tree, int]]:
        p = self.rng.standard_normal(len(q)) / np.sqrt(self.metric)
        begin = self._energy(value, p)
        edge = _Edge(q, p, gradient)
        tree = _Tree(edge, edge, q, 0.0, value, gradient, p, True, 0.0, 0, False)
        depth = 0
        while tree.going and depth < self.depth:
            way = 1 if self.rng.random() < 0.5 else -1
            edge = tree.right if way > 0 else tree.left
            other = yield from self._grow(edge, way, depth, begin)
            tree = self._joined(tree, other, way, top=True)
            depth += 1
        return tree, depth

    def _grow(self, edge: _Edge, way: int, depth: int, begin: float) -> Asking[_Tree]:
        if depth == 0:
            new, value = yield from self._leap(edge, way * self.step)
            change = self._energy(value, new.p) - begin
            change = change if np.isfinite(change) else -np.inf
            wrong = change < -_DIVERGED
            accept = float(min(1.0, np.exp(min(change, 0.0))))
            return _Tree(
                new, new, new.q, change, value, new.gradient, new.p, not wrong, accept, 1, wrong
            )
        tree = yield from self._grow(edge, way, depth - 1, begin)
        if not tree.going:
            return tree
        end = tree.right if way > 0 else tree.left
        other = yield from self._grow(end, way, depth - 1, begin)
        return self._joined(tree, other, way, top=False)

    def _joined(self, tree: _Tree, other: _Tree, way: int, top: bool) -> _Tree:
        weight = float(np.logaddexp(tree.weight, other.weight))
        share = other.weight - (tree.weight if top else weight)
        take = other.going and np.log(self.rng.random()) < share
        picked = other if take else tree
        left = tree.left if way > 0 else other.left
        right = other.right if way > 0 else tree.right
        total = tree.total + other.total
        going = other.going and self._apart(left, right, total)
        return _Tree(
            left, right, picked.sample, weight, picked.value, picked.gradient, total, going,
            tree.accept + other.accept, tree.count + other.count, tree.diverged or other.diverged,
        )  # fmt: skip

    def _apart(self, left: _Edge, right: _Edge, total: Array) -> bool:
        """Whether both ends still move away from each other."""
        along = self.metric * total
        return bool(along @ left.p > 0 and along @ right.p > 0)


class _Averaging:
    """Dual averaging of the logarithm of the step."""

    def __init__(self, step: float, target: float) -> None:
        self.centre, self.target = np.log(10 * step), target
        self.count, self.error, self.mean = 0, 0.0, 0.0

    def update(self, share: float) -> float:
        self.count += 1
        k = self.count
        self.error += (self.target - share - self.error) / (k + 10)
        log = self.centre - np.sqrt(k) / 0.05 * self.error
        weight = k**-0.75
        self.mean = weight * log + (1 - weight) * self.mean
        return float(np.exp(log))

    @property
    def final(self) -> float:
        return float(np.exp(self.mean))


def _windows(warmup: int) -> list[int]:
    """Ends of the windows in which variances are learnt."""
    ends, at, size = [], int(0.15 * warmup), 25
    stop = int(0.9 * warmup)
    while at + size < stop:
        at += size
        size *= 2
        ends.append(at if at + size < stop else stop)
    return ends


def effective(chains: Array) -> Array:
    """Effective number of draws of each column of (chains, draws, size), by Geyer's rule."""
    m, n, size = chains.shape
    found = np.empty(size)
    centred = chains - chains.mean(axis=1, keepdims=True)
    width = 2 ** int(np.ceil(np.log2(2 * n)))
    power = np.abs(np.fft.rfft(centred, width, axis=1)) ** 2
    auto = np.fft.irfft(power, width, axis=1)[:, :n] / n
    within = auto[:, 0].mean(axis=0) * n / (n - 1)
    between = chains.mean(axis=1).var(axis=0, ddof=1) if m > 1 else np.zeros(size)
    plus = within * (n - 1) / n + between
    rho = 1 - (within - auto.mean(axis=0)) / np.maximum(plus, 1e-300)
    for k in range(size):
        total, last = 1.0, np.inf
        for t in range(1, n - 1, 2):
            pair = rho[t, k] + rho[t + 1, k]
            if pair < 0:
                break
            last = min(last, pair)
            total += 2 * last
        found[k] = m * n / total
    return found


def split_r(chains: Array) -> Array:
    """Potential scale reduction of halved chains (chains, draws, size); near 1 where they agree."""
    m, n, size = chains.shape
    half = n // 2
    parts = chains[:, : 2 * half].reshape(2 * m, half, size)
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = half * parts.mean(axis=1).var(axis=0, ddof=1)
    return np.asarray(np.sqrt(((half - 1) / half * within + between / half) / within))

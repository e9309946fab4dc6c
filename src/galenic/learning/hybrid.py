"""Training of a network inside a mechanistic model on data of a population.

Weights w, typical values theta and the effects eta_i of all individuals are found together as the
minimum of

    sum_i [ sum_t cost(y, f) + eta_i' Omega^-1 eta_i ] + sum_k ((w_k - w0_k) / s_k)^2

by scoring (Levenberg and Marquardt) with exact derivatives of the solution by all of them; the
effects are eliminated, so a step costs one small system. In turns with it Omega and the errors
are estimated by FOCEI with the weights held. The ridge is the prior that the term is zero, and
makes the inverse of the curvature (Laplace) a posterior for what was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import casadi as ca
import numpy as np

from galenic.errors import DataError, SolveError
from galenic.inference.algebra import Array
from galenic.inference.mixed.fit import Fit, fit
from galenic.inference.mixed.people import updated
from galenic.inference.mixed.problem import Problem
from galenic.modeling.variability import Population

WEIGHTS = ("v", "W", "b")


@dataclass(frozen=True)
class Ridge:
    """Prior sd of the weights: of ``v`` around zero, of ``W`` and ``b`` around their start."""

    outer: float = 0.5
    inner: float = 1.0


@dataclass(frozen=True, eq=False)
class Hybrid:
    """A population with a trained term.

    Parameters
    ----------
    population : Population
        With the trained weights, the gate at the range of the data, and all other estimates.
    network : str
        Path of the network.
    weights : mapping of path to float
    covariance : array
        Of the weights, in the order of ``weights``.
    before, after : Fit
        The population without the term, and with it (weights held).
    penalty : float
        Of the weights, at the end.
    """

    population: Population
    network: str
    weights: Mapping[str, float]
    covariance: Array
    before: Fit
    after: Fit
    penalty: float

    @property
    def gain(self) -> float:
        """By how much the objective fell, the penalty counted in."""
        return self.before.objective - self.after.objective - self.penalty

    def term(self, x: Any) -> Array:
        """The term [1] at inputs ``(n_points,)`` or ``(n_points, n_inputs)``."""
        return self._at(self._values(), x)

    def band(
        self, x: Any, rng: np.random.Generator, level: float = 0.9, draws: int = 400
    ) -> tuple[Array, Array]:
        """Lower and upper ends of the term's interval; the weights are normal (Laplace)."""
        mean = np.array(list(self.weights.values()))
        root = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(len(mean)))
        many = []
        for _ in range(draws):
            drawn = mean + root @ rng.standard_normal(len(mean))
            values = self._values() | dict(zip(self.weights, drawn, strict=True))
            many.append(self._at(values, x))
        low, high = np.quantile(many, (0.5 - level / 2, 0.5 + level / 2), axis=0)
        return np.asarray(low), np.asarray(high)

    def _values(self) -> dict[str, float]:
        start = f"{self.network}."
        entries = self.population.system.parameters
        return {e.path: float(e.value) for e in entries if e.path.startswith(start)}

    def _at(self, values: Mapping[str, float], x: Any) -> Array:
        points = np.atleast_2d(np.asarray(x, float).T).T
        inputs, gate = _shape(values, self.network), np.ones(len(points))
        W, b, v, low, high = (inputs[name] for name in ("W", "b", "v", "low", "high"))
        W = W.reshape(len(b), points.shape[1])
        hidden = np.tanh(points @ W.T + b) @ v
        for i in range(points.shape[1]):
            for gap in (points[:, i] - low[i], high[i] - points[:, i]):
                gate = gate * 0.5 * (1 + np.tanh(gap / inputs["width"][0]))
        return np.asarray(hidden * gate)


def _shape(values: Mapping[str, float], network: str) -> dict[str, Array]:
    found: dict[str, list[float]] = {}
    for path, value in values.items():
        name = path.removeprefix(f"{network}.").partition("[")[0]
        found.setdefault(name, []).append(value)
    return {name: np.array(column) for name, column in found.items()}


def train(
    problem: Problem,
    network: str,
    seen: Sequence[tuple[float, float]],
    *,
    ridge: Ridge | None = None,
    rounds: int = 2,
    starts: int = 3,
    rng: np.random.Generator,
    told: Callable[[float, str], None] | None = None,
) -> Hybrid:
    """Train the network at a path of the population's model.

    Parameters
    ----------
    problem : Problem
        Population and data; the network's weights are not among what it estimates.
    network : str
        Path of the part, as ``"term"``.
    seen : sequence of (low, high)
        Range of each input in the data: the term is silent outside.
    ridge : Ridge
    rounds : int
        How often weights and variances are estimated in turn.
    starts : int
        Random starts of ``W`` and ``b``; the best is kept.
    rng : numpy Generator
    told : callable, optional
        Told the share that is done.
    """
    say = told or (lambda share, text: None)
    own = ridge or Ridge()
    say(0.0, "without the term")
    before = fit(_gated(problem, network, seen))
    base = problem.with_population(_gated(problem, network, seen, before).population)
    best: tuple[float, _Trained] | None = None
    for s in range(starts):
        say((1 + s) / (2 + starts + rounds), f"start {s + 1}")
        begun = _spread(base.population, network, rng)
        trained = _Trainer(base.with_population(begun), network, own).run()
        if best is None or trained.cost < best[0]:
            best = trained.cost, trained
    assert best is not None
    trained = best[1]
    after = fit(trained.problem)
    for r in range(rounds - 1):
        say((1 + starts + r) / (2 + starts + rounds), f"round {r + 2}")
        again = problem.with_population(updated(after.problem, after.vector))
        trained = _Trainer(again, network, own, trained.prior).run()
        after = fit(trained.problem)
    return Hybrid(
        updated(after.problem, after.vector), network, trained.weights, trained.covariance,
        before, after, trained.penalty,
    )  # fmt: skip


def _gated(
    problem: Problem, network: str, seen: Sequence[tuple[float, float]], found: Fit | None = None
) -> Problem:
    """The problem with the gate at the range of the data, and estimates where there are any."""
    population = problem.population if found is None else updated(found.problem, found.vector)
    if not _paths(population, network):
        raise DataError(
            f"the model has no network {network!r}", where="train",
            expected="the path of a part of the class Network",
        )  # fmt: skip
    width = population.system.entry(f"{network}.width").value
    ends = {f"{network}.low": 0, f"{network}.high": 1}
    values = {}
    for name, k in ends.items():
        for i, pair in enumerate(seen):
            values[f"{name}[{i}]"] = pair[k] + (4.0 * width if k else -4.0 * width)
    return problem.with_population(_with(population, values))


def _with(population: Population, values: Mapping[str, float]) -> Population:
    """The population with other values of plain parameters [SI]."""
    system = population.system
    known = {e.path for e in system.parameters}
    missing = [path for path in values if path not in known]
    if missing:
        raise DataError(
            f"the model has no {missing[0]}", where="train", expected="one range for each input"
        )
    entries = tuple(replace(e, value=values.get(e.path, e.value)) for e in system.parameters)
    return replace(population, model=replace(system, parameters=entries, p=ca.SX(system.p)))


def _spread(population: Population, network: str, rng: np.random.Generator) -> Population:
    """Small weights at random, so that units differ."""
    paths = _paths(population, network)
    sizes = {"v": 0.05, "W": 1.5, "b": 1.0}
    return _with(
        population,
        {p: sizes[_kind(p, network)] * float(rng.standard_normal()) for p in paths},
    )


def _paths(population: Population, network: str) -> list[str]:
    entries = population.system.parameters
    start = f"{network}."
    return [
        e.path for e in entries
        if e.path.startswith(start) and _kind(e.path, network) in WEIGHTS
    ]  # fmt: skip


def _kind(path: str, network: str) -> str:
    return path.removeprefix(f"{network}.").partition("[")[0]


@dataclass(frozen=True, eq=False)
class _Trained:
    cost: float
    problem: Problem
    weights: dict[str, float]
    covariance: Array
    penalty: float
    prior: Array


class _Trainer:
    """One descent from the weights of a problem's population."""

    def __init__(
        self, problem: Problem, network: str, ridge: Ridge, prior: Array | None = None
    ) -> None:
        paths = _paths(problem.population, network)
        wide = Problem(
            problem.population, problem.records, [*problem.estimate, *paths], problem.hold,
            problem.blq, problem.rtol, problem.threads,
        )  # fmt: skip
        self.problem, self.wide, self.paths = problem, wide, paths
        names = [f.path for f in wide.joined.fixed]
        self.rows = [names.index(path) for path in paths]
        self.columns = [wide.course.column(j) for j in range(len(names))]
        self.x = np.array(wide.joined.inner())
        self.center = np.zeros(len(names))
        inner = [k for k, p in zip(self.rows, paths, strict=True) if _kind(p, network) != "v"]
        self.center[inner] = self.x[inner] if prior is None else prior[inner]
        precision = np.zeros(len(names))
        precision[self.rows] = 1.0 / ridge.outer**2
        precision[inner] = 1.0 / ridge.inner**2
        self.precision = precision
        self.point = wide.packing.point(wide.packing.start())

    def run(self, most: int = 60, tolerance: float = 1e-4) -> _Trained:
        """Descend until a step promises nothing more."""
        n, q = len(self.wide.course), self.wide.joined.n_effects
        x, eta, damping = self.x, np.zeros((n, q)), 1.0
        seen = self._look(x, eta)
        if not np.isfinite(seen[0]):
            raise SolveError("the model cannot be solved at the start", where="train")
        for _ in range(most):
            dx, deta, promise = self._step(seen, damping)
            if promise < tolerance:
                break
            tried = self._look(x + dx, eta + deta)
            if tried[0] < seen[0]:
                x, eta, seen = x + dx, eta + deta, tried
                damping = max(damping * 0.3, 1e-6)
            else:
                damping *= 5.0
                if damping > 1e8:
                    break
        return self._finished(x, seen)

    def _look(self, x: Array, eta: Array) -> tuple[Any, ...]:
        """Cost, gradients and curvatures by effects and by fixed numbers."""
        wide, precision = self.wide, self.point.precision
        made = wide.course.predict(x, eta)
        assert made.by is not None
        with np.errstate(all="ignore"):
            terms = wide.errors.terms(wide.course, made.f, self.point.sigma)
        q = eta.shape[1]
        g, h = made.by[..., :q], made.by[..., self.columns]
        weighted = terms.weight[..., None]
        prior = eta @ precision
        off = x - self.center
        cost = float(terms.cost.sum() + np.sum(prior * eta) + self.precision @ off**2)
        by_eta = prior + 0.5 * np.einsum("nt,ntk->nk", terms.by_f, g)
        by_x = 0.5 * np.einsum("nt,ntk->k", terms.by_f, h) + self.precision * off
        curved = precision + (g * weighted).transpose(0, 2, 1) @ g
        mixed = (g * weighted).transpose(0, 2, 1) @ h
        flat = np.einsum("nti,ntj->ij", h * weighted, h) + np.diag(self.precision)
        return (cost if np.isfinite(cost) else np.inf), by_eta, by_x, curved, mixed, flat

    def _step(self, seen: tuple[Any, ...], damping: float) -> tuple[Array, Array, float]:
        """Step by fixed numbers and effects, and what it promises."""
        _, by_eta, by_x, curved, mixed, flat = seen
        q = curved.shape[1]
        curved = curved + damping * np.eye(q) * np.einsum("nii->ni", curved)[:, :, None]
        own = np.linalg.solve(curved, np.concatenate([by_eta[..., None], mixed], axis=2))
        flat = flat + damping * np.diag(np.diag(flat) + 1e-9)
        reduced = flat - np.einsum("nki,nkj->ij", mixed, own[..., 1:])
        gradient = by_x - np.einsum("nki,nk->i", mixed, own[..., 0])
        dx = -np.linalg.solve(reduced, gradient)
        deta = -own[..., 0] - np.einsum("nki,i->nk", own[..., 1:], dx)
        promise = -float(by_x @ dx + np.sum(by_eta * deta))
        return dx, np.asarray(deta), promise

    def _finished(self, x: Array, seen: tuple[Any, ...]) -> _Trained:
        _, _, _, curved, mixed, flat = seen
        reduced = flat - np.einsum("nki,nkj->ij", mixed, np.linalg.solve(curved, mixed))
        covariance = np.linalg.inv(reduced)[np.ix_(self.rows, self.rows)]
        point = replace(self.point, fixed=x)
        population = updated(self.wide, self.wide.packing.vector(point))
        weights = {p: float(x[k]) for p, k in zip(self.paths, self.rows, strict=True)}
        penalty = float(self.precision @ (x - self.center) ** 2)
        return _Trained(
            seen[0], self.problem.with_population(population), weights, covariance, penalty,
            self.center,
        )  # fmt: skip

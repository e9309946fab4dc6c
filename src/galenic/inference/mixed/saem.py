"""Stochastic approximation of expectation maximisation (SAEM).

Random effects are drawn by Markov chains of three kernels: from the population, component by
component, and along a random direction; what maximisation needs of them is averaged with weight 1
while the chain finds its place, then with weight 1/k. Fixed effects that act as a random effect
does, covariate coefficients that act linearly on its scale included, and Omega are maximised in
closed form; other fixed effects take Newton steps on averaged derivatives; sigmas are maximised
at the current draws and averaged.

Sources: Delyon, Lavielle and Moulines, Ann Statist 27:94-128, 1999, doi:10.1214/aos/1018031103;
Kuhn and Lavielle, Comput Stat Data Anal 49:1020-1038, 2005, doi:10.1016/j.csda.2004.07.002.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from galenic.inference.algebra import Array
from galenic.inference.mixed.fit import Fit, begin
from galenic.inference.mixed.integrate import importance
from galenic.inference.mixed.marginal import Approximation
from galenic.inference.mixed.packing import Point
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.regression import design
from galenic.inference.mixed.search import Step, Told

_ACCEPTED = 0.4  # of moves, what their size is steered to
_COOLING = 0.95  # a variance falls no faster than this while cooling


@dataclass(frozen=True)
class Settings:
    """How SAEM goes.

    Parameters
    ----------
    burn, smooth : int
        Iterations with weight 1, and with falling weight.
    chains : int, optional
        Copies of each individual; by default so many that there are 50 rows.
    samples : int
        Of importance sampling for the likelihood at the end; 0 for none.
    """

    burn: int = 250
    smooth: int = 150
    chains: int | None = None
    samples: int = 1000


def saem(
    problem: Problem,
    start: Any = None,
    seed: int = 0,
    settings: Settings | None = None,
    told: Told | None = None,
) -> Fit:
    """Estimate a population by SAEM.

    Parameters
    ----------
    start : Fit, array, or mapping of name to reported number, optional
    seed : int
        Equal seeds give equal estimates.
    told : callable, optional
        Gets each Step; returning False stops it.

    Returns
    -------
    Fit
        Its objective and standard errors are those of FOCEI at the estimates; ``notes`` holds the
        likelihood by importance sampling (``importance``) and the path of the estimates.
    """
    began = process_time()
    how = settings or Settings()
    run = _Run(problem, begin(problem, start), np.random.default_rng(seed), how)
    path, message = [], "finished"
    for k in range(1, how.burn + how.smooth + 1):
        run.iterate(k)
        path.append(run.vector.copy())
        share = k / (how.burn + how.smooth)
        phase = "burn-in" if k <= how.burn else "smoothing"
        if told is not None and told(Step(k, run.cost, run.vector, share, phase)) is False:
            message = "stopped"
            break
    made = Approximation(problem.course, problem.errors, problem.packing, "focei")
    made.last = run.mean_effects()
    notes: dict[str, Any] = {"path": np.array(path), "chains": run.chains}
    found = Fit(
        problem, "saem", run.vector, made(run.vector), "focei", message == "finished", message,
        tuple(float(v) for v in run.costs), process_time() - began, notes,
    )  # fmt: skip
    if how.samples and message == "finished":
        notes["importance"] = importance(found, how.samples, seed)
    return found


class _Run:
    """The state of SAEM."""

    def __init__(
        self, problem: Problem, vector: Array, rng: np.random.Generator, how: Settings
    ) -> None:
        self.problem, self.how, self.rng = problem, how, rng
        self.course, self.errors, self.packing = problem.course, problem.errors, problem.packing
        self.point = self.packing.point(vector)
        self.vector = vector
        n, q = len(self.course), problem.joined.n_effects
        self.chains = how.chains or max(1, -(-50 // n))
        self.who = np.tile(np.arange(n), self.chains)
        self.effects = rng.standard_normal((len(self.who), q)) * np.sqrt(np.diag(self.point.omega))
        self.used = _used(problem)
        self.size = np.full(q, 0.5)
        self.block = 0.3
        self.x, self.closed = design(problem)
        self.free = self.packing.free
        closed = [j for j in self.closed if self.free[j]]
        self.x, self.closed = self.x[:, :, [self.closed.index(j) for j in closed]], closed
        self.others = [j for j in range(self.packing.n_fixed) if j not in closed and self.free[j]]
        self.first = np.zeros((n, q))
        self.second = np.zeros((q, q))
        self.shift = np.zeros((n, q))  # what fixed effects have moved the centres by
        self.score = np.zeros(len(self.others))
        self.information = np.eye(len(self.others))
        self.costs: list[float] = []
        self.data = self._cost(self.effects)

    @property
    def cost(self) -> float:
        """Minus twice the log likelihood of the data given the current draws, per chain."""
        return float(self.data.sum() / self.chains)

    def _cost(self, effects: Array, rows: npt.NDArray[np.bool_] | None = None) -> Array:
        who = self.who if rows is None else self.who[rows]
        made = self.course.predict(self.point.fixed, effects, who, slopes=False)
        cost = self.errors.cost(self.course, made.f, self.point.sigma, who).sum(axis=1)
        return np.where(np.isfinite(cost), cost, np.inf)

    def iterate(self, k: int) -> None:
        """Draw, average, maximise."""
        burning = k <= self.how.burn
        weight = 1.0 if burning else 1.0 / (k - self.how.burn)
        self._draw(3 if k == 1 else 1)
        self._average(weight)
        self._maximise(weight, cooling=k <= self.how.burn // 2)
        self.vector = self.packing.vector(self.point)
        self.data = self._cost(self.effects)
        self.costs.append(self.cost)

    def _draw(self, rounds: int) -> None:
        """Moves of the chains."""
        if not self.effects.shape[1]:
            return
        root = np.asarray(np.linalg.cholesky(self.point.omega))
        for _ in range(rounds):
            for _ in range(2):
                self._from_population(root)
            for k in range(self.effects.shape[1]):
                move = np.zeros_like(self.effects)
                step = self.size[k] * np.sqrt(self.point.omega[k, k])
                move[:, k] = step * self.rng.standard_normal(len(move))
                share = self._walk(move)
                self.size[k] *= 1.0 + 0.4 * (share - _ACCEPTED)
            move = self.block * self.rng.standard_normal(self.effects.shape) @ root.T
            share = self._walk(move)
            self.block *= 1.0 + 0.4 * (share - _ACCEPTED)

    def _from_population(self, root: Array) -> None:
        trial = self.rng.standard_normal(self.effects.shape) @ root.T
        cost = self._cost(trial)
        self._take(trial, cost, self.data - cost)

    def _walk(self, move: Array) -> float:
        trial = self.effects + move
        cost = self._cost(trial)
        precision = self.point.precision
        prior = [np.sum((e @ precision) * e, axis=1) for e in (self.effects, trial)]
        return self._take(trial, cost, self.data - cost + prior[0] - prior[1])

    def _take(self, trial: Array, cost: Array, gain: Array) -> float:
        """Metropolis: accept by the gain in minus twice the log density."""
        with np.errstate(invalid="ignore"):
            good = np.log(self.rng.random(len(gain))) < 0.5 * gain
        self.effects[good], self.data[good] = trial[good], cost[good]
        return float(good.mean())

    def _average(self, weight: float) -> None:
        n, q = self.first.shape
        values = self.effects.reshape(self.chains, n, q) + self.shift
        first = values.mean(axis=0)
        keep = self.used[None, :, :]
        second = np.einsum("cni,cnj->ij", values * keep, values * keep) / self.chains
        self.first += weight * (first - self.first)
        self.second += weight * (second - self.second)

    def _maximise(self, weight: float, cooling: bool) -> None:
        fixed = self.point.fixed.copy()
        moved = self._closed_form(fixed)
        omega = self._omega(cooling)
        self.point = Point(fixed, omega, self.point.sigma)
        self.effects -= np.tile(moved, (self.chains, 1))
        self.shift += moved
        if self.others:
            fixed[self.others] += self._newton(weight)
            self.point = Point(fixed, omega, self.point.sigma)
        self.point = Point(fixed, omega, self._sigma(weight, cooling))

    def _closed_form(self, fixed: Array) -> Array:
        """Move the fixed effects of the regression; how far that moves centres (n, q)."""
        if not self.closed:
            return np.zeros_like(self.first)
        precision = self.point.precision
        gap = self.first - self.shift
        left = np.einsum("nqa,qr,nrb->ab", self.x, precision, self.x)
        right = np.einsum("nqa,qr,nr->a", self.x, precision, gap)
        step = np.linalg.solve(left, right)
        fixed[self.closed] += step
        return np.asarray(self.x @ step)

    def _omega(self, cooling: bool) -> Array:
        """Omega of the averages around the new centres."""
        n_eta, joined = self.problem.joined.n_eta, self.problem.joined
        centre = self._centre() * self.used
        first = self.first * self.used
        raw = self.second - first.T @ centre - centre.T @ first + centre.T @ centre
        old = self.point.omega
        omega = np.zeros_like(old)
        omega[:n_eta, :n_eta] = self.packing.masked(raw[:n_eta, :n_eta] / len(self.first))
        counts = self.used.sum(axis=0)
        for k in range(len(self.packing.kappas)):
            places = [n_eta + k * joined.occasions + o for o in range(joined.occasions)]
            value = sum(raw[p, p] for p in places) / max(counts[places].sum(), 1)
            omega[places, places] = value
        floor = _COOLING * np.diag(old) if cooling else np.full(len(old), 1e-10)
        variance = np.maximum(np.diag(omega), floor)
        grown = np.sqrt(variance / np.maximum(np.diag(omega), 1e-300))
        omega = omega * np.outer(grown, grown)
        omega[np.arange(len(old)), np.arange(len(old))] = variance
        return self._held(omega)

    def _centre(self) -> Array:
        """Where the regression puts the centres, on the scale of the averages."""
        if not self.closed:
            return self.shift
        gap = self.first - self.shift
        precision = self.point.precision
        left = np.einsum("nqa,qr,nrb->ab", self.x, precision, self.x)
        right = np.einsum("nqa,qr,nr->a", self.x, precision, gap)
        return np.asarray(self.shift + self.x @ np.linalg.solve(left, right))

    def _held(self, omega: Array) -> Array:
        """Elements that are not estimated stay as they are."""
        first = self.packing.n_fixed
        last = first + self.packing.n_omega + len(self.packing.kappas)
        if self.free[first:last].all():
            return omega
        vector = self.packing.vector(Point(self.point.fixed, omega, self.point.sigma))
        vector[first:last] = np.where(self.free, vector, self.vector)[first:last]
        return self.packing.point(vector).omega

    def _newton(self, weight: float) -> Array:
        """A step of the other fixed effects on averaged derivatives."""
        made = self.course.predict(self.point.fixed, self.effects, self.who)
        terms = self.errors.terms(self.course, made.f, self.point.sigma, who=self.who)
        assert made.by is not None
        columns = made.by[..., [self.course.column(j) for j in self.others]]
        good = np.isfinite(terms.cost).all(axis=1)
        g, slope, share = columns[good], terms.by_f[good], terms.weight[good]
        score = 0.5 * np.einsum("nt,ntd->d", slope, g) / self.chains
        information = np.einsum("nt,ntd,nte->de", share, g, g) / self.chains
        self.score += weight * (score - self.score)
        start = np.allclose(self.information, np.eye(len(self.others)))
        pace = 1.0 if start else weight
        self.information += pace * (information - self.information)
        step = -np.linalg.solve(
            self.information + 1e-9 * np.trace(self.information) * np.eye(len(score)), score
        )
        if weight < 1.0:
            step = step * weight if weight < 0.5 else 0.5 * step
            self.score *= 0.0
        return np.clip(0.7 * step, -0.5, 0.5)

    def _sigma(self, weight: float, cooling: bool) -> Array:
        """Sigmas that fit the draws best, averaged as variances."""
        free = self.free[-len(self.errors.names) :]
        made = self.course.predict(self.point.fixed, self.effects, self.who, slopes=False)

        def function(s: Array) -> tuple[float, Array]:
            whole = np.where(free, s, self.point.sigma)
            terms = self.errors.terms(self.course, made.f, whole, who=self.who)
            good = np.isfinite(terms.cost).all(axis=1)
            by = terms.by_s[good].sum(axis=(0, 1)) * free
            return float(terms.cost[good].sum()) / len(self.who), by / len(self.who)

        start, few = self.point.sigma, {"maxiter": 8}
        found = minimize(function, start, jac=True, method="BFGS", options=few)
        new = np.exp(2 * np.clip(found.x, self.point.sigma - 1.0, self.point.sigma + 1.0))
        old = np.exp(2 * self.point.sigma)
        if cooling:
            new = np.maximum(new, _COOLING * old)
        mixed = 0.5 * np.log(old + weight * (new - old))
        return np.where(free, mixed, self.point.sigma)

    def mean_effects(self) -> Array:
        """Averages of the effects, to begin a search of modes from."""
        return np.where(self.used, self.first - self.shift, 0.0)


def _used(problem: Problem) -> npt.NDArray[np.bool_]:
    """Effects (n, q) that act on an individual's observations: occasions that it has."""
    joined, people = problem.joined, problem.course.people
    used = np.ones((len(people), joined.n_effects), bool)
    for i, one in enumerate(people):
        for k in range(len(problem.population.occasions)):
            first = joined.n_eta + k * joined.occasions
            used[i, first : first + joined.occasions] = False
            used[i, first + np.unique(one.occasions)] = True
    return used

"""The full posterior of a population by the no-U-turn sampler, with exact gradients.

Random effects are non-centred, eta = L z with z standard normal. Priors: fixed effects normal on
their search scale around the population's values; spreads of random effects half-normal;
correlations LKJ (Lewandowski, Kurowicka and Joe, J Multivar Anal 100:1989-2001, 2009,
doi:10.1016/j.jmva.2009.04.008); sigmas log-normal around the population's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import process_time

import casadi as ca
import numpy as np

from galenic.errors import UnknownName
from galenic.inference.algebra import Array
from galenic.inference.mixed.fit import Fit, begin
from galenic.inference.mixed.nuts import Sampler, effective, split_r
from galenic.inference.mixed.packing import Packing, Point
from galenic.inference.mixed.problem import Problem


@dataclass(frozen=True)
class Priors:
    """What is believed before the data.

    Parameters
    ----------
    fixed : mapping of name to (mean, sd)
        On the search scale (log for positive parameters, in declared units).
    fixed_sd : float
        Sd around the population's values where nothing else is said.
    spread : float
        Scale of the half-normal prior of each sd of random effects.
    correlation : float
        Shape of LKJ; 1 is uniform, above it correlations near zero are favoured.
    sigma_sd : float
        Sd of the logarithm of each residual sd.
    """

    fixed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fixed_sd: float = 2.0
    spread: float = 1.0
    correlation: float = 2.0
    sigma_sd: float = 1.0


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """Draws of a population.

    Parameters
    ----------
    names : tuple of str
    values : array (chains, draws, numbers)
        As reported: declared units, variances, sd of errors.
    effects : array (chains, draws, n, q)
    diverged : int
        Divergent paths; some mean that the posterior was not explored.
    """

    names: tuple[str, ...]
    values: Array
    effects: Array
    diverged: int
    accepted: float
    seconds: float

    @property
    def rhat(self) -> dict[str, float]:
        """Split R of each number; above 1.01 chains do not agree yet."""
        return dict(zip(self.names, map(float, split_r(self.values)), strict=True))

    @property
    def effective(self) -> dict[str, float]:
        """Effective number of draws."""
        return dict(zip(self.names, map(float, effective(self.values)), strict=True))

    def mean(self) -> dict[str, float]:
        """Posterior means."""
        flat = self.values.reshape(-1, len(self.names))
        return dict(zip(self.names, map(float, flat.mean(axis=0)), strict=True))

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Equal-tailed credible interval."""
        if name not in self.names:
            raise UnknownName.among("number", name, self.names)
        column = self.values[..., self.names.index(name)].ravel()
        low, high = np.quantile(column, ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)


def bayes(
    problem: Problem,
    start: Fit | None = None,
    priors: Priors | None = None,
    draws: int = 500,
    warmup: int = 500,
    chains: int = 2,
    seed: int = 0,
    told: Callable[[float], bool | None] | None = None,
) -> PosteriorDraws:
    """Sample the posterior.

    Parameters
    ----------
    start : Fit, optional
        Where chains begin (spread by its standard errors); the population's values if left out.
    told : callable, optional
        Gets the share of the work done; returning False stops.
    """
    began = process_time()
    density = _Density(problem, priors or Priors())
    vector = begin(problem, start)
    effects = np.zeros((len(problem.course), problem.joined.n_effects))
    if start is not None:
        effects = start.effects
    values, etas, diverged, accepted = [], [], 0, []
    for c in range(chains):
        rng = np.random.default_rng([seed, c])
        first = density.place(vector, effects)
        first = first + 0.05 * rng.standard_normal(len(first))
        sampler = Sampler(density, density.metric(), rng)
        part = None if told is None else (lambda s, c=c: told((c + s) / chains))
        chain = sampler.run(first, draws, warmup, part)
        taken = [density.taken(row) for row in chain.draws]
        values.append([problem.packing.natural(v) for v, _ in taken])
        etas.append([e for _, e in taken])
        diverged += chain.diverged
        accepted.append(chain.accepted)
    shortest = min(len(v) for v in values)
    return PosteriorDraws(
        tuple(problem.names),
        np.array([v[:shortest] for v in values]),
        np.array([e[:shortest] for e in etas]),
        diverged, float(np.mean(accepted)), process_time() - began,
    )  # fmt: skip


class _Density:
    """Logarithm of the posterior of (fixed, spreads and correlations, sigmas, z)."""

    def __init__(self, problem: Problem, priors: Priors) -> None:
        self.problem, self.priors, self.packing = problem, priors, problem.packing
        self.base = problem.packing.start()
        self.n_fixed = self.packing.n_fixed
        self.n_spread = self.packing.n_omega + len(self.packing.kappas)
        self.size = self.packing.size
        self.shape = (len(problem.course), problem.joined.n_effects)
        self.root = _root(self.packing, priors)
        self.mean = np.array(
            [
                priors.fixed.get(f.path, (x, 0.0))[0]
                for f, x in zip(problem.joined.fixed, self.base, strict=False)
            ]
        )
        self.sd = np.array(
            [priors.fixed.get(f.path, (0.0, priors.fixed_sd))[1] for f in problem.joined.fixed]
        )
        for name in priors.fixed:
            if name not in [f.path for f in problem.joined.fixed]:
                raise UnknownName.among("fixed effect", name, problem.names, where="priors")
        self.free = self.packing.free

    def place(self, vector: Array, effects: Array) -> Array:
        """The sampler's coordinates of a vector and effects."""
        point = self.packing.point(vector)
        lower = np.linalg.cholesky(point.omega) if self.shape[1] else point.omega
        z = np.linalg.solve(lower, effects.T).T if self.shape[1] else effects
        spread = _coordinates(self.packing, point.omega)
        return np.concatenate([point.fixed, spread, point.sigma, z.ravel()])

    def metric(self) -> Array:
        """A first guess of variances."""
        numbers = np.full(self.size, 0.02)
        return np.concatenate([numbers, np.ones(self.shape[0] * self.shape[1])])

    def _parts(self, place: Array) -> tuple[Array, Array, Array, Array]:
        numbers = np.where(self.free, place[: self.size], self._held)
        ends = [self.n_fixed, self.n_fixed + self.n_spread]
        fixed, spread, sigma = np.split(numbers, ends)
        return fixed, spread, sigma, place[self.size :].reshape(self.shape)

    @property
    def _held(self) -> Array:
        point = self.packing.point(self.base)
        return np.concatenate([point.fixed, _coordinates(self.packing, point.omega), point.sigma])

    def taken(self, place: Array) -> tuple[Array, Array]:
        """The search vector and the effects of a draw."""
        fixed, spread, sigma, z = self._parts(place)
        lower = np.array(self.root(spread)[0])
        point = Point(fixed, lower @ lower.T, sigma)
        return self.packing.vector(point), z @ lower.T

    def __call__(self, place: Array) -> tuple[float, Array]:
        fixed, spread, sigma, z = self._parts(place)
        lower, prior, by_prior, by_lower = (np.array(part) for part in self.root(spread))
        effects = z @ lower.T
        course = self.problem.course
        with np.errstate(all="ignore"):
            made = course.predict(fixed, effects)
            terms = self.problem.errors.terms(course, made.f, sigma)
        assert made.by is not None
        value = -0.5 * float(terms.cost.sum())
        if not np.isfinite(value):
            return -np.inf, np.zeros_like(place)
        slope = -0.5 * np.einsum("nt,ntd->nd", terms.by_f, made.by)
        by_eta = slope[:, : self.shape[1]]
        columns = [course.column(j) for j in range(self.n_fixed)]
        gap = (fixed - self.mean) / self.sd
        by_fixed = slope[:, columns].sum(axis=0) - gap / self.sd
        outer = by_eta.T @ z
        by_spread = by_prior.ravel() + by_lower.T @ outer.T.ravel()
        off = sigma - self.base[-len(sigma) :]
        by_sigma = -0.5 * terms.by_s.sum(axis=(0, 1)) - off / self.priors.sigma_sd**2
        value += float(prior.item()) - 0.5 * float(np.sum(z**2) + np.sum(gap**2))
        value -= 0.5 * float(np.sum((off / self.priors.sigma_sd) ** 2))
        numbers = np.concatenate([by_fixed, by_spread, by_sigma]) * self.free
        gradient = np.concatenate([numbers, (by_eta @ lower - z).ravel()])
        if not np.isfinite(gradient).all():
            return -np.inf, np.zeros_like(place)
        held = place[: self.size][~self.free]
        gradient[: self.size][~self.free] = -held
        return value - 0.5 * float(held @ held), gradient


def _root(packing: Packing, priors: Priors) -> ca.Function:
    """Coordinates -> Cholesky factor of Omega, log prior, its slope, slope of vec(factor)."""
    n, joined = packing.joined.n_eta, packing.joined
    u = ca.SX.sym("u", packing.n_omega + len(packing.kappas))
    lower = ca.SX.zeros(joined.n_effects, joined.n_effects)
    prior = ca.SX(0)
    at = {place: k for k, place in enumerate(packing.places)}
    for block in packing.blocks:
        for row, i in enumerate(block):
            sd = ca.exp(u[at[i, i]])
            prior += u[at[i, i]] - 0.5 * (sd / priors.spread) ** 2
            rest = ca.SX(1)
            for j in block[:row]:
                share = ca.tanh(u[at[i, j]])
                entry = share * ca.sqrt(rest)
                prior += ca.log(1 - share**2) + 0.5 * ca.log(rest)
                lower[i, j] = sd * entry
                rest -= entry**2
            lower[i, i] = sd * ca.sqrt(rest)
            if row:
                power = len(block) - row - 1 + 2 * (priors.correlation - 1)
                prior += 0.5 * power * ca.log(rest)
    for k in range(len(packing.kappas)):
        sd = ca.exp(u[packing.n_omega + k])
        prior += u[packing.n_omega + k] - 0.5 * (sd / priors.spread) ** 2
        for o in range(joined.occasions):
            place = n + k * joined.occasions + o
            lower[place, place] = sd
    outs = [lower, prior, ca.gradient(prior, u), ca.jacobian(ca.vec(lower), u)]
    return ca.Function("root", [u], [ca.densify(out) for out in outs])


def _coordinates(packing: Packing, omega: Array) -> Array:
    """The coordinates of ``_root`` of an Omega."""
    n, joined = packing.joined.n_eta, packing.joined
    sd = np.sqrt(np.diag(omega))
    correlation = omega / np.outer(sd, sd) if len(sd) else omega
    found = np.zeros(packing.n_omega + len(packing.kappas))
    at = {place: k for k, place in enumerate(packing.places)}
    for block in packing.blocks:
        lower = np.linalg.cholesky(correlation[np.ix_(block, block)])
        for row, i in enumerate(block):
            found[at[i, i]] = np.log(sd[i])
            rest = 1.0
            for column, j in enumerate(block[:row]):
                found[at[i, j]] = np.arctanh(lower[row, column] / np.sqrt(rest))
                rest -= lower[row, column] ** 2
    for k in range(len(packing.kappas)):
        found[packing.n_omega + k] = np.log(sd[n + k * joined.occasions])
    return found

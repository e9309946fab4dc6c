"""The full posterior of a population by the no-U-turn sampler, with exact gradients.

Chains run side by side in coordinates in which the posterior is nearly standard normal around the
modes: numbers by their covariance, effects by their own curvature after they have followed the
numbers. Effects are sampled as they are, or, where data tell little of them, as z of eta = L z
(Papaspiliopoulos, Roberts and Skold, Stat Sci 22:59-73, 2007, doi:10.1214/088342307000000014).

Priors: fixed effects normal on
their search scale around the population's values; spreads of random effects half-normal;
correlations LKJ (Lewandowski, Kurowicka and Joe, J Multivar Anal 100:1989-2001, 2009,
doi:10.1016/j.jmva.2009.04.008); sigmas log-normal around the population's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import process_time

import casadi as ca
import numpy as np

from galenic.errors import UnknownName
from galenic.inference.algebra import Array
from galenic.inference.mixed.fit import Fit, evaluate
from galenic.inference.mixed.nuts import effective, sample, split_r
from galenic.inference.mixed.packing import Packing, Point
from galenic.inference.mixed.problem import Problem

_SHRUNK = 0.5  # above this share data hardly tell an effect from zero


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
        Around which chains begin, spread as the posterior would be if it were normal; the
        population's values if left out.
    told : callable, optional
        Gets the share of the work done; returning False stops.
    """
    began = process_time()
    at = evaluate(problem) if start is None else start
    density = Density(problem, priors or Priors(), _tell(at))
    white = White(density, at)
    rngs = [np.random.default_rng([seed, c]) for c in range(chains)]
    made = sample(white, white.starts(rngs), rngs, draws, warmup, told)
    values, etas = [], []
    for chain in made:
        taken = [density.taken(row) for row in white.places(chain.draws)]
        values.append([problem.packing.natural(v) for v, _ in taken])
        etas.append([e for _, e in taken])
    diverged = sum(chain.diverged for chain in made)
    accepted = [chain.accepted for chain in made]
    shortest = min(len(v) for v in values)
    return PosteriorDraws(
        tuple(problem.names),
        np.array([v[:shortest] for v in values]),
        np.array([e[:shortest] for e in etas]),
        diverged, float(np.mean(accepted)), process_time() - began,
    )  # fmt: skip


def _tell(at: Fit) -> bool:
    """Whether data tell enough of each effect for it to be sampled as it is."""
    return bool(at.shrinkage) and max(at.shrinkage.values()) < _SHRUNK


class Density:
    """Logarithm of the posterior of (fixed, spreads and correlations, sigmas, effects or z).

    Parameters
    ----------
    centred : bool
        Whether the last coordinates are the effects themselves.
    """

    def __init__(self, problem: Problem, priors: Priors, centred: bool) -> None:
        self.problem, self.priors, self.packing = problem, priors, problem.packing
        self.centred = centred
        self.base = problem.packing.start()
        self.n_fixed = self.packing.n_fixed
        self.n_spread = self.packing.n_omega + len(self.packing.kappas)
        self.size = self.packing.size
        self.shape = (len(problem.course), problem.joined.n_effects)
        self.root = _root(self.packing, priors)
        names = [f.path for f in problem.joined.fixed]
        for name in priors.fixed:
            if name not in names:
                raise UnknownName.among("fixed effect", name, problem.names, where="priors")
        given = [
            priors.fixed.get(name, (x, priors.fixed_sd))
            for name, x in zip(names, self.base, strict=False)
        ]
        self.mean: Array = np.array([mean for mean, _ in given])
        self.sd: Array = np.array([sd for _, sd in given])
        self.free = self.packing.free
        self.held = self.numbers(self.base)

    def numbers(self, vector: Array) -> Array:
        """The sampler's coordinates of a vector."""
        point = self.packing.point(vector)
        return np.concatenate([point.fixed, _coordinates(self.packing, point.omega), point.sigma])

    def place(self, vector: Array, effects: Array) -> Array:
        """The coordinates of a vector and effects."""
        last = effects
        if not self.centred and self.shape[1]:
            lower = np.linalg.cholesky(self.packing.point(vector).omega)
            last = np.linalg.solve(lower, effects.T).T
        return np.concatenate([self.numbers(vector), last.ravel()])

    def _parts(self, place: Array) -> tuple[Array, Array, Array, Array]:
        numbers = np.where(self.free, place[: self.size], self.held)
        ends = [self.n_fixed, self.n_fixed + self.n_spread]
        fixed, spread, sigma = np.split(numbers, ends)
        return fixed, spread, sigma, place[self.size :].reshape(self.shape)

    def taken(self, place: Array) -> tuple[Array, Array]:
        """The search vector and the effects of a draw."""
        fixed, spread, sigma, last = self._parts(place)
        lower = np.array(self.root(spread)[0])
        point = Point(fixed, lower @ lower.T, sigma)
        return self.packing.vector(point), last if self.centred else last @ lower.T

    def __call__(self, places: Array) -> tuple[Array, Array]:
        """Logarithms (m,) and gradients (m, size) at points; -inf where there is no answer."""
        course, (n, q) = self.problem.course, self.shape
        parts = [self._parts(place) for place in places]
        fixed, _, sigma, last = (np.array(part) for part in zip(*parts, strict=True))
        roots = [[np.array(x) for x in self.root(spread)] for _, spread, _, _ in parts]
        lower = np.array([root[0] for root in roots]).reshape(-1, q, q)
        effects = last if self.centred else last @ lower.transpose(0, 2, 1)
        m = len(places)
        who = np.tile(np.arange(n), m)
        with np.errstate(all="ignore"):
            made = course.predict(np.repeat(fixed, n, axis=0), effects.reshape(m * n, q), who)
            terms = self.problem.errors.terms(course, made.f, np.repeat(sigma, n, axis=0), who=who)
        assert made.by is not None
        values = -0.5 * terms.cost.reshape(m, -1).sum(axis=1)
        slope = -0.5 * np.einsum("nt,ntd->nd", terms.by_f, made.by).reshape(m, n, -1)
        by_eta = slope[..., :q]
        gap, off = (fixed - self.mean) / self.sd, sigma - self.held[self.size - sigma.shape[1] :]
        columns = [course.column(j) for j in range(self.n_fixed)]
        by_fixed = slope[..., columns].sum(axis=1) - gap / self.sd
        by_sigma = -0.5 * terms.by_s.sum(axis=1).reshape(m, n, -1).sum(axis=1)
        by_sigma -= off / self.priors.sigma_sd**2
        if self.centred:
            inverse = np.linalg.inv(lower)
            z = last @ inverse.transpose(0, 2, 1)
            pulled = z @ inverse
            by_last = by_eta - pulled
            diagonal = np.diagonal(lower, axis1=1, axis2=2)
            by_lower = pulled.transpose(0, 2, 1) @ z - n * np.eye(q) / diagonal[:, None, :]
            values = values - n * np.log(diagonal).sum(axis=1)
        else:
            z, by_last = last, by_eta @ lower - last
            by_lower = by_eta.transpose(0, 2, 1) @ z
        by_spread = np.array(
            [
                root[2].ravel() + root[3].T @ one.T.ravel()
                for root, one in zip(roots, by_lower, strict=True)
            ]
        ).reshape(m, self.n_spread)
        values += [float(root[1].item()) for root in roots]
        values -= 0.5 * (np.sum(z**2, axis=(1, 2)) + np.sum(gap**2, axis=1))
        values -= 0.5 * np.sum((off / self.priors.sigma_sd) ** 2, axis=1)
        held = places[:, : self.size] * ~self.free
        values -= 0.5 * np.sum(held**2, axis=1)
        numbers = np.concatenate([by_fixed, by_spread, by_sigma], axis=1) * self.free - held
        gradients = np.concatenate([numbers, by_last.reshape(m, -1)], axis=1)
        good = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
        return np.where(good, values, -np.inf), np.where(good[:, None], gradients, 0.0)


class White:
    """A density in coordinates in which it is nearly standard normal around estimates.

    Effects (or z) are ``their modes + follow (numbers - estimates) + root u``; numbers are
    ``estimates + spread v``. The map is linear, so the density needs no correction.
    """

    def __init__(self, density: Density, at: Fit) -> None:
        self.density = density
        self.middle = density.place(at.vector, at.effects)
        self.middle[: density.size][~density.free] = 0.0
        by_numbers, by_last = self._curvature()
        values, vectors = np.linalg.eigh(by_last)
        values = np.maximum(values, 1e-6 * np.maximum(values[..., -1:], 1e-12))
        self.root = vectors / np.sqrt(values)[:, None, :]
        self.follow = -(self.root @ self.root.transpose(0, 2, 1)) @ by_numbers
        self.spread = self._numbers(at)

    def _curvature(self) -> tuple[Array, Array]:
        """Minus the second derivatives of each effect by numbers (n, q, p) and effects."""
        (n, q), size, step = self.density.shape, self.density.size, 1e-4
        moves = np.zeros((size + q, len(self.middle)))
        moves[np.arange(size), np.arange(size)] = step
        for k in range(q):
            moves[size + k, size + k :: q] = step
        every = np.concatenate([self.middle + moves, self.middle - moves])
        slopes = self.density(every)[1][:, size:].reshape(2, size + q, n, q)
        change = -(slopes[0] - slopes[1]).transpose(1, 2, 0) / (2 * step)
        change[..., :size] *= self.density.free
        by_last = change[..., size:]
        return change[..., :size], 0.5 * (by_last + by_last.transpose(0, 2, 1))

    def _numbers(self, at: Fit) -> Array:
        """A root of the covariance of the numbers: that of the estimates, and the priors."""
        density, step = self.density, 1e-5
        free = np.flatnonzero(density.free)
        found = np.eye(density.size)
        covariance = at.covariance()
        prior = np.ones(density.size)
        prior[: density.n_fixed] = density.sd**-2
        prior[density.size - len(density.problem.errors.names) :] = density.priors.sigma_sd**-2
        if not np.isfinite(covariance).all():
            found[free, free] = 0.15
            return found
        moves = step * np.eye(density.size)[free]
        jacobian = np.array(
            [density.numbers(at.vector + one) - density.numbers(at.vector - one) for one in moves]
        ).T[free] / (2 * step)
        covariance = jacobian @ covariance @ jacobian.T
        both = np.linalg.inv(np.linalg.inv(covariance) + np.diag(prior[free]))
        found[np.ix_(free, free)] = np.linalg.cholesky(0.5 * (both + both.T))
        return found

    def places(self, points: Array) -> Array:
        """The coordinates of the density of points (m, size)."""
        size, shape = self.density.size, self.density.shape
        moved = points[:, :size] @ self.spread.T
        last = np.einsum("nij,mnj->mni", self.root, points[:, size:].reshape(-1, *shape))
        last += np.einsum("nip,mp->mni", self.follow, moved)
        whole: Array = self.middle + np.concatenate([moved, last.reshape(len(points), -1)], axis=1)
        return whole

    def __call__(self, points: Array) -> tuple[Array, Array]:
        """Logarithms and gradients in the coordinates of the sampler."""
        values, slopes = self.density(self.places(points))
        size = self.density.size
        last = slopes[:, size:].reshape(-1, *self.density.shape)
        numbers = slopes[:, :size] + np.einsum("nip,mni->mp", self.follow, last)
        own = np.einsum("nij,mni->mnj", self.root, last).reshape(len(points), -1)
        return values, np.concatenate([numbers @ self.spread, own], axis=1)

    def starts(self, rngs: Sequence[np.random.Generator]) -> Array:
        """A first point for each chain, nearer to the middle where the model has no answer."""
        points = np.array([rng.standard_normal(len(self.middle)) for rng in rngs])
        for _ in range(20):
            lost = ~np.isfinite(self(points)[0])
            if not lost.any():
                break
            points[lost] *= 0.5
        return points


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

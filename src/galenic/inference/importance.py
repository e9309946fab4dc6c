"""The posterior of an individual in full, by importance sampling around the mode.

Laplace's normal can mislead where levels are few or errors depend on the prediction. Draws from a
Student t around the mode, weighted by the posterior over that density, need no such assumption;
the mean weight is the evidence p(levels), by which models are compared.

Source: Geweke, Econometrica 57:1317-1339, 1989, doi:10.2307/1913710.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from galenic.clock import seconds
from galenic.inference.algebra import Array
from galenic.inference.belief import Belief, Ensemble, Gaussian, Posterior, square_root
from galenic.inference.evidence import Bundle
from galenic.inference.map import MAP, Level
from galenic.inference.members import along, goes_together

FREEDOM = 5.0
WIDER = 1.1
"""Degrees of freedom and width of the proposal: its tails must be heavier than the posterior's."""


@dataclass(frozen=True)
class Sampled:
    """A posterior as weighted individuals.

    Parameters
    ----------
    ensemble : Ensemble
        Its ``effective_size`` tells how far Laplace's normal is from the truth.
    log_evidence : float
        ln p(levels), levels in SI; ``error`` is its sampling sd.
    """

    ensemble: Ensemble
    log_evidence: float
    error: float


def sampled(estimator: MAP, belief: Belief, n: int, rng: np.random.Generator) -> Sampled:
    """The posterior given the belief's evidence.

    Parameters
    ----------
    belief : Posterior
        Solved by ``estimator``.
    n : int
        Draws.
    """
    own, start = estimator.own(belief)
    prior, precision = estimator.prior(own)
    first, k = own.centre.size - prior.size, prior.size
    root = WIDER * square_root(own.spread[first:, first:])
    normal = rng.standard_normal((n, k))
    stretched = normal * np.sqrt(FREEDOM / rng.chisquare(FREEDOM, n))[:, None]
    phi = own.centre[first:] + stretched @ root.T
    vectors, levels = _likelihood(estimator, own, start, phi)
    eta = phi - prior
    joint = levels - 0.5 * np.einsum("ni,ij,nj->n", eta, precision, eta)
    joint += 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * k * np.log(2 * np.pi)
    weights = joint - _student(stretched, root)
    members = np.array([estimator.model.natural(row) for row in vectors])
    share = np.exp(weights - weights.max())
    ensemble = Ensemble(own.time, own.axes, members, share, own.context)
    error = float(np.std(share) / np.mean(share) / np.sqrt(n))
    return Sampled(ensemble, float(logsumexp(weights) - np.log(n)), error)


def _student(stretched: Array, root: Array) -> Array:
    """Log density of the proposal at draws that are ``stretched`` in the coordinates of root."""
    k, nu = stretched.shape[1], FREEDOM
    scale = gammaln((nu + k) / 2) - gammaln(nu / 2) - 0.5 * k * np.log(nu * np.pi)
    size = np.linalg.slogdet(root)[1]
    density = -0.5 * (nu + k) * np.log1p(np.sum(stretched**2, axis=1) / nu)
    return np.asarray(scale - size + density)


def _likelihood(estimator: MAP, own: Posterior, start: Gaussian, phi: Array) -> tuple[Array, Array]:
    """Vectors ``(n, size)`` after the evidence, and the log likelihood of each draw."""
    if not goes_together(estimator.model, start):
        replays = [estimator.replay(own, row) for row in phi]
        logs = [_log_likelihood(replay.levels) for replay in replays]
        return np.array([replay.w for replay in replays]), np.array(logs)
    total, w = np.zeros(len(phi)), np.empty((0, 0))
    slopes = estimator.start_regression(start)
    for item, here, w in along(estimator.model, start, own.evidence, phi, slopes):
        if isinstance(item, Bundle):
            total += _bundle(estimator, item, here, w)
    return w, total


def _log_likelihood(levels: Sequence[Level]) -> float:
    return float(sum(-0.5 * (r * r / v + np.log(2 * np.pi * v)) for r, v, _, _ in levels))


def _bundle(estimator: MAP, bundle: Bundle, here: Gaussian, w: Array) -> Array:
    """Log likelihood of the levels of one time for each draw."""
    model, rows = estimator.model, [o.quantity for o in bundle.observations]
    u = model.input_vector(here.context)
    t = seconds(here.time - here.context.origin)
    expected = np.array([model.measure(row, u, t, rows) for row in w])
    total = np.zeros(len(w))
    for o, f in zip(bundle.observations, expected.T, strict=True):
        variance = np.array([estimator.variance(o, float(value))[0] for value in f])
        total -= 0.5 * ((o.value - f) ** 2 / variance + np.log(2 * np.pi * variance))
    return total

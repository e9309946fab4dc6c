"""The posterior of theophylline against integrals that know nothing of the sampler."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from galenic.inference.mixed.bayes import Priors, bayes
from galenic.inference.mixed.fit import fit
from galenic.inference.mixed.marginal import Approximation
from galenic.inference.mixed.problem import Problem
from galenic.library.pk.populations import theophylline

sys.path.insert(0, str(Path(__file__).parent))
from population_cases import THEOPHYLLINE, records


@pytest.mark.slow
def test_posterior_of_theophylline(shared_data: Path) -> None:
    """Effects are integrated out by quadrature, the seven numbers by importance sampling."""
    problem = Problem(theophylline(), records("theo_sd.csv", THEOPHYLLINE, shared_data))
    found = fit(problem)
    base, priors = problem.start(), Priors()
    marginal = Approximation(problem.course, problem.errors, problem.packing, "agq", 3)
    rng, draws = np.random.default_rng(4), 2000
    root = 1.3 * np.linalg.cholesky(found.covariance())
    t = rng.standard_normal((draws, len(base))) / np.sqrt(rng.chisquare(8, (draws, 1)) / 8)
    logs, values = np.empty(draws), np.empty((draws, len(base)))
    for k, row in enumerate(t):
        xi = found.vector + root @ row
        values[k] = problem.packing.natural(xi)
        fixed, spread, sigma = np.split(xi - base * [1, 1, 1, 0, 0, 0, 1], [3, 6])
        prior = -0.5 * np.sum((fixed / priors.fixed_sd) ** 2) - 0.5 * np.sum(sigma**2)
        prior += np.sum(spread - 0.5 * np.exp(2 * spread) / priors.spread**2)
        proposal = -(8 + len(base)) / 2 * np.log1p(row @ row / 8)
        logs[k] = prior - 0.5 * marginal(xi).total - proposal
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()

    drawn = bayes(problem, found, seed=2)

    effective = 1 / np.sum(weights**2)
    assert effective > 400
    assert drawn.diverged == 0 and max(drawn.rhat.values()) < 1.02
    for j, name in enumerate(drawn.names):
        log = np.log(values[:, j])
        mean = weights @ log
        sd = np.sqrt(weights @ (log - mean) ** 2)
        own = np.log(drawn.values[..., j].ravel())
        error = sd * np.sqrt(1 / effective + 1 / drawn.effective[name])
        assert own.mean() == pytest.approx(mean, abs=4 * error), name
        assert own.std() == pytest.approx(sd, rel=0.15), name

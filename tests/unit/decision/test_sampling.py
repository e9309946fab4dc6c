"""What a level is worth, against the linear update and against levels that were really taken."""

from __future__ import annotations

import numpy as np
import pytest

from galenic.decision.sampling import best_pair, remaining
from galenic.errors import DataError

RNG = np.random.default_rng(0)


def normal(n=200_000):
    """A target and three levels that are jointly normal, with their covariance."""
    root = np.array([[1.0, 0, 0, 0], [0.8, 0.5, 0, 0], [0.1, 0.2, 1.0, 0], [0.6, -0.5, 0, 0.2]])
    drawn = RNG.standard_normal((n, 4)) @ root.T
    return drawn[:, 0], drawn[:, 1:], root @ root.T


def test_it_is_the_linear_update():
    target, levels, P = normal()
    error = np.array([0.2, 0.1, 0.3])

    left = remaining(target, levels, error)

    exact = [1 - P[0, k] ** 2 / (P[0, 0] * (P[k, k] + error[k - 1])) for k in (1, 2, 3)]
    assert left == pytest.approx(exact, abs=0.01)


def test_two_levels_together_are_the_joint_update():
    target, levels, P = normal()
    error = np.array([0.2, 0.1, 0.3])

    i, j, left = best_pair(target, levels, error)

    exact = {}
    for a in range(3):
        for b in range(a + 1, 3):
            rows = [a + 1, b + 1]
            S = P[np.ix_(rows, rows)] + np.diag(error[[a, b]])
            exact[a, b] = 1 - P[0, rows] @ np.linalg.solve(S, P[rows, 0]) / P[0, 0]
    assert (i, j) == min(exact, key=exact.get)
    assert left == pytest.approx(min(exact.values()), abs=0.01)


def test_a_level_without_error_that_is_the_target_leaves_nothing():
    target = RNG.standard_normal(1000)

    assert remaining(target, target[:, None], np.zeros(1)) == pytest.approx([0.0], abs=1e-12)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="levels"):
        remaining(np.zeros(3), np.zeros((2, 4)), np.zeros(4))

"""Shapley effects of correlated factors, against closed forms."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic import Model, Output, Parameter, State, der
from galenic.engine.batch.measures import Measure
from galenic.errors import DataError, UnknownName
from galenic.inference import shapley
from galenic.inference.study import Factor, Study

SLOPES = np.array([1.0, -2.0, 0.5, 1.5])
SPREADS = np.array([1.0, 0.7, 2.0, 0.5])
CORRELATIONS = {("a", "b"): 0.8, ("b", "c"): -0.4, ("c", "d"): 0.3}


class Plane(Model):
    """A linear function of four numbers."""

    a = Parameter(0.0, "1")
    b = Parameter(0.0, "1")
    c = Parameter(0.0, "1")
    d = Parameter(0.0, "1")
    clock = State(0.0, "1", "something that moves")
    y = Output("1", "the function")

    def equations(m):
        yield der(m.clock) * "1 s" == 1.0
        yield m.y == m.a - 2.0 * m.b + 0.5 * m.c + 1.5 * m.d


def plane(**more):
    factors = [Factor.normal(name, 0.0, sd) for name, sd in zip("abcd", SPREADS, strict=True)]
    return Study(Plane(), factors, [Measure.at("y", 1.0)], times=[0.0, 1.0], **more)


def explained(correlations):
    """Var(E[Y|X_u]) of the plane for every set u: normal regression (Owen and Prieur 2017)."""
    matrix = np.eye(4)
    for (one, other), value in correlations.items():
        i, j = "abcd".index(one), "abcd".index(other)
        matrix[i, j] = matrix[j, i] = value
    sigma = matrix * np.outer(SPREADS, SPREADS)
    found = {(): 0.0}
    for size in range(1, 5):
        for u in combinations(range(4), size):
            across = sigma[list(u)] @ SLOPES
            found[u] = float(across @ np.linalg.solve(sigma[np.ix_(u, u)], across))
    return found


def exact(correlations):
    """Shapley effects as the mean gain over all orders; alone, beyond from the same variances."""
    values = explained(correlations)
    total = values[0, 1, 2, 3]
    gains = np.zeros(4)
    for order in permutations(range(4)):
        for k, factor in enumerate(order):
            before = tuple(sorted(order[:k]))
            gains[factor] += values[tuple(sorted((*before, factor)))] - values[before]
    others = [tuple(j for j in range(4) if j != i) for i in range(4)]
    alone = [values[(i,)] / total for i in range(4)]
    beyond = [1 - values[one] / total for one in others]
    return gains / 24 / total, np.array(alone), np.array(beyond)


@pytest.mark.parametrize("correlations", [CORRELATIONS, {}], ids=["correlated", "independent"])
def test_effects_of_a_plane_are_those_on_paper(correlations):
    found = plane(correlations=correlations).shapley(n=1024)

    effect, alone, beyond = exact(correlations)
    assert_allclose(found.effect[0], effect, atol=0.01)
    assert_allclose(found.alone[0], alone, atol=0.02)
    assert_allclose(found.beyond[0], beyond, atol=0.01)
    assert found.effect.sum() == pytest.approx(1.0, abs=1e-12)
    assert (found.effect_interval[0] - 0.01 <= effect).all()
    assert (effect <= found.effect_interval[1] + 0.01).all()
    assert list(found.to_dataframe()["factor"]) == list("abcd")


def test_random_orders_stand_in_for_all_sets(monkeypatch):
    monkeypatch.setattr(shapley, "ALL_SETS", 2)

    found = plane(correlations=CORRELATIONS).shapley(n=512, orders=24)

    assert_allclose(found.effect[0], exact(CORRELATIONS)[0], atol=0.05)
    assert found.effect.sum() == pytest.approx(1.0, abs=1e-12)


def test_correlated_factors_are_drawn_as_they_are_declared():
    table = plane(correlations=CORRELATIONS).uncertainty(4096).individuals.values

    found = np.corrcoef(table.T)
    assert found[0, 1] == pytest.approx(0.8, abs=0.01)
    assert found[0, 2] == pytest.approx(0.0, abs=0.02)
    assert_allclose(table.std(axis=0), SPREADS, rtol=0.01)


@pytest.mark.parametrize("method", ["sobol", "morris"])
def test_indices_that_need_independence_say_so(method):
    with pytest.raises(DataError, match="correlated"):
        getattr(plane(correlations=CORRELATIONS), method)()


def test_correlations_are_checked():
    with pytest.raises(UnknownName, match="factor"):
        plane(correlations={("a", "e"): 0.5})
    with pytest.raises(DataError, match="no correlation matrix"):
        plane(correlations={("a", "b"): 0.9, ("b", "c"): 0.9, ("a", "c"): -0.9})

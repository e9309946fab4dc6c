"""Beliefs: moments against closed forms, bytes, bounds."""

import numpy as np
import pytest
from scipy import stats

from galenic.errors import DataError, UnknownName
from galenic.inference.belief import (
    Axis,
    Belief,
    Context,
    Ensemble,
    Gaussian,
    Infusion,
    Mixture,
    Posterior,
)
from galenic.inference.evidence import Bundle, Held, Innovation, Observation
from galenic.signals import Action

TIME = 1_700_000_000_000_000_000


def two() -> Gaussian:
    axes = (Axis("tank.c", "mol/L", lower=0.0), Axis("k", "1/min", "log", lower=0.0))
    return Gaussian(TIME, axes, [2.0, np.log(0.5)], [[0.09, 0.01], [0.01, 0.04]])


def test_log_quantity_has_the_moments_of_the_log_normal():
    belief = two()
    law = stats.lognorm(s=0.2, scale=0.5)

    assert belief.mean("k") == pytest.approx(law.mean(), rel=1e-12)
    assert belief.sd("k") == pytest.approx(law.std(), rel=1e-12)
    assert belief.interval("k", 0.9) == pytest.approx(law.interval(0.9), rel=1e-9)
    assert belief.point("k") == pytest.approx(0.5)


def test_covariance_of_linear_and_log_quantity_agrees_with_sampling():
    belief = two()

    draws = belief.sample(400_000, np.random.default_rng(1))

    assert np.cov(draws.T) == pytest.approx(belief.covariance, rel=0.02)
    assert draws.mean(axis=0) == pytest.approx(belief.mean_vector, rel=0.002)


def test_samples_and_intervals_stay_inside_bounds():
    belief = Gaussian(0, (Axis("m", "kg", lower=0.0, upper=1.0),), [0.05], [[0.25]])

    draws = belief.sample(1000, np.random.default_rng(0))

    assert draws.min() == 0.0 and draws.max() == 1.0
    assert belief.interval("m") == (0.0, pytest.approx(0.05 + 1.6448536 * 0.5))


@pytest.mark.parametrize("kind", ["gaussian", "posterior", "ensemble", "mixture"])
def test_bytes_give_the_same_belief_bit_for_bit(kind):
    action = Action("dose", 5.0, "mg", TIME, TIME, what="dose", duration=3600.0)
    context = Context(7, {"u": 0.1}, (Infusion("u", 1.5, TIME + 9),), {"c": 2})
    innovation = Innovation("c", 1.1, 1.0, 0.1, 1.0, False, "gate", "k1")
    gaussian = Gaussian(
        TIME, two().axes, [0.1 + 0.2, -np.inf], np.eye(2) / 3, context, (innovation,)
    )
    bundle = Bundle(TIME, (Observation("c", 1 / 3, 0.1, key="a"),))
    belief = {
        "gaussian": gaussian,
        "posterior": Posterior(
            TIME,
            gaussian.axes,
            gaussian.centre,
            gaussian.spread,
            evidence=(Held(TIME, {"u": 0.3}), bundle, action),
            start=gaussian,
            warm={"x": np.linspace(0, 1, 7)},
            notes={"objective": 0.1, "status": "ok"},
        ),
        "ensemble": Ensemble(TIME, gaussian.axes, np.random.default_rng(0).random((5, 2))),
        "mixture": Mixture((two(), two()), [0.3, 0.7], ("a", "b")),
    }[kind]

    data = belief.to_bytes()
    again = Belief.from_bytes(data)

    assert type(again) is type(belief)
    assert again.to_bytes() == data
    assert again.identity == belief.identity
    assert again.innovations == belief.innovations
    assert np.array_equal(again.mean_vector, belief.mean_vector)
    if kind == "posterior":
        assert again.evidence == belief.evidence


def test_foreign_bytes_and_foreign_values_are_refused():
    with pytest.raises(DataError, match="not a packed belief"):
        Belief.from_bytes(b"pickle")
    with pytest.raises(DataError, match="cannot be packed"):
        two().with_context(inputs={"u": object()}).to_bytes()


def test_beliefs_cannot_be_changed():
    belief = two()

    with pytest.raises(ValueError, match="read-only"):
        belief.centre[0] = 1.0
    with pytest.raises(AttributeError):
        belief.time = 3


def test_unknown_name_suggests_a_close_one():
    with pytest.raises(UnknownName, match=r"tank\.c"):
        two().mean("tank.C")


def test_ensemble_quantiles_and_moments_follow_numpy():
    members = np.random.default_rng(2).normal(size=(500, 1))
    belief = Ensemble(0, (Axis("x"),), members)

    assert belief.covariance[0, 0] == pytest.approx(np.var(members, ddof=1))
    assert belief.interval("x", 0.8) == pytest.approx(
        np.quantile(members, [0.1, 0.9], method="hazen")
    )
    assert belief.effective_size == pytest.approx(500)


def test_mixture_adds_the_spread_between_its_parts():
    parts = tuple(Gaussian.of(0, {"x": mean}, {"x": 1.0}) for mean in (-3.0, 3.0))
    belief = Mixture(parts, [0.5, 0.5])

    assert belief.mean("x") == pytest.approx(0.0)
    assert belief.sd("x") == pytest.approx(np.sqrt(10.0))
    low, high = belief.interval("x", 0.9)
    assert low == pytest.approx(-4.28, abs=0.2) and high == pytest.approx(4.28, abs=0.2)


def test_observations_that_are_not_numbers_are_refused():
    with pytest.raises(DataError, match="nan"):
        Observation("c", float("nan"), 0.1)
    with pytest.raises(DataError, match="weight"):
        Observation("c", 1.0, 0.1, weight=0.0)

"""Do 90 % intervals hold 90 % of the truths? Many short runs with known truth."""

import sys
from pathlib import Path

import numpy as np
import pytest

from galenic.clock import SECOND
from galenic.inference.augment import Augmented
from galenic.inference.diagnose import consistency, ljung_box, share_of
from galenic.inference.estimator import Bundle, Noise, Observation
from galenic.inference.kalman import EKF
from galenic.inference.linear import LinearTransition
from galenic.inference.map import MAP, Individual, Residual
from galenic.signals import Action

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "inference"))
from patients import OneCompartment

A, B, C = [[-0.2]], [[0.2]], [[1.0], [1.0]]
SHAKE, FAST, SLOW, WANDER = 0.1, 0.2, 0.1, 0.05
NOISE = Noise(
    process={"x0": SHAKE},
    measurement={"y0": FAST, "y1": SLOW},
    start={"x0": 0.5, "bias": 0.4},
    drift={"bias": WANDER},
)
STEPS = 12


def run(rng):
    """One story: truth, the belief at its end, a forecast, the true reading 4 s later, the NIS."""
    plant = LinearTransition(A, B, C, [1.0])
    estimator = EKF(plant, NOISE, [Augmented("bias", acts_on="y0")], gate=None)
    truth = np.array([1.0 + 0.5 * rng.standard_normal()])
    bias, belief, z = 0.4 * rng.standard_normal(), estimator.start(None, 0), []
    for k in range(1, STEPS + 5):
        u = np.array([1.0 + (k % 5 == 0)])
        half = SHAKE * np.sqrt(0.5)
        truth = plant.step(truth + half * rng.standard_normal(1), u, np.empty(0), 1.0)
        truth = truth + half * rng.standard_normal(1)
        bias += WANDER * rng.standard_normal()
        if k <= STEPS:
            belief = estimator.predict(belief, k * SECOND, {"u0": u[0]})
            rows = [Observation("y0", truth[0] + bias + FAST * rng.standard_normal())]
            if k % 4 == 0:
                rows.append(Observation("y1", truth[0] + SLOW * rng.standard_normal()))
            belief = estimator.correct(belief, Bundle(k * SECOND, tuple(rows)))
            z.append(belief.innovations[0].standardised)
        if k == STEPS:
            end = (truth[0], bias)
    inputs = [((k - 1) * SECOND, {"u0": 1.0 + (k % 5 == 0)}) for k in range(STEPS + 1, STEPS + 5)]
    ahead = estimator.forecast(belief, (STEPS + 4) * SECOND, 1.0, inputs, ["y0"], noisy=True)
    later = truth[0] + bias + FAST * rng.standard_normal()
    return end, belief, ahead, later, z


@pytest.fixture(scope="module")
def stories():
    rng = np.random.default_rng(5)
    return [run(rng) for _ in range(300)]


@pytest.mark.parametrize("name", ["x0", "bias"])
def test_intervals_of_states_and_disturbances_cover(stories, name):
    hits = 0
    for end, belief, *_ in stories:
        low, high = belief.interval(name, 0.9)
        hits += low <= end[name == "bias"] <= high

    share = share_of(hits, len(stories))
    assert 0.85 <= share.share <= 0.95
    assert share.includes(0.9)


def test_forecast_bands_cover_the_reading_to_come(stories):
    hits = 0
    for _, _, ahead, later, _ in stories:
        low, high = ahead.band("y0", 0.9)
        hits += low[-1] <= later <= high[-1]

    assert 0.85 <= hits / len(stories) <= 0.95


def test_innovations_are_white_and_of_the_stated_size(stories):
    joined = np.concatenate([z for *_, z in stories])

    assert consistency(joined**2)["verdict"] == "consistent"
    low = np.mean([ljung_box(z, lags=2).p < 0.05 for *_, z in stories])
    assert low < 0.1


def test_wrong_noise_is_found_out():
    """With a third of the true sensor noise the same test says overconfident."""
    rng = np.random.default_rng(1)
    plant = LinearTransition(A, B, C, [1.0])
    noise = Noise(process={"x0": 0.02}, measurement={"y0": FAST / 3}, start={"x0": 0.5})
    estimator = EKF(plant, noise, gate=None)
    belief, z = estimator.start(None, 0), []
    for k in range(1, 200):
        belief = estimator.predict(belief, k * SECOND, {"u0": 1.0})
        reading = Observation("y0", 1.0 + FAST * rng.standard_normal())
        belief = estimator.correct(belief, Bundle(k * SECOND, (reading,)))
        z.append(belief.innovations[0].standardised)

    assert consistency(np.array(z) ** 2)["verdict"] == "overconfident"


@pytest.mark.parametrize(("rounding", "least"), [("interval", 0.85), ("variance", 0.85)])
def test_coarse_display_does_not_make_overconfident(rounding, least):
    """Readings in steps of four sensor sd, as a force shown in 0.1 kN."""
    rng = np.random.default_rng(2)
    plant = LinearTransition([[-0.05]], [[0.05]], [[1.0]], [1.0])
    noise = Noise(process={"x0": 0.02}, measurement={"y0": 0.025}, start={"x0": 0.3})
    estimator = EKF(plant, noise, gate=None, rounding=rounding)
    hits = 0
    for _ in range(200):
        truth, belief = np.array([1.0 + 0.3 * rng.standard_normal()]), estimator.start(None, 0)
        for k in range(1, 11):
            half = 0.02 * np.sqrt(0.5)
            truth = plant.step(truth + half * rng.standard_normal(1), [1.0], np.empty(0), 1.0)
            truth = truth + half * rng.standard_normal(1)
            shown = np.round((truth[0] + 0.025 * rng.standard_normal()) / 0.1) * 0.1
            belief = estimator.predict(belief, k * SECOND, {"u0": 1.0})
            reading = Observation("y0", float(shown), resolution=0.1)
            belief = estimator.correct(belief, Bundle(k * SECOND, (reading,)))
        low, high = belief.interval("x0", 0.9)
        hits += low <= truth[0] <= high

    assert least <= hits / 200 <= 0.96


def test_map_intervals_cover_virtual_patients():
    """Patients drawn from the population, two levels each: 90 % intervals of clearance."""
    rng = np.random.default_rng(9)
    individuals = [Individual("CL", 0.3), Individual("V", 0.2)]
    estimator = MAP(OneCompartment(), individuals, {"C": Residual(0.1e-3, 0.1)})
    hour, hits, nees = 3600 * SECOND, 0, []
    for _ in range(150):
        eta = rng.standard_normal(2) * [0.3, 0.2]
        cl, v = 2.0 * np.exp(eta[0]), 20.0 * np.exp(eta[1])
        belief = estimator.start(None, 0)
        belief = estimator.act(belief, Action("amount", 100.0, "mg", 0, 0, "dose"))
        for hours in (1, 8):
            f = 100 / v * np.exp(-cl / v * hours)
            value = f + np.hypot(0.1, 0.1 * f) * rng.standard_normal()
            belief = estimator.predict(belief, hours * hour, {})
            bundle = Bundle(hours * hour, (Observation("C", value * 1e-3),))
            belief = estimator.correct(belief, bundle)
        low, high = belief.interval("CL", 0.9)
        hits += low <= cl / 3.6e6 <= high
        error = np.array(belief.notes["eta"]) - eta
        nees.append(error @ np.linalg.solve(belief.spread[1:, 1:], error))

    assert 0.85 <= hits / 150 <= 0.95
    assert consistency(nees, degrees=2, level=0.99)["verdict"] == "consistent"

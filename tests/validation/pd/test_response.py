"""Effects of a drug against closed forms, and against SciPy where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from galenic import Experiment, Model, Part
from galenic.library.pd.response import (
    EffectCompartment,
    InhibitedLoss,
    InhibitedProduction,
    Myelosuppression,
    SigmoidEmax,
    StimulatedLoss,
    StimulatedProduction,
    TumourGrowth,
)
from galenic.library.pk.compartments import OneCompartment

HOURS = np.array([1.0, 5.0, 12.0, 48.0])
E = 0.9 * 3.0 / (1.0 + 3.0)


def run(model, times=HOURS, unit="h", experiment=None, **options):
    options = {"rtol": 1e-11, **options}
    return model.simulate(experiment, times=[f"{t} {unit}" for t in times], **options)


def under(level, kind, **values):
    return kind(**values), Experiment().set("drug.value", level)


@pytest.mark.parametrize(
    ("kind", "production", "loss"),
    [
        (InhibitedProduction, 1 - E, 1.0),
        (InhibitedLoss, 1.0, 1 - E),
        (StimulatedProduction, 1 + E, 1.0),
        (StimulatedLoss, 1.0, 1 + E),
    ],
)
def test_indirect_response_to_a_constant_level(kind, production, loss):
    """R goes from kin/kout to its new balance with the new rate of loss: linear, so exact."""
    model, experiment = under("3 mg/L", kind)

    found = np.asarray(run(model, experiment=experiment)["R"])

    rate, balance = 0.1 * loss, 100.0 * production / loss
    assert found == pytest.approx(balance + (100.0 - balance) * np.exp(-rate * HOURS), rel=1e-8)


def test_without_drug_the_response_stays():
    found = np.asarray(run(InhibitedLoss())["R"])

    assert found == pytest.approx(np.full(4, 100.0), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 4.0])
def test_sigmoid_effect(gamma):
    model, experiment = under("3 mg/L", SigmoidEmax, gamma=gamma, E0=2.0, Emax=5.0)

    found = run(model, experiment=experiment)["E"]

    assert float(found[-1]) == pytest.approx(2.0 + 5.0 * 3.0**gamma / (1.0 + 3.0**gamma), rel=1e-12)


class Followed(Model):
    """A bolus in one compartment and the place of its effect."""

    body = Part(OneCompartment)
    effect = Part(EffectCompartment)

    def equations(m):
        yield m.effect.drug.value == m.body.C


def test_the_effect_follows_a_bolus_with_a_delay():
    """Ce = C0 ke0 / (ke0 - k) (exp(-k t) - exp(-ke0 t))."""
    found = run(Followed(), experiment=Experiment().dose("body.A1", "320 mg"))

    k, ke0 = 2.8 / 32.0, 0.5
    exact = 10.0 * ke0 / (ke0 - k) * (np.exp(-k * HOURS) - np.exp(-ke0 * HOURS))
    assert np.asarray(found["effect.Ce"]) == pytest.approx(exact, rel=1e-8)


def test_blood_cells_against_scipy():
    """The same equations written again; 1e-7 is a hundred times both tolerances."""
    times = np.array([24.0, 100.0, 200.0, 500.0])
    model, experiment = under("0.05 mg/L", Myelosuppression)
    found = run(model, times, experiment=experiment)

    def slopes(_, y):
        k, (prol, a, b, c, circ) = 4.0 / 88.7, y
        growth = (1.0 - 8.58 * 0.05) * (5.05 / circ) ** 0.161
        return k * np.array([prol * (growth - 1.0), prol - a, a - b, b - c, c - circ])

    other = solve_ivp(slopes, (0, 500), [5.05] * 5, t_eval=times, rtol=1e-10, atol=1e-12)
    assert np.asarray(found["Circ"]) == pytest.approx(other.y[4], rel=1e-7)


def test_a_small_tumour_doubles_and_a_large_one_grows_by_a_line():
    """Regimes of Simeoni: w0 exp(lambda0 t) below the threshold, slope lambda1 above it.

    Where w is half the threshold of 2.67 g, the other regime weighs 0.5^20 = 1e-6.
    """
    early = run(TumourGrowth(), [2.0, 8.0], "d")["w"]
    late = run(TumourGrowth(), [40.0, 60.0], "d")["w"]

    assert np.asarray(early) == pytest.approx(0.05 * np.exp(0.3 * np.array([2.0, 8.0])), rel=1e-6)
    assert float(late[1] - late[0]) / 20.0 == pytest.approx(0.8, rel=1e-6)


def test_a_tumour_shrinks_above_the_threshold_concentration():
    """Growing cells change by (lambda0 - k2 C) while small: the threshold is lambda0 / k2."""
    for level, grows in ((29.0, True), (31.0, False)):
        model, experiment = under(f"{level} mg/L", TumourGrowth)
        found = np.asarray(run(model, [5.0, 10.0], "d", experiment)["x1"])

        assert found[1] / found[0] == pytest.approx(np.exp((0.3 - 0.01 * level) * 5.0), rel=1e-6)
        assert (found[1] > found[0]) is np.bool_(grows)

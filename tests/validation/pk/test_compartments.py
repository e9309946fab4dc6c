"""Reference cases V1 to V4: closed forms of compartment kinetics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import lambertw

from galenic import Experiment
from galenic.library.pk.compartments import (
    MichaelisMenten,
    OneCompartment,
    OralOneCompartment,
    OralTwoCompartment,
    ThreeCompartment,
    TwoCompartment,
    TwoCompartmentRates,
    infusion,
)

TIMES = [0.5, 1, 2, 6, 12, 24]
ORAL = {"absorption": {"ka": "1.5 1/h"}, "body": {"CL": "2.8 L/h", "V1": "32 L"}}


def run(model, experiment, times, output="C"):
    trajectory = model.simulate(experiment, times=[f"{t} h" for t in times], rtol=1e-11)
    return np.asarray(trajectory[output]), trajectory


def printed(values):
    """To the digits of the reference: half a unit of the sixth decimal."""
    return pytest.approx(np.array(values), abs=5.01e-7)


def test_v1_bolus():
    values, trajectory = run(OneCompartment(), Experiment().dose("A1", "320 mg"), TIMES)

    assert values == printed([9.571932, 9.162189, 8.394570, 5.915554, 3.499377, 1.224564])
    assert trajectory.drift("drug") < 1e-9


def test_v1_oral_and_its_peak():
    dose = Experiment().dose("absorption.depot", "320 mg")
    values, trajectory = run(OralOneCompartment(**ORAL), dose, TIMES, "body.C")

    assert values == printed([5.148602, 7.360234, 8.385876, 6.280693, 3.716153, 1.300422])
    assert trajectory.drift("absorption.drug at the site") < 1e-9
    fine = [f"{t} h" for t in np.linspace(1.9, 2.1, 41)]
    curve = OralOneCompartment(**ORAL).simulate(dose, times=fine, rtol=1e-11)
    near = np.polynomial.Polynomial.fit(curve.times / 3600, np.asarray(curve["body.C"]), 6)
    peak = minimize_scalar(lambda t: -near(t), bounds=(1.9, 2.1), method="bounded")
    assert peak.x == pytest.approx(2.011739, abs=2e-6)


def test_v1_oral_at_steady_state():
    """After 30 doses every 12 h the transient is exp(-0.0875 * 360) = 2e-14."""
    doses = Experiment().dose("absorption.depot", "320 mg", every="12 h", count=31)
    values, _ = run(
        OralOneCompartment(**ORAL), doses, [360 + t for t in (0.5, 1, 2, 6, 11.9999999)], "body.C"
    )

    expected = [10.620503, 12.597901, 13.184725, 9.662385, 5.716611]
    assert values == pytest.approx(np.array(expected), abs=6e-7)


def test_v2_infusion_into_two_compartments():
    values, trajectory = run(TwoCompartment(), infusion("500 mg", "1 h"), TIMES)

    assert values == printed([10.465972, 17.864579, 9.549168, 3.316589, 2.259971, 1.154819])
    assert trajectory["AUC"][-1] == pytest.approx(79.350068, abs=5e-7)
    assert trajectory.drift("drug") < 1e-9
    eliminated = 5 * trajectory["AUC"][-1]
    inside = trajectory["A1"][-1] + trajectory["A2"][-1]
    assert inside + eliminated == pytest.approx(500, rel=1e-9)  # mass balance of the reference


def test_rate_constants_are_another_way_to_say_the_same():
    model = TwoCompartmentRates(CL="5 L/h", V1="20 L", k12="0.5 1/h", k21="0.2 1/h")

    values, _ = run(model, infusion("500 mg", "1 h"), TIMES)

    assert values == printed([10.465972, 17.864579, 9.549168, 3.316589, 2.259971, 1.154819])


def test_v3_three_compartments_and_their_rates():
    times = [0.5, 2, 8, 24, 72]
    values, trajectory = run(ThreeCompartment(), Experiment().dose("A1", "100 mg"), times)

    assert values == printed([7.657888, 3.619499, 0.740964, 0.437061, 0.171349])
    assert trajectory.drift("drug") < 1e-9
    from galenic.engine import Simulator

    simulator = Simulator(ThreeCompartment())
    rows = [i for i, e in enumerate(simulator.system.states) if e.path in ("A1", "A2", "A3")]
    rates = simulator.linearise(simulator.steady()).A[np.ix_(rows, rows)] * 3600
    lambdas = np.sort(-np.linalg.eigvals(rates).real)
    assert lambdas == printed([0.005189, 0.033330, 0.585481])


def test_v4_saturable_elimination():
    dose = Experiment().dose("A1", "300 mg")
    values, trajectory = run(MichaelisMenten(), dose, [1, 5, 10, 20, 30])

    assert values == printed([9.527109, 7.707982, 5.630723, 2.390686, 0.690676])
    exact = 4 * lambertw(10 / 4 * np.exp((10 - 20 / 30 * np.array([1, 5, 10, 20, 30])) / 4)).real
    assert values == pytest.approx(exact, rel=1e-8)
    assert trajectory.drift("drug") < 1e-9


def test_absorption_feeds_any_disposition():
    """Slow disposition, complete absorption: the AUC to infinity is F D / CL."""
    model = OralTwoCompartment(absorption={"F": 0.6})

    trajectory = model.simulate(model.example_experiment(), until="2000 h", rtol=1e-10)

    assert trajectory["body.AUC"][-1] == pytest.approx(0.6 * 320 / 5, rel=1e-6)

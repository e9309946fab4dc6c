"""Engine against closed forms and tight references; the numbers stand in docs/validation/engine.md.

Sources: two-compartment infusion and one-compartment oral kinetics by formula (Gibaldi and Perrier,
Pharmacokinetics, 1982), digits recomputed here; Robertson (1966) in Hairer and Wanner, Solving
Ordinary Differential Equations II, 1996, problem ROBER; the benchmark problems (a) and (c) with
CVODES at 1e-12.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Experiment, Simulator

from .problems import one_compartment, rober, target_mediated, three_compartment, two_compartment

TIMES = ["0.5 h", "1 h", "2 h", "6 h", "12 h", "24 h"]


def test_one_compartment_bolus_and_oral():
    """D 320 mg, CL 2.8 L/h, V 32 L, ka 1.5 1/h."""
    simulator = Simulator(one_compartment())
    bolus = simulator.run(Experiment().dose("central", "320 mg"), times=TIMES)
    oral = simulator.run(Experiment().dose("depot", "320 mg"), times=TIMES)

    assert_allclose(
        bolus["C"], [9.571932, 9.162189, 8.394570, 5.915554, 3.499377, 1.224564], rtol=2e-6
    )
    assert_allclose(
        oral["C"], [5.148602, 7.360234, 8.385876, 6.280693, 3.716153, 1.300422], rtol=2e-6
    )


def test_oral_steady_state_over_many_doses():
    """The same every 12 h: after 20 doses within 1e-6 of the infinite sum."""
    simulator = Simulator(one_compartment())
    hours = np.array([0.5, 1, 2, 6, 12])
    result = simulator.run(
        Experiment().dose("depot", "320 mg", every="12 h", count=20),
        times=(19 * 12 + hours) * 3600,
    )

    assert_allclose(result["C"], [10.620503, 12.597901, 13.184725, 9.662385, 5.716611], rtol=2e-6)


@pytest.mark.parametrize("route", ["input", "state"])
def test_two_compartment_infusion(route):
    """CL 5, V1 20, Q 10, V2 50; 500 mg over 1 h; AUC over 24 h from the eliminated amount."""
    simulator = Simulator(two_compartment())
    path = "infusion" if route == "input" else "central"
    result = simulator.run(Experiment().dose(path, "500 mg", duration="1 h"), times=TIMES)

    assert_allclose(
        result["C"], [10.465972, 17.864579, 9.549168, 3.316589, 2.259971, 1.154819], rtol=2e-6
    )
    eliminated = 500 - result["central"][-1] - result["peripheral"][-1]
    assert eliminated / 5 == pytest.approx(79.350068, rel=2e-6)


def test_three_compartment_bolus():
    simulator = Simulator(three_compartment())
    result = simulator.run(
        Experiment().dose("central", "100 mg"), times=["0.5 h", "2 h", "8 h", "24 h", "72 h"]
    )

    assert_allclose(result["C"], [7.657888, 3.619499, 0.740964, 0.437061, 0.171349], rtol=4e-6)
    poles = np.sort(-simulator.linearise().poles.real * 3600)
    assert_allclose(poles, [0.005189, 0.033330, 0.585481], atol=6e-7)


BENCHMARK_A = {
    (3.94477596250314, 33.284702566872, 1.35208909411329): (
        0.502126664, 0.773036199, 1.15005786, 0.624649773,
    ),
    (6.25090511334311, 46.9970881462119, 1.201608032056): (
        0.320267115, 0.487749169, 0.811084451, 0.33280345,
    ),
    (2.97689943460973, 48.9086967359038, 2.27442560297972): (
        0.625792424, 1.01753312, 1.46703131, 0.934285572,
    ),
}  # fmt: skip


@pytest.mark.parametrize("subject", BENCHMARK_A)
@pytest.mark.parametrize(("rtol", "tolerance"), [(1e-6, 2e-6), (1e-9, 6e-9)])
def test_benchmark_problem_a(subject, rtol, tolerance):
    """Seven oral doses in two compartments; the reference has nine digits."""
    values = dict(zip(("CL", "V1", "ka"), subject, strict=True)) | {"Q": 10.0, "V2": 100.0}
    result = Simulator(two_compartment()).run(
        Experiment().dose("depot", "100 mg", every="24 h", count=7),
        values=values,
        times=[f"{hour} h" for hour in (42, 84, 126, 168)],
        rtol=rtol,
    )

    assert_allclose(result["C"], BENCHMARK_A[subject], rtol=tolerance)


def test_benchmark_problem_c_stiff_target_binding():
    """Six doses of an antibody with fast binding; subject 0."""
    theta = (
        0.278473186177612, 2.32252617975594, 6.91376350334298,
        0.348882073078908, 0.460587456428004, 39.6841517744036,
    )  # fmt: skip
    values = dict(zip(("CL", "V", "R0", "kint", "ka", "kon"), theta, strict=True))
    result = Simulator(target_mediated()).run(
        Experiment().dose("D", "466.667 nmol", every="14 d", count=6),
        values=values,
        times=["28 d", "56 d", "84 d", "112 d"],
    )

    assert_allclose(result["C"], [0.736976386, 0.789469069, 0.79323502, 0.00598069886], rtol=2e-5)
    assert_allclose(result["R"], [5.24402249, 5.13509817, 5.12740645, 6.89480928], rtol=2e-6)
    assert_allclose(result["P"], [17.399348, 18.2458497, 18.305037, 0.185363911], rtol=2e-5)


def test_robertson_over_eleven_decades():
    """Reference at t = 1e11 of problem ROBER (Test Set for IVP Solvers, Bari)."""
    result = Simulator(rober()).run(times=[1e11], rtol=1e-8)

    assert result["a"][0] == pytest.approx(0.2083340149701255e-07, rel=1e-6)
    assert result["b"][0] == pytest.approx(0.8333360770334713e-13, rel=1e-6)
    assert result["c"][0] == pytest.approx(0.9999999791665050, rel=1e-9)
    assert result.drift("mass") < 1e-12

"""Individuals in lanes against the same individuals one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm

from galenic.engine import Experiment, Simulator
from galenic.engine.batch.backend import Status
from galenic.engine.batch.lanes import Lanes
from galenic.modeling.system import EventRule

from ..systems import (
    ball,
    circle,
    decay,
    driven,
    robertson,
    system,
    thermostat,
    two_compartment,
)

TIGHT = 1e-8


def binding():
    """A drug that binds its target: nonlinear and stiff; a weekly reset of the counter."""
    return system(
        "Binding",
        {"C": (10.0, "umol/L"), "R": (1.0, "umol/L"), "RC": (0.0, "umol/L"), "weeks": (0.0, "1")},
        lambda m: {
            "C": -m.kel * m.C - m.kon * m.C * m.R + m.koff * m.RC,
            "R": m.kin - m.kout * m.R - m.kon * m.C * m.R + m.koff * m.RC,
            "RC": m.kon * m.C * m.R - (m.koff + m.kint) * m.RC,
            "weeks": 0,
        },
        parameters={
            "kel": (0.1, "1/d"),
            "kon": (500.0, "L/(umol*d)"),
            "koff": (10.0, "1/d"),
            "kin": (2.0, "umol/(L*d)"),
            "kout": (2.0, "1/d"),
            "kint": (1.0, "1/d"),
        },
        starts=lambda m: {"R": m.kin / m.kout},
        events=lambda m, at: [
            EventRule("week", None, 7 * 86400.0, None, ((at["weeks"], m.weeks + 1),))
        ],
    )


EVERYTHING = (
    Experiment()
    .set("CL", "4 L/h", at=0.0)
    .dose("depot", "100 mg", every="6 h", count=4)
    .dose("central", "40 mg", at="3 h", duration="5 h")
    .dose("central", "10 mg", at="4 h", duration="1 h", every="2 h", count=3)
    .dose("infusion", "60 mg", at="2 h", duration="90 min")
    .set("infusion", "5 mg/h", at="10 h")
    .ramp("infusion", "20 mg/h", start="12 h", stop="16 h")
    .set("peripheral", "1 mg", at="18 h")
    .set("CL", "9 L/h", at="20 h")
)


def both(model, experiment, table, method="auto", **settings):
    simulator = Simulator(model)
    settings = {"rtol": TIGHT} | settings
    lanes = simulator.run_many(experiment, table, method=method, **settings)
    single = simulator.run_many(experiment, table, method="single", **settings)
    assert lanes.record.methods[0].name != "single", lanes.record.choice
    assert not lanes.method.any()  # nobody fell back
    return lanes, single


def test_doses_infusions_ramps_and_changes_are_those_of_a_single_run():
    rng = np.random.default_rng(2)
    table = {
        "V1": rng.uniform(10, 40, 20),
        "ka": rng.uniform(0.3, 3, 20),
        "infusion": rng.uniform(0, 3, 20),
        "central": rng.uniform(0, 30, 20),
    }

    lanes, single = both(
        two_compartment(), EVERYTHING, table, outputs=["C", "depot", "peripheral", "infusion"],
        until="24 h", every="1 h",
    )  # fmt: skip

    peak = np.abs(single.values).max(axis=(0, 1))
    assert_allclose(lanes.values / peak, single.values / peak, atol=1e-6)
    assert_allclose(lanes["infusion"], single["infusion"], rtol=1e-12)


def test_ramps_and_infusions_differ_with_the_individual_schedule():
    experiments = [EVERYTHING, Experiment(), Experiment().dose("depot", "1 mg", at="2 h")] * 4
    table = {"infusion": np.linspace(0, 3, 12)}

    lanes, single = both(
        two_compartment(), experiments, table, outputs=["C", "infusion"], until="24 h", every="2 h"
    )

    assert_allclose(lanes.values, single.values, rtol=1e-5, atol=1e-7)


def test_scheduled_events_and_computed_starts_are_those_of_a_single_run():
    experiment = Experiment().dose("C", "20 umol/L", at="3 d", every="9 d", count=3)
    table = {"kin": [1.0, 2.0, 4.0], "kon": [50.0, 500.0, 5000.0]}

    lanes, single = both(binding(), experiment, table, until="30 d", every="1 d")

    assert_allclose(lanes["weeks"], np.tile(lanes.times // (7 * 86400), (3, 1)))
    assert_allclose(lanes.values, single.values, rtol=2e-5, atol=1e-7)


def test_a_change_of_a_parameter_at_the_start_changes_computed_starts():
    experiment = Experiment().set("kin", "6 umol/(L*d)", at=0)

    lanes, single = both(binding(), experiment, 2, until="1 h", every="1 h", outputs=["R"])

    assert_allclose(lanes["R"][:, 0], 3.0)
    assert_allclose(lanes["R"], single["R"], rtol=1e-6)


@pytest.mark.parametrize("method", ["rodas5p", "rodas5", "rodas4", "rodas4p"])
def test_every_method_solves_a_stiff_model(method):
    lanes, single = both(
        robertson(), None, {"a": [1.0, 0.9]}, method=method, times=[0.4, 4.0, 40.0, 400.0, 4000.0],
        rtol=1e-6,
    )  # fmt: skip

    assert lanes.record.methods[0].name == method
    assert_allclose(lanes.values, single.values, rtol=1e-3, atol=1e-9)


def test_state_events_are_those_of_a_single_run():
    lanes, single = both(
        ball(), None, {"h0": [2.0, 5.0, 10.0]}, outputs=["h", "v", "count"], until=4, every=0.05
    )

    assert_array_equal(lanes["count"], single["count"])
    assert_allclose(lanes["h"], single["h"], atol=1e-6)
    assert lanes["count"].values.max() > 3

    heating = {"power": [2.5, 3.0, 4.0], "k": [0.1, 0.1, 0.15]}
    lanes, single = both(thermostat(), None, heating, until=20, every=0.5)

    assert_array_equal(lanes["on"], single["on"])
    assert_allclose(lanes["T"], single["T"], atol=1e-5)


def counter():
    """x' = rate; counts when the rate passes 1 (by 1) and when x passes 2 (by 10)."""
    return system(
        "Counter",
        {"x": (0.0, "1"), "n": (0.0, "1")},
        lambda m: {"x": m.rate, "n": 0},
        parameters={"rate": (0.5, "1/s")},
        events=lambda m, at: [
            EventRule("fast", m.rate - 1, None, None, ((at["n"], m.n + 1),)),
            EventRule("full", m.x - 2, None, None, ((at["n"], m.n + 10),)),
        ],
    )


@pytest.mark.parametrize(
    ("experiment", "counts"),
    [
        (Experiment().set("rate", 1.6, at=0.0), [1, 1, 11, 11]),
        (Experiment().set("rate", 2.0, at=1.0), [0, 1, 11, 11]),
        (Experiment().set("x", 3.0, at=0.0), [10, 10, 10, 10]),
        (Experiment().dose("x", 3.0, at=1.0), [0, 10, 10, 10]),
        (Experiment().set("x", 3.0, at=0.5).set("x", 1.0, at=1.5), [0, 10, 10, 10]),
        (Experiment().set("x", 3.0, at=0.5).set("x", 1.6, at=1.5), [0, 10, 10, 20]),
    ],
)
def test_an_event_that_does_not_move_its_trigger_fires_once(experiment, counts):
    lanes, single = both(counter(), experiment, 2, until=3, every=1, outputs=["n"])

    assert single["n"].values[0].tolist() == counts
    assert lanes["n"].values[0].tolist() == counts


def test_algebraic_quantities_are_those_of_the_closed_form():
    lanes, _ = both(circle(), None, {"y": [0.0, 0.5]}, outputs=["y", "z"], until=0.75, every=0.25)

    for row, begin in enumerate((0.0, 0.5)):
        angle = lanes.times + np.arcsin(begin)
        assert_allclose(lanes["y"][row], np.sin(angle), atol=1e-7)
        assert_allclose(lanes["z"][row], np.cos(angle), atol=1e-7)


def test_a_linear_model_is_solved_exactly_whatever_the_tolerance():
    """Two compartments after doses, by the matrix exponential of SciPy."""
    table = {"CL": [2.0, 5.0, 20.0], "ka": [0.4, 1.0, 3.0]}
    experiment = Experiment().dose("depot", "100 mg", every="6 h", count=2)

    result = Simulator(two_compartment()).run_many(
        experiment, table, ["C"], until="12 h", every="1 h", rtol=1e-2
    )

    assert result.record.choice.method == "exact"
    for i, (CL, ka) in enumerate(zip(table["CL"], table["ka"], strict=True)):
        A = np.array([[-ka, 0, 0], [ka, -(CL + 10) / 20, 10 / 50], [0, 10 / 20, -10 / 50]])
        dose = np.array([100.0, 0, 0])
        for t, found in enumerate(result["C"].values[i]):
            x = expm(A * t) @ dose + (expm(A * (t - 6)) @ dose if t >= 6 else 0)
            assert_allclose(found, x[1] / 20, rtol=1e-11, atol=1e-14)


def test_the_closed_form_is_met_at_the_tolerance():
    rates = np.geomspace(0.01, 10, 25)

    result = Simulator(driven()).run_many(
        Experiment().set("u", 2.0, at=1.0), {"k": rates}, until=5, every=0.5, rtol=1e-9
    )

    after = np.maximum(result.times - 1.0, 0.0)
    exact = 2.0 * -np.expm1(-rates[:, None] * after) / rates[:, None]
    assert_allclose(result["x"], exact, rtol=1e-7, atol=1e-9)


def test_a_row_with_a_missing_value_never_reaches_the_kernel():
    rates = np.array([1.0, np.nan, 2.0])

    result = Simulator(decay()).run_many(None, {"k": rates}, until=2, every=1, outputs=["c"])

    assert result.status.tolist() == [Status.SOLVED, Status.FAILED, Status.SOLVED]
    assert "missing" in result.reasons[1]
    assert len(result.fell_back) == 0


def test_whoever_fails_a_guard_is_solved_by_another_method_and_reported(monkeypatch):
    """The kernel gives up individual 1 always, and individual 2 at the first tolerance."""
    honest = Lanes.solve

    def strict(self, block, method):
        solved = honest(self, block, method)
        rate = block.columns[:, 0]
        lost = (rate == 2.0) | ((rate == 3.0) & (method.rtol > 1e-7))
        solved.status[lost] = Status.FAILED
        solved.values[lost] = np.nan
        solved.reasons |= {int(i): "a pivot vanished" for i in np.flatnonzero(lost)}
        return solved

    monkeypatch.setattr(Lanes, "solve", strict)
    result = Simulator(decay()).run_many(
        None, {"k [1/s]": [1.0, 2.0, 3.0]}, until=2, every=1, outputs=["c"], method="rodas5p"
    )

    assert result.fell_back.tolist() == [1, 2]
    assert [str(result.record.methods[m]) for m in result.method] == [
        "rodas5p at rtol 1e-06",
        "single at rtol 1e-06",
        "rodas5 at rtol 1e-07",
    ]
    assert not result.reasons
    exact = 2 * np.exp(-np.outer([1.0, 2.0, 3.0], result.times))
    assert_allclose(result["c"], exact, rtol=1e-5, atol=1e-7)
    assert result.accepted[1] > result.accepted[0]  # the work of all attempts counts


def test_the_kernel_is_named_in_the_record():
    result = Simulator(decay()).run_many(None, 3, until=2, every=1)

    machine = result.record.machine
    assert machine["lanes"] >= 2
    assert machine["cpu"]
    assert len(machine["kernel"]) == 64


def test_other_individuals_and_blocks_do_not_matter():
    rng = np.random.default_rng(8)
    table = {"kon": 500 * np.exp(rng.standard_normal(150)), "C": rng.uniform(1, 20, 150)}
    settings = {"until": "20 d", "every": "1 d", "method": "rodas5p"}
    simulator = Simulator(binding())

    whole = simulator.run_many(None, table, **settings)
    order = rng.permutation(150)[:70]
    some = simulator.run_many(None, {k: v[order] for k, v in table.items()}, **settings)
    threads = simulator.run_many(None, table, workers=3, **settings)

    assert_array_equal(some.values, whole.values[order])
    assert_array_equal(threads.values, whole.values)
    assert_array_equal(some.accepted, whole.accepted[order])

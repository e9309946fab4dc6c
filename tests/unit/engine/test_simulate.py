"""Runs against analytic solutions; all systems are written by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from galenic.engine import Experiment, Simulator
from galenic.errors import ModelError, UnitError, UnknownName

from .systems import ball, circle, decay, driven, oscillator, tanks, thermostat, two_compartment


def test_first_order_decay_is_exact_to_the_tolerance():
    result = Simulator(decay()).run(until="20 min", every="1 min")

    assert_allclose(result["c"], 2 * np.exp(-0.2 * result.times / 60), rtol=2e-6)


def test_values_are_given_in_any_unit():
    result = Simulator(decay()).run(values={"k": "0.01 1/s", "c": "500 mmol/L"}, until=100)

    assert_allclose(result["c"][-1], 0.5 * np.exp(-1), rtol=2e-6)


def test_an_oscillator_keeps_its_phase_over_many_periods():
    result = Simulator(oscillator()).run(until=50, rtol=1e-8)

    assert_allclose(result["x"], np.cos(2 * result.times), atol=1e-5)


def test_an_index_one_dae_follows_the_circle():
    result = Simulator(circle()).run(until=1)

    assert_allclose(result["y"], np.sin(result.times), atol=2e-6)
    assert_allclose(result["z"], np.cos(result.times), atol=2e-6)


def test_a_step_and_a_ramp_of_an_input_are_exact():
    """x' = -x/2 + u with u = 1 from 1 s and a ramp to 3 between 4 s and 8 s."""
    experiment = Experiment().set("u", 1.0, at=1).ramp("u", 3.0, start=4, stop=8)
    result = Simulator(driven()).run(experiment, times=[0, 1, 4, 6, 8, 12], rtol=1e-9)

    x4 = 2 * (1 - np.exp(-1.5))
    s = np.array([2.0, 4.0])
    ramp = 0.5 * (2 * s - 4) + 2 + (x4 + 2 - 2) * np.exp(-s / 2)
    x12 = 6 + (ramp[1] - 6) * np.exp(-2)
    assert_allclose(result["x"], [0, 0, x4, *ramp, x12], rtol=1e-7)
    assert_allclose(result["u"], [0, 1, 1, 2, 3, 3])


def test_a_bolus_infusion_and_repeated_doses_add_up():
    """Superposition: two half doses at one time equal one whole dose; infusion into state too."""
    simulator = Simulator(two_compartment())
    whole = simulator.run(Experiment().dose("central", "100 mg", at="1 h"), until="12 h")
    halves = Experiment().dose("central", "50 mg", at="1 h").dose("central", 50.0, at="1 h")
    through_state = Experiment().dose("central", "100 mg", duration="2 h", every="6 h", count=2)
    through_input = Experiment().dose("infusion", "100 mg", duration="2 h", every="6 h", count=2)

    assert_allclose(simulator.run(halves, until="12 h")["C"], whole["C"], rtol=1e-9)
    assert_allclose(
        simulator.run(through_state, until="12 h")["C"],
        simulator.run(through_input, until="12 h")["C"],
        rtol=1e-6,
        atol=1e-9,
    )
    assert whole.at("1 h")["C"] == pytest.approx(5.0)


def test_a_run_can_be_cut_in_two():
    simulator = Simulator(two_compartment())
    experiment = Experiment().dose("depot", "100 mg", every="8 h", count=3)
    whole = simulator.run(experiment, until="24 h", every="1 h", rtol=1e-8)
    first = simulator.run(experiment, until="8 h", rtol=1e-8)
    second = simulator.run(experiment, start=first.final, until="24 h", every="1 h", rtol=1e-8)

    assert_allclose(second["C"], whole.window("8 h", "24 h")["C"], rtol=1e-7)


def test_doses_at_the_end_belong_to_the_next_run():
    simulator = Simulator(two_compartment())
    result = simulator.run(Experiment().dose("central", "10 mg", at="2 h"), until="2 h")

    assert result["central"][-1] == 0


def test_bounces_happen_at_the_analytic_times():
    result = Simulator(ball()).run(until=8, every=0.1)

    fall = np.sqrt(2 * 10 / 9.81)
    bounces = fall * (1 + 2 * np.array([0, 0.8, 0.8 + 0.64, 0.8 + 0.64 + 0.512]))
    assert [event.name for event in result.events] == ["bounce"] * 4
    assert_allclose([event.time for event in result.events], bounces, rtol=1e-10)
    assert result["count"][-1] == 4
    assert result["h"].min() > -1e-9


def test_a_mode_switches_with_hysteresis():
    result = Simulator(thermostat()).run(until=30, rtol=1e-10)

    assert [e.name for e in result.events[:4]] == ["hot", "cold", "hot", "cold"]
    assert_allclose(result.events[0].time, 10 * np.log(15 / 9), rtol=1e-10)
    assert result["T"][60:].max() < 21 + 1e-6


def test_wrong_names_and_units_are_told_when_run():
    simulator = Simulator(two_compartment())

    with pytest.raises(UnknownName, match="centrall") as caught:
        simulator.run(Experiment().dose("centrall", "1 mg"), until="1 h")
    assert "central" in caught.value.hint
    with pytest.raises(UnitError, match=r"\[L\].*\[mg\]"):
        simulator.run(Experiment().dose("central", "1 L"), until="1 h")
    with pytest.raises(UnitError, match="at once"):
        simulator.run(Experiment().dose("infusion", "1 mg"), until="1 h")
    with pytest.raises(UnitError, match="no unit"):
        simulator.run(Experiment().dose("infusion", 1.0, duration="1 h"), until="1 h")
    with pytest.raises(UnitError):
        simulator.run(values={"CL": "5 L"}, until="1 h")
    with pytest.raises(ModelError, match="no end"):
        simulator.run()


def test_a_conserved_amount_does_not_drift_over_doses_and_infusions():
    experiment = (
        Experiment()
        .dose("depot", "100 mg", every="6 h", count=3)
        .dose("infusion", "50 mg", at="3 h", duration="2 h")
        .dose("peripheral", "20 mg", at="1 h", duration="90 min")
    )
    result = Simulator(two_compartment()).run(experiment, until="24 h")

    assert result.drift("drug") < 1e-8


def test_a_thousand_tanks_compile_and_run():
    result = Simulator(tanks(1000)).run(until=100, every=50)

    assert result["tank[0].c"][-1] == pytest.approx(1.0, rel=1e-6)
    assert result["tank[99].c"][-1] == pytest.approx(0.5, abs=0.03)


def test_threads_share_a_simulator_without_disturbing_each_other():
    simulator = Simulator(decay())
    rates = np.linspace(0.05, 0.5, 40)

    def end(rate):
        return simulator.run(values={"k": f"{rate} 1/min"}, until="20 min", every="1 min")["c"]

    alone = [end(rate) for rate in rates]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(end, rates))

    assert_array_equal(np.array(together), np.array(alone))

"""Steady states and linear models."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Simulator
from galenic.errors import SolveError

from .systems import circle, driven, oscillator, robertson, system, tanks, two_compartment


def test_an_infusion_reaches_dose_rate_over_clearance():
    state = Simulator(two_compartment()).steady(inputs={"infusion": "10 mg/h"})

    assert state["C"] == pytest.approx(2.0, rel=1e-9)
    assert state["peripheral"] == pytest.approx(100.0, rel=1e-9)


def test_a_closed_system_keeps_its_content():
    """Robertson ends with everything in c; its Jacobian is singular."""
    state = Simulator(robertson()).steady()

    assert_allclose(state.x, [0, 0, 1], atol=1e-7)


def test_the_steady_state_that_the_start_leads_to_is_found():
    """x' = x - x^3: 1 from the right of 0, -1 from the left, though 0 is a root too."""
    bistable = Simulator(system("Bistable", {"x": (0.1, "1")}, lambda m: {"x": m.x - m.x**3}))

    assert bistable.steady()["x"] == pytest.approx(1)
    assert bistable.steady({"x": -0.1})["x"] == pytest.approx(-1)


def test_large_chains_and_algebraic_equations():
    assert_allclose(Simulator(tanks(300)).steady().x, 1000, rtol=1e-9)
    mixed = system(
        "Mixed",
        {"x": (0.0, "1")},
        lambda m: {"x": m.z - m.x},
        algebraics={"z": (0.0, "1")},
        alg=lambda m: [m.z**3 + m.z - 2 - 0.5 * m.x],
    )
    state = Simulator(mixed).steady()
    assert state["x"] == pytest.approx(state["z"])
    assert state["z"] ** 3 + 0.5 * state["z"] == pytest.approx(2)


def test_what_only_accumulates_is_named():
    filling = system("Filling", {"level": (0.0, "m")}, lambda m: {"level": 1e-3})

    with pytest.raises(SolveError, match="level") as caught:
        Simulator(filling).steady()
    assert caught.value.state == "level"


def test_poles_and_gain_of_a_first_order_lag():
    linear = Simulator(driven()).linearise()

    assert_allclose(linear.poles, [-0.5])
    assert_allclose(linear.time_constants, [2.0])
    assert_allclose(linear.gain, [[2.0]])
    assert linear.is_stable
    assert linear.state_space().A.shape == (1, 1)


def test_an_oscillator_has_a_pair_on_the_axis():
    linear = Simulator(oscillator()).linearise()

    assert_allclose(np.sort(linear.poles.imag), [-2, 2])
    assert not linear.is_stable


def test_algebraic_quantities_are_eliminated():
    """y' = z, z = sqrt(1 - y^2): A = -y / z."""
    simulator = Simulator(circle())
    linear = simulator.linearise(simulator.state({"y": 0.6}), outputs=["z", "y"])

    assert_allclose(linear.A, [[-0.75]])
    assert_allclose(linear.C, [[-0.75], [1.0]])

"""Forward and adjoint derivatives against formulas and central differences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Experiment, Simulator
from galenic.errors import DataError, ModelError, UnknownName

from .systems import ball, circle, decay, driven, thermostat, two_compartment

HOURS = [f"{k} h" for k in range(0, 25, 3)]
REGIMEN = (
    Experiment()
    .dose("depot", "100 mg", every="8 h", count=3)
    .dose("central", "20 mg", at="4 h")
    .dose("infusion", "5 mg", at="2 h", duration="3 h")
)


def differences(model, experiment, found, times, step=4e-3):
    """Fourth-order central differences of tightly solved runs."""
    simulator = Simulator(model)

    def outputs(path, value):
        unit = simulator.compiled.entry(path).unit
        result = simulator.run(
            experiment, values={path: value / unit.scale}, times=times, rtol=1e-11
        )
        return np.array([result.si(name) for name in found.outputs]).T

    columns = []
    for path, at in zip(found.wrt, found.at, strict=True):
        h = step * max(abs(at), 0.1 * simulator.compiled.entry(path).unit.scale)
        near = outputs(path, at + h) - outputs(path, at - h)
        far = outputs(path, at + 2 * h) - outputs(path, at - 2 * h)
        columns.append((8 * near - far) / (12 * h))
    return np.moveaxis(np.array(columns), 0, 2)


@pytest.mark.parametrize("method", ["forward", "adjoint"])
def test_decay_has_the_derivatives_of_the_formula(method):
    """c = c0 exp(-k t): dc/dk = -t c, dc/dc0 = exp(-k t)."""
    times = [0, 60, 300, 900]
    found = Simulator(decay()).sensitivities(
        wrt=["k", "c"], outputs=["c", "rate"], times=times, method=method
    )

    t, k = np.array(times), 0.2 / 60
    assert_allclose(found.values[:, 0, 0], -t * 2000 * np.exp(-k * t), rtol=1e-6, atol=1e-6)
    assert_allclose(found.values[:, 0, 1], np.exp(-k * t), rtol=1e-7)
    assert_allclose(found.values[:, 1, 1], k * np.exp(-k * t), rtol=1e-7)
    assert found["c", "k"].unit.text == "(mol/L)/(1/min)"
    assert_allclose(found["c", "k"][1], -2 * np.exp(-0.2), rtol=1e-6)
    assert_allclose(found.relative("c", "k"), -k * t, atol=1e-6)


def test_products_with_the_hessian_agree_with_differences_of_gradients():
    """Doses, bounces that move, an algebraic quantity."""
    cases = [
        (two_compartment(), Experiment().dose("depot", "100 mg"), ["CL", "V1"], ["C"]),
        (ball(), None, ["g", "e", "h0"], ["h", "v"]),
        (circle(), None, ["y"], ["z"]),
    ]
    for model, experiment, wrt, outputs in cases:
        times = ["1 h", "5 h"] if experiment else [0.7, 1.1 if "y" in wrt else 2.0]
        response = Simulator(model).response(experiment, wrt, outputs, times=times, rtol=1e-11)
        weights = np.arange(1.0, 1 + 2 * len(outputs)).reshape(2, -1)
        direction = response.point * np.linspace(1.0, 0.5, len(response.wrt))

        found = response.hessian_product(weights, direction)

        gradients = []
        for sign in (1, -1):
            moved = Simulator(model).response(experiment, wrt, outputs, times=times, rtol=1e-11)
            moved.function  # noqa: B018  recorded at the point, before it moves
            moved.point = response.point + sign * 1e-5 * direction
            gradients.append(moved.gradient(weights))
        expected = (gradients[0] - gradients[1]) / 2e-5
        assert_allclose(found, expected, rtol=2e-5, atol=1e-7 * np.abs(expected).max())

    with pytest.raises(DataError, match="direction with 3 elements"):
        response.hessian_product(weights, [1.0, 2.0, 3.0])


def test_doses_infusions_and_a_constant_input_pass_through():
    found = Simulator(two_compartment()).sensitivities(
        REGIMEN, ["CL", "V1", "ka", "central", "infusion"], ["C", "peripheral"], times=HOURS
    )

    expected = differences(two_compartment(), REGIMEN, found, HOURS)
    scale = np.abs(expected).max(axis=0)
    assert (np.abs(found.values - expected).max(axis=0) / scale).max() < 1e-6


def test_adjoint_equals_forward():
    arguments = (REGIMEN, ["CL", "ka", "infusion"], ["C"])
    simulator = Simulator(two_compartment())
    forward = simulator.sensitivities(*arguments, times=HOURS)
    adjoint = simulator.sensitivities(*arguments, times=HOURS, method="adjoint")

    assert_allclose(adjoint.values, forward.values, rtol=1e-9, atol=1e-12)

    weights = np.linspace(1, 2, len(HOURS))[:, None]
    gradient = simulator.response(*arguments, times=HOURS).gradient(weights)
    assert_allclose(gradient, np.tensordot(weights, forward.values, 2), rtol=1e-9)


def test_an_algebraic_equation_is_differentiated():
    """y = sin(t + asin y0), z = cos(...): dy/dy0 = z / z0."""
    times = [0, 0.4, 1.0]
    found = Simulator(circle()).sensitivities(
        wrt=["y"], outputs=["y", "z"], values={"y": 0.3}, times=times
    )

    z0, angle = np.sqrt(1 - 0.09), np.array(times) + np.arcsin(0.3)
    assert_allclose(found.values[:, 0, 0], np.cos(angle) / z0, rtol=1e-6)
    assert_allclose(found.values[:, 1, 0], -np.sin(angle) / z0, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "wrt", "outputs", "times"),
    [
        (ball, ["g", "e", "h0", "v"], ["h", "v"], [0, 1, 2, 3, 4, 5, 6]),
        (thermostat, ["power", "k", "T"], ["T"], [0, 5.5, 7, 20]),
    ],
)
def test_event_times_and_resets_are_differentiated(model, wrt, outputs, times):
    found = Simulator(model()).sensitivities(wrt=wrt, outputs=outputs, times=times, rtol=1e-10)

    expected = differences(model(), None, found, times, step=1e-3)
    scale = np.abs(expected).max(axis=0)
    assert (np.abs(found.values - expected).max(axis=0) / scale).max() < 2e-6


def test_a_response_is_a_function_of_its_quantities():
    response = Simulator(driven()).response(
        Experiment().set("u", 1.0), ["k"], ["x"], times=[0, 1, 2]
    )

    assert_allclose(response([0.8])[:, 0], (1 - np.exp(-0.8 * response.times)) / 0.8, rtol=1e-7)


def test_wrong_requests_are_told():
    simulator = Simulator(decay())

    with pytest.raises(UnknownName, match="kk"):
        simulator.sensitivities(wrt=["kk"], outputs=["c"], until=1)
    with pytest.raises(UnknownName, match="method"):
        simulator.sensitivities(wrt=["k"], outputs=["c"], until=1, method="both")
    with pytest.raises(ModelError, match="nothing"):
        simulator.sensitivities(wrt=[], outputs=["c"], until=1)

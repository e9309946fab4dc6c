"""Forward sensitivities in kernels: closed forms, central differences, events that move.

The step looks at the states only, so sensitivities carry about the relative error of the states;
at rtol 1e-9 they are asked to agree to 1e-6 of their largest value.
"""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Simulator
from galenic.engine.native import (
    Events,
    Kind,
    Problem,
    compile_kernel,
    sensitive_events,
    with_sensitivities,
)
from galenic.errors import DataError

from ...unit.engine.native.problems import problem, target_mediated, whole_body
from ...unit.engine.systems import ball, circle, thermostat


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALENIC_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


def central_differences(kernel, theta, j, run, share=3e-5):
    step = share * theta[:, j]
    up, down = theta.copy(), theta.copy()
    up[:, j] += step
    down[:, j] -= step
    return (run(kernel, up) - run(kernel, down)) / (2 * step[:, None, None])


@pytest.mark.parametrize("make", [whole_body, target_mediated])
def test_central_differences_agree(make):
    case = make(4)
    base = replace(case.problem, defaults=case.theta[0])
    wrt = range(base.n_theta)
    events = case.events(4)

    found = compile_kernel(with_sensitivities(base, wrt)).run(
        case.theta, case.times, sensitive_events(events, base, wrt), rtol=1e-9, atol=1e-11
    )

    def run(kernel, theta):
        return kernel.run(theta, case.times, events, rtol=1e-11, atol=1e-13).values

    plain = compile_kernel(base)
    outputs = int(base.y.numel())
    for column, j in enumerate(wrt):
        expected = central_differences(plain, case.theta, j, run)
        own = found.values[..., outputs * (1 + column) : outputs * (2 + column)]
        largest = np.abs(expected).max(axis=1, keepdims=True)
        assert (np.abs(own - expected) / largest).max() < 1e-6


@pytest.mark.parametrize("make", [whole_body, target_mediated])
def test_casadi_agrees(make):
    """CasADi's forward sensitivities by CVODES, from dose to dose."""
    case = make(2)
    base = replace(case.problem, defaults=case.theta[0])
    wrt = range(base.n_theta)
    times = np.array([5.0, 13.0, 20.0, 24.0])
    events = sensitive_events(case.events(2), base, wrt)

    found = compile_kernel(with_sensitivities(base, wrt)).run(
        case.theta, times, events, rtol=1e-9, atol=1e-11, before=True
    )

    for one, theta in zip(found.values, case.theta, strict=True):
        expected = _casadi_sensitivities(case, theta, times)
        own = one[:, expected.shape[2] :].reshape(len(times), len(wrt), -1)
        largest = np.abs(expected).max(axis=0)
        assert (np.abs(own - expected) / np.where(largest > 0, largest, 1.0)).max() < 1e-6


def _casadi_sensitivities(case, theta, times):
    """dy/dtheta (time, parameter, output) by legs between doses."""
    base = case.problem
    p = ca.MX.sym("p", base.n_theta)
    start = ca.Function("start", [base.theta], [ca.densify(base.x0)])
    output = ca.Function("output", [base.x, base.theta], [base.y])
    dae = {"x": base.x, "p": base.theta, "ode": base.ode}
    options = {"reltol": 1e-11, "abstol": 1e-13, "max_num_steps": 100_000}
    x, now, rows = start(p), 0.0, []
    doses = {time: (index, amount) for time, index, amount in case.doses}
    for time in sorted({*doses, *times}):
        if time > now:
            leg = ca.integrator("leg", "cvodes", dae, now, time, options)
            x, now = leg(x0=x, p=p)["xf"], time
        if time in times:
            rows.append(output(x, p))
        if time in doses:
            index, amount = doses[time]
            x = x + amount * ca.DM.eye(base.nx)[:, index]
    y = ca.vertcat(*rows)
    slope = np.array(ca.Function("slope", [p], [ca.jacobian(y, p)])(theta))
    return slope.reshape(len(times), -1, base.n_theta).transpose(0, 2, 1)


def test_doses_with_a_factor_are_differentiated():
    """x' = -k x, dose F D: x = F D exp(-k t), dx/dF = D exp(-k t), dx/dk = -t x."""
    base = problem("decay", 1, 2, lambda x, p, t: [-p[0] * x[0]])
    base = replace(base, defaults=np.array([0.3, 0.8]))
    events = Events.shared(2, [0.0], [Kind.ADD], [0], [10.0], [1])
    theta, times = np.array([[0.3, 0.8], [0.5, 0.2]]), np.array([0.0, 1.0, 5.0])

    for method in ("rodas5p", "exact"):
        kernel = compile_kernel(with_sensitivities(base, [0, 1]), method)
        found = kernel.run(theta, times, sensitive_events(events, base, [0, 1]), rtol=1e-10)

        k, share = theta[:, :1], theta[:, 1:]
        x = share * 10.0 * np.exp(-k * times)
        expected = np.stack([x, -times * x, x / share], axis=-1)
        assert_allclose(found.values, expected, rtol=1e-8, atol=1e-9)


def test_sensitivities_follow_state_events():
    """A ball that bounces: the instants move with gravity, height and restitution."""
    system = ball()
    base = Problem.of_system(system, ["h", "v"])
    wrt = [base.layout["parameter", name] for name in ("g", "e", "h0")]
    times = np.array([1.0, 2.0, 3.0, 4.5])

    found = compile_kernel(with_sensitivities(base, wrt)).run(
        [base.defaults], times, rtol=1e-10, atol=1e-12
    )

    exact = Simulator(system).sensitivities(
        wrt=["g", "e", "h0"], outputs=["h", "v"], times=times, rtol=1e-10
    )
    for column, name in enumerate(("g", "e", "h0")):
        own = found.values[0, :, 2 * (1 + column) : 2 * (2 + column)]
        expected = np.column_stack([_column(exact, path, name) for path in ("h", "v")])
        assert_allclose(own, expected, rtol=1e-6, atol=1e-7)


def _column(sensitivity, output, parameter):
    return np.asarray(sensitivity[output, parameter], dtype=float).ravel()


def test_modes_do_not_hide_what_came_before():
    """A thermostat: after each switch the temperature remembers when the one before happened."""
    base = Problem.of_system(thermostat(), ["T"])
    j = base.layout["parameter", "power"]
    times = np.linspace(1.3, 30.3, 30)
    kernel = compile_kernel(base)

    found = compile_kernel(with_sensitivities(base, [j])).run(
        [base.defaults], times, rtol=1e-10, atol=1e-12
    )

    def run(kernel, theta):
        return kernel.run(theta, times, rtol=1e-11, atol=1e-13).values

    expected = central_differences(kernel, np.array([base.defaults]), j, run, 1e-5)
    assert_allclose(found.values[0, :, 1], expected[0, :, 0], rtol=1e-4, atol=1e-4)


def test_algebraic_quantities_are_differentiated():
    """y' = z, y^2 + z^2 = 1 from y(0) = y0: y = sin(t + asin y0), dy/dy0 = z / z0."""
    base = Problem.of_system(circle(), ["y", "z"])
    start = ca.SX.sym("start")
    base = replace(base, theta=start, x0=start, defaults=np.array([0.1]))
    times = np.linspace(0, 1.2, 7)

    found = compile_kernel(with_sensitivities(base, [0])).run([[0.1]], times, rtol=1e-9, atol=1e-11)

    phase = times + np.arcsin(0.1)
    y, z = np.sin(phase), np.cos(phase)
    slope = 1 / np.sqrt(1 - 0.01)
    expected = np.column_stack([y, z, z * slope, -y * slope])
    assert_allclose(found.values[0], expected, rtol=1e-6, atol=1e-7)


def test_what_cannot_be_differentiated_is_refused():
    base = problem("decay", 1, 2, lambda x, p, t: [-p[0] * x[0]])

    with pytest.raises(DataError, match="changes element 0"):
        sensitive_events(Events.shared(1, [1.0], [Kind.THETA], [0], [2.0]), base, [0])
    with pytest.raises(DataError, match="scales a state"):
        sensitive_events(Events.shared(1, [1.0], [Kind.SCALE], [0], [2.0], [1]), base, [1])

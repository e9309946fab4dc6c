"""The one-step map against analytic solutions and central differences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Simulator, Transition
from galenic.errors import ModelError, SolveError

from .systems import circle, decay, robertson, system, tanks, two_compartment


def central(function, at, size):
    columns = []
    for i in range(len(at)):
        up, down = np.array(at, dtype=float), np.array(at, dtype=float)
        h = size * max(abs(at[i]), 1e-3)
        up[i], down[i] = up[i] + h, down[i] - h
        columns.append((function(up) - function(down)) / (2 * h))
    return np.array(columns).T


def competing():
    """A nonlinear pair with an input, an algebraic quantity and outputs."""
    return system(
        "Competing",
        {"a": (1.5, "1"), "b": (0.7, "1")},
        lambda m: {"a": m.a * (1 - m.b) + m.u, "b": m.k * m.b * (m.a - m.s)},
        inputs={"u": (0.1, "1/s")},
        parameters={"k": (1.0, "1/s"), "w": (0.3, "1")},
        algebraics={"s": (1.0, "1")},
        alg=lambda m: [m.s**3 + m.s - m.w * m.a - 1],
        outputs={"y": ("1", lambda m: m.a * m.s + m.w * m.u)},
    )


def test_a_step_of_two_time_constants_is_close_to_the_exponential():
    transition = Transition(decay())
    after = transition.step([2000.0], [], [0.2 / 60], 600)

    assert_allclose(after, 2000 * np.exp(-2), rtol=1e-3)
    tight = Transition(decay(), tolerance=1e-7).step([2000.0], [], [0.2 / 60], 600)
    assert_allclose(tight, 2000 * np.exp(-2), rtol=1e-7)


def test_the_order_is_three():
    errors = [
        abs(Transition(circle(), substeps=n).step([0.3], [], [], 0.6)[0]
            - np.sin(np.arcsin(0.3) + 0.6))
        for n in (4, 8, 16)
    ]  # fmt: skip

    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.35)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(3, abs=0.35)


@pytest.mark.parametrize("substeps", [1, 4])
def test_the_derivatives_are_those_of_the_numerical_step(substeps):
    transition = Transition(competing(), substeps=substeps)
    x, u, p = np.array([1.5, 0.7]), np.array([0.1]), np.array([1.0, 0.3])

    after, by_x, by_u, by_p = transition.linear(x, u, p, 0.8)

    assert_allclose(after, transition.step(x, u, p, 0.8), rtol=1e-12)
    assert_allclose(by_x, central(lambda v: transition.step(v, u, p, 0.8), x, 1e-4), atol=1e-6)
    assert_allclose(by_u, central(lambda v: transition.step(x, v, p, 0.8), u, 1e-4), atol=1e-6)
    assert_allclose(by_p, central(lambda v: transition.step(x, u, v, 0.8), p, 1e-4), atol=1e-6)


def test_the_derivatives_of_outputs_pass_through_the_algebraic_quantities():
    transition = Transition(competing())
    x, u, p = np.array([1.5, 0.7]), np.array([0.1]), np.array([1.0, 0.3])

    y, by_x, by_u, by_p = transition.observe_linear(x, u, p)

    assert_allclose(y, transition.observe(x, u, p))
    assert_allclose(by_x, central(lambda v: transition.observe(v, u, p), x, 1e-5), atol=1e-8)
    assert_allclose(by_u, central(lambda v: transition.observe(x, v, p), u, 1e-5), atol=1e-8)
    assert_allclose(by_p, central(lambda v: transition.observe(x, u, v), p, 1e-5), atol=1e-8)


def test_a_stiff_model_needs_no_small_steps():
    """Robertson over 40 s in steps of 0.1 s."""
    transition = Transition(robertson(), dt=0.1, substeps=1)
    x = np.array([1.0, 0.0, 0.0])
    for _ in range(400):
        x = transition.step(x, [], [])

    exact = Simulator(robertson()).run(times=[0, 40], rtol=1e-9)
    assert_allclose(x[0], exact["a"][-1], rtol=1e-4)
    assert x.sum() == pytest.approx(1, abs=1e-9)


def test_a_step_agrees_with_the_simulator():
    chain = tanks(40)
    transition = Transition(chain, tolerance=1e-5)
    u, p = (transition.compiled.defaults(kind) for kind in ("input", "parameter"))
    x = np.linspace(1000, 0, 40)
    start = {f"tank[{i}].c": f"{x[i]} mol/m^3" for i in range(40)}

    result = Simulator(chain).run(values=start, times=[0, 2], rtol=1e-9)

    expected = [result.si(f"tank[{i}].c")[-1] for i in range(40)]
    assert_allclose(transition.step(x, u, p, 2.0), expected, atol=0.01)


def test_the_map_is_a_function_of_its_arguments_alone():
    """Two calls with the same arguments give the same bits, whatever came between."""
    transition = Transition(competing())
    arguments = np.array([1.5, 0.7]), np.array([0.1]), np.array([1.0, 0.3]), 0.8
    first = transition.linear(*arguments)
    transition.linear(np.array([0.1, 3.0]), np.array([2.0]), np.array([2.0, 0.1]), 0.3)
    second = transition.linear(*arguments)

    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_growth_without_limit_is_named():
    explosive = system("Explosive", {"x": (1.0, "1")}, lambda m: {"x": m.x**2})

    with pytest.raises(SolveError, match="x") as caught:
        Transition(explosive).step([1.0], [], [], 2.0)
    assert caught.value.state == "x"
    with pytest.raises(SolveError, match="a step of None"):
        Transition(explosive).step([1.0], [], [])


def test_collocation_gives_the_solution_where_its_defects_vanish():
    """Radau of degree 5 on x' = -k x over one time constant is exact to 1e-8."""
    import casadi as ca

    collocation = Transition(decay()).collocation(5)
    rate, h = 0.2 / 60, 300.0
    unknown = ca.SX.sym("X", 1, 5)
    defects, _, end = collocation.defects(0, h, 2000.0, unknown, ca.SX(0, 5), ca.SX(0, 1), rate)
    solved = ca.Function("s", [unknown], [ca.jacobian(ca.vec(defects), ca.vec(unknown)), defects])
    matrix, residual = solved(0)
    values = -np.linalg.solve(np.array(matrix), np.array(residual).ravel())

    assert_allclose(values, 2000 * np.exp(-rate * h * collocation.points), rtol=2e-6)
    assert_allclose(values[-1], 2000 * np.exp(-1), rtol=1e-8)
    assert ca.Function("e", [unknown], [end])(values) == pytest.approx(values[-1])
    with pytest.raises(ModelError, match="gauss"):
        Transition(decay()).collocation(3, "gauss")


def test_functions_are_offered_for_use_in_an_nlp():
    functions = Transition(two_compartment()).functions

    assert functions.rhs.n_in() == 5
    assert functions.start.n_out() == 1

"""States and sensitivities stepped together: forms of equations, and lanes that know nobody."""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from galenic.engine.native import (
    METHODS,
    Events,
    Kind,
    Problem,
    Status,
    compile_kernel,
    with_sensitivities,
)
from galenic.engine.native import sensitive_events as sensitive
from galenic.engine.native.methods import method_named
from galenic.engine.native.transformed import combinations, shortened

from .problems import problem, target_mediated


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALENIC_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


def bits(array):
    return np.ascontiguousarray(array).view(np.uint64)


def mixed_case():
    """Binding with doses, all six parameters, 21 individuals."""
    case = target_mediated(21)
    base = replace(case.problem, defaults=case.theta[0])
    events = sensitive(case.events(21), base, range(6))
    return case, with_sensitivities(base, range(6)), events


def rows(events, chosen):
    """The same schedule for some of the individuals."""
    events.first, events.last = events.first[: len(chosen)], events.last[: len(chosen)]
    return events


def test_an_individual_alone_equals_itself_in_a_crowd():
    """Order, neighbours, threads and the number of lanes leave every derivative as it is."""
    case, made, events = mixed_case()
    times = case.times[:40]
    kernel = compile_kernel(made, lanes=8)
    order = np.random.default_rng(5).permutation(21)

    whole = kernel.run(case.theta, times, events)
    narrow = compile_kernel(made, lanes=4).run(case.theta[order], times, events)
    threads = kernel.run(case.theta, times, events, threads=2)

    assert_array_equal(bits(narrow.values), bits(whole.values[order]))
    assert_array_equal(bits(threads.values), bits(whole.values))
    for i in (0, 13, 20):
        alone = kernel.run(case.theta[[i]], times, rows(mixed_case()[2], [i]))
        assert_array_equal(bits(alone.values[0]), bits(whole.values[i]))


def test_absurd_individuals_leave_the_derivatives_of_others_alone():
    case, made, events = mixed_case()
    times = case.times[:40]
    kernel = compile_kernel(made)
    good = kernel.run(case.theta, times, events)
    theta = case.theta.copy()
    bad = {2: np.nan, 9: np.inf, 10: -1e308, 17: 0.0}
    for row, value in bad.items():
        theta[row, 1] = value

    mixed = kernel.run(theta, times, events, max_steps=20_000)

    rest = [i for i in range(21) if i not in bad]
    assert_array_equal(bits(mixed.values[rest]), bits(good.values[rest]))
    assert mixed.status[2] == mixed.status[17] == Status.NOT_FINITE


def forms_of_equations() -> Problem:
    """Rows of all forms: affine, driven by time, with a coefficient of time, not linear."""
    return problem(
        "forms",
        4,
        3,
        lambda x, p, t: [
            -p[0] * x[0] + p[1] * ca.sin(t),
            p[0] * x[0] - p[1] * (1 + 0.5 * ca.cos(t)) * x[1],
            p[1] * x[1] - p[2] * x[2] / (1 + x[2]) + 0.1 * x[3] * ca.exp(-t),
            x[2] - p[2] * x[3] + p[0] * p[1],
        ],
        x0=lambda p: [p[2], 1.0, p[0] * p[1], 0.5],
        defaults=np.array([0.7, 1.3, 0.4]),
    )


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_every_form_are_differentiated(method):
    """Against central differences; times fall inside of steps as well."""
    base = forms_of_equations()
    times = np.linspace(0.0, 6.0, 13)
    kernel = compile_kernel(base, method)
    theta = np.array([base.defaults, [1.5, 0.2, 2.0]])

    found = compile_kernel(with_sensitivities(base, [0, 1, 2]), method).run(
        theta, times, rtol=1e-9, atol=1e-11
    )

    for j in range(3):
        step = 1e-5 * np.eye(3)[j]
        run = [
            kernel.run(theta + sign * step, times, rtol=1e-12, atol=1e-14).values
            for sign in (1, -1)
        ]
        expected = (run[0] - run[1]) / 2e-5
        own = found.values[..., 4 * (1 + j) : 4 * (2 + j)]
        assert np.abs(own - expected).max() < 2e-7


def test_affine_rows_need_no_product():
    """The sums that stages are made of leave a steady state where it is."""
    for method in METHODS.values():
        arguments, sums, dense = combinations(method)

        assert_allclose([sum(row) for row in arguments], 1.0, rtol=1e-13)
        assert_allclose([sum(row) for row in sums], 1 / method.gamma, rtol=1e-12)
        assert_allclose([sum(row) for row in dense], 0.0, atol=1e-11)


def coupled() -> Problem:
    """x' = -z2 with a (z1 - x) + (z2 - x) = 0 and (z1 - x) + 2 (z2 - x) = 0, so z1 = z2 = x.

    a = 1 makes the first pivot; as it goes to zero the equations stay solvable, by other pivots.
    """
    x, z, theta, t = (ca.SX.sym(name, n) for name, n in (("x", 1), ("z", 2), ("p", 2), ("t", 1)))
    one, two = z[0] - x, z[1] - x
    return Problem(
        name="coupled", t=t, x=x, z=z, theta=theta, ode=-theta[1] * z[1],
        alg=ca.vertcat(theta[0] * one + two, one + 2 * two), y=ca.vertcat(x, z), x0=ca.SX(1.0),
        z0=(1.0, 1.0), layout={}, defaults=np.array([1.0, 0.5]), nominal=np.ones(3),
        states=("x", "z1", "z2"), outputs=("x", "z1", "z2"),
    )  # fmt: skip


@pytest.mark.parametrize("differentiated", [False, True])
def test_a_lost_pivot_is_told_by_name_and_leaves_other_lanes_alone(differentiated):
    """At t = 1 the pivot of one individual goes from 1 to 1e-30: its digits are lost."""
    base = coupled()
    made = with_sensitivities(base, [1]) if differentiated else base
    kernel = compile_kernel(made)
    theta, times = np.array([[1.0, 0.5], [1.0, 0.5], [1.0, 0.9]]), np.array([0.5, 3.0])
    quiet = Events([0, 0, 0, 0], [], [], [], [])
    lost = Events([0, 0, 1, 1], [1.0], [Kind.THETA], [0], [1e-30])

    good = kernel.run(theta, times, quiet, rtol=1e-8)
    bad = kernel.run(theta, times, lost, rtol=1e-8)

    assert bad.status.tolist() == [Status.OK, Status.PIVOT, Status.OK]
    assert_allclose(bad.reached[1], 1.0, rtol=1e-12)
    assert_allclose(bad.values[1, 0, 0], np.exp(-0.25), rtol=1e-7)
    assert np.isnan(bad.values[1, 1]).all()
    assert_array_equal(bits(bad.values[[0, 2]]), bits(good.values[[0, 2]]))
    if differentiated:
        assert_allclose(good.values[0, :, 3], -times * np.exp(-0.5 * times), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "short"), [("rodas5p", True), ("rodas5", True), ("rodas4", False)]
)
def test_the_last_sums_follow_from_the_two_before(name: str, short: bool) -> None:
    """In methods with two stages of v alone: the same coefficients, by another way."""
    method = method_named(name)
    _, sums, _ = combinations(method)

    found = shortened(method, sums)

    assert bool(found) == short
    if short:
        units = np.eye(method.stages + 1)[-3:-1]
        again = np.array(found) @ np.vstack([sums[-3], sums[-2], units])
        assert np.allclose(again, sums[-1], rtol=0, atol=1e-11)

"""What a kernel promises: one individual, one result; events, times, failures, threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from galenic.engine.native import (
    METHODS,
    Control,
    Events,
    Kind,
    Status,
    compile_kernel,
    is_linear,
)
from galenic.errors import DataError, ModelError, UnknownName

from .problems import problem, target_mediated, two_compartments


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALENIC_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


def decay():
    """x' = -k x + r; theta = (k, r, x0, bioavailability)."""
    return problem("decay", 1, 4, lambda x, p, t: [-p[0] * x[0] + p[1]], x0=lambda p: [p[2]])


def saturable():
    """Michaelis-Menten elimination with an input that follows the time of day: not linear."""
    import casadi as ca

    return problem(
        "saturable",
        2,
        3,
        lambda x, p, t: [-p[0] * x[0], p[0] * x[0] - p[1] * x[1] / (p[2] + x[1]) + ca.sin(t)],
        x0=lambda p: [p[2], 1.0],
    )


def bits(array):
    return np.ascontiguousarray(array).view(np.uint64)


@pytest.mark.parametrize("method", ["rodas5p", "exact"])
@pytest.mark.parametrize("lanes", [4, 16])
def test_bits_depend_on_nothing_but_the_individual(method, lanes):
    """Order, neighbours, batch size, threads, and even the number of lanes."""
    case = two_compartments(45)
    kernel = compile_kernel(case.problem, method, lanes=lanes)
    other = compile_kernel(case.problem, method, lanes=8)
    order = np.random.default_rng(3).permutation(45)

    whole = other.run(case.theta, case.times, case.events(45))
    shuffled = kernel.run(case.theta[order], case.times, case.events(45))
    two = kernel.run(case.theta, case.times, case.events(45), threads=2)
    alone = [kernel.run(case.theta[[i]], case.times, case.events(1)) for i in (0, 17, 44)]

    assert_array_equal(bits(shuffled.values), bits(whole.values[order]))
    assert_array_equal(bits(two.values), bits(whole.values))
    assert_array_equal(two.accepted, whole.accepted)
    for one, i in zip(alone, (0, 17, 44), strict=True):
        assert_array_equal(bits(one.values[0]), bits(whole.values[i]))


def test_absurd_individuals_touch_nobody():
    case = target_mediated(40)
    kernel = compile_kernel(case.problem)
    good = kernel.run(case.theta, case.times, case.events(40))
    theta = case.theta.copy()
    bad = {3: np.nan, 11: np.inf, 12: -1e308, 26: 1e300, 39: 0.0}
    for row, value in bad.items():
        theta[row, 1] = value

    mixed = kernel.run(theta, case.times, case.events(40), max_steps=20_000)

    rest = [i for i in range(40) if i not in bad]
    assert_array_equal(bits(mixed.values[rest]), bits(good.values[rest]))
    assert (mixed.status[rest] == Status.OK).all()
    assert mixed.status[3] == mixed.status[39] == Status.NOT_FINITE
    assert np.isnan(mixed.values[3, 1:]).all()


@pytest.mark.parametrize("method", [*METHODS, "exact"])
def test_each_kind_of_event_does_what_it_says(method):
    """Against the closed form x(t) = (x - r/k) exp(-k t) + r/k between events."""
    kernel = compile_kernel(decay(), method)
    k, r, start, share = 0.3, 0.0, 2.0, 0.7
    rows = [
        (1.0, Kind.ADD, 0, 3.0, -1),
        (2.0, Kind.ADD, 0, 3.0, 3),
        (3.0, Kind.SCALE, 0, 0.5, -1),
        (4.0, Kind.SET, 0, 1.25, -1),
        (5.0, Kind.THETA, 1, 0.4, -1),
        (5.0, Kind.THETA, 0, 0.6, -1),
        (6.5, Kind.RESTART, 0, 0.0, -1),
        (9.0, Kind.ADD, 0, 100.0, -1),
    ]
    times = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 6.5, 8.0, 9.0])

    def closed(before):
        x, at, kk, rr, found, left = start, 0.0, k, r, {}, {}
        for time, kind, index, value, factor in [*rows, (9.0, None, 0, 0, -1)]:
            for t in times[(times >= at) & (times <= time)]:
                found[t] = (x - rr / kk) * np.exp(-kk * (t - at)) + rr / kk
                left.setdefault(t, found[t])
            x = (x - rr / kk) * np.exp(-kk * (time - at)) + rr / kk
            at = time
            if time >= 9.0:
                break
            value = value * (share if factor == 3 else 1.0)
            if kind == Kind.ADD:
                x += value
            elif kind == Kind.SCALE:
                x *= value
            elif kind == Kind.SET:
                x = value
            elif kind == Kind.RESTART:
                x = start
            elif index == 1:
                rr = value
            else:
                kk = value
            found[time] = x
        return np.array([(left if before else found)[t] for t in times])

    for before in (False, True):
        events = Events([0, len(rows)], *zip(*rows, strict=True))
        run = kernel.run(
            [[k, r, start, share]], times, events, before=before, rtol=1e-9, atol=1e-12
        )
        expected = closed(before)
        expected[0] = start

        assert run.status[0] == Status.OK
        assert_allclose(run.values[0, :, 0], expected, rtol=2e-8)


def test_individuals_have_their_own_times_events_and_spans():
    kernel = compile_kernel(decay())
    theta = [[0.5, 0.0, 1.0, 1.0], [0.25, 0.0, 4.0, 1.0], [1.0, 0.0, 2.0, 1.0]]
    events = Events([0, 1, 1, 3], [1.0, 0.5, 1.5], [Kind.ADD] * 3, [0] * 3, [1.0, 2.0, 3.0])
    offsets, flat = [0, 2, 2, 5], [0.5, 2.0, 1.0, 2.0, 3.0]

    run = kernel.run(
        theta, (offsets, flat), events, start=[0.0, 0.0, 0.5], stop=[2.5, 1.0, 3.0],
        rtol=1e-9, keep_final=True,
    )  # fmt: skip

    after = np.exp
    third = 2.0 + 2.0
    expected = [
        after(-0.25),
        after(-1.0) + after(-0.5),
        third * after(-0.5),
        (third * after(-1.0) + 3) * after(-0.5),
        (third * after(-1.0) + 3) * after(-1.5),
    ]
    assert run.values.shape == (5, 1)
    assert_allclose(run.values[:, 0], expected, rtol=1e-8)
    assert_allclose(run.final[1, 0], 4 * after(-0.25), rtol=1e-8)
    assert_array_equal(run.reached, [2.5, 1.0, 3.0])


def test_a_run_goes_on_from_its_final_states():
    kernel = compile_kernel(saturable())
    theta = np.array([[0.5, 1.0, 2.0], [0.2, 0.7, 5.0]])
    whole = kernel.run(theta, [2.0, 6.0], rtol=1e-10, atol=1e-12)

    first = kernel.run(theta, [2.0], rtol=1e-10, atol=1e-12, keep_final=True)
    rest = kernel.run(theta, [6.0], start=2.0, states=first.final, rtol=1e-10, atol=1e-12)

    assert_allclose(rest.values[:, -1], whole.values[:, -1], rtol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_time_in_the_equations_keeps_the_order(method):
    """x' = -50 (x - cos t) - sin t from x = 1 has the solution cos t."""
    import casadi as ca

    kernel = compile_kernel(
        problem(
            "forced", 1, 1, lambda x, p, t: [-p[0] * (x[0] - ca.cos(t)) - ca.sin(t)],
            x0=lambda p: [1.0],
        ),
        method,
    )  # fmt: skip

    for rtol in (1e-5, 1e-8):
        times = np.linspace(0, 5, 26)
        run = kernel.run([[50.0]], times, rtol=rtol, atol=rtol, keep_final=True)

        # Steps are as long as the step error allows; the dense output inside is one order lower.
        assert abs(run.final[0, 0] - np.cos(5.0)) < 3 * rtol
        assert np.abs(run.values[0, :, 0] - np.cos(times)).max() < 30 * rtol
        assert run.accepted[0] < 1000


def test_failures_have_a_status_and_nan_after_them():
    explosive = problem("explosive", 1, 1, lambda x, p, t: [x[0] ** 2], x0=lambda p: [p[0]])
    kernel = compile_kernel(explosive)

    run = kernel.run([[1.0], [0.1]], [0.5, 0.9, 2.0], max_steps=5000)
    short = kernel.run([[0.1]], [0.5, 0.9, 2.0], max_steps=3)

    assert run.status[0] in (Status.STEP_TOO_SMALL, Status.NOT_FINITE, Status.TOO_MANY_STEPS)
    assert abs(run.reached[0] - 1.0) < 1e-3  # 1 / (1 - t) ends at t = 1
    assert_allclose(run.values[0, :2, 0], [2.0, 10.0], rtol=1e-5)
    assert np.isnan(run.values[0, 2, 0])
    assert run.status[1] == Status.OK
    assert short.status[0] == Status.TOO_MANY_STEPS


def test_a_run_can_be_cancelled_from_another_thread():
    case = target_mediated(4000)
    kernel = compile_kernel(case.problem)
    control = Control()
    outcomes = []

    def work():
        outcomes.append(
            kernel.run(case.theta, case.times, case.events(4000), rtol=1e-11, control=control)
        )

    worker = threading.Thread(target=work)
    worker.start()
    while control.taken == 0:
        pass
    control.cancel()
    worker.join()

    status = outcomes[0].status
    cancelled = outcomes[0].values[status == Status.CANCELLED]
    assert np.isnan(cancelled[:, -1]).all()
    assert np.isfinite(outcomes[0].values[status == Status.OK]).all()
    assert (status == Status.CANCELLED).any()
    assert np.isin(status, [Status.CANCELLED, Status.OK]).all()


def test_a_steady_infusion_ends_in_its_plateau():
    kernel = compile_kernel(decay(), "exact")
    events = Events.shared(2, [1.0, 41.0], [Kind.THETA] * 2, [1, 1], [0.6, 0.0], [3, -1])

    run = kernel.run([[0.3, 0.0, 0.0, 0.5]] * 2, [0.5, 41.0, 43.0], events, before=True)

    plateau = 0.6 * 0.5 / 0.3 * (1 - np.exp(-0.3 * 40))
    assert_allclose(run.values[:, :, 0], [[0.0, plateau, plateau * np.exp(-0.6)]] * 2, rtol=1e-14)


def test_wrong_shapes_and_orders_are_refused():
    kernel = compile_kernel(decay())
    theta = [[0.5, 0.0, 1.0, 1.0]]

    with pytest.raises(DataError, match="theta has the shape"):
        kernel.run([[1.0]], [1.0])
    with pytest.raises(DataError, match="earlier than the one before"):
        kernel.run(theta, [2.0, 1.0])
    with pytest.raises(DataError, match="ends at"):
        kernel.run(theta, [0.0])
    with pytest.raises(DataError, match="begins at 3"):
        kernel.run(theta, [1.0, 4.0], start=3.0)
    with pytest.raises(DataError, match="event 1 is earlier"):
        kernel.run(theta, [9.0], Events([0, 2], [2.0, 1.0], [0, 0], [0, 0], [1, 1]))
    with pytest.raises(DataError, match="kind ADD has the index"):
        kernel.run(theta, [9.0], Events([0, 1], [2.0], [Kind.ADD], [1], [1.0]))
    with pytest.raises(DataError, match="relative tolerance"):
        kernel.run(theta, [9.0], rtol=0.0)
    with pytest.raises(UnknownName, match="rodas9"):
        compile_kernel(decay(), "rodas9")
    with pytest.raises(ModelError, match="cannot be stepped exactly"):
        compile_kernel(saturable(), "exact")


def test_linear_models_are_recognised():
    assert is_linear(decay())
    assert is_linear(two_compartments(1).problem)
    assert not is_linear(saturable())
    assert not is_linear(problem("ramp", 1, 2, lambda x, p, t: [p[1] * t - p[0] * x[0]]))
    assert not is_linear(target_mediated(1).problem)


def test_exact_steps_equal_the_exponential_of_scipy():
    """A stiff chain with a source: rates over six orders of magnitude."""
    from scipy.linalg import expm

    rates = np.array([1e3, 3.0, 0.02, 1e-3])

    def ode(x, p, t):
        return [
            p[4] - p[0] * x[0],
            p[0] * x[0] - p[1] * x[1] + p[2] * x[2],
            p[1] * x[1] - p[2] * x[2] - p[3] * x[2],
            p[3] * x[2],
        ]

    kernel = compile_kernel(problem("chain", 4, 5, ode, x0=lambda p: [1.0, 2.0, 0.0, 0.0]), "exact")
    source = 0.25
    matrix = np.zeros((5, 5))
    a, b, c, d = rates
    matrix[:4, :4] = [[-a, 0, 0, 0], [a, -b, c, 0], [0, b, -c - d, 0], [0, 0, d, 0]]
    matrix[0, 4] = source
    times = [1e-5, 1e-3, 0.2, 0.3, 7.0, 100.0]

    run = kernel.run([[*rates, source]], times)

    expected = [(expm(matrix * t) @ [1.0, 2.0, 0.0, 0.0, 1.0])[:4] for t in times]
    # scipy squares a matrix of norm 1e5 seventeen times: it has about 1e-11 of relative error
    assert_allclose(run.values[0], expected, rtol=1e-10)


def test_conditions_have_no_derivative_and_are_seen_all_the_same():
    """x' = -1 while x > 3 is not linear; a rate from t = 3 on is met on the way."""
    import casadi as ca

    falling = problem("falling", 1, 1, lambda x, p, t: [-p[0] * (x[0] > 3)], x0=lambda p: [5.0])
    late = problem("late", 1, 1, lambda x, p, t: [ca.if_else(t > 3, p[0], 0.0)])

    down = compile_kernel(falling).run([[0.5]], [2.0, 8.0], rtol=1e-8)
    up = compile_kernel(late).run([[0.5]], [2.0, 8.0], rtol=1e-8)

    assert not is_linear(falling)
    assert not is_linear(late)
    assert_allclose(down.values[0, :, 0], [4.0, 3.0], atol=1e-4)
    assert_allclose(up.values[0, :, 0], [0.0, 2.5], atol=1e-6)

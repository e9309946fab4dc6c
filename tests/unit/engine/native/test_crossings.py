"""No crossing of the dense output is passed over, however short; what is not sure is told."""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from galenic.engine.native import Events, Kind, Status, compile_kernel

from .problems import problem


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALENIC_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


def counter(*levels):
    """x' = theta; each event of trigger k maps the count c to 2 c + k."""
    base = problem("counter", 2, 1, lambda x, p, t: [p[0], ca.SX(0)])
    x, count = ca.vertsplit(base.x)
    rules = tuple(ca.vertcat(x, 2 * count + k) for k in range(1, 1 + len(levels)))
    triggers = tuple((k, level(x, base.t)) for k, level in enumerate(levels))
    return replace(base, rules=rules, triggers=triggers)


def counts(level, slopes, until=10.0):
    """How often the trigger fires, and how often that is in doubt, per slope."""
    base = counter(level)
    x, count = ca.vertsplit(base.x)
    kernel = compile_kernel(replace(base, rules=(ca.vertcat(x, count + 1),)))
    run = kernel.run([[slope] for slope in slopes], [until])
    assert (run.status == Status.OK).all()
    return run.values[:, -1, 1].tolist(), run.doubtful.tolist()


def test_an_oscillation_much_faster_than_the_steps():
    """sin(10 x) with x = t rises through zero every 0.2 pi; a step is as long as the run."""
    assert counts(lambda x, t: ca.sin(10 * x), [1.0, 0.5]) == ([15.0, 7.0], [0, 0])
    assert counts(lambda x, t: ca.cos(40 * t), [1.0]) == ([63.0], [0])


def test_excursions_that_last_no_time():
    """Above zero for 2e-9 of the run, for 1e-4 of it, only by a jump."""
    assert counts(lambda x, t: 1e-16 - (x - 3.3) ** 2, [1.0]) == ([1.0], [0])
    assert counts(lambda x, t: 2.5e-7 - (x - 3.3) ** 2, [1.0]) == ([1.0], [0])
    assert counts(lambda x, t: ca.if_else(ca.fabs(x - 7.1) < 1e-3, 1, -1), [1.0])[0] == [1.0]


def test_a_grazing_contact_is_told():
    """(x - 3.3)^2 touches zero: whether that is a crossing is a matter of round-off."""
    fired, doubtful = counts(lambda x, t: -((x - 3.3) ** 2), [1.0])

    assert fired == [0.0]
    assert doubtful[0] > 0


def test_poles_and_flat_stretches_do_no_harm():
    assert counts(lambda x, t: ca.fmin(x - 5, 0) - 1e-3, [1.0]) == ([0.0], [0])
    assert counts(lambda x, t: ca.fmax(x - 5, 0) - 1, [1.0]) == ([1.0], [0])
    fired, _ = counts(lambda x, t: 1 / (5 - x) - 3, [1.0])
    assert fired == [1.0]  # through the pole it falls


def test_two_triggers_in_one_step_fire_in_their_order():
    """Second first by a millionth, then the first; both at once go by number."""
    early = counter(lambda x, t: x - 5 - 1e-6, lambda x, t: x - 5)
    same = counter(lambda x, t: x - 5, lambda x, t: 2 * x - 10)

    one = compile_kernel(early).run([[1.0]], [10.0])
    other = compile_kernel(same).run([[1.0]], [10.0])

    assert one.values[0, 0, 1] == 2 * 2 + 1
    assert other.values[0, 0, 1] == 2 * 1 + 2


K, HIGH = 0.3, 1.5


def vessel():
    """x fills at a rate and decays, y is its integral; two events, one of them quick.

    theta = (rate). At x = HIGH half of it is let go; each time sin(6 y) rises through zero
    x gains a tenth.
    """
    base = problem("vessel", 2, 1, lambda x, p, t: [p[0] - K * x[0], x[0]])
    x, y = ca.vertsplit(base.x)
    return replace(
        base,
        rules=(ca.vertcat(x / 2, y), ca.vertcat(x + 0.1, y)),
        triggers=((0, x - HIGH), (1, ca.sin(6 * y))),
    )


def by_cvodes(doses, rates, until):
    """The vessel by CVODES on a fine grid, crossings between nodes bisected."""
    x, p = ca.SX.sym("x", 2), ca.SX.sym("p", 2)
    dae = {"x": x, "p": p, "ode": p[1] * ca.vertcat(p[0] - K * x[0], x[0])}
    options = {"reltol": 1e-11, "abstol": 1e-13}
    grid = np.linspace(0, 1, 401)[1:]
    many = ca.integrator("many", "cvodes", dae, 0, list(grid), options)
    one = ca.integrator("one", "cvodes", dae, 0, 1, options)

    def levels(state):
        return np.array([state[0] - HIGH, np.sin(6 * state[1])])

    state, time, rate = np.zeros(2), 0.0, 0.0
    last = levels(state)
    stops = sorted({0.0, *doses, *rates, until})
    while time < until:
        if time in stops:
            rate = rates.get(time, rate)
            state = np.add(state, [doses.get(time, 0.0), 0.0])
        for _ in range(50):
            now = levels(state)
            fired = (last < 0) & (now >= 0)
            last = now
            if not fired.any():
                break
            state = np.array([state[0] / 2 if fired[0] else state[0], state[1]])
            state[0] += 0.1 * fired[1]
        stop = next(s for s in stops if s > time)
        nodes = np.array(many(x0=state, p=[rate, stop - time])["xf"]).T
        seen = np.array([last, *map(levels, nodes)])
        rising = ((seen[:-1] < 0) & (seen[1:] >= 0)).any(axis=1)
        if not rising.any():
            state, time, last = nodes[-1], stop, seen[-1]
            continue
        k = int(np.argmax(rising))
        begin = state if k == 0 else nodes[k - 1]
        low, high = 0.0, (stop - time) / 400
        for _ in range(45):
            middle = (low + high) / 2
            at = levels(np.array(one(x0=begin, p=[rate, middle])["xf"]).ravel())
            low, high = (low, middle) if ((seen[k] < 0) & (at >= 0)).any() else (middle, high)
        state = np.array(one(x0=begin, p=[rate, high])["xf"]).ravel()
        time, last = time + k * (stop - time) / 400 + high, seen[k]
    return state


@settings(max_examples=12, deadline=None)
@given(
    doses=st.dictionaries(st.integers(1, 29), st.floats(0.05, 1.2), max_size=3),
    rates=st.dictionaries(st.integers(0, 29), st.floats(0.0, 0.8), min_size=1, max_size=3),
)
def test_random_schedules_with_state_events_agree_with_cvodes(doses, rates):
    doses = {time / 3: amount for time, amount in doses.items()}
    rates = {time / 3: rate for time, rate in rates.items()}
    rows = [(time, Kind.THETA, 0, rate) for time, rate in rates.items()]
    rows += [(time, Kind.ADD, 0, amount) for time, amount in doses.items()]
    rows.sort(key=lambda row: row[0])
    events = Events.shared(1, *zip(*rows, strict=True))

    run = compile_kernel(vessel()).run([[0.0]], [10.0], events, rtol=1e-10, atol=1e-12)

    expected = by_cvodes(doses, rates, 10.0)
    assert run.status[0] == Status.OK
    assert_allclose(run.values[0, 0], expected, rtol=1e-6)

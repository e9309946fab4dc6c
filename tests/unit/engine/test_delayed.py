"""Exact delays: closed forms, jumps, events, and what refuses them."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from galenic import Experiment, Model, Output, Parameter, Simulator, State, When, delay, der
from galenic.errors import ModelError, SolveError, StructureError


class Echo(Model):
    """x' = -a x(t - lag): oscillates, although a single state."""

    a = Parameter(1.0, "1/s", "strength")
    lag = Parameter(1.0, "s", "delay")
    x = State(1.0, "1", "state", nominal=1)
    y = Output("1", "what x was")

    def equations(m):
        before = delay(m.x, m.lag, exact=True, name="before")
        yield der(m.x) == -m.a * before
        yield m.y == before


def steps(t: float, a: float = 1.0, lag: float = 1.0) -> float:
    """The solution by steps: sum over k of (-a (t - (k - 1) lag))^k / k! while the base is > 0."""
    total, k = 0.0, 0
    while k == 0 or t - (k - 1) * lag > 0:
        total += (-a * (t - (k - 1) * lag)) ** k / math.factorial(k) if k else 1.0
        k += 1
    return total


TIMES = np.linspace(0, 6, 49)


@pytest.mark.parametrize(("rtol", "allowed"), [(1e-6, 2e-6), (1e-9, 2e-9)])
def test_the_method_of_steps_on_paper_is_met(rtol, allowed):
    run = Simulator(Echo()).run(times=TIMES, rtol=rtol)

    exact = np.array([steps(t) for t in TIMES])
    assert np.abs(run["x"] - exact).max() < allowed
    assert np.abs(run["y"] - [steps(max(t - 1, 0)) for t in TIMES]).max() < allowed


class Pipe(Model):
    """A decaying content seen at the end of two pipes, one behind the other."""

    k = Parameter(0.5, "1/s", "decay")
    lag = Parameter(0.7, "s", "delay of each pipe")
    x = State(0.0, "mg", "content", nominal=1)
    seen = State(0.0, "mg s", "content at the end, summed up")
    late = Output("mg", "content at the end")

    def equations(m):
        late = delay(delay(m.x, m.lag, exact=True), m.lag, exact=True)
        yield der(m.x) == -m.k * m.x
        yield der(m.seen) == late
        yield m.late == late


def test_a_dose_arrives_as_a_sharp_jump_two_delays_later():
    experiment = Experiment().dose("x", "1 mg", at="0.3 s").dose("x", "2 mg", at="1.1 s")
    times = [0.2, 0.3, 1.69, 1.7, 2.0, 2.49, 2.5, 4.0]
    run = Simulator(Pipe()).run(experiment, times=times, rtol=1e-9)

    def content(t):
        parts = ((amount, t - at) for amount, at in ((1, 0.3), (2, 1.1)) if t >= at)
        return sum(amount * math.exp(-0.5 * since) for amount, since in parts)

    assert run["late"] == pytest.approx([content(t - 1.4) for t in times], abs=1e-8)
    assert run["seen"][-1] == pytest.approx(
        2 * (1 - math.exp(-0.5 * 2.3)) + 4 * (1 - math.exp(-0.5 * 1.5)), abs=1e-8
    )


class Bell(Echo):
    """Starts anew whenever what x was falls below -0.3."""

    count = State(0.0, "1", "rings", discrete=True)

    def events(m):
        yield When(delay(m.x, m.lag, exact=True) < -0.3, {m.x: 1.0, m.count: m.count + 1})


def test_an_event_may_look_at_the_past():
    """x = 1 - t, then 1 - t + (t-1)^2/2 is -0.3 at 1.4254; seen one delay later."""
    run = Simulator(Bell()).run(times=[2.0, 2.5, 2.6], rtol=1e-9)

    first = 2 - math.sqrt(1 - 0.6)  # u^2/2 - u + 0.3 = 0 for u = t - 1
    assert [event.time for event in run.events] == pytest.approx([first + 1], abs=1e-7)
    assert list(run["count"]) == [0, 1, 1]
    t = 2.5 - run.events[0].time
    before = [steps(first + share * t) for share in np.linspace(0, 1, 2001)]
    assert run["x"][1] == pytest.approx(1 - np.trapezoid(before, dx=t / 2000), abs=1e-6)


def test_fast_transients_shorten_the_legs():
    """x' = -a (x - x(t - lag)) with a lag 10,000 times its time constant, forced by a ramp."""

    class Stiff(Model):
        a = Parameter(1e4, "1/s", "strength")
        x = State(0.0, "1", "state", nominal=1)
        seen = Output("1", "what x was")

        def equations(m):
            yield der(m.x) == m.a * (1.0 - m.x)
            yield m.seen == delay(m.x, "1 s", exact=True)

    times = [1.0, 1.0001, 1.0003, 1.001, 1.5]
    run = Simulator(Stiff()).run(times=times, rtol=1e-8)

    assert run["seen"] == pytest.approx([1 - math.exp(-1e4 * (t - 1)) for t in times], abs=1e-7)


def test_a_system_with_delays_travels_as_bytes():
    system = Echo().flatten()
    again = pickle.loads(pickle.dumps(system))

    assert again.identity == system.identity
    assert again.delays[0].input == system.delays[0].input
    found = Simulator(again).run(times=[2.5])
    assert found["x"][-1] == pytest.approx(steps(2.5), abs=1e-6)


def test_individuals_may_differ_in_their_delay():
    lags = [0.6, 1.0, 1.3]
    many = Simulator(Echo()).run_many(
        None, {"lag": lags}, outputs=["x"], times=[0.0, 1.5, 4.0], rtol=1e-9
    )

    exact = [[steps(t, 1.0, lag) for t in (0.0, 1.5, 4.0)] for lag in lags]
    assert np.abs(np.asarray(many["x"]) - exact).max() < 1e-7
    assert "exact delays (before)" in many.record.choice.why


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s.linearise(),
        lambda s: s.steady(),
        lambda s: s.sensitivities(wrt=["a"], outputs=["x"], until="1 s"),
        lambda s: s.run(start=s.run(until="1 s").final, until="2 s"),
    ],
    ids=["linearise", "steady", "sensitivities", "go on"],
)
def test_what_needs_a_finite_state_refuses_by_name(use):
    with pytest.raises(ModelError, match=r"exact delays \(before\)"):
        use(Simulator(Echo()))


def test_mistakes_are_named():
    with pytest.raises(ModelError, match="earlier value"):
        Simulator(Echo()).run({}, values={"before": 1.0}, until="1 s")
    with pytest.raises(ModelError, match="earlier value"):
        Simulator(Echo()).run(Experiment().set("before", 1.0, at="0.5 s"), until="1 s")
    with pytest.raises(SolveError, match="the exact delay before is 0 s"):
        Simulator(Echo()).run(values={"lag": 0.0}, until="1 s")

    class Moving(Model):
        x = State(1.0, "s", "state")
        y = Output("s", "what x was")

        def equations(m):
            yield der(m.x) == 1.0
            yield m.y == delay(m.x, m.x, exact=True)

    with pytest.raises(StructureError, match="changes with states"):
        Moving().flatten()

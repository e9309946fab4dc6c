"""Events, modes and delays, flattened and simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from galenic import (
    At,
    Every,
    Input,
    Mode,
    Model,
    Output,
    Parameter,
    Part,
    State,
    When,
    delay,
    der,
    time,
    where,
)  # fmt: skip
from galenic.errors import ModelError, StructureError, UnitError


class Hopper(Model):
    """A hopper that is refilled between two levels."""

    level = State(4.0, "kg", "mass held")
    refills = State(0, "1", "number of refills", discrete=True)
    mode = Mode("feeding", "refilling")
    low = Parameter(1.0, "kg")
    high = Parameter(5.0, "kg")

    def equations(m):
        yield der(m.level) == where(m.mode.is_("refilling"), "0.9 kg/s", "-0.1 kg/s")

    def events(m):
        yield When(m.level < m.low, {m.mode: "refilling", m.refills: m.refills + 1}, name="start")
        yield When(m.level > m.high, {m.mode: "feeding"}, name="stop")


class Pair(Model):
    """Two hoppers and a clock."""

    left = Part(Hopper)
    right = Part(Hopper, level=2.0)
    ticks = State(0, "1", discrete=True)

    def events(m):
        yield Every("10 s", {m.ticks: m.ticks + 1})
        yield Every("1 min", {m.ticks: 0}, first="5 s", name="wrap")
        yield At("1:00", {m.left.level: "3 kg"})
        yield When(m.right.level > "100 kg", terminal=True, name="overflow")


def test_events_become_rules_with_paths():
    system = Pair().flatten()

    names = [rule.name for rule in system.events]
    assert names[1:2] + names[3:6] == ["wrap", "overflow", "left.start", "left.stop"]
    wrap = system.events[1]
    assert (wrap.first, wrap.period, wrap.trigger) == (5.0, 60.0, None)
    once = system.events[2]
    assert (once.first, once.period) == (3600.0, None)
    assert system.events[3].terminal
    assert [system.states[i].path for i, _ in system.events[4].resets] == [
        "left.mode",
        "left.refills",
    ]
    assert system.entry("left.mode").role == "discrete"


def test_modes_switch_at_the_exact_instant():
    result = Hopper().simulate(until="80 s", every="1 s")

    # 30 s down from 4 to 1 kg, then 40/9 s up to 5 kg, then 40 s down to 1 kg
    assert result.at("30 s")["level"] == pytest.approx(1.0, abs=1e-6)
    assert result.at("32 s")["level"] == pytest.approx(1.0 + 2 * 0.9, rel=1e-6)
    assert result.at("70 s")["level"] == pytest.approx(5.0 - (70 - 30 - 40 / 9) * 0.1, rel=1e-6)
    assert float(result["refills"][-1]) == 2


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        (lambda m: When(m.low > m.high, {m.low: 0}), StructureError, "which is no state"),
        (lambda m: When(m.level > m.high, {"level": 0}), StructureError, "which is no state"),
        (lambda m: When(m.level == m.high, {m.level: 0}), ModelError, "not a condition"),
        (lambda m: When(m.level > m.high, {}), StructureError, "changes nothing"),
        (lambda m: Every("0 s", {m.level: 0}), StructureError, "a period of 0 s"),
        (lambda m: When(m.level > m.high, {m.level: 5}), UnitError, "cannot reset level"),
        (lambda m: When(m.level > m.high, {m.mode: "idle"}), StructureError, "no mode 'idle'"),
    ],
)
def test_events_that_make_no_sense_are_named(event, error, message):
    bad = type("Bad", (Hopper,), {"events": lambda m: [event(m)], "__doc__": "Bad."})

    with pytest.raises(error, match=message):
        bad().flatten()


def test_a_mode_needs_names():
    with pytest.raises(StructureError, match="two different names"):
        Mode("on")


class Pipe(Model):
    """A signal that arrives later."""

    u = Input(0.0, "mol/L")
    tau = Parameter(10.0, "s", "delay", lower=0)
    y = Output("mol/L")

    def equations(m):
        yield m.y == delay(m.u, m.tau, stages=20, name="pipe")


def test_a_delay_is_the_documented_chain():
    from galenic import Experiment

    result = Pipe().simulate(Experiment().set("u", 1.0, at=5), until="40 s", every="0.5 s")

    # Erlang distribution: P(N >= 20) for a Poisson of mean 20 t / tau
    for t in (8.0, 10.0, 13.0):
        a = 20 * t / 10.0
        missing = sum(math.exp(-a + k * math.log(a) - math.lgamma(k + 1)) for k in range(20))
        assert result.at(5 + t)["y"] == pytest.approx(1 - missing, abs=2e-5)


def test_a_delay_starts_as_if_its_signal_had_always_been():
    class Warm(Pipe):
        """A delayed state."""

        c = State(3.0, "mol/L")

        def equations(m):
            yield der(m.c) == 0 * m.c / "1 s"
            yield m.y == delay(m.c, m.tau) + delay(m.u, "1 s", stages=1)

    system = Warm(u=2.0).flatten()

    starts = {e.path: e.value for e in system.states}
    assert starts["delay1[0]"] == starts["delay1[19]"] == pytest.approx(3000)
    assert starts["delay2[0]"] == pytest.approx(2000)


def test_a_delay_by_what_is_no_time_is_refused():
    bad = type("Bad", (Pipe,), {"equations": lambda m: [m.y == delay(m.u, "3 m")]})

    with pytest.raises(StructureError, match="a delay of"):
        bad().flatten()


def test_time_is_a_quantity():
    class Ramp(Model):
        """A ramp."""

        y = Output("m")
        x = State(0.0, "m")

        def equations(m):
            yield m.y == "2 m/s" * time()
            yield der(m.x) == m.y / "1 s"

    result = Ramp().simulate(until="3 s", every="1 s")

    assert np.asarray(result["y"]) == pytest.approx([0, 2, 4, 6])
    assert float(result["x"][-1]) == pytest.approx(9.0, rel=1e-6)

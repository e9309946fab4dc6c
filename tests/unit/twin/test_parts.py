"""Levels, interlocks, guard, health, genealogy, alarms: each by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.signals import Sample, Write
from galenic.twin.alarms import Alarms
from galenic.twin.binding import Binding, bind
from galenic.twin.example import transition
from galenic.twin.genealogy import Residence, Track, divert
from galenic.twin.guard import Guard, Move, Rule, View
from galenic.twin.interlock import Interlock
from galenic.twin.level import Level, Levels

SECOND = 1_000_000_000


def levels(level=Level.SHADOW) -> Levels:
    return Levels.starting(level, {"a": Level.TWIN, "b": Level.TWIN, "c": Level.SHADOW})


def write(tag) -> Write:
    return Write("k", tag, 1.0, "1", 0, 1)


def test_a_twin_shows_the_highest_level_of_its_bindings():
    one = levels().changed(Level.TWIN, ["b"], who="Ann", reason="try")

    assert one.shown is Level.TWIN
    assert one.refusal(write("b")) == ""
    assert "shadow" in one.refusal(write("a"))
    assert "no writable binding" in one.refusal(write("z"))


def test_a_binding_never_rises_above_its_ceiling():
    one = levels().changed(Level.TWIN, who="Ann", reason="all")

    assert one.tags == {"a": Level.TWIN, "b": Level.TWIN, "c": Level.SHADOW}
    with pytest.raises(NotPermitted, match="may not be"):
        levels().changed(Level.TWIN, ["c"], who="Ann", reason="try")


@given(st.sampled_from(Level), st.sampled_from(Level))
def test_lowering_never_raises(start, to):
    before = levels(start)

    after = before.lowered(to)

    assert after.shown <= before.shown
    assert all(after.tags[tag] <= before.tags[tag] for tag in before.tags)


def test_a_mistyped_level_is_suggested():
    with pytest.raises(UnknownName, match="shaddow") as caught:
        Level.of("shaddow")

    assert "'shadow'" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("A.Run and B > 2", True),
        ("A.Run and not B > 2", False),
        ("1 < B < 3.5 or false", True),
        ("abs(-B) + max(1, B) * 2 == 9", True),
        ("c[0] / B < 1", False),
    ],
)
def test_interlocks_are_evaluated(text, holds):
    values = {"A.Run": True, "B": 3.0, "c[0]": 6.0}

    assert (Interlock(text).failure(values) == "") is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "A.b()",
        "[1, 2]",
        "lambda: 1",
        "A if B else C",
        "A ** 9",
        "(x := 1)",
        "1 +",
    ],
)
def test_what_is_not_in_the_grammar_is_refused(text):
    with pytest.raises(DataError):
        _ = Interlock(text).names


def test_an_interlock_with_an_unknown_value_does_not_hold():
    assert "no usable value" in Interlock("A > 1").failure({})


RULE = Rule("a", 0.0, 10.0, rate=6.0, deadband=0.1, fresh={"b": 5.0})


def view(**changes) -> View:
    facts = View(100 * SECOND, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, {}, True)
    return replace(facts, **changes)


@pytest.mark.parametrize(
    ("move", "seen", "outcome", "words"),
    [
        (Move("a", 2.0), view(), "allow", ""),
        (Move("a", 1.05), view(), "same", "deadband"),
        (Move("a", 9.0), view(), "allow", "limited from 9"),
        (Move("a", -0.1), view(), "refuse", "outside 0 to 10"),
        (Move("a", float("inf")), view(), "refuse", "not a number"),
        (Move("z", 2.0), view(), "refuse", "no rule"),
        (Move("a", 2.0), view(credible=False, health="sick"), "refuse", "sick"),
        (Move("a", 2.0), view(ages={"b": 9.0}), "refuse", "9 s old"),
        (Move("a", 2.0), view(ages={}), "refuse", "no value yet"),
    ],
)
def test_the_guard_says_what_it_found(move, seen, outcome, words):
    verdict = Guard((RULE,)).judge(move, seen)

    assert verdict.outcome == outcome
    assert words in verdict.why


@given(st.floats(-5, 15), st.floats(0, 10), st.integers(0, 300))
def test_what_the_guard_allows_is_within_range_and_rate(wanted, present, span):
    seen = view(values={"a": present}, written={"a": ((100 - span) * SECOND, present)})

    verdict = Guard((RULE,)).judge(Move("a", wanted), seen)

    if verdict.outcome == "allow":
        assert 0.0 <= verdict.value <= 10.0
        assert abs(verdict.value - present) <= 6.0 / 60.0 * min(span, 60.0) + 1e-9


def test_residence_in_tanks_in_series_is_the_gamma_distribution():
    """Levenspiel, Chemical Reaction Engineering, 3rd ed., ch. 14: F = 1 - e^-2t (1 + 2t)."""
    for t in (0.1, 0.5, 1.0, 3.0):
        assert Residence(4.0, 2.0).passed(4.0 * t) == pytest.approx(
            1 - np.exp(-2 * t) * (1 + 2 * t)
        )


@given(
    st.floats(0.1, 10), st.floats(1, 8), st.floats(0, 3),
    st.lists(st.floats(0, 5), min_size=1, max_size=6),
)  # fmt: skip
def test_shares_of_lots_add_up_to_one(holdup, tanks, dead, steps):
    residence, track = Residence(holdup, tanks, dead), Track()
    for i, step in enumerate(steps):
        track = track.changed("p", i, f"L{i}").moved(step)

    assert sum(track.lots("p", residence).values()) == pytest.approx(1.0, abs=1e-6)


def test_what_is_forgotten_does_not_change_the_shares():
    residence, track = Residence(1.0, 3.0), Track()
    for i in range(40):
        track = track.changed("p", i, f"L{i}").moved(0.7)
    before = track.lots("p", residence)

    kept = track.forgotten({"p": residence})

    assert len(kept.marks) < 40
    for lot, share in kept.lots("p", residence).items():
        assert share == pytest.approx(before.get(lot, 0.0), abs=1e-5)


def test_a_short_pulse_is_diverted_between_the_two_crossings():
    residence = Residence(2.0, 3.0, 0.5)

    found = divert(residence, 10.0, 10.5, 0.01)

    for mass in (found.start, found.stop):
        share = residence.passed(mass - 10.0) - residence.passed(mass - 10.5)
        assert share == pytest.approx(0.01, abs=1e-6)
    assert found.start > 10.5 and found.mass > 0


def test_a_pulse_too_small_is_not_diverted():
    assert divert(Residence(2.0, 3.0), 10.0, 10.01, 0.01) is None


def test_an_alarm_stays_until_it_is_over_and_acknowledged():
    alarms = Alarms()
    assert len(alarms.raise_("k", "high", "hot", 1)) == 1
    assert alarms.raise_("k", "high", "hotter", 2) == []
    assert alarms.clear("k", 3)[0].active is False
    assert [a.text for a in alarms.standing()] == ["hotter"]

    alarms.acknowledge("k", "Ann")

    assert alarms.standing() == []


def test_calibration_goes_both_ways():
    system = transition().system
    channel = bind((Binding("F", "u0", direction="both", calibration=(2.0, 1.0)),), system)["F"]

    reading = channel.read(Sample("F", 3.0, "", 0, 0))

    assert reading.value == 7.0
    assert channel.value_of(7.0) == 3.0

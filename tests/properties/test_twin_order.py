"""Whatever the order of arrival, the twin ends in the same state; a shadow never writes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic.clock import SECOND
from galenic.inference.kalman import UKF
from galenic.signals import (
    Action,
    Command,
    Computed,
    Correction,
    Quality,
    Receipt,
    Sample,
    Tick,
    Write,
)
from galenic.twin.example import tank, transition, watched_tank
from galenic.twin.fold import FoldRules
from galenic.twin.level import Level
from galenic.twin.snapshot import restore
from galenic.twin.twin import Twin

T0 = 1_800_000_000 * SECOND
LATENESS = 60.0


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def unscented(system, noise):
    return UKF(transition(), noise, step=10.0, bounds=False)


ESTIMATORS = {
    "kalman": watched_tank(),
    "unscented": replace(watched_tank(), estimator=unscented),
    "sparse checkpoints": replace(watched_tank(), fold=FoldRules(LATENESS, checkpoint=1000.0)),
    "dense checkpoints": replace(watched_tank(), fold=FoldRules(LATENESS, checkpoint=0.0)),
}

values = st.floats(-1.0, 4.0, allow_nan=False, width=32)
times = st.integers(-3, 50)  # the twin begins at 0: inputs before it still hold


@st.composite
def days(draw) -> list:
    """Events of less than the lateness: samples, doses, late amendments and corrections."""
    events: list = []
    tags = st.sampled_from(["Tank.Out", "Tank.Probe", "Tank.Feed", "Lab.Out"])
    quality = st.sampled_from([Quality.GOOD, Quality.UNCERTAIN])
    rows = draw(st.lists(st.tuples(tags, times, values, quality), min_size=2, max_size=25))
    for i, (tag, t, value, grade) in enumerate(rows):
        events.append(Sample(tag, value, "", at(t), at(t), grade, source_key=f"s{i}"))
    for i, (t, value) in enumerate(draw(st.lists(st.tuples(times, values), max_size=3))):
        events.append(Action("u0", value, "s", at(t), at(t), "dose", source_key=f"d{i}"))
        if draw(st.booleans()):
            other, new = draw(times), draw(st.one_of(st.none(), values))
            events.append(
                Action(
                    "u0", new, "s", at(other), at(55), "dose", source_key=f"e{i}", amends=f"d{i}"
                )
            )
    for i in draw(st.lists(st.integers(0, len(rows) - 1), unique=True, max_size=3)):
        new = draw(st.one_of(st.none(), values))
        events.append(Correction(f"s{i}", new, "", at(56), "Ann", "misread"))
    lots = draw(st.lists(st.tuples(times, st.sampled_from("ABC")), max_size=3))
    events += [
        Sample("Tank.Lot", lot, "", at(t), at(t), source_key=f"l{i}")
        for i, (t, lot) in enumerate(lots)
    ]
    return events


def state_after(definition, events, ticks=False):
    twin = Twin(definition, "tank-1", start=T0, level=Level.SHADOW)
    for k, event in enumerate(events):
        twin.accept(event)
        if ticks:
            twin.accept(Tick(at(100 + k)))
    return twin.fold.state


@pytest.mark.parametrize("definition", ESTIMATORS.values(), ids=list(ESTIMATORS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_order_of_arrival_ends_in_the_same_state(definition, data):
    """Bit for bit: belief, inputs, health monitor and genealogy."""
    events = data.draw(days())
    shuffled = data.draw(st.permutations(events))

    one = state_after(definition, events)
    two = state_after(definition, shuffled, ticks=True)

    assert one.belief.identity == two.belief.identity
    assert one.inputs == two.inputs
    assert one.monitor == two.monitor
    assert one.track == two.track


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_withdrawing_a_repeated_sample_leaves_the_other(order):
    """A device sent one value twice; one of the two is withdrawn, before or after the other."""
    first, again = (Sample("Tank.Out", 1.5, "", at(5), at(5), source_key=k) for k in ("a", "b"))
    events = [first, again, Correction("a", None, "", at(56), "Ann", "sent twice")]

    told = state_after(watched_tank(), [events[i] for i in order])

    assert told.belief.identity == state_after(watched_tank(), [again]).belief.identity
    assert told.folded == 1


def test_an_input_set_before_the_beginning_can_be_corrected():
    feed = Sample("Tank.Feed", 1.0, "", at(-30), at(1), source_key="f")
    older = Sample("Tank.Feed", 3.0, "", at(-60), at(1), source_key="o")
    corrected = [feed, older, Correction("f", 2.0, "", at(2), "Ann", "misread")]
    withdrawn = [feed, older, Correction("f", None, "", at(2), "Ann", "misread")]

    assert state_after(watched_tank(), [feed, older]).inputs["u0"] == 1.0
    assert state_after(watched_tank(), corrected).inputs["u0"] == 2.0
    assert state_after(watched_tank(), withdrawn).inputs["u0"] == 3.0


def test_the_distance_of_checkpoints_changes_nothing():
    events = [
        Sample("Tank.Out", math.sin(t), "", at(t), at(t), source_key=str(t)) for t in range(1, 50)
    ]
    events = events[::2] + events[1::2]

    ends = {
        state_after(definition, events).belief.identity
        for definition in (
            ESTIMATORS["kalman"],
            ESTIMATORS["sparse checkpoints"],
            ESTIMATORS["dense checkpoints"],
        )
    }

    assert len(ends) == 1


@st.composite
def anything(draw) -> list:
    """Any events at all, commands of people with other aims included."""
    t = st.integers(-20, 200).map(at)
    number = st.one_of(st.floats(), st.booleans(), st.none(), st.text(max_size=3))
    tag = st.sampled_from(["Tank.Out", "Tank.Feed", "Tank.Running", "Tank.Remote", "Tank.Beat"])
    word = st.sampled_from(["", "Ann"])
    arguments = st.fixed_dictionaries(
        {"tag": tag, "value": st.floats(0, 10), "key": st.just("tank-1:Tank.Feed")}
    )
    names = st.sampled_from(["setpoint", "approve", "reject", "bypass", "target", "evolve", "x"])
    inputs = st.fixed_dictionaries({"inputs": st.fixed_dictionaries({"u0": st.floats()})})
    event = st.one_of(
        st.builds(Sample, tag, number, st.just(""), t, t, st.integers(0, 2)),
        st.builds(Tick, t),
        st.builds(Command, names, t, word, word, arguments),
        st.builds(Computed, st.integers(1, 9).map("tank-1:control:{}".format), t, inputs),
        st.builds(Receipt, st.text(max_size=3), tag, st.sampled_from(["done", "failed"]), t),
        st.builds(Action, st.sampled_from(["u0", "x0", "no"]), st.floats(0, 9), st.just("s"), t, t),
    )
    return draw(st.lists(event, max_size=40))


@settings(max_examples=150, deadline=None)
@given(events=anything(), level=st.sampled_from([Level.MODEL, Level.SHADOW]))
def test_a_shadow_never_writes(events, level):
    twin = Twin(tank(), "tank-1", start=T0, level=level)

    effects = [effect for event in events for effect in twin.accept(event)]

    assert not [effect for effect in effects if isinstance(effect, Write)]
    assert twin.level <= level


@settings(max_examples=40, deadline=None)
@given(events=anything(), cut=st.integers(0, 40))
def test_a_snapshot_at_any_moment_goes_on_the_same(events, cut):
    twin = Twin(tank(), "tank-1", start=T0, level=Level.SHADOW)
    for event in events[:cut]:
        twin.accept(event)
    other = restore(tank(), twin.snapshot())

    for event in events[cut:]:
        assert [e.kind for e in twin.accept(event)] == [e.kind for e in other.accept(event)]

    assert twin.snapshot() == other.snapshot()

"""Performance figures of an alarm system, against journals whose figures are counted by hand."""

from __future__ import annotations

import pytest

from galenic.clock import SECOND
from galenic.twin.alarm import state as states
from galenic.twin.alarm.performance import Told, performance

DAY = 86_400


def told(seconds, alarm, state, was=states.NORMAL, priority="low", who="", **more) -> Told:
    return Told(round(seconds * SECOND), "t", alarm, was, state, priority, who=who, **more)


def came(seconds, alarm="a", priority="low", **more) -> Told:
    return told(seconds, alarm, states.UNACKNOWLEDGED, priority=priority, **more)


def seen(seconds, alarm="a") -> Told:
    return told(seconds, alarm, states.ACKNOWLEDGED, states.UNACKNOWLEDGED, who="Ann")


def figures(journal, span=DAY, operators=1.0):
    made = performance(journal, 0, span * SECOND, operators)
    return made, {f.name: f for f in made.figures}


def test_rates_are_per_operator():
    """48 alarms in a day for two people: 24 a day, one an hour."""
    journal = [came(1800 * k, f"a{k}") for k in range(48)]

    made, found = figures(journal, operators=2.0)

    assert made.annunciated == 48
    assert found["alarms per operator and day"].value == 24.0
    assert found["alarms per operator and hour"].value == 1.0
    assert found["most within ten minutes"].value == 0.5
    assert found["time in flood"].met


def test_a_flood_is_more_than_ten_in_ten_minutes():
    """11 alarms in one of 144 windows, 10 in another."""
    journal = [came(k, f"a{k}") for k in range(11)]
    journal += [came(600 + k, f"b{k}") for k in range(10)]

    made, found = figures(journal)

    assert found["time in flood"].value == pytest.approx(100 / 144)
    assert found["time in flood"].met
    assert found["most within ten minutes"].value == 11
    assert [sum(by.values()) for _, by in made.windows[:3]] == [11, 10, 0]


def test_what_comes_four_times_within_a_minute_chatters():
    journal = [came(t) for t in (0, 20, 40, 59.9)]
    journal += [came(t, "slow") for t in (0, 20, 40, 60, 80, 100)]  # three in any minute

    made, found = figures(journal)

    assert made.chattering == {("t", "a"): 4}
    assert not found["chattering alarms"].met
    assert made.worst[0] == ("t", "slow", 6)


def test_what_stands_for_more_than_a_day_is_stale_also_when_acknowledged():
    journal = [came(0, "old"), seen(90_000, "old"), came(0, "over")]
    journal += [told(10, "over", states.RETURNED, states.UNACKNOWLEDGED), came(90_000, "new")]

    made, found = figures(journal, span=2 * DAY)

    assert made.stale == (("t", "old", 0),)
    assert found["stale alarms (over 24 h)"].met


def test_priorities_and_the_share_of_the_worst():
    journal = [came(1000 * k, f"l{k}") for k in range(16)]
    journal += [came(1000 * k, f"m{k}", "medium") for k in range(3)]
    journal += [came(5, "h", "high")]

    made, found = figures(journal)

    assert made.priorities == {"low": 16, "medium": 3, "high": 1}
    assert found["share of priority low"].value == 80.0
    assert found["share of priority low"].met
    assert found["share of priority high and critical"].value == 5.0
    assert found["share of the ten most frequent"].value == 50.0
    assert found["share of the ten most frequent"].met is False


def test_times_to_acknowledge_are_counted_from_the_first_coming():
    journal = [came(0, "a"), seen(30, "a"), came(100, "b")]
    journal += [told(110, "b", states.RETURNED, states.UNACKNOWLEDGED), came(120, "b")]
    journal += [seen(200, "b"), came(300, "never")]

    made, found = figures(journal)

    assert made.waits == (30.0, 100.0)
    assert found["median time to acknowledge"].value == 100.0


def test_silent_and_withdrawn_ones_do_not_count():
    journal = [came(0, "a", silent=True), came(5, "b"), came(5, "b", withdrawn=True), came(7, "c")]
    journal += [told(8, "d", states.SHELVED)]

    made, _ = figures(journal)

    assert made.annunciated == 1
    assert made.suppressed == {states.SHELVED: 1}


def test_of_nothing_there_are_no_shares():
    made, found = figures([])

    assert made.annunciated == 0
    assert found["share of priority low"].value is None
    assert found["share of priority low"].met is None
    assert found["alarms per operator and day"].met

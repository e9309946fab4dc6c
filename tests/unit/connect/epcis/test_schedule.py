"""Schedules of standing queries, compared with a look at every second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.clock import SECOND
from galenic.connect.epcis.schedule import RANGES, Schedule
from galenic.errors import DataError, UnknownName


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def said(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND, UTC).isoformat(" ").removesuffix("+00:00")


@pytest.mark.parametrize(
    ("schedule", "start", "then"),
    [
        ({"hour": "1", "minute": "5"}, "2026-03-01 00:00:00", "2026-03-01 01:05:00"),
        ({"hour": "1", "minute": "5"}, "2026-03-01 01:05:00", "2026-03-02 01:05:00"),
        ({"minute": "[10-12],50"}, "2026-03-01 00:12:00", "2026-03-01 00:50:00"),
        ({"second": "0,30"}, "2026-03-01 00:12:31", "2026-03-01 00:13:00"),
        ({"dayOfWeek": "1"}, "2026-03-01 12:00:00", "2026-03-02 00:00:00"),  # a Sunday
        ({"dayOfMonth": "31", "hour": "6"}, "2026-04-01 00:00:00", "2026-05-31 06:00:00"),
        ({"dayOfMonth": "29", "month": "2"}, "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
        ({"month": "1"}, "2026-03-01 00:00:00", "2027-01-01 00:00:00"),
    ],
)
def test_the_next_time_is_as_the_standard_says(schedule, start, then):
    assert said(Schedule.of(schedule).after(at(start))) == then


CLOCK = st.sampled_from(["0", "7", "[3-5]", "0,20,[40-42]"])


@given(
    st.dictionaries(st.sampled_from(["second", "minute", "hour"]), CLOCK, min_size=1).filter(
        lambda s: s.get("hour", "0") in ("0", "7", "[3-5]")
    ),
    st.integers(0, 2 * 86_400),
)
@settings(max_examples=40, deadline=None)
def test_no_second_between_would_fit(given_, start):
    schedule = Schedule.of(given_)
    first = at("2026-03-01 00:00:00") + start * SECOND
    found = schedule.after(first)
    finest = min(["second", "minute", "hour"].index(name) for name in given_)

    def fits(when: datetime) -> bool:
        for place, name in enumerate(("second", "minute", "hour")):
            value, text = getattr(when, name), given_.get(name)
            if text is None:
                if place < finest and value != 0:
                    return False
                continue
            spans = (part.strip("[]").split("-") for part in text.split(","))
            if not any(int(span[0]) <= value <= int(span[-1]) for span in spans):
                return False
        return True

    when = datetime.fromtimestamp(first // SECOND, UTC)
    while True:
        when += timedelta(seconds=1)
        if fits(when):
            break
    assert said(found) == when.isoformat(" ").removesuffix("+00:00")


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({}, "empty"), ({"minute": "60"}, "0 to 59"), ({"dayOfWeek": "0"}, "1 to 7"),
        ({"minute": "*"}, "numbers"), ({"hour": "[5-3]"}, "first to last"),
        ({"dayOfMonth": "30", "month": "2"}, "no day"), ({"minute": ""}, "numbers"),
        ({"second": "1;2"}, "numbers"),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot_be_is_refused(schedule, words):
    with pytest.raises(DataError, match=words):
        Schedule.of(schedule)


def test_a_mistyped_part_is_named():
    with pytest.raises(UnknownName, match="minute"):
        Schedule.of({"minutes": "1"})
    assert list(RANGES) == ["second", "minute", "hour", "dayOfMonth", "month", "dayOfWeek"]

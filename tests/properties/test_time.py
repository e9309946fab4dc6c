"""Clock jumps, time zones, a leap second, repeats and disorder: the same record and belief."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import accumulate, permutations
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.clock import SECOND, ManualClock, from_iso, read_stamp
from galenic.connect.files.rows import RowReader
from galenic.errors import DataError
from galenic.records import open_site
from galenic.signals import Sample, Tick
from galenic.twin.example import watched_tank
from galenic.twin.level import Level
from galenic.twin.snapshot import restore
from galenic.twin.twin import Twin

MIDNIGHT = datetime(2017, 1, 1, tzinfo=UTC)
"""After the last leap second so far, 2016-12-31T23:59:60Z (IERS Bulletin C 52)."""
T0 = 1_483_228_800 * SECOND
BEGAN = -40.0
TAGS = ["Tank.Out", "Tank.Probe", "Tank.Feed"]
HEADER = ["time", "tag", "value", "received"]
MAPPING = {
    "time": "time",
    "tag": "tag",
    "value": "value",
    "received": "received",
    "columns": {tag: {"tag": tag, "unit": ""} for tag in TAGS},
}
ZONES = [0, 60, -480, 345, 630, 840, -720]
"""Minutes east of UTC: London to Kathmandu, Lord Howe, Line Islands and the date line."""

Row = tuple[str, float, float]


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def stamp(seconds: float, zone: int = 0, leap: bool = False) -> str:
    """ISO 8601 with offset; ``leap`` writes the second after 23:59:59 UTC as 60."""
    local = (MIDNIGHT + timedelta(seconds=seconds)).astimezone(timezone(timedelta(minutes=zone)))
    if not (leap and 0 <= seconds < 1):
        return local.isoformat()
    text = (local - timedelta(seconds=1)).isoformat()
    return f"{text[:17]}60{text[19:]}"


@st.composite
def rows(draw) -> list[Row]:
    """One value for each tag and time; some are older than anything that can be folded."""
    whole = st.integers(-20, 30).map(float)
    time = st.one_of(whole, whole, st.sampled_from([0.0, 0.25, -1.0]))
    value = st.floats(-1.0, 4.0, width=32)
    new = draw(st.dictionaries(st.tuples(st.sampled_from(TAGS), time), value, min_size=3))
    old = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(TAGS[:2]), st.integers(-400, -50).map(float)),
            value,
            max_size=3,
        )
    )
    return [(tag, t, value) for (tag, t), value in {**new, **old}.items()]


def read(table: list[list[str]]) -> list[Sample]:
    """The samples of a CSV file's rows; none is refused."""
    reader = RowReader(MAPPING)
    samples = [s for i, cells in enumerate(table) for s in reader.read_row(i, HEADER, cells)]
    assert reader.rejected == []
    return samples


def end(samples: list[Sample], cut: int = -1) -> tuple[Twin, list[tuple]]:
    """The twin and the kept history after samples, each after a tick of the clock it came by.

    Before number ``cut`` the twin is put away and brought back.
    """
    definition = watched_tank()
    twin = Twin(definition, "tank-1", start=at(BEGAN), level=Level.SHADOW)
    twin.accept(Tick(at(39)))
    for i, sample in enumerate(samples):
        if i == cut:
            twin = restore(definition, twin.snapshot())
        twin.accept(Tick(sample.received_time))
        twin.accept(sample)
    with TemporaryDirectory() as folder, open_site(folder, clock=ManualClock(T0)) as store:
        with store.transaction() as tx:
            tx.take(samples, T0)
        table = store.history(TAGS, at(-500), at(100)).to_pylist()
    return twin, [(row["tag"], row["time"], row["value"], row["quality"]) for row in table]


@settings(max_examples=15, deadline=None)
@given(rows=rows(), data=st.data())
def test_clocks_zones_repeats_and_order_change_neither_record_nor_belief(rows, data):
    plain = [[stamp(t), tag, repr(value), stamp(40)] for tag, t, value in rows]
    order = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows)))))
    jump = st.sampled_from([0, 0, 0, 0, 3600, -3600, 30, -30, 1, -1])
    jumps = data.draw(st.lists(jump, min_size=len(order), max_size=len(order)))
    other = [
        [
            stamp(t, data.draw(st.sampled_from(ZONES)), data.draw(st.booleans())),
            tag,
            repr(value),
            stamp(40 + i / 10 + shift, data.draw(st.sampled_from(ZONES))),
        ]
        for i, ((tag, t, value), shift) in enumerate(zip(order, accumulate(jumps), strict=True))
    ]

    one, kept = end(read(plain))
    two, also_kept = end(read(other), cut=len(other) // 2)

    assert also_kept == kept
    assert len(kept) == len(rows)
    a, b = one.fold.state, two.fold.state
    assert a.belief.identity == b.belief.identity
    assert (a.inputs, a.monitor, a.track) == (b.inputs, b.monitor, b.track)
    late = sum(t < BEGAN for _, t, _ in rows)
    assert sum(c.late for c in one.counters.values()) == late
    assert sum(c.late + c.duplicates for c in two.counters.values()) == late + len(order) - len(
        rows
    )
    assert sum(c.future for c in two.counters.values()) == 0


def test_after_a_clock_was_set_back_a_source_may_go_on_for_long():
    """Time stamps pass the twin's own time, which waits; they are no future for it."""
    steps = range(400)
    right = [Sample("Tank.Out", t % 3, "", at(t), at(t)) for t in steps]
    back = [
        Sample("Tank.Out", t % 3, "", at(t), at(t - 1800 * (t >= 100) - 1800 * (t >= 250)))
        for t in steps
    ]

    one, kept = end(right)
    two, also_kept = end(back, cut=100)

    assert one.belief.identity == two.belief.identity
    assert kept == also_kept
    assert two.now == at(99)
    assert [a.key for a in two.alarms.standing() if a.key.startswith("clock")] == ["clock-back"]
    wrong = two.accept(Sample("Tank.Probe", 1.0, "", at(399 + 60), at(399 - 3600)))
    assert [e.key for e in wrong] == ["clock-ahead:Tank.Probe"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_leap_second_and_the_one_after_it_are_one_time(order):
    """POSIX numbers them alike: both values are kept, count less, and people are told."""
    stamps = ["2016-12-31T23:59:59Z", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"]
    table = [[stamps[i], "Tank.Out", str(1.0 + i / 10), stamp(40)] for i in range(3)]
    samples = read([table[i] for i in order])

    twin, _ = end(samples)

    assert sorted(s.source_time for s in samples) == [at(-1), at(0), at(0)]
    assert {e.value for e in twin.fold.entries if e.time == at(0)} == {1.1, 1.2}
    assert twin.counters["Tank.Out"].conflicts == 1
    assert "integrity:Tank.Out" in [a.key for a in twin.alarms.standing()]
    assert twin.belief.identity == end(read(table))[0].belief.identity


@pytest.mark.parametrize(
    ("text", "format", "time"),
    [
        ("2016-12-31T23:59:60Z", "", 0.0),
        ("2016-12-31T23:59:60.75Z", "", 0.75),
        ("20161231T155960-0800", "", 0.0),
        ("2017-01-01T05:44:60+05:45", "", 0.0),
        ("31.12.2016 23:59:60", "%d.%m.%Y %H:%M:%S", 0.0),
        ("20161231235960250000", "%Y%m%d%H%M%S%f", 0.25),
    ],
)
def test_second_60_is_second_0_of_the_next_minute(text, format, time):
    found = read_stamp(text, format)

    utc = found if found.tzinfo else found.replace(tzinfo=UTC)
    assert utc - MIDNIGHT == timedelta(seconds=time)


@pytest.mark.parametrize(
    "text",
    [
        "2016-12-31T23:58:60Z",
        "2016-12-30T23:59:60Z",
        "2016-12-31T23:59:60+01:00",
        "2016-12-31T23:59:61Z",
        "9999-12-31T23:59:60Z",
        "2016-12-31T23:60:00Z",
        "2016-12-31T22:10:60",
    ],
)
def test_second_60_elsewhere_is_no_time(text):
    with pytest.raises(ValueError):
        read_stamp(text)
    with pytest.raises(DataError, match="is not a time stamp"):
        from_iso(text)

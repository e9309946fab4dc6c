"""Buckets made of kept minutes are the buckets of the samples, late data and corrections too."""

from __future__ import annotations

import numpy as np
import pytest

from galenic.records import minutes
from galenic.records.minutes import MINUTE, Minutes, _overlaps
from galenic.signals import Correction, Quality, Sample

SECOND = 10**9
T0 = -3 * MINUTE  # buckets before 1970 too


def samples(seed, start=0, count=400, span=20 * 60):
    numbers = np.random.default_rng(seed)
    times = start * SECOND + np.sort(numbers.integers(0, span * 1000, count)) * (SECOND // 1000)
    return [
        Sample(
            f"T{numbers.integers(3)}",
            None if numbers.random() < 0.05 else float(numbers.normal()),
            "kg",
            T0 + int(time),
            int(time),
            int(numbers.choice([0, 0, 0, 1, 2])),
            source_key=f"{seed}/{n}",
        )
        for n, time in enumerate(times)
    ]


@pytest.fixture
def late(site):
    """Three segments, packs and single rows, with late data and corrections among them."""
    with site.transaction() as tx:
        tx.take(samples(1), 1)
    site.seal(T0 + 10**15, 1)
    with site.transaction() as tx:
        tx.take(samples(2, start=20 * 60), 2)  # follows
        tx.samples(samples(3, start=4 * 60, count=40, span=100))  # late
        for n, value in ((10, 5.0), (20, None), (399, 7.0)):
            place = site.locate(f"1/{n}")
            tx.correct(Correction(f"1/{n}", value, "kg", 9, "ann", "typo"), *place)
    site.seal(T0 + 10**15, 2)
    with site.transaction() as tx:
        tx.take(samples(4, start=39 * 60, span=300), 3)
        tx.samples(samples(5, start=60, count=9, span=30))  # very late
    return site


def rows(table):
    return [
        {
            key: pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
            for key, value in row.items()
        }
        for row in table.to_pylist()
    ]


@pytest.mark.parametrize("every", [1, 2, 7])
@pytest.mark.parametrize(("start", "stop"), [(-3, 60), (4, 25), (17, 18), (30, 60)])
def test_they_agree_with_the_samples(late, monkeypatch, every, start, stop):
    asked = (["T0", "T1", "T2", "none"], start * MINUTE, stop * MINUTE, every * MINUTE)
    found = late.history(*asked)
    assert found.schema.metadata[b"mean"] == minutes.HELD.encode()
    monkeypatch.setattr(minutes, "fits", lambda *_: False)

    assert found.num_rows and found.to_pylist() == rows(late.history(*asked))


def test_minutes_of_sources_that_share_none_agree_with_the_samples(site, monkeypatch):
    for seed, start in ((1, 0), (2, 20 * 60), (3, 50 * 60)):
        with site.transaction() as tx:
            tx.take(samples(seed, start), seed)
        if seed < 3:
            site.seal(T0 + 10**15, seed)
    asked = (["T0", "T1", "T2", "none"], T0 + 2 * MINUTE, T0 + 70 * MINUTE, MINUTE)
    monkeypatch.setattr(minutes, "BUCKETS", None)  # minutes that are whole are not grouped
    found = site.history(*asked)
    assert found.num_rows > 120
    monkeypatch.setattr(minutes, "fits", lambda *_: False)

    assert found.to_pylist() == rows(site.history(*asked))


def test_a_minute_file_that_is_missing_is_made_up_for(late):
    asked = (["T0", "T1"], T0, 60 * MINUTE, MINUTE)
    expected = rows(late.history(*asked))
    for segment in late.segments():
        (late.folder / minutes.FOLDER / segment.name).unlink()

    assert late.history(*asked).to_pylist() == expected
    assert late.verify().ok


def test_only_minutes_that_late_data_touched_are_made_anew(late, monkeypatch):
    made, anew = [], Minutes._anew

    def counted(self, low, stop):
        anew(self, low, stop)
        made.extend(self._do.execute("SELECT DISTINCT minute FROM anew").fetchall())

    monkeypatch.setattr(Minutes, "_anew", counted)
    late.history(["T0", "T1", "T2"], T0, 60 * MINUTE, MINUTE)

    # late samples lie in minutes 1, 4 and 5, corrections in those of their samples
    corrected = {late.locate(f"1/{n}")[1] // MINUTE * MINUTE for n in (10, 20, 399)}
    late_ones = {T0 + n * MINUTE for n in (1, 4, 5)}
    touched = {minute for (minute,) in made}
    assert corrected <= touched <= corrected | late_ones | {36 * MINUTE}


def test_a_changed_minute_file_is_named(late):
    name = late.segments()[0].name
    path = late.folder / minutes.FOLDER / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    (problem,) = late.verify().problems
    assert (problem.part, problem.place) == ("segment", f"minutes/{name}")


def test_a_bad_sample_ends_the_hold_over_a_minute(site):
    with site.transaction() as tx:
        tx.samples(
            [
                Sample("a", 2.0, "kg", 30 * SECOND, 1),
                Sample("a", 0.0, "kg", 90 * SECOND, 1, quality=Quality.BAD),
                Sample("a", 4.0, "kg", 150 * SECOND, 1),
            ]
        )
    site.seal(10**15, 1)

    found = site.history("a", 0, 3 * MINUTE, MINUTE).to_pylist()

    assert [(row["mean"], row["coverage"]) for row in found] == [(2.0, 0.5), (2.0, 0.5), (4.0, 0.5)]
    (whole,) = site.history("a", 0, 3 * MINUTE, 3 * MINUTE).to_pylist()
    assert (whole["mean"], whole["coverage"]) == (pytest.approx(8 / 3), 0.5)


def test_overlaps_of_ranges():
    assert _overlaps([(0, 5), (5, 9), (12, 14)]) == []
    assert _overlaps([(0, 9), (2, 4), (3, 5), (8, 12)]) == [(2, 5), (8, 9)]

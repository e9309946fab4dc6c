"""Sealing under faults and kills; downsampling against a plain calculation."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from galenic.errors import DataError, StorageError
from galenic.records import historian, open_site
from galenic.signals import Correction, Quality, Sample

SECOND = 10**9
STEPS = ["written", "synced", "renamed", "folder synced", "registered", "recorded", "committed"]


def sample(t, value, tag="a", **more):
    return Sample(tag, value, "kg", int(t * SECOND), int(t * SECOND) + 5, **more)


def fill(store, samples):
    with store.transaction() as tx:
        tx.samples(samples)


@pytest.mark.parametrize("step", STEPS)
def test_a_fault_at_any_step_of_a_seal_loses_and_doubles_nothing(tmp_path, step):
    def fault(name):
        if name == step:
            raise OSError("power gone")

    store = open_site(tmp_path)
    fill(store, [sample(i, float(i)) for i in range(50)])
    expected = store.history("a", 0, 100 * SECOND)
    with pytest.raises((StorageError, OSError)):
        store.seal(30 * SECOND, 1, step=fault)

    for _ in range(2):  # at once, and after a restart
        assert expected.equals(store.history("a", 0, 100 * SECOND))
        assert store.verify().ok
        store.close()
        store = open_site(tmp_path)
    files = {path.name for path in (tmp_path / "segments").iterdir()}
    assert {segment.name for segment in store.segments()} == files
    store.seal(40 * SECOND, 2)
    assert expected.equals(store.history("a", 0, 100 * SECOND))
    store.close()


CHILD = """
import sys, itertools, pyarrow.parquet
from galenic.records import open_site
from galenic.signals import Sample
site = open_site(sys.argv[1])
first = int(sys.argv[2])
for batch in itertools.count(first):
    samples = [Sample("a", float(i), "kg", i, i) for i in range(batch * 20, batch * 20 + 20)]
    with site.transaction() as tx:
        tx.journal(samples, 1)
        tx.samples(samples)
    if batch == first:
        site.seal(batch * 20 + 3, 1)  # the first one loads the libraries
    print(batch, flush=True)
    if batch % 3 == 2:
        site.seal(batch * 20 - 10, 1)
"""


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path):
    moments = random.Random(4)
    batch = 0
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(batch)],
            stdout=subprocess.PIPE,
            text=True,
        )
        acknowledged = int(child.stdout.readline())
        time.sleep(moments.uniform(0.0, 0.2))
        os.kill(child.pid, signal.SIGKILL)
        lines = child.communicate()[0].split()
        acknowledged = int(lines[-1]) if lines else acknowledged
        with open_site(tmp_path, readonly=True) as store:
            stored = store.history("a", 0, 10**12, versions="all")["time"].to_pylist()
            journalled = store.head().offset
            assert store.verify().ok

        assert list(range(len(stored))) == stored
        assert journalled == len(stored)
        assert len(stored) // 20 - 1 - acknowledged in (0, 1)  # one may be in without its answer
        batch = len(stored) // 20
    with open_site(tmp_path) as store:
        assert store.segments()


def test_late_rows_and_corrections_after_sealing_go_to_a_later_segment(site):
    fill(site, [sample(i, float(i)) for i in range(10)])
    first = site.seal(10 * SECOND, 1)
    before = (site.folder / "segments" / first.name).read_bytes()
    fill(site, [sample(4.5, 4.5)])
    with site.transaction() as tx:
        tx.correct(Correction("k", 20.0, "kg", 99, "ann", "typo"), "a", 2 * SECOND)
        tx.correct(Correction("k", None, "kg", 99, "ann", "void"), "a", 9 * SECOND)
    site.seal(10 * SECOND, 2)

    values = site.history("a", 0, 20 * SECOND)["value"].to_pylist()
    assert [0, 1, 20, 3, 4, 4.5, 5, 6, 7, 8] == values
    everything = site.history("a", 2 * SECOND, 3 * SECOND, versions="all").to_pylist()
    assert [(2.0, 1, None), (20.0, 2, "corrected")] == [
        (row["value"], row["version"], row["change"]) for row in everything
    ]
    assert site.latest()["a"].value is None
    assert before == (site.folder / "segments" / first.name).read_bytes()
    assert site.seal(10 * SECOND, 3) is None


def test_segments_are_sorted_compressed_and_have_statistics(site):
    fill(site, [sample(i, 1.0, tag) for i in range(100) for tag in ("b", "a")])
    segment = site.seal(50 * SECOND, 1)

    file = pq.ParquetFile(site.folder / "segments" / segment.name)
    table = file.read(columns=["tag", "time"]).to_pylist()
    column = file.metadata.row_group(0).column(2)
    assert table == sorted(table, key=lambda row: (row["tag"], row["time"]))
    assert ("time", "ZSTD", 0) == (
        column.path_in_schema,
        column.compression,
        column.statistics.min,
    )
    assert (0, 49 * SECOND + 1, 100) == (segment.start, segment.stop, segment.rows)


def plain_buckets(rows, start, stop, every):
    """Time-weighted mean per bucket by integrating the held value on a 1 ms grid."""
    means = {}
    for left in range(start, stop, every):
        grid = np.arange(left, min(left + every, stop), SECOND // 1000)
        held = np.full(grid.size, np.nan)
        for t, value, quality in rows:
            held[grid >= t] = np.nan if quality == Quality.BAD else value
        if any(left <= t < left + every for t, _, _ in rows):
            known = held[~np.isnan(held)]
            means[left] = (known.mean() if known.size else None, known.size / grid.size)
    return means


@pytest.mark.parametrize("sealed", [0, 13, 40])
def test_buckets_agree_with_a_plain_integration(site, sealed):
    numbers = np.random.default_rng(3)
    times = np.unique(numbers.integers(0, 40_000, 60)) * (SECOND // 1000)
    rows = [
        (int(t), float(v), Quality.BAD if b else Quality.GOOD)
        for t, v, b in zip(times, numbers.normal(size=60), numbers.random(60) < 0.2, strict=False)
    ]
    fill(site, [Sample("a", v, "kg", t, t, quality=q) for t, v, q in rows])
    site.seal(sealed * SECOND, 1)

    start, stop, every = 10 * SECOND, 38 * SECOND, 3 * SECOND
    found = site.history("a", start, stop, every=every).to_pylist()

    expected = plain_buckets(rows, start, stop, every)
    assert list(expected) == [row["time"] for row in found]
    for row in found:
        mean, coverage = expected[row["time"]]
        assert row["mean"] == pytest.approx(mean, rel=1e-9)
        assert row["coverage"] == pytest.approx(coverage, abs=1e-9)
        inside = [r for r in rows if row["time"] <= r[0] < row["time"] + every and r[0] < stop]
        good = [(v, t) for t, v, q in inside if q != Quality.BAD]
        assert (len(inside), len(good)) == (row["count"], row["good"])
        assert max(q for _, _, q in inside) == row["quality"]
        if good:
            assert min(good) == (row["minimum"], row["minimum_time"])
            assert max(good) == (row["maximum"], row["maximum_time"])


def test_a_value_from_long_before_holds_into_the_first_bucket(site):
    fill(site, [sample(0, 10.0), sample(0, 1.0, "b")])
    site.seal(1 * SECOND, 1)
    fill(site, [sample(105, 20.0)])

    (row,) = site.history(["a", "b"], 100 * SECOND, 110 * SECOND, every=10 * SECOND).to_pylist()

    assert (15.0, 1.0, 1) == (row["mean"], row["coverage"], row["count"])


def test_values_that_are_not_numbers_keep_their_type(site):
    fill(site, [sample(1, "lot 7"), sample(2, True), sample(3, None), sample(4, math.nan)])
    for _ in range(2):
        rows = site.history("a", 0, 9 * SECOND).to_pylist()
        assert ["text", "bool", "none", "number"] == [row["type"] for row in rows]
        assert ["lot 7", None, None, None] == [row["text"] for row in rows]
        assert 1.0 == rows[1]["value"]
        site.seal(9 * SECOND, 1)


def test_limit_and_unknown_tags(site):
    fill(site, [sample(i, float(i)) for i in range(9)])

    assert [0, 1, 2] == site.history("a", 0, 9 * SECOND, limit=3)["value"].to_pylist()
    assert 0 == site.history("nobody", 0, 9 * SECOND, every=SECOND).num_rows


def test_a_sample_is_found_by_its_key(site):
    own, given = sample(1, 1.5), sample(2, 2.5, source_key="7/42")
    fill(site, [own, given])
    for _ in range(2):
        assert ("a", SECOND) == site.locate(own.key)
        assert ("a", 2 * SECOND) == site.locate("7/42")
        assert site.locate("a|77|1.5|0") is None
        assert site.locate("nothing") is None
        site.seal(9 * SECOND, 1)


def test_questions_without_an_answer_are_refused(site):
    with pytest.raises(DataError, match="backwards"):
        site.history("a", 2, 1)
    with pytest.raises(DataError, match="buckets of 0"):
        site.history("a", 1, 2, every=0)
    with pytest.raises(DataError, match="versions='old'"):
        site.history("a", 1, 2, versions="old")


def test_a_missing_segment_is_an_error_not_a_gap(site):
    fill(site, [sample(1, 1.0)])
    segment = site.seal(9 * SECOND, 1)
    (site.folder / "segments" / segment.name).unlink()

    with pytest.raises(StorageError, match="history cannot be read"):
        site.history("a", 0, 9 * SECOND)


@pytest.mark.parametrize("many", [3, 70_000])
def test_rows_are_sorted_as_their_bytes_are(many):
    """Beside Python's own sort, of tags as UTF-8, with doubles of tag and time, in any order."""
    rng = random.Random(5)
    odd = ["a", "A", "ä", "", "\uffff", "\U0001f600", "a\0", "ab"]
    tags = [*odd, *(f"T{i}" for i in range(many))]

    def table(first):
        rows = [
            (first + i, tags[i] if i < len(tags) else rng.choice(odd), rng.randrange(5), i)
            for i in range(max(2000, len(tags)))
        ]
        rng.shuffle(rows)
        return historian.hot_table(
            (number, tag, time, 7, float(i), None, "number", 0, 0, "kg", None, None)
            for number, tag, time, i in rows
        )

    parts = [table(200_000), table(1)]
    made = historian.sorted_table(parts)

    rows = [row for part in parts for row in part.to_pylist()]
    rows.sort(key=lambda row: (row["tag"].encode(), row["time"], row["sequence"]))
    assert made.to_pylist() == rows
    assert made.schema == historian.arrow_schema()

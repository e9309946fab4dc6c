"""Segments put together, archived and disposed of; holds; what verify says of it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from galenic.clock import ManualClock
from galenic.errors import DataError, StorageError, UnknownName
from galenic.records import open_site
from galenic.records.bundle import write_bundle
from galenic.records.holds import hold, holds, release
from galenic.records.minutes import MINUTE
from galenic.records.shelving import DAY, Rule, archive, compact, dispose
from galenic.signals import Correction, Sample

SECOND = 10**9
HOUR = 3600 * SECOND
STEPS = ["written", "compared", "renamed", "registered", "recorded", "committed"]


def hour(n, count=240):
    return [
        Sample(f"{'AB'[i % 2]}.T{i % 4}", n + i / count, "kg", n * HOUR + i * 15 * SECOND, n)
        for i in range(count)
    ]


def fill(store, hours):
    for n in hours:
        with store.transaction() as tx:
            tx.take(hour(n), n * HOUR)
        store.seal((n + 1) * HOUR, n)


TAGS = ["A.T0", "B.T1", "A.T2", "B.T3"]


def everything(store, tags=TAGS):
    return (
        store.history(tags, 0, 9 * DAY, versions="all").to_pylist(),
        store.history(tags, 0, 2 * DAY, every=60 * MINUTE).to_pylist(),
        store.latest(),
        [repr(signal) for _, signal in store.journal_read()],
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Segments of 30 hours, with a correction and a late row."""
    folder = tmp_path_factory.mktemp("days") / "site"
    with open_site(folder, clock=ManualClock(10**18)) as site:
        fill(site, range(30))
        with site.transaction() as tx:
            tx.correct(Correction("k", 99.0, "kg", 9, "ann", "typo"), "A.T0", 0)
            tx.samples([Sample("B.T1", -1.0, "kg", 5 * HOUR + 7, 9)])
        site.seal(DAY, 31)
    return folder


@pytest.fixture
def days(made, tmp_path):
    shutil.copytree(made, tmp_path / "site")
    with open_site(tmp_path / "site", clock=ManualClock(10**18)) as site:
        yield site


def test_a_day_becomes_one_segment_and_reads_the_same(days):
    before, small = everything(days), days.segments()

    new = compact(days, DAY, 5)

    assert [new.name] == [one.name for one in days.segments() if one.stop <= DAY]
    assert everything(days) == before
    assert compact(days, DAY, 6) is None
    report = days.verify()
    assert (report.ok, report.segments) == (True, 7)
    (entry,) = days.ledger_read(kinds=["compact"])
    gone = {one["name"]: one["hash"] for one in entry.detail["replaces"]}
    assert {one.name: one.hash for one in small if one.stop <= DAY} == gone
    for folder in ("segments", "minutes"):
        assert not {path.name for path in (days.folder / folder).iterdir()} & set(gone)
    rows = pq.read_table(days.folder / "segments" / new.name).to_pylist()
    keys = [(row["tag"], row["time"], row["sequence"]) for row in rows]
    assert keys == sorted(keys) and len(keys) == new.rows


@pytest.mark.parametrize("what", STEPS)
def test_a_fault_while_putting_together_loses_and_doubles_nothing(days, what):
    def fault(name):
        if name == what:
            raise OSError("power gone")

    before = everything(days)
    with pytest.raises((StorageError, OSError)):
        compact(days, DAY, 5, step=fault)

    assert everything(days) == before
    days.close()
    with open_site(days.folder) as store:
        names = {one.name for one in store.segments()}
        assert names == {path.name for path in (days.folder / "segments").iterdir()}
        assert everything(store) == before
        assert store.verify().ok


def test_readers_that_still_know_the_small_files_ask_again(days, monkeypatch):
    reader = open_site(days.folder, readonly=True)
    before = everything(reader)
    asked = reader._history._duckdb
    done = []

    def between():
        if not done:
            done.append(compact(days, DAY, 5))
        return asked()

    monkeypatch.setattr(reader._history, "_duckdb", between)

    assert reader.history(TAGS, 0, 9 * DAY, versions="all").to_pylist() == before[0]
    assert done
    reader.close()


def test_what_a_rule_no_longer_keeps_goes_and_its_proof_stays(days, tmp_path):
    compact(days, DAY, 5)
    head, kept = days.head(), days.history(["B.T1", "B.T3"], 0, 9 * DAY, versions="all")
    gone = days.history(["A.T0", "A.T2"], 0, DAY, versions="all")
    rule = Rule(DAY, ("A.*",), archive=tmp_path / "archive")

    (record,) = dispose(days, rule, 2 * DAY, "retention")

    assert record.detail["removed"] == gone.num_rows == 24 * 120 + 1
    assert days.history(["A.T0", "A.T2"], 0, DAY).num_rows == 0
    assert days.history(["A.T0"], DAY, 9 * DAY).num_rows > 0
    found = days.history(["B.T1", "B.T3"], 0, 9 * DAY, versions="all")
    assert found.to_pylist() == kept.to_pylist()
    assert dispose(days, rule, 2 * DAY) == []
    report = days.verify(head)
    assert report.ok, report.text
    entry = next(days.ledger_read(kinds=["dispose"]))
    assert entry.detail["hash"] in {e.detail["hash"] for e in days.ledger_read(kinds=["compact"])}
    assert "A.* is kept for 1 days" == entry.reason
    copied = pq.read_table(tmp_path / "archive" / record.detail["archived"]["name"])
    assert sorted(copied["value"].to_pylist()) == sorted(gone["value"].to_pylist())
    assert set(copied["tag"].to_pylist()) == {"A.T0", "A.T2"}


def test_a_hold_keeps_what_a_rule_would_dispose_of(days):
    with days.transaction() as tx:
        kept = hold(tx, ["A.T0"], "ann", "complaint 7", 1, 5 * DAY)
    rule = Rule(DAY, ("A.*",))

    dispose(days, rule, 2 * DAY)
    assert dispose(days, Rule(DAY, journal=True), 9 * DAY // 2) == []

    assert days.history(["A.T0"], 0, DAY).num_rows > 0
    assert days.history(["A.T2"], 0, 23 * HOUR).num_rows == 0
    with days.transaction() as tx:
        release(tx, days, kept.id, "bob", "closed", 2)
    assert holds(days) == []
    said = [(e.kind, e.who, e.reason) for e in days.ledger_read(kinds=["hold", "release"])]
    assert said == [("hold", "ann", "complaint 7"), ("release", "bob", "closed")]
    dispose(days, rule, 2 * DAY)
    assert days.history(["A.T0"], 0, 23 * HOUR).num_rows == 0


def test_a_hold_ends_by_itself(days):
    with days.transaction() as tx:
        hold(tx, ["*"], "ann", "complaint 7", 1, 2 * DAY)

    assert dispose(days, Rule(DAY), 2 * DAY - 1) == []
    assert dispose(days, Rule(DAY), 2 * DAY)


@pytest.mark.parametrize("given", [([], "ann", "x"), (["a"], "", "x"), (["a"], "ann", " ")])
def test_a_hold_needs_tags_a_name_and_a_reason(site, given):
    with pytest.raises(DataError), site.transaction() as tx:
        hold(tx, *given, 1)
    with pytest.raises(UnknownName), site.transaction() as tx:
        release(tx, site, "none", "ann", "x", 1)


def test_old_volumes_go_by_rule_and_the_chain_still_holds(days, tmp_path):
    for _ in range(3):
        days.seal_journal(30 * HOUR, 1, 2000)
    assert len(days.volumes()) == 3
    rest = [repr(row) for row in days.journal_rows(days.volumes()[1].last + 1)]
    limit = days.volumes()[1].last // 240 * HOUR

    gone = dispose(days, Rule(DAY, journal=True, archive=tmp_path / "old"), limit + DAY)

    assert [one.subject for one in gone] == [one.name for one in days.volumes()[:2]]
    assert [repr(row) for row in days.journal_rows()] == rest
    report = days.verify()
    assert report.ok, report.text
    with pytest.raises(StorageError, match="were disposed of"):
        list(days._volumes.rows(days.volumes()[0], 1, 2))
    write_bundle(days, tmp_path / "bundle")
    run = subprocess.run(
        [sys.executable, str(tmp_path / "bundle" / "galenic_verify.py"), str(tmp_path / "bundle")],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    days.close()
    with open_site(days.folder) as store:
        assert store.verify().ok


def test_a_file_that_went_without_the_ledger_is_no_lawful_deletion(days):
    compact(days, DAY, 5)
    dispose(days, Rule(DAY, ("A.*",)), 2 * DAY)
    for segment in days.segments()[:2]:
        (days.folder / "segments" / segment.name).unlink()

    assert {"the file is missing"} == {problem.reason for problem in days.verify().problems}


def test_an_archive_is_read_without_galenic(days, tmp_path):
    files = archive(days, tmp_path / "archive", 0, DAY)

    table = pq.read_table([tmp_path / "archive" / one["name"] for one in files])
    history = days.history(TAGS, 0, DAY, versions="all")
    assert table.num_rows == history.num_rows
    assert {"tag", "time_utc", "value", "unit", "quality"} <= set(table.column_names)
    assert str(table.schema.field("tag").type) == "string"

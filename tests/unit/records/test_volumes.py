"""The journal in volumes: all readers see one sequence, whatever breaks in between."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from galenic.connect.files.recorded import Recorded
from galenic.errors import StorageError
from galenic.records import open_site
from galenic.records.embedded import DATABASE
from galenic.records.export import export
from galenic.records.ledger import Head
from galenic.signals import Record, Sample, Tick

SECOND = 10**9
STEPS = ["written", "synced", "renamed", "folder synced", "removed", "recorded", "committed"]
FOREVER = 2**62


def fill(store, batches, first=0):
    """25 samples and a tick per batch, applied in two orders; 28 rows, received at its number."""
    for batch in range(first, first + batches):
        samples = [
            Sample("ü", i / 7, "°C", i * SECOND, batch, source_key=f"k{i}") for i in range(25)
        ]
        with store.transaction() as tx:
            offsets = tx.journal([*samples, Tick(batch * SECOND)], batch * SECOND)
            tx.applied("one", offsets, batch * SECOND)
            tx.applied("two", reversed(offsets), batch * SECOND)
            tx.ledger(Record("level", batch, "line", {"batch": batch}))


def everything(store):
    """All that readers give, as plain values."""
    return (
        list(store.journal_read()),
        list(store.journal_read(40, 95, ["tick"])),
        list(store.journal_rows()),
        list(store.journal_rows(37, 201)),
        list(store.applied_read("one")),
        list(store.applied_read("two", 100)),
        store.head().offset,
        store.head().journal,
    )


@pytest.fixture
def filled(site):
    fill(site, 100)
    return site


def test_readers_see_one_journal_wherever_its_rows_are(filled, monkeypatch):
    from galenic.records import volumes

    monkeypatch.setattr(volumes, "GROUP", 64)
    before = everything(filled)

    seen = [everything(filled) for _ in iter(lambda: filled.seal_journal(FOREVER, 1, 300), None)]
    with open_site(filled.folder, readonly=True) as reader:
        beside = everything(reader)

    assert len(seen) == 9  # 2,800 rows; the last one stays
    assert all(one == before for one in [*seen, beside])
    assert filled.verify().ok
    assert filled.verify().rows == 2800
    with sqlite3.connect(filled.path) as connection:
        (left,) = connection.execute("SELECT count(*) FROM journal").fetchone()
    connection.close()
    assert left == 100


def test_rows_are_sealed_when_all_of_a_volume_are_old_and_more_follow(site):
    fill(site, 10)

    assert site.seal_journal(3 * SECOND, 1, 85) is None  # row 85 came at 3 s
    assert site.seal_journal(FOREVER, 1, 280) is None  # there is no row after it
    volume = site.seal_journal(4 * SECOND, 1, 85)

    assert (volume.first, volume.last) == (1, 85)
    assert site.seal_journal(4 * SECOND, 1, 85) is None
    fill(site, 1, first=10)
    assert site.verify().ok


@pytest.mark.parametrize("step", STEPS)
def test_a_fault_at_any_step_loses_and_doubles_nothing(tmp_path, step):
    def fault(name):
        if name == step:
            raise OSError("power gone")

    store = open_site(tmp_path)
    fill(store, 10)
    expected = everything(store)
    with pytest.raises((StorageError, OSError)):
        store.seal_journal(FOREVER, 1, 100, fault)

    for _ in range(2):  # at once, and after a restart
        assert everything(store) == expected
        assert store.verify().ok
        store.close()
        store = open_site(tmp_path)
    files = {path.name for path in (tmp_path / "journal").iterdir()}
    assert {volume.name for volume in store.volumes()} == files
    store.seal_journal(FOREVER, 2, 100)
    assert everything(store) == expected
    assert store.verify().ok
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
        tx.applied("a", tx.journal(samples, 1), 1)
    if batch == first:
        site.seal_journal(2, 1, 21)  # the first one loads the libraries
    print(batch, flush=True)
    if batch % 3 == 2:
        site.seal_journal(2, 1, 40)
"""


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path):
    moments, batch = random.Random(4), 0
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(batch)],
            stdout=subprocess.PIPE,
            text=True,
        )
        child.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.2))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        with open_site(tmp_path, readonly=True) as store:
            values = [event.value for _, event in store.journal_read()]
            applied = [event.value for _, event in store.applied_read("a")]
            assert store.verify().ok

        assert values == applied == [float(i) for i in range(len(values))]
        assert len(values) % 20 == 0
        batch = len(values) // 20
    with open_site(tmp_path) as store:
        assert len(store.volumes()) >= 6
        files = {path.name for path in (tmp_path / "journal").iterdir()}
        assert {volume.name for volume in store.volumes()} == files


def test_threads_read_the_whole_journal_while_it_is_sealed(site):
    fill(site, 60)
    expected, errors, stop = list(site.journal_rows()), [], threading.Event()

    def read():
        try:
            while not stop.is_set():
                assert list(site.journal_rows()) == expected
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    while site.seal_journal(FOREVER, 1, 50):
        pass
    stop.set()
    for reader in readers:
        reader.join()

    assert errors == []


def damaged(filled, act):
    """What verify says of a site with volumes to which ``act`` was done."""
    filled.seal_journal(FOREVER, 1, 900)
    filled.seal_journal(FOREVER, 1, 900)
    first, second = (filled.folder / "journal" / volume.name for volume in filled.volumes())
    filled.close()
    act(first, second)
    with open_site(filled.folder, readonly=True) as store:
        return store.verify(), first, second


def test_one_changed_byte_of_a_volume_is_named(filled):
    for position in range(0, 2**16, 1777):
        copy = filled.folder.with_name(f"copy-{position}")
        shutil.copytree(filled.folder, copy)
        with open_site(copy) as store:
            store.seal_journal(FOREVER, 1, 900)
            path = copy / "journal" / store.volumes()[0].name
        data = bytearray(path.read_bytes())
        if position >= len(data):
            break
        data[position] ^= 16
        path.write_bytes(data)
        with open_site(copy, readonly=True) as store:
            bad = store.verify().first_bad

        assert (bad.part, bad.place) == ("journal", f"journal/{path.name}")
        assert bad.index is not None
    assert position > 1777


def test_a_missing_volume_is_named_and_the_rest_is_still_checked(filled):
    report, first, _ = damaged(filled, lambda first, second: first.unlink())

    (problem,) = report.problems
    assert (problem.place, problem.reason) == (f"journal/{first.name}", "the file is missing")
    assert report.rows == 2800 - 900
    with open_site(filled.folder, readonly=True) as store, pytest.raises(StorageError) as caught:
        list(store.journal_read())
    assert "galenic verify" in caught.value.hint
    assert first.name in caught.value.where


def test_a_row_put_back_beside_its_volume_is_named(filled):
    (row,) = list(filled.journal_rows(7, 8))

    def act(first, second):
        with sqlite3.connect(filled.path) as connection:
            connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", row)
        connection.close()

    report, _, _ = damaged(filled, act)

    assert [problem.place for problem in report.problems] == ["row 7"]


def test_a_changed_row_is_not_sealed(filled):
    with sqlite3.connect(filled.path) as connection:
        connection.execute('UPDATE journal SET received = received + 1 WHERE "offset" = 300')
    connection.close()

    with pytest.raises(StorageError, match="journal row 300 was changed"):
        filled.seal_journal(FOREVER, 1, 900)

    assert filled.volumes() == []
    assert [p.place for p in filled.verify().problems] == ["row 300"]


def test_an_outside_head_inside_of_a_volume_still_counts(filled):
    head = next(
        Head(filled.head().index, filled.head().hash, row[0], row[4].hex())
        for row in filled.journal_rows(450, 451)
    )
    wrong = Head(head.index, head.hash, head.offset, "0" * 64)
    filled.seal_journal(FOREVER, 1, 900)

    assert filled.verify(head).ok
    assert "the outside head" in filled.verify(wrong).first_bad.reason


def test_exports_and_records_read_volumes(filled, tmp_path):
    whole = export(filled, tmp_path / "whole", "csv")
    filled.seal_journal(FOREVER, 1, 900)
    sealed = export(filled, tmp_path / "sealed", "csv")
    (volume,) = filled.volumes()

    samples = list(Recorded(filled.folder / "journal" / volume.name))
    assert whole["files"][1] == sealed["files"][1]
    assert samples == [
        event for _, event in filled.journal_read(1, 901) if isinstance(event, Sample)
    ]


def test_a_volume_takes_a_small_part_of_the_room(filled):
    rows = list(itertools.islice(filled.journal_rows(), 2000))
    plain = sum(len(row[3]) + 32 + 16 for row in rows)

    volume = filled.seal_journal(FOREVER, 1, 2000)

    assert volume.size < plain / 8


def test_a_site_that_was_copied_without_its_last_seal_is_whole(filled):
    """A file beside rows that are still in SQLite is a stray, and only then is it removed."""
    copy = filled.folder.with_name("copy")
    copy.mkdir()
    backup = sqlite3.connect(copy / DATABASE)
    with backup:
        filled._writer.backup(backup)
    backup.close()
    filled.seal_journal(FOREVER, 1, 900)
    shutil.copytree(filled.folder / "journal", copy / "journal")

    with open_site(copy) as store:
        assert store.volumes() == []
        assert list((copy / "journal").iterdir()) == []
        assert store.verify().ok

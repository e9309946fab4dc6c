"""The embedded store: transactions, readers, the writer's lock."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from galenic.errors import DataError, StorageError
from galenic.records import Checkpoint, open_site
from galenic.records.codec import encode
from galenic.signals import Computed, Correction, Record, Sample, Tick

SECOND = 10**9


def sample(i, tag="a", value=None, **more):
    value = float(i) if value is None else value
    return Sample(tag, value, "kg", i * SECOND, i * SECOND + 5, **more)


def test_the_first_entry_names_the_site(site):
    genesis = next(site.ledger_read())

    assert ("genesis", "site-1", "Test") == (genesis.kind, genesis.subject, genesis.detail["name"])
    assert "site-1" == site.site


def test_what_is_read_is_what_was_journalled_even_nan(site):
    events = [
        sample(1),
        sample(2, value=math.nan),
        sample(3, value=-math.inf),
        sample(4, value=True),
    ]
    events += [sample(5, value="text ü"), Tick(7), Computed("t", 8, {"x": [1.5, math.nan]})]

    with site.transaction() as tx:
        offsets = tx.journal(events, 9)

    assert range(1, 8) == offsets
    assert [encode(e) for e in events] == [encode(e) for _, e in site.journal_read()]
    assert math.isnan(next(site.journal_read(2))[1].value)
    assert ["tick"] == [s.kind for _, s in site.journal_read(kinds=["tick"])]
    assert [3, 4] == [offset for offset, _ in site.journal_read(3, 5)]


def test_each_twin_has_its_own_order(site):
    with site.transaction() as tx:
        offsets = tx.journal([sample(i) for i in range(6)], 1)
        first = tx.applied("one", [offsets[i] for i in (2, 0, 1)], 1)
        tx.applied("two", offsets[:2], 1)
        tx.applied("one", offsets[3:], 1)

    assert [2, 0, 1, 3, 4, 5] == [s.value for _, s in site.applied_read("one")]
    assert [3, 4, 5] == [s.value for _, s in site.applied_read("one", after=first)]
    assert [0, 1] == [s.value for _, s in site.applied_read("two")]


def test_an_error_leaves_nothing_behind(site):
    before = site.head()

    with pytest.raises(ZeroDivisionError), site.transaction() as tx:
        tx.journal([sample(1, "new tag")], 1)
        tx.samples([sample(1, "new tag")])
        tx.ledger(Record("level", 1, "line"))
        tx.put("k", "a", 1)
        raise ZeroDivisionError

    assert before == site.head()
    assert (None, {}, []) == (site.get("k", "a"), site.latest(), list(site.journal_read()))
    with site.transaction() as tx:
        tx.samples([sample(1, "new tag")])
    assert {"new tag"} == set(site.latest())


def test_a_late_sample_does_not_become_the_latest(site):
    with site.transaction() as tx:
        tx.samples([sample(5), sample(3), sample(1, "b")])
        tx.latest([sample(4), sample(2, "b", value=False)])

    assert {"a": sample(5), "b": sample(2, "b", value=False)} == site.latest()
    assert {"b"} == set(site.latest(["b", "missing"]))


def test_latest_values_follow_every_change_of_a_row(site):
    """Also where only one of its fields is another one than at the last question."""
    first = sample(5, value=1.0, quality=0)
    changes = [
        {},
        {"value": 2.0},
        {"value": True},
        {"value": "2.0"},
        {"value": math.nan},
        {"received_time": 6},
        {"quality": 1},
        {"status": 7},
        {"unit": "g"},
        {"source_key": "k"},
    ]
    for change in changes:
        with site.transaction() as tx:
            tx.latest([replace(first, **change)])
        assert repr({"a": replace(first, **change)}) == repr(site.latest())
    with site.transaction() as tx:
        tx.correct(Correction("k", 4.0, "kg", 9, "ann", "typo"), "a", 5 * SECOND)

    assert (4.0, 9) == (site.latest()["a"].value, site.latest()["a"].received_time)


def test_documents_are_set_listed_and_removed(site):
    with site.transaction() as tx:
        tx.put("job", "x1", {"a": 1})
        tx.put("job", "x2", [1, 2])
        tx.put("job", "y", None)
        tx.put("other", "x1", 3)
        assert {"a": 1} == tx.get("job", "x1")
    with site.transaction() as tx:
        tx.delete("job", "y")

    assert {"x1": {"a": 1}, "x2": [1, 2]} == site.list("job")
    assert {"x2": [1, 2]} == site.list("job", prefix="x2")


def test_only_the_last_checkpoints_are_kept_and_damage_falls_back(site):
    with site.transaction() as tx:
        for position in range(20):
            tx.checkpoint(Checkpoint("line", position, 1, b"%d" % position), keep=3)
        tx._do("UPDATE checkpoints SET data = x'00' WHERE position = 19")
        kept = tx._do("SELECT count(*) FROM checkpoints").fetchone()[0]

    assert 3 == kept
    assert Checkpoint("line", 18, 1, b"18") == site.checkpoint("line")
    assert site.checkpoint("other") is None


def test_a_transaction_inside_a_transaction_is_refused(site):
    with site.transaction(), pytest.raises(StorageError, match="open already"):
        with site.transaction():
            pass


def test_a_second_writer_is_told_who_holds_the_site(site):
    with pytest.raises(StorageError, match=f"process {os.getpid()} on") as caught:
        open_site(site.folder)

    assert "readonly=True" in caught.value.hint


def test_the_lock_goes_with_the_store(site):
    site.close()

    with open_site(site.folder) as again:
        assert again.verify().ok


def test_a_closed_store_says_so(site):
    site.close()

    with pytest.raises(StorageError, match="closed"):
        site.head()


def test_readers_in_other_processes_follow_the_writer(site):
    with site.transaction() as tx:
        tx.samples([sample(1)])
    code = (
        "import sys; from galenic.records import open_site; from galenic.errors import *\n"
        "site = open_site(sys.argv[1], readonly=True)\n"
        "print(site.latest()['a'].value, site.verify().ok, site.head().index)\n"
        "try: site.transaction().__enter__()\n"
        "except StorageError as error: print(error.found)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, str(site.folder)], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert ["1.0 True 0", "the site was opened for reading only"] == output


def test_reading_what_is_not_there_makes_nothing(tmp_path):
    with pytest.raises(StorageError, match="no records here"):
        open_site(tmp_path / "none", readonly=True)

    assert not (tmp_path / "none").exists()


def test_threads_read_while_one_writes(site):
    seen, errors, stop = [], [], threading.Event()

    def read():
        try:
            while not stop.is_set():
                head = site.head()
                rows = sum(1 for _ in site.journal_read())
                seen.append(rows >= head.offset and rows % 10 == 0)
                site.history("a", 0, 10**15)
        except Exception as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for batch in range(20):
        events = [sample(10 * batch + i) for i in range(10)]
        with site.transaction() as tx:
            tx.journal(events, 1)
            tx.samples(events)
    stop.set()
    for reader in readers:
        reader.join()

    assert [] == errors
    assert seen and all(seen)


def test_numbers_beyond_64_bits_are_refused_clearly(site):
    with pytest.raises(DataError, match="too large"), site.transaction() as tx:
        tx.samples([sample(2**70)])

    with site.transaction() as tx:
        tx.journal([sample(2**70)], 1)
    assert 2**70 * SECOND == next(site.journal_read())[1].source_time


def test_text_that_is_no_unicode_is_refused_clearly(site):
    with pytest.raises(DataError, match="not Unicode"), site.transaction() as tx:
        tx.samples([sample(1, "\udc80")])

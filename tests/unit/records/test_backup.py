"""Backups of a running site, and what comes back of them."""

from __future__ import annotations

import json
import threading

import pytest

from galenic.errors import DataError, StorageError
from galenic.records import open_site
from galenic.records.backup import MANIFEST, back_up, restore
from galenic.records.ledger import Head
from galenic.signals import Record, Sample

SECOND = 10**9
FOREVER = 2**62


def batch(first, count=40):
    return [
        Sample(f"T{i % 4}", float(i), "kg", i * SECOND, i * SECOND)
        for i in range(first, first + count)
    ]


def fill(store, first, batches=10):
    for n in range(first, first + batches):
        with store.transaction() as tx:
            tx.take(batch(40 * n), 40 * n * SECOND)
            tx.ledger(Record("level", n, "line", {"n": n}))
            tx.put("n", "n", n)


def everything(store):
    return (
        list(map(repr, store.journal_rows())),
        [entry.hash for entry in store.ledger_read()],
        store.history(["T0", "T1", "T2", "T3"], 0, FOREVER).to_pylist(),
        store.latest(),
        store.list("n"),
    )


@pytest.fixture(params=["embedded", "postgres"])
def running(request, tmp_path, clock):
    place = request.getfixturevalue("postgres") if request.param == "postgres" else "embedded"
    with open_site(tmp_path / "site", store=place, clock=clock) as store:
        fill(store, 0)
        store.seal(200 * SECOND, 1)
        store.seal_journal(FOREVER, 1, 100)
        artefact = b"x" * 1000
        with store.transaction() as tx:
            tx.artefact(artefact, "text/plain", {}, 1)
        yield store


def test_what_is_restored_is_all_of_one_moment(running, tmp_path, clock):
    before = everything(running)

    made = back_up(running, tmp_path / "copy", clock=clock)
    fill(running, 10)  # the site goes on
    restore(tmp_path / "copy", tmp_path / "new", head=made.head, who="ann", reason="test")

    with open_site(tmp_path / "new", readonly=True) as store:
        found = everything(store)
        kinds = [entry.kind for entry in store.ledger_read(len(before[1]))]
        entry = next(store.ledger_read(kinds=["restored"]))
        assert found[0] == before[0] and found[2:] == before[2:]
        assert found[1][: len(before[1])] == before[1]
        assert kinds == ["restored", "key"]  # the signing key was not copied
        assert (entry.who, entry.reason, entry.detail["head"]) == ("ann", "test", made.head.text)
        assert store.verify(made.head).ok
    with open_site(tmp_path / "new") as store:
        fill(store, 10)
        assert store.verify().ok


def test_with_its_key_a_site_goes_on_signing_as_itself(running, tmp_path, clock):
    back_up(running, tmp_path / "copy", with_key=True, clock=clock)
    restore(tmp_path / "copy", tmp_path / "new", clock=clock)

    assert (tmp_path / "new" / "ledger.key").stat().st_mode & 0o077 == 0
    with open_site(tmp_path / "new", readonly=True) as store:
        assert "key" not in {entry.kind for entry in store.ledger_read()}


def test_nothing_is_overwritten(running, tmp_path):
    back_up(running, tmp_path / "copy")
    for there in (running.folder, tmp_path):
        with pytest.raises(StorageError, match="already"):
            restore(tmp_path / "copy", there)
    with pytest.raises(DataError, match="already"):
        back_up(running, tmp_path / "copy")
    with pytest.raises(DataError, match="no backup"):
        restore(running.folder, tmp_path / "new")


def test_every_file_of_a_backup_is_checked(running, tmp_path):
    made = back_up(running, tmp_path / "copy")
    for one in made.files:
        path = tmp_path / "copy" / one["name"]
        whole = path.read_bytes()
        for damage in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
            path.write_bytes(damage)
            with pytest.raises(StorageError, match="a file of the backup has"):
                restore(tmp_path / "copy", tmp_path / "new")
        path.write_bytes(whole)
    assert not (tmp_path / "new").exists()
    restore(tmp_path / "copy", tmp_path / "new")


def test_a_backup_made_anew_by_somebody_is_found_by_the_head_kept_elsewhere(running, tmp_path):
    made = back_up(running, tmp_path / "copy")
    other = Head(made.head.index, "0" * 64)

    with pytest.raises(StorageError, match="not what was backed up"):
        restore(tmp_path / "copy", tmp_path / "new", head=other)
    manifest = json.loads((tmp_path / "copy" / MANIFEST).read_text())
    manifest["head"]["offset"] -= 1
    (tmp_path / "copy" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="not what was backed up"):
        restore(tmp_path / "copy", tmp_path / "new")


def test_backups_beside_a_busy_writer_are_whole(running, tmp_path, clock):
    errors, stop = [], threading.Event()

    def write():
        n = 10
        while not stop.is_set():
            try:
                fill(running, n, 1)
                if n % 5 == 0:
                    running.seal(n * 40 * SECOND, 1)
                n += 1
            except Exception as error:
                errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    with open_site(running.folder, readonly=True) as reader:
        heads = [back_up(reader, tmp_path / f"copy{n}").head for n in range(3)]
    stop.set()
    writer.join()

    assert errors == []
    for n, head in enumerate(heads):
        restore(tmp_path / f"copy{n}", tmp_path / f"new{n}", head=head, clock=clock)
    assert running.verify(heads).ok


@pytest.mark.parametrize("what", ["tables copied", "file copied", "listed"])
def test_a_backup_that_was_cut_short_is_no_backup(running, tmp_path, what):
    def fault(name):
        if name == what:
            raise OSError("power gone")

    with pytest.raises(StorageError):
        back_up(running, tmp_path / "copy", step=fault)

    assert not (tmp_path / "copy").exists()
    back_up(running, tmp_path / "copy")
    for step in ("file copied", "verified"):
        what = step
        with pytest.raises(StorageError):
            restore(tmp_path / "copy", tmp_path / "new", step=fault)
        assert not (tmp_path / "new").exists()
    restore(tmp_path / "copy", tmp_path / "new")

"""A full disk, a read-only volume, a damaged file: said clearly, nothing half done."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from galenic.errors import StorageError
from galenic.records import open_site
from galenic.records.files import WriterLock, storage_error
from galenic.records.shelving import compact
from galenic.signals import Record, Sample

SECOND = 10**9


def write(store, first, count=100):
    samples = [Sample("T", float(i), "K", i * SECOND, 0) for i in range(first, first + count)]
    with store.transaction() as tx:
        tx.journal(samples, 1)
        tx.samples(samples)
        tx.ledger(Record("level", 1, "line", {"first": first}))


def test_a_full_disk_is_said_nothing_is_half_done_and_it_recovers_alone(site):
    write(site, 0)
    site._writer.execute("PRAGMA max_page_count = 40")
    done = 100
    with pytest.raises(StorageError, match="no room left") as caught:
        while True:
            write(site, done)
            done += 100

    assert "free space" in caught.value.hint
    assert (done, True) == (site.head().offset, site.verify().ok)
    assert done == site.history("T", 0, 10**15).num_rows
    site._writer.execute("PRAGMA max_page_count = 1000000")
    write(site, done)
    assert (done + 100, True) == (site.head().offset, site.verify().ok)


def test_a_full_disk_while_sealing_keeps_the_rows(site):
    write(site, 0)

    def full(step):
        if step == "written":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="no room left"):
        site.seal(50 * SECOND, 1, step=full)

    assert 100 == site.history("T", 0, 10**15).num_rows
    assert 50 == site.seal(50 * SECOND, 1).rows


class FullFile:
    """A file that takes its first bytes, and then has no room left."""

    def __init__(self, *args, **kwargs):
        self.path = Path(args[0])
        self.path.write_bytes(b"begun")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write_table(self, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files(site):
    places = (site.folder / name for name in ("segments", "minutes", "journal"))
    return sorted(path.name for place in places for path in place.glob("*"))


@pytest.mark.parametrize("full", ["sealing.tmp", "minutes.tmp"])
def test_a_volume_that_is_full_while_sealing_gets_its_room_back(site, monkeypatch, full):
    write(site, 0)
    real = pyarrow.parquet.ParquetWriter

    def writer(path, *args, **kwargs):
        return (FullFile if Path(path).name == full else real)(path, *args, **kwargs)

    monkeypatch.setattr(pyarrow.parquet, "ParquetWriter", writer)
    with pytest.raises(StorageError, match="no room left"):
        site.seal(50 * SECOND, 1)
    if full == "sealing.tmp":
        with pytest.raises(StorageError, match="no room left"):
            site.seal_journal(10**15, 1, 50)

    assert files(site) == []
    monkeypatch.undo()
    assert 50 == site.seal(50 * SECOND, 1).rows


def test_a_volume_that_is_full_while_putting_segments_together_gets_its_room_back(
    site, monkeypatch
):
    for first in (0, 100):
        write(site, first)
        site.seal(10**15, 1)
    before, real = files(site), pyarrow.parquet.ParquetWriter

    def writer(path, *args, **kwargs):
        is_full = Path(path).name == "minutes.tmp"
        return (FullFile if is_full else real)(path, *args, **kwargs)

    monkeypatch.setattr(pyarrow.parquet, "ParquetWriter", writer)
    with pytest.raises(StorageError, match="no room left"):
        compact(site, 10**15, 2)

    assert files(site) == before
    monkeypatch.undo()
    assert 200 == compact(site, 10**15, 2).rows


def test_a_read_only_file_is_said(site):
    write(site, 0)
    site._writer.execute("PRAGMA query_only = 1")

    with pytest.raises(StorageError, match="read-only"):
        write(site, 100)

    site._writer.execute("PRAGMA query_only = 0")
    write(site, 100)
    assert (200, True) == (site.head().offset, site.verify().ok)


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "site.sqlite").write_bytes(b"not a database at all" * 300)

    with pytest.raises(StorageError, match="damaged"):
        open_site(tmp_path)
    with pytest.raises(StorageError, match="damaged"):
        open_site(tmp_path, readonly=True)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(StorageError, match="the store failed"):
        open_site(tmp_path / "file" / "site")


FORK = """
import os, sys, time
from pathlib import Path
from galenic.records.files import WriterLock
lock = WriterLock(Path(sys.argv[1]), 0)
if os.fork() == 0:
    print("the child runs", flush=True)
    time.sleep(60)
os._exit(0)
"""


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    path = tmp_path / "lock"
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK, str(path)], stdout=subprocess.PIPE, process_group=0
    )
    parent.stdout.readline()
    parent.wait()

    WriterLock(path, 0).release()
    os.killpg(parent.pid, signal.SIGKILL)
    parent.stdout.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("database or disk is full", "no room left"),
        ("attempt to write a readonly database", "read-only"),
        ("[Errno 30] Read-only file system", "read-only"),
        ("database is locked", "busy"),
        ("database disk image is malformed", "damaged"),
        ("disk I/O error", "refused"),
        ("unable to open database file", "cannot be opened"),
        ("[Errno 13] Permission denied", "refused"),
        ("something new", "the store failed: something new"),
    ],
)
def test_errors_say_what_they_mean(text, found, tmp_path):
    assert found in storage_error(OSError(text), tmp_path).found


VOLUME = """
import os, subprocess, sys
from galenic.errors import StorageError
from galenic.records import open_site
from galenic.signals import Sample

def remount(how):
    subprocess.run(["mount", "-o", f"remount,{how}", "volume", sys.argv[1]], check=True)

def write(site, first):
    samples = [Sample("T", float(i), "K", i, i) for i in range(first, first + 200)]
    with site.transaction() as tx:
        tx.journal(samples, 1)
        tx.samples(samples)

def refused(act):
    try:
        act()
    except StorageError as error:
        return error.found.split(" (")[0]
    return "accepted"

folder = sys.argv[1] + "/site"
site, done = open_site(folder), 0
while refused(lambda: write(site, done)) == "accepted":
    done += 200
print(refused(lambda: write(site, done)))
print(refused(lambda: site.seal(done, 1)), os.listdir(folder + "/segments"))
print(site.head().offset == done, site.verify().ok)
remount("size=8m")
write(site, done)
site.seal(done, 1)
print(site.head().offset == done + 200, site.verify().ok)
site.close()
remount("ro")
print(refused(lambda: open_site(folder)))
with open_site(folder, readonly=True) as site:
    print(site.history("T", 0, 10**9).num_rows == done + 200, site.verify().ok)
"""


def on_a_volume(program, folder, size):
    """The lines that a program prints on a real volume of its own at ``folder``."""
    script = f'mount -t tmpfs -o size={size} volume {folder} && exec "$0" -c "$1" {folder}'
    make = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*make, "true"], check=False).returncode:
        pytest.skip("no right to make a mount namespace")
    run = subprocess.run(
        [*make, "sh", "-c", script, sys.executable, program], capture_output=True, text=True
    )
    assert "" == run.stderr
    return run.stdout.splitlines()


def test_a_real_volume_that_is_full_and_then_read_only(tmp_path):
    lines = on_a_volume(VOLUME, tmp_path, "2m")

    assert [
        "no room left to write",
        "no room left to write []",
        "True True",
        "True True",
        "the store is read-only",
        "True True",
    ] == lines


LATER = """
import os, sys
from pathlib import Path
from galenic.errors import StorageError
from galenic.records import open_site
from galenic.records.backup import back_up, restore
from galenic.records.shelving import compact
from galenic.signals import Sample

volume = Path(sys.argv[1])
site = open_site(volume / "site")
for first in range(0, 4000, 1000):
    samples = [Sample("T", i * 0.37, "K", i * 10**9, i) for i in range(first, first + 1000)]
    with site.transaction() as tx:
        tx.take(samples, 1)
    site.seal(2**62, 1)

def work(kind):
    if kind == "compact":
        return compact(site, 2**62, 2)
    if kind == "journal":
        return site.seal_journal(2**62, 2, 1)
    return back_up(site, volume / "copy")

def files():
    return sorted(str(path) for path in volume.rglob("*")
                  if path.is_file() and "sqlite" not in path.name)

with open(volume / "filler", "wb", buffering=0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError as error:
        print(os.strerror(error.errno))
before = files()
for kind in ("compact", "journal", "backup"):
    try:
        print(kind, work(kind))
    except StorageError as error:
        print(kind, error.found.split(" (")[0], files() == before)
print(site.history("T", 0, 2**62).num_rows, site.verify().ok)
os.unlink(volume / "filler")
for kind in ("compact", "journal", "backup"):
    work(kind)
buckets = site.history("T", 0, 2**62, every=60 * 10**9)
print(site.history("T", 0, 2**62).num_rows, buckets.num_rows, site.verify().ok)
site.close()
restore(volume / "copy", volume / "again")
with open_site(volume / "again", readonly=True) as again:
    print(again.history("T", 0, 2**62).num_rows)
"""


def test_a_real_volume_that_is_full_keeps_all_when_records_are_put_together_or_copied(tmp_path):
    """4,000 samples, one per second, are 67 minutes, the last of them begun."""
    lines = on_a_volume(LATER, tmp_path, "8m")

    assert [
        "No space left on device",
        "compact no room left to write True",
        "journal no room left to write True",
        "backup no room left to write True",
        "4000 True",
        "4000 67 True",
        "4000",
    ] == lines

"""The outbox of an edge node: on disk, bounded, in order."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from galenic.connect.mqtt.outbox import Outbox
from galenic.errors import StorageError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "edge" / "outbox.db"


def rows(*times, tag="a", device=""):
    return [(device, tag, time, str(time).encode()) for time in times]


def times(box, boundary=10**9, limit=100, silent=()):
    return [row.time for row in box.pending(boundary, limit, silent)]


def send(box, now, boundary=10**9, limit=100):
    sent = box.pending(boundary, limit)
    box.mark([row.id for row in sent], now)
    return [row.time for row in sent]


def test_rows_wait_in_order_of_source_time(path):
    box = Outbox(path, 100, "edge")

    box.append(rows(30, 10), 0.0)
    box.append(rows(20), 0.0)

    assert times(box) == [10, 20, 30]
    assert send(box, 1.0, limit=2) == [10, 20]
    assert times(box) == [30]
    assert box.waiting == 1
    box.close()


def test_what_is_newer_than_the_birth_comes_after_what_is_older(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(30, 40), 0.0)
    boundary = box.last
    box.append(rows(5, 50), 0.0)

    assert send(box, 1.0, boundary) == [30, 40]
    assert send(box, 1.0, boundary) == [5, 50]
    box.close()


def test_older_rows_come_first_also_when_they_wait_again_later(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(30, device="D") + rows(40), 0.0)
    boundary = box.last
    box.append(rows(5), 0.0)

    assert times(box, boundary, silent=["D"]) == [40]
    assert send(box, 1.0, boundary) == [30, 40]
    assert times(box, boundary) == [5]
    box.reopen(0.0)
    assert times(box, boundary) == [30, 40]
    box.close()


def test_a_device_that_speaks_again_gives_its_older_rows_first(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(30, device="D"), 0.0)
    boundary = box.last
    box.append(rows(5), 0.0)

    assert times(box, boundary, silent=["D"]) == [5]
    assert times(box, boundary) == [30]
    box.close()


def test_what_was_sent_waits_again_after_an_interruption(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(1), 0.0)
    send(box, 10.0)
    box.append(rows(2, 3), 0.0)
    send(box, 70.0)

    again = box.reopen(60.0)

    assert again == 2
    assert times(box) == [2, 3]
    box.close()


def test_what_was_sent_long_ago_is_given_up(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(1, 2), 0.0)
    send(box, 10.0)

    box.append(rows(3), 11.0)

    assert box.reopen(0.0) == 0
    assert (times(box), box.held) == ([3], 1)
    box.close()


def test_after_a_restart_everything_kept_waits(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(1, 2, 3), 0.0)
    send(box, 10.0, limit=2)
    box.keep("next bdSeq", 7)
    box.close()

    box = Outbox(path, 100, "edge")

    assert times(box) == [1, 2, 3]
    assert (box.waiting, box.fact("next bdSeq")) == (3, 7)
    box.close()


def test_when_full_the_oldest_are_lost_counted_and_told_once(path, caplog):
    box = Outbox(path, 5, "edge")
    box.append(rows(1, 2, 3), 0.0)
    send(box, 1.0, limit=1)

    for time in range(4, 10):
        box.append(rows(time), 0.0)

    assert times(box) == [5, 6, 7, 8, 9]
    assert (box.lost, box.waiting, box.held) == (3, 5, 5)  # 2, 3, 4: the first had been sent
    assert caplog.text.count("oldest are lost") == 1
    box.close()


def test_more_than_fits_at_once_keeps_the_newest(path):
    box = Outbox(path, 3, "edge")

    box.append(rows(*range(10)), 0.0)

    assert (times(box), box.lost, box.waiting) == ([7, 8, 9], 7, 3)
    box.close()


def test_rows_of_a_silent_device_stay(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(1, device="D") + rows(2), 0.0)

    assert times(box, silent=["D"]) == [2]
    assert times(box) == [1, 2]
    box.close()


def test_the_newest_of_each_tag(path):
    box = Outbox(path, 100, "edge")
    box.append(rows(3, 9, 1) + rows(2, tag="b"), 0.0)

    assert sorted((row.tag, row.time) for row in box.newest()) == [("a", 9), ("b", 2)]
    box.close()


def test_a_file_in_use_is_named(path):
    box = Outbox(path, 100, "edge")

    with pytest.raises(StorageError, match="cannot use the outbox") as error:
        Outbox(path, 100, "edge")

    assert error.value.where == str(path)
    box.close()


def test_a_file_that_is_no_outbox_is_named(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)

    with pytest.raises(StorageError, match="not a database"):
        Outbox(path, 100, "edge")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "edge").write_text("a file")

    with pytest.raises(StorageError, match="cannot use the outbox"):
        Outbox(tmp_path / "edge" / "outbox.db", 100, "edge")


def test_a_failed_append_takes_nothing(path):
    box = Outbox(path, 100, "edge")

    with pytest.raises(StorageError):
        box.append([("", "a", 1, b"x"), ("", None, 2, b"x")], 0.0)

    assert (times(box), box.waiting, box.held) == ([], 0, 0)
    box.append(rows(3), 0.0)
    assert times(box) == [3]
    box.close()


WRITER = """
import sys
from galenic.connect.mqtt.outbox import Outbox
box = Outbox(sys.argv[1], 10**6, "edge")
number = int(sys.argv[2])
while True:
    box.append([("", "a", number + i, b"x") for i in range(7)], 0.0)
    box.mark([row.id for row in box.pending(10**9, 3)], 1.0)
    number += 7
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(path):
    """Killed in the middle of writing, five times over: nothing kept is missing, none is double."""
    number = 0
    for acknowledged in (3, 11, 5, 20, 8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with writer:
            assert writer.stdout is not None
            for _ in range(acknowledged):
                number = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            rest = writer.stdout.read().split()
        number = int(rest[-1]) if rest else number
        with sqlite3.connect(path) as base:
            kept = [time for (time,) in base.execute("SELECT time FROM outbox ORDER BY id")]
        base.close()

        assert kept[:number] == list(range(number))
        assert len(kept) in (number, number + 7)
        number = len(kept)

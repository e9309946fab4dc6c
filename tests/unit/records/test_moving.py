"""A move takes everything, proves it, and can be cut short at any moment."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import subprocess
import sys

import pytest

from galenic.errors import DataError, StorageError
from galenic.records import Checkpoint, open_site
from galenic.records.moving import MOVED, move_site
from galenic.records.places import DATABASE, EMBEDDED, NOTE, kept_at
from galenic.signals import Record, Sample

pytest.importorskip("psycopg", reason="the extra postgres is not installed")

SECOND = 10**9


def fill(store):
    odd = [math.nan, -math.inf, 5e-324, True, None, "a\0b", "\x01", "ü"]
    for batch in range(4):
        samples = [Sample("T", i / 7, "°C", i * SECOND, i) for i in range(batch * 9, batch * 9 + 9)]
        samples += [Sample(f"t\0{n}", v, "1", batch, batch) for n, v in enumerate(odd)]
        with store.transaction() as tx:
            tx.applied("line", tx.journal(samples, batch), batch)
            tx.samples(samples)
            tx.put("setting", f"{chr(batch)}b", {"batch": batch})
            tx.artefact(bytes(range(256)) + bytes([batch]), "x/y", {"by": "ann"}, batch)
            tx.checkpoint(Checkpoint("line", batch, batch, bytes([batch])))
            tx.ledger(Record("level", batch, "line", {"batch": batch}, "ann", "test"))
        store.seal(batch * 5 * SECOND, batch)
    store.seal_journal(2**62, 1, count=20)


def answers(store):
    return [
        list(map(repr, store.journal_rows())),
        [entry for entry in store.ledger_read() if entry.kind != MOVED],
        [repr(row) for row in store.applied_read("line")],
        repr(store.latest()),
        repr(store.history(["T", "t\0005"], 0, 2**62, versions="all").to_pylist()),
        store.list("setting"),
        [store.artefact(digest) for digest in store.artefacts()],
        store.checkpoint("line"),
        store.segments(),
        store.volumes(),
        store.site,
    ]


@pytest.fixture
def folder(site):
    fill(site)
    site.close()
    return site.folder


def read(folder):
    with open_site(folder, readonly=True) as store:
        assert store.verify().ok
        return answers(store)


def test_there_and_back_again_nothing_is_lost(folder, postgres):
    before = read(folder)

    there = move_site(folder, postgres, who="ann", reason="new server")
    assert (before, postgres) == (read(folder), kept_at(folder))
    with open_site(folder) as store, store.transaction() as tx:
        tx.journal([Sample("T", 1.0, "K", 5, 5)], 5)
    back = move_site(folder, EMBEDDED)

    assert (EMBEDDED, False) == (kept_at(folder), (folder / NOTE).exists())
    with open_site(folder, store=EMBEDDED) as store:
        moves = list(store.ledger_read(kinds=[MOVED]))
        assert store.verify().ok
        assert before[0] == [repr(row) for row in store.journal_rows()][:-1]
    assert [there.to_dict(), back.to_dict()] == [entry.detail for entry in moves]
    assert ("ann", "new server") == (moves[0].who, moves[0].reason)
    again = move_site(folder, postgres)
    assert again.tables["journal"].rows == there.tables["journal"].rows + 1


def test_counts_and_hashes_are_those_of_the_rows(folder, postgres):
    with sqlite3.connect(folder / DATABASE) as connection:
        rows = connection.execute(
            "SELECT number, time, kind, subject, body, hash FROM ledger ORDER BY number"
        ).fetchall()
    connection.close()
    lines = [json.dumps([*r[:4], r[4].hex(), r[5].hex()], separators=(",", ":")) for r in rows]

    moved = move_site(folder, postgres)

    expected = hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest()
    assert (len(rows), expected) == (moved.tables["ledger"].rows, moved.tables["ledger"].sha256)
    assert expected in moved.text and f'store = "{postgres}"' in moved.text


STEPS = ["journal copied", "recorded", "committed", "switched"]

KILLED = """
import os, signal, sys
from galenic.records.moving import move_site
folder, place, at = sys.argv[1:]
def step(name):
    if name == at:
        os.kill(os.getpid(), signal.SIGKILL)
move_site(folder, place, step=step)
"""


@pytest.mark.parametrize("back", [False, True], ids=["to postgres", "to embedded"])
@pytest.mark.parametrize("at", STEPS)
def test_a_killed_move_leaves_one_whole_site_and_can_be_repeated(folder, postgres, at, back):
    if back:
        move_site(folder, postgres)
    start, goal = (postgres, EMBEDDED) if back else (EMBEDDED, postgres)
    before = read(folder)

    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), goal, at], check=False)

    assert -9 == killed.returncode
    assert (before, goal if at == "switched" else start) == (read(folder), kept_at(folder))
    if at != "switched":
        with open_site(folder) as store, store.transaction() as tx:  # the old site goes on
            tx.ledger(Record("level", 9, "line"))
        move_site(folder, goal)
        assert "level" == [e.kind for e in open_and_read_ledger(folder)][-2]
    with open_site(folder, store=goal) as store, store.transaction() as tx:
        tx.ledger(Record("level", 10, "line"))
    move_site(folder, start)
    with open_site(folder, store=start) as store:
        assert store.verify().ok
        assert 10 == list(store.ledger_read(kinds=["level"]))[-1].time


def open_and_read_ledger(folder):
    with open_site(folder, readonly=True) as store:
        return list(store.ledger_read())


def test_a_copy_that_differs_is_refused(folder, postgres, monkeypatch):
    """A store that loses one character of one text is found out by the hash of its table."""
    from galenic.records.postgres import PostgresConnection

    add = PostgresConnection.add

    def careless(self, table, columns, rows):
        if table == "latest":
            rows = [[v.strip("K") if isinstance(v, str) else v for v in row] for row in rows]
            rows[0][4] = "changed"
        add(self, table, columns, rows)

    monkeypatch.setattr(PostgresConnection, "add", careless)
    before = read(folder)
    with pytest.raises(StorageError, match="table latest came out as"):
        move_site(folder, postgres)

    assert (before, EMBEDDED) == (read(folder), kept_at(folder))


def test_damaged_records_are_not_moved(folder, postgres):
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("UPDATE journal SET kind = 'tick' WHERE \"offset\" = 30")
    connection.close()

    with pytest.raises(StorageError, match="not intact are not moved: journal: row 30"):
        move_site(folder, postgres)


def test_records_of_another_site_are_not_overwritten(folder, tmp_path, postgres):
    with open_site(tmp_path / "other", store=postgres) as other:
        other_head = other.head()

    with pytest.raises(StorageError, match="has other records in this schema"):
        move_site(folder, postgres)

    with open_site(tmp_path / "other") as other:
        assert other_head == other.head()
    assert EMBEDDED == kept_at(folder)


def test_records_that_were_moved_are_not_written_any_more(folder, tmp_path, postgres):
    move_site(folder, postgres)
    move_site(folder, EMBEDDED)

    with pytest.raises(StorageError, match="were moved to embedded"):
        open_site(tmp_path / "other", store=postgres)


def test_a_move_to_where_the_site_is_or_of_nothing_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match="in embedded already"):
        move_site(folder, EMBEDDED)
    with pytest.raises(StorageError, match="no records here"):
        move_site(tmp_path / "none", EMBEDDED)


def test_the_command_moves_and_says_what_it_compared(folder, postgres, capsys):
    from galenic.app.cli import main

    assert 0 == main(["move", str(folder), "--to", postgres, "--reason", "new server"])

    told = capsys.readouterr().out
    assert f'store = "{postgres}"' in told and "compared by count and hash" in told
    assert 0 == main(["verify", str(folder)])
    assert 1 == main(["move", str(folder), "--to", postgres])
    assert "already" in capsys.readouterr().err


def test_a_site_that_is_being_written_is_not_moved(folder, postgres):
    with open_site(folder), pytest.raises(StorageError, match="open for writing by process"):
        move_site(folder, postgres)

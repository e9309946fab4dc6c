"""Records in PostgreSQL: the same answers, one writer, lost connections."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
import threading

import pytest

from galenic.clock import ManualClock
from galenic.errors import DataError, StorageError
from galenic.records import Checkpoint, open_site
from galenic.records.places import NOTE, Address
from galenic.records.signing import KEY_FILE
from galenic.signals import Computed, Correction, Record, Sample, Tick

psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")

SECOND = 10**9


@pytest.fixture
def site(tmp_path, postgres, clock):
    with open_site(tmp_path / "pg", name="Test", site="site-1", clock=clock, store=postgres) as s:
        yield s


def sample(i, tag="a", value=None, **more):
    value = float(i) if value is None else value
    return Sample(tag, value, "kg", i * SECOND, i * SECOND + 5, **more)


def day(store):
    """Everything a transaction can do, with values that are hard to keep."""
    rng = random.Random(1)
    odd = [math.nan, -math.inf, -0.0, 5e-324, True, False, None, "a\0b", "\x01\x01", "ü €", ""]
    for batch in range(5):
        samples = [
            sample(rng.randint(0, 400), rng.choice("abc"), rng.gauss(0, 1), source_key=f"k{n}")
            for n in range(100)
        ]
        samples += [sample(500 + n, f"odd\0{n}", value) for n, value in enumerate(odd)]
        with store.transaction() as tx:
            offsets = tx.journal([*samples, Tick(batch), Computed("t", 8, {"x": math.nan})], batch)
            tx.applied("line", reversed(offsets), batch)
            tx.samples(samples)
            tx.latest([sample(1000 + batch, "a", batch % 2 == 0)])
            tx.put("kind", f"k{batch}\0", {"batch": batch})
            tx.checkpoint(Checkpoint("line", batch, batch, bytes([batch])), keep=2)
            tx.ledger(Record("level", batch, "line\0", {"batch": batch}, "ann", "ü"))
            tx.artefact(bytes(range(256)) * (batch + 1), "x/y", {"by": "ann"}, batch)
            tx.correct(Correction("x", 3.5, "kg", batch, "ann", "typo"), "b", 7 * SECOND)
        store.seal(batch * 90 * SECOND, batch)
    store.sign()


def answers(store):
    """What a reader sees, as plain values."""
    history = [
        repr(store.history(tags, start, stop, **how).to_pylist())
        for tags in ("a", ["a", "b", "c"], ["odd\x005", "odd\x007", "none"])
        for start, stop in ((0, 2**62), (50 * SECOND, 300 * SECOND))
        for how in ({}, {"versions": "all"}, {"limit": 9}, {"every": 20 * SECOND})
        if how.get("every") is None or stop < 2**62
    ]
    return {
        "history": history,
        "head": store.head(),
        "ledger": list(store.ledger_read()),
        "journal": [repr(row) for row in store.journal_rows()],
        "signals": [repr(row) for row in store.journal_read(10, 40, ["sample", "computed"])],
        "applied": [repr(row) for row in store.applied_read("line", 300)],
        "latest": repr(store.latest()),
        "documents": store.list("kind", "k"),
        "artefacts": [store.artefact(digest) for digest in store.artefacts()],
        "checkpoint": [store.checkpoint("line"), store.checkpoint("line", 3)],
        "segments": store.segments(),
        "located": [store.locate("k5"), store.locate("none"), store.locate(sample(7).key)],
        "verify": store.verify().to_dict(),
    }


def test_both_stores_give_the_same_answers(tmp_path, site):
    clock = ManualClock(1_000_000_000_000_000_000)
    (tmp_path / "file").mkdir()
    shutil.copy(site.folder / KEY_FILE, tmp_path / "file")
    with open_site(tmp_path / "file", name="Test", site="site-1", clock=clock) as other:
        day(other)
        expected = answers(other)

    day(site)

    assert expected == answers(site)
    assert expected["verify"]["ok"]
    site.close()
    with open_site(site.folder, readonly=True) as again:
        assert expected == answers(again)


def test_the_folder_alone_says_where_the_records_are(site, postgres):
    assert postgres == (site.folder / NOTE).read_text().strip()
    site.close()

    with open_site(site.folder, readonly=True) as store:
        assert ("site-1", postgres) == (store.site, store.place)
    with pytest.raises(StorageError, match=r"are in postgresql://.*, not in embedded"):
        open_site(site.folder, store="embedded")


def test_a_second_writer_is_refused_by_the_server_too(tmp_path, site, postgres):
    """Another machine has another folder: the lock that counts is in the database."""
    with pytest.raises(StorageError, match="open for writing by process") as caught:
        open_site(tmp_path / "elsewhere", store=postgres)

    assert "readonly=True" in caught.value.hint
    assert not (tmp_path / "elsewhere" / NOTE).exists()


def cut(store, which="galenic"):
    """End all sessions of the site, as a restart of the server does."""
    address = Address.of(store.place)
    with psycopg.connect(address.target, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks l WHERE l.locktype = "
            "'advisory' AND l.pid = %s",
            (store._writer.raw.info.backend_pid,),
        )
        for idle in store._idle:
            connection.execute(
                "SELECT pg_terminate_backend(%s, 5000)", (idle.raw.info.backend_pid,)
            )


def test_a_writer_killed_in_a_long_statement_does_not_keep_the_site(tmp_path, site, postgres):
    if site._writer.raw.info.server_version < 140_000:
        pytest.skip("servers before PostgreSQL 14 do not look whether a client is there")
    site.close()
    code = (
        "import sys\nfrom galenic.records import open_site\n"
        "store = open_site(sys.argv[1])\nprint('open', flush=True)\n"
        "store._writer.execute('SELECT pg_sleep(60)')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pg")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "open\n"
        with psycopg.connect(Address.of(postgres).target) as other:
            asked = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
            while other.execute(asked).fetchone()[0] == 0:
                other.rollback()
        child.kill()

    with open_site(tmp_path / "pg") as again:
        assert not again.readonly


def test_a_lost_connection_loses_the_open_transaction_only_and_it_recovers_alone(site):
    with site.transaction() as tx:
        tx.journal([sample(1)], 1)
    with pytest.raises(StorageError, match="database"), site.transaction() as tx:
        tx.journal([sample(2, "new tag")], 1)
        cut(site)
        tx.put("kind", "a", 1)

    with site.transaction() as tx:
        tx.journal([sample(3)], 1)
        tx.samples([sample(3, "new tag")])

    assert [(1, sample(1)), (2, sample(3))] == list(site.journal_read())
    assert (["new tag"], True) == (list(site.latest()), site.verify().ok)


def test_a_connection_lost_between_transactions_is_not_even_noticed(site):
    assert site.head().offset == 0
    cut(site)

    with site.transaction() as tx:
        tx.journal([sample(1)], 1)

    assert 1 == site.head().offset


def test_after_a_lost_connection_nobody_may_have_written_in_between(tmp_path, site, postgres):
    cut(site)
    with open_site(tmp_path / "other", store=postgres) as other, other.transaction() as tx:
        tx.ledger(Record("level", 1, "line"))

    for _ in range(2):
        with pytest.raises(StorageError, match="another process has written"):
            with site.transaction() as tx:
                tx.ledger(Record("level", 1, "line"))


@pytest.mark.parametrize("commits", [True, False])
def test_a_commit_that_nobody_answered_is_looked_up(site, commits, monkeypatch):
    """The connection breaks after COMMIT was sent: the server knows what became of it."""
    real = site._writer.execute

    def broken(statement, values=()):
        if statement == "COMMIT":
            if commits:
                real(statement)
            site._writer.close()
            raise psycopg.OperationalError("connection lost")
        return real(statement, values)

    monkeypatch.setattr(site._writer, "execute", broken)

    def write():
        with site.transaction() as tx:
            tx.journal([sample(1)], 1)

    if commits:
        write()
    else:
        with pytest.raises(StorageError, match="connection lost"):
            write()

    assert int(commits) == site.head().offset
    with site.transaction() as tx:
        tx.journal([sample(2)], 1)
    assert (1 + commits, True) == (site.head().offset, site.verify().ok)


def test_threads_read_one_consistent_moment_while_one_writes(site):
    seen, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            with site._reading() as connection:
                (rows,) = connection.execute("SELECT count(*) FROM journal").fetchone()
                (filed,) = connection.execute("SELECT count(*) FROM samples").fetchone()
            seen.append((rows, filed))

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

    assert seen and all(rows == filed and rows % 10 == 0 for rows, filed in seen)


def test_what_cannot_be_kept_is_refused_clearly(site):
    with pytest.raises(DataError, match="too large"), site.transaction() as tx:
        tx.samples([sample(2**70)])
    with pytest.raises(DataError, match="not Unicode"), site.transaction() as tx:
        tx.samples([sample(1, "\udc80")])

    with site.transaction() as tx:
        tx.journal([sample(2**70)], 1)
    assert 2**70 * SECOND == next(site.journal_read())[1].source_time


def test_a_read_only_database_is_said_and_left_by_itself(site):
    site._writer.raw.execute("SET default_transaction_read_only = on")
    with pytest.raises(StorageError, match="read-only"), site.transaction() as tx:
        tx.journal([sample(1)], 1)

    site._writer.raw.execute("SET default_transaction_read_only = off")
    with site.transaction() as tx:
        tx.journal([sample(1)], 1)
    assert 1 == site.head().offset


def test_a_newer_schema_is_refused_and_left_alone(site):
    with site.transaction() as tx:
        tx._do("UPDATE meta SET value = '99' WHERE key = 'schema'")
    site.close()

    for readonly in (False, True):
        with pytest.raises(StorageError, match="schema version 99"):
            open_site(site.folder, readonly=readonly)


def test_no_server_and_no_records_are_said(tmp_path, postgres):
    with pytest.raises(StorageError, match="cannot be reached"):
        open_site(tmp_path / "a", store="postgresql://127.0.0.1:1/none")
    (tmp_path / NOTE).write_text(postgres)
    with pytest.raises(StorageError, match="no records here"):
        open_site(tmp_path, readonly=True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("postgresql://ann:secret@host/db", "has a password in it"),
        ("postgresql://host/db?password=secret", "has a password in it"),
        ("mysql://host/db", "no place for records"),
        ("postgresql://host", "no place for records"),
        ("postgresql://host/db?schema=a;b", "schema='a;b'"),
    ],
)
def test_an_address_that_will_not_do_is_refused_without_showing_a_secret(text, found):
    with pytest.raises(DataError, match=found) as caught:
        Address.of(text)

    assert "secret" not in json.dumps(caught.value.to_dict())


def test_an_address_comes_back_as_it_was_written():
    text = "postgresql://ann@host:5433/db?sslmode=verify-full&schema=line"

    assert text == Address.of(text).text
    assert "galenic" == Address.of("postgres://host/db").schema

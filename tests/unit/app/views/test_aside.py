"""A long look at the records runs beside, can be stopped, and says what it found."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from galenic.app.views.aside import Aside
from galenic.app.views.verification import verified
from galenic.clock import SECOND
from galenic.records import open_site
from galenic.signals import Record


@pytest.fixture
def folder(tmp_path):
    with open_site(tmp_path, name="test") as store, store.transaction() as tx:
        for k in range(20):
            tx.ledger(Record("level", k * SECOND, "tank-1", {"to": "twin"}, "ann", f"reason {k}"))
    return tmp_path


def run(look, folder, *arguments):
    """What a look gives, and how it ended."""
    heard, ended = [], []
    Aside(look, str(folder), arguments, heard.append, ended.append).wait(60)
    return heard, ended


def test_an_intact_ledger_is_verified_in_a_process_of_its_own(folder):
    (before, said), ended = run(verified, folder, "")

    assert before["now"].startswith("21 entries")
    assert said["report"]["ok"]
    assert ended == [None]


def test_a_long_verification_says_how_far_it_is(folder, monkeypatch):
    from galenic.records import verify

    monkeypatch.setattr(verify, "TOLD_EVERY", 5)
    with open_site(folder, readonly=True) as store:
        shares = [said["share"] for said in verified(store, "") if "share" in said]

    assert shares == [0.0, 5 / 21, 10 / 21, 15 / 21, 20 / 21]


def test_the_entry_that_was_changed_is_named(folder):
    with sqlite3.connect(next(folder.glob("*.sqlite*"))) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(
            "UPDATE ledger SET body = CAST(replace(body, 'reason 6', 'reason X') AS BLOB)"
        )
    connection.close()

    (_, said), _ = run(verified, folder, "")

    first = said["report"]["problems"][0]
    assert (first["index"], first["part"]) == (7, "ledger")
    assert "entry 7" in first["place"]


def test_one_that_is_stopped_ends_and_says_so(folder):
    heard, ended = [], []
    told = threading.Event()

    def take(one) -> None:
        heard.append(one)
        told.set()

    aside = Aside(endless, str(folder), (), take, ended.append)
    assert told.wait(60)
    aside.stop()

    assert not aside.is_alive
    assert ended[0]["found"] == "it was stopped"


def endless(store):
    """Gives numbers until it is stopped."""
    number = 0
    while True:
        number += 1
        yield number


def test_an_error_of_the_look_arrives_with_its_words(folder):
    heard, ended = run(verified, folder, "not a head")

    assert heard == []
    assert ended[0]["found"] == "'not a head' is not a head"

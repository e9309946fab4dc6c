"""Older files are upgraded, newer ones refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from galenic.errors import StorageError
from galenic.records import open_site, schema
from galenic.records.embedded import DATABASE

DUMPS = sorted(Path(__file__).parent.glob("schema_*.sql"))
"""One dump per released schema, made when it was released and never changed."""


def restore(dump, folder):
    connection = sqlite3.connect(folder / DATABASE)
    connection.executescript(dump.read_text())
    connection.close()


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_the_store_upgrades_itself_from_every_released_schema(dump, tmp_path):
    restore(dump, tmp_path)

    with open_site(tmp_path) as store:
        assert store.verify().ok
        assert "site-1" == store.site
        signals = [signal for _, signal in store.journal_read()]
        packed = [one for one in signals if getattr(one, "tag", "") == "P"]
        assert 6 == len(signals) - len(packed)
        assert [one.value for one in packed] == store.history("P", 0, 99)["value"].to_pylist()
        assert (20 if "pack" in dump.read_text() else 0) == len(packed)
        assert [21.5, 20.5] == [signal.value for _, signal in store.applied_read("line")]
        assert [20.5, 21.5, 22.5] == store.history("T", 0, 3)["value"].to_pylist()
        assert {"b": 1} == store.get("setting", "a")
        assert b"state" == store.checkpoint("line").data


def test_there_is_a_dump_of_every_schema():
    assert len(schema.MIGRATIONS) == len(DUMPS)


def test_an_upgrade_keeps_the_data_and_is_recorded(tmp_path, monkeypatch):
    restore(DUMPS[0], tmp_path)
    step = "ALTER TABLE checkpoints ADD COLUMN note TEXT;\nCREATE INDEX j ON journal (received);\n"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))

    for _ in range(2):  # the second time there is nothing to do
        with open_site(tmp_path) as store:
            (entry,) = store.ledger_read(kinds=["upgrade"])
            assert {"from": 1, "to": len(schema.MIGRATIONS)} == entry.detail
            assert store.verify().ok


def test_an_upgrade_that_fails_changes_nothing(tmp_path, monkeypatch):
    restore(DUMPS[0], tmp_path)
    steps = "CREATE TABLE half (a);\nCREATE TABLE journal (a);\n"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, steps))
    with pytest.raises(StorageError, match="already exists"):
        open_site(tmp_path)
    monkeypatch.undo()

    with open_site(tmp_path) as store, sqlite3.connect(store.path) as connection:
        assert store.verify().ok
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert "half" not in names


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_schema_is_refused_and_left_alone(tmp_path, readonly):
    open_site(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(StorageError, match="schema version 99") as caught:
        open_site(tmp_path, readonly=readonly)

    assert "release of galenic that wrote it" in caught.value.hint

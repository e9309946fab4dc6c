"""A plan says what an import will do; the import does that; every cell is accounted for."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galenic.connect.files import CsvReader
from galenic.connect.files.plan import Plan
from galenic.errors import DataError
from galenic.records import open_site
from galenic.stages.data.services import import_table, plan_import
from galenic.twin.run import Host, Run
from galenic.twin.service import File

MAPPING = b"""
time = "t"
zone = "UTC"
guess = ["decimal"]

[columns.force]
tag = "Press.Force"
unit = "N"
to = "kN"
bad = ["-999"]

[columns.lot]
tag = "Press.Lot"
type = "str"
"""
TABLE = """t,force,lot,operator
2026-01-31T08:00:00,11000,A,Ann
2026-01-31T08:00:01,12000,A,Ann
2026-01-31T08:00:01,12000,A,Ann
2026-01-31T08:00:02,"12500,5",,Ann
2026-01-31T08:00:02,13000,B,Ann
yesterday,1,B,Ann
2026-01-31T08:00:03,-999,B,Ann
2026-01-31T08:00:04,abc,B,Ann
2026-01-31T08:00:34,14000,B,Ann
"""


@pytest.fixture
def store(tmp_path):
    store = open_site(tmp_path / "site", name="test")
    yield store
    store.close()


def run_of(store, local=True) -> Run:
    return Run("Ann", host=Host(store, local=local))


FILES = {"mapping": File("map.toml", MAPPING), "file": File("old.csv", TABLE.encode())}


def rows_of(result, title) -> list[dict]:
    table = next(t for t in result.tables if t.title == title)
    return [dict(zip([c.name for c in table.columns], row, strict=True)) for row in table.rows()]


def test_a_plan_tells_everything_and_files_nothing(store):
    before = store.head()
    result = plan_import(**FILES, run=run_of(store))

    force, lot = rows_of(result, "tags")
    kinds = ("samples", "converted", "guessed", "duplicates", "conflicts", "rejected", "bad")
    assert [force[kind] for kind in kinds] == [5, 6, 1, 1, 1, 2, 1]
    assert (lot["samples"], lot["empty"], lot["rejected"]) == (6, 1, 1)
    span = (force["first"][:19], force["last"][:19])
    assert (*span, force["unit"]) == ("2026-01-31T08:00:00", "2026-01-31T08:00:34", "kN")
    assert (force["lowest"], force["highest"], force["gaps"]) == ("11", "14", 1)
    refused = {(r["row"], r["column"]): r["reason"] for r in rows_of(result, "rejected values")}
    assert refused == {(7, "t"): "is not a time stamp (ISO 8601)", (9, "force"): "is not a number"}
    assert rows_of(result, "columns that are not mapped") == [{"column": "operator"}]
    assert any("two values" in r["reason"] for r in rows_of(result, "reasons"))
    assert store.head() == before


def test_the_import_does_what_the_plan_said_and_its_counts_are_in_the_ledger(store):
    planned = plan_import(**FILES, run=run_of(store))
    done = import_table(**FILES, reason="archive", run=run_of(store))
    again = import_table(**FILES, reason="again", run=run_of(store))

    assert {k: v.value for k, v in planned.values.items()} == {
        k: v.value for k, v in done.values.items()
    }
    assert (again["samples"], again["known"]) == (0, done["samples"])
    entries = list(store.ledger_read(kinds=["import"]))
    assert [e.detail["state"] for e in entries] == ["begun", "done"] * 2
    first = entries[1]
    assert (first.who, first.reason, first.subject) == ("Ann", "archive", "old.csv")
    assert first.detail["numbers"] == {k: v.value for k, v in done.values.items()}
    assert first.detail["filed"] == 11
    history = store.history("Press.Force", 0, 2**62).to_pylist()
    assert [row["value"] for row in history] == [11.0, 12.0, 12.5005, None, 14.0]
    assert store.verify().ok


def test_what_contradicts_the_record_is_not_filed(store):
    import_table(**FILES, reason="archive", run=run_of(store))
    other = {**FILES, "file": File("new.csv", TABLE.replace("14000", "15000").encode())}
    result = import_table(**other, reason="other", run=run_of(store))

    force = rows_of(result, "tags")[0]
    assert (force["samples"], force["conflicts"]) == (0, 2)
    assert any("on record" in r["reason"] for r in rows_of(result, "reasons"))
    assert store.latest(["Press.Force"])["Press.Force"].value == 14.0


def test_a_database_can_be_named_only_at_the_machine(store, tmp_path):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE h (t TEXT, force REAL, lot TEXT)")
        connection.execute("INSERT INTO h VALUES ('2026-01-31T08:00:00', 11000, 'A')")
    connection.close()
    asked = {"mapping": FILES["mapping"], "database": str(path), "table": "h", "key": "t"}

    assert plan_import(**asked, run=run_of(store))["samples"] == 2
    with pytest.raises(DataError, match="machine"):
        plan_import(**asked, run=run_of(store, local=False))
    with pytest.raises(DataError, match="which source"):
        plan_import(mapping=FILES["mapping"], run=run_of(store))
    with pytest.raises(DataError, match="table"):
        plan_import(**{**asked, "table": ""}, run=run_of(store))


CELL = st.sampled_from(["", "1", "2.5", "1,5", "abc", "-999", "NA", "1e400", "nan"])
TIME = st.sampled_from(
    ["2026-01-31T08:00:00", "2026-01-31T08:00:01Z", "2026-01-31T07:00:00", "never", ""]
)


@given(st.lists(st.tuples(TIME, CELL, CELL), max_size=20))
@settings(max_examples=150)
def test_no_cell_is_ever_unaccounted_for(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    quoted = [f'{t},"{a}","{b}"' for t, a, b in rows]
    path.write_text("\n".join(["t,force,lot", *quoted, ""]))
    mapping = {
        "time": "t",
        "columns": {"force": {"tag": "F", "bad": ["-999"]}, "lot": {"tag": "L", "type": "str"}},
    }
    plan = Plan(CsvReader(path, mapping))

    kept = [sample for row in plan.run(plan.reader.rows()) for sample in row]

    assert plan.balance == 0
    assert len(kept) == plan.numbers["samples"]

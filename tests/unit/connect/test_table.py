"""Tables of other people's databases: read by a mapping, followed by a key, never written."""

from __future__ import annotations

import asyncio
import sqlite3
from urllib.parse import parse_qs, urlsplit

import pytest

from galenic.clock import SystemClock, from_iso
from galenic.connect.reconnect import Backoff
from galenic.connect.table import Database, DatabaseReader, TableConnector
from galenic.errors import ConnectionLost, DataError, UnitError, UnknownName
from galenic.twin.kinds import ConnectionSpec, connector_of

LONG = {
    "time": "ts", "tag": "TagName", "value": "Value", "zone": "Europe/Ljubljana",
    "columns": {"FT101": {"tag": "Line.Flow", "unit": "L/h", "to": "L/min"},
                "TT7": {"tag": "Oven.T", "unit": "degF", "to": "degC"}},
}  # fmt: skip
ROWS = [
    (1, "2026-01-31 09:00:00", "FT101", 60.0), (2, "2026-01-31 09:00:01", "TT7", 212.0),
    (3, "2026-01-31 09:00:02", "FT102", 1.0), (4, "2026-01-31 09:00:03", "FT101", None),
    (5, "nonsense", "FT101", 2.0), (6, "2026-01-31 09:00:05", "FT101", "12,5"),
]  # fmt: skip


def fill(path, rows, table="history") -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f'CREATE TABLE IF NOT EXISTS "{table}" (id, ts, TagName, Value, note)')
        connection.executemany(f"INSERT INTO \"{table}\" VALUES (?, ?, ?, ?, '')", rows)
    connection.close()


@pytest.fixture
def plant(tmp_path):
    path = tmp_path / "plant.db"
    fill(path, ROWS)
    return path


def reader(plant, mapping=LONG, table="history", key="id") -> DatabaseReader:
    return DatabaseReader(Database(plant), table, key, mapping)


def test_a_long_table_is_read_converted_and_accounted_for(plant):
    rows = reader(plant)
    samples = list(rows)
    rows.database.close()

    assert [(s.tag, round(s.value, 9), s.unit) for s in samples] == [
        ("Line.Flow", 1.0, "L/min"), ("Oven.T", 100.0, "degC"),
    ]  # fmt: skip
    assert samples[0].source_time == from_iso("2026-01-31T08:00:00Z")
    assert [(r.row, r.text) for r in rows.rejected] == [(3, "FT102"), (5, "nonsense"), (6, "12,5")]
    assert "decimal sign" in rows.rejected[2].reason
    assert rows.tally.number("empty") == 1


def test_a_guess_that_is_allowed_is_counted(plant):
    rows = reader(plant, {**LONG, "guess": ["decimal"]})
    assert [s.value * 60 for s in rows if s.tag == "Line.Flow"] == pytest.approx([60.0, 12.5])
    assert rows.tally.number("guessed") == 1
    unzoned = {k: v for k, v in LONG.items() if k != "zone"}
    rows = reader(plant, unzoned)
    assert len(list(rows)) == rows.tally.number("guessed") == 2


def test_a_wide_table_with_numbers_times_and_awkward_names(tmp_path):
    path = tmp_path / "wide.db"
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE "a ""b? %s" (k INTEGER, "t t" REAL, "x%" REAL, ok BOOL)')
        connection.executemany(
            'INSERT INTO "a ""b? %s" VALUES (?, ?, ?, ?)',
            [(i, 1_769_850_000.5 + i, i / 4, i % 2) for i in range(2500)],
        )
    connection.close()
    mapping = {
        "time": "t t", "format": "unix", "decimal": ",", "delimiter": ";",
        "columns": {"x%": "X", "ok": {"tag": "Ok", "type": "bool"}},
    }  # fmt: skip
    rows = reader(path, mapping, 'a "b? %s', "k")
    samples = list(rows)

    assert [s.value for s in samples if s.tag == "X"] == [i / 4 for i in range(2500)]
    assert samples[1].value is False
    assert samples[0].source_time == 1_769_850_000_500_000_000
    assert (rows.read, rows.rejected) == (2500, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"table": "histroy"}, "history"), ({"key": "idd"}, "id"),
        ({"mapping": {**LONG, "time": "tss"}}, "ts"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(plant, change, words):
    with pytest.raises(UnknownName, match=words):
        list(reader(plant, **change))


@pytest.mark.parametrize(
    "mapping",
    [
        {**LONG, "value": ""}, {**LONG, "guess": ["zone"]},
        {**LONG, "columns": {"a": {"tag": "A", "unit": "kg", "to": "m"}}},
        {**LONG, "columns": {"a": {"tag": "A", "to": "m"}}},
    ],
)  # fmt: skip
def test_a_mapping_that_contradicts_itself_is_refused(plant, mapping):
    with pytest.raises((DataError, UnknownName, UnitError)):
        reader(plant, mapping)


def test_a_database_is_never_written_and_a_password_never_in_its_address(plant, tmp_path):
    with pytest.raises(ConnectionLost, match=r"readonly|read-only"):
        Database(plant).ask("DELETE FROM history")
    with pytest.raises(ConnectionLost, match="no file"):
        Database(tmp_path / "none.db").open()
    with pytest.raises(DataError, match="password"):
        Database("postgresql://me:secret@host/db")


async def test_a_growing_table_is_followed_from_its_end_and_after_a_loss(plant, tmp_path):
    connector = TableConnector(
        plant, "history", "id", LONG, start="end", period=60.0,
        backoff=Backoff(first=0.01, cap=0.02),
    )  # fmt: skip
    await connector.open()
    assert await connector.look() == 0
    fill(plant, [(7, "2026-01-31 09:01:00", "FT101", 120.0)])
    assert await connector.look() == 1
    assert (await connector.read(["Line.Flow"]))[0].value == pytest.approx(2.0)
    plant.rename(tmp_path / "away.db")
    connector._supervisor._line.reader.database.close()
    with pytest.raises(ConnectionLost):
        await connector.look()
    async with asyncio.timeout(5):
        while connector.status.connected:
            await asyncio.sleep(0.01)
    fill(tmp_path / "away.db", [(8, "2026-01-31 09:02:00", "FT101", 180.0), (9, "x", "FT101", 1)])
    (tmp_path / "away.db").rename(plant)
    assert await connector.look(wait=5.0) == 2
    assert (await connector.read(["Line.Flow"]))[0].value == pytest.approx(3.0)
    assert connector.tally.number("rejected") == 1
    assert any("time stamp" in warning for warning in connector.status.warnings)
    await connector.close()


def test_a_project_names_a_file_beside_it_or_an_address(tmp_path):
    def made(database: str) -> str:
        options = {"database": database, "table": "h", "key": "id", "mapping": LONG}
        spec = ConnectionSpec("old", "table", options, folder=tmp_path)
        return connector_of(spec, SystemClock())._source[0]

    assert made("plant.db") == str(tmp_path / "plant.db")
    assert made("postgresql://me@host/db") == "postgresql://me@host/db"


def test_postgresql_is_read_alike(postgres):
    import psycopg

    parts = urlsplit(postgres)
    schema = parse_qs(parts.query)["schema"][0]
    address = f"{parts.scheme}://{parts.netloc}{parts.path}"
    with psycopg.connect(address) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"')
        connection.execute(
            f'CREATE TABLE "{schema}".h (id bigint, ts timestamptz, "TagName" text, '
            '"Value" numeric)'
        )
        connection.execute(
            f"INSERT INTO \"{schema}\".h SELECT i, '2026-01-31 08:00:00Z'::timestamptz "
            "+ i * interval '1 s', 'FT101', i * 60 FROM generate_series(0, 2099) i"
        )
    rows = reader(address, table=f"{schema}.h")
    samples = list(rows)
    rows.database.close()

    assert [s.value for s in samples] == pytest.approx(list(range(2100)))
    assert samples[0].source_time == from_iso("2026-01-31T08:00:00Z")

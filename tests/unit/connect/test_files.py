"""CSV mappings, the reader's reports, watched folders and recorded files."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from galenic.clock import SECOND, from_iso
from galenic.connect.files import CsvColumn, CsvFolder, CsvMapping, CsvReader, Recorded
from galenic.errors import ConnectionLost, DataError, GalenicError, UnknownName
from galenic.signals import Quality, Sample

FORCE = {"force": CsvColumn("Press.MainForce", "kN", bad=("-999",))}


def read(tmp_path, text: str, **options):
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    reader = CsvReader(path, CsvMapping(**{"time": "t", "columns": FORCE, **options}))
    return list(reader), reader.rejected


def test_a_row_becomes_a_sample_with_time_unit_and_quality(tmp_path):
    samples, rejected = read(tmp_path, "t,force\n2026-01-31T08:00:00Z,11.5\n")

    time = from_iso("2026-01-31T08:00:00Z")
    assert samples == [Sample("Press.MainForce", 11.5, "kN", time, time)]
    assert rejected == []


def test_a_decimal_comma_and_local_time_are_understood(tmp_path):
    samples, _ = read(
        tmp_path, "t;force\n06.09.2019 04:08:23;11,5\n",
        delimiter=";", decimal=",", zone="Europe/Ljubljana", format="%d.%m.%Y %H:%M:%S",
    )  # fmt: skip

    assert samples[0].value == 11.5
    assert samples[0].source_time == from_iso("2019-09-06T02:08:23Z")


@pytest.mark.parametrize(
    ("format", "text", "iso"),
    [
        ("unix", "1767225600.25", "2026-01-01T00:00:00.25+00:00"),
        ("unix_ms", "1767225600250", "2026-01-01T00:00:00.25+00:00"),
        ("", "2026-01-01 01:00:00+01:00", "2026-01-01T00:00:00Z"),
    ],
)
def test_time_formats(tmp_path, format, text, iso):
    samples, _ = read(tmp_path, f"t,force\n{text},1\n", format=format)

    assert samples[0].source_time == from_iso(iso)


def test_the_repeated_hour_of_autumn_goes_on(tmp_path):
    """On 2025-10-26 in Berlin 02:30 occurs at 00:30Z and, an hour later, at 01:30Z."""
    rows = ["02:30:00", "02:59:00", "02:30:00", "03:00:00"]
    text = "t,force\n" + "".join(f"2025-10-26 {row},1\n" for row in rows)

    samples, _ = read(tmp_path, text, zone="Europe/Berlin")

    stamps = [datetime.fromtimestamp(s.source_time / SECOND, UTC) for s in samples]
    assert [f"{stamp:%H:%M}" for stamp in stamps] == ["00:30", "00:59", "01:30", "02:00"]


def test_what_cannot_be_read_is_reported_with_row_column_and_reason(tmp_path):
    text = (
        "t,force\n2026-01-01T00:00:00Z,hard\nsoon,1\n2026-01-01T00:00:02Z\n"
        "2026-03-29T02:30:00,1\n2026-01-01T00:00:03Z,NaN\n2026-01-01T00:00:04Z,7\n"
    )

    samples, rejected = read(tmp_path, text, zone="Europe/Berlin")

    assert [s.value for s in samples] == [7.0]
    assert [(r.row, r.column, r.text) for r in rejected] == [
        (2, "force", "hard"),
        (3, "t", "soon"),
        (4, "t", "2026-01-01T00:00:02Z"),
        (5, "t", "2026-03-29T02:30:00"),
    ]
    assert str(rejected[0]) == "row 2, column 'force': 'hard' is not a number"
    assert "clock put forward" in rejected[3].reason


def test_quality_comes_from_its_column_and_from_bad_texts(tmp_path):
    text = "t,force,q\n0,1,OK\n1,2,doubt\n2,-999,OK\n3,4,what\n"

    samples, rejected = read(
        tmp_path, text, format="unix", quality="q", qualities={"OK": "good", "doubt": "uncertain"}
    )

    assert [(s.value, s.quality) for s in samples] == [
        (1.0, Quality.GOOD),
        (2.0, Quality.UNCERTAIN),
        (None, Quality.BAD),
    ]
    assert rejected[0].reason == "is not one of OK, doubt"


def test_types(tmp_path):
    columns = {
        "run": CsvColumn("Line.Running", type="bool"),
        "lot": CsvColumn("Line.Lot", type="str"),
        "n": CsvColumn("Line.Count", type="int"),
    }

    samples, rejected = read(tmp_path, "t,run,lot,n\n0,on,A7,3\n1,x,B,3.5\n", format="unix",
                             columns=columns)  # fmt: skip

    assert [s.value for s in samples] == [True, "A7", 3, "B"]
    assert [r.reason for r in rejected] == ["is neither true nor false", "is not a whole number"]


def test_a_mapping_from_toml(tmp_path):
    path = tmp_path / "press.toml"
    path.write_text(
        'time = "timestamp"\nzone = "Europe/Ljubljana"\ndelimiter = ";"\n'
        '[columns.main_comp]\ntag = "Press.MainForce"\nunit = "kN"\nbad = ["-1"]\n'
    )

    mapping = CsvMapping.from_toml(path)

    assert mapping.columns["main_comp"] == CsvColumn("Press.MainForce", "kN", bad=("-1",))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"delimeter": ";"}, UnknownName, "did you mean 'delimiter'"),
        ({"columns": {"force": {"tagg": "x"}}}, UnknownName, "column force"),
        ({"zone": "Europe/Lubljana"}, DataError, "no time zone"),
        ({"delimiter": ",", "decimal": ","}, DataError, "differs from it"),
        ({"columns": {}}, DataError, "names no columns"),
        ({"columns": {"a": "x", "b": "x"}}, DataError, "two columns map to tag 'x'"),
        ({"qualities": {"1": "god"}}, UnknownName, "'good'"),
    ],
)
def test_a_wrong_mapping_is_named(change, error, words):
    data = {"time": "t", "columns": {"force": {"tag": "F"}}, **change}

    with pytest.raises(error) as caught:
        CsvMapping.from_dict(data)

    assert words in str(caught.value)


def test_a_missing_column_and_file_are_named(tmp_path):
    with pytest.raises(UnknownName, match="no column 'force'") as error:
        read(tmp_path, "t,forces\n")
    assert "forces" in error.value.hint
    with pytest.raises(DataError, match="No such file"):
        list(CsvReader(tmp_path / "none.csv", CsvMapping("t", FORCE)))


def test_the_press_record_is_read_whole(shared_data):
    """35,609 rows at 10 s, no value missing (README of the data set)."""
    mapping = CsvMapping(
        "timestamp", {"main_comp": CsvColumn("Press.MainForce", "kN")},
        zone="Europe/Ljubljana", delimiter=";",
    )  # fmt: skip
    reader = CsvReader(shared_data / "tablet-press-1005" / "timeseries_product6.csv", mapping)

    count = sum(len(row) for row in reader.rows())

    assert count + len(reader.rejected) == 35_609


async def test_a_folder_gives_what_is_there_and_what_comes(tmp_path):
    (tmp_path / "1.csv").write_text("t,force\n1,1\n")
    folder = CsvFolder(tmp_path, CsvMapping("t", FORCE, format="unix"), period=0.02)
    await folder.open()
    batches = folder.subscribe(["Press.MainForce"])
    first = await anext(batches)
    with (tmp_path / "1.csv").open("a") as file:
        file.write("2,2\n3,")
    second = await anext(batches)
    with (tmp_path / "1.csv").open("a") as file:
        file.write("3\nx,4\n")
    (tmp_path / "2.csv").write_text("wrong,header\n1,1\n")
    third = await anext(batches)
    await asyncio.sleep(0.05)

    assert [s.value for s in first + second + third] == [1.0, 2.0, 3.0]
    assert third[0].source_time == 3 * SECOND
    assert third[0].received_time > third[0].source_time
    async with asyncio.timeout(1):
        task = asyncio.ensure_future(anext(batches, None))
        await asyncio.sleep(0.1)
        await folder.close()
        assert await task is None
    text = " ".join(folder.status.warnings)
    assert "2.csv: there is no column 't'" in text
    assert "1 values rejected, last: row 5" in text


async def test_a_folder_that_is_not_there_is_named_and_found_later(tmp_path):
    folder = CsvFolder(tmp_path / "in", CsvMapping("t", FORCE, format="unix"), period=0.02)
    with pytest.raises(ConnectionLost, match="no folder"):
        await folder.open()
    batches = folder.subscribe(["Press.MainForce"])

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text("t,force\n1,1\n")

    assert (await anext(batches))[0].value == 1.0
    assert folder.status.connected
    await folder.close()


SAMPLES = [
    Sample("F", 1.5, "kN", 10, 20, source_key="a"),
    Sample("L", "A7", "", 10, 20),
    Sample("R", True, "", 11, 21, Quality.UNCERTAIN, 0x40000000),
    Sample("F", None, "kN", 12, 22, Quality.BAD, 0x80000000),
]


def test_a_journal_export_is_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    rows = [{"offset": 1, "received": 1, "kind": "tick", "body": {"time": 1}}]
    rows += [{"kind": "sample", "received": s.received_time, "body": s.to_dict()} for s in SAMPLES]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert list(Recorded(path)) == SAMPLES


def test_a_segment_is_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def row(sample: Sample, value, text, kind) -> dict:
        return {
            "tag": sample.tag, "time": sample.source_time, "received": sample.received_time,
            "value": value, "text": text, "type": kind, "quality": int(sample.quality),
            "status": sample.status, "unit": sample.unit, "key": sample.source_key,
        }  # fmt: skip

    values = [
        (1.5, None, "number"),
        (None, "A7", "text"),
        (1.0, None, "bool"),
        (None,) * 2 + ("none",),
    ]
    rows = [row(s, *v) for s, v in zip(SAMPLES, values, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "segment.parquet")

    assert list(Recorded(tmp_path / "segment.parquet")) == SAMPLES


def test_a_file_of_another_shape_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no")
    (tmp_path / "x.jsonl").write_text("{}\n")

    with pytest.raises(DataError, match="not a Parquet file"):
        list(Recorded(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match="not a line of a journal"):
        list(Recorded(tmp_path / "x.jsonl"))
    with pytest.raises(DataError, match="cannot read samples"):
        Recorded(Path(__file__))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[time]\ncolumn = "t"\n[columns]\na = "A"', "time = .*expected: a text"),
        ('time = "t"\n[columns.a]\nbad = "-999"', "column a.*a list of texts"),
        ('time = "t"\n[columns.a]\nbad = [-999]', "column a.*a list of texts"),
        ('time = "t"\n[columns]\na = 5', "column a.*a tag, or a table"),
        ('time = "t"\nqualities = {ok = 1}\n[columns]\na = "A"', "qualities.*a table of texts"),
        ('time = "t"\nencoding = "utf-99"\n[columns]\na = "A"', "m.toml.*cp1252"),
        ('time = "t"\nzone = "Berlin"\n[columns]\na = "A"', "m.toml.*Europe"),
        ('time = "t"\n[columns.a]\nunit = "degreesC"', "degreesC.*column a"),
        ('time = "t"\n[columns.a]\ntype = "flot"', "flot.*column a.*float"),
    ],
)
def test_a_setting_of_a_wrong_kind_names_its_place_and_what_was_expected(text, words):
    with pytest.raises(GalenicError, match=f"(?s){words}"):
        CsvMapping.from_text(text, "m.toml")


def test_a_file_with_another_delimiter_says_which(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("t;a\n2026-01-01T00:00:00Z;1\n")

    with pytest.raises(DataError, match='set delimiter = ";"'):
        list(CsvReader(path, {"time": "t", "columns": {"a": "A"}}))

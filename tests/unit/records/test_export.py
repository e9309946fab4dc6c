"""Exports, checked by code that does not use galenic."""

from __future__ import annotations

import csv
import hashlib
import json
import struct

import pyarrow.parquet as pq
import pytest

from galenic.errors import DataError
from galenic.records.export import export
from galenic.signals import Record, Sample


@pytest.fixture
def filled(site):
    with site.transaction() as tx:
        tx.journal([Sample("T", 20.5 + i, "°C", i, i) for i in range(30)], 7)
        tx.ledger(Record("level", 5, "line", {"to": "twin", "x": 0.1}, "ann", 'Grüße, "quoted"\n'))
        tx.ledger(Record("odd", 6, "line", {"nan": float("nan")}))
    return site


def recompute_ledger(entries):
    previous = "0" * 64
    for number, entry in enumerate(entries):
        facts = {key: value for key, value in entry.items() if key != "hash"}
        body = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert (number, previous) == (entry["index"], entry["previous"])
        previous = hashlib.sha256(body.encode()).hexdigest()
        assert previous == entry["hash"]
    return previous


def test_json_lines_can_be_verified_without_galenic(filled, tmp_path):
    manifest = export(filled, tmp_path / "copy")

    for file in manifest["files"]:
        data = (tmp_path / "copy" / file["name"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["rows"] == data.count(b"\n")
    lines = (tmp_path / "copy" / "ledger.jsonl").read_text().splitlines()
    assert filled.head().hash == recompute_ledger([json.loads(line) for line in lines])
    previous = bytes(32)
    for line in (tmp_path / "copy" / "journal.jsonl").read_text().splitlines():
        row = json.loads(line)
        head = previous + struct.pack(">qq", row["offset"], row["received"])
        body = row["kind"].encode() + b"\0" + row["body"].encode()
        previous = hashlib.sha256(head + body).digest()
        assert previous.hex() == row["hash"]
    assert filled.head().journal == previous.hex()
    assert manifest == json.loads((tmp_path / "copy" / "manifest.json").read_text())


def test_csv_and_parquet_hold_the_same(filled, tmp_path):
    export(filled, tmp_path, "csv")
    export(filled, tmp_path, "parquet")

    for name in ("ledger", "journal"):
        with (tmp_path / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        table = pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
        assert rows == [{key: str(value) for key, value in row.items()} for row in table]
    entries = [
        row | {"detail": json.loads(row["detail"])}
        for row in pq.read_table(tmp_path / "ledger.parquet").to_pylist()
    ]
    assert filled.head().hash == recompute_ledger(entries)


def test_an_unknown_form_is_refused(filled, tmp_path):
    with pytest.raises(DataError, match="export to 'xls'"):
        export(filled, tmp_path, "xls")

"""Copies of ledger and journal for people and programs that do not have galenic.

JSON lines, CSV or Parquet, with a manifest of the SHA-256 of each file and the head they lead
to. An entry's hash is the SHA-256 of the canonical JSON (sorted keys, no spaces, UTF-8) of its
other fields.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from galenic.errors import DataError
from galenic.records import journal
from galenic.records.codec import canonical, plain
from galenic.records.site import SiteStore

BATCH = 20_000

Rows = Iterator[dict[str, Any]]


def export(store: SiteStore, folder: str | Path, form: str = "jsonl") -> dict[str, Any]:
    """Write ledger and journal to ``folder``; the manifest, which is also written there.

    Parameters
    ----------
    form : "jsonl", "csv" or "parquet"
    """
    if form not in WRITERS:
        raise DataError(f"export to {form!r}", expected=" or ".join(WRITERS))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    head = store.head()
    parts = {
        "ledger": (LEDGER, _ledger_rows(store, head.index + 1)),
        "journal": (JOURNAL, _journal_rows(store, head.offset + 1)),
    }
    files = []
    for name, (columns, rows) in parts.items():
        path = target / f"{name}.{form}"
        count = WRITERS[form](path, columns, rows)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append({"name": path.name, "rows": count, "sha256": digest})
    manifest = {"site": store.site, "head": head.to_dict(), "files": files}
    (target / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


LEDGER = ("index", "time", "kind", "subject", "who", "reason", "detail", "previous", "hash")
JOURNAL = ("offset", "received", "kind", "body", "hash")


def _ledger_rows(store: SiteStore, stop: int) -> Rows:
    for entry in store.ledger_read(0, stop):
        yield entry.to_dict()


def _journal_rows(store: SiteStore, stop: int) -> Rows:
    for row in store.journal_rows(1, stop):
        yield from map(_journal_row, journal.singly(row))


def _journal_row(row: journal.Row) -> dict[str, Any]:
    offset, received, kind, body, digest = row
    return dict(zip(JOURNAL, (offset, received, kind, body.decode(), digest.hex()), strict=True))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """The row with nested facts as JSON text, for formats of plain columns."""
    return {
        key: value if isinstance(value, int | str) else canonical(value).decode()
        for key, value in row.items()
    }


def _write_jsonl(path: Path, columns: Sequence[str], rows: Rows) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(plain(row), ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_csv(path: Path, columns: Sequence[str], rows: Rows) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow(_flat(row))
            count += 1
    return count


def _write_parquet(path: Path, columns: Sequence[str], rows: Rows) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = ("index", "time", "offset", "received")
    schema = pa.schema([(name, pa.int64() if name in whole else pa.string()) for name in columns])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := [_flat(row) for row in islice(rows, BATCH)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


WRITERS: dict[str, Callable[[Path, Sequence[str], Rows], int]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "parquet": _write_parquet,
}

"""Samples that galenic recorded: historian segments and journal exports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from galenic.errors import DataError
from galenic.packs import unpack
from galenic.signals import Sample, signal_from_dict

BATCH = 50_000
SEGMENT = ("tag", "time", "received", "value", "text", "type", "quality", "status", "unit", "key")
JOURNAL = ("kind", "body", "received")


class Recorded:
    """The samples in a Parquet segment, or in a journal exported as Parquet or JSON lines.

    Iterate for the samples in the order of the file; each pass reads the file anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"there is no file {str(path)!r}")
        if self.path.suffix not in READERS:
            raise DataError(
                f"cannot read samples from {self.path.name!r}", expected=" or ".join(READERS),
                hint="a CSV file needs a CsvMapping",
            )  # fmt: skip

    def __iter__(self) -> Iterator[Sample]:
        return READERS[self.path.suffix](self.path)


def _parquet(path: Path) -> Iterator[Sample]:
    import pyarrow.lib
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pyarrow.lib.ArrowInvalid as error:
        raise DataError(f"not a Parquet file: {error}", where=str(path)) from error
    with file:
        names = set(file.schema_arrow.names)
        shapes = {SEGMENT: _segment_row, JOURNAL: _journal_row}
        shape = next((columns for columns in shapes if names.issuperset(columns)), None)
        if shape is None:
            raise DataError(
                f"columns {', '.join(sorted(names))}", where=str(path),
                expected=f"{', '.join(SEGMENT)} of a segment, or {', '.join(JOURNAL)} of a journal",
            )  # fmt: skip
        for batch in file.iter_batches(BATCH, columns=list(shape)):
            for row in batch.to_pylist():
                yield from shapes[shape](row)


def _lines(path: Path) -> Iterator[Sample]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                samples = _journal_row(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"not a line of a journal: {error}", where=f"{path}, line {number}"
                ) from error
            yield from samples


def _journal_row(row: dict[str, Any]) -> list[Sample]:
    """The samples of a journal row; none of another kind of event."""
    body = row["body"]
    if row["kind"] == "pack":
        line = body if isinstance(body, str) else json.dumps(body)
        return unpack(line.encode()).samples()
    if row["kind"] != "sample":
        return []
    fields = json.loads(body) if isinstance(body, str) else body
    signal = signal_from_dict({"kind": "sample", **fields})
    assert isinstance(signal, Sample)
    return [signal]


def _segment_row(row: dict[str, Any]) -> list[Sample]:
    sample = Sample(
        row["tag"], row["value"], row["unit"] or "", row["time"], row["received"],
        row["quality"], row["status"], row["key"] or "",
    )  # fmt: skip
    kind = row["type"]
    if kind == "text":
        return [replace(sample, value=row["text"])]
    if kind == "bool":
        return [replace(sample, value=bool(row["value"]))]
    return [sample]


READERS: dict[str, Callable[[Path], Iterator[Sample]]] = {".parquet": _parquet, ".jsonl": _lines}

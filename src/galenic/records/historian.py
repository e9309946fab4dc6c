"""History of samples: recent rows in the database, older ones in sealed Parquet segments.

A segment is written, synced, renamed, then registered with its hash in the transaction that
removes its rows from the database: a crash at any moment leaves each row in exactly one place.
Several rows of one tag at one time are versions of it, in the order they came: a correction, or a
source that says something else about the same moment. Nothing is ever edited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.errors import DataError, StorageError
from galenic.identity import content_hash
from galenic.records.files import sync_file, sync_folder
from galenic.records.sql import Connection
from galenic.records.store import Segment
from galenic.signals import Sample

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "segments"
ROW_GROUP = 50_000

Row = tuple[int, int, int, float | None, str | None, str, int, int, int, str | None]
"""The values of `COLUMNS`."""

COLUMNS = "tag, time, received, number, text, type, quality, status, unit, key"
SET_LATEST = (
    f"INSERT INTO latest ({COLUMNS}) VALUES ({'?,' * 9}?) ON CONFLICT (tag) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[1:])
    + " WHERE excluded.time >= latest.time"
)
NAMED = (
    "SELECT {first} t.name, s.time, s.received, s.number, s.text, s.type, s.quality, s.status, "
    "u.name, s.key {last} FROM {table} s JOIN names t ON t.id = s.tag JOIN names u ON u.id = s.unit"
)
LATEST = NAMED.format(first="", last="", table="latest")
HOT = NAMED.format(first="s.sequence,", last=", s.change", table="samples")


def row_of(sample: Sample, name_id: Callable[[str], int]) -> Row:
    """The values of `COLUMNS` for a sample."""
    value = sample.value
    number, text, kind = _stored(value) if type(value) is not float else _stored_number(value)
    return (
        name_id(sample.tag),
        sample.source_time,
        sample.received_time,
        number,
        text,
        kind,
        int(sample.quality),
        sample.status,
        name_id(sample.unit),
        sample.source_key or None,
    )


def _stored(value: Any) -> tuple[float | None, str | None, str]:
    if value is None:
        return None, None, "none"
    if isinstance(value, str):
        return None, value, "text"
    if isinstance(value, bool):
        return float(value), None, "bool"
    return _stored_number(float(value))


def _stored_number(number: float) -> tuple[float | None, None, str]:
    # SQLite keeps NaN as NULL (the type column tells it from "no value") and no sign of a zero;
    # what every store keeps is the same
    return (None if number != number else number + 0.0), None, "number"


def value_of(number: float | None, text: str | None, kind: str) -> float | bool | str | None:
    """The value that was stored as these three."""
    if kind == "number":
        return math.nan if number is None else number
    return {"none": None, "text": text, "bool": bool(number)}[kind]


def sample_of(row: Sequence[Any]) -> Sample:
    """The sample in a row of `LATEST`."""
    tag, time, received, number, text, kind, quality, status, unit, key = row
    value = value_of(number, text, kind)
    return Sample(tag, value, unit, time, received, quality, status, key or "")


def correct_latest(row: Row) -> tuple[str, tuple[Any, ...]]:
    """Statement and values that correct the latest value, where it is the one corrected."""
    tag, time, received, number, text, kind, _, _, unit, _ = row
    return (
        "UPDATE latest SET received = ?, number = ?, text = ?, type = ?, unit = ? "
        "WHERE tag = ? AND time = ?",
        (received, number, text, kind, unit, tag, time),
    )


def arrow_schema() -> pa.Schema:
    """Columns of a segment and of history as it is read."""
    import pyarrow as pa

    short, word = pa.string(), pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            ("sequence", pa.int64()),
            ("tag", word),
            ("time", pa.int64()),
            ("received", pa.int64()),
            ("value", pa.float64()),
            ("text", short),
            ("type", word),
            ("quality", pa.int8()),
            ("status", pa.int64()),
            ("unit", word),
            ("key", short),
            ("change", word),
        ]
    )


def hot_table(rows: Iterable[Sequence[Any]]) -> pa.Table:
    """Rows of `HOT` as Arrow."""
    import pyarrow as pa

    schema = arrow_schema()
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def hot_rows(
    connection: Connection, start: int, stop: int, tags: Sequence[str] | None = None
) -> list[tuple[Any, ...]]:
    """Rows of the database with start <= time < stop, sorted by tag, time and arrival."""
    where = "WHERE s.time >= ? AND s.time < ?"
    if tags is not None:
        where += f" AND t.name IN ({','.join('?' * len(tags))})"
    query = f"{HOT} {where} ORDER BY t.name, s.time, s.sequence"
    return connection.execute(query, (start, stop, *(tags or ()))).fetchall()


def no_step(name: str) -> None:
    """Called between the steps of a seal; tests put a fault here."""


def write_segment(
    folder: Path, rows: list[tuple[Any, ...]], step: Callable[[str], None] = no_step
) -> Segment:
    """Write rows to a durable file under its final name; not registered yet."""
    import pyarrow.parquet as pq

    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    temporary = target / "sealing.tmp"
    pq.write_table(
        hot_table(rows),
        temporary,
        compression="zstd",
        row_group_size=ROW_GROUP,
        write_statistics=True,
        sorting_columns=None,
    )
    step("written")
    sync_file(temporary)
    step("synced")
    data = temporary.read_bytes()
    times = [row[2] for row in rows]
    start, stop, last = min(times), max(times) + 1, max(row[0] for row in rows)
    digest = content_hash(data)
    name = f"{start}-{stop}-{digest[:12]}.parquet"
    temporary.replace(target / name)
    step("renamed")
    sync_folder(target)
    step("folder synced")
    return Segment(name, start, stop, len(rows), last, len(data), digest)


def register(connection: Connection, segment: Segment, until: int) -> None:
    """Enter a segment and remove its rows from the database, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(segment).values())
    )
    removed = connection.execute(
        "DELETE FROM samples WHERE time < ? AND sequence <= ?", (until, segment.last)
    ).rowcount
    if removed != segment.rows:
        raise StorageError(
            f"a segment of {segment.rows} rows would replace {removed} rows",
            where=segment.name,
            hint="two seals ran at once; nothing was changed",
        )


def registered(connection: Connection) -> list[Segment]:
    """All segments, oldest data first."""
    rows = connection.execute("SELECT * FROM segments ORDER BY start, last").fetchall()
    return [Segment(*row) for row in rows]


def remove_strays(folder: Path, known: Iterable[Segment]) -> list[str]:
    """Delete files of a seal that a crash cut short; their rows are still in the database."""
    names = {segment.name for segment in known}
    target = folder / FOLDER
    strays = [path for path in target.glob("*") if path.name not in names]
    for path in strays:
        path.unlink()
    return [path.name for path in strays]


def split_key(key: str) -> tuple[str, int] | None:
    """Tag and time in a key that a sample made of itself (`Sample.key`)."""
    parts = key.split("|")
    if len(parts) < 4:
        return None
    try:
        return parts[0], int(parts[1])
    except ValueError:
        return None


def check_range(start: int, stop: int, every: int | None, versions: str) -> None:
    """Refuse questions that have no answer."""
    if stop < start:
        raise DataError(f"history from {start} to {stop} runs backwards", expected="start <= stop")
    if every is not None and every <= 0:
        raise DataError(f"buckets of {every} ns", expected="a positive bucket length")
    if versions not in ("latest", "all"):
        raise DataError(f"versions={versions!r}", expected="'latest' or 'all'")

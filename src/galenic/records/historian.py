"""History of samples: recent rows in the database, older ones in sealed Parquet segments.

A segment is written, synced, renamed, then registered with its hash in the transaction that
removes its rows from the database: a crash at any moment leaves each row in exactly one place.
Several rows of one tag at one time are versions of it, in the order they came: a correction, or a
source that says something else about the same moment. Nothing is ever edited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.errors import DataError, StorageError
from galenic.packs import NUMBER, TEXT, TRUTH, WHOLE, Columns
from galenic.records.codec import restore
from galenic.records.files import file_hash, given_back, sync_file, sync_folder
from galenic.records.sql import Connection
from galenic.records.store import Segment
from galenic.signals import Sample, quick_sample

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

FOLDER = "segments"
ROW_GROUP = 50_000
SETTLED = ("store", "settled")
"""The document that says up to which journal offset packs are in the table of latest values."""

FEW_TAGS = 100
NEVER = 2**62
CHUNK = 4_000_000  # rows that are sorted in memory at once
SEGMENT_ROWS = 2_000_000  # of packs that one seal takes

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


def samples_of(
    rows: Iterable[Row], names: Mapping[int, str], made: dict[int, tuple[Row, Sample]]
) -> dict[str, Sample]:
    """The samples in rows of `COLUMNS` by tag: pages ask for thousands, most of them as before.

    ``made`` has what was made of the rows of earlier questions by tag, and gets what is new.
    """
    found = {}
    for row in rows:
        known = made.get(row[0])
        if known is None or known[0] != row:
            known = made[row[0]] = row, _sample_of(row, names)
        found[names[row[0]]] = known[1]
    return found


def _sample_of(row: Row, names: Mapping[int, str]) -> Sample:
    tag, time, received, number, text, kind, quality, status, unit, key = row
    is_number = kind == "number" and number is not None
    value = number if is_number else value_of(number, text, kind)
    return quick_sample(names[tag], value, names[unit], time, received, quality, status, key or "")


def correct_latest(row: Row) -> tuple[str, tuple[Any, ...]]:
    """Statement and values that correct the latest value, where it is the one corrected."""
    tag, time, received, number, text, kind, _, _, unit, _ = row
    return (
        "UPDATE latest SET received = ?, number = ?, text = ?, type = ?, unit = ? "
        "WHERE tag = ? AND time = ?",
        (received, number, text, kind, unit, tag, time),
    )


def newest_samples(packed: Iterable[Columns]) -> list[Sample]:
    """The newest sample of each tag in packs; of several at one time the last to come."""
    columns = list(packed)
    if not columns:
        return []
    numbers: dict[str, int] = {}
    for one in columns:
        for tag in one.tags:
            numbers.setdefault(tag, len(numbers))
    tags = [np.array([numbers[tag] for tag in one.tags])[one.tag] for one in columns]
    order = np.argsort(np.concatenate([one.time for one in columns]), kind="stable")
    newest = np.full(len(numbers), -1)
    newest[np.concatenate(tags)[order]] = order  # of one tag the last row that is put here stays
    newest = np.sort(newest[newest >= 0])
    ends = np.cumsum([len(one) for one in columns])
    parts = np.split(newest, np.searchsorted(newest, ends[:-1]))
    return [
        sample
        for one, end, rows in zip(columns, ends, parts, strict=True)
        for sample in one.at(rows - (end - len(one)))
    ]


def packed_table(columns: Columns, sequence: int) -> pa.Table:
    """A pack as Arrow, its samples numbered from ``sequence`` on."""
    import pyarrow as pa

    count, schema = len(columns), arrow_schema()
    is_number = (columns.type == NUMBER) | (columns.type == WHOLE)
    texts = np.full(count, None, dtype=object)
    texts[columns.type == TEXT] = columns.texts
    keys = [columns.keys] * count if isinstance(columns.keys, str) else columns.keys

    def words(positions: Any, names: list[str]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(positions.astype(np.int32)), names)

    def none(kind: Any) -> Any:
        return pa.nulls(count, kind)

    arrays = [
        pa.array(np.arange(sequence, sequence + count)),
        words(columns.tag, columns.tags),
        pa.array(columns.time),
        pa.array(columns.received),
        # as the tables keep it: NaN as nothing, no sign of a zero
        pa.array(
            columns.value + 0.0,
            mask=~(is_number | (columns.type == TRUTH)) | np.isnan(columns.value),
        ),
        pa.array(texts, pa.string()) if columns.texts else none(pa.string()),
        words(columns.type % WHOLE, ["number", "bool", "none", "text"]),
        pa.array(columns.quality.astype(np.int8)),
        pa.array(columns.status),
        words(columns.unit, columns.units),
        pa.array([key or None for key in keys], pa.string()) if any(keys) else none(pa.string()),
        none(schema.field("change").type),
    ]
    return pa.table(arrays, schema=schema)


@dataclass(frozen=True)
class Packed:
    """A pack whose samples are not in a segment yet: an entry of the table ``packs``."""

    last: int
    count: int
    sequence: int
    start: int
    stop: int
    received: int


def hot_packs(connection: Connection, start: int, stop: int) -> list[Packed]:
    """Packs with samples of start <= time < stop that are in no segment, in their order."""
    rows = connection.execute(
        "SELECT * FROM packs WHERE start < ? AND stop > ? ORDER BY last", (stop, start)
    ).fetchall()
    return [Packed(*row) for row in rows]


def unsettled(connection: Connection) -> list[int]:
    """Journal offsets of the packs that the latest values do not know yet, in their order."""
    row = connection.execute(
        "SELECT value FROM documents WHERE kind = ? AND key = ?", SETTLED
    ).fetchone()
    offset = restore(row[0]) if row else 0
    rows = connection.execute("SELECT last FROM packs WHERE last > ? ORDER BY last", (offset,))
    return [last for (last,) in rows.fetchall()]


def due_packs(connection: Connection, until: int) -> list[Packed]:
    """The oldest packs that may be sealed: all before ``until`` [ns], or received before it."""
    rows = connection.execute(
        "SELECT * FROM packs WHERE stop <= ? OR received < ? ORDER BY last", (until, until)
    ).fetchall()
    found, count = [], 0
    for row in rows:
        found.append(Packed(*row))
        count += found[-1].count
        if count >= SEGMENT_ROWS:
            break
    return found


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
    where, listed = "WHERE s.time >= ? AND s.time < ?", tags
    if tags is not None and len(tags) <= FEW_TAGS:
        where += f" AND t.name IN ({','.join('?' * len(tags))})"
    else:
        listed = None
    query = f"{HOT} {where} ORDER BY t.name, s.time, s.sequence"
    rows = connection.execute(query, (start, stop, *(listed or ()))).fetchall()
    if tags is None or listed is not None:
        return rows
    wanted = set(tags)
    return [row for row in rows if row[1] in wanted]


def latest_rows(connection: Connection, tags: Collection[str] | None) -> Iterable[Row]:
    """Rows of the table of latest values, all of them or, of few tags, theirs."""
    query = f"SELECT {COLUMNS} FROM latest"
    if tags is None or len(tags) > FEW_TAGS:
        return connection.execute(query)
    marks = ",".join("?" * len(tags))
    query += f" WHERE tag IN (SELECT id FROM names WHERE name IN ({marks}))"
    return connection.execute(query, tuple(tags))


def last_times(connection: Connection, tags: Sequence[str], before: int) -> dict[str, int]:
    """The newest time of each tag before a moment, of single rows of the database."""
    if len(tags) > FEW_TAGS:
        rows = connection.execute(
            "SELECT t.name, max(s.time) FROM samples s JOIN names t ON t.id = s.tag "
            "WHERE s.time < ? GROUP BY t.name",
            (before,),
        ).fetchall()
        wanted = set(tags)
        return {tag: time for tag, time in rows if tag in wanted}
    newest = "SELECT max(time) FROM samples WHERE tag = (SELECT id FROM names WHERE name = ?)"
    found = {
        tag: connection.execute(f"{newest} AND time < ?", (tag, before)).fetchone()[0]
        for tag in tags
    }
    return {tag: time for tag, time in found.items() if time is not None}


def no_step(name: str) -> None:
    """Called between the steps of a seal; tests put a fault here."""


def sorted_table(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of tables together, by tag, time and arrival, as a segment has them."""
    import pyarrow as pa

    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if not table.num_rows:
        return table
    tags = table.column("tag").chunk(0)
    names = tags.dictionary.to_pylist()
    rank = np.empty(len(names), dtype=np.uint16 if len(names) < 2**16 else np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    # one stable sort after another: rows come almost in the order of arrival and time, and small
    # numbers are sorted by their digits
    order = np.argsort(table.column("sequence").to_numpy(), kind="stable")
    for key in (table.column("time").to_numpy(), rank[tags.indices.to_numpy()]):
        order = order[np.argsort(key[order], kind="stable")]
    return table.take(order)


def write_segment(
    folder: Path, tables: Iterable[pa.Table], step: Callable[[str], None] = no_step
) -> Segment:
    """Write sorted rows to a durable file under its final name; not registered yet.

    The tables follow each other in the order of rows; none of them is kept in memory.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    temporary = target / "sealing.tmp"
    count, low, high, last = 0, NEVER, -NEVER, 0
    with (
        given_back(temporary),
        pq.ParquetWriter(temporary, arrow_schema(), **parquet_options()) as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=ROW_GROUP)
            times = pc.min_max(table.column("time")).as_py()
            low, high = min(low, times["min"]), max(high, times["max"])
            last = max(last, pc.max(table.column("sequence")).as_py())
            count += table.num_rows
    step("written")
    sync_file(temporary)
    step("synced")
    size, digest = temporary.stat().st_size, file_hash(temporary)
    name = f"{low}-{high + 1}-{digest[:12]}.parquet"
    temporary.replace(target / name)
    step("renamed")
    sync_folder(target)
    step("folder synced")
    return Segment(name, low, high + 1, count, last, size, digest)


def parquet_options() -> dict[str, Any]:
    """How segments are written: differences of numbers that grow, dictionaries of what repeats."""
    growing = ("sequence", "time", "received")
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in arrow_schema().names if name not in growing],
        "column_encoding": dict.fromkeys(growing, "DELTA_BINARY_PACKED"),
    }


def tag_chunks(duck: DuckDBPyConnection, rows: str) -> Iterator[tuple[str, str]]:
    """First and last tag of groups of about `CHUNK` rows of a relation."""
    tags = duck.sql(
        f"SELECT CAST(tag AS VARCHAR) AS name, count(*) FROM {rows} GROUP BY name ORDER BY name"
    ).fetchall()
    start, held = 0, 0
    for number, (_, count) in enumerate(tags):
        held += count
        if held >= CHUNK or number == len(tags) - 1:
            yield tags[start][0], tags[number][0]
            start, held = number + 1, 0


def register(
    connection: Connection, segment: Segment, until: int, packed: Sequence[Packed] = ()
) -> None:
    """Enter a segment and remove its rows from the database, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(segment).values())
    )
    removed = connection.execute(
        "DELETE FROM samples WHERE time < ? AND sequence <= ?", (until, segment.last)
    ).rowcount
    for one in packed:
        gone = connection.execute("DELETE FROM packs WHERE last = ?", (one.last,)).rowcount
        removed += one.count * gone
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
    places = (folder / FOLDER, folder / "minutes")
    strays = [path for place in places for path in place.glob("*") if path.name not in names]
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

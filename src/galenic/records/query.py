"""Questions to history, answered by an in-memory DuckDB over hot rows and segments.

No DuckDB file is ever made: its writer would lock out every other process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from galenic import packs
from galenic.errors import StorageError
from galenic.records import direct, historian, journal, minutes
from galenic.records.historian import FOLDER
from galenic.records.sql import Connection
from galenic.records.store import Segment
from galenic.signals import Quality

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Reading = Callable[[], AbstractContextManager[Connection]]
T = TypeVar("T")
Fetch = Callable[[Connection, int], journal.Row]

KEPT_ROWS = 2_000_000
"""Samples of packs that are kept as tables in memory."""

SOURCE = """
rows AS (
    SELECT * FROM hot WHERE tag IN ({tags}) AND time >= $start AND time < $stop {files}
),
versions AS (
    SELECT *, row_number() OVER (PARTITION BY tag, time ORDER BY sequence) AS version,
        row_number() OVER (PARTITION BY tag, time ORDER BY sequence DESC) = 1 AS newest
    FROM rows
),
current AS (
    SELECT * FROM versions WHERE newest AND change IS DISTINCT FROM 'withdrawn'
)
"""
FILES = """
UNION ALL BY NAME SELECT * FROM read_parquet($files)
WHERE tag IN ({tags}) AND time >= $start AND time < $stop
"""
FIELDS = """CAST(tag AS VARCHAR) AS tag, time, received, value, text, CAST(type AS VARCHAR) AS type,
quality, status, CAST(unit AS VARCHAR) AS unit, key, CAST(change AS VARCHAR) AS change"""

PLAIN = f"SELECT {FIELDS}, sequence FROM rows ORDER BY tag, time, sequence"
"""All rows as they are: the answer, where none is another version of one before."""

# Each good sample holds until the next sample of its tag. Inside a bucket it weighs the time from
# itself to the next sample or the bucket's end; the first one also brings in the value that held
# from the bucket's start. Bad samples end the hold and weigh nothing.
BUCKETS = f"""
held AS (
    SELECT *, CAST(floor((time - $origin) / $every) AS BIGINT) AS bucket,
        CASE WHEN quality < {int(Quality.BAD)} AND NOT isnan(value) THEN value END AS good,
        row_number() OVER series AS number,
        lead(time) OVER series AS next,
        lag(time) OVER series AS before
    FROM current WINDOW series AS (PARTITION BY tag ORDER BY time)
),
weighed AS (
    SELECT *,
        $origin + bucket * $every AS left_edge,
        least($origin + (bucket + 1) * $every, $stop) AS right_edge,
        lag(good) OVER series AS carried,
        lag(bucket) OVER series AS bucket_before
    FROM held WINDOW series AS (PARTITION BY tag ORDER BY time)
),
parts AS (
    SELECT *,
        CASE WHEN good IS NULL THEN 0
            ELSE least(coalesce(next, right_edge), right_edge) - time END AS own,
        CASE WHEN carried IS NULL OR bucket_before = bucket THEN 0
            ELSE time - greatest(left_edge, $origin) END AS brought
    FROM weighed WHERE time >= $origin
)
SELECT CAST(any_value(tag) AS VARCHAR) AS tag, any_value(left_edge) AS time,
    count(*) AS count, count(good) AS good,
    min(good) AS minimum, arg_min(time, good) AS minimum_time,
    max(good) AS maximum, arg_max(time, good) AS maximum_time,
    CASE WHEN sum(own + brought) > 0 THEN
        sum(coalesce(good, 0) * own + coalesce(carried, 0) * brought) / sum(own + brought)
        ELSE avg(good) END AS mean,
    arg_min(good, time) AS first, arg_max(good, time) AS last,
    max(quality) AS quality,
    sum(own + brought) / (max(right_edge) - min(left_edge)) AS coverage,
    CAST(any_value(unit) AS VARCHAR) AS unit
FROM parts GROUP BY CAST(tag AS VARCHAR), bucket ORDER BY 1, 2
"""


def raw(limit: int | None, versions: str) -> str:
    """The query for single samples."""
    if versions == "all":
        select = f"SELECT {FIELDS}, version FROM versions ORDER BY tag, time, version"
    else:
        select = f"SELECT {FIELDS} FROM current ORDER BY tag, time"
    return select if limit is None else f"{select} LIMIT {int(limit)}"


def ask(
    cursor: duckdb.DuckDBPyConnection,
    folder: Path,
    hot: pa.Table,
    segments: Sequence[Segment],
    query: str,
    tags: Sequence[str],
    **values: Any,
) -> pa.Table:
    """Run a query that selects from ``versions`` or ``current``."""
    # single values, not a list parameter: only these let DuckDB skip row groups
    named = {f"tag{number}": tag for number, tag in enumerate(tags)}
    listed, files = ", ".join(f"${name}" for name in named) or "NULL", ""
    values |= named
    if segments:
        files = FILES.format(tags=listed)
        values["files"] = [str(folder / FOLDER / one.name) for one in segments]
    source = SOURCE.format(files=files, tags=listed)
    values = {key: value for key, value in values.items() if f"${key}" in query + source}
    joint = "," if query.lstrip().startswith("held") else ""
    cursor.register("hot", hot)
    try:
        return cursor.sql(f"WITH {source}{joint} {query}", params=values).to_arrow_table()
    finally:
        cursor.unregister("hot")


class History:
    """Reads of history for one store; any thread may ask.

    Parameters
    ----------
    folder : Path
        The site's folder.
    reading : callable
        Gives a context with a connection in one consistent view.
    row : callable
        Gives the row of the journal that holds an offset.
    """

    def __init__(self, folder: Path, reading: Reading, row: Fetch) -> None:
        self._folder = folder
        self._reading = reading
        self._row = row
        self._direct = direct.Direct(folder)
        self._tables: OrderedDict[int, tuple[frozenset[str], pa.Table]] = OrderedDict()
        self._waiting: dict[int, packs.Columns] = {}
        self._names: dict[int, str] = {}
        self._opening = threading.Lock()
        self._duck: duckdb.DuckDBPyConnection | None = None

    def history(
        self,
        tags: str | Sequence[str],
        start: int,
        stop: int,
        every: int | None,
        limit: int | None,
        versions: str,
    ) -> pa.Table:
        """As `galenic.records.store.Store.history`."""
        historian.check_range(start, stop, every, versions)
        names = [tags] if isinstance(tags, str) else list(tags)
        return self._whole(lambda: self._answer(names, start, stop, every, limit, versions))

    def _whole(self, ask: Callable[[], T]) -> T:
        """What is asked for; once more where segments were put together or away meanwhile."""
        while True:
            known = self._segments()
            try:
                return ask()
            except StorageError:
                if self._segments() == known:
                    raise

    def _segments(self) -> list[str]:
        with self._reading() as connection:
            return [one.name for one in historian.registered(connection)]

    def _answer(
        self,
        names: list[str],
        start: int,
        stop: int,
        every: int | None,
        limit: int | None,
        versions: str,
    ) -> pa.Table:
        if every is None:
            plain = self._plain(names, start, stop) if versions == "latest" else None
            if plain is not None:
                return plain.slice(0, limit)
            return self._ask(names, start, stop, raw(limit, versions))
        first = self._held_before(names, start)
        if minutes.fits(start, stop, every):
            return self._of_minutes(names, first, start, stop, every)
        table = self._ask(names, first, stop, BUCKETS, every=every, origin=start)
        return table.replace_schema_metadata({"mean": minutes.HELD})

    def locate(self, key: str) -> tuple[str, int] | None:
        """As `galenic.records.store.Store.locate`."""
        return self._whole(lambda: self._located(key))

    def _located(self, key: str) -> tuple[str, int] | None:
        with self._reading() as connection:
            row = connection.execute(
                "SELECT t.name, s.time FROM samples s JOIN names t ON t.id = s.tag "
                "WHERE s.key = ? ORDER BY s.sequence DESC LIMIT 1",
                (key,),
            ).fetchone()
            row = row or self._in_packs(connection, key)
            files = historian.registered(connection)
        if row is None and files:
            paths = [str(self._folder / FOLDER / segment.name) for segment in files]
            with self._duckdb() as cursor:
                row = cursor.execute(
                    "SELECT CAST(tag AS VARCHAR), time FROM read_parquet($1) "
                    "WHERE key = $2 LIMIT 1",
                    [paths, key],
                ).fetchone()
        return (row[0], row[1]) if row else self._self_made(key)

    def _in_packs(self, connection: Connection, key: str) -> tuple[str, int] | None:
        import pyarrow.compute as pc

        for one in reversed(historian.hot_packs(connection, -(2**62), 2**62)):
            table = self._table(connection, one)[1]
            row = pc.index(table.column("key"), key).as_py()
            if row >= 0:
                return table.column("tag")[row].as_py(), table.column("time")[row].as_py()
        return None

    def _self_made(self, key: str) -> tuple[str, int] | None:
        """Tag and time in a key that a sample made of itself, where there is such a sample."""
        parts = historian.split_key(key)
        if parts is None:
            return None
        tag, time = parts
        found = self.history(tag, time, time + 1, None, 1, "all").num_rows
        return parts if found else None

    def close(self) -> None:
        """Free DuckDB."""
        with self._opening:
            if self._duck is not None:
                self._duck.close()
                self._duck = None

    def due(self, connection: Connection, until: int) -> tuple[pa.Table, list[historian.Packed]]:
        """What may be sealed, sorted, and the packs in it."""
        hot = historian.hot_table(historian.hot_rows(connection, -(2**62), until))
        packed = historian.due_packs(connection, until)
        if not packed:
            return hot, packed
        tables = [self._table(connection, one)[1] for one in packed]
        return historian.sorted_table([hot, *tables]), packed

    def _hot(self, connection: Connection, start: int, stop: int, tags: Sequence[str]) -> pa.Table:
        """What is in no segment yet: single rows, and the packs with any of the tags."""
        import pyarrow as pa

        hot = historian.hot_table(historian.hot_rows(connection, start, stop, tags))
        wanted = frozenset(tags)
        tables = [
            table
            for one in historian.hot_packs(connection, start, stop)
            for names, table in [self._table(connection, one)]
            if names & wanted
        ]
        return pa.concat_tables([hot, *tables])

    def _table(self, connection: Connection, one: historian.Packed) -> tuple[frozenset[str], Any]:
        """The tags and the samples of a pack."""
        with self._opening:
            found = self._tables.get(one.last)
            if found is not None and found[1].num_rows == one.count:
                self._tables.move_to_end(one.last)
                return found
        columns = self._columns(connection, one.last)
        found = frozenset(columns.tags), historian.packed_table(columns, one.sequence)
        with self._opening:
            self._tables[one.last] = found
            while len(self._tables) * one.count > KEPT_ROWS:
                self._tables.popitem(last=False)
        return found

    def _columns(self, connection: Connection, offset: int) -> packs.Columns:
        """The pack at a journal offset."""
        _, _, _, body, _ = self._row(connection, offset)
        try:
            return packs.unpack(body)
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"the pack at journal row {offset} is damaged: {error}",
                where=str(self._folder),
                hint="run verify to find what was changed",
            ) from error

    def names(self, connection: Connection) -> dict[int, str]:
        """Names of tags and units by number; they are only ever added to."""
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM names").fetchone()
        if last > len(self._names):
            self._names = dict(connection.execute("SELECT id, name FROM names").fetchall())
        return self._names

    def unsettled(self, connection: Connection) -> list[packs.Columns]:
        """The packs that the table of latest values does not know yet, in their order."""
        known, offsets = self._waiting, historian.unsettled(connection)
        waiting = {
            offset: known[offset] if offset in known else self._columns(connection, offset)
            for offset in offsets
        }
        self._waiting = waiting
        return list(waiting.values())

    def _of_minutes(
        self, tags: list[str], first: int, start: int, stop: int, every: int
    ) -> pa.Table:
        with self._reading() as connection:
            low = first - first % minutes.MINUTE
            hot = self._hot(connection, low, stop, tags)
            files = _touched(historian.registered(connection), low, stop)
        with self._duckdb() as cursor:
            asked = minutes.Minutes(cursor, self._folder, hot, files, tags)
            return asked.buckets(first, start, stop, every)

    def _ask(self, tags: list[str], start: int, stop: int, text: str, **values: int) -> pa.Table:
        with self._reading() as connection:
            hot = self._hot(connection, start, stop, tags)
            files = _touched(historian.registered(connection), start, stop)
        with self._duckdb() as cursor:
            return ask(
                cursor, self._folder, hot, files, text, tags, start=start, stop=stop, **values
            )

    def _plain(self, tags: list[str], start: int, stop: int) -> pa.Table | None:
        """The samples by tag and time, where each has one version."""
        import pyarrow as pa

        if not 0 < len(tags) <= direct.TAGS:
            table = self._ask(tags, start, stop, PLAIN)
            return table.drop_columns("sequence") if _is_single(table) else None
        with self._reading() as connection:
            hot = self._hot(connection, start, stop, tags)
            files = _touched(historian.registered(connection), start, stop)
        with self._readable(pa.ArrowException, OSError):
            return self._direct.samples(hot, files, tags, start, stop)

    def _held_before(self, tags: list[str], start: int) -> int:
        """A time from which on every tag has its last sample before ``start``, if it has any."""
        with self._reading() as connection:
            files = historian.registered(connection)
            times = self._packed_times(connection, tags, start)
            for tag, time in historian.last_times(connection, tags, start).items():
                times[tag] = max(time, times.get(tag, time))
        missing = [tag for tag in tags if tag not in times]
        for segment in sorted(files, key=lambda one: -one.stop):
            if missing and segment.start < start:
                times |= self._last_times(segment, missing, start)
                missing = [tag for tag in missing if tag not in times]
        return min(times.values(), default=start)

    def _packed_times(
        self, connection: Connection, tags: Sequence[str], before: int
    ) -> dict[str, int]:
        """The newest time of each tag before a moment, in packs that are in no segment yet."""
        import pyarrow as pa

        found = historian.hot_packs(connection, -(2**62), before)
        tables = [table for one in found for _, table in [self._table(connection, one)]]
        if not tables:
            return {}
        with self._duckdb() as cursor:
            cursor.register("packed", pa.concat_tables(tables))
            rows = cursor.execute(
                "SELECT CAST(tag AS VARCHAR), max(time) FROM packed "
                "WHERE list_contains($1, CAST(tag AS VARCHAR)) AND time < $2 GROUP BY 1",
                [list(tags), before],
            ).fetchall()
            cursor.unregister("packed")
        return dict(rows)

    def _last_times(self, segment: Segment, tags: list[str], before: int) -> dict[str, int]:
        """The newest time of each tag before a moment in a segment; minutes tell it sooner."""
        path, column = self._folder / minutes.FOLDER / segment.name, "last_time"
        if before % minutes.MINUTE or not path.is_file():
            path, column = self._folder / FOLDER / segment.name, "time"
        listed = {f"tag{number}": tag for number, tag in enumerate(tags[: minutes.LISTED])}
        which = f"tag IN ({', '.join(f'${name}' for name in listed)})"
        if len(tags) > len(listed):
            listed, which = {"tags": tags}, "tag IN (SELECT unnest($tags))"  # type: ignore[dict-item]
        with self._duckdb() as cursor:
            rows = cursor.execute(
                f"SELECT CAST(tag AS VARCHAR), max({column}) FROM read_parquet($path) "
                f"WHERE {which} AND {column} < $before GROUP BY 1",
                {**listed, "path": str(path), "before": before},
            ).fetchall()
        return dict(rows)

    @contextmanager
    def _duckdb(self) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        with self._opening:
            if self._duck is None:
                self._duck = duckdb.connect(":memory:")
                self._duck.execute("SET parquet_metadata_cache = true")  # files never change
            cursor = self._duck.cursor()
        try:
            with self._readable(duckdb.Error, OSError):
                yield cursor
        finally:
            cursor.close()

    @contextmanager
    def _readable(self, *errors: type[Exception]) -> Iterator[None]:
        try:
            yield
        except errors as error:
            raise StorageError(
                f"history cannot be read: {error}",
                where=str(self._folder),
                hint="run verify to find the damaged segment",
            ) from error


def _is_single(rows: pa.Table) -> bool:
    """Whether rows in the order of tag and time have one version each."""
    times = rows.column("time").to_numpy()
    is_unchanged = rows.column("change").null_count == rows.num_rows
    return is_unchanged and not bool((times[1:] == times[:-1]).any())


def _touched(segments: Sequence[Segment], start: int, stop: int) -> list[Segment]:
    """The segments with samples of start <= time < stop, as far as their ranges tell."""
    return [one for one in segments if one.start < stop and one.stop > start]

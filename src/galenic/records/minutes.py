"""What is kept of each minute of each tag beside a segment, and buckets made of it.

A span is a minute of one tag in one segment: counts, extremes, and the integral of the value that
was held between its first and last sample. Spans that do not overlap in time join exactly, as
samples do; where late data or a correction lies inside of another span, that minute alone is made
anew from its samples. The files are made from segments and can be made from them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.records.files import file_hash, given_back, sync_file, sync_folder
from galenic.records.historian import FOLDER as SEGMENTS
from galenic.records.historian import tag_chunks
from galenic.records.store import Segment
from galenic.signals import Quality

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MINUTE = 60_000_000_000
FOLDER = "minutes"
GROUP = 50_000
LISTED = 50  # more tags than these are looked up in a table instead of being written out
HELD = "time-weighted: a good sample holds until the next one of its tag"

SPANS = f"""
versions AS (
    SELECT *, row_number() OVER (PARTITION BY tag, time ORDER BY sequence DESC) = 1 AS newest,
        time - ((time % {MINUTE}) + {MINUTE}) % {MINUTE} AS minute
    FROM {{rows}}
),
kept AS (
    SELECT *, CASE WHEN quality < {int(Quality.BAD)} AND NOT isnan(value) THEN value END AS fit,
        lead(time) OVER (PARTITION BY tag, minute ORDER BY time) AS next
    FROM versions WHERE newest AND change IS DISTINCT FROM 'withdrawn'
),
sums AS (
    SELECT tag, minute, count(*) AS count, count(fit) AS good,
        min(fit) AS minimum, arg_min(time, fit) AS minimum_time,
        max(fit) AS maximum, arg_max(time, fit) AS maximum_time,
        arg_min(fit, time) AS first, arg_max(fit, time) AS last, max(quality) AS quality,
        coalesce(sum(fit * (next - time)), 0) AS held,
        sum(CASE WHEN fit IS NULL OR next IS NULL THEN 0 ELSE next - time END)::BIGINT AS covered,
        sum(fit) AS total, min(time) AS begins, max(time) AS ends,
        arg_max_null(fit, time) AS holds, any_value(unit) AS unit
    FROM kept GROUP BY tag, minute
),
extents AS (
    SELECT tag, minute, min(time) AS first_time, max(time) AS last_time FROM versions
    GROUP BY tag, minute
),
spans AS (SELECT * FROM extents LEFT JOIN sums USING (tag, minute))
"""

CLASHES = """
SELECT DISTINCT tag, minute FROM (
    SELECT tag, minute, first_time, max(last_time) OVER (
        PARTITION BY tag, minute ORDER BY first_time
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM spans WHERE minute >= $low AND minute < $high)
WHERE before >= first_time
"""

PARTS = """
ordered AS (
    SELECT *, $origin + (minute - $origin) // $every * $every AS left_edge,
        lead(begins) OVER series AS next,
        lag(holds) OVER series AS carried, lag(minute) OVER series AS minute_before
    FROM joined WINDOW series AS (PARTITION BY tag ORDER BY begins)
),
parts AS (
    SELECT *, least(left_edge + $every, $stop) AS right_edge,
        CASE WHEN holds IS NULL THEN 0 ELSE
            least(coalesce(next, left_edge + $every), left_edge + $every, $stop) - ends END AS tail,
        CASE WHEN carried IS NULL OR minute_before >= left_edge THEN 0
            ELSE begins - left_edge END AS brought
    FROM ordered WHERE minute >= $origin
)
"""

BUCKETS = f"""{PARTS}
SELECT tag, left_edge AS time, sum(count)::BIGINT AS count, sum(good)::BIGINT AS good,
    min(minimum) AS minimum, arg_min(minimum_time, minimum) AS minimum_time,
    max(maximum) AS maximum, arg_max(maximum_time, maximum) AS maximum_time,
    CASE WHEN sum(covered + tail + brought) > 0 THEN
        sum(held + coalesce(holds, 0) * tail + coalesce(carried, 0) * brought)
            / sum(covered + tail + brought)
        ELSE sum(total) / sum(good) END AS mean,
    arg_min(first, begins) AS first, arg_max(last, begins) AS last, max(quality) AS quality,
    sum(covered + tail + brought) / (max(right_edge) - min(left_edge)) AS coverage,
    any_value(unit) AS unit
FROM parts GROUP BY tag, left_edge ORDER BY 1, 2
"""
"""As `galenic.records.query.BUCKETS`, of spans in place of samples."""

SINGLE = f"""{PARTS}
SELECT tag, left_edge AS time, count, good, minimum, minimum_time, maximum, maximum_time,
    CASE WHEN covered + tail + brought > 0 THEN
        (held + coalesce(holds, 0) * tail + coalesce(carried, 0) * brought)
            / (covered + tail + brought)
        ELSE total / good END AS mean,
    first, last, quality, (covered + tail + brought) / (right_edge - left_edge) AS coverage, unit
FROM parts ORDER BY 1, 2
"""
"""As `BUCKETS`, where each bucket is one span."""


def fits(start: int, stop: int, every: int) -> bool:
    """Whether buckets are made of whole minutes."""
    return start % MINUTE == stop % MINUTE == every % MINUTE == 0


def write_minutes(folder: Path, segment: Segment) -> str:
    """Write the minutes of a segment to a durable file; its SHA-256."""
    import duckdb
    import pyarrow.parquet as pq

    (folder / FOLDER).mkdir(exist_ok=True)
    target, temporary = folder / FOLDER / segment.name, folder / FOLDER / "minutes.tmp"
    rows = f"read_parquet('{folder / SEGMENTS / segment.name}')"
    some = f"(SELECT * FROM {rows} WHERE tag >= $low AND tag <= $high)"
    text = f"WITH {SPANS.format(rows=some)} SELECT * FROM spans ORDER BY tag, minute"
    duck = duckdb.connect(":memory:", config={"memory_limit": "2GB"})
    with given_back(temporary), duck, ExitStack() as stack:
        writer = None
        for low, high in tag_chunks(duck, rows):
            table = duck.sql(text, params={"low": low, "high": high}).to_arrow_table()
            writer = writer or stack.enter_context(
                pq.ParquetWriter(temporary, table.schema, compression="zstd")
            )
            writer.write_table(table, row_group_size=GROUP)
        assert writer is not None, "a segment has rows"
    sync_file(temporary)
    digest = file_hash(temporary)
    temporary.replace(target)
    sync_folder(folder / FOLDER)
    return digest


class Minutes:
    """Buckets of whole minutes, for one question.

    Parameters
    ----------
    cursor : DuckDB connection
    folder : Path
        The site's folder.
    hot : pyarrow.Table
        Samples that are in no segment yet.
    segments : sequence of Segment
        Those with samples in the range, and before it as far back as a value is held.
    tags : sequence of str
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        folder: Path,
        hot: pa.Table,
        segments: Sequence[Segment],
        tags: Sequence[str],
    ) -> None:
        import pyarrow as pa

        self._do = cursor
        self._folder = folder
        self._hot = hot
        self._segments = segments
        cursor.register("wanted", pa.table({"tag": pa.array(tags, pa.string())}))
        cursor.register("hot", hot)
        self._tags = {f"tag{number}": tag for number, tag in enumerate(tags)}
        self._which = "tag IN (SELECT tag FROM wanted)"
        if len(tags) <= LISTED:  # written out, they let DuckDB skip row groups
            self._which = f"tag IN ({', '.join(f'${name}' for name in self._tags) or 'NULL'})"
        else:
            self._tags = {}

    def buckets(self, first: int, origin: int, stop: int, every: int) -> pa.Table:
        """One row per bucket and tag; ``first`` is from when on samples are needed."""
        low = first - first % MINUTE
        self._collect(low, stop)
        shared = self._shared(low, stop)
        clashes = self._clashes(shared)
        joined = "SELECT * FROM spans WHERE count > 0"
        if clashes.num_rows:
            self._do.register("clashes", clashes)
            self._anew(low, stop)
            joined = (
                "SELECT * FROM spans ANTI JOIN clashes USING (tag, minute) WHERE count > 0 "
                "UNION ALL BY NAME SELECT * FROM anew WHERE count > 0"
            )
        values = {"origin": origin, "stop": stop, "every": every}
        is_single = every == MINUTE and not shared
        text = f"WITH joined AS ({joined}), {SINGLE if is_single else BUCKETS}"
        table = self._do.sql(text, params=values).to_arrow_table()
        return table.replace_schema_metadata({"mean": HELD})

    def _collect(self, low: int, stop: int) -> None:
        """Make the table ``spans`` of all sources."""
        ready = [one for one in self._segments if (self._folder / FOLDER / one.name).is_file()]
        others = [one for one in self._segments if one not in ready]
        self._do.execute(f"CREATE OR REPLACE TEMP TABLE spans AS {self._made('hot', low, stop)}",
                         self._given(self._tags, low=low, stop=stop))  # fmt: skip
        if others:
            text = self._made("read_parquet($files)", low, stop)
            files = [str(self._folder / SEGMENTS / one.name) for one in others]
            given = self._given(self._tags, low=low, stop=stop, files=files)
            self._do.execute(f"INSERT INTO spans BY NAME {text}", given)
        if ready:
            files = [str(self._folder / FOLDER / one.name) for one in ready]
            self._do.execute(
                "INSERT INTO spans BY NAME SELECT * FROM read_parquet($files) "
                f"WHERE {self._which} AND minute >= $low AND minute < $stop",
                self._given(self._tags, low=low, stop=stop, files=files),
            )

    def _made(self, rows: str, low: int, stop: int, more: str = "") -> str:
        chosen = (
            f"(SELECT * REPLACE (CAST(tag AS VARCHAR) AS tag, CAST(unit AS VARCHAR) AS unit) "
            f"FROM {rows} WHERE {self._which} AND time >= $low AND time < $stop {more})"
        )
        return f"WITH {SPANS.format(rows=chosen)} SELECT * FROM spans"

    @staticmethod
    def _given(tags: dict[str, str], **values: Any) -> dict[str, Any]:
        return {**tags, **values}

    def _shared(self, low: int, stop: int) -> list[tuple[int, int]]:
        """The ranges in which a minute can have spans of more than one source."""
        import pyarrow.compute as pc

        edges = [(one.start, one.stop) for one in self._segments]
        if self._hot.num_rows:
            times = pc.min_max(self._hot.column("time")).as_py()
            edges.append((times["min"], times["max"] + 1))
        edges = [(max(a, low), min(b, stop)) for a, b in edges]
        return _overlaps([(a - a % MINUTE, b) for a, b in edges if a < b])

    def _clashes(self, shared: Sequence[tuple[int, int]]) -> pa.Table:
        """The minutes in which spans of one tag overlap; looked for where sources do."""
        import pyarrow as pa

        tables = [
            self._do.sql(CLASHES, params={"low": a, "high": b}).to_arrow_table() for a, b in shared
        ]
        return pa.concat_tables(tables) if tables else pa.table({"tag": [], "minute": []})

    def _anew(self, low: int, stop: int) -> None:
        """Make the table ``anew``: the minutes that clash, from all of their samples."""
        clash = f"AND (tag, time - ((time % {MINUTE}) + {MINUTE}) % {MINUTE}) IN "
        clash += "(SELECT (tag, minute) FROM clashes)"
        rows, files = "hot", [str(self._folder / SEGMENTS / one.name) for one in self._segments]
        given = self._given(self._tags, low=low, stop=stop)
        if files:
            rows = "(SELECT * FROM hot UNION ALL BY NAME SELECT * FROM read_parquet($files))"
            given["files"] = files
        self._do.execute(
            f"CREATE OR REPLACE TEMP TABLE anew AS {self._made(rows, low, stop, clash)}", given
        )


def _overlaps(edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where more than one of some ranges start <= time < stop is, as ranges."""
    found: list[tuple[int, int]] = []
    reach = None
    for start, stop in sorted(edges):
        if reach is not None and start < reach:
            end = min(stop, reach)
            if found and start <= found[-1][1]:
                found[-1] = found[-1][0], max(found[-1][1], end)
            else:
                found.append((start, end))
        reach = stop if reach is None else max(reach, stop)
    return found

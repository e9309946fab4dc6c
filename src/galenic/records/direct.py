"""Single samples of few tags, read straight from the row groups that hold them.

Segments are sorted by tag and time, so a tag's samples lie together in a few row groups, and what
each group holds is told by its statistics. DuckDB is needed only where samples have several
versions: then there is no answer here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.records.historian import FOLDER, arrow_schema
from galenic.records.store import Segment

if TYPE_CHECKING:
    import pyarrow as pa

TAGS = 8
"""More tags than these are read faster by DuckDB, which scans each row group once."""

KEPT = 64
"""Files whose statistics are kept in memory."""

Bounds = tuple[Any, Any] | None


@dataclass(frozen=True)
class Groups:
    """What is known of a file: its footer, and tags and times of each row group."""

    footer: Any
    tags: list[Bounds]
    times: list[Bounds]

    def holding(self, tag: str, start: int, stop: int) -> list[int]:
        """The row groups that can have samples of a tag with start <= time < stop."""
        return [
            number
            for number, (tags, times) in enumerate(zip(self.tags, self.times, strict=True))
            if (tags is None or tags[0] <= tag <= tags[1])
            and (times is None or (times[0] < stop and times[1] >= start))
        ]


class Direct:
    """Reads of segments by row group; any thread may ask.

    Parameters
    ----------
    folder : Path
        The site's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: OrderedDict[str, Groups] = OrderedDict()
        self._lock = threading.Lock()

    def samples(
        self, hot: pa.Table, segments: Sequence[Segment], tags: Sequence[str], start: int, stop: int
    ) -> pa.Table | None:
        """The samples start <= time < stop of tags, by tag and time; None if any has versions."""
        import pyarrow as pa

        found = []
        for tag in sorted(set(tags)):
            parts = [_of_tag(hot, tag, start, stop)]
            parts += [self._of_segment(one, tag, start, stop) for one in segments]
            table = _in_order(pa.concat_tables([_as_asked(part, tag) for part in parts]))
            if table is None:
                return None
            found.append(table)
        return pa.concat_tables(found)

    def _of_segment(self, segment: Segment, tag: str, start: int, stop: int) -> pa.Table:
        import pyarrow.parquet as pq

        path = self._folder / FOLDER / segment.name
        groups = self._groups(segment.name, path)
        wanted = groups.holding(tag, start, stop)
        if not wanted:
            return arrow_schema().empty_table()
        with pq.ParquetFile(path, metadata=groups.footer) as file:
            table = file.read_row_groups(wanted, use_threads=False)
        return _of_tag(table, tag, start, stop)

    def _groups(self, name: str, path: Path) -> Groups:
        """The statistics of a file, which never changes."""
        import pyarrow.parquet as pq

        with self._lock:
            known = self._known.get(name)
            if known is not None:
                self._known.move_to_end(name)
                return known
        footer = pq.read_metadata(path)
        names = footer.schema.names
        tag, time = names.index("tag"), names.index("time")
        rows = [footer.row_group(number) for number in range(footer.num_row_groups)]
        known = Groups(
            footer,
            [_bounds(one.column(tag)) for one in rows],
            [_bounds(one.column(time)) for one in rows],
        )
        with self._lock:
            self._known[name] = known
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known


def _bounds(column: Any) -> Bounds:
    """The least and the greatest value of a column, where its statistics tell them."""
    told = column.statistics
    return (told.min, told.max) if told is not None and told.has_min_max else None


def _of_tag(table: pa.Table, tag: str, start: int, stop: int) -> pa.Table:
    """The rows of one tag in a time range; a slice, where they lie together."""
    import pyarrow.compute as pc

    if not table.num_rows:
        return table
    time = table.column("time").to_numpy()
    is_wanted = pc.equal(table.column("tag"), tag).to_numpy() & (time >= start) & (time < stop)
    rows = np.flatnonzero(is_wanted)
    if not rows.size:
        return table.slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == rows.size:
        return table.slice(first, rows.size)
    return table.take(rows)


def _in_order(table: pa.Table) -> pa.Table | None:
    """The rows of one tag by time; None if several are of one time, or one changes another."""
    if table.column("change").null_count < table.num_rows:
        return None
    time = table.column("time").to_numpy()
    if (time[1:] > time[:-1]).all():
        return table
    order = np.argsort(time, kind="stable")
    time = time[order]
    return table.take(order) if (time[1:] > time[:-1]).all() else None


def _as_asked(table: pa.Table, tag: str) -> pa.Table:
    """The columns of an answer: all but the sequence, words as text."""
    import pyarrow as pa

    columns: dict[str, Any] = {"tag": pa.repeat(pa.scalar(tag), table.num_rows)}
    for field in table.schema:
        if field.name in ("tag", "sequence"):
            continue
        column = table.column(field.name)
        is_words = pa.types.is_dictionary(field.type)
        columns[field.name] = column.cast(pa.string()) if is_words else column
    return pa.table(columns)

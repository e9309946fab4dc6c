"""Sealed history over the years: small segments put together, old ones archived and disposed of.

A file that is replaced or disposed of is first named in the ledger, with its hash and what takes
its place, in the transaction that takes it out of the tables; then it goes. So `verify` tells a
lawful deletion from a loss, and the proof of what was there remains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.clock import to_iso
from galenic.errors import StorageError
from galenic.records import historian, minutes, volumes
from galenic.records.files import (
    file_hash,
    given_back,
    storage_errors,
    sync_file,
    sync_folder,
)
from galenic.records.historian import FOLDER
from galenic.records.holds import Hold, holds
from galenic.records.ledger import COMPACT, DISPOSE
from galenic.records.site import SiteStore
from galenic.records.sql import Connection
from galenic.records.store import Segment
from galenic.signals import Record

if TYPE_CHECKING:
    import duckdb

DAY = 86_400_000_000_000
GROUP = 100_000
MEMORY = "1GB"
ROW = (
    "hash(sequence, CAST(tag AS VARCHAR), time, received, value, text, CAST(type AS VARCHAR), "
    "quality, status, CAST(unit AS VARCHAR), key, CAST(change AS VARCHAR))"
)

Step = Callable[[str], None]


@dataclass(frozen=True)
class Rule:
    """How long samples of tags that fit a pattern are kept [ns], and where they go then.

    ``journal`` rules keep whole volumes of the journal, for all tags. With ``archive`` what is
    disposed of is first written there, as Parquet that can be read without galenic.
    """

    keep: int
    tags: tuple[str, ...] = ("*",)
    journal: bool = False
    archive: Path | None = None

    @property
    def text(self) -> str:
        what = "the journal" if self.journal else ", ".join(self.tags)
        return f"{what} is kept for {self.keep / DAY:g} days"


def compact(
    store: SiteStore,
    until: int,
    now: int,
    span: int = DAY,
    step: Step = historian.no_step,
) -> Segment | None:
    """Put the segments of one span of time before ``until`` [ns] together; None if there are none.

    Every row is read back and compared before the small ones go.
    """
    with store._sealing:
        with store._reading() as connection:
            small = _together(historian.registered(connection), until, span)
        if not small:
            return None
        rows = sum(one.rows for one in small)
        with storage_errors(store.folder):
            new = _merged(store.folder, small, "TRUE", step)
            if new is None or new.rows != rows:
                raise StorageError(
                    f"segments of {rows} rows became {new.rows if new else 0}",
                    where=str(store.folder),
                    hint="nothing was changed; run verify",
                )
            with given_back(store.folder / FOLDER / new.name):
                made = minutes.write_minutes(store.folder, new)
        detail = {**_facts(new), "minutes": made, "replaces": [_named(one) for one in small]}
        with store.transaction() as transaction:
            _replace(transaction.connection, small, new)
            step("registered")
            transaction.ledger(Record(COMPACT, now, new.name, detail))
            step("recorded")
        step("committed")
        _gone(store.folder, small)
        return new


def _together(segments: Sequence[Segment], until: int, span: int) -> list[Segment]:
    """The oldest span that has more than one segment, all of which end before ``until``."""
    groups: dict[int, list[Segment]] = {}
    for one in segments:
        if one.stop <= until:
            groups.setdefault(one.start // span, []).append(one)
    return next((group for _, group in sorted(groups.items()) if len(group) > 1), [])


def dispose(
    store: SiteStore, rule: Rule, now: int, who: str = "", step: Step = historian.no_step
) -> list[Record]:
    """Dispose of what a rule no longer keeps and no hold keeps; the ledger entries."""
    limit = now - rule.keep
    found = []
    with store._sealing:
        kept = [hold for hold in holds(store) if hold.is_on(now)]
        if rule.journal:
            found += _dispose_journal(store, rule, limit, now, who, kept, step)
        else:
            for segment in store.segments():
                if segment.stop <= limit:
                    record = _dispose_segment(store, segment, rule, now, who, kept, step)
                    found += [record] if record else []
    return found


def _dispose_segment(
    store: SiteStore,
    segment: Segment,
    rule: Rule,
    now: int,
    who: str,
    kept: Sequence[Hold],
    step: Step,
) -> Record | None:
    with storage_errors(store.folder), _duck(store.folder, [segment]) as duck:
        tags = [tag for tag, _ in _tags(duck) if _is_due(tag, rule, kept)]
        if not tags:
            return None
        duck.execute("CREATE TABLE due AS SELECT unnest($1) AS tag", [tags])
        (count,) = duck.execute(
            "SELECT count(*) FROM source WHERE CAST(tag AS VARCHAR) IN (SELECT tag FROM due)"
        ).fetchone() or (0,)
        archived = _archived(duck, store, segment, rule)
    step("archived")
    new = None
    if count < segment.rows:
        listed = ", ".join("'" + tag.replace("'", "''") + "'" for tag in tags)
        with storage_errors(store.folder):
            new = _merged(store.folder, [segment], f"CAST(tag AS VARCHAR) NOT IN ({listed})", step)
    detail = {
        "what": "segment",
        **_facts(segment),
        "removed": count,
        "tags": sorted(rule.tags),
        "archived": archived,
        "by": {"name": new.name, **_facts(new)} if new else None,
    }
    record = Record(DISPOSE, now, segment.name, detail, who, rule.text)
    with store.transaction() as transaction:
        _replace(transaction.connection, [segment], new)
        step("registered")
        transaction.ledger(record)
        step("recorded")
    step("committed")
    _gone(store.folder, [segment])
    return record


def _is_due(tag: str, rule: Rule, kept: Sequence[Hold]) -> bool:
    fits = any(fnmatchcase(tag, one) for one in rule.tags)
    return fits and not any(hold.keeps(tag) for hold in kept)


def _dispose_journal(
    store: SiteStore,
    rule: Rule,
    limit: int,
    now: int,
    who: str,
    kept: Sequence[Hold],
    step: Step,
) -> list[Record]:
    """Whole volumes, oldest first; a hold on any tag keeps all of the journal."""
    found: list[Record] = []
    if kept:
        return found
    for volume in store.volumes():
        if volume.name in store._volumes.disposed:
            continue
        *_, last = store._volumes.rows(volume, volume.last, volume.last + 1)
        if last[1] >= limit:
            break
        path = store.folder / volumes.FOLDER / volume.name
        archived = _copied(path, rule.archive, volume.hash) if rule.archive else None
        step("archived")
        facts = {key: value for key, value in vars(volume).items() if key != "name"}
        detail = {"what": "volume", **facts, "archived": archived}
        record = Record(DISPOSE, now, volume.name, detail, who, rule.text)
        with store.transaction() as transaction:
            transaction.ledger(record)
            step("recorded")
        step("committed")
        path.unlink(missing_ok=True)
        found.append(record)
    return found


def archive(store: SiteStore, folder: Path, start: int, stop: int) -> list[dict[str, Any]]:
    """Copy history of start <= time < stop as Parquet for other programs; names and hashes.

    One file for each segment, with the columns of `galenic.records.historian.arrow_schema` as
    plain types. The records themselves stay as they are.
    """
    found = []
    for segment in store.segments():
        if segment.start < stop and segment.stop > start:
            with storage_errors(folder), _duck(store.folder, [segment]) as duck:
                found.append(_written(duck, folder, segment, f"time >= {start} AND time < {stop}"))
    return found


def _archived(
    duck: duckdb.DuckDBPyConnection, store: SiteStore, segment: Segment, rule: Rule
) -> dict[str, Any] | None:
    if rule.archive is None:
        return None
    which = "CAST(tag AS VARCHAR) IN (SELECT tag FROM due)"
    return _written(duck, rule.archive, segment, which)


def _written(
    duck: duckdb.DuckDBPyConnection, folder: Path, segment: Segment, which: str
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    first = to_iso(segment.start)[:10]
    name = f"{first}-{segment.hash[:12]}.parquet"
    temporary = folder / f"{name}.tmp"
    duck.execute(
        "COPY (SELECT CAST(tag AS VARCHAR) AS tag, make_timestamp_ns(time) AS time_utc, time, "
        "received, value, text, CAST(type AS VARCHAR) AS type, quality, status, "
        "CAST(unit AS VARCHAR) AS unit, key, CAST(change AS VARCHAR) AS change, sequence "
        f"FROM source WHERE {which}) TO '{temporary}' (FORMAT parquet, COMPRESSION zstd)"
    )
    sync_file(temporary)
    digest = file_hash(temporary)
    temporary.replace(folder / name)
    sync_folder(folder)
    return {"folder": str(folder), "name": name, "sha256": digest}


def _copied(path: Path, folder: Path, digest: str) -> dict[str, Any]:
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{path.name}.tmp"
    shutil.copyfile(path, temporary)
    sync_file(temporary)
    if file_hash(temporary) != digest:
        raise StorageError("the copy in the archive differs", where=str(folder / path.name))
    temporary.replace(folder / path.name)
    sync_folder(folder)
    return {"folder": str(folder), "name": path.name, "sha256": digest}


@contextmanager
def _duck(folder: Path, segments: Sequence[Segment]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory with the rows of some segments as ``source``."""
    import duckdb

    paths = ", ".join(f"'{folder / FOLDER / one.name}'" for one in segments)
    with duckdb.connect(":memory:", config={"memory_limit": MEMORY, "threads": 2}) as duck:
        try:
            duck.execute(f"CREATE VIEW source AS SELECT * FROM read_parquet([{paths}])")
            yield duck
        except duckdb.Error as error:
            raise StorageError(
                f"a segment cannot be read: {error}", where=str(folder), hint="run verify"
            ) from error


def _tags(duck: duckdb.DuckDBPyConnection) -> list[tuple[str, int]]:
    return duck.execute(
        "SELECT CAST(tag AS VARCHAR) AS name, count(*) FROM source GROUP BY name ORDER BY name"
    ).fetchall()


def _merged(folder: Path, segments: Sequence[Segment], which: str, step: Step) -> Segment | None:
    """One durable file of the rows of segments, by tag, time and arrival; compared with them."""
    temporary = folder / FOLDER / "merging.tmp"
    total = f"SELECT count(*), coalesce(sum({ROW}::HUGEINT), 0)::VARCHAR"
    times = ", min(time), max(time) + 1, max(sequence)"
    with _duck(folder, segments) as duck:
        with given_back(temporary):
            count = _write_merged(duck, temporary, which)
        if not count:
            return None
        step("written")
        sync_file(temporary)
        before = duck.execute(f"{total} FROM source WHERE {which}").fetchone()
        after = duck.execute(f"{total} {times} FROM read_parquet($1)", [str(temporary)]).fetchone()
    assert before is not None and after is not None
    if before != after[:2]:
        raise StorageError(
            f"rows read back as {after[:2]}",
            where=str(temporary),
            expected=str(before),
            hint="nothing was changed; check the volume",
        )
    step("compared")
    size, digest = temporary.stat().st_size, file_hash(temporary)
    start, stop, last = after[2:]
    name = f"{start}-{stop}-{digest[:12]}.parquet"
    temporary.replace(folder / FOLDER / name)
    step("renamed")
    sync_folder(folder / FOLDER)
    return Segment(name, start, stop, count, last, size, digest)


def _write_merged(duck: duckdb.DuckDBPyConnection, path: Path, which: str) -> int:
    """Write rows of ``source``, some tags at a time; how many. The first ones begin the file."""
    import pyarrow.parquet as pq

    count, writer = 0, None
    with ExitStack() as stack:
        for low, high in historian.tag_chunks(duck, "source"):
            table = duck.sql(
                "SELECT * REPLACE (CAST(tag AS VARCHAR) AS tag) FROM source "
                f"WHERE tag >= $1 AND tag <= $2 AND {which} ORDER BY tag, time, sequence",
                params=[low, high],
            ).to_arrow_table()
            if table.num_rows:
                writer = writer or stack.enter_context(
                    pq.ParquetWriter(path, table.schema, **historian.parquet_options())
                )
                writer.write_table(table, row_group_size=GROUP)
                count += table.num_rows
    return count


def _replace(connection: Connection, old: Sequence[Segment], new: Segment | None) -> None:
    for one in old:
        gone = connection.execute("DELETE FROM segments WHERE name = ?", (one.name,)).rowcount
        if gone != 1:
            raise StorageError("a segment went away meanwhile", where=one.name)
    if new is not None:
        connection.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(new).values())
        )


def _gone(folder: Path, segments: Sequence[Segment]) -> None:
    for one in segments:
        for place in (FOLDER, minutes.FOLDER):
            (folder / place / one.name).unlink(missing_ok=True)


def _facts(segment: Segment) -> dict[str, Any]:
    return {key: value for key, value in vars(segment).items() if key != "name"}


def _named(segment: Segment) -> dict[str, Any]:
    return {"name": segment.name, "hash": segment.hash, "rows": segment.rows}

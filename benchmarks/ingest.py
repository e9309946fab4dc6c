"""How fast the stores take samples, beside plain SQLite, DuckDB and COPY in the same run.

In galenic each row is journalled under a chained hash, filed in the history and set as latest
value; the peers insert four columns (tag, time, value, quality) into a table without a key. Every
batch is one durable commit of all of them. The rounds of the stores take turns, so that load from
outside meets all alike. PostgreSQL takes part where GALENIC_POSTGRES leads to a server.

    python benchmarks/ingest.py [--rows 50000] [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from galenic.records import Store, open_site
from galenic.signals import Sample

SECOND = 1_000_000_000
TAGS = 1000
BATCHES = (100, 1000, 10_000)
ROUNDS = 5

Take = Callable[[list[Sample]], None]


def samples(first: int, count: int) -> list[Sample]:
    """``count`` samples of 1,000 tags in turn, one per tag and second."""
    return [
        Sample(f"Line.Tag{i % TAGS:04d}", i * 0.37 % 100, "kg", t := i // TAGS * SECOND, t + 5)
        for i in range(first, first + count)
    ]


def rows_of(batch: list[Sample]) -> list[tuple[int, int, float, int]]:
    """What the peers keep of samples; their numbers for tags are given, not looked up."""
    return [(int(s.tag[-4:]), s.source_time, float(s.value or 0.0), s.quality) for s in batch]


@contextmanager
def galenic(folder: Path, place: str) -> Iterator[Take]:
    with open_site(folder / place[:8], store=place) as store:

        def take(batch: list[Sample]) -> None:
            with store.transaction() as tx:
                tx.take(batch, batch[0].received_time)

        yield take


@contextmanager
def plain_sqlite(folder: Path) -> Iterator[Take]:
    connection = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE s (tag INTEGER, time INTEGER, value REAL, quality INTEGER)")

    def take(batch: list[Sample]) -> None:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO s VALUES (?, ?, ?, ?)", rows_of(batch))
        connection.execute("COMMIT")

    yield take
    connection.close()


@contextmanager
def plain_duckdb(folder: Path) -> Iterator[Take]:
    import duckdb
    import pyarrow as pa

    types = [pa.int32(), pa.int64(), pa.float64(), pa.int16()]
    names = ["tag", "time", "value", "quality"]
    with duckdb.connect(str(folder / "plain.duckdb")) as connection:
        connection.execute("CREATE TABLE s (tag INTEGER, time BIGINT, value DOUBLE, q SMALLINT)")

        def take(batch: list[Sample]) -> None:
            columns = zip(*rows_of(batch), strict=True)
            arrays = [pa.array(c, kind) for c, kind in zip(columns, types, strict=True)]
            connection.register("batch", pa.table(arrays, names=names))
            connection.execute("INSERT INTO s SELECT * FROM batch")
            connection.unregister("batch")

        yield take


@contextmanager
def plain_copy(address: str) -> Iterator[Take]:
    import psycopg

    with psycopg.connect(address) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS galenic_bench_copy "
            "(tag int4, time int8, value float8, quality int2); TRUNCATE galenic_bench_copy"
        )
        connection.commit()

        def take(batch: list[Sample]) -> None:
            with connection.cursor() as cursor:
                text = "COPY galenic_bench_copy FROM STDIN (FORMAT BINARY)"
                with cursor.copy(text) as copy:
                    copy.set_types(["int4", "int8", "float8", "int2"])
                    for row in rows_of(batch):
                        copy.write_row(row)
            connection.commit()

        yield take
        connection.execute("DROP TABLE galenic_bench_copy")


@contextmanager
def schema(address: str) -> Iterator[str]:
    """A schema of its own in a database, dropped afterwards."""
    import psycopg

    name = f"galenic_bench_{uuid.uuid4().hex[:12]}"
    yield f"{address}?schema={name}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def server() -> str:
    """The address of a PostgreSQL server; empty where none answers."""
    address = os.environ.get("GALENIC_POSTGRES", "postgresql://127.0.0.1:5432/postgres")
    try:
        import psycopg

        psycopg.connect(address, connect_timeout=3).close()
    except (ImportError, OSError):
        return ""
    except psycopg.OperationalError:
        return ""
    return address


def side_by_side(folder: Path, batch: int, rows: int) -> dict[str, dict[str, float]]:
    """Rows per second, CPU and commit times of each store at one batch size."""
    with ExitStack() as stack:
        takers: dict[str, Take] = {
            "embedded": stack.enter_context(galenic(folder, "embedded")),
            "plain SQLite": stack.enter_context(plain_sqlite(folder)),
            "plain DuckDB": stack.enter_context(plain_duckdb(folder)),
        }
        if address := server():
            place = stack.enter_context(schema(address))
            takers["PostgreSQL"] = stack.enter_context(galenic(folder, place))
            takers["plain COPY"] = stack.enter_context(plain_copy(address))
        times: dict[str, list[float]] = {name: [] for name in takers}
        cpu = dict.fromkeys(takers, 0.0)
        share = max(1, rows // batch // ROUNDS)
        for turn in range(ROUNDS):
            batches = [samples((turn * share + i) * batch, batch) for i in range(share)]
            for name, take in takers.items():
                used = time.process_time()
                for one in batches:
                    begin = time.perf_counter()
                    take(one)
                    times[name].append(time.perf_counter() - begin)
                cpu[name] += time.process_time() - used
    return {
        name: {
            "rows_per_s": round(batch * len(took) / sum(took)),
            "cpu_us_per_row": round(cpu[name] / batch / len(took) * 1e6, 2),
            "p50_ms": round(float(np.percentile(took, 50)) * 1000, 1),
            "p99_ms": round(float(np.percentile(took, 99)) * 1000, 1),
        }
        for name, took in times.items()
    }


def best_of(repeat: int, ask: Callable[[], object]) -> float:
    """Shortest time [ms] of some runs."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begin)
    return round(min(times) * 1000, 1)


def questions(store: Store, seconds: int) -> dict[str, float]:
    """Times [ms] of typical questions to a filled and sealed store."""
    tag, stop = "Line.Tag0500", seconds * SECOND
    return {
        "one tag raw": best_of(3, lambda: store.history(tag, 0, stop)),
        "one tag in 60 buckets": best_of(
            3, lambda: store.history(tag, 0, stop, every=max(stop // 60, 1))
        ),
        "latest of 1,000 tags": best_of(3, store.latest),
        "verify": best_of(1, store.verify),
    }


def measure(rows: int, folder: Path | None = None) -> dict[str, Any]:
    """Ingest at three batch sizes beside the peers; then seal one site and ask it."""
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "ingest": {},
    }
    for batch in BATCHES:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            result["ingest"][batch] = side_by_side(Path(place), batch, max(rows, ROUNDS * batch))
    with tempfile.TemporaryDirectory(dir=folder) as place, open_site(place) as store:
        for first in range(0, rows, 1000):
            with store.transaction() as tx:
                tx.take(samples(first, 1000), first)
        result["database_bytes_per_row"] = round(
            (Path(place) / "site.sqlite-wal").stat().st_size / rows
            + (Path(place) / "site.sqlite").stat().st_size / rows,
            1,
        )
        begin = time.perf_counter()
        segment = store.seal(2**60, 0)
        result["seal_s"] = round(time.perf_counter() - begin, 2)
        result["segment_bytes_per_row"] = round(segment.size / segment.rows, 1)
        result["questions_ms"] = questions(store, rows // TAGS)
    return result


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    found = measure(10_000 if quick else 50_000)
    figures = {
        f"{name}, batches of {batch}": {"value": run["rows_per_s"], "unit": "rows/s"}
        for batch, stores in found["ingest"].items()
        for name, run in stores.items()
    }
    for batch, stores in found["ingest"].items():
        figures[f"99th percentile of commits, embedded, batches of {batch}"] = {
            "value": stores["embedded"]["p99_ms"],
            "unit": "ms",
            "limit": 100.0,
        }
    for question, time_ms in found["questions_ms"].items():
        figures[question] = {"value": time_ms, "unit": "ms"}
    return figures


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.rows, options.folder)
    if options.json:
        print(json.dumps(result))
        return
    for batch, stores in result.pop("ingest").items():
        for name, run in stores.items():
            facts = ", ".join(f"{key} {value:,}" for key, value in run.items())
            print(f"{batch:>6} {name:<13} {facts}")
    for key, value in result.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    command()

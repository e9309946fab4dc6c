"""How fast questions to long history are answered.

Makes sealed segments of one day of 1,000 tags at 1 Hz (86.4 million rows; fewer with --hours), as
compaction leaves them, and asks what pages and reports ask. A month is 30 such files: questions
about a day open the files of that day alone, so the figures carry over; the size is multiplied.

    python benchmarks/history.py [--hours 24] [--tags 1000] [--folder DIR] [--keep]
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galenic.records import historian, minutes, open_site
from galenic.records.ledger import SEAL
from galenic.records.site import SiteStore
from galenic.signals import Record, Sample

SECOND = 1_000_000_000
T0 = 1_800_000_000 * SECOND // (86_400 * SECOND) * (86_400 * SECOND)


def day(tags: int, hours: int) -> Iterator[pa.Table]:
    """Sorted rows, ten tags at a time: 1 Hz, noise on a slow wave, 12 bits of resolution."""
    schema, seconds = historian.arrow_schema(), hours * 3600
    times = np.arange(T0, T0 + seconds * SECOND, SECOND)
    numbers = np.random.default_rng(1)
    for first in range(0, tags, 10):
        names = [f"Line.Tag{i:04d}" for i in range(first, min(first + 10, tags))]
        count = seconds * len(names)
        wave = np.sin(np.linspace(0.0, 20.0, seconds)) * 100.0
        values = [np.round((wave + numbers.normal(size=seconds)) * 16) / 16 for _ in names]
        numbered = np.arange(seconds) * tags
        columns: dict[str, Any] = {
            "sequence": np.concatenate([numbered + first + i for i in range(len(names))]),
            "tag": pa.DictionaryArray.from_arrays(
                np.repeat(np.arange(len(names), dtype=np.int32), seconds), names
            ),
            "time": np.tile(times, len(names)),
            "received": np.tile(times + 5_000_000, len(names)),
            "value": np.concatenate(values),
            "type": words("number", count),
            "quality": np.zeros(count, np.int8),
            "status": np.zeros(count, np.int64),
            "unit": words("kg", count),
        }
        arrays = [
            pa.array(columns[f.name]) if f.name in columns else pa.nulls(count, f.type)
            for f in schema
        ]
        yield pa.table(arrays, schema=schema)


def words(word: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [word])


def fill(store: SiteStore, tags: int, hours: int) -> dict[str, float]:
    """Write the day as one segment with its minutes, registered as a seal registers it."""
    begin = time.perf_counter()
    segment = historian.write_segment(store.folder, day(tags, hours))
    written = time.perf_counter()
    minutes.write_minutes(store.folder, segment)
    done = time.perf_counter()
    detail = {key: value for key, value in vars(segment).items() if key != "name"}
    with store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(segment).values())
        )
        tx.ledger(Record(SEAL, 1, segment.name, detail))
        tx.latest(Sample(f"Line.Tag{i:05d}", float(i), "kg", T0, T0) for i in range(10_000))
    kept = (store.folder / minutes.FOLDER / segment.name).stat().st_size
    return {
        "rows": segment.rows,
        "segment bytes per row": round(segment.size / segment.rows, 2),
        "minutes bytes per row": round(kept / segment.rows, 3),
        "written in s": round(written - begin, 1),
        "minutes made in s": round(done - written, 1),
        "a month in GB": round((segment.size + kept) * 30 / 1e9 * 24 / hours, 1),
    }


def timed(ask: Callable[[], Any], repeat: int = 5) -> dict[str, float]:
    """First, median and shortest time [ms] of a question, and processor time of all threads."""
    times, used = [], time.process_time()
    for _ in range(repeat):
        begin = time.perf_counter()
        ask()
        times.append((time.perf_counter() - begin) * 1000)
    used = (time.process_time() - used) * 1000 / repeat
    return {"first": round(times[0], 1), "median": round(sorted(times)[repeat // 2], 1),
            "best": round(min(times), 1), "cpu": round(used, 1)}  # fmt: skip


def questions(store: SiteStore, tags: int, hours: int) -> dict[str, dict[str, float]]:
    stop = T0 + hours * 3600 * SECOND
    names = [f"Line.Tag{i:04d}" for i in range(tags)]
    middle = iter(names[tags // 2 :])
    return {
        "one tag, one day raw, another tag each time": timed(
            lambda: store.history(next(middle), T0, stop)
        ),
        "one tag, one day in minutes": timed(
            lambda: store.history(names[3], T0, stop, minutes.MINUTE)
        ),
        "one tag, one hour raw": timed(lambda: store.history(names[7], T0, T0 + 3600 * SECOND)),
        "all tags, one day in minutes": timed(
            lambda: store.history(names, T0, stop, minutes.MINUTE), 3
        ),
        "all tags, one day in hours": timed(
            lambda: store.history(names, T0, stop, 60 * minutes.MINUTE), 3
        ),
        "latest of 10,000 tags": timed(store.latest),
    }


def measure(tags: int, hours: int, folder: Path) -> dict[str, Any]:
    with open_site(folder) as store:
        facts: dict[str, Any] = fill(store, tags, hours)
        facts["questions, ms"] = questions(store, tags, hours)
    return facts


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks: an hour, or ten minutes' worth of tags."""
    with tempfile.TemporaryDirectory() as place:
        found = measure(50 if quick else 1000, 1, Path(place))
    return {
        question: {"value": times["median"], "unit": "ms"}
        for question, times in found["questions, ms"].items()
    }


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--tags", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="keep the site here")
    options = parser.parse_args()
    load = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"machine: {load}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        found = measure(options.tags, options.hours, options.folder or Path(place))
    for key, value in found.items():
        print(f"{key}: {value}")
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    command()

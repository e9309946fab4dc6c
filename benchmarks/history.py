"""How fast questions to long history are answered.

Makes sealed segments of days of 1,000 tags at 1 Hz (86.4 million rows each; fewer with --hours), as
compaction leaves them, and asks what pages and reports ask about one of the days.

A month of 1,000 tags is not written. The rule for it: a question about a day costs in a month what
it costs where there is this day alone, and what 29 more files add, which is measured with few tags
(--tags 30 --days 30 beside --days 1); the size is multiplied. The rule holds as far as a question
opens the files of its day alone, and the day before one where a value has to be held into it.

    python benchmarks/history.py [--days 1] [--hours 24] [--tags 1000] [--folder DIR]
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
DAY = 86_400 * SECOND
MONTH = 30
FEW = 30  # tags with which the files of a month are made
RAW = "one tag, one day raw, another tag each time"
ALL = "all tags, one day in minutes"
LIMITS = {RAW: 50.0, ALL: 2000.0}
"""What is promised of a day in a month of 1,000 tags [ms]."""
T0 = 1_800_000_000 * SECOND // (86_400 * SECOND) * (86_400 * SECOND)


def day(tags: int, hours: int, start: int) -> Iterator[pa.Table]:
    """Sorted rows, ten tags at a time: 1 Hz, noise on a slow wave, 12 bits of resolution."""
    schema, seconds = historian.arrow_schema(), hours * 3600
    times = np.arange(start, start + seconds * SECOND, SECOND)
    numbers, before = np.random.default_rng(1), (start - T0) // SECOND * tags
    for first in range(0, tags, 10):
        names = [f"Line.Tag{i:04d}" for i in range(first, min(first + 10, tags))]
        count = seconds * len(names)
        wave = np.sin(np.linspace(0.0, 20.0, seconds)) * 100.0
        values = [np.round((wave + numbers.normal(size=seconds)) * 16) / 16 for _ in names]
        numbered = before + np.arange(seconds) * tags
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


def fill(store: SiteStore, tags: int, hours: int, days: int) -> dict[str, float]:
    """Write each day as one segment with its minutes, registered as a seal registers it."""
    writing, making, size, rows = 0.0, 0.0, 0, 0
    for number in range(days):
        begin = time.perf_counter()
        segment = historian.write_segment(store.folder, day(tags, hours, T0 + number * DAY))
        written = time.perf_counter()
        minutes.write_minutes(store.folder, segment)
        writing, making = writing + written - begin, making + time.perf_counter() - written
        detail = {key: value for key, value in vars(segment).items() if key != "name"}
        with store.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(segment).values())
            )
            tx.ledger(Record(SEAL, 1, segment.name, detail))
        kept = (store.folder / minutes.FOLDER / segment.name).stat().st_size
        size, rows = size + segment.size + kept, rows + segment.rows
    with store.transaction() as tx:
        tx.latest(Sample(f"Line.Tag{i:05d}", float(i), "kg", T0, T0) for i in range(10_000))
    return {
        "rows": rows,
        "bytes per row, minutes included": round(size / rows, 2),
        "written in s": round(writing, 1),
        "minutes made in s": round(making, 1),
        "a month of so many tags in GB": round(size / rows * MONTH * 86_400 * tags / 1e9, 1),
    }


def timed(ask: Callable[[], Any], repeat: int = 5) -> dict[str, float]:
    """First, median and shortest time [ms] of a question; median processor time of all threads."""
    times, used = [], []
    for _ in range(repeat):
        begin, before = time.perf_counter(), time.process_time()
        ask()
        used.append((time.process_time() - before) * 1000)
        times.append((time.perf_counter() - begin) * 1000)
    return {
        "first": round(times[0], 1),
        "median": round(sorted(times)[repeat // 2], 1),
        "best": round(min(times), 1),
        "cpu": round(sorted(used)[repeat // 2], 1),
    }


def questions(store: SiteStore, tags: int, hours: int, days: int) -> dict[str, dict[str, float]]:
    """Questions about the day in the middle."""
    start = T0 + days // 2 * DAY
    stop = start + hours * 3600 * SECOND
    names = [f"Line.Tag{i:04d}" for i in range(tags)]
    middle = iter(names[tags // 2 :])
    return {
        RAW: timed(lambda: store.history(next(middle), start, stop)),
        "one tag, one day in minutes": timed(
            lambda: store.history(names[3], start, stop, minutes.MINUTE)
        ),
        "one tag, one hour raw": timed(
            lambda: store.history(names[7], start, start + 3600 * SECOND)
        ),
        ALL: timed(lambda: store.history(names, start, stop, minutes.MINUTE), 3),
        "all tags, one day in hours": timed(
            lambda: store.history(names, start, stop, 60 * minutes.MINUTE), 3
        ),
        "latest of 10,000 tags": timed(store.latest),
    }


def measure(tags: int, hours: int, folder: Path, days: int = 1) -> dict[str, Any]:
    with open_site(folder) as store:
        facts: dict[str, Any] = fill(store, tags, hours, days)
        facts["questions, ms"] = questions(store, tags, hours, days)
    return facts


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks: a day of 1,000 tags, and what a month adds to it."""
    tags, hours = (50, 1) if quick else (1000, 24)
    with tempfile.TemporaryDirectory() as place:
        sites = (tags, hours, 1), (FEW, hours, 1), (FEW, hours, MONTH)
        whole, one, month = (
            measure(wide, long, Path(place) / f"{wide}-{days}", days)["questions, ms"]
            for wide, long, days in sites
        )
    figures: dict[str, dict[str, Any]] = {
        question: {"value": times["median"], "unit": "ms"} for question, times in whole.items()
    }
    for question, limit in LIMITS.items():
        added = max(0.0, month[question]["median"] - one[question]["median"])
        value = whole[question]["median"] + added
        figures[f"in a month, by the rule: {question}"] = {
            "value": value, "unit": "ms", "limit": limit,
        }  # fmt: skip
    latest = whole["latest of 10,000 tags"]
    figures["latest of 10,000 tags, processor time"] = {
        "value": latest["cpu"], "unit": "ms", "limit": 20.0,
    }  # fmt: skip
    return figures


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--tags", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="keep the site here")
    options = parser.parse_args()
    load = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"machine: {load}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        found = measure(options.tags, options.hours, options.folder or Path(place), options.days)
    for key, value in found.items():
        print(f"{key}: {value}")
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    command()

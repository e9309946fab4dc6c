"""How fast the embedded store takes samples, and how fast it answers.

Each row is journalled (canonical JSON, chained hash), filed in the history and set as latest
value; every batch is one durable commit (WAL, synchronous=FULL). Run on an idle machine:

    python benchmarks/ingest.py [--rows 50000] [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from galenic.records import Store, open_site
from galenic.signals import Sample

SECOND = 1_000_000_000
TAGS = 1000


def samples(first: int, count: int) -> list[Sample]:
    """``count`` samples of 1,000 tags in turn, one per tag and second."""
    return [
        Sample(f"Line.Tag{i % TAGS:04d}", i * 0.37 % 100, "kg", t := i // TAGS * SECOND, t + 5)
        for i in range(first, first + count)
    ]


def ingest(store: Store, batch: int, rows: int) -> dict[str, float]:
    """Rows per second and commit times [ms] at one batch size."""
    commits = []
    start = time.perf_counter()
    for first in range(0, rows, batch):
        events = samples(first, batch)
        begin = time.perf_counter()
        with store.transaction() as tx:
            tx.journal(events, first)
            tx.samples(events)
        commits.append(time.perf_counter() - begin)
    total = sum(commits)
    return {
        "batch": batch,
        "rows_per_s": round(rows / total),
        "p50_ms": round(float(np.percentile(commits, 50)) * 1000, 1),
        "p99_ms": round(float(np.percentile(commits, 99)) * 1000, 1),
        "wall_s": round(time.perf_counter() - start, 2),
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


def measure(rows: int, folder: Path | None = None) -> dict[str, object]:
    """Ingest at three batch sizes, then seal and ask."""
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    }
    runs = []
    for batch in (100, 1000, 10_000):
        with tempfile.TemporaryDirectory(dir=folder) as place, open_site(place) as store:
            runs.append(ingest(store, batch, rows))
            if batch == 10_000:
                begin = time.perf_counter()
                segment = store.seal(2**60, 0)
                result["seal_s"] = round(time.perf_counter() - begin, 2)
                result["segment_bytes_per_row"] = round(segment.size / segment.rows, 1)
                result["database_bytes_per_row"] = round(
                    (Path(place) / "site.sqlite").stat().st_size / rows, 1
                )
                result["questions_ms"] = questions(store, rows // TAGS)
    result["ingest"] = runs
    return result


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    found: Any = measure(10_000 if quick else 50_000)
    figures = {
        f"batches of {run['batch']}": {"value": run["rows_per_s"], "unit": "rows/s"}
        for run in found["ingest"]
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
    for key, value in result.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    command()

"""Samples from a connector through a running site into durable records, as fast as it takes them.

A connector in memory gives batches of 1,000 samples of 1,000 tags to a site that records all of
them (``[[record]]``); it waits while its queue holds more than a few batches. Nothing else is left
out: queue, counts by tag, journal under its chain, history, latest values, commits with their
syncs, and sealing meanwhile. At the end the journal is compared with what was sent, value by value,
and the history of one tag with its samples.

    python benchmarks/throughput.py [--samples 3000000] [--batch 1000] [--folder DIR] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import time
from itertools import chain, count
from pathlib import Path
from typing import Any

from galenic.connect.connector import TagInfo
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site
from galenic.signals import Sample
from galenic.twin.kinds import ConnectionSpec, RecordSpec
from galenic.twin.project import Project, Site
from galenic.twin.runner import Runner

SECOND = 1_000_000_000
TAGS = 1000
WAITING = 20_000  # samples in the connector's queue, beyond which the source waits
NAMES = [f"Line.Tag{i:04d}" for i in range(TAGS)]
START = 1_800_000_000 * SECOND


def batches(samples: int, size: int) -> list[list[Sample]]:
    """Batches of samples of all tags in turn, each tag once per second of its source."""
    numbers = count()
    return [
        [
            Sample(NAMES[i % TAGS], i * 0.37 % 100, "kg", t := START + i // TAGS * SECOND, t + 5)
            for i in (next(numbers) for _ in range(size))
        ]
        for _ in range(samples // size)
    ]


async def through(folder: Path, given: list[list[Sample]]) -> tuple[float, float]:
    """Record all batches; wall and processor time [s] from the first to the last commit."""
    plc = MemoryConnector([TagInfo(name, "kg") for name in NAMES], name="plc")
    project = Project(
        Site("throughput", folder),
        (ConnectionSpec("plc", "memory"),),
        records=(RecordSpec("plc", ("*",)),),
    )
    runner = Runner(project, connectors={"plc": plc})
    await runner.start()
    try:
        (recording,) = runner.recordings
        while plc.status.queue.capacity == 0:  # until it is subscribed to
            await asyncio.sleep(0)
        wall, used = time.perf_counter(), time.process_time()
        for batch in given:
            while plc.status.queue.waiting > WAITING:
                await asyncio.sleep(0.001)
            plc.publish(batch)
            await asyncio.sleep(0)
        wanted = sum(map(len, given))
        while recording.rows < wanted and runner.failure is None:
            await asyncio.sleep(0.001)
        wall, used = time.perf_counter() - wall, time.process_time() - used
        assert plc.status.queue.lost == 0
    finally:
        await runner.stop()
    if runner.failure is not None:
        raise runner.failure
    return wall, used


def measure(samples: int, size: int, folder: Path | None = None) -> dict[str, Any]:
    """One run, and what the records hold after it."""
    given = batches(samples, size)
    sent = sum(map(len, given))
    gc.freeze()  # a source does not keep a million samples for the collector to walk through
    with tempfile.TemporaryDirectory(dir=folder) as place:
        wall, used = asyncio.run(through(Path(place), given))
        with open_site(place, readonly=True) as store:
            kept = [one.value for _, one in store.journal_read(kinds=["sample"])]
            filed = store.history(NAMES[7], START, 2 * START)["value"].to_pylist()
            assert store.verify().ok
            sealed = sum(one.rows for one in store.segments())
    assert filed == [one.value for batch in given for one in batch if one.tag == NAMES[7]]
    differ = sum(a != b.value for a, b in zip(kept, chain.from_iterable(given), strict=False))
    return {
        "samples": sent,
        "sealed": sealed,
        "missing": sent - len(kept) + differ,
        "samples_per_s": round(sent / wall),
        "cpu_us_per_sample": round(used / sent * 1e6, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    found = measure(200_000 if quick else 3_000_000, 1000)
    return {
        "samples made durable": {
            "value": found["samples_per_s"],
            "unit": "samples/s",
            "floor": 100_000,
        },
        "processor time, all threads": {"value": found["cpu_us_per_sample"], "unit": "us/sample"},
        "missing or changed in the records": {
            "value": found["missing"],
            "unit": "samples",
            "limit": 0,
        },
    }


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=3_000_000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.samples, options.batch, options.folder)
    if options.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:<20} {value:,}")


if __name__ == "__main__":
    command()

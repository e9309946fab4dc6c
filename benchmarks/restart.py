"""How long a site takes to be back after a kill, with as much to fold again as there can be.

A child runs the tank of `galenic.twin.example` in shadow with 198 tags that are only watched, and
is killed (SIGKILL) when its twin has taken in nearly as many events since its last checkpoint as
the runner lets come together. Then this process starts the site: records opened, checkpoint
loaded, events folded again, connected. What is folded in a model that takes longer takes longer.

    python benchmarks/restart.py [--samples 142500] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from burst import OWN, Source, definition

from galenic.connect.connector import TagInfo
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site
from galenic.twin.keeper import REPLAYED
from galenic.twin.kinds import ConnectionSpec
from galenic.twin.level import Level
from galenic.twin.project import Project, Site, TwinSpec
from galenic.twin.runner import Runner

TAGS = 200
WAITING = 5_000  # samples on their way, beyond which the source waits


def site(folder: Path) -> tuple[Runner, MemoryConnector]:
    made = definition(TAGS)
    bound = [b for b in made.bindings if b.connection == "plc"]
    connector = MemoryConnector([TagInfo(b.tag, writable=b.writable) for b in bound], name="plc")
    spec = TwinSpec("tank", made, {}, Level.SHADOW)
    project = Project(Site("restart", folder), (ConnectionSpec("plc", "memory"),), (spec,))
    return Runner(project, connectors={"plc": connector}), connector


async def until_killed(folder: Path, samples: int) -> None:
    """Let the twin take in so many samples as fast as it can, say so, and wait."""
    runner, connector = site(folder)
    await runner.start()
    tags = [b.tag for b in definition(TAGS).bindings if b.tag in OWN or b.tag.startswith("Load.")]
    source = Source(connector, tags)
    while source.sent < samples:
        connector.publish(source._samples(time.time_ns()))
        await asyncio.sleep(0)
        while connector.status.queue.waiting + runner.status()["queue"] > WAITING:
            await asyncio.sleep(0.005)
    while sum(c.received for c in runner.twins["tank"].counters.values()) < source.sent:
        await asyncio.sleep(0.01)
    print("taken", flush=True)
    signal.pause()


async def started(folder: Path) -> tuple[float, float, int]:
    """Wall and processor time [s] of a start, and the samples that the twin knows then."""
    runner, _ = site(folder)
    wall, used = time.perf_counter(), time.process_time()
    await runner.start()
    wall, used = time.perf_counter() - wall, time.process_time() - used
    known = sum(count.received for count in runner.twins["tank"].counters.values())
    await runner.stop()
    if runner.failure is not None:
        raise runner.failure
    return wall, used, known


def measure(samples: int) -> dict[str, Any]:
    """Kill a site and start it again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "site"
        command = [sys.executable, __file__, "--child", str(folder), "--samples", str(samples)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "taken\n"
            child.kill()
        with open_site(folder, readonly=True) as store:
            point = store.checkpoint("tank")
            position = point.position if point else 0
            again = sum(1 for _ in store.applied_read("tank", position))
            sent = sum(1 for _ in store.journal_read(kinds=["sample"]))
        wall, used, known = asyncio.run(started(folder))
    return {
        "samples": sent,
        "folded_again": again,
        "not_known_again": sent - known,
        "start_s": round(wall, 2),
        "cpu_s": round(used, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    found = measure(20_000 if quick else REPLAYED * 19 // 20)
    return {
        "events folded again": {"value": found["folded_again"], "unit": "events"},
        "samples not known again": {
            "value": found["not_known_again"],
            "unit": "samples",
            "limit": 0,
        },
        "start after a kill": {"value": found["start_s"], "unit": "s", "limit": 5.0},
        "start after a kill, processor time": {"value": found["cpu_s"], "unit": "s"},
    }


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=REPLAYED * 19 // 20)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.child:
        asyncio.run(until_killed(options.child, options.samples))
    found = measure(options.samples)
    if options.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:<16} {value:,}")


if __name__ == "__main__":
    command()

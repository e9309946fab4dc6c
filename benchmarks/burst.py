"""Ten times the data for a while, through a running site: memory, queues, ticks, control, loss.

    python benchmarks/burst.py [--tags 200] [--before 30] [--for 300] [--after 30] [--json]

The tank of `galenic.twin.example` with its controller, in shadow, and tags that are only watched
beside it; a connector in memory gives each tag once per second, and ten times per second in the
burst. Ages are looked at every 50 ms from inside the process; what was journalled is compared with
what was sent, key by key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from galenic.clock import SystemClock, seconds
from galenic.connect.connector import TagInfo
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site
from galenic.signals import Computed, Sample, Tick
from galenic.twin.binding import Binding
from galenic.twin.definition import TwinDefinition
from galenic.twin.example import tank
from galenic.twin.level import Level
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner

TIMES = 10
LOOK = 0.05
OWN = ("Tank.Out", "Tank.Probe")
Phase = tuple[str, float, int]


def definition(tags: int) -> TwinDefinition:
    """The tank with its controller; all tags beyond its own two are only watched."""
    extra = tuple(Binding(f"Load.T{i:04d}", connection="plc") for i in range(tags - len(OWN)))
    return replace(tank(), bindings=(*tank().bindings, *extra))


def resident() -> float:
    """Memory of this process now [MiB]."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Source:
    """Gives every tag at the rate of each phase, and counts what it gave."""

    connector: MemoryConnector
    tags: list[str]
    sent: int = 0
    behind: float = 0.0

    async def run(self, duration: float, rate: int) -> None:
        """``rate`` samples per second of each tag; how far it fell ``behind`` [s] is kept."""
        begin = time.monotonic()
        for turn in range(round(duration * rate)):
            wait = begin + turn / rate - time.monotonic()
            await asyncio.sleep(max(0.0, wait))
            self.behind = max(self.behind, -wait)
            now = time.time_ns()
            self.connector.publish(self._samples(now))
        await asyncio.sleep(max(0.0, begin + duration - time.monotonic()))

    def _samples(self, now: int) -> list[Sample]:
        first = self.sent
        self.sent += len(self.tags)
        return [
            Sample(tag, 1.0 + 0.01 * (i % 7), "", now, now, source_key=f"n{first + i}")
            for i, tag in enumerate(self.tags)
        ]


@dataclass
class Seen:
    """The worst of what was seen in one phase."""

    memory: float = 0.0
    queue_age: float = 0.0
    queue: int = 0
    inbox: int = 0
    tick_age: float = 0.0
    sample_age: float = 0.0
    skipped: int = 0
    start: int = 0
    stop: int = 0


@dataclass
class Watch:
    """Looks at a runner from beside."""

    runner: Runner
    connector: MemoryConnector
    phases: dict[str, Seen] = field(default_factory=dict)

    async def run(self, name: str) -> None:
        """Look until cancelled."""
        seen = self.phases[name] = Seen(start=time.time_ns())
        twin = self.runner.twins["tank"]
        skipped = self.runner.pace.skipped
        while True:
            queue = self.connector.status.queue
            seen.memory = max(seen.memory, resident())
            seen.queue_age = max(seen.queue_age, queue.age)
            seen.queue = max(seen.queue, queue.waiting)
            seen.inbox = max(seen.inbox, self.runner.status()["queue"])
            seen.tick_age = max(seen.tick_age, seconds(time.time_ns() - twin.now))
            newest = twin.latest.get(OWN[0])
            if newest is not None:
                seen.sample_age = max(seen.sample_age, seconds(time.time_ns() - newest.time))
            seen.skipped = self.runner.pace.skipped - skipped
            seen.stop = time.time_ns()
            await asyncio.sleep(LOOK)


async def through(folder: Path, tags: int, phases: list[Phase]) -> tuple[Source, Watch, int]:
    """Run a site through the phases; what was sent, seen, and lost by the connector's queue."""
    made = definition(tags)
    own = [b.tag for b in made.bindings if b.tag in OWN or b.tag.startswith("Load.")]
    offered = [TagInfo(b.tag, writable=b.writable) for b in made.bindings if b.connection == "plc"]
    connector = MemoryConnector(offered, name="plc")
    spec = TwinSpec("tank", made, {}, Level.SHADOW)
    project = Project(Site("burst", folder), (ConnectionSpec("plc", "memory"),), (spec,))
    runner = Runner(project, clock=SystemClock(), connectors={"plc": connector})
    source, watch = Source(connector, own), Watch(runner, connector)
    await runner.start()
    try:
        for name, duration, rate in phases:
            looking = asyncio.create_task(watch.run(name))
            await source.run(duration, rate)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        lost = connector.status.queue.lost
    finally:
        await runner.stop()
    if runner.failure is not None:
        raise runner.failure
    return source, watch, lost


def journalled(folder: Path, burst: Seen) -> dict[str, Any]:
    """What the records hold: samples by key, and how ticks and control went in the burst."""
    keys: Counter[str] = Counter()
    ticks: list[int] = []
    computed: list[Computed] = []
    with open_site(folder, readonly=True) as store:
        for _, event in store.journal_read():
            if isinstance(event, Sample):
                keys[event.source_key] += 1
            elif isinstance(event, Tick) and burst.start <= event.time <= burst.stop:
                ticks.append(event.time)
            elif isinstance(event, Computed) and burst.start <= event.time <= burst.stop:
                computed.append(event)
        assert store.verify().ok
    runs = [one for one in computed if ":control:" in one.task]
    times = [one.time for one in runs]
    return {
        "keys": keys,
        "control_runs": len(runs),
        "control_errors": sum(bool(one.error) for one in runs),
        "control_slowest_s": max((one.elapsed for one in runs), default=float("inf")),
        "control_gap_s": widest(times, burst),
        "tick_gap_s": widest(ticks, burst),
    }


def widest(times: list[int], burst: Seen) -> float:
    """The longest time [s] in a burst without one of these events."""
    marks = [burst.start, *sorted(times), burst.stop]
    return max(seconds(b - a) for a, b in pairwise(marks))


def measure(tags: int, before: float, duration: float, after: float) -> dict[str, Any]:
    """A steady rate, the burst, the steady rate again."""
    phases = [("warm", 5.0, 1), ("before", before, 1), ("burst", duration, TIMES)]
    phases.append(("after", after, 1))
    load, used = os.getloadavg()[0], time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "site"
        source, watch, lost = asyncio.run(through(folder, tags, phases))
        used = time.process_time() - used
        found = journalled(folder, watch.phases["burst"])
    keys = found.pop("keys")
    wanted = {f"n{i}" for i in range(source.sent)}
    steady, burst = watch.phases["before"], watch.phases["burst"]
    return {
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "samples": source.sent,
        "missing": len(wanted - keys.keys()),
        "doubled": sum(count - 1 for count in keys.values() if count > 1),
        "of_no_source": len(keys.keys() - wanted),
        "lost_by_queue": lost,
        "memory_before_mib": round(steady.memory, 1),
        "memory_burst_mib": round(burst.memory, 1),
        "memory_after_mib": round(watch.phases["after"].memory, 1),
        "queue_most": burst.queue,
        "queue_age_s": round(burst.queue_age, 3),
        "sample_age_s": round(burst.sample_age, 3),
        "inbox_most": burst.inbox,
        "tick_age_before_s": round(steady.tick_age, 3),
        "tick_age_s": round(burst.tick_age, 3),
        "ticks_skipped": burst.skipped,
        "source_behind_s": round(source.behind, 3),
        "cpu_us_per_sample": round(used / source.sent * 1e6, 1),
        **{key: round(value, 3) for key, value in found.items()},
    }


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    found = measure(100, 5.0, 8.0, 3.0) if quick else measure(200, 15.0, 60.0, 10.0)
    control = tank().controller
    assert control is not None
    growth = found["memory_burst_mib"] - found["memory_before_mib"]
    wrong = sum(found[key] for key in ("missing", "doubled", "of_no_source", "lost_by_queue"))
    return {
        "samples": {"value": found["samples"], "unit": "samples"},
        "lost or doubled": {"value": wrong, "unit": "samples", "limit": 0},
        "growth of memory in the burst": {"value": growth, "unit": "MiB", "limit": 100},
        "oldest sample in the connector's queue": {
            "value": found["queue_age_s"],
            "unit": "s",
            "limit": 1.0,
        },
        "age of the newest sample applied": {
            "value": found["sample_age_s"],
            "unit": "s",
            "limit": 2.0,
        },
        "age of the last tick applied": {"value": found["tick_age_s"], "unit": "s", "limit": 2.0},
        "control runs": {"value": found["control_runs"], "unit": "runs", "floor": 1},
        "control runs that failed": {"value": found["control_errors"], "unit": "runs", "limit": 0},
        "longest time between control results": {
            "value": found["control_gap_s"],
            "unit": "s",
            "limit": control.every + control.deadline,
        },
    }


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tags", type=int, default=200)
    parser.add_argument("--before", type=float, default=30.0, help="seconds at the steady rate")
    parser.add_argument("--for", dest="duration", type=float, default=300.0, help="of burst")
    parser.add_argument("--after", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.tags, options.before, options.duration, options.after)
    if options.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:<22} {value}")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    command()

"""A fleet of patients on one site: memory, time to begin, events per second, restart.

5,000 instances of one definition (two-compartment patient, maximum a posteriori) are registered,
each gets a dose, and a level from one connection that feeds all of them (tags ``{id}/...``); at
most 200 are in memory. Then the site is stopped and
started again, and patients that were put away are woken by another level. Peak memory is that of
this process, all of it (VmHWM).

    python benchmarks/fleet.py [--count 5000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from galenic.clock import SECOND, ManualClock
from galenic.connect.connector import TagInfo
from galenic.connect.memory import MemoryConnector
from galenic.signals import Action, Effect, Sample
from galenic.stages.clinical.twin import patient
from galenic.twin.fleet_table import address
from galenic.twin.project import ConnectionSpec, FleetSpec, Project, Site
from galenic.twin.quality import summary
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

T0 = 1_800_000_000 * SECOND
HOUR = 3600 * SECOND
CAPACITY = 200
LEVEL, PATTERN = "Level.Vancomycin", "{id}/{tag}"
TOGETHER = 500  # events on their way at once


class Still(ManualClock):
    """Time that only this benchmark moves."""

    async def sleep_until(self, ns: int) -> None:
        await asyncio.Event().wait()


def peak() -> float:
    """The most memory that this process has had [MiB]."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024.0
    return float("nan")


def project(folder: Path) -> Project:
    bindings = tuple(
        replace(b, connection="lab") if b.tag == LEVEL else b for b in patient().bindings
    )
    definition = replace(patient(), tick=3600.0, bindings=bindings)
    fleet = FleetSpec("ward", definition, capacity=CAPACITY, idle=1e9, tags=PATTERN)
    lab = ConnectionSpec("lab", "memory")
    return Project(Site("fleet", folder), (lab,), fleets=(fleet,))


def lab(count: int, clock: Still) -> MemoryConnector:
    """A source with one tag for each instance."""
    infos = [TagInfo(address(PATTERN, f"p{k:05d}", LEVEL), "mg/L") for k in range(count)]
    return MemoryConnector(infos, clock=clock, name="lab", queue=TOGETHER)


async def begun(folder: Path, clock: Still, source: MemoryConnector) -> Runner:
    connectors = {"lab": source}
    runner = Runner(project(folder), clock=clock, connectors=connectors, workers=InlineWorkers())
    await runner.start()
    return runner


def name(k: int) -> str:
    return f"ward:p{k:05d}"


def dose(k: int) -> Action:
    return Action(
        "dose", 1000.0 + k % 500, "mg", T0 + HOUR, T0 + HOUR, "dose", 3600.0,
        source_key=f"dose|{k}", who="bench", reason="bench",
    )  # fmt: skip


def level(k: int, hours: int) -> Sample:
    at = T0 + hours * HOUR
    tag = address(PATTERN, f"p{k:05d}", LEVEL)
    return Sample(tag, 8.0 + k % 130 / 10.0, "mg/L", at, at, source_key=f"l|{k}|{hours}")


async def feed(runner: Runner, events: list[tuple[str, Any]]) -> tuple[float, float]:
    """Wall and CPU time [s] until all events are recorded and applied."""
    begin, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(events), TOGETHER):
        batch = events[first : first + TOGETHER]
        done: list[list[Effect]] = await asyncio.gather(
            *(runner.submit(event, id) for id, event in batch)
        )
        assert all(isinstance(effects, list) for effects in done)
    return time.perf_counter() - begin, time.process_time() - cpu


async def flow(
    runner: Runner, source: MemoryConnector, samples: list[Sample]
) -> tuple[float, float]:
    """The same for what comes from the connection, as fast as it is taken."""
    begin, cpu, done = time.perf_counter(), time.process_time(), 0
    for first in range(0, len(samples), TOGETHER):
        source.publish(samples[first : first + TOGETHER])
        done += len(samples[first : first + TOGETHER])
        while mapped(runner) < done:
            await asyncio.sleep(0.001)
    await runner._inbox.emptied()
    return time.perf_counter() - begin, time.process_time() - cpu


def mapped(runner: Runner) -> int:
    """Samples that were taken from the connection."""
    return sum(t["numbers"].get("mapped", 0) for t in summary(runner._counted()["lab"]).values())


async def put_away(runner: Runner) -> None:
    """Return when no more are in memory than may be: that is done after the answers."""
    while len(runner.fleets.resident()) > CAPACITY:
        await asyncio.sleep(0.01)


async def measured(folder: Path, count: int) -> dict[str, float]:
    clock, found = Still(T0), {}
    source = lab(count, clock)
    runner = await begun(folder, clock, source)
    rows = {f"p{k:05d}": {"weight": f"{50 + k % 60} kg"} for k in range(count)}
    begin = time.perf_counter()
    runner.fleets.add(runner.store, "ward", rows, "bench", "bench", T0)
    found["register"] = time.perf_counter() - begin
    clock.advance(2 * HOUR)
    found["first"], found["first cpu"] = await feed(
        runner, [(name(k), dose(k)) for k in range(count)]
    )
    clock.advance(4 * HOUR)
    found["levels"], found["levels cpu"] = await flow(
        runner, source, [level(k, 5) for k in range(count)]
    )
    counted = await runner.ask(name(count - 1), lambda twin: twin.counters[LEVEL])
    assert counted.accepted == 1
    assert not source.status.queue.lost
    await asyncio.wait_for(put_away(runner), 60)
    some = [name(k) for k in range(0, count, max(1, count // 20))]
    beliefs = {id: await runner.ask(id, identity) for id in some}
    await runner.stop()
    begin = time.perf_counter()
    runner = await begun(folder, clock, lab(count, clock))
    found["restart"] = time.perf_counter() - begin
    begin = time.perf_counter()
    again = {id: await runner.ask(id, identity) for id in some}
    found["wake"] = (time.perf_counter() - begin) / len(some)
    assert again == beliefs  # bit for bit
    begin = time.perf_counter()
    overview = await asyncio.to_thread(runner.overview, "ward")
    found["overview"] = time.perf_counter() - begin
    assert len(overview) == count
    await runner.stop()
    found["peak"] = peak()
    return found


def identity(twin: Any) -> str:
    return str(twin.belief.identity)


def main(quick: bool = False, count: int | None = None) -> dict[str, dict[str, Any]]:
    """The figures."""
    count = count or (300 if quick else 5000)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(Path(folder) / "site", count))
    return {
        f"peak memory, {count} instances": {"value": found["peak"], "unit": "MiB", "limit": 2048.0},
        "register all": {"value": found["register"], "unit": "s", "limit": 60.0},
        "first events (each makes a twin)": {"value": count / found["first"], "unit": "1/s"},
        "levels by one connection (each wakes a twin)": {
            "value": count / found["levels"], "unit": "1/s",
        },
        "CPU of a first event": {
            "value": 1e3 * found["first cpu"] / count, "unit": "ms", "limit": 40.0,
        },
        "CPU of a level": {
            "value": 1e3 * found["levels cpu"] / count, "unit": "ms", "limit": 80.0,
        },
        "restart": {"value": found["restart"], "unit": "s", "limit": 15.0},
        "wake one that was put away": {"value": found["wake"], "unit": "s", "limit": 0.5},
        "overview of all": {"value": found["overview"], "unit": "s", "limit": 5.0},
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = main(count=options.count)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for title, figure in figures.items():
            print(f"{title:45} {figure['value']:10.3g} {figure['unit']}")

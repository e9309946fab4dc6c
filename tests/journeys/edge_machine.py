"""The edge machine of ``test_edge.py``: a tank, its twin that acts, and no pages.

    python edge_machine.py FOLDER '{"to": "http://...", "token": "FILE"}'

Says every 50 ms how it is. On SIGTERM it stops, sends what is left, and says its head.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from galenic.clock import SECOND
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site, replica
from galenic.twin.example import TankPlant, tank
from galenic.twin.forwarding import Forwarding, ForwardRule
from galenic.twin.level import Level
from galenic.twin.pace import PlantClock
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

SPEED = 200.0
PART = 300  # rows; many small parts, to be killed between them


def patient():
    """The tank, with limits of age that a busy machine does not reach at this speed."""
    made, wide = tank(), 36_000.0
    rules = [
        replace(rule, fresh=dict.fromkeys(rule.fresh, wide), expires=wide)
        for rule in made.guard.rules
    ]
    remote, beat = (
        replace(made.guard.remote, grace=wide),
        replace(made.guard.heartbeat, every=600.0),
    )
    guard = replace(made.guard, rules=tuple(rules), remote=remote, heartbeat=beat)
    return replace(
        made, bindings=tuple(replace(b, stale_after=wide) for b in made.bindings), guard=guard
    )


async def main(folder, **access):
    with open_site(folder) as store:
        times = [sample.source_time for sample in store.latest().values()]
        start = max(times, default=1_800_000_000 * SECOND) + SECOND
        clock = PlantClock(SPEED, start)
        plant = MemoryConnector(plant=TankPlant(start, patience=36_000.0), clock=clock, period=5.0)
        rule = ForwardRule(**{**access, "token": Path(access["token"])}, every=0.2)
        spec = TwinSpec("tank", patient(), {}, Level.SHADOW)
        site = Project(
            Site("edge", folder), (ConnectionSpec("plc", "memory"),), (spec,), forward=rule
        )
        runner = Runner(
            site,
            clock=clock,
            store=store,
            connectors={"plc": plant},
            workers=InlineWorkers(),
            speed=SPEED,
        )
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await runner.start()
        while not stop.is_set():
            if runner.twins["tank"].level is not Level.TWIN:
                await runner.command("tank", "level", "ann", "act", level="twin")
            facts = {"time": clock.now(), **runner.forwarding.to_dict()}
            print(json.dumps(facts), flush=True)
            await asyncio.sleep(0.05)
        await runner.stop()
        last = Forwarding(rule, lambda: store)
        await last.send()
        last.end()
        print(json.dumps({"head": store.head().to_dict(), "failure": repr(runner.failure)}))


if __name__ == "__main__":
    replica.part = partial(replica.part, limit=PART)
    asyncio.run(main(Path(sys.argv[1]), **json.loads(sys.argv[2])))

"""What the runner does with old records while it runs."""

from __future__ import annotations

import asyncio

from galenic.clock import SECOND, ManualClock
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site
from galenic.records.shelving import DAY, Rule
from galenic.signals import Sample
from galenic.twin import runner as runner_module
from galenic.twin.example import TankPlant, watched_tank
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

T0 = 20_000 * DAY
HOUR = 3600 * SECOND


def fill(folder, clock):
    """Two sealed segments of ten days ago and two of yesterday, with one sample of a tag each."""
    with open_site(folder, name="test", clock=clock) as store:
        for start in (T0 - 10 * DAY, T0 - DAY):
            for hour in range(2):
                time = start + hour * HOUR
                with store.transaction() as tx:
                    tx.take([Sample(tag, 1.0, "1", time, time) for tag in ("Kept", "Due")], time)
                store.seal(time + HOUR, time)


async def test_a_running_site_puts_days_together_and_disposes_of_what_is_due(tmp_path, monkeypatch):
    monkeypatch.setattr(runner_module, "TIDY_EVERY", 5.0)
    clock = ManualClock(T0)
    fill(tmp_path, clock)
    site = Project(
        Site("test", tmp_path),
        (ConnectionSpec("plc", "memory"),),
        (TwinSpec("tank-1", watched_tank(), {}),),
        retention=(Rule(keep=5 * DAY, tags=("Due",)),),
    )
    connector = MemoryConnector(plant=TankPlant(T0), clock=clock, name="plc")
    runner = Runner(site, clock=clock, connectors={"plc": connector}, workers=InlineWorkers())
    await runner.start()
    async with asyncio.timeout(60):
        while not any(runner.store.ledger_read(kinds=["dispose"])):
            await asyncio.sleep(0.01)
    await runner.stop()

    with open_site(tmp_path, readonly=True) as store:
        old = [one for one in store.segments() if one.stop <= T0]
        rows = store.history(["Kept", "Due"], 0, T0).to_pylist()
        (entry,) = store.ledger_read(kinds=["dispose"])
        assert store.verify().ok

    assert sorted(one.rows for one in old) == [2, 4]
    assert [row["tag"] for row in rows].count("Kept") == 4
    assert [row["time"] >= T0 - DAY for row in rows if row["tag"] == "Due"] == [True, True]
    assert entry.detail["removed"] == 2

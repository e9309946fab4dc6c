"""The runner, end to end with a simulated tank and the embedded store."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import replace

import pytest

from galenic.app.permissions import Caller
from galenic.app.session import Session
from galenic.clock import SECOND, ManualClock
from galenic.connect.memory import MemoryConnector
from galenic.errors import UnknownName
from galenic.records import open_site
from galenic.signals import Compute, Computed, Correction, Record, Write
from galenic.twin import resume
from galenic.twin import runner as runner_module
from galenic.twin.example import TankPlant, patient_tank, tank, watched_tank
from galenic.twin.level import Level
from galenic.twin.pace import PlantClock
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.replay import replay
from galenic.twin.run import Cancelled
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers, ProcessWorkers
from galenic.twin.writer import intended

T0 = 1_800_000_000 * SECOND
SPEED = 20.0
PATIENCE = 100.0  # seconds that a busy machine does not reach at 20 times real time


def project(folder, definition=None, level=Level.SHADOW) -> Project:
    spec = TwinSpec("tank-1", definition or patient_tank(PATIENCE), {}, level)
    return Project(Site("test", folder), (ConnectionSpec("plc", "memory"),), (spec,))


class Bench:
    """A plant, its connector and a runner on one fast clock."""

    def __init__(self, folder, definition=None, start=T0, plant=None, workers=None):
        self.clock = PlantClock(SPEED, start)
        self.plant = plant or TankPlant(start, patience=PATIENCE)
        self.connector = MemoryConnector(plant=self.plant, clock=self.clock, period=1.0, name="plc")
        self.project = project(folder, definition)
        self.runner = Runner(
            self.project,
            clock=self.clock,
            connectors={"plc": self.connector},
            workers=workers or InlineWorkers(),
            speed=SPEED,
        )

    async def until(self, seconds: float) -> None:
        await self.clock.sleep_until(T0 + round(seconds * SECOND))

    async def when(self, condition, held: int = 0) -> None:
        """Wait until something is the case for ``held`` seconds; a busy machine reaches it late."""
        end, count = self.clock.now() + 1200 * SECOND, 0
        while not condition() or count < held:
            assert self.clock.now() < end, "it never was the case"
            count = count + 1 if condition() else 0
            await self.clock.sleep_until(self.clock.now() + SECOND)


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A minute and a half in shadow, then acting on the tank, then stopped."""
    return asyncio.run(a_day(tmp_path_factory.mktemp("day") / "site"))


async def a_day(folder) -> Bench:
    bench = Bench(folder)
    await bench.runner.start()
    # first samples that come late are outliers, which health looks back on for 20 of them
    await bench.when(lambda: bench.runner.twin("tank-1").health.credible, held=30)
    await bench.runner.command("tank-1", "level", "Ann", "try it", level="twin")
    await bench.until(90)
    await bench.when(lambda: bench.plant.content[1] > 1.5)
    await bench.runner.stop()
    bench.twin = bench.runner.twin("tank-1")
    return bench


def test_a_twin_takes_over_and_brings_the_tank_to_its_target(day):
    assert day.twin.level is Level.TWIN, day.twin.health.words
    assert day.plant.values["Tank.Remote"] is True
    assert day.plant.values["Tank.Feed"] > 1.3
    assert day.plant.content[1] > 1.5


def test_every_write_was_intended_before_it_was_done(day):
    with open_site(day.project.site.folder, readonly=True) as store:
        entries = list(store.ledger_read(kinds=("intended", "done", "failed", "refused")))
        open_keys, closed = set(), 0
        for entry in entries:
            key = entry.detail["key"]
            if entry.kind == "intended":
                open_keys.add(key)
            else:
                assert key in open_keys
                closed += 1

        assert closed >= 3
        assert store.verify().ok


def test_replay_reaches_the_same_belief_and_decisions(day):
    with open_site(day.project.site.folder, readonly=True) as store:
        (found,) = replay(store, day.project, recompute=True)

    assert found.differences == []
    assert found.recorded_belief == found.belief == day.twin.belief.identity
    assert found.decisions > 3
    assert found.recomputed > 5


def test_replay_notices_a_changed_event(day, monkeypatch):
    taken = resume.accepted

    def other(twin, event):
        if isinstance(event, Computed) and event.result:
            event = replace(event, result={"inputs": {"u0": 0.5}})
        return taken(twin, event)

    monkeypatch.setattr(resume, "accepted", other)
    with open_site(day.project.site.folder, readonly=True) as store:
        (found,) = replay(store, day.project)

    assert not found.ok


def test_a_journal_in_volumes_replays_and_brings_back_the_same_twin(day, tmp_path):
    shutil.copytree(day.project.site.folder, tmp_path / "site")
    with open_site(tmp_path / "site") as store:
        while store.seal_journal(day.clock.now(), count=150):
            pass
        assert len(store.volumes()) > 1
        (found,) = replay(store, day.project, recompute=True)
        store._writer.execute("DELETE FROM checkpoints")
        back = resume.bring_back(store, day.project.twins[0], day.clock.now())
        assert store.verify().ok

    assert found.differences == []
    assert found.belief == day.twin.belief.identity
    assert back.twin.belief.identity == day.twin.belief.identity
    assert back.decisions.count == found.decisions


async def test_after_a_restart_the_twin_goes_on_where_it_was(day):
    before = day.twin.belief.identity
    again = Bench(day.project.site.folder, start=day.clock.now(), plant=day.plant)

    await again.runner.start()
    after = again.runner.twin("tank-1")
    restored = after.belief.identity
    await again.runner.stop()

    assert restored == before
    with open_site(day.project.site.folder, readonly=True) as store:
        assert replay(store, day.project)[0].differences == []


async def test_many_events_are_checkpointed_before_their_time(tmp_path, monkeypatch):
    """What a start has to fold again is bounded by events, however fast they come."""
    monkeypatch.setattr("galenic.twin.keeper.REPLAYED", 30)
    bench = Bench(tmp_path / "site", watched_tank())
    await bench.runner.start()
    kept = None
    with open_site(tmp_path / "site", readonly=True) as store:
        for seconds in range(10, 280, 10):  # at 300 s there is one anyway
            await bench.until(seconds)
            kept = store.checkpoint("tank-1")
            if kept is not None:
                break
    await bench.runner.stop()

    assert kept is not None
    assert kept.position > 0


async def test_a_stop_between_journal_and_twin_leaves_them_in_step(tmp_path, monkeypatch):
    """What is journalled and not applied yet is applied after the restart, and replays."""
    monkeypatch.setattr(runner_module, "LAST", 0.1)
    bench = Bench(tmp_path / "site", watched_tank())
    runner, journalled = bench.runner, asyncio.Event()
    await runner.start()
    await bench.until(20)
    journal = runner._keeper.journal

    async def journal_and_wait(*given):
        await journal(*given)
        journalled.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(runner._keeper, "journal", journal_and_wait)
    await journalled.wait()
    await runner.stop()

    with open_site(tmp_path / "site") as store:
        written = max(position for position, _ in store.applied_read("tank-1"))
        kept = store.get("twin-belief", "tank-1")
        (found,) = replay(store, bench.project)
        back = resume.bring_back(store, bench.project.twins[0], bench.clock.now())
        again = store.applied_read("tank-1", kept["position"])

        assert kept["position"] < written
        assert kept["belief"] == runner.twin("tank-1").belief.identity
        assert found.differences == []
        assert len(list(again)) > 0
        assert back.decisions.position == written


async def test_a_manual_entry_with_past_time_and_its_correction(tmp_path):
    bench = Bench(tmp_path / "site", watched_tank())
    runner = bench.runner
    await runner.start()
    await bench.when(lambda: runner.twin("tank-1").health.credible, held=30)

    drawn = bench.clock.now() - SECOND
    await runner.enter("Lab.Out", 1.012, "1", drawn, key="lab-1")
    wrong = await runner.ask("tank-1", lambda twin: twin.belief.mean("x1"))
    fix = Correction("lab-1", 1.0, "1", bench.clock.now(), "Ann", "misread")
    effects = await runner.submit(fix)
    right = await runner.ask("tank-1", lambda twin: twin.belief.mean("x1"))
    await runner.stop()

    assert [e.what for e in effects if isinstance(e, Record)] == ["correction"]
    assert wrong > right + 0.001
    with open_site(tmp_path / "site", readonly=True) as store:
        rows = store.history("Lab.Out", T0, drawn + SECOND)
        assert rows.column("value").to_pylist() == [1.0]


async def test_what_is_asked_wrongly_is_refused_by_name(tmp_path):
    bench = Bench(tmp_path / "site", watched_tank())
    await bench.runner.start()

    with pytest.raises(UnknownName, match="Lab"):
        await bench.runner.enter("Lab.Uot", 3.0, "1", T0)
    with pytest.raises(UnknownName):
        bench.runner.twin("tank-2")
    await bench.runner.stop()


async def test_a_binding_whose_tag_the_source_does_not_have_stops_the_start(tmp_path):
    bindings = tuple(
        replace(b, tag="Tank.Prob") if b.tag == "Tank.Probe" else b for b in watched_tank().bindings
    )
    bench = Bench(tmp_path / "site", replace(watched_tank(), bindings=bindings))

    with pytest.raises(UnknownName, match=r"Tank\.Prob") as caught:
        await bench.runner.run(1.0)

    assert "Tank.Probe" in caught.value.hint


async def test_a_lost_plant_is_reported_and_comes_back(tmp_path):
    bench = Bench(tmp_path / "site", watched_tank())
    await bench.runner.start()
    await bench.until(15)
    bench.connector.lose("cable pulled")
    await bench.when(lambda: bench.runner.twin("tank-1").health.state == "lost")
    lost, health = bench.runner.status(), bench.runner.twin("tank-1").health
    bench.connector.restore()
    await bench.when(lambda: bench.runner.twin("tank-1").health.credible)
    back = bench.runner.status()
    await bench.runner.stop()

    assert lost["problems"] == {"plc": "cable pulled"}
    assert health.state == "lost"
    assert back["problems"] == {}
    assert bench.runner.twins["tank-1"].health.credible


async def test_the_live_feed_shows_measured_estimated_and_predicted(tmp_path):
    bench = Bench(tmp_path / "site")
    await bench.runner.start()
    wanted = {"samples", "twin", "forecast", "proposal"}
    async with asyncio.timeout(60):
        async for message in bench.runner.live.subscribe():
            wanted.discard(message["type"])
            if not wanted:
                break
    await bench.runner.stop()

    assert not wanted


async def test_a_write_left_open_by_a_crash_is_compared_and_not_repeated(tmp_path):
    """A crash between intended and done: the device is read, nothing is written again."""
    bench = Bench(tmp_path / "site", watched_tank())
    await bench.runner.start()
    await bench.until(10)
    await bench.runner.stop()
    write = Write("w-1", "Tank.Feed", 1.0, "1", T0, T0, "by hand", "Ann")
    with open_site(tmp_path / "site") as store, store.transaction() as tx:
        tx.ledger(intended("tank-1", write))
    written = []
    again = Bench(tmp_path / "site", watched_tank(), start=bench.clock.now(), plant=bench.plant)
    again.connector.on_write(lambda *args: written.append(args))
    again.connector.advance(again.clock.now() + 2 * SECOND)
    await again.runner.start()
    await again.runner.stop()

    with open_site(tmp_path / "site", readonly=True) as store:
        entry = [e for e in store.ledger_read() if e.detail.get("key") == "w-1"][-1]
    assert entry.kind in ("done", "unknown")
    assert written == []


class Held:
    """Workers that hold a forecast back until they are told, or nobody waits any more."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def run(self, compute, stopped=None):
        if "forecast" not in compute.task:
            return InlineWorkers().run(compute)
        self.entered.set()
        while not self.go.wait(0.01):
            if stopped is not None and stopped():
                raise Cancelled("nobody waits")
        return InlineWorkers().run(compute)

    def close(self) -> None:
        self.go.set()


async def test_a_forecast_that_somebody_asks_for_does_not_hold_up_the_twin(tmp_path):
    bench = Bench(tmp_path / "site", workers=(held := Held()))
    runner = bench.runner
    await runner.start()
    await bench.until(20)
    asked = asyncio.create_task(asyncio.to_thread(runner.what_if, "tank-1", {"Tank.Feed": 3.0}))
    await asyncio.to_thread(held.entered.wait, 30)

    effects = await runner.command("tank-1", "note", "Ann", "meanwhile", text="it goes on")
    at = await runner.ask("tank-1", lambda twin: twin.now)
    held.go.set()
    both = await asked
    await runner.stop()

    assert [e.who for e in effects] == ["Ann"]
    assert both.running.times[0] <= at
    assert both.to_dict()["differences"]["y0"]["change"] > 0.5


async def test_a_forecast_that_somebody_asks_for_can_be_cancelled(tmp_path):
    bench = Bench(tmp_path / "site", workers=(held := Held()))
    await bench.runner.start()
    session = Session(bench.runner.store, bench.runner, workers=1, clock=bench.clock)
    ann = Caller("Ann", ("engineer",))
    given = {"twin": "tank-1", "changes": {"Tank.Feed": 3.0}}

    job = await asyncio.to_thread(session.call, "twins.what_if", given, ann, wait=0.0)
    await asyncio.to_thread(held.entered.wait, 30)
    live, message = job.state, job.message
    ended = await asyncio.to_thread(session.cancel, job.id, ann)
    session.close()
    await bench.runner.stop()

    assert (live, message) == ("running", "as it is")
    assert ended["state"] == "cancelled"


def test_a_worker_that_hangs_is_thrown_away_and_the_next_run_works():
    twin = tank()
    workers = ProcessWorkers()
    slow = compute(twin, wait=30.0)
    quick = compute(twin, wait=0.0)
    try:
        first = workers.run(slow)
        late = workers.run(slow)
        done = workers.run(quick)
    finally:
        workers.close()

    assert first.error == ""
    assert "deadline" in late.error
    assert done.error == ""
    assert set(done.result) == {"inputs", "reasons"}


def compute(definition, wait) -> Compute:
    from galenic.twin.acting import arguments_of
    from galenic.twin.twin import Twin

    twin = Twin(definition, "tank-1", start=T0)
    arguments = {**arguments_of(twin), "options": {"wait": wait}}
    return Compute("t", definition.controller.function, arguments, T0, 2.0)


def test_an_error_in_a_worker_is_its_outcome():
    outcome = InlineWorkers().run(Compute("t", "galenic.twin.work:nosuch", {}, T0, 1.0))

    assert "nosuch" in outcome.error


class SetBack(ManualClock):
    """A clock that somebody sets back by an hour at its tenth wait."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.waits: list[int] = []

    async def sleep_until(self, ns: int) -> None:
        self.waits.append(ns - self.now())
        if len(self.waits) == 10:
            self.advance(-3600 * SECOND)
        else:
            await super().sleep_until(ns)


async def test_a_clock_that_is_set_back_does_not_stop_the_ticks(tmp_path):
    clock = SetBack(T0)
    connector = MemoryConnector(plant=TankPlant(T0), clock=clock, name="plc")
    runner = Runner(
        project(tmp_path / "site", watched_tank()),
        clock=clock,
        connectors={"plc": connector},
        workers=InlineWorkers(),
    )
    await runner.start()
    while len(clock.waits) < 20:
        await asyncio.sleep(0)
    await runner.stop()

    assert max(clock.waits) <= SECOND

"""Fleets: many twins of one definition, few of them in memory, each with its own record."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from galenic.app.permissions import Caller
from galenic.app.session import Session
from galenic.clock import SECOND, ManualClock
from galenic.errors import DataError, UnknownName
from galenic.records import open_site
from galenic.signals import Action, Command, Sample, Tick
from galenic.twin import look
from galenic.twin.alarm.rule import AlarmRule, AlarmRules
from galenic.twin.binding import MANUAL
from galenic.twin.example import watched_tank
from galenic.twin.fleet import SUMMARIES
from galenic.twin.fleet_table import from_table
from galenic.twin.project import FleetSpec, Project, Site, TwinSpec, read_project
from galenic.twin.replay import replay
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

T0 = 1_800_000_000 * SECOND
RULE = AlarmRule(
    "high", "Tank.Out", "too strong a feed", "the lot is lost", "lower it", 600.0, above=2.0
)


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


class Still(ManualClock):
    """A clock that only the test moves."""

    async def sleep_until(self, ns: int) -> None:
        await asyncio.Event().wait()


def definition():
    tank = watched_tank()
    bindings = tuple(replace(binding, connection=MANUAL) for binding in tank.bindings)
    return replace(tank, bindings=bindings, alarms=(RULE,), alarming=AlarmRules(settle=0.0))


def runner(folder, clock, capacity=3, rows=None, twins=()) -> Runner:
    fleet = FleetSpec("vials", definition(), capacity=capacity, rows=rows or {})
    project = Project(Site("test", folder), twins=twins, fleets=(fleet,))
    return Runner(project, clock=clock, workers=InlineWorkers())


ROWS = {f"v{k}": {"x0": 0.1 * k} for k in range(10)}


async def settled(one: Runner) -> None:
    """All that was to be put away is."""
    while len(one.fleets.resident()) > 3:
        await asyncio.sleep(0.001)


def test_few_are_in_memory_and_each_comes_back_bit_for_bit(tmp_path):
    async def run() -> None:
        clock = Still(T0)
        one = runner(tmp_path, clock, rows=ROWS)
        await one.start()
        alone = runner(tmp_path / "roomy", clock, capacity=100, rows=ROWS)
        await alone.start()
        for second in range(1, 4):
            clock.advance(SECOND)
            for k in range(10):
                sample = Sample("Tank.Out", 0.3 * k, "", at(second), at(second))
                for each in (one, alone):
                    await each.submit(sample, f"vials:v{k}")
            await settled(one)

        assert one.fleets.evictions > 10
        assert len(one.fleets.resident("vials")) == 3
        for k in range(10):
            ours, theirs = [await each.ask(f"vials:v{k}", looked) for each in (one, alone)]
            assert ours == theirs
        await one.stop()
        await alone.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_site_of_fleets_alone_is_checkpointed_once_per_so_many_events(tmp_path, monkeypatch):
    monkeypatch.setattr("galenic.twin.keeper.REPLAYED", 12)

    async def run() -> list[str]:
        one = runner(tmp_path, Still(T0), rows=ROWS)
        await one.start()
        saves, save = [], one._save

        async def noted(reason: str) -> None:
            saves.append(reason)
            await save(reason)

        monkeypatch.setattr(one, "_save", noted)
        for second in range(1, 21):
            await one.submit(Sample("Tank.Out", 0.3, "", at(second), at(second)), "vials:v1")
            await one.submit(Tick(at(second)), "vials:v1")
        await one.stop()
        return saves

    saves = asyncio.run(asyncio.wait_for(run(), 60))
    assert 2 <= saves.count("checkpoint") <= 4


def looked(twin):
    return twin.belief.identity, twin.now, twin.fold.state.alarms, twin.counters["Tank.Out"]


def test_each_has_its_own_record_and_goes_on_after_a_restart(tmp_path):
    async def run() -> None:
        clock = Still(T0)
        one = runner(tmp_path, clock, rows=ROWS)
        await one.start()
        for k in (1, 2, 3, 4, 5):
            await one.submit(Sample("Tank.Out", 1.0 * k, "", at(1), at(1)), f"vials:v{k}")
            await one.submit(Tick(at(2)), f"vials:v{k}")
        said = {"key": "high"}
        await one.submit(Command("acknowledge", at(3), "Ann", "seen", said), "vials:v3")
        await settled(one)
        before = [await one.ask(f"vials:v{k}", looked) for k in (1, 2, 3, 4, 5)]
        await one.stop()

        again = runner(tmp_path, clock, rows=ROWS)
        await again.start()
        assert again.fleets.to_dict()["vials"] == {"instances": 10, "in memory": 0}
        overview = {row["id"]: row for row in await asyncio.to_thread(again.overview, "vials")}
        assert overview["vials:v5"]["alarms"] == {"low": 1}
        assert overview["vials:v9"]["words"] == "no event yet"
        assert [await again.ask(f"vials:v{k}", looked) for k in (1, 2, 3, 4, 5)] == before
        await again.stop()

    asyncio.run(asyncio.wait_for(run(), 60))
    with open_site(tmp_path, readonly=True) as store:
        told = [e for e in store.ledger_read(kinds=("alarm",)) if e.who]
        assert [(e.subject, e.who) for e in told] == [("vials:v3", "Ann")]
        assert store.history(["vials:v4/Tank.Out"], T0, at(9)).column("value").to_pylist() == [4.0]
        assert len(store.list(SUMMARIES)) == 5
        found = replay(store)
        assert sorted(one.twin for one in found) == [f"vials:v{k}" for k in (1, 2, 3, 4, 5)]
        assert [one.differences for one in found] == [[]] * 5


def test_what_a_crash_left_uncommitted_is_taken_in_on_the_next_wake(tmp_path):
    """Journalled and not committed: the instance comes back with it."""

    async def run() -> None:
        clock = Still(T0)
        one = runner(tmp_path, clock, rows=ROWS)
        await one.start()
        for k in range(5):
            await one.submit(Sample("Tank.Out", 1.0, "", at(1), at(1)), f"vials:v{k}")
        await settled(one)
        await one.stop()
        with open_site(tmp_path) as store, store.transaction() as tx:
            late = Sample("vials:v1/Tank.Out", 3.0, "", at(5), at(5))
            tx.applied("vials:v1", tx.take([late], at(5)), at(5))

        again = runner(tmp_path, clock, rows=ROWS)
        await again.start()
        times = [await again.ask(f"vials:v{k}", folded_to) for k in (0, 1, 2)]
        assert times == [at(1), at(5), at(1)]
        await again.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def folded_to(twin) -> int:
    return twin.fold.state.time


def test_instances_are_added_by_a_service_and_told_apart_from_twins(tmp_path):
    async def run() -> None:
        clock = Still(T0)
        alone = TwinSpec("tank-1", definition())
        one = runner(tmp_path, clock, twins=(alone,))
        await one.start()
        session, eve = Session(one.store, one), Caller("Eve", ("engineer",))

        async def call(service, **arguments):
            job = await asyncio.to_thread(session.call, service, arguments, eve)
            return job.outcome()

        table = {"name": "vials.csv", "content": b64encode(b"id,x0 [1]\na,0.5\nb,0.7\n").decode()}
        await call("fleets.load", fleet="vials", table=table, reason="new batch")
        await call("fleets.add", fleet="vials", name="c", values={"x0": 0.9}, reason="late one")
        await call("twins.enter", tag="Tank.Out", value=2.5, unit="1", twin="vials:b")
        await one.submit(Tick(at(1)), "vials:b")
        listed = (await call("fleets.overview", fleet="vials", order="alarms")).tables[0]
        (standing,) = (await call("twins.alarms")).tables
        status = await call("twins.status", twin="vials:c")
        with pytest.raises(DataError, match="already"):
            await call("fleets.add", fleet="vials", name="a", reason="again")
        with pytest.raises(UnknownName, match="x9"):
            await call("fleets.add", fleet="vials", name="d", values={"x9": 1}, reason="wrong")
        with pytest.raises(UnknownName):
            await one.submit(Tick(at(2)), "vials:zz")

        assert listed["id"] == ["vials:b", "vials:a", "vials:c"]
        assert listed["alarms"] == ["1 low", "", ""]
        assert list(zip(standing["twin"], standing["alarm"], strict=True)) == [("vials:b", "high")]
        assert status.values["level"].value == "shadow"
        assert list(one.twins) == ["tank-1"]
        assert one.twin("tank-1").counters == {}
        await one.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,x\n1,2\n", "no column id"),
        ("id,x0\na,1\na,2\n", "t.csv:3"),
        ("id,x0\na,one\n", "'one' is not a number"),
        ("id,x0\na\n", "1 cells"),
        ("", "no column id"),
    ],
)
def test_a_table_that_is_wrong_is_refused_at_its_line(text, words):
    with pytest.raises(DataError) as caught:
        from_table(text, "t.csv")

    assert words in str(caught.value)


def test_a_project_names_a_fleet_and_its_table(tmp_path):
    (tmp_path / "vials.csv").write_text("id,x0\na,0.5\n")
    path = tmp_path / "site.toml"
    path.write_text(
        "[[fleet]]\nid = 'vials'\ndefinition = 'galenic.twin.example:tank'\n"
        "table = 'vials.csv'\ncapacity = 50\nidle = '5 min'\n"
    )

    (fleet,) = read_project(path).fleets

    assert (fleet.capacity, fleet.idle, fleet.rows) == (50, 300.0, {"a": {"x0": 0.5}})


def test_the_example_ward_says_which_patient_needs_somebody(tmp_path):
    """Forty patients of a table; one of them has a level that is too high."""
    example = read_project(Path(__file__).parents[3] / "examples" / "ward.toml")
    project = replace(example, site=Site("ward", tmp_path))

    async def run() -> None:
        clock = Still(T0)
        ward = Runner(project, clock=clock, workers=InlineWorkers())
        await ward.start()
        for name, level in (("p0001", 24.8), ("p0002", 14.0)):
            dose = Action("dose", 1500.0, "mg", at(0), at(1), "dose", 3600.0, source_key=name)
            drawn = Sample("Level.Vancomycin", level, "mg/L", at(8 * 3600), at(8 * 3600))
            clock.advance(at(8 * 3600) - clock.now())
            for event in (dose, drawn, Tick(at(8 * 3600 + 60))):
                await ward.submit(event, f"ward:{name}")
        rows = ward.overview("ward")
        assert len(rows) == 40
        assert [row["id"] for row in rows if row["alarms"]] == ["ward:p0001"]
        (alarm,) = [
            a for a in await ward.ask("ward:p0001", look.standing) if a.key == "trough_high"
        ]
        assert (alarm.severity, alarm.value) == ("medium", pytest.approx(0.0248))  # kg/m3
        assert "above 20 mg/L: 24.8 mg/L" in alarm.text
        await ward.stop()

    asyncio.run(asyncio.wait_for(run(), 60))

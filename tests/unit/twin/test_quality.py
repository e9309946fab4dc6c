"""What became of data is counted by source and tag, with reasons, and survives a restart."""

from __future__ import annotations

import asyncio

import pytest

from galenic.clock import SECOND, SystemClock
from galenic.connect.connector import TagInfo
from galenic.connect.memory import MemoryConnector
from galenic.connect.tally import MOST_REASONS, OTHER, DeadLetter, Tally
from galenic.errors import UnknownName
from galenic.records import open_site
from galenic.signals import Quality, Sample
from galenic.stages.data.services import dead_letters, quality
from galenic.twin.example import watched_tank
from galenic.twin.kinds import ConnectionSpec
from galenic.twin.level import Level
from galenic.twin.project import Project, Site, TwinSpec
from galenic.twin.quality import COUNT, Book, keep_letters, letters, score, summary
from galenic.twin.run import Host, Run
from galenic.twin.runner import Runner
from galenic.twin.snapshot import restore
from galenic.twin.twin import Twin
from galenic.twin.workers import InlineWorkers

T0 = 1_800_000_000 * SECOND


def sample(tag, seconds, value, *, unit="", received=None, **more) -> Sample:
    time = T0 + round(seconds * SECOND)
    return Sample(tag, value, unit, time, time if received is None else received, **more)


MIXED = [
    sample("Tank.Out", 1, 1.0),
    sample("Tank.Out", 1, 1.0),  # again
    sample("Tank.Out", 2, 900.0),  # not plausible
    sample("Tank.Out", 3, None, quality=Quality.BAD, status=0x808C0000),
    sample("Tank.Out", 4, "abc"),
    sample("Tank.Out", 5, 1.0, unit="kg"),  # no plain number
    sample("Tank.Out", 6, 120.0, unit="%"),  # converted
    sample("Tank.Out", 6, 1.5),  # contradicts
    sample("Tank.Probe", 7, 1.0, received=T0),  # from the future
    sample("Tank.Probe", -1000, 1.0, received=T0 + 8 * SECOND),  # late
]


def twin() -> Twin:
    return Twin(watched_tank(), "tank-1", start=T0, level=Level.SHADOW)


def test_a_twin_says_why_it_did_not_believe_and_remembers():
    tank = twin()
    for one in MIXED:
        tank.accept(one)

    reasons = tank.tally.tags["Tank.Out"].reasons["rejected"]
    assert {words: reason.count for words, reason in reasons.items()} == {
        "not plausible": 1, "bad quality": 1, "not a number": 1, "wrong unit": 1,
    }  # fmt: skip
    assert "900" in reasons["not plausible"].example
    assert tank.tally.tags["Tank.Probe"].reasons["late"]["too late for the belief"].count == 1
    assert restore(watched_tank(), tank.snapshot()).tally.to_dict() == tank.tally.to_dict()


def test_the_parts_are_put_together_by_source_and_tag():
    tank, book = twin(), Book()
    for one in MIXED:
        tank.accept(one)
    book.took("plc", MIXED, {tag: c.binding.unit for tag, c in tank.channels.items()})
    book.missed("plc", 3)
    book.missed("plc", 3)
    connector = MemoryConnector([TagInfo("Tank.Out")])
    connector.tally = Tally()
    connector.tally.note("Tank.Out", "rejected", 2, reason="is not a number", example="x")

    records = book.records({"plc": connector}, {"tank-1": tank})
    tags = summary(records["plc"])

    out = tags["Tank.Out"]["numbers"]
    assert (out["mapped"], out["converted"], out["duplicates"], out["conflicts"]) == (8, 2, 1, 1)
    assert out["rejected"] == 4 + 2  # by the twin and at the source
    assert tags["Tank.Probe"]["numbers"]["late"] == tags["Tank.Probe"]["numbers"]["future"] == 1
    assert tags[""]["numbers"]["missing"] == 3
    # 8 came and 2 never became samples, less one duplicate; 6 + 1 lost
    assert tags["Tank.Out"]["score"] == pytest.approx(100 * (1 - 7 / 9), abs=0.01)
    assert tags["Tank.Probe"]["score"] == 50.0


def test_a_score_without_data_is_none_and_duplicates_do_no_harm():
    assert score({}) is None
    assert score({"mapped": 5, "duplicates": 5}) is None
    assert score({"mapped": 10, "duplicates": 5}) == 100.0


def test_reasons_and_letters_are_bounded_and_nothing_is_uncounted(tmp_path):
    tally = Tally()
    for n in range(MOST_REASONS + 5):
        tally.note("T", "rejected", reason=f"reason {n}")
    assert tally.tags["T"].reasons["rejected"][OTHER].count == 5
    with open_site(tmp_path / "site", name="test") as store:
        many = [DeadLetter.of("s", n, "broken", b"x" * 70_000) for n in range(3)]
        with store.transaction() as tx:
            tx.put(COUNT, "all", {"kept": 9_998, "not_kept": 0})
            keep_letters(tx, many)
        kept, counted = letters(store)

    assert (len(kept), counted) == (2, 1)
    assert {(len(one.raw), one.size) for one in kept.values()} == {(65_536, 70_000)}


def run_of(store, runner=None) -> Run:
    return Run("Ann", host=Host(store, runner))


async def test_counts_go_on_after_a_restart_and_letters_are_kept(tmp_path):
    store = open_site(tmp_path / "site", name="test")
    spec = TwinSpec("tank-1", watched_tank(), {}, Level.SHADOW)
    project = Project(Site("test", tmp_path / "site"), (ConnectionSpec("plc", "memory"),), (spec,))
    tags = [
        TagInfo(b.tag, "", b.writable, type="str" if "Lot" in b.tag else "float")
        for b in watched_tank().bindings
        if b.connection == "plc"
    ]

    async def life(first: float) -> Runner:
        clock = SystemClock()
        connector = MemoryConnector(tags, clock=clock, name="plc")
        connector.tally = Tally()
        runner = Runner(
            project, store=store, connectors={"plc": connector}, workers=InlineWorkers()
        )
        await runner.start()
        async with asyncio.timeout(20):
            while not connector.status.queue.capacity:
                await asyncio.sleep(0.01)
            now = clock.now()
            connector.tally.dead(DeadLetter.of("plc", now, "broken", b"\x00poison"))
            connector.publish([Sample("Tank.Out", v, "", now + i, now) for i, v in
                               enumerate((first, 900.0))])  # fmt: skip
            while runner.twin("tank-1").counters.get("Tank.Out") is None:
                await asyncio.sleep(0.01)
        await runner.stop()
        return runner

    for number in (1, 2):
        runner = await life(1.0 + number)
        for run in (run_of(store), run_of(store, runner)):
            result = quality(run=run)
            row = next(r for r in result.tables[1].rows() if r[1] == "Tank.Out")
            named = dict(zip([c.name for c in result.tables[1].columns], row, strict=True))
            assert (named["mapped"], named["rejected"]) == (2 * number, number)
            assert ("plc", "Tank.Out", "rejected", "not plausible", number) in [
                r[:5] for r in result.tables[2].rows()
            ]
    listed = dead_letters(run=run_of(store))
    assert listed["letters"] == 2
    assert {one.data for one in listed.artefacts} == {b"\x00poison"}
    with pytest.raises(UnknownName, match="plc"):
        quality("plcc", run=run_of(store))
    store.close()

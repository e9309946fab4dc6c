"""One connection feeds all instances of a fleet: each gets its own tags and no others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.unit.twin.test_fleet import ROWS, Still, at, definition

from galenic.connect.connector import TagInfo, WriteResult
from galenic.connect.memory import MemoryConnector
from galenic.errors import DataError, UnknownName
from galenic.signals import Sample, Write
from galenic.twin import fleet_sources, look
from galenic.twin.fleet_table import address, check_pattern
from galenic.twin.level import Level
from galenic.twin.project import ConnectionSpec, FleetSpec, Project, Site, read_project
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

TAGS = ("Tank.Out", "Tank.Probe", "Tank.Feed")
PATTERN = "Line1.{id}/{tag}"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(fleet_sources, "LOOK", 0.02)


def plant(clock, names) -> MemoryConnector:
    infos = [
        TagInfo(address(PATTERN, name, tag), "1", writable=tag == "Tank.Feed")
        for name in names
        for tag in TAGS
    ]
    return MemoryConnector([*infos, TagInfo("Other.Tag", "1")], clock=clock, name="plc")


def runner(folder, clock, source) -> Runner:
    told = definition()
    bindings = tuple(replace(b, connection="plc" if b.tag in TAGS else b.connection)
                     for b in told.bindings)  # fmt: skip
    fleet = FleetSpec("vials", replace(told, bindings=bindings), rows=ROWS, tags=PATTERN)
    project = Project(Site("test", folder), (ConnectionSpec("plc", "memory"),), fleets=(fleet,))
    return Runner(project, clock=clock, connectors={"plc": source}, workers=InlineWorkers())


def told(name: str, value: float, second: float, tag: str = "Tank.Out") -> Sample:
    return Sample(address(PATTERN, name, tag), value, "", at(second), at(second))


async def until(question) -> None:
    async with asyncio.timeout(30):
        while not question():
            await asyncio.sleep(0.005)


def newest(one: Runner) -> dict[str, float]:
    return {tag: sample.value for tag, sample in one.store.latest().items()}


def test_each_instance_gets_its_own_samples(tmp_path):
    async def run() -> None:
        clock = Still(at(0))
        source = plant(clock, ["v1", "v2"])
        one = runner(tmp_path, clock, source)
        await one.start()
        source.publish([told("v1", 0.25, 1), told("v2", 0.75, 1), told("v1", 0.5, 2, "Tank.Probe")])
        wanted = {"vials:v1/Tank.Out": 0.25, "vials:v2/Tank.Out": 0.75, "vials:v1/Tank.Probe": 0.5}
        await until(lambda: newest(one) == wanted)

        for name, value in (("v1", 0.25), ("v2", 0.75)):
            latest = await one.ask(f"vials:{name}", lambda twin: twin.latest["Tank.Out"])
            assert latest.value == value
        assert one.fleets.resident("vials") == ["vials:v1", "vials:v2"]
        assert (await one.ask("vials:v1", look.status))["counters"]["Tank.Probe"]["accepted"] == 1
        counted = one.quality()["plc"]["source"]
        assert "vials/Tank.Out" in str(counted)
        assert "v1" not in str(counted)  # by fleet, not by instance: thousands of them
        await one.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_who_comes_later_is_fed_too_and_strangers_are_told(tmp_path):
    async def run() -> None:
        clock = Still(at(0))
        source = plant(clock, ["v1", "new"])
        one = runner(tmp_path, clock, source)
        await one.start()
        await until(lambda: "fleet vials" in one.problems)
        assert "Line1.new/Tank.Feed" in one.problems["fleet vials"]
        source.publish([told("new", 0.25, 1), told("v1", 0.5, 1)])
        await until(lambda: newest(one) == {"vials:v1/Tank.Out": 0.5})

        one.fleets.add(one.store, "vials", {"new": {}}, "Ann", "arrived", at(2))
        await until(lambda: "vials:new/Tank.Out" in newest(one))
        source.publish([told("v1", 0.75, 3), told("new", 1.0, 3)])
        await until(lambda: newest(one) == {"vials:v1/Tank.Out": 0.75, "vials:new/Tank.Out": 1.0})
        await until(lambda: "fleet vials" not in one.problems)
        await one.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_lost_source_is_listened_to_again(tmp_path):
    async def run() -> None:
        clock = Still(at(0))
        source = plant(clock, ["v1"])
        one = runner(tmp_path, clock, source)
        await one.start()
        source.publish([told("v1", 0.25, 1)])
        await until(lambda: newest(one))
        source.lose("cut")
        source.restore()
        source.publish([told("v1", 0.5, 2)])

        await until(lambda: newest(one) == {"vials:v1/Tank.Out": 0.5})
        await one.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_write_of_an_instance_goes_to_its_own_tag(tmp_path):
    """The gate is another matter: what is put here has passed it."""
    written = []

    def device(tag, value, unit, now):
        written.append((tag, value))
        return WriteResult("done", value)

    async def run() -> None:
        clock = Still(at(0))
        source = plant(clock, ["v1", "v2"])
        source._handler = device
        one = runner(tmp_path, clock, source)
        await one.start()
        source.publish([told("v2", 0.25, 1)])
        await until(lambda: newest(one))
        twin = one._present["vials:v2"]
        twin.levels = replace(twin.levels, base=Level.TWIN, tags={"Tank.Feed": Level.TWIN})
        one._writes.put("vials:v2", Write("k", "Tank.Feed", 1.5, "1", at(1), at(60)))
        await until(lambda: written)

        assert written == [("Line1.v2/Tank.Feed", 1.5)]
        await one.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("text", ["{tag}", "{id}", "{id}{tag}", "x", "{id}/{id}/{tag}"])
def test_a_pattern_that_cannot_be_told_apart_is_refused(text):
    with pytest.raises(DataError, match="once each"):
        check_pattern(text)


def project(folder, lines: str):
    path = folder / "site.toml"
    path.write_text(
        "[[connection]]\nname = 'plc'\nkind = 'memory'\n\n[[fleet]]\nid = 'vials'\n"
        f"definition = 'galenic.twin.example:tank'\n{lines}\n"
    )
    return read_project(path)


def test_a_project_says_from_which_connection_and_how_tags_are_called(tmp_path):
    (fleet,) = project(tmp_path, "connection = 'plc'\ntags = 'A.{id}.{tag}'").fleets

    assert fleet.tags == "A.{id}.{tag}"
    assert project(tmp_path, "connection = 'plc'").fleets[0].tags == "{id}/{tag}"
    assert project(tmp_path, "").fleets[0].tags == ""
    with pytest.raises(UnknownName, match=r"site\.toml:8"):
        project(tmp_path, "connection = 'plx'")
    with pytest.raises(DataError, match=r"site\.toml:8"):
        project(tmp_path, "tags = '{id}'")

"""Tags that are recorded without a twin."""

from __future__ import annotations

import asyncio

import pytest

from galenic.clock import ManualClock
from galenic.connect.connector import TagInfo
from galenic.connect.memory import MemoryConnector
from galenic.errors import DataError, StorageError, UnknownName
from galenic.records import open_site
from galenic.signals import Sample
from galenic.twin import keeper, recording
from galenic.twin.kinds import ConnectionSpec, RecordSpec
from galenic.twin.project import Project, Site, read_project
from galenic.twin.runner import Runner

SECOND = 10**9


def site_of(folder, tags=("*",)):
    spec = (RecordSpec("plc", tags),)
    return Project(Site("test", folder), (ConnectionSpec("plc", "memory"),), records=spec)


def batch(n, count=50):
    return [
        Sample(f"A.T{i}", float(n * count + i), "kg", n * SECOND + i, n * SECOND)
        for i in range(count)
    ]


def connector(clock, count=50):
    tags = [TagInfo(f"A.T{i}", "kg") for i in range(count)] + [TagInfo("B.T", "kg")]
    return MemoryConnector(tags, clock=clock, name="plc")


async def recorded(folder, batches, tags=("*",), during=None):
    clock = ManualClock(SECOND)
    plc = connector(clock)
    runner = Runner(site_of(folder, tags), clock=clock, connectors={"plc": plc})
    await runner.start()
    while not plc._queues:
        await asyncio.sleep(0)
    for samples in batches:
        plc.publish(samples)
        await asyncio.sleep(0)
    if during is not None:
        await during(runner)
    await runner.stop()
    assert runner.failure is None
    return runner


async def test_everything_that_comes_is_in_the_records(tmp_path):
    batches = [batch(n) for n in range(40)]

    runner = await recorded(tmp_path, batches)

    assert runner.status()["recordings"]["plc"]["rows"] == 2000
    with open_site(tmp_path, readonly=True) as store:
        samples = [event for _, event in store.journal_read(kinds=["sample"])]
        assert samples == [sample for one in batches for sample in one]
        assert store.history("A.T7", 0, 99 * SECOND)["value"].to_pylist() == [
            float(50 * n + 7) for n in range(40)
        ]
        assert store.verify().ok


async def test_only_tags_that_fit_a_pattern_are_recorded(tmp_path):
    await recorded(tmp_path, [[*batch(1, 20), Sample("B.T", 1.0, "kg", 5, 5)]], tags=("B.*",))

    with open_site(tmp_path, readonly=True) as store:
        assert list(store.latest()) == ["B.T"]


async def test_while_the_store_refuses_samples_wait_and_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "ROOM", 200)
    monkeypatch.setattr(keeper, "RETRY", 0.01)
    refused, take = [], keeper.Keeper._take

    def full(self, samples):
        if len(refused) < 20:
            refused.append(len(samples))
            raise StorageError("no room left to write")
        take(self, samples)

    monkeypatch.setattr(keeper.Keeper, "_take", full)
    seen = []

    async def during(runner):
        while runner.status()["recordings"]["plc"]["waiting"] < 200:
            await asyncio.sleep(0)
        for n in range(40, 60):
            runner.connectors["plc"].publish(batch(n))
            for _ in range(20):  # what it has room for, it takes now
                await asyncio.sleep(0)
        while not (seen and seen[-1]["rows"] == 3000):
            seen.append(runner.status()["recordings"]["plc"])
            queue = runner.connectors["plc"].status.queue
            seen[-1]["queue"], seen[-1]["lost"] = queue.waiting, queue.lost
            seen[-1]["told"] = "store" in runner.problems
            await asyncio.sleep(0.005)

    await recorded(tmp_path, [batch(n) for n in range(40)], during=during)

    assert max(one["queue"] for one in seen) >= 900  # back-pressure shows in the connector
    assert max(one["age"] for one in seen) > 0.1
    assert any(one["told"] for one in seen) and not seen[-1]["told"]
    assert {one["lost"] for one in seen} == {0}
    with open_site(tmp_path, readonly=True) as store:
        assert len(list(store.journal_read(kinds=["sample"]))) == 3000


@pytest.mark.parametrize(
    ("table", "error"),
    [('connection = "plcc"', UnknownName), ("tags = [1]", DataError), ("tagz = []", UnknownName)],
)
def test_a_mistake_in_the_project_names_its_line(tmp_path, table, error):
    path = tmp_path / "p.toml"
    text = '[[connection]]\nname = "plc"\nkind = "memory"\n[[record]]\n'
    path.write_text(f'{text}tags = ["A.*"]\n')
    assert read_project(path).records == (RecordSpec("plc", ("A.*",)),)
    path.write_text(f"{text}{table}\n")

    with pytest.raises(error) as caught:
        read_project(path)

    assert f"{path}:5" in caught.value.where

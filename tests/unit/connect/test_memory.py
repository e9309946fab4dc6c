"""The in-process connector: delivery, writes, queues and a hosted plant."""

from __future__ import annotations

from collections import deque

import pytest

from galenic.clock import SECOND, ManualClock
from galenic.connect.connector import BAD_OUT_OF_RANGE, Connector, TagInfo, WriteResult
from galenic.connect.memory import MemoryConnector
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Quality, Sample

TAGS = [
    TagInfo("Press.MainForce", "kN"),
    TagInfo("Press.FillDepth", "mm", writable=True),
    TagInfo("Line.Running", type="bool", writable=True),
]


def force(value: float, time: int = SECOND) -> Sample:
    return Sample("Press.MainForce", value, "kN", time, time + 1)


class Ramp:
    """A plant whose force is its time in seconds and whose fill depth can be set below 12 mm."""

    def __init__(self) -> None:
        self.time = 0
        self.depth = 8.0

    def tags(self) -> list[TagInfo]:
        return TAGS

    def advance(self, until: int) -> list[Sample]:
        first = self.time // SECOND + 1
        self.time = until
        return [force(t, t * SECOND) for t in range(first, until // SECOND + 1)]

    def write(self, tag, value, unit, time) -> WriteResult:
        if value > 12:
            return WriteResult(BAD_OUT_OF_RANGE, self.depth, "above 12 mm")
        self.depth = value
        return WriteResult(read_back=value)


def test_is_a_connector():
    assert isinstance(MemoryConnector(TAGS), Connector)


async def test_a_published_sample_arrives_unchanged():
    connector = MemoryConnector(TAGS)
    await connector.open()
    batches = connector.subscribe(["Press.MainForce"])

    connector.publish([force(11.5), Sample("Line.Running", True, "", 1, 1)])

    assert await anext(batches) == [force(11.5)]
    await connector.close()


async def test_close_ends_a_subscription():
    connector = MemoryConnector(TAGS)
    await connector.open()
    batches = connector.subscribe(["Press.MainForce"])
    connector.publish([force(1.0)])
    await connector.close()

    assert [batch async for batch in batches] == [[force(1.0)]]


async def test_a_full_queue_drops_the_oldest_and_counts(caplog):
    connector = MemoryConnector(TAGS, queue=3)
    await connector.open()
    batches = connector.subscribe(["Press.MainForce"])

    connector.publish([force(float(i)) for i in range(5)])

    assert connector.status.queue.lost == 2
    assert [s.value for s in await anext(batches)] == [2.0, 3.0, 4.0]
    assert caplog.text.count("is full") == 1
    await connector.close()


@pytest.mark.parametrize("sizes", [[2, 2, 3], [1, 1, 1, 1, 1], [9], [4, 1, 4, 2], [0, 5, 0, 1]])
async def test_of_batches_that_overflow_the_newest_samples_are_left(sizes):
    """As a deque of single samples with this many places would keep them."""
    connector = MemoryConnector(TAGS, queue=4)
    await connector.open()
    batches = connector.subscribe(["Press.MainForce"])
    given = iter(range(100))
    expected: deque[float] = deque(maxlen=4)
    for size in sizes:
        values = [float(next(given)) for _ in range(size)]
        connector.publish([force(value) for value in values])
        expected.extend(values)

    queue = connector.status.queue

    assert (queue.waiting, queue.lost) == (len(expected), sum(sizes) - len(expected))
    assert [s.value for s in await anext(batches)] == list(expected)
    assert connector.status.queue.waiting == 0
    await connector.close()


async def test_an_unknown_tag_is_refused_with_a_suggestion():
    connector = MemoryConnector(TAGS)
    await connector.open()

    with pytest.raises(UnknownName, match="MianForce") as error:
        connector.subscribe(["Press.MianForce"])

    assert "Press.MainForce" in error.value.hint
    await connector.close()


async def test_read_before_any_value_is_bad_and_waits_for_initial_data():
    connector = MemoryConnector(TAGS)
    await connector.open()

    (sample,) = await connector.read(["Press.MainForce"])

    assert (sample.quality, sample.status, sample.value) == (Quality.BAD, 0x80320000, None)
    await connector.close()


async def test_a_lost_connection_is_reported_and_nothing_is_sent():
    connector = MemoryConnector(TAGS, clock=ManualClock(5))
    await connector.open()
    connector.lose("cable")

    receipt = await connector.write("Press.FillDepth", 8.0, "mm", key="w1")

    assert (receipt.outcome, receipt.write, receipt.detail) == ("failed", "w1", "not sent: cable")
    assert not connector.status.connected
    with pytest.raises(ConnectionLost):
        await connector.read(["Press.MainForce"])
    connector.restore()
    assert connector.status.connected
    await connector.close()


@pytest.mark.parametrize("value", ["eight", float("nan"), True])
async def test_a_value_of_the_wrong_type_is_refused(value):
    connector = MemoryConnector(TAGS)
    await connector.open()

    receipt = await connector.write("Press.FillDepth", value, "mm")

    assert receipt.outcome == "failed"
    assert "finite float" in receipt.detail
    await connector.close()


async def test_a_plant_is_advanced_and_written():
    connector = MemoryConnector(plant=Ramp(), clock=ManualClock(3 * SECOND))
    await connector.open()
    batches = connector.subscribe(["Press.MainForce"])

    connector.advance(3 * SECOND)

    assert [s.value for s in await anext(batches)] == [1, 2, 3]
    good = await connector.write("Press.FillDepth", 9.0, "mm")
    bad = await connector.write("Press.FillDepth", 13.0, "mm")
    assert (good.outcome, good.read_back) == ("done", 9.0)
    assert (bad.outcome, bad.read_back, bad.detail) == ("failed", 9.0, "above 12 mm")
    await connector.close()


async def test_a_plant_drives_itself_on_its_clock():
    connector = MemoryConnector(plant=Ramp(), clock=ManualClock(0), period=1.0)
    await connector.open()
    batches = connector.subscribe(["Press.MainForce"])

    assert (await anext(batches))[0].value == 1
    await connector.close()


def test_tags_and_plant_together_are_refused():
    with pytest.raises(DataError, match="tags and a plant"):
        MemoryConnector(TAGS, plant=Ramp())

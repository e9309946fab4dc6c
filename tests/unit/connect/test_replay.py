"""Replay: original times, any speed, nothing lost."""

from __future__ import annotations

import time

import pytest

from galenic.clock import SECOND
from galenic.connect.connector import Connector
from galenic.connect.replay import ReplayConnector
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Sample, Tick

RECORD = [
    Sample("F", 1.0, "kN", 0, 5 * SECOND),
    Sample("G", True, "", 0, 5 * SECOND),
    Tick(5 * SECOND),
    Sample("F", 2.0, "kN", SECOND, 6 * SECOND),
    Sample("F", 3.0, "kN", 2 * SECOND, 6 * SECOND),
]


async def test_batches_are_what_arrived_together():
    replay = ReplayConnector(RECORD)
    await replay.open()

    batches = [batch async for batch in replay.subscribe(["F", "G"])]

    assert batches == [RECORD[:2], RECORD[3:]]
    assert isinstance(replay, Connector)
    await replay.close()


async def test_tags_are_found_with_unit_and_type():
    replay = ReplayConnector(RECORD)

    assert [(t.tag, t.unit, t.type) for t in await replay.browse()] == [
        ("F", "kN", "float"),
        ("G", "", "bool"),
    ]


async def test_speed_is_kept():
    replay = ReplayConnector(RECORD, speed=10)
    await replay.open()
    start = time.monotonic()

    batches = [batch async for batch in replay.subscribe(["F"])]

    assert time.monotonic() - start == pytest.approx(0.1, abs=0.05)
    assert len(batches) == 2
    await replay.close()


async def test_close_ends_a_slow_replay():
    replay = ReplayConnector(RECORD, speed=0.001)
    await replay.open()
    batches = replay.subscribe(["F"])
    await anext(batches)
    await replay.close()

    assert [batch async for batch in batches] == []


async def test_a_write_is_refused_and_unknown_tags_are_named():
    replay = ReplayConnector(RECORD)
    await replay.open()

    assert (await replay.write("F", 1.0)).outcome == "failed"
    with pytest.raises(UnknownName):
        replay.subscribe(["H"])
    await replay.close()
    with pytest.raises(ConnectionLost):
        replay.subscribe(["F"])


async def test_wrong_arguments_are_named():
    with pytest.raises(DataError, match="speed"):
        ReplayConnector(RECORD, speed=0)
    with pytest.raises(DataError, match="only once"):
        ReplayConnector(s for s in RECORD)


async def test_the_press_record_plays_as_fast_as_possible(shared_data, tmp_path):
    mapping = tmp_path / "press.toml"
    mapping.write_text(
        'time = "timestamp"\nzone = "Europe/Ljubljana"\ndelimiter = ";"\n'
        'columns = {main_comp = {tag = "Press.MainForce", unit = "kN"}}\n'
    )
    data = shared_data / "tablet-press-1005" / "timeseries_product6.csv"
    replay = ReplayConnector.of_file(data, mapping)
    await replay.open()

    count = 0
    async for batch in replay.subscribe(["Press.MainForce"]):
        count += len(batch)

    assert count > 35_000
    await replay.close()

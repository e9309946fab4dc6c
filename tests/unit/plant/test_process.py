"""The plant behind OPC UA, in this process and in one of its own."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from galenic.clock import SECOND
from galenic.connect.opcua.client import OpcUaConnector
from galenic.errors import ConnectionLost, DataError
from galenic.stages.manufacturing.plant import TabletLine
from galenic.stages.manufacturing.plant.process import (
    Pacer,
    PlantServer,
    main,
    start_plant_process,
)

FREE = "opc.tcp://127.0.0.1:0/"


async def test_the_server_gives_what_the_plant_gives():
    """The same seed in process and through OPC UA: equal values, units and source times."""
    expected = TabletLine("calm", 5, start=SECOND).advance(301 * SECOND)
    server = PlantServer(TabletLine("calm", 5), FREE, FREE, speed=10.0)
    stop, is_ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(server.run(SECOND, stop=stop, ready=lambda facts: is_ready.set()))
    await asyncio.wait_for(is_ready.wait(), 20)
    client = OpcUaConnector(server.server.endpoint, security="None", publishing=0.1, sampling=0.05)
    await client.open()
    got: dict[tuple[str, int], float] = {}
    async with asyncio.timeout(20):
        async for batch in client.subscribe(["Press.MainForce", "NIR.Content"]):
            got |= {(s.tag, round(s.source_time / SECOND)): s.value for s in batch}
            if len(got) >= 20:
                break
    await client.close()
    stop.set()
    await task

    sent = {(s.tag, s.source_time // SECOND): s.value for s in expected}
    assert got == {key: sent.get(key) for key in got}


async def test_a_remote_write_passes_the_same_gate():
    server = PlantServer(TabletLine("calm", 1), FREE, "", speed=1.0)
    stop, is_ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(server.run(0, stop=stop, ready=lambda facts: is_ready.set()))
    await asyncio.wait_for(is_ready.wait(), 20)
    client = OpcUaConnector(server.server.endpoint, security="None")
    await client.open()
    refused = await client.write("FeederAPI.Setpoint", 2.1, "kg/h")
    await client.write("Line.Remote", True)
    taken = await client.write("FeederAPI.Setpoint", 2.1, "kg/h")
    outside = await client.write("FeederAPI.Setpoint", 50.0, "kg/h")
    await client.close()
    stop.set()
    await task

    assert (refused.outcome, taken.outcome, outside.outcome) == ("failed", "done", "failed")
    assert "BadNotWritable" in refused.detail
    assert taken.read_back == 2.1
    assert "BadOutOfRange" in outside.detail


def test_a_speed_that_cannot_be_held_is_said_and_the_goal_slips(monkeypatch):
    wall = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: wall[0])
    pacer = Pacer(0, 50.0)
    wall[0] += 10.0

    complaint = pacer.check(200 * SECOND)

    assert pacer.goal() == pytest.approx(200 * SECOND, abs=SECOND)
    assert "cannot hold 50 times real time" in complaint
    assert "about 20" in complaint
    assert pacer.check(200 * SECOND) == ""


def test_a_plant_process_starts_tells_its_address_and_stops():
    with start_plant_process(FREE, FREE, scenario="calm", seed=3, speed=10.0) as plant:
        facts = plant.facts
        running = plant.is_running
    code = plant.process.returncode

    assert running
    assert code == 0
    assert facts["scenario"] == "calm"
    assert facts["seed"] == 3
    assert plant.endpoint.startswith("opc.tcp://127.0.0.1:")
    assert plant.truth != plant.endpoint


def test_a_plant_process_that_cannot_start_raises(capfd):
    with pytest.raises(ConnectionLost, match="did not start"):
        start_plant_process(FREE, "", scenario="dya")

    assert "day" in capfd.readouterr().err


def test_a_wrong_scenario_is_told_as_json(capsys):
    code = main(["--json", "--scenario", "dya", "--endpoint", FREE])

    assert code == 2
    assert json.loads(capsys.readouterr().err)["error"] == "UnknownName"


def test_a_speed_of_nought_is_refused():
    with pytest.raises(DataError, match="speed"):
        PlantServer(TabletLine("calm"), FREE, "", speed=0.0)

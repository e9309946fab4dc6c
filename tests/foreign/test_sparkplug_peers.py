"""Eclipse Tahu's JavaScript stack as edge node for our host, and as reader of our edge node."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from galenic.clock import SECOND
from galenic.connect.connector import BAD_OUT_OF_RANGE, DONE, FAILED, TagInfo, WriteResult
from galenic.connect.mqtt.edge import EdgeNode
from galenic.connect.mqtt.host import SparkplugHost
from galenic.connect.mqtt.values import BAD_NO_COMMUNICATION
from galenic.signals import Quality, Sample

pytestmark = pytest.mark.slow


async def until(condition, limit: float = 20.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.02)


async def test_our_host_and_an_edge_node_of_tahu(peer, mosquitto):
    group = f"test-{uuid.uuid4().hex[:12]}"
    host = SparkplugHost(
        mosquitto[0], group, group, nodes=["line1"], tls=False, port=mosquitto[1], keepalive=1,
        timeout=2.0, reorder=0.3,
    )  # fmt: skip
    seen: list[Sample] = []

    async def listen() -> None:
        async for batch in host.subscribe(["line1/Temperature"]):
            seen.extend(batch)

    await host.open()
    settings = {
        "server": f"mqtt://{mosquitto[0]}:{mosquitto[1]}", "group": group, "node": "line1",
        "client": group[:20],
    }  # fmt: skip
    try:
        async with peer("sparkplug_edge.js", "sparkplug-client", **settings) as edge:
            await edge.hears(born=True)
            listening = asyncio.ensure_future(listen())
            await until(lambda: "line1/Press/Depth" in host._places)
            infos = {info.tag: info for info in await host.browse()}
            assert infos["line1/Temperature"].unit == "degC"
            assert infos["line1/Press/Depth"].unit == "mm"
            (count,) = await host.read(["line1/Press/Count"])
            assert count.value == -5

            now = int(time.time() * 1000)
            edge.tell(what="data", value=21.5, time=now)
            await until(lambda: any(s.value == 21.5 for s in seen))
            (data,) = [s for s in seen if s.value == 21.5]
            assert (data.unit, data.source_time) == ("degC", now * 1_000_000)

            written = await host.write("line1/Press/Depth", 9.5, "mm")
            assert (written.outcome, written.read_back, written.detail) == (DONE, 9.5, "")
            assert (await edge.hears(command="Press", value=9.5))["alias"] == 2
            refused = await host.write("line1/Press/Depth", 13.0, "mm")
            assert refused.outcome == FAILED

            births = len([t for t in edge.told if t.get("born")])
            edge.tell(what="skip")  # a message that never comes
            edge.tell(what="data", value=22.5, time=now + 1000)
            await edge.hears(rebirth=True)
            await until(lambda: len([t for t in edge.told if t.get("born")]) == births + 1)
            await until(lambda: any(s.value == 22.5 for s in seen))
            assert host.status.gaps

            edge.tell(what="leave")
            await until(lambda: host._feeds.latest["line1/Press/Depth"].quality == Quality.BAD)
            assert host._feeds.latest["line1/Temperature"].quality == Quality.GOOD
            edge.tell(what="stop")
            await until(lambda: seen[-1].status == BAD_NO_COMMUNICATION)
            assert any("offline" in warning for warning in host.status.warnings)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    finally:
        await host.close()


async def test_our_edge_node_read_and_commanded_by_another_codec(peer, mosquitto, tmp_path):
    group = f"test-{uuid.uuid4().hex[:12]}"
    tags = [
        TagInfo("Force", "kN"), TagInfo("Depth", "mm", writable=True),
        TagInfo("Lot", type="str"), TagInfo("Count", type="int"), TagInfo("On", type="bool"),
    ]  # fmt: skip

    def limited(tag, value, unit, time) -> WriteResult:
        return WriteResult(BAD_OUT_OF_RANGE) if value > 12 else WriteResult(read_back=value)

    edge = EdgeNode(
        mosquitto[0], group, "line1", tags, outbox=tmp_path / "outbox.db", tls=False,
        port=mosquitto[1], on_write=limited,
    )  # fmt: skip
    server = {"server": f"mqtt://{mosquitto[0]}:{mosquitto[1]}", "client": group[:20]}
    start = int(time.time()) * SECOND

    async with peer("sparkplug_host.js", "sparkplug-client", group=group, **server) as reader:
        async with edge:
            birth = await reader.hears(kind="NBIRTH")
            named = {m["name"]: m for m in birth["metrics"]}
            assert birth["seq"] == 0
            assert (named["Force"]["type"], named["Force"]["unit"]) == ("Double", "kN")
            assert (named["Node Control/Rebirth"]["type"], named["bdSeq"]["alias"]) == (
                "Boolean", None,
            )  # fmt: skip
            aliases = {m["name"]: m["alias"] for m in birth["metrics"] if m["alias"] is not None}

            given = {"Force": 12.25, "Lot": "A 7", "Count": -(2**40), "On": True}
            await edge.publish([Sample(tag, value, "", start, start)
                                for tag, value in given.items()])  # fmt: skip
            data = await reader.hears(kind="NDATA")
            assert all(m["name"] == "" for m in data["metrics"])
            told = {m["alias"]: m["value"] for m in data["metrics"]}
            assert {tag: told[aliases[tag]] for tag in given} == given
            assert {m["time"] for m in data["metrics"]} == {start // 1_000_000}

            metric = {"alias": aliases["Depth"], "type": "Double", "value": 9.5}
            reader.tell(kind="NCMD", node="line1", metrics=[metric])
            await until(lambda: any(
                m["alias"] == aliases["Depth"] and m["value"] == 9.5
                for t in reader.told if t.get("kind") == "NDATA" for m in t["metrics"]
            ))  # fmt: skip
            again = {"name": "Node Control/Rebirth", "type": "Boolean", "value": True}
            reader.tell(kind="NCMD", node="line1", metrics=[again])
            await until(lambda: len([t for t in reader.told if t.get("kind") == "NBIRTH"]) == 2)
            births = [t for t in reader.told if t.get("kind") == "NBIRTH"]
            numbers = [
                next(m["value"] for m in t["metrics"] if m["name"] == "bdSeq") for t in births
            ]
            assert numbers[0] == numbers[1]
        death = await reader.hears(kind="NDEATH")
        assert [m["name"] for m in death["metrics"]] == ["bdSeq"]

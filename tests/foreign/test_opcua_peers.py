"""node-opcua as server for our client, and as client of our server."""

from __future__ import annotations

import asyncio
import socket
import time
from urllib.parse import urlparse

import pytest

from galenic.clock import SECOND, from_iso
from galenic.connect.connector import BAD_OUT_OF_RANGE, DONE, FAILED, TagInfo, WriteResult
from galenic.connect.opcua.client import OpcUaConnector
from galenic.connect.opcua.server import TagServer
from galenic.connect.reconnect import Backoff
from galenic.connect.relay import TcpRelay
from galenic.signals import Quality, Sample

pytestmark = pytest.mark.slow
FORCE = "Line.Force"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Listening:
    """Takes every sample of some tags."""

    def __init__(self, connector: OpcUaConnector, tags: list[str]) -> None:
        self.samples: list[Sample] = []
        self._task = asyncio.ensure_future(self._listen(connector, tags))

    async def _listen(self, connector: OpcUaConnector, tags: list[str]) -> None:
        async for batch in connector.subscribe(tags):
            self.samples += batch

    async def hears(self, value: float, limit: float = 20.0) -> Sample:
        async with asyncio.timeout(limit):
            while True:
                for sample in self.samples:
                    if sample.value == value:
                        return sample
                await asyncio.sleep(0.02)


async def test_our_client_and_a_server_of_node_opcua(peer, tmp_path):
    port, start = free_port(), int(time.time()) * 1000
    async with peer("opcua_server.js", "node-opcua", port=port, folder=str(tmp_path)) as server:
        relay = TcpRelay("127.0.0.1", port)
        await relay.start()
        connector = OpcUaConnector(
            f"opc.tcp://127.0.0.1:{relay.port}/UA/line", "None", publishing=0.05, sampling=0.0,
            timeout=4.0, alive=0.5, backoff=Backoff(first=0.05, cap=0.2),
            nodes={FORCE: "ns=1;s=Line.Force", "Line.Depth": "ns=1;s=Line.Depth"},
        )  # fmt: skip
        browsing = OpcUaConnector(f"opc.tcp://127.0.0.1:{port}/UA/line", "None", root="1:Line")
        try:
            await browsing.open()
            infos = {info.tag.rpartition(".")[2]: info for info in await browsing.browse()}
            assert infos["Force"].unit == "kN"
            assert (infos["Force"].writable, infos["Depth"].writable) == (False, True)
            assert infos["Running"].type == "bool"

            await connector.open()
            listening = Listening(connector, [FORCE])
            server.tell(value=10.5, time=start)
            first = await listening.hears(10.5)
            assert (first.unit, first.quality, first.source_time) == ("kN", 0, start * 1_000_000)
            server.tell(value=11.5, time=start + 1000, status="UncertainLastUsableValue")
            doubtful = await listening.hears(11.5)
            assert (doubtful.quality, doubtful.status) == (Quality.UNCERTAIN, 0x40900000)
            server.tell(value=12.5, time=start + 2000, status="BadSensorFailure")
            async with asyncio.timeout(20):
                while not [s for s in listening.samples if s.status == 0x808C0000]:
                    await asyncio.sleep(0.02)

            written = await connector.write("Line.Depth", 9.5)
            assert (written.outcome, written.read_back) == (DONE, 9.5)
            await server.hears(written=9.5)
            refused = await connector.write("Line.Depth", 13.0)
            assert refused.outcome == FAILED
            assert "BadOutOfRange" in refused.detail

            relay.cut()
            for n in range(5):
                server.tell(value=20.0 + n, time=start + 3000 + 1000 * n)
            await server.hears(set=24.0)
            relay.mend()
            missed = [await listening.hears(20.0 + n) for n in range(5)]
            assert all(sample.historical for sample in missed[:-1])
            assert [s.source_time for s in missed] == sorted(s.source_time for s in missed)
            server.tell(value=30.0, time=start + 9000)
            assert not (await listening.hears(30.0)).historical
        finally:
            await connector.close()
            await browsing.close()
            await relay.stop()


async def test_a_client_of_node_opcua_and_our_server(peer):
    tags = [TagInfo(FORCE, "kN", description="main force"), TagInfo("Line.Depth", "mm", True)]

    def limited(tag, value, unit, time) -> WriteResult:
        return WriteResult(BAD_OUT_OF_RANGE) if value > 12 else WriteResult()

    start = from_iso("2026-01-31T08:00:00Z")

    def force(n: int, status: int = 0) -> Sample:
        when = start + n * SECOND
        quality = Quality.of_status(status)
        return Sample(FORCE, 10.0 + n, "kN", when, when, quality, status)

    async with TagServer(tags, on_write=limited, history=1e9, scanned=False) as server:
        relay = TcpRelay("127.0.0.1", urlparse(server.endpoint).port)
        await relay.start()
        where = f"opc.tcp://127.0.0.1:{relay.port}/"
        try:
            async with peer("opcua_client.js", "node-opcua", endpoint=where) as client:
                client.tell(what="browse", node="ObjectsFolder")
                assert "Line" in (await client.hears(browsed="ObjectsFolder"))["names"]
                node = f"ns=2;s={FORCE}"
                client.tell(what="unit", node=node)
                assert (await client.hears(unit=node))["name"] == "kN"

                client.tell(what="watch", node=node)
                await client.hears(change=node)
                await server.publish([force(1)])
                change = await client.hears(change=node, value=11.0)
                assert change["time"] == (start + SECOND) // 1_000_000
                await server.publish([force(2, 0x40930000)])
                assert (await client.hears(change=node, value=12.0))["status"] == 0x40930000

                client.tell(what="write", node="ns=2;s=Line.Depth", value=9.5)
                assert (await client.hears(wrote=9.5))["status"] == 0
                client.tell(what="write", node="ns=2;s=Line.Depth", value=13.0)
                assert (await client.hears(wrote=13))["name"] == "BadOutOfRange"

                span = [(start + n * SECOND) // 1_000_000 for n in (0, 10)]
                client.tell(what="history", node=node, start=span[0], stop=span[1])
                history = await client.hears(history=node)
                assert [v for _, v in history["values"]] == [11.0, 12.0]

                relay.cut()
                await client.hears(lost=True)
                relay.mend()
                await client.hears(back=True, limit=60.0)
                await server.publish([force(5)])
                assert (await client.hears(change=node, value=15.0))["status"] == 0
        finally:
            await relay.stop()

"""Every connector passes the public list of checks; OPC UA over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sqlite3
import struct
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest
import pytest_asyncio
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from galenic.clock import SECOND, SystemClock, to_iso
from galenic.connect import registry
from galenic.connect.check import CHECKS, Rig, RigFactory, applicable, check_connector, run_check
from galenic.connect.connector import BAD_OUT_OF_RANGE, TagInfo, WriteResult
from galenic.connect.epcis import EpcisConnector, Query, document_of
from galenic.connect.files import CsvColumn, CsvFolder, CsvMapping
from galenic.connect.memory import MemoryConnector
from galenic.connect.modbus.client import ModbusConnector
from galenic.connect.mqtt.edge import EdgeNode
from galenic.connect.mqtt.host import SparkplugHost
from galenic.connect.mqtt.line import Broker, MqttLine
from galenic.connect.mqtt.topics import MqttConnector
from galenic.connect.opcua.client import OpcUaConnector
from galenic.connect.opcua.server import TagServer
from galenic.connect.reconnect import Backoff
from galenic.connect.relay import TcpRelay
from galenic.connect.replay import ReplayConnector
from galenic.connect.table import TableConnector
from galenic.records import open_site
from galenic.signals import Quality, Sample
from galenic.stages.supply.repository import Repository

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAGS = [TagInfo("Press.MainForce", "kN"), TagInfo("Press.FillDepth", "mm", writable=True)]
DAYS = count()


def samples() -> list[Sample]:
    """Six forces, the fifth uncertain, later than those of any rig before."""
    start = (1_800_000_000 + 86_400 * next(DAYS)) * SECOND
    forces = [
        Sample("Press.MainForce", 10.0 + i, "kN", start + i * SECOND, start + i * SECOND + 1000)
        for i in range(6)
    ]
    doubtful = forces[4]
    forces[4] = Sample(
        doubtful.tag, doubtful.value, doubtful.unit, doubtful.source_time,
        doubtful.received_time, Quality.UNCERTAIN, 0x40930000,
    )  # fmt: skip
    return forces


def up_to_12_mm(tag: str, value, unit: str, time: int) -> WriteResult:
    if value > 12:
        return WriteResult(BAD_OUT_OF_RANGE, detail="above 12 mm")
    return WriteResult(read_back=value)


WRITES = {"accepted": ("Press.FillDepth", 9.0, "mm"), "refused": ("Press.FillDepth", 13.0, "mm")}


@asynccontextmanager
async def memory(queue: int) -> AsyncIterator[Rig]:
    connector = MemoryConnector(TAGS, queue=queue)
    given = samples()

    def write(tag: str, value, unit: str, time: int) -> WriteResult:
        result = up_to_12_mm(tag, value, unit, time)
        if result.status == 0:
            connector.publish([Sample(tag, value, unit, time, time)])
        return result

    connector.on_write(write)
    yield Rig(
        connector, given, called(lambda: connector.publish(given)),
        lose=called(connector.lose), mend=called(connector.restore), **WRITES,
    )  # fmt: skip


@asynccontextmanager
async def replay(queue: int) -> AsyncIterator[Rig]:
    given = samples()
    yield Rig(
        ReplayConnector(given, TAGS), given, called(lambda: None),
        refused=WRITES["accepted"], bounded=False,
    )  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[TagServer]:
    async with TagServer(TAGS, on_write=up_to_12_mm, history=86_400.0, scanned=False) as server:
        yield server


def opcua(server: TagServer):
    @asynccontextmanager
    async def rig(queue: int) -> AsyncIterator[Rig]:
        relay = TcpRelay("127.0.0.1", urlparse(server.endpoint).port)
        await relay.start()
        connector = OpcUaConnector(
            f"opc.tcp://127.0.0.1:{relay.port}/", "None", publishing=0.05, sampling=0.05,
            timeout=4.0, alive=1.5, queue=queue, backoff=Backoff(first=0.05, cap=0.2),
        )  # fmt: skip
        given = samples()

        async def feed() -> None:
            await server.publish(given)

        try:
            yield Rig(
                connector, given, feed, lose=called(relay.cut), mend=called(relay.mend),
                freeze=called(relay.freeze), **WRITES,
            )  # fmt: skip
        finally:
            await connector.close()
            await relay.stop()

    return rig


def sparkplug(port: int, folder):
    """An edge node of ours at the broker, and the host behind a relay."""

    @asynccontextmanager
    async def rig(queue: int) -> AsyncIterator[Rig]:
        relay = TcpRelay("127.0.0.1", port)
        await relay.start()
        name = f"test-{uuid.uuid4().hex[:12]}"
        edge = EdgeNode(
            "127.0.0.1", name, "line1", TAGS, outbox=folder / f"{name}.db", tls=False, port=port,
            on_write=up_to_12_mm, primary_host=name,
        )  # fmt: skip
        connector = SparkplugHost(
            "127.0.0.1", name, name, nodes=["line1"], root="line1", tls=False, port=relay.port,
            keepalive=1, timeout=1.0, queue=queue, backoff=Backoff(first=0.05, cap=0.2),
        )  # fmt: skip
        given = samples()

        async def feed() -> None:
            await edge.publish(given)

        try:
            async with edge:
                yield Rig(
                    connector, given, feed, lose=called(relay.cut), mend=called(relay.mend),
                    freeze=called(relay.freeze), **WRITES,
                )  # fmt: skip
        finally:
            await connector.close()
            await relay.stop()

    return rig


def mqtt(port: int):
    """A device that speaks JSON on a topic, and the connector behind a relay."""

    @asynccontextmanager
    async def rig(queue: int) -> AsyncIterator[Rig]:
        relay = TcpRelay("127.0.0.1", port)
        await relay.start()
        name = f"galenic-test/{uuid.uuid4().hex[:12]}"
        force = {
            "topic": f"{name}/force", "unit": "kN", "value": "v", "time": "t",
            "format": "unix_ns", "quality": "q",
        }  # fmt: skip
        depth = {"topic": f"{name}/depth", "unit": "mm", "time": "arrival", "write": f"{name}/set"}
        connector = MqttConnector(
            "127.0.0.1", {"Press.MainForce": force, "Press.FillDepth": depth}, tls=False,
            port=relay.port, keepalive=1, timeout=1.0, queue=queue,
            backoff=Backoff(first=0.05, cap=0.2),
        )  # fmt: skip
        given = samples()
        given[4] = Sample(
            given[4].tag, given[4].value, "kN", given[4].source_time, given[4].received_time,
            Quality.UNCERTAIN, 0x40000000,
        )  # fmt: skip
        orders: asyncio.Queue[float] = asyncio.Queue()
        broker = Broker("127.0.0.1", port, tls=False)
        device = await MqttLine.dial(broker, lambda t, data, r: orders.put_nowait(float(data)))
        await device.subscribe([(f"{name}/set", 1)])

        async def act() -> None:
            held = 8.0
            while True:
                asked = await orders.get()
                held = asked if asked <= 12 else held
                await device.publish(f"{name}/depth", repr(held).encode(), qos=1)

        async def feed() -> None:
            for s in given:
                quality = "uncertain" if s.status else "good"
                message = json.dumps({"v": s.value, "t": s.source_time, "q": quality})
                await device.publish(f"{name}/force", message.encode(), qos=1)

        acting = asyncio.ensure_future(act())
        try:
            yield Rig(
                connector, given, feed, lose=called(relay.cut), mend=called(relay.mend),
                freeze=called(relay.freeze), **WRITES,
            )  # fmt: skip
        finally:
            acting.cancel()
            await device.hang_up()
            await connector.close()
            await relay.stop()

    return rig


class StandingClock:
    """Time that a test sets, and that nobody waits for."""

    time = 1

    def now(self) -> int:
        return self.time

    async def sleep_until(self, ns: int) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def modbus(queue: int) -> AsyncIterator[Rig]:
    """The stack's own server behind a relay; force and depth are floats in two registers."""

    async def act(function, start, address, count, current, values):
        is_write = values is not None and address == 2
        deep = is_write and struct.unpack(">f", struct.pack(">2H", *values))[0] > 12
        return ExcCodes.ILLEGAL_VALUE if deep else None

    cells = SimData(0, values=[0] * 4, datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(1, [cells], action=act), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    relay = TcpRelay("127.0.0.1", server.transport.sockets[0].getsockname()[1])
    await relay.start()
    clock = StandingClock()
    registers = {
        "Press.MainForce": {"address": 0, "type": "float32", "unit": "kN"},
        "Press.FillDepth": {"address": 2, "type": "float32", "unit": "mm", "writable": True},
    }
    connector = ModbusConnector(
        "127.0.0.1", registers, port=relay.port, timeout=0.5, queue=queue, clock=clock,
        backoff=Backoff(first=0.05, cap=0.2),
    )  # fmt: skip
    given = [dataclasses.replace(s, quality=Quality.GOOD, status=0) for s in samples()]

    async def feed() -> None:
        for sample in given:
            words = list(struct.unpack(">2H", struct.pack(">f", sample.value)))
            await server.async_setValues(1, 16, 0, words)
            clock.time = sample.source_time
            await connector.poll()

    try:
        yield Rig(
            connector, given, feed, lose=called(relay.cut), mend=called(relay.mend),
            freeze=called(relay.freeze), **WRITES,
        )  # fmt: skip
    finally:
        await connector.close()
        await relay.stop()
        await server.shutdown()


class Wire(httpx.AsyncBaseTransport):
    """The way to a repository in this process, which can be cut or fall silent."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.state = "up"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.state == "cut":
            raise httpx.ConnectError("cut")
        if self.state == "frozen":
            await asyncio.Event().wait()
        asked = {k: [v] for k, v in request.url.params.items() if k not in ("perPage", "token")}
        token = request.url.params.get("token", "")
        events, following = self.repository.page(Query.of(asked), 3, token)
        said = document_of((one.event for one in events), 0, query="q")
        link = request.url.copy_set_param("token", following)
        headers = {"Link": f'<{link}>; rel="next"'} if following else {}
        return httpx.Response(200, json=said, headers=headers, request=request)


def epcis(folder):
    """Temperatures that a logger reports, in a repository with pages of three events."""

    @asynccontextmanager
    async def rig(queue: int) -> AsyncIterator[Rig]:
        store = open_site(folder / f"site-{uuid.uuid4().hex[:8]}", name="test")
        repository = Repository(store, SystemClock())
        wire = Wire(repository)
        tag = {"device": "urn:epc:id:giai:4000001.1", "type": "Temperature", "unit": "degC"}
        connector = EpcisConnector(
            "http://test", {"Oven.Temperature": tag}, period=0.05, timeout=0.5, transport=wire,
            queue=queue, backoff=Backoff(first=0.05, cap=0.2),
        )  # fmt: skip
        given = [
            dataclasses.replace(
                s, tag="Oven.Temperature", unit="degC", quality=Quality.GOOD, status=0
            )
            for s in samples()
        ]

        async def feed() -> None:
            events = [
                {
                    "type": "ObjectEvent", "action": "OBSERVE", "epcList": [],
                    "eventID": f"urn:uuid:{uuid.uuid4()}", "eventTime": to_iso(s.source_time),
                    "eventTimeZoneOffset": "+00:00",
                    "sensorElementList": [{
                        "sensorMetadata": {"deviceID": "urn:epc:id:giai:4000001.1"},
                        "sensorReport": [{"type": "Temperature", "value": s.value, "uom": "CEL"}],
                    }],
                }
                for s in given
            ]  # fmt: skip
            repository.capture(json.dumps(events).encode(), "test")

        try:
            yield Rig(
                connector, given, feed, refused=("Oven.Temperature", 1.0, "degC"),
                lose=called(lambda: setattr(wire, "state", "cut")),
                mend=called(lambda: setattr(wire, "state", "up")), bounded=False,
            )  # fmt: skip
        finally:
            await connector.close()
            store.close()

    return rig


def table(folder):
    """Rows of a table that somebody else writes; the same reading may be entered twice."""

    @asynccontextmanager
    async def rig(queue: int) -> AsyncIterator[Rig]:
        path = folder / f"{uuid.uuid4().hex[:8]}.db"
        given = samples()
        given[4] = dataclasses.replace(given[4], status=0x40000000)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE h (id INTEGER PRIMARY KEY, t, force, q)")
        mapping = CsvMapping(
            "t", {"force": CsvColumn("Press.MainForce", "kN")}, format="unix_ns", quality="q",
            qualities={"good": "good", "doubt": "uncertain"},
        )  # fmt: skip
        connector = TableConnector(
            path, "h", "id", mapping, period=0.05, timeout=2.0, queue=queue,
            backoff=Backoff(first=0.05, cap=0.2),
        )  # fmt: skip

        def feed() -> None:
            rows = [(s.source_time, s.value, "doubt" if s.status else "good") for s in given]
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.executemany("INSERT INTO h (t, force, q) VALUES (?, ?, ?)", rows)

        def lose() -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("ALTER TABLE h RENAME TO away")

        def mend() -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("ALTER TABLE away RENAME TO h")

        yield Rig(
            connector, given, called(feed), refused=("Press.MainForce", 1.0, "kN"),
            lose=called(lose), mend=called(mend), bounded=False,
        )  # fmt: skip

    return rig


def called(function: Callable[[], object]):
    """``function`` as a coroutine function."""

    async def step() -> None:
        function()

    return step


KINDS = ["memory", "replay", "opcua", "files", "sparkplug", "mqtt", "modbus", "epcis", "table"]


@pytest.fixture
def factory(request, server, tmp_path):
    """Makes rigs of a kind."""

    def made(kind: str) -> RigFactory:
        if kind in ("sparkplug", "mqtt"):
            _, port = request.getfixturevalue("mosquitto")
            return sparkplug(port, tmp_path) if kind == "sparkplug" else mqtt(port)
        return {
            "modbus": modbus,
            "memory": memory,
            "replay": replay,
            "opcua": opcua(server),
            "files": files(tmp_path),
            "epcis": epcis(tmp_path),
            "table": table(tmp_path),
        }[kind]

    return made


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_connector_passes_every_check(kind, check, factory):
    result = await run_check(check, factory(kind))

    if result.outcome == "skipped":
        async with factory(kind)(1) as rig:
            assert check not in applicable(rig)
        pytest.skip(result.detail)
    assert result.outcome == "passed", result.detail


@pytest.mark.parametrize("kind", registry.BUILT_IN)
async def test_the_quality_scale_says_how_many_checks_apply(kind, factory):
    async with factory(kind)(50) as rig:
        fit = len(applicable(rig))
    page = (Path(__file__).parents[2] / "docs/reference/connectors.md").read_text()
    (row,) = re.findall(rf"^\| `{kind}` \| (\w+) \| (\d+) / (\d+) \|", page, re.M)

    assert (int(row[1]), int(row[2])) == (fit, len(CHECKS) - fit)
    assert row[0] in ("bronze", "silver", "gold", "platinum")


def files(folder):
    @asynccontextmanager
    async def rig(queue: int) -> AsyncIterator[Rig]:
        given = samples()
        qualities = {"good": "good", "doubt": "uncertain"}
        mapping = CsvMapping(
            "t", {"force": CsvColumn("Press.MainForce", "kN")}, format="unix_ns",
            quality="q", qualities=qualities,
        )  # fmt: skip
        target = folder / "in"
        target.mkdir(exist_ok=True)
        given[4] = Sample(
            given[4].tag, given[4].value, "kN", given[4].source_time, given[4].received_time,
            Quality.UNCERTAIN, 0x40000000,
        )  # fmt: skip
        rows = [f"{s.source_time},{s.value},{'doubt' if s.status else 'good'}" for s in given]

        def feed() -> None:
            (target / "data.csv").write_text("\n".join(["t,force,q", *rows, ""]))

        def lose() -> None:
            target.rename(folder / "away")

        def mend() -> None:
            (folder / "away").rename(target)
            rows.append(f"{given[-1].source_time + SECOND},1.0,good")

        yield Rig(
            CsvFolder(target, mapping, period=0.02), given, called(feed),
            refused=("Press.MainForce", 1.0, "kN"), lose=called(lose), mend=called(mend),
            bounded=False,
        )  # fmt: skip

    return rig


async def test_the_report_names_what_a_bad_connector_does_wrong():
    class Forgetful(MemoryConnector):
        """Gives every sample the time zero and accepts every write."""

        def publish(self, samples):
            super().publish([Sample(s.tag, s.value, s.unit, 0, 1) for s in samples])

        async def write(self, tag, value, unit="", key=""):
            raise ValueError("no")

    @asynccontextmanager
    async def rig(queue: int) -> AsyncIterator[Rig]:
        connector = Forgetful(TAGS, queue=queue)
        given = samples()
        yield Rig(connector, given, called(lambda: connector.publish(given)), **WRITES)

    results = {r.name: r for r in await check_connector(rig, limit=0.4)}

    assert results["opens_and_closes_more_than_once"].outcome == "passed"
    assert results["gives_samples_as_they_were"].outcome == "failed"
    assert results["reads_a_write_back"].detail == "ValueError: no"
    assert results["comes_back_after_a_loss"].outcome == "skipped"
    assert not [task for task in asyncio.all_tasks() if "_gather" in repr(task)]

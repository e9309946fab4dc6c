"""Edge node and host application at a real broker: what is published arrives, once."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from galenic.clock import SECOND
from galenic.connect.connector import BAD_OUT_OF_RANGE, TagInfo, WriteResult
from galenic.connect.mqtt.edge import EdgeNode
from galenic.connect.mqtt.host import SparkplugHost
from galenic.connect.mqtt.line import Broker, MqttLine
from galenic.connect.mqtt.payload import Payload, decode
from galenic.connect.mqtt.topic import NAMESPACE
from galenic.connect.mqtt.values import data_type, set_value
from galenic.connect.reconnect import Backoff
from galenic.connect.relay import TcpRelay
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Quality, Sample
from galenic.stages.manufacturing.plant.line import TabletLine

FAST = Backoff(first=0.05, cap=0.2)
START = 1_800_000_000 * SECOND
TAGS = [
    TagInfo("Press.MainForce", "kN", description="mean of a revolution"),
    TagInfo("Press.FillDepth", "mm", writable=True),
    TagInfo("Line.Running", type="bool", writable=True),
    TagInfo("Line.Lot", type="str"),
    TagInfo("Line.Count", "tablet", writable=True, type="int"),
]
FORCE = "Press.MainForce"


class Site:
    """A broker with topics of one test, and relays before it that can be cut."""

    def __init__(self, port: int, folder) -> None:
        self.port = port
        self.folder = folder
        self.group = f"test-{uuid.uuid4().hex[:12]}"
        self.opened: list = []

    async def relay(self) -> TcpRelay:
        relay = TcpRelay("127.0.0.1", self.port)
        await relay.start()
        self.opened.append(relay.stop)
        return relay

    def edge(self, relay: TcpRelay | None = None, tags=TAGS, **options) -> EdgeNode:
        given = {
            "outbox": self.folder / "outbox.db", "tls": False, "backoff": FAST, "keepalive": 1,
            "port": relay.port if relay else self.port, "timeout": 1.0,
            "primary_host": self.group,
        }  # fmt: skip
        edge = EdgeNode("127.0.0.1", self.group, "line1", tags, **(given | options))
        self.opened.append(edge.close)
        return edge

    def host(self, relay: TcpRelay | None = None, **options) -> SparkplugHost:
        given = {
            "tls": False, "backoff": FAST, "keepalive": 1, "timeout": 1.0, "root": "line1",
            "port": relay.port if relay else self.port, "nodes": ["line1"], "reorder": 0.4,
        }  # fmt: skip
        host = SparkplugHost("127.0.0.1", self.group, self.group, **(given | options))
        self.opened.append(host.close)
        return host

    async def spy(self, *filters) -> Spy:
        spy = Spy()
        broker = Broker("127.0.0.1", self.port, tls=False)
        spy.line = await MqttLine.dial(broker, spy.receive)
        self.opened.append(spy.line.hang_up)
        await spy.line.subscribe([(text, 0) for text in filters or [self.topic("#")]])
        return spy

    def topic(self, rest: str) -> str:
        return f"{NAMESPACE}/{self.group}/{rest}"


class Spy:
    """A client that sees what is on the wire."""

    line: MqttLine

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []

    def receive(self, topic: str, data: bytes, retained: bool) -> None:
        self.messages.append((topic, data, retained))

    def of(self, kind: str) -> list:
        return [decode(data, topic) for topic, data, _ in self.messages if f"/{kind}/" in topic]

    def kinds(self) -> list[str]:
        return [topic.split("/")[2] for topic, _, _ in self.messages]


@pytest.fixture
async def site(mosquitto, tmp_path) -> AsyncIterator[Site]:
    site = Site(mosquitto[1], tmp_path)
    yield site
    for close in reversed(site.opened):
        await close()


def force(number: int) -> Sample:
    time = START + number * SECOND // 10
    return Sample(FORCE, float(number), "kN", time, time)


class Consumer:
    """Listens to one tag all the time, as a runner does."""

    def __init__(self, host: SparkplugHost, tags=(FORCE,)) -> None:
        self.samples: list[Sample] = []
        self._task = asyncio.ensure_future(self._listen(host, list(tags)))

    async def _listen(self, host: SparkplugHost, tags: list[str]) -> None:
        async for batch in host.subscribe(tags):
            self.samples += batch

    @property
    def values(self) -> list:
        return [s.value for s in self.samples if s.value is not None]

    async def until(self, count: int) -> None:
        await wait_for(lambda: len(set(self.values)) >= count)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def wait_for(condition, timeout: float = 15.0) -> None:
    """Return when ``condition`` holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(host: SparkplugHost, tags=(FORCE,)) -> AsyncIterator[Consumer]:
    consumer = Consumer(host, tags)
    yield consumer
    await consumer.stop()


def assert_no_history_is_double(samples: list[Sample]) -> None:
    """Historical samples come in order of source time, each once, and none that had come live.

    A birth repeats the present value, live and with the key that it had.
    """
    seen: set[str] = set()
    for sample in samples:
        assert not (sample.historical and sample.key in seen)
        seen.add(sample.key)
    history = [sample for sample in samples if sample.historical]
    assert all(a.source_time <= b.source_time for a, b in pairwise(history))


# -- what arrives -------------------------------------------------------------------------------


async def test_the_samples_of_the_tablet_line_arrive_bit_for_bit(site):
    """A minute of every tag of the virtual plant; only the time of arrival differs."""
    plant = TabletLine(seed=3)
    infos = plant.tags()
    edge, host = site.edge(tags=infos), site.host()
    await edge.open()
    await host.open()
    async with listening(host, [info.tag for info in infos]) as consumer:
        await wait_for(lambda: len({s.tag for s in consumer.samples}) == len(infos))
        given = [s for t in range(61) for s in plant.advance(START + t * SECOND)]
        times = {sample.source_time for sample in given}
        await edge.publish(given)
        await wait_for(
            lambda: len([s for s in consumer.samples if s.source_time in times]) >= len(given)
        )

        got = [
            replace(s, received_time=0, historical=False)
            for s in consumer.samples
            if s.source_time in times
        ]
        browsed = await host.browse()

    assert sorted(got, key=repr) == sorted((replace(s, received_time=0) for s in given), key=repr)
    assert len(given) > 900
    assert {type(s.value) for s in got} >= {float, bool, int, str}
    assert browsed == sorted(infos, key=lambda info: info.tag)


async def test_nothing_is_lost_or_double_while_the_host_is_away(site):
    edge = site.edge()
    await edge.open()
    first = site.host()
    await first.open()
    async with listening(first) as before:
        await edge.publish([force(i) for i in range(10)])
        await before.until(10)
    await first.close()
    await wait_for(lambda: not edge.status.online)

    for i in range(10, 200, 10):
        await edge.publish([force(k) for k in range(i, i + 10)])
    waited = edge.status.waiting
    second = site.host()
    async with listening_after_open(second) as after:
        await after.until(200)
        await edge.publish([force(200)])
        await after.until(201)

    assert waited >= 190
    assert sorted({*before.values, *after.values}) == [float(i) for i in range(201)]
    assert_no_history_is_double(after.samples)


@asynccontextmanager
async def listening_after_open(host: SparkplugHost) -> AsyncIterator[Consumer]:
    await host.open()
    async with listening(host) as consumer:
        yield consumer


@pytest.mark.parametrize("trouble", ["cut", "freeze"])
async def test_nothing_is_lost_or_double_while_the_edge_is_cut_off(site, trouble):
    relay = await site.relay()
    edge, host = site.edge(relay), site.host()
    await edge.open()
    await host.open()
    async with listening(host) as consumer:
        await edge.publish([force(i) for i in range(10)])
        await consumer.until(10)

        getattr(relay, trouble)()
        for i in range(10, 30):
            await edge.publish([force(i)])
        await wait_for(lambda: not edge.status.connected)
        await edge.publish([force(i) for i in range(30, 50)])
        relay.mend()
        await consumer.until(50)
        await edge.publish([force(50)])
        await consumer.until(51)
        await edge.drain()

    assert sorted(set(consumer.values)) == [float(i) for i in range(51)]
    assert_no_history_is_double(consumer.samples)
    assert edge.status.lost == 0
    assert consumer.samples[-1].value == 50.0


async def test_nothing_is_lost_or_double_while_the_host_hears_nothing(site):
    """A half-dead connection of the host: the broker takes what nobody gets."""
    relay = await site.relay()
    edge, host = site.edge(), site.host(relay)
    await edge.open()
    await host.open()
    async with listening(host) as consumer:
        await edge.publish([force(i) for i in range(10)])
        await consumer.until(10)

        relay.freeze()
        for i in range(10, 40):
            await edge.publish([force(i)])
        await edge.drain()
        await wait_for(lambda: not host.status.connected)
        relay.mend()
        await consumer.until(40)

    assert sorted(set(consumer.values)) == [float(i) for i in range(40)]
    assert_no_history_is_double(consumer.samples)
    assert host.repeated > 0
    (gap,) = [g for g in host.status.gaps if g.reason == "connection lost"]
    assert (gap.tag, gap.filled) == (FORCE, True)


async def test_a_gap_whose_beginning_is_lost_stays_a_gap(site):
    """An edge that keeps nothing of what it sent, and whose outbox overflows."""
    relay = await site.relay()
    edge, host = site.edge(resend=0.0, capacity=5), site.host(relay)
    await edge.open()
    await host.open()
    async with listening(host) as consumer:
        await edge.publish([force(1)])
        await consumer.until(1)
        relay.cut()
        await wait_for(lambda: not edge.status.online)
        await edge.publish([force(i) for i in range(2, 30)])
        relay.mend()
        await wait_for(lambda: 25.0 in consumer.values)

    (gap,) = [g for g in host.status.gaps if g.reason == "connection lost"]
    assert not gap.filled
    assert edge.status.lost >= 23


async def test_what_an_edge_had_not_sent_comes_after_its_restart(site):
    host = site.host(nodes=[])
    first = site.edge()
    with pytest.raises(ConnectionLost, match="not open"):
        await first.publish([force(0)])
    await first.open()
    await first.publish([force(i) for i in range(5)])
    await first.close()

    second = site.edge()
    await second.open()
    await host.open()
    async with listening(host) as consumer:
        await consumer.until(5)

    assert sorted(set(consumer.values)) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert second.status.sequence == 1
    assert (await host.read([FORCE]))[0].value == 4.0


async def test_history_never_changes_the_present_value(site):
    edge, host = site.edge(), site.host()
    await edge.open()
    await host.open()
    async with listening(host) as consumer:
        await edge.publish([force(9)])
        await consumer.until(1)
        await edge.publish([replace(force(99), historical=True)])
        await consumer.until(2)

        (held,) = await host.read([FORCE])

    assert held.value == 9.0
    assert [s.historical for s in consumer.samples if s.value == 99.0] == [True]


async def test_an_outbox_that_overflows_says_so(site, caplog):
    edge, host = site.edge(capacity=20), site.host()
    await edge.open()
    await wait_for(lambda: "offline" in edge.status.reason)
    await edge.publish([force(i) for i in range(15)])
    await edge.publish([force(i) for i in range(15, 50)])
    await host.open()
    async with listening(host) as consumer:
        await consumer.until(20)

    assert edge.status.lost == 30
    assert sorted(set(consumer.values)) == [float(i) for i in range(30, 50)]
    assert "is full at 20 samples" in caplog.text


# -- life and death -----------------------------------------------------------------------------


async def test_the_will_makes_everything_stale(site):
    relay = await site.relay()
    edge, host = site.edge(relay), site.host()
    await edge.open()
    await host.open()
    async with listening(host) as consumer:
        await edge.publish([force(1)])
        await consumer.until(1)
        relay.cut()
        await wait_for(lambda: consumer.samples[-1].status == 0x80310000)
        dead = consumer.samples[-1]
        warned = host.status.warnings
        refused = await host.write("Press.FillDepth", 9.0)
        relay.mend()
        await edge.publish([force(2)])
        await wait_for(lambda: consumer.samples[-1].value == 2.0)

    assert (dead.value, dead.quality) == (None, Quality.BAD)
    assert f"node {site.group}/line1 is offline" in warned
    assert (refused.outcome, refused.detail) == (
        "failed", "not sent: its node or device is offline",
    )  # fmt: skip


async def test_births_data_and_deaths_are_as_the_specification_says(site):
    spy = await site.spy()
    edge = site.edge(primary_host="", devices={"Press": [TagInfo("Speed", "rpm")]})
    await edge.open()
    await edge.publish([force(1), Sample("Press/Speed", 40.0, "rpm", START, START)])
    await edge.drain()
    await edge.close()
    await wait_for(lambda: "NDEATH" in spy.kinds())

    assert spy.kinds()[:2] == ["NBIRTH", "DBIRTH"]
    assert spy.kinds()[-1] == "NDEATH"
    assert not any(retained for _, _, retained in spy.messages)
    (birth,), (device,), (death,) = spy.of("NBIRTH"), spy.of("DBIRTH"), spy.of("NDEATH")
    names = [metric.name for metric in birth.metrics]
    assert names == ["bdSeq", "Node Control/Rebirth", *(info.tag for info in TAGS)]
    assert [m.name for m in death.metrics] == ["bdSeq"]
    assert death.metrics[0].long_value == birth.metrics[0].long_value
    assert not death.HasField("seq")
    assert not birth.metrics[1].HasField("alias")
    assert all(m.HasField("datatype") and m.HasField("timestamp") for m in birth.metrics)
    aliases = [m.alias for m in [*birth.metrics[2:], *device.metrics]]
    assert len(set(aliases)) == len(TAGS) + 1
    sequence = [decode(d, t).seq for t, d, _ in spy.messages if "DEATH" not in t]
    assert sequence == list(range(len(sequence)))
    for message in [*spy.of("NDATA"), *spy.of("DDATA")]:
        assert [m.name for m in message.metrics] == [""] * len(message.metrics)
        assert not any(m.HasField("datatype") for m in message.metrics)


async def test_each_connection_has_the_next_number(site):
    spy = await site.spy(site.topic("NBIRTH/#"))
    relay = await site.relay()
    edge = site.edge(relay, primary_host="")
    await edge.open()
    await wait_for(lambda: len(spy.messages) == 1)
    relay.cut()
    await wait_for(lambda: not edge.status.connected)
    relay.mend()
    await wait_for(lambda: len(spy.messages) == 2)

    numbers = [birth.metrics[0].long_value for birth in spy.of("NBIRTH")]
    assert numbers[0] == 0
    assert numbers[1] > numbers[0]


async def test_the_state_of_a_host_is_retained_and_its_will_has_the_same_time(site):
    spy = await site.spy(f"{NAMESPACE}/STATE/{site.group}")
    relay = await site.relay()
    host = site.host(relay, nodes=[])
    await host.open()
    await wait_for(lambda: len(spy.messages) == 1)
    relay.cut()
    await wait_for(lambda: len(spy.messages) == 2)
    late = await site.spy(f"{NAMESPACE}/STATE/{site.group}")
    await wait_for(lambda: len(late.messages) == 1)
    relay.mend()
    await wait_for(lambda: len(spy.messages) == 3)
    await host.close()
    await wait_for(lambda: len(spy.messages) == 4)

    states = [json.loads(data) for _, data, _ in spy.messages]
    assert [state["online"] for state in states] == [True, False, True, False]
    assert states[0]["timestamp"] == states[1]["timestamp"] < states[2]["timestamp"]
    assert (late.messages[0][1:]) == (spy.messages[1][1], True)


async def test_a_late_will_of_the_host_is_answered(site):
    """The broker may publish the death of an earlier connection after the birth of this one."""
    state = f"{NAMESPACE}/STATE/{site.group}"
    spy = await site.spy(state)
    host = site.host(nodes=[])
    await host.open()
    await wait_for(lambda: len(spy.messages) == 1)
    first = json.loads(spy.messages[0][1])
    old = json.dumps({"online": False, "timestamp": first["timestamp"] - 5}).encode()

    await spy.line.publish(state, old, qos=1, retain=True)
    await wait_for(lambda: len(spy.messages) == 3)

    assert json.loads(spy.messages[2][1]) == first


async def test_an_edge_ignores_a_state_older_than_the_last(site):
    state = f"{NAMESPACE}/STATE/{site.group}"
    spy = await site.spy(site.topic("#"))
    edge = site.edge()
    await edge.open()
    online = json.dumps({"online": True, "timestamp": 1000}).encode()
    await spy.line.publish(state, online, qos=1, retain=True)
    await wait_for(lambda: edge.status.online)

    old = json.dumps({"online": False, "timestamp": 999}).encode()
    await spy.line.publish(state, old, qos=1)
    await edge.publish([force(1)])
    await edge.drain()
    assert spy.kinds().count("NDEATH") == 0

    gone = json.dumps({"online": False, "timestamp": 1000}).encode()
    await spy.line.publish(state, gone, qos=1, retain=True)
    await wait_for(lambda: "NDEATH" in spy.kinds())
    await wait_for(lambda: edge.status.connected and "offline" in edge.status.reason)
    assert not edge.status.online
    await spy.line.publish(state, b"", qos=1, retain=True)


async def test_a_gap_is_answered_by_one_rebirth_and_filled(site):
    """A foreign message takes the node's next number, so that the node's own is out of turn."""
    spy = await site.spy(site.topic("NCMD/#"))
    edge, host = site.edge(), site.host()
    await edge.open()
    await host.open()
    async with listening(host) as consumer:
        await edge.publish([force(1)])
        await consumer.until(1)
        await edge.drain()
        await host.write("Press.FillDepth", 9.0)  # its answer comes after all births asked for
        asked = len(spy.messages)
        strange = Payload(timestamp=1, seq=(edge._seq + 3) % 256)

        await spy.line.publish(site.topic("NDATA/line1"), strange.SerializeToString())
        await wait_for(lambda: any(g.reason == "messages are missing" for g in host.status.gaps))
        await wait_for(lambda: len(spy.messages) > asked)
        await edge.publish([force(2)])
        await consumer.until(2)

    (request,) = spy.messages[asked:]
    (metric,) = decode(request[1], "").metrics
    assert (metric.name, metric.boolean_value) == ("Node Control/Rebirth", True)


async def test_a_device_comes_and_goes(site):
    devices = {"Press": [TagInfo("Speed", "rpm")]}
    edge, host = site.edge(devices=devices), site.host(tags={"speed": "line1/Press/Speed"})
    await edge.open()
    await host.open()
    async with listening(host, ["speed", FORCE]) as consumer:
        await edge.publish([Sample("Press/Speed", 40.0, "rpm", START, START)])
        await wait_for(lambda: 40.0 in consumer.values)
        await edge.set_device("Press", False)
        await wait_for(lambda: consumer.samples[-1].status == 0x80310000)
        gone = consumer.samples[-1]
        await edge.publish([Sample("Press/Speed", 41.0, "rpm", START + SECOND, START), force(7)])
        await wait_for(lambda: 7.0 in consumer.values)
        kept = edge.status.waiting
        await edge.set_device("Press", True)
        await wait_for(lambda: 41.0 in consumer.values)

    assert (gone.tag, gone.value) == ("speed", None)
    assert kept == 1


# -- writes -------------------------------------------------------------------------------------


def limited(tag: str, value, unit: str, time: int) -> WriteResult:
    if tag == "Press.FillDepth" and value > 12:
        return WriteResult(BAD_OUT_OF_RANGE, detail="above 12 mm")
    if tag == "Press.FillDepth" and value > 10:
        return WriteResult(read_back=10.0)
    return WriteResult()


async def limited_later(tag: str, value, unit: str, time: int) -> WriteResult:
    await asyncio.sleep(0)
    return limited(tag, value, unit, time)


@pytest.mark.parametrize("handler", [limited, limited_later])
async def test_writes_are_performed_and_read_back(site, handler):
    edge, host = site.edge(on_write=handler), site.host()
    await edge.open()
    await host.open()

    done = [
        await host.write("Press.FillDepth", 9.5, "mm", key="w1"),
        await host.write("Line.Running", True),
        await host.write("Line.Count", -7, "tablet"),
    ]
    refused = await host.write("Press.FillDepth", 13.0, "mm")
    changed = await host.write("Press.FillDepth", 11.0, "mm")
    read_only = await host.write(FORCE, 1.0)

    assert [(r.outcome, r.read_back) for r in done] == [
        ("done", 9.5), ("done", True), ("done", -7),
    ]  # fmt: skip
    assert (refused.outcome, refused.detail) == ("failed", "0x803C0000 above 12 mm")
    assert (changed.outcome, changed.read_back) == ("failed", 10.0)
    assert "instead of 11.0" in changed.detail
    assert "BadNotWritable" in read_only.detail


async def test_without_a_handler_a_node_refuses(site):
    edge, host = site.edge(), site.host()
    await edge.open()
    await host.open()

    receipt = await host.write("Press.FillDepth", 9.0)

    assert (receipt.outcome, receipt.detail) == ("failed", "BadNotWritable 0x803B0000")


class Foreign:
    """A node of another make: it obeys without saying so, and tells only when asked."""

    def __init__(self, site: Site, obeys: bool) -> None:
        self.site, self.obeys = site, obeys
        self.value = 1.0
        self.line: MqttLine
        self.tasks: set[asyncio.Task[None]] = set()

    def receive(self, topic: str, data: bytes, retained: bool) -> None:
        for metric in decode(data, topic).metrics:
            if metric.name == "Node Control/Rebirth":
                task = asyncio.ensure_future(self.birth())
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            elif self.obeys:
                self.value = metric.double_value

    async def birth(self) -> None:
        payload = Payload(timestamp=1_800_000_000_000, seq=0)
        payload.metrics.add(name="bdSeq", datatype=8, long_value=0, timestamp=1)
        metric = payload.metrics.add(name="Setpoint", datatype=10, timestamp=1_800_000_000_000)
        set_value(metric, self.value, data_type(10))
        data = payload.SerializeToString()
        await self.line.publish(self.site.topic("NBIRTH/line1"), data)

    async def start(self) -> None:
        self.line = await MqttLine.dial(
            Broker("127.0.0.1", self.site.port, tls=False), self.receive
        )
        self.site.opened.append(self.line.hang_up)
        await self.line.subscribe([(self.site.topic("NCMD/line1"), 1)])


@pytest.mark.parametrize(("obeys", "outcome"), [(True, "done"), (False, "failed")])
async def test_a_node_that_says_nothing_is_asked_for_a_birth(site, obeys, outcome):
    node, host = Foreign(site, obeys), site.host(timeout=0.5)
    await node.start()
    await host.open()

    receipt = await host.write("Setpoint", 5.0)

    assert (receipt.outcome, receipt.read_back) == (outcome, 5.0 if obeys else 1.0)


async def test_a_write_that_nobody_answers_is_unknown(site):
    node, host = Foreign(site, True), site.host(timeout=0.3)
    await node.start()
    await host.open()
    await host.read(["Setpoint"])
    await node.line.hang_up()

    receipt = await host.write("Setpoint", 5.0)

    assert (receipt.outcome, receipt.detail) == ("unknown", "write: no answer within 0.6 s")


# -- names and mistakes -------------------------------------------------------------------------


async def test_an_unknown_tag_gets_suggestions(site):
    edge, host = site.edge(), site.host()
    await edge.open()
    await host.open()

    with pytest.raises(UnknownName) as error:
        await anext(host.subscribe(["Press.MianForce"]))

    assert "Press.MainForce" in error.value.hint


async def test_a_tag_of_a_node_not_yet_born_is_waited_for(site):
    edge, host = site.edge(), site.host(settle=0.1)
    await host.open()
    with pytest.raises(ConnectionLost, match="not known yet") as error:
        await host.read([FORCE])
    async with listening(host) as consumer:
        await edge.open()
        await edge.publish([force(1)])
        await consumer.until(1)

    assert "is offline" in error.value.hint


async def test_without_a_root_the_node_is_part_of_the_tag(site):
    edge, host = site.edge(), site.host(root="", tags={"force": f"line1/{FORCE}"})
    await edge.open()
    await host.open()

    tags = [info.tag for info in await host.browse()]

    assert tags[0] == "force"
    assert tags[1:] == sorted(f"line1/{info.tag}" for info in TAGS if info.tag != FORCE)


async def test_what_is_no_payload_is_told_once(site):
    edge, host = site.edge(), site.host()
    spy = await site.spy()
    await edge.open()
    await host.open()
    for _ in range(3):
        await spy.line.publish(site.topic("NDATA/line1"), b"\xff\xff\xff", qos=1)
    async with listening(host) as consumer:
        await edge.publish([force(1)])
        await consumer.until(1)

    told = [text for text in host.status.warnings if "not a Sparkplug B payload" in text]
    assert len(told) == 1
    assert [letter.raw for letter in host.tally.letters] == [b"\xff\xff\xff"] * 3


async def test_a_sample_that_does_not_fit_is_refused_whole(site):
    edge = site.edge()
    await edge.open()

    for wrong in (
        Sample("Line.Lot", 3.0, "", START, START),
        Sample("Line.Count", 2.5, "tablet", START, START),
        Sample(FORCE, 1.0, "N", START, START),
    ):
        with pytest.raises(DataError, match=r"."):
            await edge.publish([force(1), wrong])
    with pytest.raises(UnknownName):
        await edge.publish([Sample("Press.Mainforce", 1.0, "kN", START, START)])

    assert edge.status.waiting == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": "a/b"}, "cannot be a group id"),
        ({"nodes": ["line+"]}, "cannot be a node id"),
        ({"reorder": 0}, "reorder above 0"),
        ({"keepalive": 0}, "whole seconds"),
        ({"broker": "mqtt://x"}, "a name or address"),
    ],
)
async def test_a_wrong_setting_is_named(change, message):
    given = {"broker": "127.0.0.1", "group": "g", "tls": False}

    with pytest.raises(DataError) as error:
        SparkplugHost(**(given | change))

    assert message in str(error.value)


async def test_a_broker_that_is_not_there_is_named():
    host = SparkplugHost("127.0.0.1", "g", port=1, tls=False, backoff=FAST)

    with pytest.raises(ConnectionLost, match="refused"):
        await host.open()

    assert host.status.attempts >= 1
    await host.close()

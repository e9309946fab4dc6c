"""OPC UA client and server over real sockets on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from urllib.parse import urlparse

import pytest
import pytest_asyncio

from galenic.clock import SECOND, SystemClock
from galenic.connect.connector import BAD_OUT_OF_RANGE, TagInfo, WriteResult
from galenic.connect.opcua.client import OpcUaConnector
from galenic.connect.opcua.security import Security, create_certificate
from galenic.connect.opcua.server import TagServer
from galenic.connect.reconnect import Backoff
from galenic.connect.relay import TcpRelay
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Quality, Sample

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAGS = [
    TagInfo("Press.MainForce", "kN", description="mean of last revolution"),
    TagInfo("Press.FillDepth", "mm", writable=True),
    TagInfo("Line.Running", type="bool", writable=True),
    TagInfo("Line.Lot", type="str"),
    TagInfo("Line.Heartbeat", "count", writable=True, type="int"),
    TagInfo("Line.Silent", "kN"),
]
FAST = Backoff(first=0.05, cap=0.2)


def limited(tag: str, value, unit: str, time: int) -> WriteResult:
    """A fill depth above 12 mm is refused, one above 10 mm is clamped to 10."""
    if tag == "Press.FillDepth" and value > 12:
        return WriteResult(BAD_OUT_OF_RANGE, detail="above 12 mm")
    if tag == "Press.FillDepth" and value > 10:
        return WriteResult(0x00300000, 10.0, "clamped")
    return WriteResult()


def force(value: float, time: int, quality: Quality = Quality.GOOD, status: int = 0) -> Sample:
    return Sample("Press.MainForce", value, "kN", time, time, quality, status)


def connector(endpoint: str, **options) -> OpcUaConnector:
    defaults = {"security": "None", "publishing": 0.05, "sampling": 0.05, "timeout": 2.0}
    return OpcUaConnector(endpoint, **{**defaults, "backoff": FAST, "alive": 0.5, **options})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[TagServer]:
    async with TagServer(TAGS, on_write=limited, history=3600.0, scanned=False) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forgetful() -> AsyncIterator[TagServer]:
    """A server without history."""
    async with TagServer(TAGS) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(certificates) -> AsyncIterator[TagServer]:
    """A server that signs, encrypts, knows one client certificate and one user."""
    certificate, key = certificates["plant"]
    trusted = (certificates["twin"][0],)
    security = Security("Basic256Sha256", certificate, key, trusted)
    async with TagServer(TAGS, security=security, users={"op": "secret"}) as server:
        yield server


DAYS = count()


@pytest.fixture
def start() -> int:
    """A source time later than that of any test before."""
    return (1_800_000_000 + 86_400 * next(DAYS)) * SECOND


@pytest_asyncio.fixture(loop_scope="module")
async def client(server) -> AsyncIterator[OpcUaConnector]:
    client = connector(server.endpoint)
    await client.open()
    yield client
    await client.close()


async def take(batches, count: int) -> list[Sample]:
    """The first ``count`` samples."""
    samples: list[Sample] = []
    async with asyncio.timeout(10):
        while len(samples) < count:
            samples += await anext(batches)
    return samples


async def test_browse_tells_units_access_types_and_meaning(client):
    assert await client.browse() == sorted(TAGS, key=lambda info: info.tag)


async def test_a_sample_keeps_source_time_status_and_quality(server, client, start):
    batches = client.subscribe(["Press.MainForce"])
    await take(batches, 1)

    await server.publish([force(11.5, start, Quality.UNCERTAIN, 0x40930000)])
    (sample,) = await take(batches, 1)

    assert (sample.value, sample.unit, sample.source_time) == (11.5, "kN", start)
    assert (sample.quality, sample.status) == (Quality.UNCERTAIN, 0x40930000)
    assert 0 <= SystemClock().now() - sample.received_time < 10 * SECOND


async def test_a_tag_without_a_value_yet_is_bad(client):
    (sample,) = await take(client.subscribe(["Line.Silent"]), 1)

    assert (sample.quality, sample.value, sample.status) == (Quality.BAD, None, 0x80320000)


async def test_what_a_device_holds_before_its_first_scan_is_not_shown(start):
    """Zeros of registers that nothing has measured yet would be alarms."""
    tags = ["Press.MainForce", "Line.Silent", "Press.FillDepth", "Line.Lot"]
    zero, nothing = force(0.0, start), Sample("Line.Silent", 3.0, "kN", start, start)
    depth = Sample("Press.FillDepth", 9.0, "mm", start, start)
    lot = Sample("Line.Lot", "A-1", "", start, start)
    async with TagServer(TAGS, on_write=limited) as server:
        client = connector(server.endpoint)
        await client.open()
        await server.publish([zero, nothing, depth, lot])
        held = await client.read(tags)
        await client.write("Press.FillDepth", 9.5, "mm", "key")
        after_a_write = await client.read(tags[:2])
        await server.publish([force(7.5, start + SECOND)])
        scanned = await client.read(tags)
        await server.publish([force(0.0, start + 2 * SECOND)])
        (stopped,) = await client.read(tags[:1])
        await client.close()

    assert [s.value for s in held] == [None, None, 9.0, "A-1"]
    assert {s.status for s in held[:2]} == {0x80320000}
    assert [s.value for s in after_a_write] == [None, None]
    assert [s.value for s in scanned] == [7.5, 3.0, 9.5, "A-1"]
    assert scanned[1].source_time == start
    assert (stopped.value, stopped.quality) == (0.0, Quality.GOOD)


async def test_no_value_between_two_publications_is_lost(server, client, start):
    batches = client.subscribe(["Press.MainForce"])
    await take(batches, 1)

    await server.publish([force(float(i), start + i * 1000) for i in range(10)])

    assert [s.value for s in await take(batches, 10)] == [float(i) for i in range(10)]


async def test_equal_values_with_new_times_are_delivered(server, client, start):
    batches = client.subscribe(["Press.MainForce"])
    await take(batches, 1)

    await server.publish([force(5.0, start), force(5.0, start + SECOND)])

    assert [s.source_time for s in await take(batches, 2)] == [start, start + SECOND]


@pytest.mark.parametrize(
    ("tag", "value", "unit"),
    [
        ("Press.FillDepth", 9.5, "mm"),
        ("Line.Running", True, ""),
        ("Line.Heartbeat", 7, "count"),
    ],
)
async def test_a_write_is_read_back(client, tag, value, unit):
    receipt = await client.write(tag, value, unit, key="w1")

    assert (receipt.outcome, receipt.read_back, receipt.write) == ("done", value, "w1")


@pytest.mark.parametrize(
    ("tag", "value", "detail"),
    [
        ("Press.FillDepth", 13.0, "BadOutOfRange 0x803C0000"),
        ("Press.FillDepth", 11.0, "read back 10.0 instead of 11.0"),
        ("Press.FillDepth", "deep", "expected: a finite float"),
        ("Press.MainForce", 1.0, "BadNotWritable 0x803B0000"),
        ("Line.Heartbeat", -1, "cannot be sent"),
    ],
)
async def test_a_refused_write_says_why(client, tag, value, detail):
    receipt = await client.write(tag, value)

    assert receipt.outcome == "failed"
    assert detail in receipt.detail


async def test_an_unknown_tag_gets_suggestions(client):
    with pytest.raises(UnknownName) as error:
        await anext(client.subscribe(["Press.MianForce"]))

    assert "Press.MainForce" in error.value.hint


async def test_explicit_addresses_need_no_browse(server, start):
    nodes = {
        "force": "ns=2;s=Press.MainForce",
        "depth": "nsu=urn:galenic:tags;s=Press.FillDepth",
        "lot": "/2:Line/2:Lot",
    }
    client = connector(server.endpoint, nodes=nodes, units={"force": "N"})
    await client.open()
    await server.publish([force(3.0, start)])

    samples = await client.read(["force", "depth", "lot"])

    assert [(s.tag, s.unit) for s in samples] == [("force", "N"), ("depth", "mm"), ("lot", "")]
    assert samples[0].value == 3.0
    await client.close()


async def test_a_root_shortens_the_tags(server):
    client = connector(server.endpoint, root="/2:Press")
    await client.open()

    assert [info.tag for info in await client.browse()] == ["FillDepth", "MainForce"]
    await client.close()


async def test_a_revised_value_is_told(server):
    client = connector(server.endpoint, publishing=0.2, sampling=0.05)
    await client.open()
    await anext(client.subscribe(["Press.MainForce"]))

    assert client.status.warnings == (
        "the server revised the sampling interval from 0.05 to 0.2 s",
    )
    await client.close()


async def test_a_server_that_is_not_there_is_named():
    client = connector("opc.tcp://127.0.0.1:1/")

    with pytest.raises(ConnectionLost, match=r"connect.*refused|Connect call failed"):
        await client.open()

    assert client.status.attempts >= 1
    assert not client.status.connected
    await client.close()


async def test_a_port_in_use_is_an_error_with_a_hint(server):
    with pytest.raises(ConnectionLost, match="cannot listen on") as error:
        await TagServer(TAGS, server.endpoint).start()

    assert "another port" in error.value.hint


async def test_missed_values_come_from_history_after_a_cut(server, caplog, start):
    caplog.set_level("INFO")
    relay = TcpRelay("127.0.0.1", urlparse(server.endpoint).port)
    await relay.start()
    client = connector(f"opc.tcp://127.0.0.1:{relay.port}/")
    await client.open()
    batches = client.subscribe(["Press.MainForce"])
    await server.publish([force(1.0, start)])
    await take(batches, 1)

    relay.cut()
    await wait_for(lambda: not client.status.connected)
    await server.publish([force(float(i), start + i * SECOND) for i in range(2, 6)])
    relay.mend()
    await wait_for(lambda: client.status.connected)
    samples = await take(batches, 4)

    assert [s.value for s in samples if s.historical] == [2.0, 3.0, 4.0, 5.0]
    (gap,) = client.status.gaps
    assert (gap.tag, gap.filled) == ("Press.MainForce", True)
    assert caplog.text.count("is lost") == 1
    assert caplog.text.count("is back") == 1
    await client.close()
    await relay.stop()


async def test_without_history_the_gap_is_marked(forgetful, start):
    relay = TcpRelay("127.0.0.1", urlparse(forgetful.endpoint).port)
    await relay.start()
    client = connector(f"opc.tcp://127.0.0.1:{relay.port}/")
    await client.open()
    batches = client.subscribe(["Press.MainForce", "Line.Lot"])
    await forgetful.publish([force(1.0, start), Sample("Line.Lot", "A", "", start, start)])
    await take(batches, 2)

    relay.cut()
    await wait_for(lambda: not client.status.connected)
    await forgetful.publish([force(2.0, start + 60 * SECOND)])
    relay.mend()
    await wait_for(lambda: client.status.connected)

    (gap,) = client.status.gaps
    assert (gap.tag, gap.start, gap.stop) == ("Press.MainForce", start, start + 60 * SECOND)
    assert not gap.filled
    await client.close()
    await relay.stop()


async def test_a_frozen_connection_is_noticed_and_a_write_is_unknown(server):
    relay = TcpRelay("127.0.0.1", urlparse(server.endpoint).port)
    await relay.start()
    client = connector(f"opc.tcp://127.0.0.1:{relay.port}/", timeout=0.5)
    await client.open()
    await client.read(["Press.FillDepth"])
    relay.freeze()

    receipt = await client.write("Press.FillDepth", 9.0, "mm")

    assert (receipt.outcome, receipt.detail) == ("unknown", "write: no answer within 0.5 s")
    await wait_for(lambda: not client.status.connected)
    relay.mend()
    await wait_for(lambda: client.status.connected)
    await client.close()
    await relay.stop()


async def test_a_tag_that_is_gone_after_a_restart_is_bad(start):
    first = TagServer(TAGS)
    await first.start()
    client = connector(first.endpoint)
    await client.open()
    batches = client.subscribe(["Press.MainForce", "Line.Lot"])
    await first.publish([force(1.0, start), Sample("Line.Lot", "A", "", start, start)])
    await take(batches, 2)
    endpoint = first.endpoint
    await first.stop()

    async with TagServer(TAGS[:2], endpoint) as second:
        await second.publish([force(2.0, start + SECOND)])
        await wait_for(lambda: client.status.connected)
        samples = await take(batches, 2)
        await client.close()

    by_tag = {sample.tag: sample for sample in samples}
    assert by_tag["Press.MainForce"].value == 2.0
    assert (by_tag["Line.Lot"].quality, by_tag["Line.Lot"].status) == (Quality.BAD, 0x80340000)


async def test_a_consumer_that_leaves_ends_its_subscription_at_the_server(server):
    client = connector(server.endpoint)
    await client.open()
    batches = client.subscribe(["Press.MainForce"])
    await take(batches, 1)
    service = server._server.iserver.subscription_service
    before = len(service.subscriptions)

    await batches.aclose()

    assert len(service.subscriptions) == before - 1
    await client.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return {name: create_certificate(folder, name) for name in ("plant", "twin", "stranger")}


def options(certificates, who: str = "twin", trusts: str = "plant", **changed) -> dict:
    """What fits the guarded server, with changes."""
    certificate, key = certificates[who]
    fitting = {"security": "Basic256Sha256", "certificate": certificate, "key": key}
    fitting |= {"trusted": [certificates[trusts][0]], "user": "op", "password": "secret"}
    return fitting | changed


async def test_sign_and_encrypt_with_certificates_and_password(guarded, certificates, start):
    client = connector(guarded.endpoint, **options(certificates))
    await client.open()
    await guarded.publish([force(4.0, start)])

    assert [s.value for s in await client.read(["Press.MainForce"])] == [4.0]
    assert client.status.warnings == ()
    await client.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": "wrong"}, "BadUserAccessDenied"),
        ({"user": ""}, "BadIdentityTokenRejected"),
        ({"who": "stranger"}, "BadCertificateUntrusted"),
        ({"trusts": "stranger"}, "not among the trusted"),
        ({"security": "None"}, "No matching endpoints"),
    ],
)
async def test_what_does_not_fit_is_refused(guarded, certificates, change, message):
    client = connector(guarded.endpoint, **options(certificates, **change))

    with pytest.raises(ConnectionLost, match=message):
        await client.open()

    await client.close()


async def test_clear_text_must_be_asked_for():
    with pytest.raises(DataError, match="needs a certificate") as error:
        OpcUaConnector("opc.tcp://127.0.0.1:4840/")

    assert 'security = "None"' in error.value.hint


async def test_a_server_without_security_stays_on_this_machine():
    with pytest.raises(DataError, match="anybody"):
        TagServer(TAGS, "opc.tcp://0.0.0.0:4840/")


async def wait_for(condition, timeout: float = 15.0) -> None:
    """Return when ``condition`` holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.02)

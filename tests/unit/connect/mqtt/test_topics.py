"""Plain topics as tags, and the connection to the broker: sign-in, encryption, sessions."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.clock import SECOND
from galenic.connect.mqtt.line import Broker, MqttLine
from galenic.connect.mqtt.topics import MqttConnector, TopicTag
from galenic.connect.reconnect import Backoff
from galenic.connect.relay import TcpRelay
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Quality

FAST = Backoff(first=0.05, cap=0.2)
NOW = 1_800_000_000 * SECOND
UNCERTAIN = 0x40900000


# -- one message --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "payload", "value"),
    [
        (TopicTag("t"), b"12.5", 12.5),
        (TopicTag("t"), b" -1e3\n", -1000.0),
        (TopicTag("t", type="int"), b"12345678901234567890", 12_345_678_901_234_567_890),
        (TopicTag("t", type="str"), b" as it is ", " as it is "),
        (TopicTag("t", type="bool"), b"ON", True),
        (TopicTag("t", type="bool"), b"0", False),
        (TopicTag("t", value="a.b"), b'{"a": {"b": 3}}', 3.0),
        (TopicTag("t", value="a.1"), b'{"a": [1, 2.5]}', 2.5),
        (TopicTag("t", type="int", value="n"), b'{"n": 7.0}', 7),
        (TopicTag("t", type="bool", value="on"), b'{"on": true}', True),
        (TopicTag("t", type="str", value="lot"), b'{"lot": "A-1"}', "A-1"),
    ],
)
def test_the_value_of_a_message(tag, payload, value):
    sample = tag.read("x", payload, NOW, False)

    assert sample.value == value
    assert type(sample.value) is type(value)


@pytest.mark.parametrize(
    ("tag", "payload", "words"),
    [
        (TopicTag("t"), b"warm", "'warm'"),
        (TopicTag("t"), b"\xff\xfe", "is no text"),
        (TopicTag("t", type="int"), b"1.5", "'1.5'"),
        (TopicTag("t", type="bool"), b"maybe", "'maybe'"),
        (TopicTag("t", value="a"), b"{", "is not JSON"),
        (TopicTag("t", value="a"), b"[" * 100_000, "is not JSON"),
        (TopicTag("t", value="a.b"), b'{"a": 1}', "there is no 'b'"),
        (TopicTag("t", value="a"), b'{"a": "1"}', "'1'"),
        (TopicTag("t", value="a"), b'{"a": true}', "True"),
        (TopicTag("t", value="a"), b'{"a": 1' + b"0" * 400 + b"}", "1000"),
        (TopicTag("t", type="int", value="a"), b'{"a": 1.5}', "1.5"),
        (TopicTag("t", value="a", time="t"), b'{"a": 1, "t": "2026-01-01T00:00:00"}', "offset"),
        (TopicTag("t", value="a", time="t", format="unix"), b'{"a": 1, "t": "x"}', "time 'x'"),
        (TopicTag("t", value="a", time="t"), b'{"a": 1, "t": "9999-01-01T00:00:00Z"}', "9999"),
        (TopicTag("t", value="a", quality="q"), b'{"a": 1, "q": "fine"}', "quality 'fine'"),
    ],
)
def test_what_cannot_be_read_is_said(tag, payload, words):
    with pytest.raises(DataError) as error:
        tag.read("x", payload, NOW, False)

    assert words in error.value.found


@pytest.mark.parametrize(
    ("form", "text", "time"),
    [
        ("iso", '"2026-01-31T09:00:00.123456+01:00"', 1_769_846_400_123_456_000),
        ("unix", "1769846400", 1_769_846_400 * SECOND),
        ("unix", "1769846400.25", 1_769_846_400_250_000_000),
        ("unix_ms", "1769846400123", 1_769_846_400_123_000_000),
        ("unix_us", "1769846400123456", 1_769_846_400_123_456_000),
        ("unix_ns", "1769846400123456789", 1_769_846_400_123_456_789),
    ],
)
def test_the_time_of_a_message(form, text, time):
    tag = TopicTag("t", value="v", time="at.ts", format=form)

    sample = tag.read("x", f'{{"v": 1, "at": {{"ts": {text}}}}}'.encode(), NOW, False)

    assert (sample.source_time, sample.quality) == (time, Quality.GOOD)


@pytest.mark.parametrize(
    ("tag", "payload", "retained", "quality", "status"),
    [
        (TopicTag("t"), b"1", False, Quality.UNCERTAIN, 0),
        (TopicTag("t", time="arrival"), b"1", False, Quality.GOOD, 0),
        (TopicTag("t", time="arrival"), b"1", True, Quality.UNCERTAIN, UNCERTAIN),
        (TopicTag("t"), b"1", True, Quality.UNCERTAIN, UNCERTAIN),
        (TopicTag("t", value="v", time="t", format="unix"), b'{"v":1,"t":5}', True, 0, 0),
        (TopicTag("t", time="arrival"), b"nan", False, Quality.BAD, 0),
        (TopicTag("t", value="v", time="arrival"), b'{"v": null}', False, Quality.BAD, 0),
        (
            TopicTag("t", value="v", quality="q", time="arrival"), b'{"v": 1, "q": "Bad"}',
            False, Quality.BAD, 0x80000000,
        ),
    ],
)  # fmt: skip
def test_the_quality_of_a_message(tag, payload, retained, quality, status):
    sample = tag.read("x", payload, NOW, retained)

    assert (sample.quality, sample.status) == (quality, status)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("vtq"), inner),
    max_leaves=5,
)
messages = st.binary(max_size=30) | json_values.map(lambda v: json.dumps(v).encode())
huge = st.sampled_from([b"1" * 400, b'{"v": 1%s, "t": 1%s}' % (b"0" * 400, b"0" * 400)])


@given(
    messages | huge,
    st.sampled_from(["float", "int", "bool", "str"]),
    st.sampled_from(["", "v", "v.t", "0"]),
    st.sampled_from(["", "arrival", "t"]),
    st.sampled_from(["iso", "unix", "unix_ms", "unix_ns"]),
    st.sampled_from(["", "q"]),
    st.booleans(),
)
def test_any_message_is_a_sample_or_refused(payload, kind, value, time, form, quality, retained):
    tag = TopicTag("t", "", kind, value, time, form, quality)

    try:
        sample = tag.read("x", payload, NOW, retained)
    except DataError:
        return

    assert -(2**63) <= sample.source_time < 2**63
    assert sample.value is None or type(sample.value).__name__ == kind
    assert sample.value == sample.value
    assert sample.value is not None or sample.quality == Quality.BAD


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"x": {"topc": "a"}}, "did you mean 'topic'"),
        ({"x": {"unit": "kN"}}, "the topic is not named"),
        ({"x": "a/#"}, "a topic without + and #"),
        ({"x": ""}, "is no topic"),
        ({"x": {"topic": "a", "type": "number"}}, "float, int, bool, str"),
        ({"x": {"topic": "a", "format": "unix_s"}}, "unix"),
    ],
)
async def test_a_wrong_mapping_is_named(tags, words):
    with pytest.raises((DataError, UnknownName)) as error:
        MqttConnector("127.0.0.1", tags, tls=False)

    assert words in str(error.value)


async def test_a_session_needs_an_identity():
    with pytest.raises(DataError, match="session 60") as error:
        MqttConnector("127.0.0.1", {"x": "a"}, tls=False, session=60)

    assert "client identifier" in error.value.expected


# -- at the broker ------------------------------------------------------------------------------


class Site:
    """Topics of one test."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.name = f"galenic-test/{uuid.uuid4().hex[:12]}"
        self.closing: list = []

    async def device(self, receive=lambda *_: None) -> MqttLine:
        line = await MqttLine.dial(Broker("127.0.0.1", self.port, tls=False), receive)
        self.closing.append(line.hang_up)
        return line

    async def connector(self, port: int = 0, tags=None, **options) -> MqttConnector:
        tags = tags or {"temperature": {"topic": f"{self.name}/t", "unit": "degC"}}
        given = {"tls": False, "keepalive": 1, "timeout": 1.0, "backoff": FAST}
        connector = MqttConnector("127.0.0.1", tags, port=port or self.port, **(given | options))
        self.closing.append(connector.close)
        await connector.open()
        return connector

    async def relay(self) -> TcpRelay:
        relay = TcpRelay("127.0.0.1", self.port)
        await relay.start()
        self.closing.append(relay.stop)
        return relay


@pytest.fixture
async def site(mosquitto) -> AsyncIterator[Site]:
    site = Site(mosquitto[1])
    yield site
    for close in reversed(site.closing):
        await close()


async def take(batches, count: int) -> list:
    """The first ``count`` samples."""
    samples: list = []
    async with asyncio.timeout(10):
        while len(samples) < count:
            samples += await anext(batches)
    return samples


async def wait_for(condition, timeout: float = 15.0) -> None:
    """Return when ``condition`` holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_retained_message_is_not_fresh(site):
    device = await site.device()
    await device.publish(f"{site.name}/t", b"1.5", qos=1, retain=True)
    connector = await site.connector()
    batches = connector.subscribe(["temperature"])

    (old,) = await take(batches, 1)
    await device.publish(f"{site.name}/t", b"2.5", qos=1)
    (new,) = await take(batches, 1)
    await device.publish(f"{site.name}/t", b"", qos=1, retain=True)

    assert (old.value, old.quality, old.status) == (1.5, Quality.UNCERTAIN, UNCERTAIN)
    assert (new.value, new.status) == (2.5, 0)


async def test_several_tags_of_one_message(site):
    tags = {
        name: {"topic": f"{site.name}/j", "value": name, "time": "t", "format": "unix_ns"}
        for name in ("a", "b")
    }
    connector, device = await site.connector(tags=tags), await site.device()
    batches = connector.subscribe(["b", "a"])

    await device.publish(f"{site.name}/j", json.dumps({"a": 1, "b": 2, "t": NOW}).encode(), qos=1)

    got = await take(batches, 2)
    assert [(s.tag, s.value, s.source_time) for s in got] == [("a", 1.0, NOW), ("b", 2.0, NOW)]


async def test_a_message_that_cannot_be_read_is_a_bad_sample_and_told(site, caplog):
    connector, device = await site.connector(), await site.device()
    batches = connector.subscribe(["temperature"])
    for _ in range(3):
        await device.publish(f"{site.name}/t", b"warm", qos=1)

    samples = await take(batches, 3)

    assert {(s.value, s.quality, s.status) for s in samples} == {(None, 2, 0x80740000)}
    told = f"{site.name}/t: 'warm', expected a number (float)"
    assert told in connector.status.warnings
    assert caplog.text.count(told) == 1


async def test_with_a_session_nothing_is_lost(site):
    """What was not acknowledged comes again, with the key that it had."""
    relay = await site.relay()
    options = {"client": f"galenic-test-{uuid.uuid4().hex[:8]}", "session": 60}
    tags = {"temperature": {"topic": f"{site.name}/t", "value": "v", "time": "t", "format": "unix"}}
    connector = await site.connector(relay.port, tags, **options)
    device = await site.device()
    batches = connector.subscribe(["temperature"])
    await device.publish(f"{site.name}/t", b'{"v": 0, "t": 0}', qos=1)
    got = await take(batches, 1)

    relay.cut()
    await wait_for(lambda: not connector.status.connected)
    for i in range(1, 50):
        await device.publish(f"{site.name}/t", f'{{"v": {i}, "t": {i}}}'.encode(), qos=1)
    relay.mend()
    while got[-1].value != 49.0:
        got += await take(batches, 1)

    assert [s.value for s in {s.key: s for s in got}.values()] == [float(i) for i in range(50)]
    assert connector.status.gaps == ()


async def test_without_a_session_a_loss_is_a_gap(site):
    relay = await site.relay()
    connector, device = await site.connector(relay.port), await site.device()
    batches = connector.subscribe(["temperature"])
    await device.publish(f"{site.name}/t", b"0", qos=1)
    (before,) = await take(batches, 1)

    relay.cut()
    await wait_for(lambda: not connector.status.connected)
    relay.mend()
    await wait_for(lambda: connector.status.connected)
    await device.publish(f"{site.name}/t", b"1", qos=1)
    (after,) = await take(batches, 1)

    (gap,) = connector.status.gaps
    assert (gap.tag, gap.start, gap.stop) == (
        "temperature", before.source_time, after.source_time,
    )  # fmt: skip
    assert not gap.filled


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [("float", 0.1, b"0.1"), ("int", 7, b"7"), ("bool", True, b"true"), ("str", "µ", "µ".encode())],
)
async def test_a_write_is_a_plain_message_that_comes_back(site, kind, value, message):
    written: list[bytes] = []
    echo: asyncio.Queue[bytes] = asyncio.Queue()

    def obey(topic: str, data: bytes, retained: bool) -> None:
        written.append(data)
        echo.put_nowait(data)

    tag = {"topic": f"{site.name}/x", "type": kind, "write": f"{site.name}/x/set"}
    connector, device = await site.connector(tags={"x": tag}), await site.device(obey)
    await device.subscribe([(f"{site.name}/x/set", 1)])
    writing = asyncio.ensure_future(connector.write("x", value, key="w"))
    await device.publish(f"{site.name}/x", await echo.get(), qos=1)

    receipt = await writing

    assert (receipt.outcome, receipt.read_back, receipt.write) == ("done", value, "w")
    assert written == [message]


async def test_a_write_that_does_not_come_back_is_unknown(site):
    tag = {"topic": f"{site.name}/x", "write": f"{site.name}/x/set"}
    connector = await site.connector(tags={"x": tag}, timeout=0.2)

    receipt = await connector.write("x", 1.0)

    assert (receipt.outcome, receipt.detail) == ("unknown", "write: no answer within 0.2 s")


async def test_a_tag_without_a_write_topic_is_read_only(site):
    connector = await site.connector()

    receipt = await connector.write("temperature", 1.0)

    assert (receipt.outcome, receipt.detail) == ("failed", "BadNotWritable 0x803B0000")


# -- encryption and sign-in ---------------------------------------------------------------------


def certify(folder: Path, name: str, authority=None):
    """A certificate and key (PEM) of ``name``, signed by itself or by ``authority``."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = (authority[0].subject, authority[1]) if authority else (subject, key)
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        True, False, False, False, False, not authority, not authority, False, False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(not authority, None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
    )
    if authority:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, False)
    certificate = builder.sign(signer, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(encoding))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, mosquitto) -> Iterator[tuple[int, Path]]:
    """A broker of our own that encrypts, wants our certificate, and knows one user."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    program, passwords = (shutil.which(n, path=path) for n in ("mosquitto", "mosquitto_passwd"))
    if program is None or passwords is None:
        pytest.skip("mosquitto or mosquitto_passwd is not installed")
    folder = tmp_path_factory.mktemp("broker")
    authority = certify(folder, "authority")
    for name in ("broker", "twin"):
        certify(folder, name, authority)
    certify(folder, "stranger")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    subprocess.run([passwords, "-c", "-b", folder / "passwords", "op", "secret"], check=True)
    (folder / "broker.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {folder}/passwords\n"
        f"cafile {folder}/authority.pem\ncertfile {folder}/broker.pem\n"
        f"keyfile {folder}/broker.key\nrequire_certificate true\nuser root\n"
    )
    command = [program, "-c", str(folder / "broker.conf")]
    broker = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with broker:
        assert broker.stderr is not None
        for line in broker.stderr:
            if "running" in line or "Error" in line:
                assert "running" in line, line
                break
        yield port, folder
        broker.kill()


def fitting(folder: Path) -> dict:
    return {
        "ca": folder / "authority.pem", "certificate": folder / "twin.pem",
        "key": folder / "twin.key", "user": "op", "password": "secret", "backoff": FAST,
        "timeout": 2.0,
    }  # fmt: skip


async def test_encrypted_with_certificates_and_password(guarded):
    port, folder = guarded
    tags = {"x": {"topic": "x", "time": "arrival"}}
    connector = MqttConnector("127.0.0.1", tags, port=port, **fitting(folder))
    await connector.open()
    given = fitting(folder)
    given.pop("backoff")
    device = await MqttLine.dial(Broker("127.0.0.1", port, **given), lambda *_: None)
    batches = connector.subscribe(["x"])
    big = b"1." + b"0" * 100_000

    await device.publish("x", big, qos=1)
    (sample,) = await take(batches, 1)

    assert sample.value == 1.0
    assert connector.status.warnings == ()
    await device.hang_up()
    await connector.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": "wrong"}, "Not authorized"),
        ({"user": ""}, "Not authorized"),
        ({"ca": None}, "certificate verify failed"),
        ({"certificate": None}, r"connect|connection lost"),
        ({"certificate": "stranger.pem", "key": "stranger.key"}, r"connect|connection lost"),
    ],
)
async def test_what_does_not_fit_is_refused(guarded, change, message):
    port, folder = guarded
    change = {k: folder / v if str(v).startswith("stranger") else v for k, v in change.items()}
    connector = MqttConnector("127.0.0.1", {"x": "x"}, port=port, **(fitting(folder) | change))

    with pytest.raises(ConnectionLost, match=message):
        await connector.open()

    assert not connector.status.connected
    await connector.close()


async def test_the_name_of_the_broker_is_checked(guarded):
    """The certificate is for 127.0.0.1."""
    port, folder = guarded
    connector = MqttConnector("localhost", {"x": "x"}, port=port, **fitting(folder))

    with pytest.raises(ConnectionLost, match=r"certificate verify failed|refused"):
        await connector.open()

    await connector.close()


async def test_clear_text_at_an_encrypting_broker_ends_in_time(guarded):
    port, _ = guarded
    connector = MqttConnector(
        "127.0.0.1", {"x": "x"}, port=port, tls=False, timeout=0.5, backoff=FAST
    )

    with pytest.raises(ConnectionLost, match="connect"):
        await connector.open()

    await connector.close()


async def test_certificates_that_are_no_files_are_named():
    with pytest.raises(DataError, match="cannot use the certificates"):
        MqttConnector("127.0.0.1", {"x": "x"}, ca="nowhere.pem")

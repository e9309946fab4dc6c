"""The Modbus connector against the stack's own server, over real sockets."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from galenic.clock import SECOND, SystemClock
from galenic.connect.modbus.client import ModbusConnector
from galenic.connect.reconnect import Backoff
from galenic.connect.relay import TcpRelay
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Quality

REGISTERS = {
    "Press.Force": {"address": 0, "type": "float32", "unit": "kN"},
    "Press.Count": {"address": 2, "type": "uint32", "word_order": "little", "unit": "tablet"},
    "Press.Depth": {
        "address": 4, "type": "int16", "scale": 0.01, "unit": "mm", "writable": True,
    },
    "Press.Stuck": {"address": 5, "writable": True},
    "Press.Weight": {"address": 6, "type": "float64", "unit": "mg", "writable": True},
    "Press.Running": {"address": 3, "table": "coil", "writable": True},
    "Press.Missing": {"address": 500, "group": "slow"},
}  # fmt: skip


class Device:
    """A press with registers 0 to 19 and coils 0 to 15; register 5 ignores writes."""

    server: ModbusTcpServer
    port: int

    async def start(self) -> None:
        registers = [SimData(0, values=[0] * 20, datatype=DataType.REGISTERS)]
        coils = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        blocks = (coils, coils, registers, registers)
        device = SimDevice(1, blocks, action=self.act)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await self.server.serve_forever(background=True)
        self.port = self.server.transport.sockets[0].getsockname()[1]

    async def act(self, function, start, address, count, current, values):
        if values is not None and function in (6, 16) and address == 5:
            values[:] = [7]
        if values is not None and function == 6 and address == 4 and values[0] > 1200:
            return ExcCodes.ILLEGAL_VALUE
        return None

    async def hold(self, address: int, layout: str, value) -> None:
        data = struct.pack(f">{layout}", value)
        words = list(struct.unpack(f">{len(data) // 2}H", data))
        await self.server.async_setValues(1, 16, address, words)


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device()
    await device.start()
    yield device
    await device.server.shutdown()


@pytest.fixture
async def relay(device) -> AsyncIterator[TcpRelay]:
    relay = TcpRelay("127.0.0.1", device.port)
    await relay.start()
    yield relay
    await relay.stop()


@pytest.fixture
async def press(relay) -> AsyncIterator[ModbusConnector]:
    press = connector(relay.port)
    await press.open()
    yield press
    await press.close()


def connector(port: int, **options) -> ModbusConnector:
    given = {"period": 0.02, "timeout": 0.5, "backoff": Backoff(first=0.05, cap=0.2)}
    registers = options.pop("registers", REGISTERS)
    return ModbusConnector("127.0.0.1", registers, port=port, **(given | options))


async def until(batches, found):
    """The first sample for which ``found`` holds."""
    async with asyncio.timeout(10):
        while True:
            for sample in await anext(batches):
                if found(sample):
                    return sample


async def wait_for(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_polled_values_have_the_time_of_the_poll(device, press):
    await device.hold(0, "f", 11.5)
    await device.server.async_setValues(1, 16, 2, [2, 1])
    before = SystemClock().now()

    batches = press.subscribe(["Press.Force", "Press.Count"])
    force = await until(batches, lambda s: s.value == 11.5)
    count = await until(batches, lambda s: s.tag == "Press.Count")

    assert (force.unit, force.quality, force.status) == ("kN", Quality.GOOD, 0)
    assert before - SECOND < force.source_time <= force.received_time <= SystemClock().now()
    assert count.value == 65_538


async def test_what_the_device_refuses_is_bad_and_told_and_nothing_else_is(press):
    bad = await until(press.subscribe(["Press.Missing"]), lambda s: True)
    good = await until(press.subscribe(["Press.Force"]), lambda s: True)

    assert (bad.value, bad.quality, bad.status) == (None, Quality.BAD, 0x808B0000)
    assert good.quality == Quality.GOOD
    assert press.status.warnings == ("holding 500 to 500: illegal data address (2)",)


async def test_a_value_that_means_none_is_bad(device, press):
    await device.hold(0, "f", float("nan"))

    sample = await until(press.subscribe(["Press.Force"]), lambda s: s.value is None)

    assert (sample.quality, sample.status) == (Quality.BAD, 0x803C0000)


@pytest.mark.parametrize(
    ("tag", "value", "unit", "held"),
    [
        ("Press.Depth", 9.5, "mm", 9.5),
        ("Press.Depth", 0.95, "cm", 9.5),
        ("Press.Depth", 9.504, "mm", 9.5),
        ("Press.Weight", 250.125, "mg", 250.125),
        ("Press.Running", True, "", True),
        ("Press.Stuck", 7, "", 7),
    ],
)
async def test_a_write_is_read_back(press, tag, value, unit, held):
    receipt = await press.write(tag, value, unit, key="w")
    (sample,) = await press.read([tag])

    assert receipt.outcome == "done"
    assert receipt.read_back == pytest.approx(held, rel=1e-15)
    assert sample.value == receipt.read_back


@pytest.mark.parametrize(
    ("tag", "value", "detail"),
    [
        ("Press.Depth", 13.0, "illegal data value (3)"),
        ("Press.Depth", 400.0, "cannot be sent"),
        ("Press.Depth", "deep", "expected: a finite float"),
        ("Press.Stuck", 8, "read back 7 instead of 8"),
        ("Press.Force", 1.0, "BadNotWritable"),
    ],
)
async def test_a_write_that_fails_says_why(press, tag, value, detail):
    receipt = await press.write(tag, value)

    assert receipt.outcome == "failed"
    assert detail in receipt.detail


async def test_a_loss_makes_tags_bad_and_leaves_a_gap(device, relay, press):
    batches = press.subscribe(["Press.Force"])
    await device.hold(0, "f", 1.0)
    last = await until(batches, lambda s: s.value == 1.0)
    relay.cut()
    bad = await until(batches, lambda s: s.value is None)
    await wait_for(lambda: not press.status.connected)
    await device.hold(0, "f", 2.0)
    relay.mend()
    back = await until(batches, lambda s: s.value == 2.0)

    assert (bad.quality, bad.status) == (Quality.BAD, 0x80310000)
    (gap,) = press.status.gaps
    assert last.source_time <= gap.start < gap.stop == back.source_time
    assert not gap.filled


async def test_a_device_that_takes_connections_but_never_answers_is_not_connected(relay):
    relay.freeze()
    press = connector(relay.port, timeout=0.2)

    with pytest.raises(ConnectionLost, match="no answer within"):
        await press.open()

    assert not press.status.connected
    await press.close()


async def test_a_write_without_an_answer_is_unknown(relay, press):
    await until(press.subscribe(["Press.Force"]), lambda s: True)
    relay.freeze()

    receipt = await press.write("Press.Depth", 9.0)

    assert receipt.outcome in ("unknown", "failed")
    if receipt.outcome == "failed":  # a poll noticed it before
        assert "not sent" in receipt.detail


async def test_a_device_that_is_not_there_is_named():
    press = connector(1)

    with pytest.raises(ConnectionLost, match="refused or no answer"):
        await press.open()

    await press.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"registers": {}}, "the register map is empty"),
        ({"groups": {"fast": 1.0}}, "did you mean"),
        ({"period": 0}, "period or timeout of 0"),
        ({"device": 300}, "device 300"),
    ],
)
def test_wrong_settings_are_named(options, words):
    registers = {"x": {"address": 0, "group": "faster"}}

    with pytest.raises((DataError, UnknownName)) as error:
        connector(1, **({"registers": registers} | options))

    assert words in str(error.value)

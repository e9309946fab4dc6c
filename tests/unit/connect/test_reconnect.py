"""The supervisor: waits that grow, attempts without end, one log entry each way."""

from __future__ import annotations

import asyncio
import random

import pytest

from galenic.clock import ManualClock
from galenic.connect.reconnect import Backoff, Supervisor
from galenic.errors import ConnectionLost

QUICK = Backoff(first=0.001, cap=0.002)


class FakeLine:
    def __init__(self) -> None:
        self.cut = asyncio.Event()
        self.freed = False

    async def lost(self) -> str:
        await self.cut.wait()
        return "cut by hand"

    async def hang_up(self) -> None:
        self.freed = True


class Source:
    """Fails to be dialled as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.dials = 0
        self.lines: list[FakeLine] = []

    async def dial(self) -> FakeLine:
        self.dials += 1
        if self.failures:
            self.failures -= 1
            raise OSError("nobody there")
        self.lines.append(FakeLine())
        return self.lines[-1]


def test_waits_double_up_to_the_cap_and_are_spread_by_jitter():
    rng = random.Random(1)
    backoff = Backoff(first=0.5, factor=2, cap=30, jitter=0.3)

    delays = [backoff.delay(attempt, rng) for attempt in (1, 2, 3, 10, 10_000)]

    for delay, full in zip(delays, [0.5, 1.0, 2.0, 30.0, 30.0], strict=True):
        assert 0.7 * full <= delay <= full


async def test_a_loss_and_the_return_are_logged_once_each(caplog):
    caplog.set_level("INFO")
    source = Source()
    supervisor = Supervisor("plc", source.dial, ManualClock(), QUICK)
    await supervisor.open()
    source.failures = 5

    source.lines[0].cut.set()
    await until(lambda: len(source.lines) == 2 and supervisor.connected)

    assert source.dials == 7
    assert source.lines[0].freed
    assert [record.message for record in caplog.records] == [
        "connection plc is lost: cut by hand",
        "connection plc is back after 6 attempts",
    ]
    await supervisor.close()
    assert source.lines[1].freed


async def test_open_raises_but_attempts_go_on():
    source = Source(failures=3)
    supervisor = Supervisor("plc", source.dial, ManualClock(), QUICK)

    with pytest.raises(ConnectionLost, match="nobody there"):
        await supervisor.open()

    await until(lambda: supervisor.connected)
    assert await supervisor.line(1.0) is source.lines[0]
    await supervisor.close()


async def test_the_state_of_the_attempts_is_visible():
    clock = ManualClock(5)
    source = Source(failures=10**9)
    supervisor = Supervisor("plc", source.dial, clock, QUICK)

    with pytest.raises(ConnectionLost):
        await supervisor.open()
    await until(lambda: supervisor.attempts > 3)

    assert (supervisor.connected, supervisor.reason, supervisor.since) == (False, "nobody there", 5)
    with pytest.raises(ConnectionLost, match="is lost: nobody there"):
        await supervisor.line(0.0)
    await supervisor.close()
    with pytest.raises(ConnectionLost, match="is not open"):
        await supervisor.line(0.0)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)

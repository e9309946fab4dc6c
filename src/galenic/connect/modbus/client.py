"""The Modbus TCP connector: polled registers as samples, writes with read-back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from galenic.clock import Clock, nanoseconds
from galenic.connect.connector import (
    DONE,
    FAILED,
    UNKNOWN,
    Value,
    refusal,
    require_tags,
)
from galenic.connect.fed import Fed
from galenic.connect.modbus.registers import (
    COIL,
    DISCRETE,
    HOLDING,
    INPUT,
    Block,
    Register,
    blocks,
    registers_of,
)
from galenic.connect.reconnect import Backoff
from galenic.errors import ConnectionLost, DataError, GalenicError
from galenic.signals import Quality, Receipt, Sample

log = logging.getLogger(__name__)

BAD_NO_COMMUNICATION = 0x80310000
BAD_DEVICE_FAILURE = 0x808B0000
BAD_OUT_OF_RANGE = 0x803C0000
READ_BACKS = 5
READ_BACK_PAUSE = 0.1

# Modbus Application Protocol 1.1b3, 7
EXCEPTIONS = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value",
    4: "device failure", 5: "acknowledge", 6: "device busy", 8: "memory parity error",
    10: "gateway path unavailable", 11: "gateway target did not respond",
}  # fmt: skip


class _Refused(Exception):
    """The device answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{EXCEPTIONS.get(code, 'exception')} ({code})")


class ModbusLine:
    """One life of a connection; one request at a time, each with a time limit."""

    def __init__(self, place: str, timeout: float, device: int) -> None:
        self._place, self._timeout, self._device = place, timeout, device
        self._lock = asyncio.Lock()
        self._gone = asyncio.Event()
        self._reason = ""
        host, _, port = place.rpartition(":")
        self._client = AsyncModbusTcpClient(
            host, port=int(port), timeout=timeout, retries=0, reconnect_delay=0,
            trace_connect=self._changed,
        )  # fmt: skip

    @classmethod
    async def dial(cls, place: str, timeout: float, device: int, probe: Block) -> ModbusLine:
        """Connect and get an answer for ``probe``, be it a refusal, or raise ConnectionLost.

        A gateway, or a firewall, takes connections also when the device behind it is dead.
        """
        line = cls(place, timeout, device)
        try:
            async with asyncio.timeout(timeout * 2):
                connected = await line._client.connect()
        except TimeoutError:
            connected = False
        except BaseException:
            line._client.close()
            raise
        if not connected:
            line._client.close()
            raise ConnectionLost("connect: refused or no answer", where=place)
        try:
            await line.read(probe)
        except _Refused:
            pass
        except BaseException:
            await line.hang_up()
            raise
        return line

    async def read(self, block: Block) -> list[int]:
        """Registers or bits of a block; ConnectionLost without an answer."""
        call: Callable[..., Awaitable[Any]] = {
            HOLDING: self._client.read_holding_registers,
            INPUT: self._client.read_input_registers,
            COIL: self._client.read_coils,
            DISCRETE: self._client.read_discrete_inputs,
        }[block.table]
        answer = await self._ask(
            "read", lambda: call(block.address, count=block.count, device_id=self._device)
        )
        raw = answer.bits if block.table in (COIL, DISCRETE) else answer.registers
        if len(raw) < block.count:
            self.drop(f"read: {len(raw)} values instead of {block.count}")
            raise ConnectionLost(self._reason, where=self._place)
        return [int(value) for value in raw[: block.count]]

    async def write(self, register: Register, raw: list[int]) -> None:
        """Write one register or coil (functions 5, 6), or several registers (16)."""
        client, address, device = self._client, register.address, self._device
        if register.table == COIL:
            await self._ask(
                "write", lambda: client.write_coil(address, bool(raw[0]), device_id=device)
            )
        elif len(raw) == 1:
            await self._ask(
                "write", lambda: client.write_register(address, raw[0], device_id=device)
            )
        else:
            await self._ask("write", lambda: client.write_registers(address, raw, device_id=device))

    async def _ask(self, what: str, request: Callable[[], Awaitable[Any]]) -> Any:
        """An answer that comes too late could be taken for that of the next request: hang up."""
        async with self._lock:
            if self._gone.is_set():
                raise ConnectionLost(f"{what}: {self._reason}", where=self._place)
            try:
                async with asyncio.timeout(self._timeout * 1.5):
                    answer = await request()
            except (ModbusException, TimeoutError, OSError) as error:
                reason = f"{what}: no answer within {self._timeout:g} s"
                self.drop(reason)
                raise ConnectionLost(reason, where=self._place) from error
            except asyncio.CancelledError:
                self.drop(f"{what}: given up")
                raise
        if answer.isError():
            raise _Refused(answer.exception_code)
        return answer

    async def lost(self) -> str:
        """Return the reason when the connection has died."""
        await self._gone.wait()
        return self._reason

    def drop(self, reason: str) -> None:
        """End this life."""
        if not self._gone.is_set():
            self._reason = reason
            self._gone.set()

    async def hang_up(self) -> None:
        """Free the socket."""
        self.drop("closed")
        self._client.close()
        await asyncio.sleep(0)

    def _changed(self, connected: bool) -> None:
        if not connected:
            self.drop("the device closed the connection")


class ModbusConnector(Fed[ModbusLine]):
    """A Modbus TCP device that is polled; comes back by itself.

    Parameters
    ----------
    host : str
        Name or address of the device or gateway.
    registers : mapping, or path of a TOML file
        By tag: a table with the fields of `Register`.
    port : int
        502 by default.
    device : int
        Unit behind a gateway, 1 to 247; 0 or 255 for the device itself.
    period : float [s]
        Time between two polls of a group.
    groups : mapping
        Periods [s] of groups that have another one.
    gap : int
        Unused registers that one request may read along, to save requests.
    timeout : float [s]
        Limit of one request.
    queue : int
        Samples that one subscription may hold back.

    Notes
    -----
    The source time is the middle of the poll: Modbus has neither times nor quality. A request
    without an answer gives bad samples (BadNoCommunication) and a new connection; an exception
    code gives bad samples (BadDeviceFailure) of that request.
    """

    def __init__(
        self,
        host: str,
        registers: Mapping[str, Any] | str | Path,
        *,
        port: int = 502,
        device: int = 1,
        period: float = 1.0,
        groups: Mapping[str, float] | None = None,
        gap: int = 0,
        timeout: float = 1.0,
        queue: int = 100_000,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        name: str = "modbus",
    ) -> None:
        where = f"connection {name}"
        self.registers = registers_of(registers, where)
        self.place = f"{host}:{port}"
        self._device, self._timeout = device, timeout
        used = {register.group for register in self.registers.values()}
        self.periods = dict.fromkeys(used, period) | dict(groups or {})
        _check(where, device, gap, timeout, self.periods, used)
        self._blocks = {
            group: blocks({t: r for t, r in self.registers.items() if r.group == group}, gap)
            for group in used
        }
        infos = {tag: register.info(tag) for tag, register in self.registers.items()}
        super().__init__(name, infos, queue=queue, backoff=backoff, clock=clock)
        self._refused: dict[str, str] = {}
        self._polling: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect and poll; ConnectionLost if the device is not there now, attempts go on."""
        if not self._polling:
            self._polling = [asyncio.create_task(self._poll_for_ever(g)) for g in self._blocks]
        await super().open()

    async def close(self) -> None:
        """Stop polling, end every subscription and the connection."""
        for task in self._polling:
            task.cancel()
        await asyncio.gather(*self._polling, return_exceptions=True)
        self._polling = []
        await super().close()

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Write the registers of a tag, and read them until they hold what was written.

        ``done``: accepted, and the same registers were read back; a scaled integer holds the
        nearest value that it can, which is in the receipt. ``failed``: not sent, refused, or
        something else was read back. ``unknown``: no answer.
        """
        ready = await self._ready_to_write(tag, value, unit, key)
        if isinstance(ready, Receipt):
            return ready
        line, accepted = ready
        register = self.registers[tag]
        try:
            raw = register.encode(accepted)
        except GalenicError as error:
            return refusal(key, tag, self.clock.now(), error)
        try:
            await line.write(register, raw)
            held = await self._read_back(line, tag, raw)
        except _Refused as error:
            return self._receipt(key, tag, FAILED, None, str(error))
        except ConnectionLost as error:
            return self._receipt(key, tag, UNKNOWN, None, error.found)
        found = register.decode(held)
        if held != raw:
            wrong = f"read back {found!r} instead of {register.decode(raw)!r}"
            return self._receipt(key, tag, FAILED, found, wrong)
        return self._receipt(key, tag, DONE, found, "")

    def _warnings(self) -> list[str]:
        """The requests that the device refuses."""
        return list(self._refused.values())

    async def poll(self, group: str = "default", wait: float = 0.0) -> None:
        """Read a group now and deliver its samples.

        ConnectionLost without a connection after ``wait`` [s], or without an answer.
        """
        require_tags([group], self._blocks, f"groups of {self.name}")
        line = await self._line(wait)
        samples: list[Sample] = []
        try:
            for block in self._blocks[group]:
                samples += await self._read(line, block)
        finally:
            self._feeds.deliver(samples)

    async def _dial(self) -> ModbusLine:
        probe = next(iter(self._blocks.values()))[0]
        return await ModbusLine.dial(self.place, self._timeout, self._device, probe)

    async def _poll_for_ever(self, group: str) -> None:
        """Poll at whole periods after the start; what was missed is not made up for."""
        period = nanoseconds(self.periods[group])
        due = self.clock.now()
        lost = False
        while True:
            try:
                await self.poll(group, wait=2 * self._timeout)
                lost = False
            except ConnectionLost:
                if not lost:
                    self._lose(group)
                lost = True
            due = max(due + period, self.clock.now())
            await self.clock.sleep_until(due)

    def _lose(self, group: str) -> None:
        """Without communication every tag of the group is bad, and a gap begins."""
        now = self.clock.now()
        tags = [tag for block in self._blocks[group] for tag in block.tags]
        for tag in tags:
            self._feeds.miss(tag, now, "no communication")
        self._feeds.deliver([self._bad(tag, now, BAD_NO_COMMUNICATION) for tag in tags])

    async def _read(self, line: ModbusLine, block: Block) -> list[Sample]:
        before = self.clock.now()
        where = f"{block.table} {block.address} to {block.address + block.count - 1}"
        try:
            raw = await line.read(block)
        except _Refused as error:
            if where not in self._refused:
                log.warning("connection %s: %s: %s", self.name, where, error)
            self._refused[where] = f"{where}: {error}"
            now = self.clock.now()
            return [self._bad(tag, now, BAD_DEVICE_FAILURE) for tag in block.tags]
        self._refused.pop(where, None)
        after = self.clock.now()
        middle = before + (after - before) // 2
        samples = []
        for tag in block.tags:
            register, unit = self.registers[tag], self._infos[tag].unit
            first = register.address - block.address
            value = register.decode(raw[first : first + register.count])
            quality = Quality.BAD if value is None else Quality.GOOD
            status = BAD_OUT_OF_RANGE if value is None else 0
            samples.append(Sample(tag, value, unit, middle, after, quality, status))
        return samples

    async def _read_back(self, line: ModbusLine, tag: str, expected: list[int]) -> list[int]:
        register = self.registers[tag]
        block = Block(register.table, register.address, register.count, (tag,))
        held: list[int] = []
        for attempt in range(READ_BACKS):
            if attempt:
                await asyncio.sleep(READ_BACK_PAUSE)
            held = await line.read(block)
            if held == expected:
                break
        self._feeds.deliver(await self._read(line, block))
        return held


def _check(
    where: str, device: int, gap: int, timeout: float, periods: Mapping[str, float], used: set[str]
) -> None:
    """Refuse settings that cannot work."""
    if not used:
        raise DataError("the register map is empty", where=where, hint="add a table per tag")
    require_tags(periods, used, f"{where}, groups of the register map")
    wrong = next((p for p in (*periods.values(), timeout) if not p > 0), None)
    if wrong is not None:
        raise DataError(f"a period or timeout of {wrong!r} s", where=where, expected="above 0")
    if not 0 <= device <= 255 or not 0 <= gap <= 100:
        raise DataError(
            f"device {device!r} and gap {gap!r}", where=where,
            expected="device 0 to 255, gap 0 to 100",
        )  # fmt: skip

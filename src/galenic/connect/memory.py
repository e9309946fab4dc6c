"""A connector in this process: driven by hand in tests, or by a simulated plant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from galenic.clock import Clock, SystemClock, nanoseconds
from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    BAD_WAITING_FOR_INITIAL_DATA,
    ConnectorStatus,
    Plant,
    TagInfo,
    Value,
    WriteResult,
    not_open,
    prepare_write,
    refusal,
    require_tags,
)
from galenic.connect.queue import QueueState, SampleQueue
from galenic.errors import ConnectionLost, DataError, GalenicError
from galenic.signals import Quality, Receipt, Sample

WriteHandler = Callable[[str, Value, str, int], WriteResult]


class MemoryConnector:
    """Samples and writes without a network.

    Parameters
    ----------
    tags : sequence of TagInfo, optional
        What the source offers; not needed with ``plant``.
    plant : Plant, optional
        A simulated plant. `advance` drives it; with ``period`` it also drives itself.
    clock : Clock, optional
        Gives the times of receipts and drives the plant; the system clock by default.
    period : float [s], optional
        With a plant: advance it this often to the clock's time while open.
    name : str
        Name of the connection, for messages.
    queue : int
        Samples that one subscription may hold back.

    Notes
    -----
    `lose` and `restore` act out a lost connection: what is published meanwhile is lost, as with a
    source without history.
    """

    def __init__(
        self,
        tags: Sequence[TagInfo] = (),
        *,
        plant: Plant | None = None,
        clock: Clock | None = None,
        period: float | None = None,
        name: str = "memory",
        queue: int = 100_000,
    ) -> None:
        if plant is not None and tags:
            raise DataError(f"connection {name!r} has tags and a plant", hint="give one of them")
        self.name = name
        self.plant = plant
        self.clock = clock or SystemClock()
        self.period = period
        self.capacity = queue
        self._tags = {info.tag: info for info in (plant.tags() if plant else tags)}
        self._handler: WriteHandler | None = plant.write if plant else None
        self._latest: dict[str, Sample] = {}
        self._queues: list[tuple[frozenset[str], SampleQueue]] = []
        self._closed_queues = QueueState()
        self._driver: asyncio.Task[None] | None = None
        self._open = False
        self._connected = False
        self._since = self.clock.now()
        self._reason = "not opened"

    async def open(self) -> None:
        """Start to deliver; with a plant and a period, start to drive it."""
        if self._open:
            return
        self._open = True
        self._set_connected(True, "")
        if self.plant is not None and self.period is not None:
            self._driver = asyncio.create_task(self._drive(self.period))

    async def close(self) -> None:
        """Stop; every subscription ends after what it still holds."""
        if not self._open:
            return
        self._open = False
        self._set_connected(False, "closed")
        for _, queue in self._queues:
            queue.close()
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
            self._driver = None

    def subscribe(self, tags: Sequence[str]) -> AsyncIterator[list[Sample]]:
        """Batches of samples of ``tags``, first the latest known of each."""
        require_tags(tags, self._tags, self.name)
        if not self._open:
            raise not_open(self.name)
        queue = SampleQueue(self.name, self.capacity)
        queue.put([self._latest[tag] for tag in tags if tag in self._latest])
        entry = (frozenset(tags), queue)
        self._queues.append(entry)
        return self._batches(entry)

    async def read(self, tags: Sequence[str]) -> list[Sample]:
        """The latest sample of each tag; bad with status BadWaitingForInitialData before one."""
        require_tags(tags, self._tags, self.name)
        self._require_connection()
        return [self._latest.get(tag) or self._nothing_yet(tag) for tag in tags]

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Pass the write to the handler or plant; without one, hold and publish the value."""
        require_tags([tag], self._tags, self.name)
        now = self.clock.now()
        if not self._connected:
            return refusal(key, tag, now, f"not sent: {self._reason}")
        info = self._tags[tag]
        if not info.writable:
            return refusal(key, tag, now, f"BadNotWritable 0x{BAD_NOT_WRITABLE:08X}")
        try:
            accepted = prepare_write(info, value, unit)
        except GalenicError as error:
            return refusal(key, tag, now, error)
        result = (self._handler or self._hold)(tag, accepted, info.unit, now)
        return Receipt(key, tag, result.outcome, now, result.read_back, result.detail)

    async def browse(self) -> list[TagInfo]:
        """Every tag, by name."""
        return [self._tags[tag] for tag in sorted(self._tags)]

    @property
    def status(self) -> ConnectorStatus:
        """The connection now, with the queues of all subscriptions taken together."""
        queues = sum((queue.state for _, queue in self._queues), self._closed_queues)
        return ConnectorStatus(self._connected, self._since, 0, self._reason, queues)

    def publish(self, samples: Iterable[Sample]) -> None:
        """Deliver ``samples`` as they are to the subscriptions that asked for their tags."""
        known = list(samples)
        named = dict.fromkeys([sample.tag for sample in known])
        require_tags(named, self._tags, self.name)
        if not self._connected:
            return
        self._latest |= {sample.tag: sample for sample in known if not sample.historical}
        for tags, queue in self._queues:
            wants_all = named.keys() <= tags
            queue.put(known if wants_all else [sample for sample in known if sample.tag in tags])

    def advance(self, until: int) -> list[Sample]:
        """Run the plant to ``until`` [ns], publish what it gave, and return it."""
        if self.plant is None:
            raise DataError(f"connection {self.name!r} has no plant", hint="pass plant=...")
        samples = self.plant.advance(until)
        self.publish(samples)
        return samples

    def on_write(self, handler: WriteHandler) -> None:
        """Let ``handler(tag, value, unit, time) -> WriteResult`` perform the writes."""
        self._handler = handler

    def lose(self, reason: str = "connection lost by hand") -> None:
        """Act as if the source were gone."""
        if self._open:
            self._set_connected(False, reason)

    def restore(self) -> None:
        """Act as if the source were back."""
        if self._open:
            self._set_connected(True, "")

    async def _drive(self, period: float) -> None:
        due = self.clock.now()
        while True:
            self.advance(max(due, self.clock.now()))
            due = max(due + nanoseconds(period), self.clock.now())
            await self.clock.sleep_until(due)

    async def _batches(
        self, entry: tuple[frozenset[str], SampleQueue]
    ) -> AsyncIterator[list[Sample]]:
        try:
            async for batch in entry[1].batches():
                yield batch
        finally:
            if entry in self._queues:
                self._queues.remove(entry)
                self._closed_queues += QueueState(lost=entry[1].lost)

    def _hold(self, tag: str, value: Value, unit: str, time: int) -> WriteResult:
        self.publish([Sample(tag, value, unit, time, time)])
        return WriteResult(read_back=value)

    def _nothing_yet(self, tag: str) -> Sample:
        now = self.clock.now()
        code = BAD_WAITING_FOR_INITIAL_DATA
        return Sample(tag, None, self._tags[tag].unit, now, now, Quality.BAD, code)

    def _set_connected(self, connected: bool, reason: str) -> None:
        if connected != self._connected:
            self._since = self.clock.now()
        self._connected = connected
        self._reason = reason

    def _require_connection(self) -> None:
        if not self._open:
            raise not_open(self.name)
        if not self._connected:
            raise ConnectionLost(f"connection {self.name!r} is lost", hint=self._reason)

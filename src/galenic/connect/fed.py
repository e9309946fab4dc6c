"""What connectors have in common that know their tags and are fed by one line.

A `Fed` connector has a table of tags, a `Supervisor` that keeps its line up and `Feeds` that pass
on what the line brings. A subclass says how to dial, and how to write where it can. A `Polled` one
asks its source from time to time; a subclass says what one look is.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from galenic.clock import Clock, SystemClock
from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    BAD_WAITING_FOR_INITIAL_DATA,
    FAILED,
    ConnectorStatus,
    TagInfo,
    Value,
    not_open,
    prepare_write,
    refusal,
    require_tags,
)
from galenic.connect.feeds import Feeds
from galenic.connect.reconnect import Backoff, Line, Supervisor
from galenic.connect.tally import Tally
from galenic.errors import ConnectionLost, GalenicError
from galenic.signals import Quality, Receipt, Sample

log = logging.getLogger(__name__)

L = TypeVar("L", bound=Line)

WAIT = 0.05  # s between looks at a consumer that does not keep up


class Fed(ABC, Generic[L]):
    """Base of connectors with a table of tags and one line.

    Parameters
    ----------
    name : str
        Of the connection, for messages.
    infos : mapping of str to TagInfo
        The tags; a subclass that learns of more adds them.
    queue : int
        Samples that one subscription may hold back.
    """

    def __init__(
        self,
        name: str,
        infos: Mapping[str, TagInfo],
        *,
        queue: int,
        backoff: Backoff | None,
        clock: Clock | None,
    ) -> None:
        self.name = name
        self.clock = clock or SystemClock()
        self.tally = Tally()
        self._infos = dict(infos)
        self._supervisor = Supervisor(name, self._dial, self.clock, backoff)
        self._feeds = Feeds(name, queue)

    @abstractmethod
    async def _dial(self) -> L:
        """Connect; ConnectionLost where the source is not there."""

    def _warnings(self) -> Iterable[str]:
        """What ``status`` warns of."""
        return ()

    async def open(self) -> None:
        """Connect; ConnectionLost if the source is not there now, while attempts go on."""
        await self._supervisor.open()

    async def close(self) -> None:
        """End every subscription and the connection."""
        await self._supervisor.close()
        self._feeds.close()

    def subscribe(self, tags: Sequence[str]) -> AsyncIterator[list[Sample]]:
        """Batches of samples as they come; the latest known of each tag comes first."""
        require_tags(tags, self._infos, self.name)
        if not self._supervisor.is_open:
            raise not_open(self.name)
        return self._feeds.batches(self._feeds.add(list(dict.fromkeys(tags))))

    async def read(self, tags: Sequence[str]) -> list[Sample]:
        """The latest sample of each tag; bad with BadWaitingForInitialData before one."""
        require_tags(tags, self._infos, self.name)
        await self._line()
        return [self._feeds.latest.get(tag) or self._nothing_yet(tag) for tag in tags]

    async def browse(self) -> list[TagInfo]:
        """Every tag, by name."""
        return [self._infos[tag] for tag in sorted(self._infos)]

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Refused, unless a subclass can write."""
        require_tags([tag], self._infos, self.name)
        return refusal(key, tag, self.clock.now(), "this kind of source cannot be written")

    @property
    def status(self) -> ConnectorStatus:
        """The connection now."""
        state = self._supervisor
        return ConnectorStatus(
            state.connected, state.since, state.attempts, state.reason,
            self._feeds.queue, self._feeds.gaps, tuple(self._warnings()),
        )  # fmt: skip

    async def _line(self, wait: float = 0.0) -> L:
        return await self._supervisor.line(wait)  # type: ignore[return-value]

    async def _ready_to_write(
        self, tag: str, value: Value, unit: str, key: str
    ) -> tuple[L, Value] | Receipt:
        """The line and the value as the tag holds it, or the receipt of a write not sent."""
        require_tags([tag], self._infos, self.name)
        info = self._infos[tag]
        try:
            line = await self._line()
        except ConnectionLost as error:
            return self._receipt(key, tag, FAILED, None, f"not sent: {error.found}")
        if not info.writable:
            return self._receipt(key, tag, FAILED, None, f"BadNotWritable 0x{BAD_NOT_WRITABLE:08X}")
        try:
            return line, prepare_write(info, value, unit)
        except GalenicError as error:
            return refusal(key, tag, self.clock.now(), error)

    def _bad(self, tag: str, now: int, status: int) -> Sample:
        return Sample(tag, None, self._infos[tag].unit, now, now, Quality.BAD, status)

    def _nothing_yet(self, tag: str) -> Sample:
        return self._bad(tag, self.clock.now(), BAD_WAITING_FOR_INITIAL_DATA)

    def _receipt(
        self, key: str, tag: str, outcome: str, held: Value | None, detail: str
    ) -> Receipt:
        return Receipt(key, tag, outcome, self.clock.now(), held, detail)


class Polled(Fed[L]):
    """Base of connectors that look at their source once every ``period`` [s] while they are open.

    Parameters
    ----------
    period : float [s]
        Time between two looks; while the line is down a look waits for it, up to twice as long.
    """

    def __init__(
        self,
        name: str,
        infos: Mapping[str, TagInfo],
        *,
        period: float,
        queue: int,
        backoff: Backoff | None,
        clock: Clock | None,
    ) -> None:
        super().__init__(name, infos, queue=queue, backoff=backoff, clock=clock)
        self._period = period
        self._polling: asyncio.Task[None] | None = None

    @abstractmethod
    async def look(self, wait: float = 0.0) -> int:
        """Ask for what is new now, and deliver it; how much it was.

        Parameters
        ----------
        wait : float [s]
            How long to wait for a line that is down.
        """

    async def open(self) -> None:
        """Connect and follow; ConnectionLost if the source is not there now, attempts go on."""
        if self._polling is None:
            self._polling = asyncio.create_task(self._follow())
        await super().open()

    async def close(self) -> None:
        """Stop, and end every subscription."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
            self._polling = None
        await super().close()

    async def _follow(self) -> None:
        while True:
            try:
                await self.look(wait=2 * self._period)
            except ConnectionLost as error:
                log.debug("connection %s: %s", self.name, error.found)
            await asyncio.sleep(self._period)

    async def _room(self) -> None:
        """Return when the consumers have taken enough for more to be asked for."""
        while self._feeds.is_filling:
            await asyncio.sleep(WAIT)

"""A connector that plays a record again, at any speed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from galenic.clock import SECOND, Clock, SystemClock
from galenic.connect.connector import (
    BAD_WAITING_FOR_INITIAL_DATA,
    ConnectorStatus,
    TagInfo,
    Value,
    not_open,
    refusal,
    require_tags,
)
from galenic.connect.files.mapping import CsvMapping
from galenic.connect.files.reader import CsvReader
from galenic.connect.files.recorded import Recorded
from galenic.errors import DataError
from galenic.signals import Quality, Receipt, Sample, Signal

MOST_IN_BATCH = 1000


class ReplayConnector:
    """Gives the samples of a record with their original times and keys.

    Parameters
    ----------
    record : iterable of Signal
        In order of arrival; what is no sample is passed over. It is iterated once per
        subscription, so a list or a reader, not a generator.
    tags : sequence of TagInfo, optional
        What the record holds; found by one pass where it is not given.
    speed : float
        1 plays as it was, 20 twenty times as fast, infinity (default) as fast as the consumer
        takes it.
    name : str
        Of the connection, for messages.

    Notes
    -----
    A subscription pulls from the record, so nothing queues up and nothing is lost, however slow
    the consumer. It ends with the record.
    """

    def __init__(
        self,
        record: Iterable[Signal],
        tags: Sequence[TagInfo] | None = None,
        *,
        speed: float = math.inf,
        clock: Clock | None = None,
        name: str = "replay",
    ) -> None:
        if not speed > 0:
            raise DataError(f"speed {speed!r}", where=f"connection {name}", expected="above 0")
        if iter(record) is record:
            raise DataError(
                "a record that can be read only once", where=f"connection {name}",
                hint="pass a list or a reader",
            )  # fmt: skip
        self.name = name
        self.speed = speed
        self.record = record
        self.clock = clock or SystemClock()
        self._given = tags
        self._tags: dict[str, TagInfo] | None = None
        self._latest: dict[str, Sample] = {}
        self._closed = asyncio.Event()
        self._closed.set()
        self._since = self.clock.now()
        self._reason = "not opened"

    @classmethod
    def of_file(
        cls,
        path: str | Path,
        mapping: CsvMapping | Mapping[str, Any] | str | Path | None = None,
        *,
        speed: float = math.inf,
        clock: Clock | None = None,
        name: str = "replay",
    ) -> ReplayConnector:
        """Of a CSV file with its mapping (or the TOML file of it), a segment or a journal."""
        if mapping is None:
            return cls(Recorded(Path(path)), speed=speed, clock=clock, name=name)
        return cls(CsvReader(path, mapping), speed=speed, clock=clock, name=name)

    async def open(self) -> None:
        """Ready to play."""
        if self._closed.is_set():
            self._closed.clear()
            self._since = self.clock.now()
            self._reason = ""

    async def close(self) -> None:
        """End every subscription."""
        if not self._closed.is_set():
            self._closed.set()
            self._since = self.clock.now()
            self._reason = "closed"

    def subscribe(self, tags: Sequence[str]) -> AsyncIterator[list[Sample]]:
        """The samples of ``tags``, those that arrived at one time in one batch."""
        require_tags(tags, self._known(), self.name)
        if self._closed.is_set():
            raise not_open(self.name)
        return self._play(frozenset(tags))

    async def read(self, tags: Sequence[str]) -> list[Sample]:
        """The last sample played of each tag; bad before the first."""
        require_tags(tags, self._known(), self.name)
        if self._closed.is_set():
            raise not_open(self.name)
        return [self._latest.get(tag) or self._nothing_yet(tag) for tag in tags]

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Refused: the past cannot be written."""
        require_tags([tag], self._known(), self.name)
        return refusal(key, tag, self.clock.now(), "a record cannot be written")

    async def browse(self) -> list[TagInfo]:
        """Every tag of the record, by name."""
        known = self._known()
        return [known[tag] for tag in sorted(known)]

    @property
    def status(self) -> ConnectorStatus:
        """Connected while open."""
        return ConnectorStatus(not self._closed.is_set(), self._since, 0, self._reason)

    async def _play(self, tags: frozenset[str]) -> AsyncIterator[list[Sample]]:
        origin: tuple[int, int] | None = None
        batch: list[Sample] = []
        for signal in self.record:
            if not isinstance(signal, Sample) or signal.tag not in tags:
                continue
            if batch and (
                signal.received_time != batch[0].received_time or len(batch) >= MOST_IN_BATCH
            ):
                origin = origin or (time.monotonic_ns(), batch[0].received_time)
                if not await self._due(origin, batch):
                    return
                yield batch
                batch = []
            batch.append(signal)
        origin = origin or (time.monotonic_ns(), batch[0].received_time if batch else 0)
        if batch and await self._due(origin, batch):
            yield batch

    async def _due(self, origin: tuple[int, int], batch: list[Sample]) -> bool:
        """Wait until the batch is due; False when closed before."""
        started, first = origin
        wait = 0.0
        if math.isfinite(self.speed):
            ahead = (batch[0].received_time - first) / self.speed
            wait = (started + ahead - time.monotonic_ns()) / SECOND
        if wait <= 0:
            await asyncio.sleep(0)
        else:
            try:
                async with asyncio.timeout(wait):
                    await self._closed.wait()
            except TimeoutError:
                pass
        self._latest.update((sample.tag, sample) for sample in batch)
        return not self._closed.is_set()

    def _known(self) -> dict[str, TagInfo]:
        if self._tags is None:
            found = self._given if self._given is not None else _tags_of(self.record)
            self._tags = {info.tag: info for info in found}
        return self._tags

    def _nothing_yet(self, tag: str) -> Sample:
        now = self.clock.now()
        status = BAD_WAITING_FOR_INITIAL_DATA
        return Sample(tag, None, self._known()[tag].unit, now, now, Quality.BAD, status)


def _tags_of(record: Iterable[Signal]) -> list[TagInfo]:
    """Tags with unit and type, from the first sample of each that has a value."""
    if isinstance(record, CsvReader):  # its mapping tells without reading the file
        return record.tags()
    found: dict[str, TagInfo] = {}
    typed: set[str] = set()
    for signal in record:
        if not isinstance(signal, Sample) or signal.tag in typed:
            continue
        kinds = {bool: "bool", str: "str", int: "int"}
        found[signal.tag] = TagInfo(
            signal.tag, signal.unit, type=kinds.get(type(signal.value), "float")
        )
        if signal.value is not None:
            typed.add(signal.tag)
    return list(found.values())

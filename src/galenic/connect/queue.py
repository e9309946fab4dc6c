"""A bounded queue of samples that never loses one silently."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import chain

from galenic.clock import SECOND
from galenic.signals import Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueState:
    """How full a queue is: samples waiting, samples it holds at most, samples lost, age [s]."""

    waiting: int = 0
    capacity: int = 0
    lost: int = 0
    age: float = 0.0

    def __add__(self, other: QueueState) -> QueueState:
        return QueueState(
            self.waiting + other.waiting,
            self.capacity + other.capacity,
            self.lost + other.lost,
            max(self.age, other.age),
        )


class SampleQueue:
    """First in, first out, up to ``capacity`` samples; when full the oldest are lost and counted.

    The oldest go because a twin that lags is better served by what is true now; the count is in
    `state` and the loss is logged once per episode.
    """

    def __init__(self, name: str, capacity: int = 100_000) -> None:
        self.name = name
        self.capacity = capacity
        self.lost = 0
        self._batches: deque[tuple[int, list[Sample]]] = deque()
        self._count = 0
        self._ready = asyncio.Event()
        self._closed = False
        self._error: BaseException | None = None
        self._losing = False

    def put(self, samples: Iterable[Sample]) -> None:
        """Add ``samples`` without waiting."""
        batch = list(samples)
        if batch:
            self._batches.append((time.monotonic_ns(), batch))
            self._count += len(batch)
            self._ready.set()
        if self._count > self.capacity:
            self._drop(self._count - self.capacity)

    def _drop(self, count: int) -> None:
        """Lose the oldest."""
        self._count_lost(count)
        self._count -= count
        while count:
            since, batch = self._batches.popleft()
            if len(batch) > count:
                self._batches.appendleft((since, batch[count:]))
            count -= min(count, len(batch))

    def close(self, error: BaseException | None = None) -> None:
        """End the iteration once what waits has been taken; ``error`` is then raised there."""
        self._closed = True
        self._error = error
        self._ready.set()

    async def batches(self) -> AsyncIterator[list[Sample]]:
        """Everything that waits, as one list at a time, until ``close``."""
        while True:
            await self._ready.wait()
            if self._batches:
                batch = list(chain.from_iterable(batch for _, batch in self._batches))
                self._batches.clear()
                self._count = 0
                self._losing = False
                if not self._closed:
                    self._ready.clear()
                yield batch
            elif self._closed:
                if self._error is not None:
                    raise self._error
                return
            else:
                self._ready.clear()

    @property
    def state(self) -> QueueState:
        """How full the queue is now."""
        age = (time.monotonic_ns() - self._batches[0][0]) / SECOND if self._batches else 0.0
        return QueueState(self._count, self.capacity, self.lost, age)

    def _count_lost(self, count: int) -> None:
        self.lost += count
        if not self._losing:
            log.warning(
                "queue of %s is full at %d samples: oldest are lost", self.name, self.capacity
            )
        self._losing = True

"""Tags that are recorded and belong to no twin: from a connection to the records, in batches.

What waits is bounded. While the records take more time than the source leaves, samples wait in the
connector's queue, whose age and losses are shown; nothing is taken out of it that there is no
room for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from galenic.errors import ConnectionLost
from galenic.signals import Sample
from galenic.twin.connections import RETRY, Connections, as_journalled
from galenic.twin.keeper import Keeper
from galenic.twin.kinds import RecordSpec
from galenic.twin.problems import Problems

ROOM = 50_000
"""Samples that wait here at most."""

COMMIT = 5_000
"""Samples that one commit takes at most."""

PLAIN = frozenset({float, bool, int, str, type(None)})


@dataclass
class Recording:
    """Records one connection.

    Parameters
    ----------
    spec : RecordSpec
    connections, keeper, problems
        Where samples come from and go to, and where trouble is told.
    read : callable
        The tags that twins read from a connection: they are recorded with their twins.
    """

    spec: RecordSpec
    connections: Connections
    keeper: Keeper
    problems: Problems
    read: Callable[[str], Sequence[str]]
    rows: int = 0
    _waiting: list[tuple[float, list[Sample]]] = field(default_factory=list)
    _count: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def to_dict(self) -> dict[str, Any]:
        """Samples filed so far and waiting, and how long the oldest has waited [s]."""
        age = time.monotonic() - self._waiting[0][0] if self._waiting else 0.0
        return {"rows": self.rows, "waiting": self._count, "age": round(age, 3)}

    async def listen(self) -> None:
        """Take what the connection gives, for ever; a lost one is asked again."""
        name = self.spec.connection
        connector = self.connections[name]
        while True:
            try:
                offered = [info.tag for info in await connector.browse()]
                own = set(self.read(name))
                tags = [tag for tag in self.spec.chosen(offered) if tag not in own]
                async for batch in connector.subscribe(tags):
                    self.connections.book.took(name, batch, {})
                    await self._put(batch)
                if getattr(connector, "ends", False):
                    return
            except ConnectionLost as error:
                self.problems.tell(name, str(error))
            await asyncio.sleep(RETRY)

    async def _put(self, batch: list[Sample]) -> None:
        while self._count >= ROOM:
            self._changed.clear()
            await self._changed.wait()
        if not PLAIN.issuperset({type(sample.value) for sample in batch}):
            batch = [as_journalled(sample) for sample in batch]
        now = time.monotonic()
        for start in range(0, len(batch), COMMIT):
            self._waiting.append((now, batch[start : start + COMMIT]))
        self._count += len(batch)
        self._idle.clear()
        self._changed.set()

    async def file(self) -> None:
        """Commit what waits, as much as there is at a time, for ever."""
        while True:
            while not self._waiting:
                self._idle.set()
                self._changed.clear()
                await self._changed.wait()
            samples: list[Sample] = []
            taken = 0
            for _, batch in self._waiting:
                if samples and len(samples) + len(batch) > COMMIT:
                    break
                samples += batch
                taken += 1
            await self.keeper.take(samples)
            del self._waiting[:taken]
            self._count -= len(samples)
            self.rows += len(samples)
            self._changed.set()

    async def emptied(self) -> None:
        """Return when nothing waits any more."""
        if self._waiting:
            await self._idle.wait()

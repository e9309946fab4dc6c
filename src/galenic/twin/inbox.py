"""The inbox: events in order of arrival, taken out in groups, and who waits for their effects."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from galenic.signals import Effect, Event, Record

SIZE = 20_000
MOST = 1000


@dataclass
class Item:
    """An event on its way in: where it came from, and who waits for its effects.

    ``said`` is entered in the ledger with the event, once for each twin that it is for.
    """

    event: Event
    source: str = ""
    twin: str = ""
    done: asyncio.Future[list[Effect]] | None = None
    said: Record | None = None

    def answer(self, effects: list[Effect]) -> None:
        """Tell who waits; the first answer counts."""
        if self.done is not None and not self.done.done():
            self.done.set_result(effects)


class Inbox:
    """Where connectors, clock, workers, devices and people put events.

    Parameters
    ----------
    linger : float [s]
        How long it waits for more events after the first of a group.
    """

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._items: asyncio.Queue[Item] = asyncio.Queue(maxsize=SIZE)
        self._waiting: set[asyncio.Future[list[Effect]]] = set()

    def __len__(self) -> int:
        return self._items.qsize()

    async def put(self, event: Event, source: str = "", twin: str = "") -> None:
        """Bring an event in; waits where there is no room."""
        await self._items.put(Item(event, source, twin))

    async def ask(
        self, event: Event, source: str, twin: str, said: Record | None = None
    ) -> list[Effect]:
        """Bring an event in; its effects, once they are recorded."""
        item = Item(event, source, twin, asyncio.get_running_loop().create_future(), said)
        assert item.done is not None
        self._waiting.add(item.done)
        item.done.add_done_callback(self._waiting.discard)
        await self._items.put(item)
        return await item.done

    async def group(self) -> list[Item]:
        """The next events: at most 1,000, or what came within a few milliseconds."""
        items = [await self._items.get()]
        await asyncio.sleep(self._linger)
        while len(items) < MOST and not self._items.empty():
            items.append(self._items.get_nowait())
        return items

    def finished(self, items: list[Item]) -> None:
        """A group has been carried out."""
        for _ in items:
            self._items.task_done()

    async def emptied(self) -> None:
        """Return when all that came in has been carried out."""
        await self._items.join()

    def fail(self, error: Exception) -> None:
        """Raise ``error`` at everybody who waits."""
        for waiting in list(self._waiting):
            if not waiting.done():
                waiting.set_exception(error)

"""Writes on their way out: one after the other for each connection, each with its outcome.

The gate is asked again just before a write; its intention is in the ledger already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from galenic.clock import Clock
from galenic.signals import Receipt, Write
from galenic.twin import writer
from galenic.twin.inbox import Inbox
from galenic.twin.keeper import Keeper
from galenic.twin.live import Live
from galenic.twin.twin import Twin


class Writes:
    """Decided writes by connection, and what becomes of them.

    Parameters
    ----------
    twins : mapping of id to Twin
    connectors : mapping of name to Connector
    keeper, inbox, live
        Where outcomes go: the ledger, the twin, the pages.
    address : callable (twin, tag)
        What a tag of a twin is called at its connection.
    """

    def __init__(
        self,
        twins: Mapping[str, Twin],
        connectors: Mapping[str, Any],
        keeper: Keeper,
        inbox: Inbox,
        live: Live,
        clock: Clock,
        address: Callable[[str, str], str],
    ) -> None:
        self._twins = twins
        self._connectors = connectors
        self._keeper = keeper
        self._inbox = inbox
        self._live = live
        self._clock = clock
        self._address = address
        self._decided: dict[str, asyncio.Queue[tuple[str, Write]]] = {}

    def put(self, id: str, write: Write) -> None:
        """A write that a twin has decided and the ledger has as intended."""
        name = self._twins[id].channels[write.tag].binding.connection
        self._queue(name).put_nowait((id, write))

    def _queue(self, name: str) -> asyncio.Queue[tuple[str, Write]]:
        return self._decided.setdefault(name, asyncio.Queue())

    async def perform(self, name: str) -> None:
        """Carry out the writes of a connection in the order in which they were decided."""
        while True:
            id, write = await self._queue(name).get()
            refusal = self._twins[id].levels.refusal(write)
            now = self._clock.now()
            if refusal:
                receipt = Receipt(write.key, write.tag, "refused", now, detail=refusal)
            else:
                sent = replace(write, tag=self._address(id, write.tag))
                receipt = await writer.perform(self._connectors[name], sent, now)
                receipt = replace(receipt, tag=write.tag)
            if write.who != "heartbeat":
                await self._keeper.enter(writer.outcome(id, write, receipt))
                message = {"type": "receipt", "id": id, "receipt": receipt.to_dict()}
                self._live.publish(message)
            await self._inbox.put(receipt, twin=id)

    async def reconcile(self) -> None:
        """Intentions that a crash left open are compared with the device, never repeated."""
        for entry in await self._keeper.open_intentions():
            twin = self._twins.get(entry.subject)
            channel = twin.channels.get(entry.detail["tag"]) if twin else None
            connector = self._connectors.get(channel.binding.connection) if channel else None
            for receipt in await writer.reconcile(connector, [entry], self._clock.now()):
                fields = {k: v for k, v in entry.detail.items() if k != "kind"}
                record = writer.outcome(entry.subject, Write(**fields), receipt)
                await self._keeper.enter(record)
                if twin is not None:
                    await self._inbox.put(receipt, twin=twin.id)

"""Samples of connections for the instances of fleets: which tag is of which instance.

A fleet says how its tags are called at the source, as ``{id}/{tag}``. One connection then feeds
every instance; what is new at the source, or was registered since, is listened to as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from galenic.connect.connector import TagInfo
from galenic.errors import ConnectionLost
from galenic.signals import Sample
from galenic.twin.binding import MANUAL
from galenic.twin.connections import RETRY, Connections, as_journalled
from galenic.twin.fleet import Fleet, Fleets
from galenic.twin.fleet_table import MARKS, PATTERN, address
from galenic.twin.inbox import Inbox
from galenic.twin.problems import Problems

LOOK = 10.0  # s between looks for tags that are new
Reader = tuple[str, str, str]  # fleet, instance, tag of the definition


class _Names:
    """The tags of one fleet at one connection."""

    def __init__(self, fleet: Fleet, connection: str) -> None:
        self.fleet = fleet
        self.units = {
            binding.tag: binding.unit
            for binding in fleet.definition.bindings
            if binding.connection == connection and binding.readable
        }
        tags = "|".join(map(re.escape, self.units))
        text = re.escape(fleet.spec.tags)
        text = text.replace(re.escape(MARKS[0]), r"(?P<id>[A-Za-z0-9][A-Za-z0-9_.\-]*)")
        self._pattern = re.compile(text.replace(re.escape(MARKS[1]), f"(?P<tag>{tags})"))

    def read(self, name: str) -> tuple[str, str] | None:
        """Instance and tag of a name at the source, whether there is such an instance or not."""
        match = self._pattern.fullmatch(name)
        return None if match is None else (match["id"], match["tag"])


class FleetSources:
    """The connections from which fleets are fed."""

    def __init__(
        self, fleets: Fleets, connections: Connections, inbox: Inbox, problems: Problems
    ) -> None:
        self._fleets = fleets
        self._connections = connections
        self._inbox = inbox
        self._problems = problems

    def names(self) -> list[str]:
        """The connections that some fleet reads."""
        return [name for name in self._connections if any(self._of(name))]

    def _of(self, connection: str) -> Iterator[_Names]:
        if connection == MANUAL:
            return
        for fleet in (f for f in self._fleets.fleets.values() if f.spec.tags):
            names = _Names(fleet, connection)
            if names.units:
                yield names

    def address(self, id: str, tag: str) -> str:
        """What a tag of a twin is called at its source; never as that of another twin."""
        if not self._fleets.known(id):
            return tag
        fleet, _, name = id.partition(":")
        return address(self._fleets.fleets[fleet].spec.tags or PATTERN, name, tag)

    def wanted(self, connection: str, offered: Iterable[str]) -> dict[str, Reader]:
        """Which of the tags of a connection are of which instance; problems are told."""
        found: dict[str, Reader] = {}
        offered = list(offered)
        for names in self._of(connection):
            fleet, strangers = names.fleet, []
            for name in offered:
                read = names.read(name)
                if read is None:
                    continue
                id = fleet.instance(read[0])
                if id in fleet.values:
                    found[name] = (fleet.spec.id, id, read[1])
                else:
                    strangers.append(name)
            self._tell(connection, fleet.spec.id, strangers, any(names.read(n) for n in offered))
        return found

    def _tell(self, connection: str, fleet: str, strangers: list[str], any_fits: bool) -> None:
        key = f"fleet {fleet}"
        if strangers:
            words = f"{len(strangers)} tags of {connection} are of no instance, as {strangers[0]}"
            self._problems.tell(key, f"{words}; add it, or leave it out at the source")
        elif not any_fits:
            words = f"no tag of {connection} is called as {self._fleets.fleets[fleet].spec.tags}"
            self._problems.tell(key, words)
        else:
            self._problems.solved(key)

    async def listen(self, connection: str) -> None:
        """Bring the samples of a connection to the instances, for ever."""
        known: dict[str, Reader] = {}
        takers: list[asyncio.Task[None]] = []
        try:
            while True:
                try:
                    await self._connections.ready(connection)
                    offered = await self._connections[connection].browse()
                    every = self.wanted(connection, (info.tag for info in offered))
                    new = {name: who for name, who in every.items() if name not in known}
                    known |= new
                    if new:
                        takers.append(asyncio.create_task(self._take(connection, new, offered)))
                except ConnectionLost as error:
                    self._problems.tell(connection, str(error))
                done, _ = await asyncio.wait(takers, timeout=LOOK) if takers else (set(), None)
                for task in done:
                    task.result()
                    takers.remove(task)
                if not takers:
                    await asyncio.sleep(LOOK)
        finally:
            for task in takers:
                task.cancel()
            await asyncio.gather(*takers, return_exceptions=True)

    async def _take(self, name: str, readers: dict[str, Reader], offered: list[TagInfo]) -> None:
        connector: Any = self._connections[name]
        units = {
            f"{names.fleet.spec.id}/{tag}": unit
            for names in self._of(name)
            for tag, unit in names.units.items()
        }
        while True:
            try:
                there = {info.tag for info in offered}
                tags = [tag for tag in readers if tag in there]
                async for batch in connector.subscribe(tags):
                    await self._put(name, batch, readers, units)
                if getattr(connector, "ends", False):
                    return
            except ConnectionLost as error:
                self._problems.tell(name, str(error))
            await asyncio.sleep(RETRY)
            offered = await connector.browse()

    async def _put(
        self, name: str, batch: list[Sample], readers: dict[str, Reader], units: dict[str, str]
    ) -> None:
        """Samples to their instances; they are counted by fleet and tag, not by instance."""
        read = [(sample, readers[sample.tag]) for sample in batch]
        counted = [replace(sample, tag=f"{fleet}/{tag}") for sample, (fleet, _, tag) in read]
        self._connections.book.took(name, counted, units)
        for sample, (_, id, tag) in read:
            own = replace(as_journalled(sample), tag=f"{id}/{tag}")
            await self._inbox.put(own, name, id)

"""The connections of a project: opened, compared with the bindings, listened to, watched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from galenic.clock import Clock
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Quality, Sample
from galenic.twin.binding import Binding
from galenic.twin.inbox import Inbox
from galenic.twin.kinds import connector_of
from galenic.twin.pace import PlantClock
from galenic.twin.problems import Problems
from galenic.twin.project import Project
from galenic.twin.quality import Book
from galenic.twin.workers import plain

RETRY = 1.0


class Connections(dict[str, Any]):
    """Connectors by name.

    Parameters
    ----------
    project : Project
    given : mapping of name to Connector
        Used instead of those that the project names.

    Attributes
    ----------
    plant_time : int [ns] or None
        The newest time stamp of the sources when they were opened.
    book : Book
        What became of their data.
    """

    def __init__(
        self,
        project: Project,
        given: Mapping[str, Any],
        clock: Clock,
        problems: Problems,
        inbox: Inbox,
    ) -> None:
        super().__init__(given)
        self.plant_time: int | None = None
        self._project = project
        self._clock = clock
        self._problems = problems
        self._inbox = inbox
        self.book = Book()
        self._is_open = False

    async def open(self) -> None:
        """Make what was not given, and open all."""
        for spec in self._project.connections:
            if spec.name not in self:
                self[spec.name] = connector_of(spec, self._clock)
        self._is_open = True
        await asyncio.gather(*(self._open(name) for name in self))

    async def _open(self, name: str) -> None:
        """Open a connection and compare its tags with the bindings; not there is not fatal."""
        try:
            await self[name].open()
            await self._check_tags(name)
            await self._align(name)
        except ConnectionLost as error:
            self._problems.tell(name, str(error))

    async def close(self) -> None:
        """Close all; what fails is raised when every one has been tried."""
        self._is_open = False
        closed = await asyncio.gather(
            *(connector.close() for connector in self.values()), return_exceptions=True
        )
        for error in closed:
            if isinstance(error, BaseException):
                raise error

    async def listen(self, name: str, tags: list[str]) -> None:
        """Put what a connection gives into the inbox; a lost one is opened again."""
        units = {binding.tag: binding.unit for binding in self._bindings(name)}
        while self._is_open and tags:
            try:
                await self.ready(name)
                async for batch in self[name].subscribe(tags):
                    self.book.took(name, batch, units)
                    for sample in batch:
                        await self._inbox.put(as_journalled(sample), name)
                if getattr(self[name], "ends", False):
                    return
            except ConnectionLost as error:
                self._problems.tell(name, str(error))
            await asyncio.sleep(RETRY)

    async def ready(self, name: str) -> None:
        """Open a connection again that had a problem, and compare its tags with the bindings."""
        if name in self._problems:
            await self[name].open()
            await self._check_tags(name)
            await self._align(name)

    def watch(self) -> None:
        """Tell which are lost and which are back."""
        if not self._is_open:
            return
        for name, connector in self.items():
            status = connector.status
            self.book.missed(name, status.queue.lost)
            if not status.connected:
                self._problems.tell(name, status.reason or "not connected")
            elif name in self._problems and self._problems[name] != "tags":
                self._problems.solved(name)

    async def _align(self, name: str) -> None:
        """Learn the plant's time; at another speed than real time our clock is set by it."""
        tags = [binding.tag for binding in self._bindings(name) if binding.readable]
        samples = await self[name].read(tags) if tags else []
        times = [sample.source_time for sample in samples if sample.quality != Quality.BAD]
        if times:
            self.plant_time = max(self.plant_time or 0, *times)
            if isinstance(self._clock, PlantClock):
                self._clock.align(self.plant_time)

    async def _check_tags(self, name: str) -> None:
        offered = {info.tag: info for info in await self[name].browse()}
        bound = {(binding.tag, binding.writable) for binding in self._bindings(name)}
        for tag, writable in sorted(bound):
            if tag not in offered:
                raise UnknownName.among("tag", tag, offered, where=f"connection {name}")
            if writable and not offered[tag].writable:
                raise DataError(f"{tag} cannot be written", where=f"connection {name}")
        self._problems.solved(name)

    def _bindings(self, name: str) -> list[Binding]:
        twins = [twin.definition for twin in self._project.twins]
        return [b for twin in twins for b in twin.bindings if b.connection == name]


def as_journalled(sample: Sample) -> Sample:
    """The sample with a plain Python value, so that its key reads back the same."""
    value = sample.value
    return replace(sample, value=plain(value)) if hasattr(value, "tolist") else sample

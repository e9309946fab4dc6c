"""Stay connected: dial, watch, and dial again for ever, with the state visible."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from galenic.clock import Clock
from galenic.errors import ConnectionLost

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backoff:
    """Waiting times between attempts: ``first * factor**n`` up to ``cap`` [s], spread by jitter.

    ``jitter`` is the fraction of a wait that is drawn at random, so that many clients of one
    server do not come back in step.
    """

    first: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 0.3

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Wait before the attempt after ``attempt`` failed ones (1, 2, ...) [s]."""
        exponent = min(attempt - 1, 60)
        full = min(self.cap, self.first * self.factor**exponent)
        return full * (1 - self.jitter * rng.random())


class Line(Protocol):
    """One life of a connection, from a successful dial to its loss."""

    async def lost(self) -> str:
        """Return when the connection is lost, with the reason."""

    async def hang_up(self) -> None:
        """Free everything, also of a dead connection, within bounded time; never raises."""


class Supervisor:
    """Keeps one `Line` up. The wait between attempts grows, but it never gives up.

    Parameters
    ----------
    name : str
        Of the connection, for the log: one entry when lost, one when back.
    dial : callable
        Makes a new line, or raises.
    clock : Clock
        For the times in the status; waits are in real time.
    backoff : Backoff
        Waiting times between attempts.
    rng : random.Random, optional
        Source of the jitter.
    """

    def __init__(
        self,
        name: str,
        dial: Callable[[], Awaitable[Line]],
        clock: Clock,
        backoff: Backoff | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.connected = False
        self.since = clock.now()
        self.attempts = 0
        self.reason = "not opened"
        self._dial = dial
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._rng = rng or random.Random()
        self._line: Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._ever = False

    @property
    def is_open(self) -> bool:
        """Whether it is trying to be connected."""
        return self._task is not None

    async def open(self) -> None:
        """Start, and return when connected; ConnectionLost if the first attempt fails.

        Attempts go on after such a failure, until `close`.
        """
        if self._task is None:
            self.attempts = 0
            self._task = asyncio.create_task(self._run())
        async with self._changed:
            await self._changed.wait_for(
                lambda: self.connected or self.attempts or not self.is_open
            )
        if not self.connected:
            raise ConnectionLost(
                f"connection {self.name!r} cannot be made: {self.reason}",
                hint="is the source running, and its address right? Attempts go on until close()",
            )

    async def close(self) -> None:
        """Hang up and stop trying."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._drop("closed")

    async def line(self, timeout: float) -> Line:
        """The line as soon as there is one; ConnectionLost after ``timeout`` [s]."""
        if self._line is not None and self.connected:
            return self._line
        if self._task is None:
            raise ConnectionLost(f"connection {self.name!r} is not open", hint="call open() first")
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self.connected or not self.is_open)
        except TimeoutError:
            pass
        if self._line is None:
            raise ConnectionLost(f"connection {self.name!r} is lost: {self.reason}")
        return self._line

    async def _run(self) -> None:
        while True:
            try:
                line = await self._dial()
            except Exception as error:  # whatever a protocol stack raises, trying goes on
                await self._failed(error)
                await asyncio.sleep(self._backoff.delay(self.attempts, self._rng))
                continue
            await self._up(line)
            await self._drop(await line.lost())

    async def _up(self, line: Line) -> None:
        if self._ever:
            log.info("connection %s is back after %d attempts", self.name, self.attempts + 1)
        self._line, self._ever = line, True
        await self._set(True, "", 0)

    async def _failed(self, error: BaseException) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not self._ever and self.attempts == 0:
            log.warning("connection %s cannot be made: %s", self.name, reason)
        await self._set(False, reason, self.attempts + 1)

    async def _drop(self, reason: str) -> None:
        line, self._line = self._line, None
        if self.connected and self.is_open:
            log.warning("connection %s is lost: %s", self.name, reason)
        await self._set(False, reason, 0)
        if line is not None:
            await line.hang_up()

    async def _set(self, connected: bool, reason: str, attempts: int) -> None:
        if connected != self.connected:
            self.since = self._clock.now()
        async with self._changed:
            self.connected, self.reason, self.attempts = connected, reason, attempts
            self._changed.notify_all()

"""Plant time over wall time: a clock that follows the plant, the pace held, and what is due."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from galenic.clock import ScaledClock, nanoseconds, seconds

SPAN = 10.0


class PlantClock(ScaledClock):
    """Runs ``speed`` times as fast as the wall clock, from the plant's first time stamp on."""

    def __init__(self, speed: float, start: int | None = None) -> None:
        super().__init__(time.time_ns() if start is None else start, speed)
        self._is_aligned = False

    def align(self, source_time: int) -> None:
        """Set the clock by the plant, once, before anything has been timed by it."""
        if not self._is_aligned:
            self._is_aligned = True
            self.start += source_time - self.now()


class Pace:
    """How fast plant time really goes, measured over the last seconds of wall time."""

    def __init__(self, asked: float) -> None:
        self.asked = asked
        self.held = asked
        self.skipped = 0
        self.is_behind = False
        self._marks: deque[tuple[float, int, int]] = deque()

    def ticked(self, now: int) -> bool | None:
        """Note a tick that was carried out; True or False when being behind begins or ends."""
        wall = time.monotonic()
        self._marks.append((wall, now, self.skipped))
        while wall - self._marks[0][0] > SPAN:
            self._marks.popleft()
        first = self._marks[0]
        if wall - first[0] < SPAN / 2:
            return None
        skipped, done = self.skipped - first[2], len(self._marks)
        share = done / (done + skipped)
        self.held = min(self.asked, seconds(now - first[1]) / (wall - first[0])) * share
        behind = share < 0.8
        if behind == self.is_behind:
            return None
        self.is_behind = behind
        return behind

    def to_dict(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "held": round(self.held, 3),
            "behind": self.is_behind,
            "skipped": self.skipped,
        }


class Due:
    """When something was done last that is done now and then."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def is_due(self, what: str, now: int, every: float, *, at_once: bool = False) -> bool:
        """Whether ``every`` seconds have passed; the first time counts from its first question."""
        due = self._next.get(what)
        if due is not None and now < due:
            return False
        self._next[what] = now + nanoseconds(every)
        return due is not None or at_once

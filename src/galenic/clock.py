"""Time: int64 nanoseconds UTC everywhere, from a clock that is passed in."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from galenic.errors import DataError

SECOND = 1_000_000_000
QUARTER = 15  # minutes; time zones differ from UTC by multiples of it


def seconds(ns: int) -> float:
    """Nanoseconds as seconds."""
    return ns / SECOND


def nanoseconds(s: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(s * SECOND)


def to_iso(ns: int) -> str:
    """UTC time stamp with microseconds and a trailing Z."""
    whole, rest = divmod(ns, SECOND)
    stamp = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{rest // 1000:06d}Z"


def from_iso(text: str) -> int:
    """Nanoseconds of an ISO 8601 stamp; one without offset is refused as ambiguous."""
    try:
        stamp = read_stamp(text)
    except ValueError as error:
        raise DataError(
            f"{text!r} is not a time stamp", expected="ISO 8601, as 2026-01-31T08:00:00Z"
        ) from error
    if stamp.tzinfo is None:
        raise DataError(f"{text!r} has no time zone", hint="add Z or an offset such as +01:00")
    whole = int(stamp.replace(microsecond=0).timestamp())
    return whole * SECOND + stamp.microsecond * 1000


def read_stamp(text: str, format: str = "") -> datetime:
    """A stamp as ISO 8601 or by a strptime format; a ValueError where it is none.

    Our time has no leap seconds, as that of POSIX (IEEE 1003.1, 4.16): second 60 is second 0 of the
    next minute, so what was measured in it is kept. It is taken only where leap seconds can be, at
    the end of a month in UTC; without offset, at the end of a quarter of an hour.

    >>> read_stamp("2017-01-01T00:59:60.25+01:00").isoformat()
    '2017-01-01T01:00:00.250000+01:00'
    """
    try:
        return _parsed(text, format)
    except ValueError:
        leap = _leap_second(text, format)
        if leap is None:
            raise
        return leap


def _parsed(text: str, format: str) -> datetime:
    return datetime.strptime(text, format) if format else datetime.fromisoformat(text)


def _leap_second(text: str, format: str) -> datetime | None:
    """What a stamp with second 60 says; None where 60 is not a second, or none that can be."""
    for found in re.finditer("60", text):
        head, tail = text[: found.start()], text[found.end() :]
        try:
            earlier = _parsed(f"{head}58{tail}", format)
            after = _parsed(f"{head}59{tail}", format) + timedelta(seconds=1)
            there = after.astimezone(UTC) if after.tzinfo else after
        except (ValueError, OverflowError):
            continue
        if earlier.second != 58 or after - earlier != timedelta(seconds=2):
            continue  # these digits are no seconds
        if after.tzinfo is None:
            return after if after.minute % QUARTER == 0 else None
        return after if (there.day, there.hour, there.minute) == (1, 0, 0) else None
    return None


class Clock(Protocol):
    """Where the runner gets its time from; models and twins never ask."""

    def now(self) -> int:
        """The time now [ns since 1970, UTC]."""

    async def sleep_until(self, ns: int) -> None:
        """Return when the clock has reached ``ns``; at once if it has passed."""


class SystemClock:
    """Wall-clock time; waits are measured on the monotonic clock."""

    def now(self) -> int:
        return time.time_ns()

    async def sleep_until(self, ns: int) -> None:
        await asyncio.sleep(max(0.0, seconds(ns - self.now())))


class ScaledClock:
    """Time that starts at ``start`` and runs ``speed`` times as fast as the wall clock."""

    def __init__(self, start: int, speed: float = 1.0) -> None:
        self.start = start
        self.speed = speed
        self._origin = time.monotonic_ns()

    def now(self) -> int:
        return self.start + int((time.monotonic_ns() - self._origin) * self.speed)

    async def sleep_until(self, ns: int) -> None:
        await asyncio.sleep(max(0.0, seconds(ns - self.now()) / self.speed))


class ManualClock:
    """Time that is moved by hand: for tests, replay and campaigns."""

    def __init__(self, start: int = 0) -> None:
        self._now = start

    def now(self) -> int:
        return self._now

    def advance(self, ns: int) -> None:
        """Move forward by ``ns``."""
        self._now += ns

    async def sleep_until(self, ns: int) -> None:
        self._now = max(self._now, ns)
        await asyncio.sleep(0)

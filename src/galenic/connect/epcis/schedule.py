"""When a standing query is asked: the query schedule of EPCIS 2.0, in the manner of cron.

A schedule says ``second``, ``minute``, ``hour``, ``dayOfMonth``, ``month`` and ``dayOfWeek`` (1 is
Monday) as text: numbers, ranges as ``[1-5]``, or several of them with commas. What is left out
and finer than the finest that is given is the least value: ``{"hour": "1", "minute": "5"}`` is
once a day, at 01:05:00. All else that is left out may be anything. Times are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import product
from typing import Any

from galenic.clock import SECOND
from galenic.errors import DataError, UnknownName

RANGES = {
    "second": (0, 59), "minute": (0, 59), "hour": (0, 23), "dayOfMonth": (1, 31), "month": (1, 12),
    "dayOfWeek": (1, 7),
}  # fmt: skip
CLOCK = ("second", "minute", "hour")
PART = re.compile(r"(\d{1,2})|\[(\d{1,2})-(\d{1,2})\]")
DAYS = 4 * 366 * 7 + 1  # in so many days every date has been every day of the week


@dataclass(frozen=True)
class Schedule:
    """Values of each part that fit, and the schedule as it was given."""

    fits: Mapping[str, tuple[int, ...]]
    given: Mapping[str, str]

    @classmethod
    def of(cls, given: Mapping[str, Any], where: str = "query schedule") -> Schedule:
        """From its parts.

        Raises
        ------
        UnknownName, DataError
            A part is none, is not of the form above, out of range, or no day can ever be.
        """
        for name in given:
            if name not in RANGES:
                raise UnknownName.among("part of a schedule", name, RANGES, where=where)
        if not given:
            raise DataError("an empty schedule", where=where, expected='{"minute": "0"} or more')
        fits = {n: _values(n, str(text), f"{where}, {n}") for n, text in given.items()}
        finest = min(list(RANGES).index(name) for name in given)
        for place, (name, (least, most)) in enumerate(RANGES.items()):
            if name not in fits:
                is_finer = place < finest and name in CLOCK
                fits[name] = (least,) if is_finer else tuple(range(least, most + 1))
        made = cls(fits, {name: str(text) for name, text in given.items()})
        made.after(0)
        return made

    def after(self, ns: int) -> int:
        """The first time [ns] after another one that fits."""
        start = datetime.fromtimestamp(ns // SECOND, UTC)
        for days in range(DAYS):
            day = (start + timedelta(days=days)).date()
            if not self._has(day.month, day.day, day.isoweekday()):
                continue
            for hour, minute, second in product(*(self.fits[name] for name in CLOCK[::-1])):
                when = datetime.combine(day, time(hour, minute, second), UTC)
                if when > start:
                    return round(when.timestamp()) * SECOND
        raise DataError(f"no day is ever {dict(self.given)}", where="query schedule")

    def _has(self, month: int, day: int, weekday: int) -> bool:
        fits = self.fits
        return month in fits["month"] and day in fits["dayOfMonth"] and weekday in fits["dayOfWeek"]


def _values(name: str, text: str, where: str) -> tuple[int, ...]:
    least, most = RANGES[name]
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        match = PART.fullmatch(part)
        if match is None:
            raise DataError(f"{text!r}", where=where, expected="numbers or [first-last], by commas")
        first, last = (int(match[1]),) * 2 if match[1] else (int(match[2]), int(match[3]))
        if not least <= first <= last <= most:
            raise DataError(f"{part!r}", where=where, expected=f"{least} to {most}, first to last")
        found.update(range(first, last + 1))
    return tuple(sorted(found))

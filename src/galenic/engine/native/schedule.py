"""Events and output times of individuals in the packed form that kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galenic.engine.native.job import Kind
from galenic.errors import DataError

if TYPE_CHECKING:
    from galenic.engine.native.assemble import Facts

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Times = npt.ArrayLike | tuple[npt.ArrayLike, npt.ArrayLike]


class Events:
    """Events of N individuals: individual i has the rows ``offsets[i]:offsets[i + 1]``.

    Parameters
    ----------
    offsets : array (N + 1,)
        Where the rows of each individual begin.
    time : array (E,) [s]
        Ascending within an individual; rows of one time happen in their order.
    kind : array (E,)
        See :class:`Kind`.
    index : array (E,)
        State, element of theta, or event rule, by kind.
    value : array (E,)
        Amount, value or factor, SI.
    factor : array (E,), optional
        Element of theta by which the value is multiplied, -1 for none.
    """

    def __init__(
        self,
        offsets: npt.ArrayLike,
        time: npt.ArrayLike,
        kind: npt.ArrayLike,
        index: npt.ArrayLike,
        value: npt.ArrayLike,
        factor: npt.ArrayLike | None = None,
    ) -> None:
        bounds = np.ascontiguousarray(offsets, dtype=np.int64)
        self.time = np.ascontiguousarray(time, dtype=np.float64)
        rows = len(self.time)
        self.value = np.ascontiguousarray(value, dtype=np.float64)
        factors = np.full(rows, -1) if factor is None else factor
        columns = [np.asarray(c, dtype=np.int64) for c in (kind, index, factors)]
        if any(c.shape != (rows,) for c in (*columns, self.value)):
            raise DataError("the columns of the events differ in length")
        self.what = np.ascontiguousarray(np.stack(columns, axis=1))
        if bounds.ndim != 1 or not len(bounds) or bounds[0] != 0 or bounds[-1] != rows:
            raise DataError(f"offsets do not cover the {rows} events", expected="0, ..., rows")
        self.first = np.ascontiguousarray(bounds[:-1])
        self.last = np.ascontiguousarray(bounds[1:])
        self._fitting: list[Facts] = []
        if (self.last < self.first).any():
            raise DataError("offsets of events go backward")

    @classmethod
    def shared(
        cls,
        count: int,
        time: npt.ArrayLike,
        kind: npt.ArrayLike,
        index: npt.ArrayLike,
        value: npt.ArrayLike,
        factor: npt.ArrayLike | None = None,
    ) -> Events:
        """The same events for ``count`` individuals, stored once."""
        rows = len(np.asarray(time))
        events = cls([0, rows], time, kind, index, value, factor)
        events.first = np.zeros(count, dtype=np.int64)
        events.last = np.full(count, rows, dtype=np.int64)
        return events

    def chosen(self, who: npt.ArrayLike) -> Events:
        """The events of some individuals, which may repeat; rows are shared, checks remembered."""
        events = object.__new__(Events)
        events.time, events.what, events.value = self.time, self.what, self.value
        places = np.asarray(who, dtype=np.int64)
        events.first = np.ascontiguousarray(self.first[places])
        events.last = np.ascontiguousarray(self.last[places])
        events._fitting = self._fitting
        return events

    @classmethod
    def none(cls, count: int) -> Events:
        """No events."""
        return cls.shared(count, [], [], [], [])

    def checked(self, count: int, facts: Facts) -> Events:
        """The events if they fit a kernel and ``count`` individuals; else DataError."""
        if len(self.first) != count:
            raise DataError(f"events of {len(self.first)} individuals", expected=f"of {count}")
        if any(known is facts for known in self._fitting):
            return self
        self._check_order()
        kind, index, factor = self.what.T
        limits = {Kind.THETA: facts.n_theta, Kind.RESET: facts.rules, Kind.RESTART: 1 << 62}
        for one in Kind:
            chosen = index[kind == one]
            limit = limits.get(one, facts.n)
            if len(chosen) and (chosen.min() < 0 or chosen.max() >= limit):
                raise DataError(
                    f"an event of kind {one.name} has the index {chosen.min()} or {chosen.max()}",
                    expected=f"from 0 to {limit - 1}",
                )
        if len(kind) and not np.isin(kind, list(Kind)).all():
            raise DataError(
                "an event has an unknown kind", expected=", ".join(k.name for k in Kind)
            )
        if len(factor) and (factor.min() < -1 or factor.max() >= facts.n_theta):
            raise DataError("a factor of an event is no element of theta")
        self._fitting.append(facts)
        return self

    def _check_order(self) -> None:
        if not np.isfinite(self.time).all():
            raise DataError("an event has a time that is not finite")
        falls = np.flatnonzero(np.diff(self.time) < 0) + 1
        inside = falls[~np.isin(falls, self.first)]
        if len(inside):
            raise DataError(
                f"event {int(inside[0])} is earlier than the one before it",
                expected="events sorted by time within each individual",
            )


@dataclass(frozen=True)
class TimePlan:
    """Output times, a nan after those of each individual; where each begins in times and out."""

    packed: Array
    starts: Whole
    rows: Whole
    offsets: Whole | None

    def shape(self, count: int) -> tuple[int, ...]:
        """The leading dimensions of the values."""
        return (count, len(self.packed) - 1) if self.offsets is None else (int(self.offsets[-1]),)

    def blank(self, values: Array, who: npt.NDArray[np.bool_]) -> None:
        """Set the values of individuals that were never begun to nan."""
        if self.offsets is None:
            values[who] = np.nan
        else:
            values[np.repeat(who, np.diff(self.offsets))] = np.nan

    def first_times(self) -> Array:
        """The first output time of each individual; nan for none."""
        return self.packed[self.starts]

    def last(self, begin: Array) -> Array:
        """The last output time of each individual; its begin for none."""
        if self.offsets is None:
            sizes = np.full(len(self.starts), len(self.packed) - 1)
        else:
            sizes = np.diff(self.offsets)
        ends = self.packed[self.starts + np.maximum(sizes - 1, 0)]
        return np.ascontiguousarray(np.where(sizes > 0, ends, begin))


def plan_times(times: Times, count: int) -> TimePlan:
    """Pack output times: one array for all, or (offsets, flat) for each individual."""
    if isinstance(times, tuple):
        offsets = np.ascontiguousarray(times[0], dtype=np.int64)
        flat = np.ascontiguousarray(times[1], dtype=np.float64)
        if offsets.shape != (count + 1,) or offsets[0] != 0 or offsets[-1] != len(flat):
            raise DataError("offsets of output times do not fit", expected=f"{count + 1} numbers")
        if (np.diff(offsets) < 0).any():
            raise DataError("offsets of output times go backward")
        _check_ascending(flat, offsets[1:-1])
        packed = np.insert(flat, offsets[1:], np.nan)
        starts = offsets[:-1] + np.arange(count)
        return TimePlan(packed, np.ascontiguousarray(starts), offsets[:-1].copy(), offsets)
    flat = np.ascontiguousarray(times, dtype=np.float64).ravel()
    _check_ascending(flat, np.zeros(0, dtype=np.int64))
    packed = np.append(flat, np.nan)
    starts = np.zeros(count, dtype=np.int64)
    return TimePlan(packed, starts, np.arange(count, dtype=np.int64) * len(flat), None)


def _check_ascending(flat: Array, borders: Whole) -> None:
    if not np.isfinite(flat).all():
        raise DataError("an output time is not finite")
    falls = np.flatnonzero(np.diff(flat) < 0) + 1
    inside = falls[~np.isin(falls, borders)]
    if len(inside):
        raise DataError(
            f"output time {int(inside[0])} is earlier than the one before it",
            expected="ascending output times",
        )

"""A press record as columns, and what each row is: running or not, since when, near a change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.clock import SECOND
from galenic.errors import DataError
from galenic.signals import Sample
from galenic.stages.manufacturing.press_record.definition import press_record

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

STEADY, CHANGED, RESTARTED = "steady", "fill change", "restart"
CLASSES = (STEADY, CHANGED, RESTARTED)
AFTER_RESTART = 120.0
AFTER_CHANGE = 60.0
CHANGE, WITHIN = 0.06, 3


@dataclass(frozen=True, eq=False)
class Rows:
    """One row per moment of the record, in the units of its bindings.

    ``time`` is in ns; ``columns`` holds numbers by tag; ``batch`` is text.
    """

    time: npt.NDArray[np.int64]
    columns: dict[str, Array]
    batch: npt.NDArray[Any]

    @classmethod
    def of(cls, record: Iterable[list[Sample]]) -> Rows:
        """The rows of a record; a value that is missing is that of the row before."""
        tags = [b.tag for b in press_record().bindings if b.tag != "Press.Batch"]
        times, table, batches = [], [], []
        held: dict[str, Any] = dict.fromkeys((*tags, "Press.Batch"), np.nan)
        for samples in record:
            held.update((s.tag, s.value) for s in samples if s.tag in held and s.value is not None)
            times.append(samples[0].source_time)
            table.append([float(held[tag]) for tag in tags])
            batches.append(held["Press.Batch"])
        if not times:
            raise DataError("there are no rows in the record")
        columns = dict(zip(tags, np.array(table, dtype=float).T, strict=True))
        names = [f"{b:g}" if isinstance(b, float) else str(b) for b in batches]
        return cls(np.array(times, dtype=np.int64), columns, np.array(names))

    def __len__(self) -> int:
        return len(self.time)

    def part(self, batch: str) -> Rows:
        """The rows of one batch."""
        keep = self.batch == batch
        if not keep.any():
            known = ", ".join(dict.fromkeys(self.batch.tolist()))
            raise DataError(f"no rows of batch {batch!r}", expected=known)
        columns = {tag: values[keep] for tag, values in self.columns.items()}
        return Rows(self.time[keep], columns, self.batch[keep])

    @cached_property
    def running(self) -> Flags:
        """Whether the press runs, by its speed."""
        return np.asarray(self.columns["Press.Speed"] > 0.0)

    @cached_property
    def joined(self) -> Flags:
        """Whether a row follows the one before without a gap, a new batch, a stop or a start."""
        usual = np.median(np.diff(self.time)) if len(self) > 1 else SECOND
        near = np.diff(self.time) < 1.5 * usual
        same = (self.batch[1:] == self.batch[:-1]) & (self.running[1:] == self.running[:-1])
        return np.concatenate([[False], near & same])

    @cached_property
    def stretch(self) -> npt.NDArray[np.int64]:
        """Number of the running (or standing) stretch of each row."""
        return np.cumsum(~self.joined)

    @cached_property
    def since(self) -> Array:
        """Seconds since the first row of the stretch."""
        first = self.time[np.unique(self.stretch, return_index=True)[1]]
        return np.asarray((self.time - first[self.stretch - 1]) / SECOND)

    @cached_property
    def changes(self) -> npt.NDArray[np.int64]:
        """Rows at which a fill change begins to show, while the press runs.

        A fill change: the depth is ``CHANGE`` mm or more away from that of ``WITHIN`` rows
        before; those less than 60 s after the one before belong to it.
        """
        depth = self.columns["Press.FillDepth"]
        found: list[int] = []
        last = -np.inf
        for i in range(WITHIN, len(self)):
            whole = self.running[i] and self.joined[i - WITHIN + 1 : i + 1].all()
            if whole and abs(depth[i] - depth[i - WITHIN]) >= CHANGE - 1e-9:
                if (self.time[i] - last) / SECOND >= AFTER_CHANGE:
                    found.append(i)
                last = self.time[i]
        return np.array(found, dtype=np.int64)

    @cached_property
    def kinds(self) -> npt.NDArray[Any]:
        """Class of each running row, known at the row itself; empty where the press stands."""
        kinds = np.where(self.running, STEADY, "").astype(object)
        for i in self.changes:
            after = (self.time >= self.time[i]) & (
                self.time <= self.time[i] + int(AFTER_CHANGE * SECOND)
            )
            kinds[after & self.running] = CHANGED
        kinds[self.running & (self.since < AFTER_RESTART)] = RESTARTED
        return kinds

    def target(self, ahead: float) -> npt.NDArray[np.int64]:
        """For each row the row ``ahead`` seconds later, or -1 unless the press ran all the time."""
        wanted = self.time + int(ahead * SECOND)
        at = np.searchsorted(self.time, wanted)
        inside = at < len(self)
        at = np.where(inside, at, len(self) - 1)
        usual = np.median(np.diff(self.time)) if len(self) > 1 else SECOND
        on_time = np.abs(self.time[at] - wanted) < 0.5 * usual
        good = inside & on_time & self.running & (self.stretch[at] == self.stretch)
        return np.where(good, at, -1)

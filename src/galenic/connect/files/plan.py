"""What reading a file or table would bring: every cell accounted for, nothing filed yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from galenic.clock import seconds
from galenic.connect.files.rows import RowReader
from galenic.signals import Quality, Sample

WIDE = 5.0  # times the usual interval is a gap
LOOKED = 1000  # intervals from which the usual one is taken
MOST_TIMES = 2_000_000  # of one tag, in which repetitions are looked for


@dataclass
class Found:
    """What was found of one tag: samples that would be filed, and why others would not."""

    tag: str
    unit: str
    samples: int = 0
    duplicates: int = 0
    conflicts: int = 0
    known: int = 0
    first: int | None = None
    last: int | None = None
    lowest: float | None = None
    highest: float | None = None
    bad: int = 0
    unordered: int = 0
    gaps: int = 0
    longest: float = 0.0
    examples: list[str] = field(default_factory=list)
    _times: dict[int, Any] = field(default_factory=dict, repr=False)
    _steps: list[int] = field(default_factory=list, repr=False)
    _wide: list[int] = field(default_factory=list, repr=False)
    _before: int | None = field(default=None, repr=False)
    _usual: float = field(default=0.0, repr=False)

    def take(self, sample: Sample) -> bool:
        """Whether a sample is new; notes what it says."""
        time = sample.source_time
        if time in self._times:
            if self._times[time] == (sample.value, sample.status):
                self.duplicates += 1
            else:
                self.conflicts += 1
                self.note(
                    f"two values at one time: {_said(*self._times[time])}, "
                    f"{_said(sample.value, sample.status)}"
                )
            return False
        if len(self._times) < MOST_TIMES:
            self._times[time] = (sample.value, sample.status)
        self.samples += 1
        self.bad += sample.value is None
        self._follow(time)
        self.first = time if self.first is None else min(self.first, time)
        self.last = time if self.last is None else max(self.last, time)
        value = sample.value
        if isinstance(value, float | int) and not isinstance(value, bool):
            self.lowest = value if self.lowest is None else min(self.lowest, value)
            self.highest = value if self.highest is None else max(self.highest, value)
        return True

    def _follow(self, time: int) -> None:
        before, self._before = self._before, time
        if before is None:
            return
        step = time - before
        if step < 0:
            self.unordered += 1
            return
        if len(self._steps) < LOOKED:
            self._steps.append(step)
            self._usual = 0.0
        elif step > WIDE * self.usual:
            self._wide.append(step)

    @property
    def usual(self) -> float:
        """The usual interval [ns]: the median of the first ones."""
        if not self._usual and self._steps:
            self._usual = float(median(self._steps))
        return self._usual

    def settle(self) -> None:
        """Count gaps: intervals five times as long as usual."""
        wide = [s for s in (*self._steps, *self._wide) if self.usual and s > WIDE * self.usual]
        self.gaps, self.longest = len(wide), seconds(max(wide, default=0))

    def note(self, text: str) -> None:
        """Keep an example of what contradicts itself; three are enough."""
        if len(self.examples) < 3:
            self.examples.append(text)


@dataclass
class Plan:
    """What a pass over a source found.

    ``cells`` = ``samples`` + ``duplicates`` + ``conflicts`` + ``rejected`` + ``empty``: nothing is
    dropped without being one of these (`balance` is 0).
    """

    reader: RowReader
    tags: dict[str, Found] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)

    def run(self, rows: Iterable[list[Sample]]) -> Iterator[list[Sample]]:
        """The new samples of each row, while everything is counted."""
        for info in self.reader.tags():
            self.tags.setdefault(info.tag, Found(info.tag, info.unit))
        for row in rows:
            yield [sample for sample in row if self.tags[sample.tag].take(sample)]
        for found in self.tags.values():
            found.settle()
        self.unmapped = _unmapped(self.reader)

    def number(self, kind: str) -> int:
        """How many cells of a kind, by the reader's count."""
        return self.reader.tally.number(kind)

    @property
    def numbers(self) -> dict[str, int]:
        """All counts."""
        found = self.tags.values()
        return {
            "rows": self.reader.read,
            "samples": sum(f.samples for f in found),
            "converted": self.number("converted"),
            "guessed": self.number("guessed"),
            "rejected": self.number("rejected"),
            "empty": self.number("empty"),
            "duplicates": sum(f.duplicates for f in found),
            "conflicts": sum(f.conflicts for f in found),
            "bad": sum(f.bad for f in found),
        }

    @property
    def cells(self) -> int:
        """Values that the rows hold: one per row of a long table, else one per mapped column."""
        mapping = self.reader.mapping
        return self.reader.read * (1 if mapping.tag else len(mapping.columns))

    @property
    def balance(self) -> int:
        """Cells that are not accounted for: 0."""
        n = self.numbers
        used = ("samples", "duplicates", "conflicts", "rejected", "empty")
        return self.cells - sum(n[kind] for kind in used)


def _unmapped(reader: RowReader) -> list[str]:
    """Columns that nobody asked for."""
    mapping = reader.mapping
    used = {mapping.time, mapping.tag, mapping.value, mapping.quality, mapping.received}
    used |= set() if mapping.tag else set(mapping.columns)
    return [name for name in getattr(reader, "header", []) if name not in used]


def _said(value: Any, status: int) -> str:
    """A value and, where it is not good, its quality."""
    text = f"{value:.12g}" if isinstance(value, float) else repr(value)
    quality = Quality.of_status(status)
    return text if quality is Quality.GOOD else f"{text} ({quality.name.lower()})"

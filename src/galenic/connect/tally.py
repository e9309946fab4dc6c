"""What became of everything that a source sent: counts by tag, reasons with their last example.

A connector counts what it converted, rejected and guessed, and keeps messages that it
could not read at all as dead letters. The runner keeps both across restarts. Nothing that a source
sends disappears without a count here, or a sample.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("mapped", "converted", "rejected", "guessed", "duplicate", "missing")
MOST_TAGS = 10_000
MOST_REASONS = 20
MOST_LETTERS = 1000
LONGEST = 65_536  # bytes kept of one dead letter
EXAMPLE = 200  # characters
OTHER = "other reasons"


@dataclass
class Reason:
    """Why, how often, and the last time it was so [ns]."""

    count: int = 0
    example: str = ""
    time: int = 0


@dataclass
class Count:
    """Of one tag: numbers by kind, and reasons by kind."""

    numbers: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, dict[str, Reason]] = field(default_factory=dict)


@dataclass(frozen=True)
class DeadLetter:
    """A message that nobody could read: raw bytes, where it came from, when [ns], why."""

    source: str
    time: int
    reason: str
    raw: bytes
    size: int
    place: str = ""

    @classmethod
    def of(cls, source: str, time: int, reason: str, raw: bytes, place: str = "") -> DeadLetter:
        """One that keeps at most 64 KiB of the message; ``size`` is all of it."""
        return cls(source, time, reason[:1000], raw[:LONGEST], len(raw), place)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the bytes in base 64."""
        return {**vars(self), "raw": base64.b64encode(self.raw).decode()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> DeadLetter:
        """What ``to_dict`` wrote."""
        return cls(**{**record, "raw": base64.b64decode(record["raw"])})


class Tally:
    """Counts of one source.

    Attributes
    ----------
    tags : dict of str to Count
        By tag; what belongs to no tag is under the empty one.
    letters : deque of DeadLetter
        The last 1,000 that nobody has taken away yet.
    changed : bool
        Whether something was counted since ``changed`` was last set to False.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.note("Oven.T", "rejected", reason="is not a number", example="abc")
    >>> tally.number("rejected"), tally.tags["Oven.T"].reasons["rejected"]["is not a number"].count
    (1, 1)
    """

    def __init__(self) -> None:
        self.tags: dict[str, Count] = {}
        self.letters: deque[DeadLetter] = deque(maxlen=MOST_LETTERS)
        self.changed = False

    def note(
        self,
        tag: str,
        kind: str,
        number: int = 1,
        *,
        reason: str = "",
        example: str = "",
        time: int = 0,
    ) -> None:
        """Count ``number`` values of a tag; ``reason`` says why, in words without the value."""
        count = self.tags.get(tag)
        if count is None:
            tag = tag if len(self.tags) < MOST_TAGS else ""
            count = self.tags.setdefault(tag, Count())
        count.numbers[kind] = count.numbers.get(kind, 0) + number
        self.changed = True
        if reason:
            reasons = count.reasons.setdefault(kind, {})
            known = reason if reason in reasons or len(reasons) < MOST_REASONS else OTHER
            found = reasons.setdefault(known, Reason())
            found.count += number
            found.example, found.time = example[:EXAMPLE] or found.example, time or found.time

    def dead(self, letter: DeadLetter) -> None:
        """Keep a message that could not be read, and count it."""
        self.letters.append(letter)
        self.note(
            "", "rejected", reason=letter.reason.partition("\n")[0][:EXAMPLE],
            example=letter.raw[:80].decode(errors="replace"), time=letter.time,
        )  # fmt: skip

    def number(self, kind: str) -> int:
        """How many of a kind, over all tags."""
        return sum(count.numbers.get(kind, 0) for count in self.tags.values())

    def reasons(self, kind: str) -> Iterator[tuple[str, str, Reason]]:
        """Tag, words and count of every reason of a kind, the latest last."""
        found = [
            (tag, words, reason)
            for tag, count in self.tags.items()
            for words, reason in count.reasons.get(kind, {}).items()
        ]
        yield from sorted(found, key=lambda item: item[2].time)

    def add(self, other: Tally) -> None:
        """Add the counts of an earlier life of the same source."""
        for kind in {k for count in list(other.tags.values()) for k in list(count.numbers)}:
            self.take(other, kind)

    def take(self, other: Tally, kind: str) -> None:
        """Add the counts of one kind."""
        for tag, count in list(other.tags.items()):  # others may go on counting meanwhile
            if not count.numbers.get(kind):
                continue
            mine = self.tags.setdefault(tag, Count())
            mine.numbers[kind] = mine.numbers.get(kind, 0) + count.numbers[kind]
            self.changed = True
            for words, reason in list(count.reasons.get(kind, {}).items()):
                known = mine.reasons.setdefault(kind, {}).setdefault(words, Reason())
                newer = reason if reason.time >= known.time else known
                known.count += reason.count
                known.example, known.time = newer.example, newer.time

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            tag: {
                "numbers": dict(count.numbers),
                "reasons": {
                    kind: {words: vars(reason).copy() for words, reason in reasons.items()}
                    for kind, reasons in count.reasons.items()
                },
            }
            for tag, count in self.tags.items()
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Tally:
        """What ``to_dict`` wrote."""
        tally = cls()
        for tag, said in record.items():
            reasons = {
                kind: {words: Reason(**reason) for words, reason in found.items()}
                for kind, found in said["reasons"].items()
            }
            tally.tags[tag] = Count(dict(said["numbers"]), reasons)
        return tally

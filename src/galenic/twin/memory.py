"""What a twin remembers of each tag beside its belief: the newest value, and what was counted."""

from __future__ import annotations

from dataclasses import dataclass

from galenic.inference.packing import packable


@packable
@dataclass(frozen=True)
class Latest:
    """The newest usable value of a tag, in the unit of its binding."""

    time: int
    value: float | bool | str
    uncertain: bool = False


@packable
@dataclass(frozen=True)
class Counters:
    """What became of the samples of one tag."""

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    late: int = 0
    conflicts: int = 0
    future: int = 0
    ignored: int = 0

    def counted(self, what: str) -> Counters:
        """The same with one more of a kind, in a tenth of the time of ``replace``."""
        made = object.__new__(Counters)
        numbers = vars(self)
        object.__setattr__(made, "__dict__", {**numbers, what: numbers[what] + 1})
        return made

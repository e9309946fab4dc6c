"""Entries: accepted events in the form and the order in which the fold takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from galenic.inference.packing import packable
from galenic.signals import Action
from galenic.twin.binding import Reading

# What is true at one instant is sorted by kind: a level drawn at the time of a dose is a trough,
# and a setpoint that changes at an instant holds from then on.
OBSERVATION, INPUT, WATCH, ACTION = 0, 1, 2, 3
# What is said to the alarms alone; people come last, they answer what they have seen.
UNUSABLE, FORESEEN, LOOK, ASKED = 4, 5, 6, 7
RANKS = {"observation": OBSERVATION, "input": INPUT, "watch": WATCH}


@packable
@dataclass(frozen=True)
class Entry:
    """One accepted observation, input, watched value or action. Values are SI."""

    time: int
    rank: int
    tag: str
    key: str
    quantity: str
    value: float | str | None
    sd: float = 0.0
    uncertain: bool = False
    action: Action | None = None
    received: int = 0

    @property
    def moves(self) -> bool:
        """Whether it says anything to the belief, the genealogy or the clock of the data."""
        return self.rank < UNUSABLE

    @property
    def order(self) -> tuple[int, int, str, int, str]:
        """Where it stands in the fold: source time, kind, tag, source key.

        Of two values of one input at one time (a device that stamps with its cycle, and was
        written to within one) the one received later holds.
        """
        return (self.time, self.rank, self.tag, self.received, self.key)


def entry_of_reading(reading: Reading, role: str, received: int) -> Entry:
    """The entry of an accepted sample; when it was received matters for inputs only."""
    return Entry(
        reading.time,
        RANKS[role],
        reading.tag,
        reading.key,
        reading.quantity,
        reading.value,
        reading.sd,
        reading.uncertain,
        received=received if RANKS[role] == INPUT else 0,
    )


def entry_of_action(action: Action, value: float | str | None) -> Entry:
    """The entry of an action; ``value`` is in SI, or the name of a lot."""
    return Entry(
        action.source_time, ACTION, action.target, action.key, action.target, value, action=action
    )


def clamped(reading: Reading, time: int) -> Reading:
    """A reading from the future as it is believed: true no later than it was received."""
    return replace(reading, time=time, uncertain=True)

"""What is done to a model over time: settings, ramps, doses, schedules.

An Experiment holds paths and values as written; names and units are checked against the System
when it is run. Times are seconds as floats, or text such as ``"8 h"``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from galenic.errors import ModelError
from galenic.units import duration as seconds


@dataclass(frozen=True)
class Set:
    """From time ``at`` [s] on, ``path`` has ``value``: an input, a parameter or a state."""

    path: str
    value: Any
    at: float


@dataclass(frozen=True)
class Ramp:
    """The input ``path`` moves in a straight line to ``to`` between two times [s]."""

    path: str
    to: Any
    start: float
    stop: float


@dataclass(frozen=True)
class Dose:
    """``count`` amounts given ``every`` seconds, at once or over ``duration`` [s]."""

    path: str
    amount: Any
    at: float
    duration: float
    every: float
    count: int


@dataclass(frozen=True)
class Experiment:
    """An immutable list of actions; each verb returns a longer experiment.

    Examples
    --------
    >>> experiment = Experiment().set("pump.flow", "2 L/h").dose("depot", "100 mg", at="1 h")
    >>> [type(action).__name__ for action in experiment.actions]
    ['Set', 'Dose']
    """

    actions: tuple[Set | Ramp | Dose, ...] = ()

    def set(self, path: Any, value: Any, at: Any = 0.0) -> Experiment:
        """Set an input, a parameter or a state; a step if ``at`` is after the start."""
        return self._with(Set(str(path), value, seconds(at)))

    def ramp(self, path: Any, to: Any, start: Any, stop: Any) -> Experiment:
        """Move an input linearly from what it is at ``start`` to ``to`` at ``stop``."""
        begin, end = seconds(start), seconds(stop)
        if not end > begin:
            raise ModelError(
                f"the ramp of {path} stops at {stop} and starts at {start}",
                expected="a stop after the start",
                hint="use set() for a step",
            )
        return self._with(Ramp(str(path), to, begin, end))

    def dose(
        self,
        path: Any,
        amount: Any,
        at: Any = 0.0,
        duration: Any = 0.0,
        every: Any = None,
        count: int = 1,
    ) -> Experiment:
        """Give an amount to a state, or through an input of role dose.

        Parameters
        ----------
        path : str or Ref
            A state (amount in its unit: a jump, or a constant rate if ``duration`` is given) or
            an input whose unit is an amount per time (``duration`` needed).
        amount : str, Quantity or float
            Amount of each dose, with unit.
        at, duration, every : str or float [s]
            Time of the first dose, length of an infusion, interval between doses.
        count : int
            Number of doses.
        """
        if count < 1 or (count > 1 and every is None):
            raise ModelError(
                f"{count} doses to {path} without an interval",
                expected="count of at least 1, and every= when count is above 1",
                hint='for example every="12 h", count=14',
            )
        interval = 0.0 if every is None else seconds(every)
        dose = Dose(str(path), amount, seconds(at), seconds(duration), interval, int(count))
        if dose.duration < 0 or (count > 1 and interval <= 0):
            raise ModelError(
                f"the doses to {path} have a negative duration or no interval",
                expected="duration of at least 0 s and every above 0 s",
            )
        return self._with(dose)

    def schedule(self, path: Any, points: Iterable[tuple[Any, Any]]) -> Experiment:
        """Step through (time, value) pairs."""
        steps = tuple(Set(str(path), value, seconds(at)) for at, value in points)
        return Experiment(self.actions + steps)

    def then(self, other: Experiment) -> Experiment:
        """Both lists of actions, the other's after this one's where times are equal."""
        return Experiment(self.actions + other.actions)

    def to_dict(self) -> dict[str, Any]:
        """The actions as plain values for JSON, times in seconds."""
        rows = [
            {"kind": type(action).__name__.lower()}
            | {key: _plain(value) for key, value in asdict(action).items()}
            for action in self.actions
        ]
        return {"actions": rows}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Experiment:
        """The experiment that ``to_dict`` wrote."""
        kinds = {"set": Set, "ramp": Ramp, "dose": Dose}
        rows = [dict(row) for row in data["actions"]]
        return cls(tuple(kinds[row.pop("kind")](**row) for row in rows))

    def _with(self, action: Set | Ramp | Dose) -> Experiment:
        return Experiment((*self.actions, action))


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else str(value)

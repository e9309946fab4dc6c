"""How forecasts came out: errors, skill over persistence, share inside their bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from galenic.clock import nanoseconds
from galenic.signals import Sample
from galenic.twin import look
from galenic.twin.twin import Twin


@dataclass
class Score:
    """How forecasts of one quantity at one distance came out, in its declared unit."""

    quantity: str
    unit: str
    ahead: float
    errors: list[float] = field(default_factory=list)
    naive: list[float] = field(default_factory=list)
    inside: int = 0

    def add(self, error: float, naive: float, is_inside: bool) -> None:
        """One outcome: its distance from the forecast and from the last value before it."""
        self.errors.append(error)
        self.naive.append(naive)
        self.inside += is_inside

    def row(self) -> dict[str, Any]:
        """Numbers for a table; the skill is 1 minus the ratio of mean squares to persistence."""
        squares, naive = np.mean(np.square(self.errors)), np.mean(np.square(self.naive))
        return {
            "quantity": self.quantity,
            "ahead": self.ahead,
            "outcomes": len(self.errors),
            "rmse": float(np.sqrt(squares)),
            "unit": self.unit,
            "rmse of persistence": float(np.sqrt(naive)),
            "skill": float(1.0 - squares / naive) if naive > 0 else None,
            "inside 90 %": self.inside / len(self.errors),
        }


class Scorer:
    """Makes forecasts on the way and compares them with what is measured later.

    Parameters
    ----------
    ahead : sequence of float [s]
        Distances.
    every : float [s]
        Time between forecasts.
    patience : float [s]
        How far from the forecast's time a measurement may be.
    """

    def __init__(self, ahead: Sequence[float], every: float, patience: float) -> None:
        self.ahead = tuple(ahead)
        self.every = nanoseconds(every)
        self.patience = nanoseconds(patience)
        self.scores: dict[tuple[str, float], Score] = {}
        self._next = 0
        self._waiting: dict[str, list[tuple[int, float, float, float, float, float]]] = {}

    def look(self, twin: Twin) -> None:
        """Forecast, if it is time."""
        if not self.ahead or twin.now < self._next or not twin.fold.state.folded:
            return
        self._next = twin.now + self.every
        last = {
            channel.binding.quantity: twin.latest[tag].value
            for tag, channel in twin.channels.items()
            if _scored(channel) and tag in twin.latest
        }
        names = [q for q, value in last.items() if isinstance(value, int | float)]
        if not names:
            return
        step = min(self.ahead)
        made = look.forecast(twin, max(self.ahead), step, names)
        for name in names:
            low, high = made.band(name)
            for ahead in self.ahead:
                row = int(np.argmin(np.abs(made.times - (made.times[0] + nanoseconds(ahead)))))
                mean = float(made.mean[row, made.column(name)])
                facts = (int(made.times[row]), ahead, mean, float(low[row]), float(high[row]))
                self._waiting.setdefault(name, []).append((*facts, _si(twin, name, last[name])))

    def saw(self, twin: Twin, sample: Sample) -> None:
        """Compare a measurement with the forecasts that were made for its time."""
        channel = twin.channels.get(sample.tag)
        if channel is None or not _scored(channel) or not isinstance(sample.value, int | float):
            return
        name, time = channel.binding.quantity, sample.source_time
        left = []
        value = _si(twin, name, sample.value)
        for facts in self._waiting.get(name, ()):
            if abs(facts[0] - time) <= self.patience:
                self._score(twin, name, facts, value)
            elif facts[0] > time - self.patience:
                left.append(facts)
        self._waiting[name] = left

    def _score(self, twin: Twin, name: str, facts: Any, value: float) -> None:
        _, ahead, mean, low, high, last = facts
        unit = twin.entries[name].unit
        score = self.scores.setdefault((name, ahead), Score(name, unit.text, ahead))
        score.add((value - mean) / unit.scale, (value - last) / unit.scale, low <= value <= high)


def _scored(channel: Any) -> bool:
    return bool(channel.role == "observation")


def _si(twin: Twin, quantity: str, value: Any) -> float:
    from galenic.units import to_si

    return float(to_si(float(value), twin.entries[quantity].unit))

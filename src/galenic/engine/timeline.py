"""An Experiment checked against a System: breakpoints, jumps, and inputs between them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.engine.compile import Compiled
from galenic.engine.experiment import Dose, Experiment, Ramp, Set
from galenic.errors import UnitError
from galenic.units import unit, value_in

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """At ``time`` [s] something gets a new value (SI): a kind and an index of the System."""

    time: float
    kind: str  # input | parameter | state | add
    index: int
    value: float


@dataclass(frozen=True)
class Span:
    """Between two times [s]: a dose rate (SI) or, for kind ramp, the value at the end."""

    start: float
    stop: float
    kind: str  # input | state | ramp
    index: int
    value: float


class Timeline:
    """The changes and spans of an experiment on one System, in SI.

    Parameters
    ----------
    compiled : Compiled
        Against whose names and units the experiment is checked.
    experiment : Experiment or None
        What is done.
    """

    def __init__(self, compiled: Compiled, experiment: Experiment | None) -> None:
        self.compiled = compiled
        self.changes: list[Change] = []
        self.spans: list[Span] = []
        add: dict[type, Callable[[Any], None]] = {
            Set: self._set,
            Ramp: self._ramp,
            Dose: self._dose,
        }
        for action in experiment.actions if experiment else ():
            add[type(action)](action)
        touched = {(change.kind, change.index) for change in self.changes}
        for kind, index in touched | {(span.kind, span.index) for span in self.spans}:
            compiled.require_free({"add": "state", "ramp": "input"}.get(kind, kind), index)
        self.changes.sort(key=lambda change: change.time)
        self._times = [change.time for change in self.changes]
        drives: list[tuple[float, Change | Span]] = [
            (c.time, c) for c in self.changes if c.kind == "input"
        ]
        drives += [(s.start, s) for s in self.spans if s.kind == "ramp"]
        self._drives = sorted(drives, key=lambda pair: pair[0])

    def breakpoints(self, start: float, until: float) -> list[float]:
        """Times in [start, until) at which something changes or a scheduled event is due."""
        times = {change.time for change in self.changes}
        times |= {edge for span in self.spans for edge in (span.start, span.stop)}
        times |= {time for time, _ in self.scheduled(start, until)}
        return sorted(time for time in times if start <= time < until)

    def scheduled(self, start: float, until: float) -> list[tuple[float, int]]:
        """(time, event index) of the scheduled events in [start, until)."""
        due = []
        for index, rule in enumerate(self.compiled.system.events):
            if rule.trigger is not None:
                continue
            first = rule.first if rule.first is not None else (rule.period or 0.0)
            if not rule.period:
                due += [(first, index)] if start <= first < until else []
                continue
            k = max(0, int(np.ceil((start - first) / rule.period - 1e-9)))
            while (time := tidy(first + k * rule.period)) < until:
                if time >= start:
                    due.append((time, index))
                k += 1
        return sorted(due)

    def at(self, time: float) -> list[Change]:
        """The changes exactly at ``time``, in the order they were declared."""
        first = bisect_left(self._times, time)
        rows = []
        for change in self.changes[first:]:
            if change.time != time:
                break
            rows.append(change)
        return rows

    def inputs(self, time: float, given: Array) -> tuple[Array, Array]:
        """Inputs at ``time`` (after its changes) and their slopes until the next breakpoint."""
        return self._inputs(time, given, 1.0)

    def shares(self, time: float) -> tuple[Array, Array]:
        """By how much levels and slopes of ``inputs`` change with the given values, linearly."""
        return self._inputs(time, np.ones(self.compiled.nu), 0.0)

    def _inputs(self, time: float, given: Array, weight: float) -> tuple[Array, Array]:
        """The given inputs, with what the experiment does to them counted by ``weight``.

        A set or a ramp that begins during a ramp takes over from the level reached by then.
        """
        base, slope = given.copy(), np.zeros_like(given)
        latest: dict[int, Span] = {}
        for begin, item in self._drives:
            if begin > time:
                break
            i = item.index
            if i in latest:
                base[i], _ = _ramped(base[i], latest.pop(i), begin, weight)
            if isinstance(item, Change):
                base[i] = weight * item.value
            else:
                latest[i] = item
        for i, ramp in latest.items():
            base[i], slope[i] = _ramped(base[i], ramp, time, weight)
        for span in self._active(time, "input"):
            base[span.index] += weight * span.value
        return base, slope

    def through_inputs(self, time: float) -> Array:
        """What doses add to inputs [SI] at ``time``; ``inputs`` contains it."""
        added = np.zeros(self.compiled.nu)
        for span in self._active(time, "input"):
            added[span.index] += span.value
        return added

    def rates(self, time: float) -> Array:
        """Rates [SI/s] that infusions add to states at ``time``."""
        rate = np.zeros(self.compiled.nx)
        for span in self._active(time, "state"):
            rate[span.index] += span.value
        return rate

    def parameters(self, time: float, given: Array) -> Array:
        """Parameters after all changes before ``time``."""
        p = given.copy()
        for change in self.changes:
            if change.time < time and change.kind == "parameter":
                p[change.index] = change.value
        return p

    def _active(self, time: float, kind: str) -> list[Span]:
        return [s for s in self.spans if s.kind == kind and s.start <= time < s.stop]

    def _set(self, action: Set) -> None:
        kind, index = self.compiled.find(action.path, "input", "parameter", "state")
        entry = self.compiled.tables[kind][index]
        self.changes.append(
            Change(tidy(action.at), kind, index, _value(action.value, entry.unit, action.path))
        )

    def _ramp(self, action: Ramp) -> None:
        _, index = self.compiled.find(action.path, "input")
        entry = self.compiled.tables["input"][index]
        to = _value(action.to, entry.unit, action.path)
        self.spans.append(Span(tidy(action.start), tidy(action.stop), "ramp", index, to))

    def _dose(self, action: Dose) -> None:
        kind, index = self.compiled.find(action.path, "state", "input")
        entry = self.compiled.tables[kind][index]
        amount = (
            _value(action.amount, entry.unit, action.path)
            if kind == "state"
            else _amount_through_input(action, entry.unit)
        )
        for k in range(action.count):
            at = tidy(action.at + k * action.every)
            if action.duration > 0:
                rate = amount / action.duration
                self.spans.append(Span(at, tidy(at + action.duration), kind, index, rate))
            else:
                self.changes.append(Change(at, "add", index, amount))


def _ramped(base: float, ramp: Span, time: float, weight: float) -> tuple[float, float]:
    """Level and slope at ``time`` of a ramp that began at the level ``base``."""
    if time >= ramp.stop:
        return weight * ramp.value, 0.0
    rate = (weight * ramp.value - base) / (ramp.stop - ramp.start)
    return base + rate * (time - ramp.start), rate


def tidy(time: float) -> float:
    """A time rounded to 12 significant digits, so that sums of steps meet exactly."""
    return float(f"{time:.12g}")


def _amount_through_input(action: Dose, rate_unit: Any) -> float:
    if action.duration <= 0:
        raise UnitError(
            f"a dose of {action.amount} at once into the input {action.path}",
            expected="duration= for a dose through an input, or the path of a state",
            hint='an input is a rate: give for example duration="30 min"',
        )
    if isinstance(action.amount, (int, float)):
        raise UnitError(
            f"the dose {action.amount} to {action.path} has no unit",
            expected=f"an amount in [{rate_unit.text}] times a time",
            hint='write the amount with its unit, for example "500 mg"',
        )
    return _value(action.amount, unit(f"({rate_unit.text}) * s"), action.path)


def _value(value: Any, declared: Any, path: str) -> float:
    return float(value_in(value, declared, where=f"experiment: {path}"))

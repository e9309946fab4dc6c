"""Doses, resets, covariates and occasions of individuals as rows of events for a kernel.

A value observed before a dose in the data, at the same time, is one before that dose: the dose
is moved a millisecond on. A dose at steady state (SS 1) stands for the dose given again and again
into an empty body before; these doses go in front of it on a clock that is stretched there.
One on top of what there is (SS 2) makes the system start anew on a clock stretched so far that all
doses since the last start can be given again, with the doses ever before among them: what is
observed before it has not seen these, what is observed after has seen both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galenic.engine.native.job import Kind
from galenic.engine.native.schedule import Events
from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.inference.mixed.records import Dose, Individual

SOON = 1e-3  # s, between what happens at one time but not at once


@dataclass(frozen=True)
class Places:
    """Where events act in a kernel: states and rates by route, covariates and marks in theta."""

    states: dict[str, int]
    rates: dict[str, int]
    covariates: tuple[int, ...]
    marks: tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """Something that does not depend on parameters: a reset or a setting of theta."""

    time: float
    order: float
    kind: Kind
    index: int
    value: float


@dataclass(frozen=True)
class Timeline:
    """One individual on the clock of the kernel.

    Parameters
    ----------
    begin, end : float [s]
        Of the run.
    times : array (n_observations,) [s]
    doses : tuple of (Dose, time on the clock, row of the dose among the individual's knots)
    """

    begin: float
    end: float
    times: Array
    doses: tuple[tuple[Dose, float, int], ...]
    changes: tuple[Change, ...]
    marks: Array
    covariates: Array


@dataclass(frozen=True, eq=False)
class Dosing:
    """What parameters say of one dose: factor of the amount, delay, duration and rate (SI)."""

    factor: float = 1.0
    lag: float = 0.0
    duration: float = 0.0
    rate: float = 0.0


def timeline(
    one: Individual, places: Places, carry: str, cycles: dict[str, int], occasions: int
) -> Timeline:
    """The timeline of an individual; ``cycles`` says how many doses make a steady state."""
    clock = _Clock(one, cycles)
    doses = clock.doses
    times = np.array([clock.seen(t, o) for t, o in zip(one.times, one.orders, strict=True)])
    changes = [*clock.resets, *_settings(one, places, carry, clock, occasions)]
    begin = min([clock.begin, *(times[:1]), *(d[1] for d in doses), *(c.time for c in changes)])
    end = max(times[-1] if len(times) else begin, begin) + 1.0
    marks = np.zeros(occasions)
    if occasions:
        marks[one.occasions[0]] = 1.0
    return Timeline(begin, end, times, tuple(doses), tuple(changes), marks, one.covariates[0])


class _Clock:
    """The stretched clock of one individual."""

    def __init__(self, one: Individual, cycles: dict[str, int]) -> None:
        self.one = one
        self.begin = float(one.knots[0])
        self.jumps: list[tuple[float, int, float]] = []  # (time, order, added)
        self.doses: list[tuple[Dose, float, int]] = []
        self.resets: list[Change] = []
        self._observed = list(zip(one.times, one.orders, strict=True))
        self._moved: set[tuple[float, int]] = set()
        self._live: list[tuple[Dose, float, int]] = []  # doses since the last start
        self._started = 0  # order of the last start
        for dose in sorted(one.doses, key=lambda d: (d.time, d.order)):
            if self.after(dose.time, dose.order) > self.at(dose.time, dose.order):
                self._moved.add((dose.time, dose.order))
            self._forget(dose)
            if dose.steady == 1:
                self._steady(dose, cycles[dose.route])
            elif dose.steady == 2:
                self._on_top(dose, cycles[dose.route])
            self._live.append((dose, self.after(dose.time, dose.order), self._knot(dose.order)))
            self.doses.append(self._live[-1])
        for time, order in one.resets:
            when = self.after(time, order - 0.5)  # before the doses of a steady state in its row
            self.resets.append(Change(when, order - 0.5, Kind.RESTART, 0, 0.0))
            self._stop_infusions(when)

    def at(self, time: float, order: float) -> float:
        """A time on the clock."""
        return time + sum(
            added for t, o, added in self.jumps if time > t or (time == t and order >= o)
        )

    def after(self, time: float, order: float) -> float:
        """The same, a moment later where something was observed before."""
        seen = any(t == time and o < order for t, o in self._observed)
        return self.at(time, order) + (SOON if seen else 0.0)

    def seen(self, time: float, order: float) -> float:
        """When something is observed: after a dose that was moved, if it stands below that."""
        moved = any(t == time and o < order for t, o in self._moved)
        return self.at(time, order) + (SOON if moved else 0.0)

    def _steady(self, dose: Dose, count: int) -> None:
        """The doses before one at steady state."""
        start = self.after(dose.time, dose.order)
        self.resets.append(Change(start, dose.order - 0.5, Kind.RESTART, 0, 0.0))
        self._stop_infusions(start)
        self.jumps.append((dose.time, dose.order, count * dose.ii + SOON))
        knot = self._knot(dose.order)
        self._live = [(dose, start + k * dose.ii, knot) for k in range(count)]
        self._started = dose.order
        self.doses.extend(self._live)

    def _on_top(self, dose: Dose, count: int) -> None:
        """All doses since the last start again, with those before one at steady state."""
        start = self.after(dose.time, dose.order)
        self._check_constant(dose)
        ends = [t + d.amount / d.rate for d, t, _ in self._live if d.rate > 0]
        quiet = max([start, *ends])
        first = min([start - count * dose.ii, *(t for _, t, _ in self._live)])
        shift = quiet - first + SOON
        self.resets.append(Change(quiet, dose.order - 0.5, Kind.RESTART, 0, 0.0))
        self.jumps.append((dose.time, dose.order, shift))
        knot = self._knot(dose.order)
        earlier = [(dose, start + shift - k * dose.ii, knot) for k in range(1, count + 1)]
        self._live = [(d, t + shift, k) for d, t, k in self._live] + earlier
        self.doses.extend(self._live)

    def _forget(self, dose: Dose) -> None:
        """Doses before a reset that stands before a dose, or in its row."""
        for time, order in self.one.resets:
            if (time, order) <= (dose.time, dose.order):
                self._live = [e for e in self._live if (e[0].time, e[0].order) >= (time, order)]
                self._started = max(self._started, order)

    def _check_constant(self, dose: Dose) -> None:
        one, first, last = self.one, self._knot(self._started), self._knot(dose.order) + 1
        known = one.covariates[first:last], one.occasions[first:last]
        if not all((column == column[-1]).all() for column in known):
            raise DataError(
                "SS 2, a steady state on top of what there is, after a change of covariates",
                where=f"row {dose.row}, column SS",
                expected="covariates and occasion as they were since the first row or a reset",
            )

    def _knot(self, order: float) -> int:
        return int(np.searchsorted(self.one.knot_orders, order))

    def _stop_infusions(self, when: float) -> None:
        for dose, time, _ in self.doses:
            if dose.rate > 0 and time < when < time + dose.amount / dose.rate:
                raise DataError(
                    "the system starts anew while an infusion runs",
                    where=f"row {dose.row}",
                    expected="infusions that end before a reset",
                )


def _settings(
    one: Individual, places: Places, carry: str, clock: _Clock, occasions: int
) -> list[Change]:
    """Changes of covariates and occasions; the first values stand in theta."""
    rows = []
    for k in range(1, len(one.knots)):
        before, here = one.knots[k - 1], one.knots[k]
        order = float(one.knot_orders[k])
        if carry == "nocb" and here > before:
            when = clock.at(before, one.knot_orders[k - 1]) + SOON
        else:
            when = clock.at(here, order)
        for place, old, new in zip(
            places.covariates, one.covariates[k - 1], one.covariates[k], strict=True
        ):
            if old != new:
                rows.append(Change(when, order - 0.4, Kind.THETA, place, float(new)))
        old, new = one.occasions[k - 1], one.occasions[k]
        if occasions and old != new:
            rows.append(Change(when, order - 0.4, Kind.THETA, places.marks[old], 0.0))
            rows.append(Change(when, order - 0.4, Kind.THETA, places.marks[new], 1.0))
    return rows


def events(
    lines: Sequence[Timeline], places: Places, dosing: Sequence[Sequence[Dosing]] | None = None
) -> Events:
    """The events of individuals; ``dosing`` holds what parameters say of each dose of each."""
    rows: list[tuple[float, float, int, int, float]] = []
    offsets = [0]
    for i, line in enumerate(lines):
        mine = [(c.time, c.order, int(c.kind), c.index, c.value) for c in line.changes]
        deltas: dict[int, list[tuple[float, float, float]]] = {}
        for j, (dose, time, _) in enumerate(line.doses):
            says = dosing[i][j] if dosing else Dosing()
            _give(mine, deltas, dose, time + says.lag, says, places)
        for index, steps in deltas.items():
            level = 0.0
            for time, order, change in sorted(steps):
                level += change
                level = 0.0 if abs(level) < 1e-12 * abs(change) else level
                mine.append((time, order, int(Kind.THETA), index, level))
        rows += sorted(mine, key=lambda row: row[:2])
        offsets.append(len(rows))
    columns: list[npt.ArrayLike] = list(zip(*rows, strict=True)) if rows else [()] * 5
    return Events(offsets, columns[0], columns[2], columns[3], columns[4])


def _give(
    rows: list[tuple[float, float, int, int, float]],
    deltas: dict[int, list[tuple[float, float, float]]],
    dose: Dose,
    time: float,
    says: Dosing,
    places: Places,
) -> None:
    amount = dose.amount * says.factor
    rate = says.rate if dose.rate == -1 else dose.rate
    rate = amount / says.duration if dose.rate == -2 else rate
    if rate == 0:
        rows.append((time, float(dose.order), int(Kind.ADD), places.states[dose.route], amount))
        return
    steps = deltas.setdefault(places.rates[dose.route], [])
    steps.append((time, float(dose.order), rate))
    steps.append((time + amount / rate, float(dose.order), -rate))

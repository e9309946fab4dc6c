"""Exact delays: what a run has computed, kept so that its equations can look it up.

A run of a model with delays goes in legs that are no longer than the shortest delay (method of
steps), so that what a leg looks up is known before it begins. A leg is kept as Chebyshev series of
its states; one whose last coefficients are not small beside the tolerance is done again at half
its length. Jumps come back one delay later, one derivative smoother each time; legs end there.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.engine.chebyshev import NODES, TERMS, series, value
from galenic.engine.compile import Compiled
from galenic.engine.integrate import Leg
from galenic.errors import SolveError

Array = npt.NDArray[np.float64]

SMOOTH = 4  # how often a jump is followed; after that the solution has three derivatives there
SHORTEST = 1e-9  # of the run
_INWARD = 1e-4  # of the way to the middle: which piece counts at the ends of a leg
_LONGER = 1e-3  # of the tolerance: series that end so small let the next leg be twice as long


@dataclass(frozen=True)
class DelayedLeg(Leg):
    """A leg in which the inputs ``places`` are series, ``wave`` (delays, TERMS)."""

    places: tuple[int, ...]
    wave: Array

    @property
    def end(self) -> float:
        """When it is over [s]."""
        return self.start + self.span

    def packed(self) -> Array:
        """The parameter vector of the integrators."""
        return np.concatenate([super().packed(), self.wave.ravel()])

    def inputs_at(self, time: float) -> Array:
        """Inputs at a time inside the leg."""
        u = super().inputs_at(time)
        u[list(self.places)] = value(self.wave, (time - self.start) / self.span)
        return u


@dataclass(frozen=True, eq=False)
class Piece:
    """A leg that is over: series (rows, TERMS) of its states, algebraic values and inflows."""

    leg: DelayedLeg
    x: Array
    z: Array
    inflow: Array

    @classmethod
    def of(cls, leg: DelayedLeg, x: Array, z: Array, found: Any) -> Piece:
        """From the values at the start and what an integrator gave at ``chebyshev.GRID``."""
        inflow = np.asarray(found.inflow).reshape(-1, TERMS - 1)
        begin = np.zeros(len(inflow))
        pairs = ((x, found.x), (z, found.z), (begin, inflow))
        return cls(leg, *(series(np.column_stack(pair)) for pair in pairs))

    def at(self, time: float) -> tuple[Array, Array, Array]:
        """States, algebraic values, inflows since the begin of the leg."""
        share = (time - self.leg.start) / self.leg.span
        return value(self.x, share), value(self.z, share), value(self.inflow, share)


class Past:
    """What the equations of a run look up.

    Parameters
    ----------
    compiled : Compiled
        A system with delays.
    began : float [s]
        The start of the run.
    before : array [SI]
        What the delayed quantities were until then.
    """

    def __init__(self, compiled: Compiled, began: float, before: Array) -> None:
        self.compiled, self.began, self.before = compiled, began, before
        self.places = tuple(delayed.input for delayed in compiled.system.delays)
        self.pieces: list[Piece] = []
        self._begins: list[float] = []
        self._breaks: list[tuple[float, int]] = []
        self._longest = np.inf

    def lags(self, p: Array) -> Array:
        """The delays [s]."""
        found = np.array(self.compiled.lags(p)).ravel()
        wrong = np.flatnonzero(~((found > 0) & np.isfinite(found)))
        if len(wrong):
            path = self.compiled.system.inputs[self.places[int(wrong[0])]].path
            raise SolveError(
                f"the exact delay {path} is {found[wrong[0]]:g} s",
                where=self.compiled.system.name,
                hint="a delay must be longer than nothing; without one, use the quantity itself",
            )
        return found

    def mark(self, time: float, p: Array, level: int = 0) -> None:
        """Something jumped at ``time``; it comes back one delay later, smoother each time."""
        if level >= SMOOTH:
            return
        for lag in self.lags(p):
            back = float(f"{time + lag:.12g}"), level + 1
            if back not in self._breaks:
                insort(self._breaks, back)

    def end(self, time: float, stop: float, p: Array) -> float:
        """How far the next leg may go."""
        while self._breaks and self._breaks[0][0] <= time:
            at, level = self._breaks.pop(0)
            self.mark(at, p, level)
        longest = min(float(self.lags(p).min()), self._longest)
        end = min([stop, time + longest, *(at for at, _ in self._breaks[:1])])
        return stop if stop - end < SHORTEST * (stop - self.began) else end

    def leg(self, plain: Leg, rtol: float) -> DelayedLeg:
        """A leg, as long as the series of what it looks up can be trusted."""
        leg = self.fitted(plain)
        while self._tail(leg.wave, self._sizes) > rtol and not self._is_shortest(leg):
            leg = self.half(leg)
        return leg

    def fitted(self, plain: Leg) -> DelayedLeg:
        """A leg as long as it is, with the series of what it looks up."""
        start, span = plain.start, plain.span
        times = start + NODES * span
        rows = [self._row(k, times - lag, span) for k, lag in enumerate(self.lags(plain.p))]
        facts = {name: getattr(plain, name) for name in Leg.__dataclass_fields__}
        return DelayedLeg(**facts, places=self.places, wave=series(np.array(rows)))

    def now(self, time: float, p: Array) -> Array:
        """The delayed quantities right after ``time``."""
        lags = self.lags(p)
        rows = [self._row(k, np.array([time - lag]), lag) for k, lag in enumerate(lags)]
        return np.array(rows)[:, 0]

    def _row(self, k: int, times: Array, span: float) -> Array:
        """Quantity ``k`` at times of one leg, at its ends as seen from within."""
        middle = times[0] + 0.5 * span
        return np.array([self._value(k, t, t + _INWARD * (middle - t)) for t in times])

    def _value(self, k: int, time: float, inside: float) -> float:
        if inside <= self.began or not self.pieces:
            return float(self.before[k])
        piece = self.pieces[bisect_right(self._begins, inside) - 1]
        x, z, _ = piece.at(time)
        leg = piece.leg
        return float(self.compiled.delayed(time, x, z, leg.inputs_at(time), leg.p)[k])

    def add(self, piece: Piece, rtol: float) -> None:
        """A leg is over."""
        self.pieces.append(piece)
        self._begins.append(piece.leg.start)
        if self._tail(piece.x, self.compiled.nominal) < _LONGER * rtol:
            self._longest = max(self._longest, 2 * piece.leg.span)

    def is_resolved(self, piece: Piece, rtol: float) -> bool:
        """Whether the series of a leg is as good as its integration, or the leg very short."""
        tail = self._tail(piece.x, self.compiled.nominal)
        return tail <= rtol or self._is_shortest(piece.leg)

    def _is_shortest(self, leg: DelayedLeg) -> bool:
        return leg.span <= SHORTEST * max(float(self.lags(leg.p).min()), abs(leg.start))

    @cached_property
    def _sizes(self) -> Array:
        nominal = [self.compiled.system.inputs[i].nominal for i in self.places]
        return np.asarray(np.maximum(np.abs(self.before), np.array(nominal)))

    def _tail(self, rows: Array, nominal: Array) -> float:
        """The last two coefficients beside the size of each row."""
        size = np.maximum(np.abs(rows).sum(axis=1), nominal)
        return float((np.abs(rows[:, -2:]).max(axis=1) / size).max(initial=0.0))

    def half(self, leg: DelayedLeg) -> DelayedLeg:
        """The first half of a leg, because it was too long."""
        self._longest = 0.5 * leg.span
        return self.fitted(replace(leg, span=self._longest))

"""The walk through a run: jumps at breakpoints, legs between them, events wherever they fall.

Order at one time: the experiment's changes, then scheduled events, then state events whose trigger
went from below zero to zero or above by one of these jumps; then the algebraic values are solved
again. A trigger that is at or above zero at the very start does not fire until it has been below.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from galenic.engine.chebyshev import GRID
from galenic.engine.compile import Compiled
from galenic.engine.delayed import SHORTEST, DelayedLeg, Past, Piece
from galenic.engine.initial import consistent
from galenic.engine.integrate import Integrators, Leg, Solution
from galenic.engine.lookahead import NOTHING, Sight
from galenic.engine.timeline import Change, Timeline, tidy
from galenic.engine.trajectory import Event
from galenic.errors import SolveError

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

_TIE = 1e-11  # share of a leg: an output so shortly before an event is taken after it
_CASCADE = 1000  # rounds of events at one time
_CHATTER = 40  # events of one rule within 1e-9 of the run


@dataclass(frozen=True)
class Travelled:
    """A leg that was integrated, the grid nodes that were kept, and whether an event ended it.

    ``jumped``: it ends where a trigger jumps over zero, at a time that has no derivative.
    """

    leg: Leg
    kept: int
    stopped: bool
    jumped: bool = False


@dataclass(frozen=True)
class Reset:
    """An event rule that was applied at ``time`` [s], with the inputs and z of that moment."""

    rule: int
    time: float
    z: Array
    u: Array
    slope: Array


@dataclass(frozen=True)
class Sampled:
    """The current state was recorded at ``time`` [s]."""

    time: float
    z: Array
    u: Array


Step = Travelled | Reset | Sampled | Change


@dataclass
class March:
    """A run in progress. ``advance`` moves it on; ``rows`` and ``log`` grow.

    Parameters
    ----------
    compiled, integrators, timeline
        What is run.
    time, x, z, p
        Where it starts (SI); parameters before any change.
    given
        Inputs before any change.
    fixed
        Indices of states whose start value was given, not computed from parameters.
    """

    compiled: Compiled
    integrators: Integrators
    timeline: Timeline
    time: float
    x: Array
    z: Array
    given: Array
    p: Array
    rtol: float
    atol: float | None
    fixed: frozenset[int] = frozenset()
    rows: list[tuple[float, Array, Array, Array, Array, Array]] = field(default_factory=list)
    log: list[Step] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self.began = self.time
        self.inflow = np.zeros(len(self.compiled.system.conserved))
        self.offset = np.zeros(len(self.compiled.triggered))
        self.past: Past | None = None
        self._drive()
        self._recent: dict[int, deque[float]] = {}
        self._levels = np.zeros(len(self.compiled.triggered))
        self._leaving = np.zeros(len(self.compiled.triggered), dtype=bool)

    def advance(self, until: float, samples: list[float]) -> None:
        """Move to ``until`` [s], recording at the sorted times ``samples``."""
        self.until = until
        wanted = deque(time for time in samples if time >= self.time)
        stops = deque(self.timeline.breakpoints(self.time, until))
        scheduled: dict[float, list[int]] = {}
        for time, rule in self.timeline.scheduled(self.time, until):
            scheduled.setdefault(time, []).append(rule)
        self._settle_start()
        while not self.ended:
            if self.time < until:
                self._jump(scheduled.get(self.time, []))
            while wanted and wanted[0] <= self.time:
                self._record(wanted.popleft())
            if self.time >= until or self.ended:
                break
            while stops and stops[0] <= self.time:
                stops.popleft()
            self._travel(stops[0] if stops else until, wanted)
        if self.ended and (not self.rows or self.rows[-1][0] < self.time):
            self._record(self.time)

    def _drive(self) -> None:
        """Inputs from this time on, earlier values of the model among them."""
        self.u, self.slope = self.timeline.inputs(self.time, self.given)
        if self.past is not None:
            self.u[list(self.past.places)] = self.past.now(self.time, self.p)

    def _settle_start(self) -> None:
        if self.compiled.system.delays and self.past is None:
            self._settle_past()
        self.z = consistent(self.compiled, self.time, self.x, self.z, self.u, self.p)
        self._levels = self._measure()

    def _jump(self, due: list[int]) -> None:
        """The experiment's changes at this time, then the scheduled events that are due."""
        before = self._amounts()
        changes = self.timeline.at(self.time)
        for change in changes:
            self._change(change)
        self._drive()
        if changes:
            self._solve_algebraic()
            self.inflow = self.inflow + self._amounts() - before
        for rule in due:
            self._apply(rule)
        self._solve_algebraic()
        self._cascade()

    def _change(self, change: Change) -> None:
        if change.kind in ("state", "add"):
            self.x = self.x.copy()
            base = self.x[change.index] if change.kind == "add" else 0.0
            self.x[change.index] = base + change.value
        elif change.kind == "parameter":
            self.p = self.p.copy()
            self.p[change.index] = change.value
        self.log.append(change)

    def _settle_past(self) -> None:
        """Until the start everything was as it is at the start."""
        places = [delayed.input for delayed in self.compiled.system.delays]
        self.u[places], self.slope[places] = 0.0, 0.0
        for _ in range(len(places) + 1):
            self.z = consistent(self.compiled, self.time, self.x, self.z, self.u, self.p)
            before = self.compiled.delayed(self.time, self.x, self.z, self.u, self.p)
            self.u[places] = np.array(before).ravel()
        self.past = Past(self.compiled, self.time, self.u[places].copy())
        self.past.mark(self.time, self.p)

    def _travel(self, stop: float, wanted: deque[float]) -> None:
        """One leg to ``stop`` or to the first event before it."""
        if self.past is not None:
            self._travel_slowly(self.past, stop, wanted)
            return
        sight, stop = self._within_sight(stop)
        inner = []
        for time in wanted:
            if time >= stop:
                break
            inner.append(time)
        span = stop - self.time
        grid = tuple(float(f"{(time - self.time) / span:.12f}") for time in inner)
        leg = self._leg(stop, (*grid, 1.0) if not grid or grid[-1] < 1.0 else grid)
        events = False if sight.jumps else None
        found = self.integrators.solve(leg, self.x, self.z, self.rtol, self.atol, events)
        reached = 1.0 if found.stopped is None else found.stopped
        met = reached - (0.0 if found.stopped is None else _TIE)
        kept = [time for time, share in zip(inner, grid, strict=True) if share < met]
        self.log.append(Travelled(leg, len(kept), found.stopped is not None, sight.jumps))
        for j, time in enumerate(kept):
            inputs = leg.inputs_at(time)
            inflow = self.inflow + (found.inflow[:, j] if self.inflow.size else 0.0)
            self.rows.append((time, found.x[:, j], found.z[:, j], inputs, self.p, inflow))
            wanted.popleft()
        before = self._levels + self.offset
        self._arrive(
            leg, found, stop if found.stopped is None else tidy(self.time + reached * span)
        )
        if found.stopped is None and sight.crossing is not None:
            risen = (before < 0) & (self._levels >= 0)
            self._levels = np.where(risen, before, self._levels)  # fires before the next leg

    def _within_sight(self, stop: float) -> tuple[Sight, float]:
        """The first crossing of a trigger, and the time just beyond it, or ``stop``."""
        if not self.compiled.triggered:
            return NOTHING, stop
        course = self.integrators.course(self._leg(stop, (1.0,)), self.x, self.z, self.rtol)
        if course is None:
            return NOTHING, stop
        sight = self.integrators.watch.first(course, self._levels)
        for time in sight.doubtful:
            log.warning(
                "%s: a trigger touches zero at t = %.6g s, or crosses it and comes back",
                self.compiled.system.name,
                time,
            )
        if self.offset.any():  # until the trigger that was met has left zero
            stop = min(stop, float(course.times[1]))
        if sight.crossing is None or sight.crossing[0] >= stop:
            return NOTHING, stop
        begin, end = sight.crossing
        if begin - self.time > end - begin:
            return NOTHING, tidy(begin - 0.1 * (end - begin))
        near = tidy(end)
        return sight, near if self.time < near < stop else stop

    def _leg(self, stop: float, grid: tuple[float, ...]) -> Leg:
        return Leg(
            start=self.time,
            span=stop - self.time,
            grid=grid,
            u=self.u,
            slope=self.slope,
            rate=self.timeline.rates(self.time),
            p=self.p,
            offset=self.offset,
        )

    def _arrive(self, leg: Leg, found: Solution, time: float) -> None:
        """Take over the state at the end of a leg, and apply the event that ended it, if any."""
        self.x, self.z = found.x[:, -1].copy(), found.z[:, -1].copy()
        if self.inflow.size:
            self.inflow = self.inflow + found.inflow[:, -1]
        shifted, self.offset = self.offset, np.zeros_like(self.offset)
        self.time = time
        self.u = leg.inputs_at(self.time)
        leaving, self._leaving = self._leaving, np.zeros_like(self._leaving)
        if found.stopped is not None:
            self._meet(found.which)
        else:
            self._levels = self._measure()
            self.offset = np.where(np.abs(self._levels) <= shifted, shifted, 0.0)
            self._check_return(leaving)

    def _travel_slowly(self, past: Past, stop: float, wanted: deque[float]) -> None:
        """One leg of a model with delays: as far as its past is known and its series are good."""
        end = past.end(self.time, stop, self.p)
        rates = self.timeline.rates(self.time)
        span = end - self.time
        plain = Leg(self.time, span, GRID, self.u, self.slope, rates, self.p, self.offset)
        leg = past.leg(plain, self.rtol)
        found, piece = self._solved(leg)
        while not past.is_resolved(piece, self.rtol):
            leg = past.half(leg)
            found, piece = self._solved(leg)
        end = end if leg.span == span else leg.end
        if found.stopped is not None:
            end = tidy(piece.leg.end)
        while wanted and wanted[0] < end:
            time = wanted.popleft()
            x, z, inflow = piece.at(time)
            self.rows.append((time, x, z, leg.inputs_at(time), self.p, self.inflow + inflow))
        past.add(piece, self.rtol)
        self._arrive(leg, found, end)
        if found.stopped is not None or end == stop:
            past.mark(end, self.p)

    def _solved(self, leg: DelayedLeg) -> tuple[Solution, Piece]:
        """A leg, and its series as far as it goes without an event."""
        assert self.past is not None
        found = self.integrators.solve(leg, self.x, self.z, self.rtol, self.atol)
        smooth, until = found, leg
        if found.stopped is not None:
            until = replace(leg, span=max(found.stopped, SHORTEST) * leg.span)
            until = self.past.fitted(until)
            smooth = self.integrators.solve(until, self.x, self.z, self.rtol, self.atol, False)
        return found, Piece.of(until, self.x, self.z, smooth)

    def _check_return(self, leaving: npt.NDArray[np.bool_]) -> None:
        """A trigger that went below zero cannot be above it later without an event between."""
        for k in np.flatnonzero(leaving & (self._levels > 0)):
            event = self.compiled.system.events[self.compiled.triggered[k]]
            last = max(e.time for e in self.events if e.name == event.name)
            raise self._chattering(event.name, "comes back faster than can be resolved", last)

    def _meet(self, first: int) -> None:
        """Apply the triggered event ``first`` and all others that cross at the same time."""
        located = self._measure()
        scale = np.maximum(np.abs(self._levels), np.abs(located))
        together = (np.abs(located) <= 1e-9 * scale) & (self._levels < -1e-9 * scale)
        together[first] = True
        for k in np.flatnonzero(together):
            self._apply(self.compiled.triggered[k])
        self._solve_algebraic()
        self._levels = np.where(together, np.maximum(located, 0.0), located)
        self._cascade()
        after = self._levels
        near = together & (after < 0) & (-after <= 10 * np.abs(located) + 1e-12 * scale)
        self.offset = np.where(near, -2 * after, 0.0)
        rates = self.compiled.trigger_rates(self.time, self.x, self.z, self.u, self.p)
        at_zero = np.abs(after) <= 10 * np.abs(located) + 1e-12 * scale
        self._leaving = together & at_zero & (np.array(rates).ravel() < 0)

    def _cascade(self) -> None:
        """Apply state events whose trigger has been carried over zero by a jump."""
        if not self._levels.size:
            return
        for _ in range(_CASCADE):
            levels = self._measure()
            crossed = np.flatnonzero((self._levels < 0) & (levels >= 0))
            self._levels = levels
            if not len(crossed) or self.ended:
                return
            for k in crossed:
                self._apply(self.compiled.triggered[k])
            self._solve_algebraic()
        name = self.compiled.system.events[self.compiled.triggered[int(crossed[0])]].name
        raise self._chattering(name, f"fires more than {_CASCADE} times at one time")

    def _apply(self, rule: int) -> None:
        event = self.compiled.system.events[rule]
        if event.trigger is not None:
            times = self._recent.setdefault(rule, deque(maxlen=_CHATTER))
            times.append(self.time)
            narrow = 1e-9 * max(self.until - self.began, 1e-9)
            if len(times) == _CHATTER and times[-1] - times[0] <= narrow:
                raise self._chattering(event.name, f"fires {_CHATTER} times within {narrow:.2g} s")
        moment = Reset(rule, self.time, self.z, self.u, self.slope)
        after = self.compiled.resets[rule](self.time, self.x, self.z, self.u, self.p)
        self.x = np.array(after).ravel()
        self.events.append(Event(self.time, event.name))
        self.log.append(moment)
        self.ended = self.ended or event.terminal

    def _chattering(self, name: str, what: str, time: float | None = None) -> SolveError:
        time = self.time if time is None else time
        return SolveError(
            f"the event {name} {what} at t = {time:.6g} s",
            time=time,
            where=self.compiled.system.name,
            hint="give the trigger a dead band, or a mode that holds after it has fired",
        )

    def _solve_algebraic(self) -> None:
        if self.compiled.nz:
            self.z = consistent(self.compiled, self.time, self.x, self.z, self.u, self.p)

    def _measure(self) -> Array:
        if not self.compiled.triggered:
            return np.zeros(0)
        return np.array(self.compiled.triggers(self.time, self.x, self.z, self.u, self.p)).ravel()

    def _amounts(self) -> Array:
        if not self.inflow.size:
            return np.zeros(0)
        return np.array(self.compiled.amounts(self.time, self.x, self.z, self.u, self.p)).ravel()

    def _record(self, time: float) -> None:
        self.rows.append((time, self.x, self.z, self.u, self.p, self.inflow))
        self.log.append(Sampled(time, self.z, self.u))

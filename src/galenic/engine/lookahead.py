"""Where triggers of state events first cross zero on a leg, so that no step can hide a crossing.

The leg is solved without its events at evenly spread nodes, joined by cubics. Between them each
trigger is enclosed in bounds, over parts that are halved until the bounds exclude zero or the
trigger only rises or only falls there. Bounds of the unknowns are widened by what the cubics of
every second node miss. The integrator with events is then sent to the begin of the part with the
first crossing, and from there to its end, so that it has one crossing to locate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import comb

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.compile import Compiled
from galenic.engine.intervals import Bounds, Enclosure, Numbers
from galenic.engine.tape import Tape

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NODES = 64
_HALVINGS = 24  # of the stretch between two nodes
_MOST = 2000  # parts at a time


@dataclass(frozen=True)
class Course:
    """A leg at its nodes: times [s], states and algebraic values (rows: nodes), input slopes."""

    times: Array
    x: Array
    z: Array
    rates: Array
    u: Array
    slope: Array
    p: Array


@dataclass(frozen=True)
class Sight:
    """The part with the first crossing, as its begin and end; times where there may be one.

    ``jumps``: the trigger jumps there, it does not pass through zero.
    """

    crossing: tuple[float, float] | None = None
    doubtful: tuple[float, ...] = ()
    jumps: bool = False


NOTHING = Sight()


class Watch:
    """The triggers of one compiled system.

    Parameters
    ----------
    compiled : Compiled
        A system with state events.
    """

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled

    @cached_property
    def _levels(self) -> Tape:
        return Tape(self.compiled.triggers)

    @cached_property
    def _rates(self) -> Tape:
        system = self.compiled.system
        levels = ca.vertcat(*self.compiled.trigger_list)
        moving = ca.vertcat(system.x, system.z, system.u)
        slopes, speed = ca.SX.sym("slopes", moving.numel()), ca.SX.sym("speed")
        rates = ca.jtimes(levels, moving, slopes) + ca.jacobian(levels, system.t) * speed
        given = [*self.compiled.args, slopes, speed]
        return Tape(ca.Function("rates", given, [ca.densify(rates)]))

    def first(self, course: Course, before: Array) -> Sight:
        """The first crossing, for triggers that were at ``before`` when the leg began."""
        with np.errstate(all="ignore"):
            return self._first(course, before)

    def _first(self, course: Course, before: Array) -> Sight:
        cubics, missed = _cubics(course)
        node = np.arange(len(course.times) - 1)
        begin, width = np.zeros(len(node)), np.ones(len(node))
        crossing, jumps, doubtful = (np.inf, np.inf), False, []
        for halving in range(_HALVINGS + 1):
            last = halving == _HALVINGS or len(node) > _MOST
            clear, smooth, low, high = self._look(course, cubics, missed, node, begin, width)
            low[(node == 0) & (begin == 0)] = before
            start = course.times[node] + begin * np.diff(course.times)[node]
            end = course.times[node] + (begin + width) * np.diff(course.times)[node]
            rises = ((low < 0) & (high >= 0)).any(axis=1)
            settled = clear.all(axis=1)
            found = np.where(rises & (settled | last), end, np.inf)
            first = int(found.argmin())
            if found[first] < crossing[1]:
                crossing, jumps = (float(start[first]), float(end[first])), not smooth[first]
            wanted = ~settled & (start < crossing[1])
            if last:
                open_ = wanted & ~rises & (~clear & ~((low >= 0) & (high < 0))).any(axis=1)
                doubtful = [float(time) for time in start[open_]]
            if last or not wanted.any():
                break
            node, half = np.repeat(node[wanted], 2), 0.5 * width[wanted]
            begin = np.column_stack([begin[wanted], begin[wanted] + half]).ravel()
            width = np.repeat(half, 2)
        return Sight(crossing if np.isfinite(crossing[1]) else None, tuple(doubtful), jumps)

    def _look(
        self,
        course: Course,
        cubics: Array,
        missed: Array,
        node: npt.NDArray[np.int64],
        begin: Array,
        width: Array,
    ) -> tuple[Mask, Mask, Array, Array]:
        """Per part and trigger: whether its ends tell all; its levels at both ends.

        Also, per part, whether no trigger can jump there.
        """
        local = _shifted(cubics[:, node], begin, width)
        slack = missed[node].T
        values, slopes = _hull(local, slack), _hull(_derived(local), slack)
        step = np.diff(course.times)[node]
        start = course.times[node] + begin * step
        time = Bounds(start, start + width * step)
        gone = [time.low - course.times[0], time.high - course.times[0]]
        inputs, drifts = [], []
        for value, slope in zip(course.u, course.slope, strict=True):
            ends = [value + slope * passed for passed in gone]
            inputs.append(Bounds(np.minimum(*ends), np.maximum(*ends)))
            drifts.append(Bounds(slope * width * step, slope * width * step))
        fixed = [Bounds(value, value) for value in map(np.float64, course.p)]
        nx = self.compiled.nx
        given = [[time], values[:nx], values[nx:], inputs, fixed]
        enclosure = Enclosure(Numbers())
        levels = enclosure.of(self._levels, given)[0]
        smooth = np.broadcast_to(enclosure.may_jump() < 1.0, node.shape)
        speed = Bounds(width * step, width * step)
        rates = Enclosure(Numbers()).of(self._rates, [*given, [*slopes, *drifts], [speed]])[0]
        columns = []
        for level, rate in zip(levels, rates, strict=True):
            away = (level.high < 0) | (level.low >= 0)
            columns.append(np.broadcast_to(away | (smooth & _one_way(rate)), node.shape))
        low, high = (self._at(course, local, share, time[share]) for share in (0, 1))
        return np.stack(columns, axis=1), smooth, low, high

    def _at(self, course: Course, local: Array, share: int, time: Array) -> Array:
        """Levels (part, trigger) at one end of the parts."""
        y = local.sum(axis=0) if share else local[0]
        u = course.u[:, None] + course.slope[:, None] * (time - course.times[0])
        nx = self.compiled.nx
        levels = self._levels.evaluate([time[None], y.T[:nx], y.T[nx:], u, course.p[:, None]])[0]
        return np.broadcast_to(levels, (len(levels), len(time))).T.copy()


def _one_way(rate: Bounds) -> Mask:
    return np.asarray((rate.low >= 0) | (rate.high <= 0))


def _cubics(course: Course) -> tuple[Array, Array]:
    """Coefficients (power, stretch, unknown) between nodes, and how far they may be off."""
    y = np.hstack([course.x, course.z])
    fine = _hermite(course.times, y, course.rates)
    coarse = _hermite(course.times[::2], y[::2], course.rates[::2])
    middle = coarse[0] + coarse[1] / 2 + coarse[2] / 4 + coarse[3] / 8
    off = np.abs(middle - y[1::2][: len(middle)]) / 8  # a sixteenth, with a margin of two
    return fine, np.repeat(off, 2, axis=0)[: fine.shape[1]]


def _hermite(times: Array, y: Array, rates: Array) -> Array:
    step = np.diff(times)[:, None]
    rise, first, last = np.diff(y, axis=0), step * rates[:-1], step * rates[1:]
    return np.stack([y[:-1], first, 3 * rise - 2 * first - last, first + last - 2 * rise])


def _shifted(cubics: Array, begin: Array, width: Array) -> Array:
    """The polynomials in the share of a part."""
    c = cubics.copy()
    at = begin[:, None]
    for i in range(len(c) - 1):
        for k in range(len(c) - 2, i - 1, -1):
            c[k] += at * c[k + 1]
    return np.asarray(c * width[None, :, None] ** np.arange(len(c))[:, None, None])


def _derived(local: Array) -> Array:
    return np.asarray(local[1:] * np.arange(1, len(local))[:, None, None])


def _hull(local: Array, slack: Array) -> list[Bounds]:
    """Bounds of each unknown over the parts: its least and greatest Bernstein coefficient."""
    degree = len(local) - 1
    rows = [
        sum(comb(j, k) / comb(degree, k) * local[k] for k in range(j + 1))
        for j in range(degree + 1)
    ]
    low, high = np.min(rows, axis=0).T, np.max(rows, axis=0).T
    return [Bounds(a, b) for a, b in zip(low - slack, high + slack, strict=True)]

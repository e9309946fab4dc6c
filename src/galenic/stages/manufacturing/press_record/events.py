"""Stops, restarts and fill changes recognised from forces alone, and how often that is right.

The detectors never see speed, fill depth or gaps. Truth is what the record says: the press stands
where its speed is 0; a fill change is as in ``rows.Rows.changes``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

import numpy as np
import numpy.typing as npt

from galenic.clock import SECOND
from galenic.stages.manufacturing.press_record.rows import Array, Flags, Rows

FORCES = ("Press.MainForce", "Press.PreForce")
ALL = (*FORCES, "Press.EjectionForce", "Press.ForceDeviation")

# Share of rows in which all readings repeat the row before while the press runs (batch 368).
REPEATS = {FORCES: 0.363, ALL: 0.0033}
REPEATS_STANDING = 0.9997
FALSE_ALARM = 1 / (1000 * 360)  # one in 1,000 h of rows of 10 s

LEVEL, SLACK = 2.0, 0.5  # harmonic mean of precision and recall near its best on batch 368
BEFORE, AFTER = 30.0, 60.0


@dataclass(frozen=True)
class Frozen:
    """Whether the readings have stopped to move: a sequential likelihood ratio.

    Every repeat speaks for a standing press by ``log(0.9997/share of repeats when running)``; any
    movement proves that it runs. It is taken to stand when the ratio exceeds that of one false
    alarm in 1,000 h.
    """

    repeats: float
    last: tuple[float, ...] = ()
    ratio: float = 0.0

    @property
    def stands(self) -> bool:
        return self.ratio >= -log(FALSE_ALARM)

    def seen(self, readings: tuple[float, ...]) -> Frozen:
        """After the readings of one more row."""
        if readings != self.last:
            return replace(self, last=readings, ratio=0.0)
        return replace(self, ratio=self.ratio + log(REPEATS_STANDING / self.repeats))


@dataclass(frozen=True)
class Drifted:
    """Whether innovations lean to one side: a two-sided cumulative sum (Page 1954)."""

    level: float = LEVEL
    slack: float = SLACK
    up: float = 0.0
    down: float = 0.0

    @property
    def alarm(self) -> bool:
        return max(self.up, self.down) > self.level

    def seen(self, z: float) -> Drifted:
        """After an innovation of ``z`` sd; it begins anew after an alarm, or where z is nan."""
        if self.alarm or np.isnan(z):
            return replace(self, up=0.0, down=0.0)
        up, down = max(0.0, self.up + z - self.slack), max(0.0, self.down - z - self.slack)
        return replace(self, up=up, down=down)


def standing(rows: Rows, tags: tuple[str, ...]) -> Flags:
    """What ``Frozen`` says at each row, from the readings of ``tags``."""
    state, found = Frozen(REPEATS[tags]), np.zeros(len(rows), dtype=bool)
    for i, readings in enumerate(zip(*(rows.columns[tag] for tag in tags), strict=True)):
        state = state.seen(readings)
        found[i] = state.stands
    return found


def fill_alarms(
    surprise: Array, level: float = LEVEL, slack: float = SLACK
) -> npt.NDArray[np.int64]:
    """Rows at which ``Drifted`` gives an alarm on the innovations of the main force."""
    state, found = Drifted(level, slack), []
    for i, z in enumerate(surprise):
        state = state.seen(float(z))
        if state.alarm:
            found.append(i)
    return np.array(found, dtype=np.int64)


@dataclass(frozen=True)
class Recognised:
    """How well a kind of event was recognised; delays in s, negative where it was foreseen.

    ``chance`` is the precision of alarms given at random running rows.
    """

    what: str
    seen_from: str
    events: int
    found: int
    alarms: int
    right: int
    delay: float
    chance: float = float("nan")

    @property
    def recall(self) -> float:
        return self.found / self.events if self.events else float("nan")

    @property
    def precision(self) -> float:
        return self.right / self.alarms if self.alarms else float("nan")


def score_stops(rows: Rows, tags: tuple[str, ...], longer: float) -> list[Recognised]:
    """Stops of at least ``longer`` seconds, and the restarts after those that were found.

    A stop is found when the detector says so before the press runs again; a restart when it says
    so no more, at most 30 s after it. An alarm is right while the press stands (for a restart:
    at most 30 s after a real one).
    """
    says = standing(rows, tags)
    stops = _runs(~rows.running)
    known = [(a, b) for a, b in stops if (rows.time[b - 1] - rows.time[a]) / SECOND >= longer]
    alarms = _runs(says)
    delays = [
        float((rows.time[np.flatnonzero(says[a:b])[0] + a] - rows.time[a]) / SECOND)
        for a, b in known
        if says[a:b].any()
    ]
    label = " and ".join(("main", "pre")) if tags == FORCES else "all readings"
    right = sum(not rows.running[a] for a, _ in alarms)
    name = f"stop of {longer:g} s or more" if longer else "stop"
    found = [Recognised(name, label, len(known), len(delays), len(alarms), right, _median(delays))]
    begins = np.array([b for a, b in known if b < len(rows) and says[a:b].any()], dtype=int)
    ends = np.array([b for _, b in alarms if b < len(rows)], dtype=int)
    return [*found, _matched("restart", label, rows, begins, ends, 0.0, 30.0)]


def score_changes(rows: Rows, alarms: npt.NDArray[np.int64]) -> Recognised:
    """Fill changes against alarms from 30 s before to 60 s after they begin to show."""
    seen_from = "innovations of main force"
    anywhere = np.flatnonzero(rows.running)
    found, random = (
        _matched("fill change", seen_from, rows, rows.changes, at, BEFORE, AFTER)
        for at in (alarms, anywhere)
    )
    return replace(found, chance=random.precision)


def _matched(
    what: str,
    seen_from: str,
    rows: Rows,
    events: npt.NDArray[np.int64],
    alarms: npt.NDArray[np.int64],
    before: float,
    after: float,
) -> Recognised:
    apart = (rows.time[alarms][None, :] - rows.time[events][:, None]) / SECOND
    near = (apart >= -before) & (apart <= after)
    delays = [float(row[hit][0]) for row, hit in zip(apart, near, strict=True) if hit.any()]
    right = int(near.any(axis=0).sum()) if len(events) else 0
    return Recognised(
        what, seen_from, len(events), len(delays), len(alarms), right, _median(delays)
    )


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """First and after-last index of each run of true."""
    edges = np.diff(np.concatenate([[0], flags.astype(int), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")

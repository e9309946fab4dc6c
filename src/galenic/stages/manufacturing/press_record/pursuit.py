"""The twin over the record, and what it foretold at every row of a running press."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from math import hypot, sqrt
from operator import attrgetter

import numpy as np

from galenic.clock import nanoseconds
from galenic.inference.belief import Belief
from galenic.inference.evidence import Bundle, Observation
from galenic.signals import Sample, Tick
from galenic.stages.manufacturing.press_record.definition import (
    MAIN,
    PRE,
    TAGS,
    press_record,
)
from galenic.stages.manufacturing.press_record.filter import NOISES, SPEED
from galenic.stages.manufacturing.press_record.rows import Array
from galenic.twin import resume
from galenic.twin.level import Level
from galenic.twin.twin import Twin

HORIZONS = (60.0, 300.0, 900.0)
FORCES = (MAIN, PRE)
KILO = 1000.0


@dataclass(frozen=True, eq=False)
class Foretold:
    """Readings foretold from each row: mean and sd [kN], shape (rows, horizons, forces).

    ``surprise`` holds the standardised innovations of the main force for a belief that is not
    told the fill depth; nan where there is none.
    """

    mean: Array
    sd: Array
    surprise: Array


def moments(samples: Iterable[Sample]) -> list[list[Sample]]:
    """The samples of a record, those that arrived at one time together."""
    return [list(together) for _, together in groupby(samples, key=attrgetter("received_time"))]


def take(twin: Twin, samples: Iterable[Sample]) -> None:
    """Let a twin take in what arrived at one time, then tick."""
    for event in samples:
        resume.accepted(twin, event)
        time = event.received_time
    resume.accepted(twin, Tick(time))


def begin(record: list[list[Sample]]) -> Twin:
    """A shadow that starts just before the record."""
    definition = press_record()
    start = record[0][0].received_time - nanoseconds(definition.tick)
    return Twin(definition, "press", start=start, level=Level.SHADOW)


def foretell(record: list[list[Sample]], horizons: Iterable[float] = HORIZONS) -> Foretold:
    """Follow a record with the twin; forecast at every row, inputs held as they are."""
    spans = tuple(horizons)
    twin = begin(record)
    blind = Blind(twin)
    mean = np.full((len(record), len(spans), len(FORCES)), np.nan)
    sd, surprise = mean.copy(), np.full(len(record), np.nan)
    for i, samples in enumerate(record):
        take(twin, samples)
        surprise[i] = blind.follow(twin)
        if twin.fold.state.inputs[SPEED] > 0.0:
            mean[i], sd[i] = ahead(twin, spans)
    return Foretold(mean, sd, surprise)


class Blind:
    """A second belief beside a twin's, by the same filter, that is told the forces alone."""

    def __init__(self, twin: Twin) -> None:
        self.belief: Belief = twin.belief
        self.inputs = dict(twin.fold.state.inputs)

    def follow(self, twin: Twin) -> float:
        """Come to the twin's time; the standardised innovation of the main force, or nan."""
        known, inputs = twin.belief, dict(twin.fold.state.inputs)
        ran = self.inputs[SPEED] > 0.0
        if not ran and inputs == self.inputs:
            return float("nan")
        before = {**inputs, SPEED: self.inputs[SPEED]}
        self.inputs = inputs
        belief = twin.estimator.predict(self.belief, known.time, before)
        told = tuple(
            Observation(n.quantity, n.measured, resolution=resolution(twin, n.quantity), key=n.key)
            for n in known.innovations
            if n.quantity in FORCES
        )
        self.belief = twin.estimator.correct(belief, Bundle(known.time, told))
        found = [n.standardised for n in self.belief.innovations if n.quantity == MAIN]
        return found[0] if found else float("nan")


def ahead(twin: Twin, horizons: Iterable[float]) -> tuple[Array, Array]:
    """Mean and sd [kN] of the force readings after each horizon [s], noise and rounding included.

    The same numbers as ``twin.forecast`` gives, at the horizons alone.
    """
    state, means, sds = twin.fold.state, [], []
    belief, now = state.belief, state.belief.time
    for span in horizons:
        belief = twin.estimator.predict(belief, now + nanoseconds(span), state.inputs)
        rows = twin.estimator.observe(belief, FORCES)
        means.append([rows[name][0] / KILO for name in FORCES])
        sds.append([hypot(rows[name][1], reading_sd(twin, name)) / KILO for name in FORCES])
    return np.array(means), np.array(sds)


def reading_sd(twin: Twin, quantity: str) -> float:
    """Sd of a reading about the true force: noise, and rounding to the display's step [N]."""
    return hypot(twin.belief.point(NOISES[quantity]), resolution(twin, quantity) / sqrt(12.0))


def resolution(twin: Twin, quantity: str) -> float:
    """Step of a display [N]."""
    return twin.channels[TAGS[quantity]].resolution_si

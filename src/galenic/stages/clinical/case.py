"""A patient as the clinical services see it: from tables of doses and levels, or a live twin.

Tables go through a twin of their own, event by event, so that units, plausibility and order are
judged by the same rules as at the bedside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from galenic.clock import nanoseconds, seconds
from galenic.errors import DataError, UnknownName
from galenic.inference.belief import Array, Ensemble, Posterior
from galenic.inference.estimator import Forecast, Schedule
from galenic.inference.evidence import Bundle, Held
from galenic.inference.importance import sampled
from galenic.inference.map import MAP
from galenic.library.patient.clearance import ClearanceEffect
from galenic.library.pk.populations import population
from galenic.signals import Action, Alert, Event, Record, Sample
from galenic.stages.clinical.practice import PRACTICE
from galenic.stages.clinical.twin import DEFINITIONS, followed, level_tag
from galenic.twin import look
from galenic.twin.level import Level
from galenic.twin.twin import Twin

POINTS = 160  # of a curve
SAMPLED, FEW = 2000, 200  # draws of a posterior in full; effective ones below which it is doubted


@dataclass(frozen=True)
class Case:
    """One patient at one time.

    Parameters
    ----------
    drug : str
    estimator : MAP
    belief : Posterior
        At the time from which is looked ahead; no infusion runs any more.
    origin : int [ns]
        Zero of the time axis of tables and plots.
    flags, notes : tuple of str
        What is doubtful in the tables, and what was put right, with its rows.
    full : Ensemble, optional
        The posterior in full, instead of Laplace's normal around the mode.
    effects : tuple of ClearanceEffect
        What changes the typical clearance, from the first dose on.
    """

    drug: str
    estimator: MAP
    belief: Posterior
    origin: int
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    full: Ensemble | None = None
    effects: tuple[ClearanceEffect, ...] = ()

    def in_full(self, rng: np.random.Generator) -> Case:
        """The same case with the posterior in full, by importance sampling."""
        found = sampled(self.estimator, self.belief, SAMPLED, rng).ensemble
        size = found.effective_size
        note = f"Posterior in full: {SAMPLED} draws, worth {size:.0f} of the posterior itself."
        few = (f"only {size:.0f} of {SAMPLED} draws of the posterior count",) if size < FEW else ()
        return replace(self, full=found, notes=(*self.notes, note), flags=(*self.flags, *few))

    @property
    def system(self) -> Any:
        """The flattened model."""
        return self.estimator.model.system

    def hours(self, time: int) -> float:
        """A time on the axis of tables and plots [h]."""
        return seconds(time - self.origin) / 3600.0

    @cached_property
    def doses(self) -> tuple[Action, ...]:
        """The doses given."""
        return tuple(e for e in self.belief.evidence if isinstance(e, Action) and e.what == "dose")

    @cached_property
    def levels(self) -> tuple[tuple[int, float], ...]:
        """Times [ns] and values [SI] of the levels that were believed."""
        bundles = [e for e in self.belief.evidence if isinstance(e, Bundle)]
        return tuple((b.time, o.value) for b in bundles for o in b.observations)

    @property
    def informed(self) -> bool:
        """Whether a level was measured, now or before a change of the model."""
        start, n = self.belief.start, len(self.estimator.model.state_names)
        known = start is not None and not np.allclose(start.spread[n:, n:], self.estimator.omega)
        return bool(self.levels) or known

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd in the tables, and what the fit found unusual."""
        return (*self.flags, *self.belief.notes.get("warnings", ()))

    def draws(self, n: int, rng: np.random.Generator) -> Array:
        """Individuals from the posterior with the amounts that their doses leave [SI]."""
        if self.full is not None:
            return self.full.sample(n, rng)
        members = self.estimator.members(self.belief, n, rng)
        return np.array([self.estimator.model.natural(row) for row in members])

    def past(self) -> Forecast | None:
        """Levels since the first dose with what is known now; None before any dose or level."""
        times = [e.source_time for e in self.doses] + [time for time, _ in self.levels]
        if not times or min(times) >= self.belief.time:
            return None
        start = self._beginning()
        first = self.estimator.predict(start, min(times), self._schedule().at(min(times)))
        every = max(60.0, seconds(self.belief.time - first.time) / POINTS)
        plain = replace(first, evidence=())
        return self.estimator.forecast(plain, self.belief.time, every, self._schedule(), ("C",))

    def fitted(self) -> list[tuple[float, float]]:
        """Expectation and sd [SI] of each level's individual prediction, in the order of levels."""
        belief, rows = self._beginning(), []
        for item in self.belief.evidence:
            if isinstance(item, Held):
                belief = self.estimator.predict(belief, item.until, item.inputs)
            elif isinstance(item, Action):
                belief = self.estimator.act(belief, item)
            else:
                expected = self.estimator.observe(belief, ["C"])["C"]
                rows += [expected] * len(item.observations)
        return rows

    def _beginning(self) -> Posterior:
        """The belief where the evidence begins, with the parameters that are known now."""
        own, start = self.belief, self.belief.start
        if start is None:
            raise DataError("the belief has no start", where="a case")
        n = len(self.estimator.model.state_names)
        centre, spread = np.array(start.centre), np.zeros_like(start.spread)
        centre[n:], spread[n:, n:] = own.centre[n:], own.spread[n:, n:]
        return replace(
            own, time=start.time, centre=centre, spread=spread, context=start.context,
            evidence=(), innovations=(),
        )  # fmt: skip

    def _schedule(self) -> Schedule:
        """The inputs and doses of the evidence."""
        rows, time = [], self.belief.start.time if self.belief.start else self.belief.time
        for item in self.belief.evidence:
            if isinstance(item, Held):
                rows.append((time, item.inputs))
                time = item.until
        actions = tuple(e for e in self.belief.evidence if isinstance(e, Action))
        return Schedule(tuple(rows), actions)


def of_twin(twin: Twin, now: int, at: int | None = None) -> Case:
    """A live twin ``now``, or ``at`` a later time [ns]; infusions that run are waited for."""
    drugs = [drug for drug in DEFINITIONS if level_tag(drug) in twin.channels]
    if not drugs:
        raise DataError(
            f"{twin.id!r} is a {twin.definition.name}",
            expected=f"a twin of a patient on {' or '.join(DEFINITIONS)}",
        )
    time = now if at is None else at
    if time < twin.fold.state.time:
        raise DataError(
            "the time is before the newest dose or level", where=twin.id, expected="a later time"
        )
    return _ready(drugs[0], twin, time, now)


def of_tables(
    drug: str,
    covariates: Mapping[str, Any],
    doses: Any = None,
    levels: Any = None,
    at: float | None = None,
    effects: Sequence[ClearanceEffect] = (),
) -> Case:
    """A patient of whom doses and levels are told.

    Parameters
    ----------
    drug : str
    covariates : mapping of name to value
    doses, levels : Table
        Columns time, amount, duration; time, level.
    at : float [s], optional
        Time from which is looked ahead; the last dose or level if left out.
    effects : sequence of ClearanceEffect
        What changes clearance, during all that is told and foreseen.
    """
    told = complete(drug, covariates)
    twin = Twin(followed(drug, effects), "case", told, start=0, level=Level.SHADOW)
    events = [*_doses(doses), *_levels(levels, drug)]
    for event, where in sorted(events, key=lambda pair: pair[0].source_time):
        _told(twin, event, where)
    last = max((event.source_time for event, _ in events), default=0)
    time = last if at is None else nanoseconds(at)
    if time < last:
        raise DataError(
            f"{seconds(time) / 3600:g} h",
            where="argument at",
            expected=f"a time after the last dose or level, {seconds(last) / 3600:g} h",
        )
    flags, notes = tuple(_odd(doses, levels)), tuple(_sorted(doses, levels))
    return replace(_ready(drug, twin, time, 0), flags=flags, notes=notes, effects=tuple(effects))


def _sorted(doses: Any, levels: Any) -> Iterator[str]:
    """Rows that do not stand in order of time, in words."""
    for name, table in (("doses", doses), ("levels", levels)):
        times = [] if table is None else list(table.si("time"))
        for i in range(1, len(times)):
            if times[i] < times[i - 1]:
                yield f"{name}, row {i + 1} is earlier than row {i}: sorted by time"


def _odd(doses: Any, levels: Any) -> Iterator[str]:
    """Rows that repeat others or cannot be explained, in words; they are used as they stand."""
    for name, table in (("doses", doses), ("levels", levels)):
        first: dict[Any, int] = {}
        for i, row in enumerate([] if table is None else table.rows(), 1):
            if first.setdefault(row, i) != i:
                yield f"{name}, row {i} repeats row {first[row]}: counted twice"
    if levels is not None and doses is not None and len(doses) and len(levels):
        begin = min(doses.si("time"))
        for i, time in enumerate(levels.si("time"), 1):
            if time < begin:
                yield f"levels, row {i} is before the first dose"


def complete(drug: str, covariates: Mapping[str, Any]) -> dict[str, Any]:
    """All covariates of a drug's population; those that are usual may be left out."""
    names = [c.name for c in population(drug).covariates]
    for name in covariates:
        if name not in names:
            raise UnknownName.among("covariate", name, names, where=f"covariates of {drug}")
    told = dict(PRACTICE[drug].usual) | dict(covariates)
    missing = [c for c in population(drug).covariates if c.name not in told]
    if missing:
        raise DataError(
            f"{', '.join(c.name for c in missing)} not told",
            where=f"covariates of {drug}",
            expected=", ".join(f"{c.name} [{c.unit}] ({c.meaning})" for c in missing),
        )
    return told


def _doses(table: Any) -> list[tuple[Any, str]]:
    if table is None:
        return []
    rows = zip(table.si("time"), table["amount"], table.si("duration"), strict=True)
    made = []
    for i, (time, amount, length) in enumerate(rows, 1):
        at = nanoseconds(float(time))
        made.append(
            (
                Action("dose", float(amount), "mg", at, at, "dose", float(length), f"dose {i:05d}"),
                f"doses, row {i}",
            )
        )
    return made


def _levels(table: Any, drug: str) -> list[tuple[Any, str]]:
    if table is None:
        return []
    made = []
    for i, (time, value) in enumerate(zip(table.si("time"), table["level"], strict=True), 1):
        at = nanoseconds(float(time))
        sample = Sample(level_tag(drug), float(value), "mg/L", at, at, source_key=f"level {i:05d}")
        made.append((sample, f"levels, row {i}"))
    return made


def _told(twin: Twin, event: Event, where: str) -> None:
    """Take in one event; what a twin would only raise an alarm about is an error in a table."""
    for effect in twin.accept(event):
        if isinstance(effect, Record) and effect.what == "refused":
            facts = {k: str(effect.detail.get(k, "")) for k in ("expected", "hint")}
            raise DataError(str(effect.detail.get("found", effect.reason)), where=where, **facts)
        if isinstance(effect, Alert) and effect.active:
            raise DataError(effect.text, where=where)
    trouble = twin.fold.state.monitor.trouble
    if trouble:
        raise DataError(trouble, where=where)


def _ready(drug: str, twin: Twin, time: int, origin: int) -> Case:
    belief = look.at_now(twin, time)
    stops = [running.stop for running in belief.context.running]
    if stops:
        belief = twin.estimator.predict(belief, max(stops), twin.fold.state.inputs)
    if not isinstance(belief, Posterior) or not isinstance(twin.estimator, MAP):
        raise DataError(
            f"{twin.id!r} is not estimated by MAP", expected="the definition of a patient"
        )
    return Case(drug, twin.estimator, belief, origin)

"""Looking at a twin: estimates, forecasts, what-if, recommendation, status. Nothing is changed.

Forecasts start from the belief and never commit anything to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from galenic.clock import nanoseconds, seconds, to_iso
from galenic.decision.goal import Goal
from galenic.errors import UnknownName
from galenic.inference.belief import Belief
from galenic.inference.estimator import Forecast, Schedule
from galenic.signals import Action, Compute
from galenic.twin.acting import limits_si
from galenic.twin.alarm.state import TO_ACKNOWLEDGE
from galenic.twin.alarms import Alarm
from galenic.twin.binding import MANUAL
from galenic.twin.foresight import Feedback, Question, planned
from galenic.twin.level import Level
from galenic.twin.work import foretell
from galenic.units import Unit, from_si, unit, value_in

if TYPE_CHECKING:
    from galenic.twin.twin import Twin


@dataclass(frozen=True)
class WhatIf:
    """The running forecast and the one with other inputs, on the same times."""

    running: Forecast
    alternative: Forecast
    changes: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Both forecasts and the difference of their last means, in declared units."""
        last = {}
        for i, (name, text) in enumerate(zip(self.running.names, self.running.units, strict=True)):
            apart = float(self.alternative.mean[-1, i] - self.running.mean[-1, i])
            last[name] = {"unit": text, "change": apart / unit(text or "1").scale}
        return {
            "running": self.running.to_dict(),
            "alternative": self.alternative.to_dict(),
            "changes": dict(self.changes),
            "differences": last,
        }


def shown(twin: Twin) -> tuple[str, ...]:
    """The quantities that pages show: those of the definition, else all that is measured."""
    if twin.definition.shown:
        return twin.definition.shown
    measured = [c.binding.quantity for c in twin.channels.values() if c.role == "observation"]
    return tuple(dict.fromkeys(measured))


def at_now(twin: Twin, time: int | None = None) -> Belief:
    """The belief predicted to ``time`` (the twin's own, when not given); not committed."""
    state, until = twin.fold.state, twin.now if time is None else time
    if until <= state.belief.time:
        return state.belief
    return twin.estimator.predict(state.belief, until, state.inputs)


def estimates(
    twin: Twin, paths: Sequence[str] | None = None, time: int | None = None
) -> dict[str, dict[str, Any]]:
    """Value, sd, 90 % interval and unit of quantities, in their declared units."""
    belief = at_now(twin, time)
    names = tuple(paths) if paths is not None else (*shown(twin), *belief.names)
    rows: dict[str, dict[str, Any]] = {}
    outputs = [name for name in dict.fromkeys(names) if name not in belief.names]
    for name in names:
        if name in belief.names:
            low, high = belief.interval(name)
            here = unit(belief.units[belief.names.index(name)])
            rows[name] = _row(here, belief.point(name), belief.sd(name), low, high)
    for name, (mean, sd) in (twin.estimator.observe(belief, outputs) if outputs else {}).items():
        here = twin.entries[name].unit
        rows[name] = _row(here, mean, sd, mean - 1.645 * sd, mean + 1.645 * sd)
    return rows


def _row(here: Unit, value: float, sd: float, low: float, high: float) -> dict[str, Any]:
    return {
        "value": float(from_si(value, here)),
        "sd": sd / here.scale,
        "lower": float(from_si(low, here)),
        "upper": float(from_si(high, here)),
        "unit": here.text,
    }


def schedule(
    twin: Twin, changes: Mapping[str, float] | None = None, actions: Sequence[Action] = ()
) -> Schedule:
    """The inputs as they stand, what is known to come, planned moves, then ``changes`` over all."""
    rows = [(twin.now, dict(twin.fold.state.inputs)), *_coming(twin), *_planned(twin)]
    rows = [(time, {**values, **(changes or {})}) for time, values in rows]
    return Schedule(tuple(sorted(rows, key=lambda row: row[0])), tuple(actions))


def _coming(twin: Twin) -> list[tuple[int, dict[str, float]]]:
    """Changes of inputs that the definition can tell from the belief."""
    forewarning = twin.definition.forewarning
    if forewarning is None:
        return []
    inputs = {entry.path: entry.value for entry in twin.system.inputs}
    goal = Goal(twin.now, twin.targets, {**inputs, **twin.fold.state.inputs})
    ahead = forewarning(twin.fold.state.belief, goal)
    return [(twin.now + nanoseconds(wait), dict(values)) for wait, values in ahead]


def _planned(twin: Twin) -> list[tuple[int, dict[str, float]]]:
    """The moves that a twin that may act will make."""
    return planned(twin.acting.proposed_at, twin.acting.proposal) if _acts(twin) else []


def _acts(twin: Twin) -> bool:
    return twin.level >= Level.TWIN and bool(twin.acting.proposal.get("plan"))


def _feedback(twin: Twin, held: Mapping[str, float]) -> Feedback | None:
    """How the controller goes on acting, where it does."""
    if not _acts(twin) or twin.definition.controller is None:
        return None
    return Feedback(
        twin.acting.proposed_at,
        {name: twin.acting.proposal[name] for name in ("plan", "times")},
        dict(twin.targets),
        dict(twin.fold.state.inputs),
        limits_si(twin),
        dict(held),
        twin.definition.forewarning,
    )


def question(
    twin: Twin,
    belief: Belief,
    horizon: float | None = None,
    every: float | None = None,
    outputs: Sequence[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    actions: Sequence[Action] = (),
) -> Question:
    """What a forecast of this twin asks for, here or in a worker; arguments as ``forecast``."""
    held = inputs_si(twin, changes or {})
    return Question(
        belief.time + nanoseconds(horizon or twin.definition.horizon),
        every or twin.definition.every,
        schedule(twin, held, actions),
        tuple(outputs) if outputs else shown(twin),
        (twin.id, "forecast", belief.time),
        _feedback(twin, held),
    )


def forecast(
    twin: Twin,
    horizon: float | None = None,
    every: float | None = None,
    outputs: Sequence[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    actions: Sequence[Action] = (),
) -> Forecast:
    """What will be, from the belief at the twin's time.

    Parameters
    ----------
    horizon, every : float [s], optional
    outputs : sequence of str, optional
        Quantities; the definition's ``shown`` when not given.
    changes : mapping, optional
        Inputs by path or tag, as "12 kg/h" or numbers in the declared unit.
    actions : sequence of Action, optional
        Future doses and the like.
    """
    belief = at_now(twin)
    asked = question(twin, belief, horizon, every, outputs, changes, actions)
    return foretell(twin.definition, twin.system, twin.estimator, belief, asked)


def forecast_task(
    twin: Twin,
    horizon: float | None = None,
    every: float | None = None,
    outputs: Sequence[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    actions: Sequence[Action] = (),
) -> Compute:
    """A forecast as a task for a worker process: it takes longer than a fold step."""
    belief = at_now(twin)
    arguments = {
        "definition": replace(twin.definition, model=None),
        "system": twin.system,
        "identity": f"{twin.definition.name} {twin.definition.version}",
        "belief": belief.to_bytes(),
        "question": question(twin, belief, horizon, every, outputs, changes, actions),
    }
    return Compute(f"{twin.id}:forecast", "galenic.twin.work:forecast", arguments, twin.now, 30.0)


def what_if(
    twin: Twin,
    changes: Mapping[str, Any],
    horizon: float | None = None,
    every: float | None = None,
    outputs: Sequence[str] | None = None,
    actions: Sequence[Action] = (),
) -> WhatIf:
    """The running forecast beside one with other inputs (by path or tag) or actions."""
    return WhatIf(
        forecast(twin, horizon, every, outputs),
        forecast(twin, horizon, every, outputs, changes, actions),
        inputs_si(twin, changes),
    )


def inputs_si(twin: Twin, changes: Mapping[str, Any]) -> dict[str, float]:
    """Inputs by path in SI, from paths or tags and values with or without a unit."""
    known = {entry.path: entry for entry in twin.system.inputs}
    result = {}
    for name, value in changes.items():
        channel = twin.channels.get(name)
        path = channel.binding.quantity if channel is not None else name
        if path not in known:
            raise UnknownName.among("input", name, (*known, *twin.channels))
        declared = unit(channel.binding.unit) if channel is not None else known[path].unit
        result[path] = float(value_in(value, declared))
    return result


def recommend(twin: Twin) -> dict[str, Any]:
    """The last proposal of the controller, and what the guard said to each move."""
    acting = twin.acting
    return {
        "time": acting.proposed_at,
        "proposal": {k: v for k, v in acting.proposal.items() if k != "state"},
        "verdicts": [dict(verdict) for verdict in acting.verdicts],
        "waiting": {
            key: {
                "tag": w.move.tag,
                "value": w.value,
                "reason": w.move.reason,
                "expires": w.expires,
            }
            for key, w in acting.waiting.items()
        },
        "targets": {
            path: {
                "value": float(from_si(value, twin.entries[path].unit)),
                "unit": twin.entries[path].unit.text,
            }
            for path, value in twin.targets.items()
        },
        "timeouts": acting.timeouts,
    }


def status(twin: Twin) -> dict[str, Any]:
    """What the header of a twin's page says."""
    folded = twin.fold.state
    newest = max((value.time for value in twin.latest.values()), default=None)
    return {
        "id": twin.id,
        "definition": twin.definition.name,
        "version": twin.definition.version,
        "level": twin.level.word,
        "levels": {tag: level.word for tag, level in twin.levels.tags.items()},
        "health": twin.health.to_dict(),
        "time": to_iso(twin.now),
        "now": twin.now,
        "belief_time": folded.belief.time,
        "data_age": None if newest is None else max(0.0, seconds(twin.now - newest)),
        "folded": folded.folded,
        "counters": {tag: dict(vars(c)) for tag, c in twin.counters.items()},
        "alarms": [alarm.to_dict() for alarm in twin.alarms.standing()],
        "bypasses": [dict(vars(b)) for b in twin.fold.bypasses if b.covers(twin.now)],
        "lots": twin.lots(),
    }


def standing(twin: Twin) -> list[Alarm]:
    """All alarms of a twin that are not normal, the worst first."""
    return twin.alarms.standing()


def alarm_rules(twin: Twin) -> list[Alarm]:
    """All declared alarms of a twin, those that are normal included."""
    return twin.alarms.rules()


def unacknowledged(twin: Twin) -> list[str]:
    """The keys of the alarms that nobody has acknowledged."""
    return [a.key for a in twin.alarms.standing() if a.state in TO_ACKNOWLEDGE]


def enters(twin: Twin, tag: str) -> bool:
    """Whether a person may enter a value of a tag."""
    channel = twin.channels.get(tag)
    return channel is not None and channel.binding.connection == MANUAL

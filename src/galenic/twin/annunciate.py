"""How a twin's alarms are fed, looked at and told: functions over a twin.

What the declared alarms must know goes into the fold as entries that say nothing to the belief:
samples that cannot be used, times at which to look, forecasts, what people ask. On ticks the
folded book is brought to the present, and what of it is new is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from galenic.clock import nanoseconds
from galenic.errors import DataError
from galenic.signals import Action, Alert, Command, Compute, Computed, Effect
from galenic.twin import look
from galenic.twin.alarms import COUNTS
from galenic.twin.binding import Rejected
from galenic.twin.events import ASKED, FORESEEN, LOOK, UNUSABLE, Entry
from galenic.twin.level import Level

if TYPE_CHECKING:
    from galenic.twin.twin import Twin

FUNCTION = "galenic.twin.work:exceedance"
DEADLINE = 30.0  # seconds that a forecast for alarms may take
SHELVED_FOR = 60.0  # minutes, when a person does not say
STEPS = 40  # times of a forecast for alarms


def unusable(twin: Twin, rejected: Rejected) -> None:
    """A sample that says nothing of its value says that its tag is bad."""
    alarming = twin.mechanics.alarming
    if alarming is not None and rejected.tag in alarming.tags:
        _enter(twin, rejected.time, UNUSABLE, rejected.tag, rejected.key)


def prepare(twin: Twin) -> None:
    """Before a tick: note that estimated quantities must be looked at, where they are due."""
    alarming, alarms = twin.mechanics.alarming, twin.alarms
    if alarming is None or not alarming.quantities:
        return
    rules = twin.definition.alarming
    every = nanoseconds(max(rules.look, twin.definition.fold.lateness / 1000.0, 0.001))
    due = (twin.now - nanoseconds(rules.settle)) // every * every
    if due > max(alarms.looked, twin.began):
        alarms.looked = due
        _enter(twin, due, LOOK, "", f"look|{due}")


def tick(twin: Twin) -> list[Effect]:
    """What of the alarms is new at the twin's time; a forecast, when alarms need one."""
    if twin.mechanics.alarming is None:
        return []
    return [*_told(twin), *_forecast(twin)]


def _told(twin: Twin) -> list[Alert]:
    rules = twin.definition.alarming
    state = twin.fold.state
    settled = max(twin.now - nanoseconds(rules.settle), state.time)
    oldest = twin.now - nanoseconds(rules.annunciate)
    return twin.alarms.look(state.alarms, settled, twin.now, oldest)


def _forecast(twin: Twin) -> list[Effect]:
    """Ask a worker how probable it is that setpoints will be passed."""
    alarming, alarms = twin.mechanics.alarming, twin.alarms
    rules = alarming.foreseen if alarming is not None else ()
    if not rules or twin.level is Level.MODEL or twin.now < alarms.next_forecast:
        return []
    alarms.forecasts += 1
    alarms.next_forecast = twin.now + nanoseconds(twin.definition.alarming.foresee)
    alarms.asked = f"{twin.id}:alarms:{alarms.forecasts}"
    horizon = max(rule.within for rule in rules)
    asked = look.forecast_task(
        twin, horizon, horizon / STEPS, tuple(dict.fromkeys(rule.of for rule in rules))
    )
    limits = {}
    for rule in rules:
        setpoint = alarming.setpoints[rule.name]  # type: ignore[union-attr]
        limits[rule.name] = (rule.of, setpoint.limit, setpoint.sign, rule.within)
    return [
        Compute(alarms.asked, FUNCTION, {**asked.arguments, "limits": limits}, twin.now, DEADLINE)
    ]


def is_ours(twin: Twin, computed: Computed) -> bool:
    """Whether it is the answer to a forecast for alarms."""
    return computed.task.startswith(f"{twin.id}:alarms:")


def foretold(twin: Twin, computed: Computed) -> list[Effect]:
    """Take in how probable it is; a forecast that failed says nothing."""
    alarms, alarming = twin.alarms, twin.mechanics.alarming
    if computed.task != alarms.asked or alarming is None:
        return []
    alarms.asked = ""
    if computed.error or not isinstance(computed.result, dict):
        return []
    for rule in alarming.foreseen:
        chance = computed.result.get("chances", {}).get(rule.name)
        if isinstance(chance, int | float):
            key = f"{computed.task}|{rule.name}"
            _enter(twin, computed.time, FORESEEN, rule.name, key, float(chance))
    return list(_told(twin))


def asked(twin: Twin, command: Command, keys: Iterable[str]) -> list[Effect]:
    """What a person asks of alarms: refused as a whole where one of them does not allow it."""
    until, span = 0, 0.0
    if command.name == "shelve":
        span = 60.0 * float(command.arguments.get("minutes", SHELVED_FOR))
        most = twin.definition.alarming.most_shelved
        if not 0 < span <= most:
            raise DataError(
                f"shelved for {span / 60:g} min",
                where="shelve",
                expected=f"above 0 and at most {most / 60:g} min",
                hint="what is not needed for longer is taken out of service, by an engineer",
            )
        until = command.time + nanoseconds(span)
    keys = list(dict.fromkeys(keys))
    before = twin.alarms.to_dict()["own"]
    declared, alerts = [], []
    try:
        for key in keys:
            alerts += twin.alarms.asked_of(
                key, command.name, command.who, command.reason, command.time, until
            )
            declared += [key] if twin.alarms.holds(key) else []
    except Exception:
        _put_back(twin, before)
        raise
    for key in declared:
        action = Action(
            key, None, "", command.time, command.time, command.name, span,
            who=command.who, reason=command.reason,
        )  # fmt: skip
        name = f"asked|{command.name}|{key}|{command.time}|{command.who}"
        _enter(twin, command.time, ASKED, key, name, action=action)
    return [*alerts, *(_told(twin) if declared else [])]


def _put_back(twin: Twin, own: object) -> None:
    """The twin's own alarms as they were."""
    record = {"own": own, "counts": {name: getattr(twin.alarms, name) for name in COUNTS}}
    twin.alarms._own = type(twin.alarms).from_dict(record)._own


def _enter(
    twin: Twin,
    time: int,
    rank: int,
    tag: str,
    key: str,
    value: float | None = None,
    action: Action | None = None,
) -> None:
    """Put something into the fold that only the alarms look at; what is too late is left out."""
    entry = Entry(time, rank, tag, key, "", value, action=action)
    if rank == ASKED and time <= twin.fold.horizon:
        entry = replace(entry, time=twin.fold.horizon + 1)
    if entry.time > twin.fold.horizon:
        twin.fold.insert(entry)

"""The twin: an instance of a definition that turns events into effects.

``accept`` does no I/O, asks no clock and starts no thread; what it gives depends on the events
alone. Samples, actions and corrections go into the fold; ticks look at health, let writes that
wait expire and start the controller; commands change levels, targets, bypasses and the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from galenic.clock import nanoseconds, seconds
from galenic.connect.tally import Tally
from galenic.errors import DataError, GalenicError, UnknownName
from galenic.inference.belief import Belief
from galenic.inference.estimator import Forecast
from galenic.signals import (
    Alert,
    Command,
    Computed,
    Effect,
    Event,
    Receipt,
    Record,
    Tick,
    Write,
)
from galenic.twin import acting, annunciate, commands, intake, look, remembered
from galenic.twin.alarm.book import Alarming
from galenic.twin.alarms import Alarms
from galenic.twin.binding import Bypass, entries
from galenic.twin.definition import TwinDefinition, targets_si
from galenic.twin.events import (
    INPUT,
    Entry,
)
from galenic.twin.evolve import evolve
from galenic.twin.fold import Fold, Mechanics, beginning
from galenic.twin.genealogy import Diversion, divert
from galenic.twin.guard import View
from galenic.twin.health import LOST, Health, Seen, assess
from galenic.twin.level import Level, Levels
from galenic.twin.memory import Counters, Latest

NOTHING = Counters()


class Twin:
    """One thing and its virtual copy.

    Parameters
    ----------
    definition : TwinDefinition
    id : str
        Name of this twin, unique on its site.
    values : mapping of path to value, optional
        Parameter values that differ from the model's.
    belief : Belief, optional
        Prior; the model's start values and ``Noise.start`` when not given.
    start : int [ns]
        Time of the belief; nothing earlier is folded.
    level : Level
        Level to begin with.
    """

    def __init__(
        self,
        definition: TwinDefinition,
        id: str,
        values: Mapping[str, Any] | None = None,
        belief: Belief | None = None,
        *,
        start: int,
        level: Level = Level.MODEL,
    ) -> None:
        self.id = id
        self.alarms = Alarms()
        self.now = start
        self.began = start
        self.heard = start  # the last tick, also where the clock went back
        self.set_back = 0  # [ns] that the clock went back since ``now``
        self.watching = start + nanoseconds(definition.history)
        self.latest: dict[str, Latest] = {}
        self.counters: dict[str, Counters] = {}
        self.tally = Tally()
        self.health = Health(start, 1.0, "good")
        self.acting = acting.Acting()
        self._seen: dict[str, tuple[int, str]] = {}
        self._amended: dict[str, tuple[int, str, Event]] = {}
        self._install(definition, dict(values or {}))
        self.fold = self._new_fold(start, belief)
        self.levels = Levels.starting(level, self._ceilings())

    def _install(self, definition: TwinDefinition, values: dict[str, Any]) -> None:
        self.definition = definition
        self.values = values
        self.system = definition.system(values)
        self.entries = entries(self.system)
        self.channels = definition.channels(self.system)
        definition.guard.check(self.channels)
        self.targets = targets_si(definition.targets, self.system)
        self.estimator = definition.make_estimator(self.system)
        alarming = Alarming.of(
            definition.alarms, self.channels, self.system, definition.fold.lateness
        )
        self.mechanics = Mechanics(
            self.estimator,
            self.channels,
            definition.fold,
            definition.health,
            definition.genealogy,
            alarming if alarming.rules else None,
        )
        self._know_alarms()

    def _know_alarms(self) -> bool:
        """Tell the alarms their rules and the model; whether these are other rules than before."""
        definition, alarming = self.definition, self.mechanics.alarming
        changed = self.alarms.governed(repr(definition.alarms))
        if alarming is not None and alarming.since != self.alarms.since:
            alarming = replace(alarming, since=self.alarms.since)
            self.mechanics = replace(self.mechanics, alarming=alarming)
        self.alarms.alarming = alarming
        self.alarms.model = f"{definition.name} {definition.version} {self.system.identity[:12]}"
        return changed

    def _new_fold(self, start: int, prior: Belief | None) -> Fold:
        inputs = {entry.path: float(entry.value) for entry in self.system.inputs}
        belief = self.estimator.start(prior, start)
        return Fold(self.mechanics, beginning(start - 1, belief, inputs))

    def _ceilings(self) -> dict[str, Level]:
        return {
            tag: channel.binding.level
            for tag, channel in self.channels.items()
            if channel.binding.writable
        }

    @property
    def belief(self) -> Belief:
        """The belief after all accepted events, at the time of the last of them."""
        return self.fold.state.belief

    @property
    def level(self) -> Level:
        """What the twin shows: the highest level of its writable bindings."""
        return self.levels.shown

    def accept(self, event: Event) -> list[Effect]:
        """Take in one event; what has to be done about it."""
        handler = HANDLERS.get(event.kind)
        if handler is None:
            raise DataError(f"a {event.kind} is not an event", expected=", ".join(HANDLERS))
        return handler(self, event)

    # --- ticks, outcomes, commands ---------------------------------------------------------

    def _tick(self, tick: Tick) -> list[Effect]:
        if tick.time < self.heard:  # as if a whole tick had passed meanwhile
            self.set_back += self.heard - tick.time + nanoseconds(self.definition.tick)
        before, self.heard = self.heard, tick.time
        if tick.time <= self.now:
            back = seconds(self.now - tick.time)
            if back < 1.0:
                return []
            text = f"the clock went back by {back:.1f} s; nothing is done twice"
            return list(self.alarms.raise_("clock-back", "medium", text, self.now, self.id))
        effects: list[Effect] = list(self.alarms.clear("clock-back", tick.time))
        self.now, self.set_back = tick.time, 0
        annunciate.prepare(self)
        state = self.fold.state
        self.fold.prune()
        effects += remembered.forget(self, before)
        effects += self._checked_health(state.monitor)
        effects += annunciate.tick(self)
        return effects + acting.tick(self)

    def _checked_health(self, monitor: Any) -> list[Effect]:
        latest = {tag: value.time for tag, value in self.latest.items()}
        bypasses = {b.tag: b for b in self.fold.bypasses if b.covers(self.now)}
        before = self.health
        self.health = assess(
            Seen(
                monitor,
                self.channels,
                latest,
                bypasses,
                self.definition.health,
                self.watching,
                self.now,
            )
            if self.level is not Level.MODEL
            else Seen(monitor, {}, {}, {}, self.definition.health, self.now, self.now)
        )
        effects: list[Effect] = []
        if self.health.state == before.state:
            return effects
        effects += self._health_alert()
        detail = {"state": self.health.state, "score": self.health.score}
        effects.append(Record("health", self.now, self.id, detail, reason=self.health.words))
        if self.health.state == LOST:
            effects += self.lower(self.health.words)
        return effects

    def _health_alert(self) -> list[Alert]:
        key, words = f"health:{self.id}", self.health.words
        if self.health.state == "good":
            return self.alarms.clear(key, self.now)
        severity = "high" if self.health.state == LOST else "medium"
        return self.alarms.raise_(key, severity, words, self.now, self.id)

    def lower(self, reason: str, tags: tuple[str, ...] = ()) -> list[Effect]:
        """Bring writable bindings down to SHADOW. The twin does this by itself, never the rest."""
        before = self.levels
        if tags:
            lowered = {tag: min(before.tags[tag], Level.SHADOW) for tag in tags}
            self.levels = replace(before, tags={**before.tags, **lowered})
        else:
            self.levels = before.lowered(Level.SHADOW)
        if self.levels.tags == before.tags:
            return []
        self.acting.stopped()
        detail = {"from": before.shown.word, "to": self.level.word, "tags": list(tags)}
        text = f"{self.id} was lowered to {self.level.word}: {reason}"
        return [
            Record("level", self.now, self.id, detail, who="health", reason=reason),
            *self.alarms.raise_(f"level:{self.id}", "high", text, self.now, self.id),
        ]

    def _computed(self, computed: Computed) -> list[Effect]:
        if annunciate.is_ours(self, computed):
            return annunciate.foretold(self, computed)
        return acting.computed(self, computed)

    def _receipt(self, receipt: Receipt) -> list[Effect]:
        return acting.receipt(self, receipt)

    def _command(self, command: Command) -> list[Effect]:
        self.now = max(self.now, command.time)
        try:
            return commands.perform(self, command)
        except GalenicError as error:
            return self._refused(f"command {command.name}", command.time, error, command)

    def _refused(
        self, what: str, time: int, error: GalenicError, command: Command | None = None
    ) -> list[Effect]:
        who, reason = (command.who, command.reason) if command else ("", "")
        detail = {"what": what, **error.to_dict()}
        if command is not None and command.key:
            detail["key"] = command.key
        return [Record("refused", time, self.id, detail, who, reason or error.found)]

    def took_effect(self, tag: str, value: float | bool | str, time: int, key: str) -> None:
        """A write is known to have taken effect; an input of the model changes with it."""
        channel = self.channels[tag]
        if tag not in self.latest or self.latest[tag].time <= time:
            self.latest[tag] = Latest(time, value)
        if isinstance(value, str):
            return
        if channel.role == "input" and time > self.fold.horizon and key not in self._seen:
            gain, offset = channel.binding.calibration
            si = channel.value_si(gain * value + offset)
            quantity = channel.binding.quantity
            self._seen[key] = (time, tag)
            self.fold.insert(Entry(time, INPUT, tag, key, quantity, si, received=time))

    def bypass(self, bypass: Bypass) -> None:
        """Leave a sensor out of the belief and of the health for a while."""
        self.fold.bypass(bypass)

    def _count(self, tag: str, what: str) -> None:
        self.counters[tag] = self.counters.get(tag, NOTHING).counted(what)

    # --- looking -----------------------------------------------------------------------------

    def view(self) -> View:
        """What the guard may look at now."""
        usable = {tag: value for tag, value in self.latest.items() if not value.uncertain}
        return View(
            self.now,
            {tag: value.value for tag, value in usable.items()},
            {tag: max(0.0, seconds(self.now - value.time)) for tag, value in usable.items()},
            self.acting.written,
            self.health.credible,
            self.health.words,
        )

    def forecast(self, *args: Any, **options: Any) -> Forecast:
        """What will be; see ``galenic.twin.look.forecast``."""
        return look.forecast(self, *args, **options)

    def what_if(self, changes: Mapping[str, Any], **options: Any) -> look.WhatIf:
        """The running forecast beside one with other inputs; see ``galenic.twin.look``."""
        return look.what_if(self, changes, **options)

    def recommend(self) -> dict[str, Any]:
        """The last proposal and what the guard said to it."""
        return look.recommend(self)

    def status(self) -> dict[str, Any]:
        """Level, health, age, counters, alarms."""
        return look.status(self)

    def snapshot(self) -> bytes:
        """The whole state; ``galenic.twin.snapshot.restore`` gives the twin back."""
        from galenic.twin.snapshot import snapshot

        return snapshot(self)

    def evolve(
        self,
        definition: TwinDefinition | None = None,
        values: Mapping[str, Any] | None = None,
        *,
        who: str,
        reason: str,
    ) -> list[Effect]:
        """Change to a new version or new values, bumpless; see ``galenic.twin.evolve``."""
        return evolve(self, definition, values, Command("evolve", self.now, who, reason))

    def lots(self, ahead: float = 0.0) -> dict[str, dict[str, float]]:
        """Share of each lot in the outlet by feeding point, once ``ahead`` [kg] has passed."""
        rules, track = self.definition.genealogy, self.fold.state.track
        points = rules.points if rules else {}
        return {point: track.lots(point, residence, ahead) for point, residence in points.items()}

    def divert(
        self, point: str, start: float, stop: float, limit: float = 0.01
    ) -> Diversion | None:
        """What to divert [kg on the twin's mass counter] of material fed between two masses."""
        rules = self.definition.genealogy
        points = rules.points if rules else {}
        if point not in points:
            raise UnknownName.among("feeding point", point, points)
        return divert(points[point], start, stop, limit)


HANDLERS: dict[str, Callable[[Twin, Any], list[Effect]]] = {
    "sample": intake.sample,
    "action": intake.action,
    "correction": intake.correction,
    "tick": Twin._tick,
    "computed": Twin._computed,
    "command": Twin._command,
    "receipt": Twin._receipt,
}

__all__ = ["Counters", "Latest", "Twin", "Write"]

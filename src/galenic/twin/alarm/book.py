"""The alarms of a twin as a fold: values, timers, commands in the order of their time.

A ``Book`` is part of the folded state, so a late sample, a corrected one or a late command leads
to the same book as if it had come in time. The end of a delay, of a shelving or of a tag's
freshness is a timer: it takes effect at its own time, whatever comes next. A value of bad quality
says nothing: it neither ends an alarm nor lets the delay before its end go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from galenic.clock import nanoseconds
from galenic.errors import NotPermitted
from galenic.inference.packing import packable
from galenic.twin.alarm import state as states
from galenic.twin.alarm.rule import (
    ESTIMATED,
    FORECAST,
    HYSTERESIS,
    MEASURED,
    QUALITY,
    RESIDUAL,
    AlarmRule,
    Setpoint,
    in_order,
    setpoint,
)
from galenic.twin.alarm.state import AlarmState
from galenic.twin.binding import Channel, entries
from galenic.twin.events import ASKED, FORESEEN, UNUSABLE, WATCH, Entry
from galenic.twin.health import Monitor
from galenic.twin.interlock import Interlock
from galenic.units import from_si, unit

LEAST = 5  # innovations from which on a residual says anything
MOST = 5000  # transitions kept at most


@packable
@dataclass(frozen=True)
class Standing:
    """One rule: its state, and what its condition is about to do.

    ``beyond`` says whether the newest good value is past the setpoint; ``since`` is when that came
    to differ from the state, 0 when it does not.
    """

    state: AlarmState = field(default_factory=AlarmState)
    beyond: bool = False
    since: int = 0
    value: float | None = None
    probability: float | None = None


@packable
@dataclass(frozen=True)
class Transition:
    """One change of an alarm, at the time at which it was so."""

    time: int
    name: str
    was: str
    state: str
    active: bool
    value: float | None = None
    probability: float | None = None
    who: str = ""
    reason: str = ""
    until: int = 0

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same transition when the past is told again."""
        return (self.time, self.name, self.was, self.state, self.active, self.who, self.until)


@packable
@dataclass(frozen=True)
class Book:
    """All that the alarms know: newest values [SI], freshness, states, the latest transitions."""

    time: int = 0
    values: Mapping[str, float | str] = field(default_factory=dict)
    good: Mapping[str, int] = field(default_factory=dict)
    standing: Mapping[str, Standing] = field(default_factory=dict)
    history: tuple[Transition, ...] = ()
    forgotten: int = 0

    def of(self, name: str) -> Standing:
        """Where an alarm stands."""
        return self.standing.get(name) or Standing()


@dataclass(frozen=True)
class Alarming:
    """Rules checked against a twin, ready to be evaluated; holds no state.

    Parameters
    ----------
    rules : tuple of AlarmRule
        Each after those that suppress it.
    setpoints : mapping of name to Setpoint
    channels : mapping of tag to Channel
    units : mapping of quantity to Unit
    kept : int [ns]
        How long transitions are remembered: as long as late data may change them.
    since : int [ns]
        When these rules came into force; the book of earlier times is not told anew by them.
    """

    rules: tuple[AlarmRule, ...]
    setpoints: Mapping[str, Setpoint]
    channels: Mapping[str, Channel]
    units: Mapping[str, Any]
    kept: int
    since: int = 0

    @classmethod
    def of(
        cls, rules: Iterable[AlarmRule], channels: Mapping[str, Channel], system: Any, kept: float
    ) -> Alarming:
        """Rules of a definition; ``kept`` is its lateness [s]."""
        ordered = in_order(rules)
        asked = {name for rule in ordered for name in (rule.of, *names_in(rule))}
        units = {path: e.unit for path, e in entries(system).items() if path in asked}
        limits = {rule.name: setpoint(rule, channels, system) for rule in ordered}
        return cls(ordered, limits, channels, units, nanoseconds(kept))

    @cached_property
    def tags(self) -> frozenset[str]:
        """The tags whose values, or want of them, say anything here."""
        asked = {rule.of for rule in self.rules if rule.on not in (ESTIMATED, FORECAST)}
        asked |= {name for rule in self.rules for name in names_in(rule)}
        return frozenset(asked & set(self.channels))

    @cached_property
    def quantities(self) -> tuple[str, ...]:
        """The quantities that must be estimated."""
        asked = {rule.of for rule in self.rules if rule.on == ESTIMATED}
        named = {name for rule in self.rules for name in names_in(rule)}
        return tuple(sorted(asked | ((named - set(self.channels)) & set(self.units))))

    @cached_property
    def foreseen(self) -> tuple[AlarmRule, ...]:
        """The rules that need a forecast."""
        return tuple(rule for rule in self.rules if rule.on == FORECAST)

    @cached_property
    def by_name(self) -> Mapping[str, AlarmRule]:
        return {rule.name: rule for rule in self.rules}

    def in_words(self, rule: AlarmRule) -> Callable[[float], str]:
        """How a value [SI] of a rule is written."""
        if rule.on == RESIDUAL:
            return lambda value: f"{value:.3g} sd"
        if rule.on in (MEASURED, QUALITY):
            here = unit(self.channels[rule.of].binding.unit)
        else:
            here = self.units[rule.of]
        name = "" if here.text == "1" else f" {here.text}"
        return lambda value: f"{float(from_si(value, here)):.4g}{name}"

    def step(
        self,
        book: Book,
        time: int,
        entries: Iterable[Entry],
        estimates: Mapping[str, float],
        monitor: Monitor,
    ) -> Book:
        """The book after everything of one time.

        Parameters
        ----------
        estimates : mapping of quantity to float [SI]
            What was estimated at that time; empty when nothing new was.
        monitor : Monitor
            The innovations after the corrections of that time.
        """
        if time <= self.since:
            return book
        entries = tuple(entries)
        book = self.advanced(book, time)
        told = {
            e.tag: e.value
            for e in entries
            if e.rank <= WATCH and e.tag in self.tags and e.value is not None
        }
        bad = {e.tag for e in entries if e.rank == UNUSABLE} - told.keys()
        foreseen = {e.tag: float(e.value or 0.0) for e in entries if e.rank == FORESEEN}
        if told or estimates:
            good = {**book.good, **dict.fromkeys(told, time)}
            book = replace(book, values={**book.values, **told, **estimates}, good=good)
            book = self._suppressions(book, time, beginning=True)
        for rule in self.rules:
            found = self._condition(rule, book.of(rule.name), told, estimates, foreseen, monitor)
            if rule.of in bad:
                found = _unusable(rule, book.of(rule.name))
            if found is not None:
                book = self._noted(book, rule, found, time)
        book = self.advanced(book, time)
        for entry in entries:
            if entry.rank == ASKED and entry.action is not None and entry.tag in self.by_name:
                book = self._asked(book, self.by_name[entry.tag], entry, time)
        return book

    def _condition(
        self,
        rule: AlarmRule,
        old: Standing,
        told: Mapping[str, float | str],
        estimates: Mapping[str, float],
        foreseen: Mapping[str, float],
        monitor: Monitor,
    ) -> Standing | None:
        """The rule's standing with a new condition; None where nothing new was said of it."""
        limit = self.setpoints[rule.name]
        if rule.on == FORECAST:
            if rule.name not in foreseen:
                return None
            chance = foreseen[rule.name]
            band = float(rule.deadband) or HYSTERESIS
            past = chance > rule.probability - band if old.beyond else chance >= rule.probability
            return replace(old, beyond=past, probability=chance)
        source = estimates if rule.on == ESTIMATED else told
        value = source.get(rule.of)
        if value is None or (isinstance(value, str) and rule.on != QUALITY):
            return None
        if rule.on == QUALITY:
            return replace(old, beyond=False)
        if rule.on == RESIDUAL:
            z = monitor.tags[rule.of].innovations if rule.of in monitor.tags else ()
            if len(z) < LEAST:
                return None
            value = sum(z) / math.sqrt(len(z))
            chance = math.erf(abs(value) / math.sqrt(2.0))
            past = limit.beyond(abs(value) if rule.above is not None else value, old.beyond)
            return replace(old, beyond=past, value=value, probability=chance)
        value = float(value)
        return replace(old, beyond=limit.beyond(value, old.beyond), value=value)

    def _noted(self, book: Book, rule: AlarmRule, found: Standing, time: int) -> Book:
        """The book with what was found of a rule; the delay before a change begins or ends."""
        differs = found.beyond != found.state.active
        since = (found.since or time) if differs else 0
        return _with(book, rule.name, replace(found, since=since))

    # --- timers --------------------------------------------------------------------------

    def advanced(self, book: Book, time: int) -> Book:
        """The book at a time when nothing is said until then."""
        at = book.time
        while True:
            due = min(
                (
                    (at, rank)
                    for rank, rule in enumerate(self.rules)
                    for at in self._due(book, rule)
                ),
                default=None,
            )
            if due is None or due[0] > at:  # all that happened at one time is known
                book = self._suppressions(book, at)
            if due is None or due[0] > time:
                break
            book = self._fired(book, self.rules[due[1]], due[0])
            at = max(at, due[0])
            book = self._suppressions(book, at, beginning=True)
        return replace(book, time=max(book.time, time))

    def _due(self, book: Book, rule: AlarmRule) -> list[int]:
        """When something happens to an alarm by itself."""
        known, found = book.of(rule.name), []
        if known.since:
            delay = rule.on_delay if known.beyond else rule.off_delay
            found.append(known.since + nanoseconds(delay))
        if known.state.shelved_until:
            found.append(known.state.shelved_until)
        stale = self._stale_at(book, rule)
        if stale and not known.beyond:
            found.append(stale)
        return found

    def _stale_at(self, book: Book, rule: AlarmRule) -> int:
        """When a tag becomes too old; 0 where it cannot."""
        if rule.on != QUALITY or rule.of not in book.good:
            return 0
        limit = self.channels[rule.of].binding.stale_after
        return book.good[rule.of] + nanoseconds(limit) if limit is not None else 0

    def _fired(self, book: Book, rule: AlarmRule, time: int) -> Book:
        """An alarm after what was due of it at a time."""
        known, latching = book.of(rule.name), rule.latching
        state = known.state
        if state.shelved_until and state.shelved_until <= time:
            opened = states.unshelved(state, latching)
            return self._changed(book, rule, replace(known, state=opened), time)
        delay = nanoseconds(rule.on_delay if known.beyond else rule.off_delay)
        if known.since and known.since + delay <= time:
            begins = states.occurred(state, time, latching)
            after = begins if known.beyond else states.ended(state, time)
            return self._changed(book, rule, replace(known, state=after, since=0), time)
        return self._noted(book, rule, replace(known, beyond=True), time)

    # --- suppression by design, commands -------------------------------------------------

    def _suppressions(self, book: Book, time: int, beginning: bool = False) -> Book:
        """The book after the logic was asked; with ``beginning`` no suppression ends yet.

        A suppression begins before the alarms of its time, and ends after them.
        """
        for rule in self.rules:
            if not rule.suppressed_when:
                continue
            known = book.of(rule.name)
            holds = not Interlock(rule.suppressed_when).failure(self._known(book, rule))
            if holds != known.state.designed and (holds or not beginning):
                after = states.by_design(known.state, holds, rule.latching)
                book = self._changed(
                    book, rule, replace(known, state=after), time, reason=rule.suppressed_when
                )
        return book

    def _known(self, book: Book, rule: AlarmRule) -> dict[str, Any]:
        """Tags and quantities in their own units, and whether other alarms hold."""
        known: dict[str, Any] = {}
        for name in names_in(rule):
            value = book.values.get(name)
            if name in self.by_name:
                known[name] = book.of(name).state.active
            elif isinstance(value, str) or value is None:
                known[name] = value
            elif name in self.channels:
                known[name] = float(from_si(value, unit(self.channels[name].binding.unit)))
            else:
                known[name] = float(from_si(value, self.units[name]))
        return known

    def _asked(self, book: Book, rule: AlarmRule, entry: Entry, time: int) -> Book:
        """What a person asked; nothing where the past, told anew, has no place for it."""
        known, asked = book.of(rule.name), entry.action
        assert asked is not None
        until = time + nanoseconds(asked.duration)
        try:
            after = commanded(
                known.state, asked.what, asked.who, asked.reason, until, rule.latching
            )
        except NotPermitted:
            return book
        changed = replace(known, state=after)
        return self._changed(book, rule, changed, time, asked.who, asked.reason)

    def _changed(
        self,
        book: Book,
        rule: AlarmRule,
        after: Standing,
        time: int,
        who: str = "",
        reason: str = "",
    ) -> Book:
        """The book with an alarm's new state, and the transition that led to it."""
        before = book.of(rule.name).state
        book = _with(book, rule.name, after)
        said = (after.state.word, after.state.active, after.state.shelved_until)
        if said == (before.word, before.active, before.shelved_until):
            return book
        value, chance = after.value, after.probability
        made = Transition(
            time, rule.name, before.word, after.state.word, after.state.active, value, chance, who,
            reason, after.state.shelved_until,
        )  # fmt: skip
        return _remembered(book, made, time - self.kept)


def names_in(rule: AlarmRule) -> frozenset[str]:
    """The names in a rule's suppression."""
    return Interlock(rule.suppressed_when).names if rule.suppressed_when else frozenset()


def commanded(
    state: AlarmState, what: str, who: str, why: str, until: int = 0, latching: bool = False
) -> AlarmState:
    """The state after what a person asked; raises NotPermitted where that is not possible."""
    if what == "acknowledge":
        return states.acknowledged(state, who)
    if what == "reset":
        return states.reset(state)
    if what == "shelve":
        return states.shelved(state, until, who, why)
    if what == "unshelve":
        return states.unshelved(state, latching)
    if what == "out-of-service":
        return states.taken_out(state, who, why)
    if what == "in-service":
        return states.put_back(state, latching)
    raise NotPermitted(f"{what!r} is nothing that can be asked of an alarm")


def _unusable(rule: AlarmRule, old: Standing) -> Standing | None:
    """A rule whose tag has just become bad."""
    if rule.on == QUALITY:
        return replace(old, beyond=True)
    if rule.on == MEASURED and old.state.active and not old.beyond:
        return replace(old, beyond=True)  # the end that was about to come is not known any more
    return None


def _with(book: Book, name: str, standing: Standing) -> Book:
    return replace(book, standing={**book.standing, name: standing})


def _remembered(book: Book, made: Transition, oldest: int) -> Book:
    history = (*book.history, made)
    if history[0].time > oldest and len(history) <= MOST:
        return replace(book, history=history)
    kept = tuple(one for one in history[-MOST:] if one.time > oldest)
    forgotten = max((one.time for one in history[: len(history) - len(kept)]), default=0)
    return replace(book, history=kept, forgotten=max(book.forgotten, forgotten))

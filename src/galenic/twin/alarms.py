"""Alarms of one twin: what is wrong, since when, how bad, what to do, and who has seen it.

There are two kinds. The twin's own alarms are raised and cleared where something happens to the
twin itself (health, guard, writes). The declared ones are folded with the data
(``galenic.twin.alarm.book``); what of them is new is told on ticks, once. Both go through the
states of ``galenic.twin.alarm.state``. Each transition gives one Alert; the records keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from galenic.errors import UnknownName
from galenic.identity import content_hash
from galenic.inference.packing import pack, unpack
from galenic.signals import Alert, Record
from galenic.twin.alarm import state as states
from galenic.twin.alarm.book import Alarming, Book, Transition, commanded
from galenic.twin.alarm.built_in import meaning
from galenic.twin.alarm.rule import PRIORITIES, AlarmRule
from galenic.twin.alarm.state import AlarmState

SEVERITIES = PRIORITIES
JOURNALLED = "alarm"
COUNTS = ("told_until", "looked", "next_forecast", "forecasts", "asked", "since", "rules_said")
QUIET = (states.SHELVED, states.SUPPRESSED, states.OUT_OF_SERVICE)


@dataclass(frozen=True)
class Alarm:
    """One alarm as people see it.

    ``active`` says that its condition holds and nothing suppresses it; ``state`` is one of
    ``galenic.twin.alarm.state.STATES``. Times are ns.
    """

    key: str
    severity: str
    text: str
    since: int
    subject: str = ""
    active: bool = True
    acknowledged: bool = False
    who: str = ""
    state: str = states.UNACKNOWLEDGED
    group: str = "twin"
    cause: str = ""
    consequence: str = ""
    action: str = ""
    respond: float = 0.0
    holds: bool = True
    latched: bool = False
    until: int = 0
    by: str = ""
    why: str = ""
    value: float | None = None
    probability: float | None = None
    model: str = ""
    declared: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Own:
    """One of the twin's own alarms: what it says, and its state."""

    severity: str
    text: str
    subject: str
    state: AlarmState = field(default_factory=AlarmState)


class Alarms:
    """All alarms of a twin by key. Each change gives one Alert; a repetition gives none."""

    def __init__(self) -> None:
        self._own: dict[str, Own] = {}
        self.alarming: Alarming | None = None
        self.model = ""
        self.book = Book()
        self.told: tuple[Transition, ...] = ()
        self.told_until = 0
        self.looked = 0
        self.next_forecast = 0
        self.forecasts = 0
        self.asked = ""
        self.since = 0
        self.rules_said = ""

    def governed(self, said: str) -> bool:
        """Note by which rules the alarms are governed; True when these are others than before.

        What the book says until now then stands, whatever the new rules would have made of it.
        """
        said = content_hash(said)[:16]
        before, self.rules_said = self.rules_said, said
        if before in ("", said):
            return False
        self.since = self.book.time
        return True

    def standing(self) -> list[Alarm]:
        """All that are not normal, the worst and newest first."""
        found = [_shown(key, own) for key, own in self._own.items()]
        for rule in self.alarming.rules if self.alarming else ():
            known = self.book.of(rule.name)
            if known.state.word != states.NORMAL:
                found.append(self._declared(rule))
        return sorted(
            found,
            key=lambda a: (not a.active, SEVERITIES.index(a.severity), -a.since, a.key),
        )

    def rules(self) -> list[Alarm]:
        """Every declared alarm, those that are normal included."""
        return [self._declared(rule) for rule in (self.alarming.rules if self.alarming else ())]

    def _declared(self, rule: AlarmRule) -> Alarm:
        known = self.book.of(rule.name)
        return replace(
            _facts(rule.name, rule.stated_or_derived, said(rule, known.value, self), known.state),
            subject=rule.of,
            group=rule.group,
            cause=rule.cause,
            consequence=rule.consequence,
            action=rule.action,
            respond=rule.respond,
            value=known.value,
            probability=known.probability,
            model=self.model if rule.on in ("estimated", "forecast", "residual") else "",
            declared=True,
        )

    # --- the twin's own alarms -----------------------------------------------------------

    def raise_(
        self, key: str, severity: str, text: str, time: int, subject: str = ""
    ) -> list[Alert]:
        """The condition ``key`` holds; an alert when it is new or its severity has changed."""
        old = self._own.get(key, Own(severity, text, subject))
        if old.state.active and old.severity == severity:
            if old.text != text:
                self._own[key] = replace(old, text=text)
            return []
        state = old.state
        if state.active and not state.suppressed:
            state = replace(state, active=False)
        new = Own(severity, text, subject, states.occurred(state, time))
        return self._become(key, old, new, time)

    def clear(self, key: str, time: int) -> list[Alert]:
        """The condition ``key`` is over; an alert when it stood until now."""
        old = self._own.get(key)
        if old is None or not old.state.active:
            return []
        return self._become(key, old, replace(old, state=states.ended(old.state, time)), time)

    def expired(self, now: int) -> list[Alert]:
        """Shelvings that are over."""
        alerts: list[Alert] = []
        for key, old in list(self._own.items()):
            until = old.state.shelved_until
            if until and until <= now:
                alerts += self._become(
                    key, old, replace(old, state=states.unshelved(old.state)), until
                )
        return alerts

    def _become(
        self, key: str, old: Own, new: Own, time: int, who: str = "", reason: str = ""
    ) -> list[Alert]:
        self._own[key] = new
        if new.state.word == states.NORMAL:
            del self._own[key]
        after = new.state
        alert = Alert(
            key, new.severity, new.text, time, new.subject, after.active, {}, after.word,
            old.state.word, who, reason, silent=after.suppressed or bool(who),
        )  # fmt: skip
        return [alert]

    # --- what people ask -----------------------------------------------------------------

    def holds(self, key: str) -> bool:
        """Whether ``key`` is a declared alarm; UnknownName where it is none at all."""
        declared = self.alarming.by_name if self.alarming else {}
        if key not in declared and key not in self._own:
            raise UnknownName.among("alarm", key, (*self._own, *declared))
        return key in declared

    def asked_of(
        self, key: str, what: str, who: str, reason: str, time: int, until: int = 0
    ) -> list[Alert]:
        """A person asks something of an alarm; raises NotPermitted where that is not possible.

        A declared alarm is only looked at here: what was asked of it goes into the fold.
        """
        if self.holds(key):
            rule = self.alarming.by_name[key]  # type: ignore[union-attr]
            commanded(self.book.of(key).state, what, who, reason, until, rule.latching)
            return []
        old = self._own[key]
        after = commanded(old.state, what, who, reason, until)
        return self._become(key, old, replace(old, state=after), time, who, reason)

    def acknowledge(self, key: str, who: str, time: int = 0) -> list[Alert]:
        """Somebody has seen one of the twin's own alarms. One that is over goes away."""
        return self.asked_of(key, "acknowledge", who, "seen", time)

    # --- what is folded ------------------------------------------------------------------

    def look(self, book: Book, time: int, now: int, oldest: int) -> list[Alert]:
        """What of the declared alarms is new since the last look.

        Parameters
        ----------
        book : Book
            Of the folded state.
        time : int [ns]
            Until when timers are believed.
        oldest : int [ns]
            What happened before is told silently.
        """
        if self.alarming is None:
            return []
        self.book = self.alarming.advanced(book, max(time, book.time))
        before = {one.key for one in self.told}
        there = {one.key for one in self.book.history}
        alerts = [
            self._told(one, now, one.time < oldest)
            for one in self.book.history
            if one.key not in before and one.time > self.told_until
        ]
        gone = [t for t in self.told if t.key not in there and t.time > self.book.forgotten]
        alerts += [replace(self._told(one, now, True), withdrawn=True) for one in gone]
        self.told = self.book.history
        self.told_until = max(self.told_until, self.book.forgotten)
        return alerts

    def _told(self, one: Transition, now: int, late: bool) -> Alert:
        assert self.alarming is not None
        rule = self.alarming.by_name.get(one.name)
        detail: dict[str, Any] = {"told": now, "late": late}
        for name in ("value", "probability", "until"):
            if getattr(one, name):
                detail[name] = getattr(one, name)
        if rule is None:
            return Alert(one.name, "journal", one.name, one.time, "", False, detail, silent=True)
        detail |= {"on": rule.on, "group": rule.group}
        if rule.on in ("estimated", "forecast", "residual"):
            detail["model"] = self.model
        return Alert(
            one.name, rule.stated_or_derived, said(rule, one.value, self), one.time, rule.of,
            one.active, detail, one.state, one.was, one.who, one.reason,
            silent=late or bool(one.who) or one.state in QUIET,
        )  # fmt: skip

    # --- keeping -------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the opposite of ``from_dict``."""
        own = {key: {**asdict(one), "state": asdict(one.state)} for key, one in self._own.items()}
        return {
            "own": own,
            "told": pack(self.told).hex() if self.told else "",
            "book": pack(self.book).hex() if self.book != Book() else "",
            "counts": {name: getattr(self, name) for name in COUNTS},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Alarms:
        made = cls()
        if "counts" not in record:  # as it was before alarms had states
            record = {"own": {key: _earlier(one) for key, one in record.items()}}
        for key, one in record["own"].items():
            made._own[key] = Own(**{**one, "state": AlarmState(**one["state"])})
        for name in ("told", "book"):
            if record.get(name):
                setattr(made, name, unpack(bytes.fromhex(record[name])))
        for name, value in record.get("counts", {}).items():
            setattr(made, name, value)
        return made


def _earlier(one: Mapping[str, Any]) -> dict[str, Any]:
    state = AlarmState(one["active"], one["acknowledged"], False, one["since"], one["who"])
    kept = {f.name: one[f.name] for f in fields(Own) if f.name != "state"}
    return {**kept, "state": asdict(state)}


def _facts(key: str, severity: str, text: str, state: AlarmState) -> Alarm:
    return Alarm(
        key,
        severity,
        text,
        state.since,
        active=state.active and not state.suppressed,
        acknowledged=state.acknowledged or state.suppressed,
        who=state.who,
        state=state.word,
        holds=state.active,
        latched=state.latched,
        until=state.shelved_until,
        by=state.out_by or state.shelved_by,
        why=state.out_why or state.shelved_why,
    )


def _shown(key: str, own: Own) -> Alarm:
    means = meaning(key)
    return replace(
        _facts(key, own.severity, own.text, own.state),
        subject=own.subject,
        cause=means.cause,
        consequence=means.consequence,
        action=means.action,
        respond=means.respond,
    )


def said(rule: AlarmRule, value: float | None, alarms: Alarms) -> str:
    """What a declared alarm says, with the value that it was last given."""
    if value is None or alarms.alarming is None:
        return rule.words
    shown: Callable[[float], str] = alarms.alarming.in_words(rule)
    return f"{rule.words}: {shown(value)}"


def journalled(id: str, alert: Alert) -> Record:
    """The ledger's entry of a transition; it has its own time, and when it was found out."""
    detail = {
        "alarm": alert.key, "time": alert.time, "was": alert.was, "state": alert.state,
        "active": alert.active, "priority": alert.severity, "text": alert.text,
        "subject": alert.subject, "silent": alert.silent, **alert.detail,
    }  # fmt: skip
    if alert.withdrawn:
        detail["withdrawn"] = True
    told = int(alert.detail.get("told", alert.time))
    return Record(JOURNALLED, told, id, detail, alert.who, alert.reason)


def entries_of(id: str, effects: Iterable[Any]) -> list[Record]:
    """The journal entries of what a twin tells."""
    return [journalled(id, e) for e in effects if isinstance(e, Alert) and e.state]

"""What makes an alarm: a condition, and what it means for the person who must act.

An alarm without a cause, a consequence and an action of the operator is not an alarm; such a rule
is refused (ISA-18.2: every alarm requires a timely response of the operator).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from galenic.errors import DataError, UnknownName
from galenic.twin.binding import Channel, entry_of
from galenic.twin.interlock import Interlock

PRIORITIES = ("critical", "high", "medium", "low", "journal")
MEASURED, ESTIMATED, FORECAST, RESIDUAL, QUALITY = (
    "measured", "estimated", "forecast", "residual", "quality",
)  # fmt: skip
SOURCES = (MEASURED, ESTIMATED, FORECAST, RESIDUAL, QUALITY)
CONSEQUENCES = ("minor", "moderate", "major", "severe")
SOON, PROMPT = 180.0, 600.0
MATRIX: Mapping[str, tuple[str, str, str]] = {
    "minor": ("low", "low", "low"),
    "moderate": ("medium", "low", "low"),
    "major": ("high", "medium", "low"),
    "severe": ("critical", "high", "medium"),
}
"""Priority by severity of the consequence, for a time to respond of up to ``SOON`` s, up to
``PROMPT`` s, and longer. The form of such a matrix is the standard's, the figures are ours."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
HYSTERESIS = 0.1  # of a probability, where a rule gives no deadband


def derived_priority(severity: str, respond: float) -> str:
    """The priority that follows from how bad the consequence is and how long there is to act.

    Examples
    --------
    >>> derived_priority("severe", 120.0), derived_priority("moderate", 1800.0)
    ('critical', 'low')
    """
    if severity not in MATRIX:
        raise UnknownName.among("severity of a consequence", severity, MATRIX)
    return MATRIX[severity][0 if respond <= SOON else 1 if respond <= PROMPT else 2]


@dataclass(frozen=True)
class AlarmRule:
    """One alarm of a twin.

    Parameters
    ----------
    name : str
        Words joined by underscores or dots; unique in the twin.
    of : str
        The tag (measured, residual, quality) or quantity (estimated, forecast) it is about.
    cause, consequence, action : str
        Why it comes, what happens if nobody acts, and what the operator does.
    respond : float [s]
        How long there is to act before the consequence cannot be averted.
    on : {"measured", "estimated", "forecast", "residual", "quality"}
        quality: the tag is bad, or older than its binding's ``stale_after``. residual: the mean of
        the latest innovations of the tag, times the square root of their number [sd].
    above, below : value
        The setpoint; exactly one of them, but for quality. "10.5 %", or a number in the unit of
        the tag's binding, or in the declared unit of the quantity.
    deadband : value
        How far it must come back; in the same unit, for a forecast of the probability.
    on_delay, off_delay : float [s]
        How long the condition must hold, or be over, until the alarm comes or goes.
    severity : {"minor", "moderate", "major", "severe"}
        How bad the consequence is; with ``respond`` it gives the priority.
    priority : str
        Where it is stated, not derived.
    group : str
        Class of alarms that are managed alike, as quality or safety.
    latching : bool
        Whether it stays until a person resets it.
    suppressed_when : str
        Condition over tags, quantities and other alarms under which it is suppressed by design.
    within : float [s]
        forecast: how far ahead is looked.
    probability : float [1]
        forecast: from which probability of leaving the setpoint on.
    """

    name: str
    of: str
    cause: str
    consequence: str
    action: str
    respond: float
    on: str = MEASURED
    above: Any = None
    below: Any = None
    deadband: Any = 0.0
    on_delay: float = 0.0
    off_delay: float = 0.0
    severity: str = "moderate"
    priority: str = ""
    group: str = "process"
    latching: bool = False
    suppressed_when: str = ""
    within: float = 600.0
    probability: float = 0.8

    @property
    def place(self) -> str:
        return f"alarm {self.name}"

    @property
    def stated_or_derived(self) -> str:
        """The priority: stated, or derived from consequence and time to respond."""
        return self.priority or derived_priority(self.severity, self.respond)

    @property
    def words(self) -> str:
        """What it says, as ``NIR.Content above 10.5 %``."""
        if self.on == QUALITY:
            return f"{self.of} is bad or stale"
        side, limit = ("above", self.above) if self.above is not None else ("below", self.below)
        subject = {RESIDUAL: f"residual of {self.of}", ESTIMATED: f"estimated {self.of}"}
        text = f"{subject.get(self.on, self.of)} {side} {limit}"
        return f"{text} within {self.within / 60:g} min" if self.on == FORECAST else text


@dataclass(frozen=True)
class AlarmRules:
    """How the alarms of a twin are evaluated.

    Parameters
    ----------
    settle : float [s]
        How long samples may take on their way before the end of a delay is believed.
    annunciate : float [s]
        What is found out later than this is recorded and not annunciated.
    look : float [s]
        Time between looks at estimated quantities while nothing is measured; at least a
        thousandth of the lateness.
    foresee : float [s]
        Time between forecasts for alarms.
    most_shelved : float [s]
        The longest time for which an alarm may be shelved.
    """

    settle: float = 2.0
    annunciate: float = 300.0
    look: float = 10.0
    foresee: float = 60.0
    most_shelved: float = 8 * 3600.0


def check(rules: Iterable[AlarmRule], channels: Mapping[str, Channel], system: Any) -> None:
    """Refuse rules that are incomplete or do not fit the twin; errors begin ``alarm NAME``."""
    rules = tuple(rules)
    names = [rule.name for rule in rules]
    for rule in rules:
        _check_words(rule)
        if names.count(rule.name) > 1:
            raise DataError(f"two alarms are called {rule.name!r}", where=rule.place)
        _check_numbers(rule)
        setpoint(rule, channels, system)
    known = {*channels, *_paths(system), *names}
    for rule in rules:
        if rule.suppressed_when:
            Interlock(rule.suppressed_when).check(known, where=rule.place)
    in_order(rules)


def _check_words(rule: AlarmRule) -> None:
    if not isinstance(rule.name, str) or not NAME.fullmatch(rule.name):
        raise DataError(
            f"an alarm called {rule.name!r}",
            where=rule.place,
            expected="words joined by underscores or dots",
        )
    needs = {"cause": "why it comes", "consequence": "what happens if nobody acts",
             "action": "what the operator does"}  # fmt: skip
    for key, meaning in needs.items():
        if not str(getattr(rule, key) or "").strip():
            raise DataError(
                f"alarm {rule.name} has no {key}",
                where=rule.place,
                expected=f"{key}: {meaning}",
                hint="what nobody can act on is an event, not an alarm",
            )
    for key, known in (("on", SOURCES), ("severity", CONSEQUENCES)):
        if getattr(rule, key) not in known:
            raise UnknownName.among(key, getattr(rule, key), known, where=rule.place)
    if rule.priority and rule.priority not in PRIORITIES:
        raise UnknownName.among("priority", rule.priority, PRIORITIES, where=rule.place)


def _check_numbers(rule: AlarmRule) -> None:
    if not rule.respond > 0:
        raise DataError(
            f"respond = {rule.respond!r}", where=rule.place, expected="a time above 0 s"
        )
    for key in ("on_delay", "off_delay"):
        if not 0 <= getattr(rule, key) < float("inf"):
            raise DataError(f"{key} = {getattr(rule, key)!r}", where=rule.place, expected=">= 0 s")
    if not 0 < rule.probability < 1:
        raise DataError(
            f"probability = {rule.probability!r}", where=rule.place, expected="between 0 and 1"
        )
    if rule.on == FORECAST and not rule.within > 0:
        raise DataError(f"within = {rule.within!r}", where=rule.place, expected="a time above 0 s")
    given = [side for side in (rule.above, rule.below) if side is not None]
    if len(given) != (0 if rule.on == QUALITY else 1):
        expected = "no setpoint" if rule.on == QUALITY else "one of above and below"
        raise DataError(
            f"alarm {rule.name} has {len(given)} setpoints", where=rule.place, expected=expected
        )


@dataclass(frozen=True)
class Setpoint:
    """A setpoint in SI: beyond ``limit`` towards ``sign`` is abnormal; back by ``deadband``."""

    limit: float
    sign: float
    deadband: float

    def beyond(self, value: float, active: bool) -> bool:
        """Whether a value is abnormal, when the alarm is active or not."""
        past = self.sign * (value - self.limit)
        return past > -self.deadband if active else past > 0.0


def setpoint(rule: AlarmRule, channels: Mapping[str, Channel], system: Any) -> Setpoint:
    """The setpoint of a rule in SI, checked against tag or quantity."""
    from galenic.units import unit, value_in

    if rule.on in (MEASURED, RESIDUAL, QUALITY):
        if rule.of not in channels:
            raise UnknownName.among("tag", rule.of, channels, where=rule.place)
        if rule.on == RESIDUAL and channels[rule.of].role != "observation":
            raise DataError(
                f"{rule.of} corrects nothing", where=rule.place, expected="an observed tag"
            )
        here = unit("1" if rule.on == RESIDUAL else channels[rule.of].binding.unit)
    else:
        here = entry_of(system, rule.of, where=rule.place).unit
    if rule.on == QUALITY:
        return Setpoint(0.0, 1.0, 0.0)
    sign, given = (1.0, rule.above) if rule.above is not None else (-1.0, rule.below)
    limit = float(value_in(given, here, where=rule.place))
    band = float(value_in(rule.deadband, here.difference, where=rule.place))
    if band < 0:
        raise DataError(f"deadband = {rule.deadband!r}", where=rule.place, expected="0 or more")
    if rule.on == FORECAST:
        band = 0.0
    return Setpoint(limit, sign, band)


def in_order(rules: Iterable[AlarmRule]) -> tuple[AlarmRule, ...]:
    """The rules so that each comes after those that suppress it; a circle is refused."""
    left = {rule.name: rule for rule in rules}
    asks = {
        name: {n for n in _names(rule) if n in left and n != name} for name, rule in left.items()
    }
    done: list[AlarmRule] = []
    while left:
        ready = [name for name in left if not asks[name] & set(left)]
        if not ready or any(name in _names(left[name]) for name in left):
            rule = next(iter(left.values()))
            raise DataError(
                f"{', '.join(left)} suppress one another", where=rule.place, expected="no circle"
            )
        done += [left.pop(name) for name in ready]
    return tuple(done)


def _names(rule: AlarmRule) -> frozenset[str]:
    return Interlock(rule.suppressed_when).names if rule.suppressed_when else frozenset()


def _paths(system: Any) -> set[str]:
    from galenic.twin.binding import entries

    return set(entries(system))

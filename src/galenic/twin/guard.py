"""The guard: what stands between a proposal and the plant.

It checks range, rate, interlocks, age of inputs, credibility and approval, and says in words what
it found. A tag without a rule is never written. The level is not its business: that is the gate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from galenic.clock import seconds
from galenic.errors import DataError, UnknownName
from galenic.twin.binding import Channel
from galenic.twin.interlock import Interlock

Value = float | bool | str
LONGEST_RATE_SPAN = 60.0


@dataclass(frozen=True)
class Rule:
    """What may be written to one tag. Numbers are in the unit of the tag's binding.

    Parameters
    ----------
    tag : str
    low, high : float
        A proposal outside is refused.
    rate : float [unit/min]
        A proposal that moves faster is limited to this.
    deadband : float
        A smaller change is not worth a write.
    interlocks : tuple of Interlock
        Conditions that must hold, besides those of the whole guard.
    fresh : mapping of tag to float [s]
        Inputs of the decision and the greatest age they may have.
    approval : bool
        A person must approve each write.
    expires : float [s]
        A write not performed within this time is dropped.
    """

    tag: str
    low: float = -math.inf
    high: float = math.inf
    rate: float = math.inf
    deadband: float = 0.0
    interlocks: tuple[Interlock, ...] = ()
    fresh: Mapping[str, float] = field(default_factory=dict)
    approval: bool = False
    expires: float = 10.0


@dataclass(frozen=True)
class Heartbeat:
    """An increasing count that the twin writes while it acts; the plant goes local without it."""

    tag: str
    every: float = 2.0


@dataclass(frozen=True)
class Remote:
    """The tag by which the plant is put under remote control, and back, by either side."""

    tag: str
    grace: float = 30.0


@dataclass(frozen=True)
class Move:
    """A wanted value of one tag, in the unit of its binding."""

    tag: str
    value: Value
    reason: str = ""
    who: str = ""
    key: str = ""


@dataclass(frozen=True)
class View:
    """What the guard may look at: usable values and ages of tags, last writes, credibility."""

    now: int
    values: Mapping[str, Value]
    ages: Mapping[str, float]
    written: Mapping[str, tuple[int, Value]]
    credible: bool
    health: str = ""


@dataclass(frozen=True)
class Verdict:
    """What becomes of a move: ``allow``, ``refuse``, ``wait`` (for approval) or ``same``."""

    move: Move
    outcome: str
    value: Value
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Guard:
    """All rules of one twin.

    ``interlocks`` hold for every write. ``heartbeat`` and ``remote`` are optional.
    """

    rules: tuple[Rule, ...] = ()
    interlocks: tuple[Interlock, ...] = ()
    heartbeat: Heartbeat | None = None
    remote: Remote | None = None

    def check(self, channels: Mapping[str, Channel]) -> None:
        """Refuse rules that name what the twin does not have."""
        writable = {tag for tag, channel in channels.items() if channel.binding.writable}
        own = [self.heartbeat.tag] if self.heartbeat else []
        own += [self.remote.tag] if self.remote else []
        for tag in [*(rule.tag for rule in self.rules), *own]:
            if tag not in writable:
                raise UnknownName.among("writable tag", tag, writable, where="guard")
        for interlock in self.interlocks:
            interlock.check(channels, where="guard")
        for rule in self.rules:
            where = f"guard rule of {rule.tag}"
            if not rule.low <= rule.high or rule.rate <= 0 or rule.deadband < 0:
                raise DataError("limits are empty", where=where, expected="low <= high, rate > 0")
            for interlock in rule.interlocks:
                interlock.check(channels, where=where)
            for tag in rule.fresh:
                if tag not in channels:
                    raise UnknownName.among("tag", tag, channels, where=where)

    def rule(self, tag: str) -> Rule | None:
        """The rule of a tag."""
        return next((rule for rule in self.rules if rule.tag == tag), None)

    def judge(self, move: Move, view: View) -> Verdict:
        """What becomes of a move, and why. A person's approval is not considered here."""
        rule = self.rule(move.tag)
        if rule is None:
            return Verdict(move, "refuse", move.value, f"{move.tag} has no rule in the guard")
        why = self._objection(rule, move, view)
        if why:
            return Verdict(move, "refuse", move.value, why)
        value, limited = self._limited(rule, move.value, view)
        present = view.values.get(move.tag)
        if _same(value, present, rule.deadband):
            return Verdict(move, "same", value, "within the deadband of the present value")
        return Verdict(move, "wait" if rule.approval else "allow", value, limited)

    def _objection(self, rule: Rule, move: Move, view: View) -> str:
        if not view.credible:
            return f"the twin is not credible: {view.health}"
        if _is_number(move.value) and not math.isfinite(float(move.value)):
            return f"{move.tag}: {move.value!r} is not a number"
        if _is_number(move.value) and not rule.low <= float(move.value) <= rule.high:
            return f"{move.tag}: {move.value:.6g} is outside {rule.low:g} to {rule.high:g}"
        for interlock in (*self.interlocks, *rule.interlocks):
            failure = interlock.failure(view.values)
            if failure:
                return f"{move.tag}: interlock, {failure}"
        return "; ".join(_too_old(rule.fresh, view.ages))

    def _limited(self, rule: Rule, value: Value, view: View) -> tuple[Value, str]:
        """The value within the allowed rate of change, and what was limited."""
        present = view.values.get(rule.tag)
        if math.isinf(rule.rate) or not _is_number(value) or not _is_number(present):
            return value, ""
        last = view.written.get(rule.tag)
        span = seconds(view.now - last[0]) if last else LONGEST_RATE_SPAN
        reach = rule.rate / 60.0 * min(span, LONGEST_RATE_SPAN)
        target, start = float(value), float(present or 0.0)
        limited = min(max(target, start - reach), start + reach)
        if limited == target:
            return value, ""
        return limited, f"limited from {target:.6g} by {rule.rate:g} per minute"


def _is_number(value: Value | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(value: Value, present: Value | None, deadband: float) -> bool:
    if present is None:
        return False
    if _is_number(value) and _is_number(present):
        return abs(float(value) - float(present)) <= deadband
    return value == present


def _too_old(fresh: Mapping[str, float], ages: Mapping[str, float]) -> Iterable[str]:
    for tag, limit in fresh.items():
        if tag not in ages:
            yield f"{tag} has no value yet"
        elif ages[tag] > limit:
            yield f"{tag} is {ages[tag]:.0f} s old, at most {limit:g} s is allowed"

"""Health: is the twin still credible, and if not, why - in words.

What the fold saw (innovations, gates, repeated values, trouble of the estimator) is kept in a
``Monitor``, which is part of the folded state and so a function of the fold order alone.
``assess`` adds the age of each tag at a tick and gives a ``Health``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from galenic.clock import nanoseconds, seconds
from galenic.inference.packing import packable
from galenic.twin.binding import Bypass, Channel

GOOD, DEGRADED, LOST = "good", "degraded", "lost"


@dataclass(frozen=True)
class HealthRules:
    """When a twin counts as degraded or lost.

    Parameters
    ----------
    window : int
        Number of latest innovations of a tag that are looked at.
    beyond : float [sd]
        Innovations larger than this are counted.
    share : float [1]
        Share of the window beyond which the tag counts as not explained by the model.
    in_row : int
        Values outside the gate in a row after which the tag counts as not explained (the
        estimator opens its gate again by itself, so a sensor is not shut out for ever).
    drift : float [1]
        Limit of abs(mean innovation) * sqrt(n), in standard deviations; ignored when the mean
        itself is below ``offset``.
    offset : float [sd]
        Smallest mean innovation that counts as a drift.
    improbable : float [1]
        Probability below which the sum of squared innovations of a window is improbable
        (chi-square, one degree of freedom each).
    failures : int
        Failures of the estimator in a row at which the twin is lost.
    critical : tuple of str, optional
        Tags of which one alone makes the twin lost; all, when not given.
    lost_below, degraded_below : float [1]
        Scores that divide lost, degraded and good.
    """

    window: int = 20
    beyond: float = 3.0
    share: float = 0.5
    in_row: int = 5
    drift: float = 5.0
    offset: float = 1.0
    improbable: float = 1e-6
    failures: int = 3
    critical: tuple[str, ...] | None = None
    lost_below: float = 0.5
    degraded_below: float = 0.85

    def weight(self, tag: str) -> float:
        """How much of the score one unexplained, stale or frozen tag costs."""
        return 0.6 if self.critical is None or tag in self.critical else 0.2


@packable
@dataclass(frozen=True)
class TagWatch:
    """What the fold has seen of one tag."""

    time: int
    value: float
    since: int
    innovations: tuple[float, ...] = ()
    rejected_in_row: int = 0
    accepted: int = 0
    rejected: int = 0

    def seen(self, time: int, value: float) -> TagWatch:
        """After a new value; ``since`` is when the present value was first seen."""
        since = self.since if value == self.value else time
        return TagWatch(
            time,
            value,
            since,
            self.innovations,
            self.rejected_in_row,
            self.accepted,
            self.rejected,
        )

    def judged(self, z: float, accepted: bool, window: int) -> TagWatch:
        """After an innovation of ``z`` standard deviations passed the gate, or did not."""
        return TagWatch(
            self.time,
            self.value,
            self.since,
            (*self.innovations, z)[-window:],
            0 if accepted else self.rejected_in_row + 1,
            self.accepted + accepted,
            self.rejected + (not accepted),
        )


@packable
@dataclass(frozen=True)
class Monitor:
    """What the fold has seen of all tags and of the estimator; immutable."""

    tags: Mapping[str, TagWatch] = field(default_factory=dict)
    failures: int = 0
    trouble: str = ""

    def seen(self, values: Iterable[tuple[str, int, float]]) -> Monitor:
        """After new values of tags: (tag, time, value)."""
        tags = dict(self.tags)
        for tag, time, value in values:
            old = tags.get(tag)
            tags[tag] = old.seen(time, value) if old else TagWatch(time, value, time)
        return Monitor(tags, self.failures, self.trouble)

    def judged(self, verdicts: Iterable[tuple[str, float, bool]], window: int) -> Monitor:
        """After innovations of tags: (tag, standard deviations, within the gate)."""
        tags = dict(self.tags)
        for tag, z, within in verdicts:
            tags[tag] = tags[tag].judged(z, within, window)
        return Monitor(tags, self.failures, self.trouble)

    def troubled(self, reason: str) -> Monitor:
        """The estimator failed once more."""
        return replace(self, failures=self.failures + 1, trouble=reason)

    def well(self) -> Monitor:
        """The estimator made a step."""
        return replace(self, failures=0) if self.failures else self

    def frozen_for(self, tag: str, time: int) -> float:
        """How long the tag has shown one and the same value at ``time`` [s]."""
        watch = self.tags.get(tag)
        return seconds(time - watch.since) if watch else 0.0


@dataclass(frozen=True)
class Reason:
    """One thing that is wrong, in words, and what it costs of the score."""

    tag: str
    what: str
    text: str
    weight: float


@dataclass(frozen=True)
class Health:
    """How credible the twin is at a time: score from 1 (good) to 0, and the reasons."""

    time: int
    score: float
    state: str
    reasons: tuple[Reason, ...] = ()

    @property
    def credible(self) -> bool:
        """Whether the twin may act."""
        return self.state != LOST

    @property
    def words(self) -> str:
        """All reasons in one line, the worst first."""
        return "; ".join(reason.text for reason in self.reasons) or "in step with the data"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "words": self.words}


@dataclass(frozen=True)
class Seen:
    """What ``assess`` looks at: the fold's monitor and the ages at a tick."""

    monitor: Monitor
    channels: Mapping[str, Channel]
    latest: Mapping[str, int]
    bypasses: Mapping[str, Bypass]
    rules: HealthRules
    start: int
    now: int

    @property
    def observed(self) -> list[str]:
        """Tags that correct the belief and are not bypassed."""
        return [
            tag
            for tag, channel in self.channels.items()
            if channel.role == "observation" and not self.bypassed(tag)
        ]

    def bypassed(self, tag: str) -> bool:
        return tag in self.bypasses and self.bypasses[tag].covers(self.now)

    def age(self, tag: str) -> float:
        """Seconds since the latest good value."""
        return seconds(self.now - self.latest.get(tag, self.start))


def assess(seen: Seen) -> Health:
    """The health at a tick, from the fold's monitor and the age of each tag."""
    reasons = [reason for check in CHECKS for reason in check(seen)]
    reasons.sort(key=lambda reason: -reason.weight)
    score = math.prod(1.0 - reason.weight for reason in reasons)
    state = GOOD
    if score < seen.rules.degraded_below:
        state = LOST if score < seen.rules.lost_below else DEGRADED
    return Health(seen.now, score, state, tuple(reasons))


def _estimator(seen: Seen) -> list[Reason]:
    failures = seen.monitor.failures
    if not failures:
        return []
    weight = 0.9 if failures >= seen.rules.failures else 0.3
    text = f"the estimator failed {failures} times in a row: {seen.monitor.trouble}"
    return [Reason("", "estimator", text, weight)]


def _unexplained(seen: Seen) -> list[Reason]:
    rules, found = seen.rules, []
    for tag in seen.observed:
        watch = seen.monitor.tags.get(tag)
        if watch is None:
            continue
        if watch.rejected_in_row >= rules.in_row:
            text = f"{tag}: {watch.rejected_in_row} innovations in a row were rejected by the gate"
            found.append(Reason(tag, "rejected", text, rules.weight(tag)))
            continue
        reason = _innovations(tag, watch, rules)
        if reason:
            found.append(reason)
    return found


def _innovations(tag: str, watch: TagWatch, rules: HealthRules) -> Reason | None:
    z, n = watch.innovations, len(watch.innovations)
    if n < max(5, rules.window // 2):
        return None
    far = sum(abs(value) > rules.beyond for value in z)
    if far >= rules.share * n:
        text = f"{tag}: {far} of the last {n} innovations beyond {rules.beyond:g} sd"
        return Reason(tag, "innovations", text, rules.weight(tag))
    total = sum(value * value for value in z)
    if total > _improbable(rules.improbable, n):
        text = f"{tag}: mean squared innovation {total / n:.1f} over the last {n}, expected about 1"
        return Reason(tag, "improbable", text, min(0.3, rules.weight(tag)))
    mean = sum(z) / n
    if abs(mean) > rules.offset and abs(mean) * math.sqrt(n) > rules.drift:
        text = f"{tag}: drifting, mean innovation {mean:+.1f} sd over the last {n}"
        return Reason(tag, "drift", text, 0.2)
    return None


@lru_cache(maxsize=256)
def _improbable(probability: float, n: int) -> float:
    from scipy.special import chdtri

    return float(chdtri(n, probability))


def _stale(seen: Seen) -> list[Reason]:
    found = []
    limits = {tag: seen.channels[tag].binding.stale_after for tag in seen.observed}
    for tag, limit in limits.items():
        if limit is not None and seen.age(tag) > limit:
            text = f"{tag}: no good value for {seen.age(tag):.0f} s, expected every {limit:g} s"
            found.append(Reason(tag, "stale", text, seen.rules.weight(tag)))
    with_limit = [tag for tag, limit in limits.items() if limit is not None]
    if found and len(found) == len(with_limit):
        found.append(Reason("", "silent", "no measurement arrives any more", 0.9))
    return found


def _frozen(seen: Seen) -> list[Reason]:
    found = []
    for tag in seen.observed:
        limit, watch = seen.channels[tag].binding.frozen_after, seen.monitor.tags.get(tag)
        if limit is None or watch is None:
            continue
        span = watch.time - watch.since
        if span > nanoseconds(limit):
            text = f"{tag}: frozen at one value for {seconds(span):.0f} s"
            found.append(Reason(tag, "frozen", text, seen.rules.weight(tag)))
    return found


def _bypassed(seen: Seen) -> list[Reason]:
    return [
        Reason(tag, "bypassed", f"{tag}: bypassed by {bypass.who}, {bypass.reason}", 0.05)
        for tag, bypass in seen.bypasses.items()
        if bypass.covers(seen.now)
    ]


CHECKS: tuple[Callable[[Seen], list[Reason]], ...] = (
    _estimator,
    _unexplained,
    _stale,
    _frozen,
    _bypassed,
)

"""How well an alarm system serves its operators: the figures of ISA-18.2 and EEMUA 191.

They are computed from the journal of transitions alone. The targets are general knowledge of these
documents (about 150 alarms per operator and day acceptable, 300 manageable; more than 10 within ten
minutes is a flood, less than 1 % of the time; priorities about 80, 15 and 5 %; no chattering;
fewer than 5 stale). They are to be compared with, not obeyed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from galenic.clock import nanoseconds, seconds
from galenic.twin.alarm import state as states

WINDOW = nanoseconds(600.0)
FLOOD = 10  # more than so many in a window
MINUTE = nanoseconds(60.0)
CHATTER = 3  # more than so many of one alarm within a minute
STALE = nanoseconds(24 * 3600.0)
HOUR, DAY = 3600.0, 86_400.0
WORST = 10
STANDS = (states.UNACKNOWLEDGED, states.ACKNOWLEDGED)
QUIET = (states.SHELVED, states.SUPPRESSED, states.OUT_OF_SERVICE)


@dataclass(frozen=True)
class Told:
    """One transition as the journal has it: of which alarm of which twin, when, and who did it."""

    time: int
    twin: str
    alarm: str
    was: str
    state: str
    priority: str
    text: str = ""
    who: str = ""
    reason: str = ""
    silent: bool = False
    withdrawn: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.twin, self.alarm

    @classmethod
    def of(cls, entry: Any) -> Told:
        """A transition from its entry in the ledger."""
        said = entry.detail
        return cls(
            said["time"], entry.subject, said["alarm"], said["was"], said["state"],
            said["priority"], said.get("text", ""), entry.who, entry.reason,
            said.get("silent", False), said.get("withdrawn", False), said,
        )  # fmt: skip


def in_force(journal: Iterable[Told]) -> list[Told]:
    """The transitions that were not withdrawn, in the order of their time."""
    kept: dict[tuple[Any, ...], Told] = {}
    for one in journal:
        key = (one.twin, one.alarm, one.time, one.was, one.state)
        if one.withdrawn:
            kept.pop(key, None)
        else:
            kept[key] = one
    return sorted(kept.values(), key=lambda one: one.time)


@dataclass(frozen=True)
class Figure:
    """One figure beside its target; ``met`` is None where there is none, or nothing to judge."""

    name: str
    value: float | None
    unit: str
    target: str
    met: bool | None


@dataclass(frozen=True)
class Performance:
    """The figures of a span of time.

    Parameters
    ----------
    start, stop : int [ns]
    annunciated : int
        Alarms that became unacknowledged and were told.
    figures : tuple of Figure
    windows : tuple of (int, mapping)
        Begin of each ten minutes [ns], and alarms in it by priority.
    priorities : mapping of priority to count
    worst : tuple of (twin, alarm, count)
        The alarms that came most often.
    chattering : mapping of (twin, alarm) to int
        The most of them within a minute.
    stale : tuple of (twin, alarm, since)
    suppressed : mapping of state to count
        Alarms that are suppressed at the end.
    waits : tuple of float [s]
        Times until each alarm was acknowledged, of those that were.
    """

    start: int
    stop: int
    annunciated: int
    figures: tuple[Figure, ...]
    windows: tuple[tuple[int, Mapping[str, int]], ...]
    priorities: Mapping[str, int]
    worst: tuple[tuple[str, str, int], ...]
    chattering: Mapping[tuple[str, str], int]
    stale: tuple[tuple[str, str, int], ...]
    suppressed: Mapping[str, int]
    waits: tuple[float, ...]


def performance(
    journal: Iterable[Told], start: int, stop: int, operators: float = 1.0
) -> Performance:
    """The figures between two times.

    Parameters
    ----------
    journal : iterable of Told
        From before ``start`` on, so that it is known what stood then.
    start, stop : int [ns]
    operators : float
        People among whom the alarms are shared.
    """
    known = [one for one in in_force(journal) if one.time < stop]
    inside = [one for one in known if one.time >= start]
    came = [one for one in inside if one.state == states.UNACKNOWLEDGED and not one.silent]
    windows = _windows(came, start, stop)
    chattering = _chattering(came)
    last = {one.key: one for one in known}
    stale = tuple(
        (*one.key, one_since)
        for one, one_since in ((one, _since(known, one)) for one in last.values())
        if one.state in STANDS and stop - one_since > STALE
    )
    waits = _waits(known, came)
    counts = Counter(one.key for one in came)
    worst = tuple((*key, n) for key, n in counts.most_common(WORST))
    priorities = Counter(one.priority for one in came)
    suppressed = Counter(one.state for one in last.values() if one.state in QUIET)
    figures = _figures(came, windows, seconds(stop - start), operators, priorities, worst)
    figures += _conditions(chattering, stale, waits)
    return Performance(
        start, stop, len(came), figures, windows, dict(priorities), worst, chattering, stale,
        dict(suppressed), waits,
    )  # fmt: skip


def _windows(
    came: Sequence[Told], start: int, stop: int
) -> tuple[tuple[int, Mapping[str, int]], ...]:
    """Alarms of each ten minutes, the empty ones included."""
    count = max(1, -(-(stop - start) // WINDOW))
    found: list[Counter[str]] = [Counter() for _ in range(count)]
    for one in came:
        found[(one.time - start) // WINDOW][one.priority] += 1
    return tuple((start + k * WINDOW, dict(c)) for k, c in enumerate(found))


def _chattering(came: Sequence[Told]) -> dict[tuple[str, str], int]:
    times: dict[tuple[str, str], list[int]] = {}
    for one in came:
        times.setdefault(one.key, []).append(one.time)
    found = {}
    for key, moments in times.items():
        first, most = 0, 0
        for last, moment in enumerate(moments):
            while moment - moments[first] >= MINUTE:
                first += 1
            most = max(most, last - first + 1)
        if most > CHATTER:
            found[key] = most
    return found


def _since(known: Sequence[Told], last: Told) -> int:
    """Since when an alarm has stood; acknowledging it does not begin it anew."""
    since = last.time
    for one in reversed(known):
        if one.key != last.key:
            continue
        if one.state not in STANDS:
            break
        since = one.time
    return since


def _waits(known: Sequence[Told], came: Sequence[Told]) -> tuple[float, ...]:
    waiting: dict[tuple[str, str], int] = {}
    wanted, waits = {id(one) for one in came}, []
    for one in known:
        if id(one) in wanted:
            waiting.setdefault(one.key, one.time)
        elif one.who and one.was in states.TO_ACKNOWLEDGE and one.key in waiting:
            began = waiting.pop(one.key)
            if one.state not in QUIET:
                waits.append(seconds(one.time - began))
    return tuple(waits)


def _figures(
    came: Sequence[Told],
    windows: Sequence[tuple[int, Mapping[str, int]]],
    span: float,
    operators: float,
    priorities: Mapping[str, int],
    worst: Sequence[tuple[str, str, int]],
) -> tuple[Figure, ...]:
    total = len(came)
    per_day = total / span * DAY / operators
    per_hour = total / span * HOUR / operators
    sums = [sum(counts.values()) / operators for _, counts in windows]
    flood = sum(n > FLOOD for n in sums) / len(sums)
    ten = sum(n for *_, n in worst)
    found = [
        Figure("alarms per operator and day", per_day, "1/d", "150, at most 300", per_day <= 300),
        Figure("alarms per operator and hour", per_hour, "1/h", "6, at most 12", per_hour <= 12),
        Figure("most within ten minutes", max(sums), "1", "at most 10", max(sums) <= FLOOD),
        Figure("time in flood", 100 * flood, "%", "below 1 %", flood < 0.01),
    ]
    high = priorities.get("high", 0) + priorities.get("critical", 0)
    for name, count, aim, low, most in (
        ("high and critical", high, "about 5 %", 0.0, 0.10),
        ("medium", priorities.get("medium", 0), "about 15 %", 0.0, 0.25),
        ("low", priorities.get("low", 0), "about 80 %", 0.65, 1.0),
    ):
        share = count / total if total else None
        met = None if share is None else low <= share <= most
        percent = None if share is None else 100 * share
        found.append(Figure(f"share of priority {name}", percent, "%", aim, met))
    share = 100 * ten / total if total else None
    found.append(
        Figure("share of the ten most frequent", share, "%", "below 5 %", _below(share, 5))
    )
    return tuple(found)


def _below(value: float | None, limit: float) -> bool | None:
    return None if value is None else value < limit


def _conditions(
    chattering: Mapping[Any, int], stale: Sequence[Any], waits: Sequence[float]
) -> tuple[Figure, ...]:
    ordered = sorted(waits)
    middle = ordered[len(ordered) // 2] if ordered else None
    late = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))] if ordered else None
    return (
        Figure("chattering alarms", len(chattering), "1", "none", not chattering),
        Figure("stale alarms (over 24 h)", len(stale), "1", "fewer than 5", len(stale) < 5),
        Figure("median time to acknowledge", middle, "s", "", None),
        Figure("90 % are acknowledged within", late, "s", "", None),
    )

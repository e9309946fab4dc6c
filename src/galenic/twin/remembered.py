"""The keys by which repeated samples are known: how long and how many of them a twin keeps."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from galenic.clock import nanoseconds, seconds
from galenic.signals import Effect
from galenic.twin import intake

if TYPE_CHECKING:
    from galenic.twin.twin import Twin

MANY_KEYS = 50_000
MOST_KEYS = 1_000_000
"""More keys than these are not kept of what the belief can do without: about 260 MB."""

LOOK = 10.0  # seconds between two looks at how many there are: it takes time


def forget(twin: Twin, before: int) -> list[Effect]:
    """Drop keys that are not needed any more; what people must be told.

    Keys older than several times the lateness go once in each lateness. Where more than
    `MOST_KEYS` are left, those go whose samples would come too late, then the oldest of tags that
    say nothing to the belief, with an alarm. What the belief needs stays: nothing is folded twice.

    Parameters
    ----------
    twin : Twin
    before : int [ns]
        The tick before this one.
    """
    rules, now = twin.definition.fold, twin.now
    span = nanoseconds(max(1.0, rules.lateness))
    if len(twin._seen) >= MANY_KEYS and now // span != before // span:
        oldest = twin.fold.horizon - nanoseconds(3 * rules.lateness)
        twin._seen = {key: seen for key, seen in twin._seen.items() if seen[0] > oldest}
        twin._amended = {key: a for key, a in twin._amended.items() if a[0] > oldest}
    look = nanoseconds(LOOK)
    if now // look == before // look:
        return []
    if len(twin._seen) > MOST_KEYS:
        return _crowded(twin)
    is_over = len(twin._seen) <= MOST_KEYS // 2
    return list(twin.alarms.clear(f"keys:{twin.id}", now)) if is_over else []


def _crowded(twin: Twin) -> list[Effect]:
    """Come down to three quarters of the most, as far as the belief allows."""
    horizon = twin.fold.horizon
    late = [key for key, (time, _) in twin._seen.items() if time <= horizon]
    watched = [
        key
        for key, (time, tag) in twin._seen.items()
        if time > horizon and not intake.is_folded(twin, tag)
    ]
    excess = len(twin._seen) - MOST_KEYS * 3 // 4
    for key in islice((*late, *watched), excess):
        del twin._seen[key]
    told = _told(twin, excess, len(late), watched)
    text = f"samples come faster than their keys can be kept for this lateness; {told}"
    return list(twin.alarms.raise_(f"keys:{twin.id}", "medium", text, twin.now, twin.id))


def _told(twin: Twin, excess: int, late: int, watched: list[str]) -> str:
    """What dropping ``excess`` keys means: the first ``late`` ones, then those of ``watched``."""
    left = watched[max(0, excess - late) :]
    if excess > late + len(watched):
        return f"{len(twin._seen):,} are kept, since the belief can still change by them"
    if excess <= late:
        return "repeats that are older than the lateness are told as late"
    age = seconds(twin.now - twin._seen[left[0]][0]) if left else 0.0
    return f"of tags that are only watched, repeats older than {age:.0f} s count as new"

"""Taking in: how samples, actions and corrections become entries of the fold.

Functions over a twin. They decide what is a duplicate, unusable, too late, from the future or in
conflict, count it, and tell people once per run of it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from galenic.clock import seconds
from galenic.connect.connector import BAD_WAITING_FOR_INITIAL_DATA
from galenic.errors import DataError, GalenicError, UnitError, UnknownName
from galenic.signals import Action, Correction, Effect, Event, Quality, Record, Sample
from galenic.twin import annunciate
from galenic.twin.binding import MANUAL, Channel, Reading, Rejected
from galenic.twin.events import INPUT, WATCH, Entry, clamped, entry_of_action, entry_of_reading
from galenic.twin.level import Level
from galenic.twin.memory import Latest
from galenic.units import to_si, unit

if TYPE_CHECKING:
    from galenic.twin.twin import Twin


def sample(twin: Twin, sample: Sample) -> list[Effect]:
    if sample.tag.startswith(f"{twin.id}/"):  # addressed to this twin of many with the same tags
        sample = replace(sample, tag=sample.tag.removeprefix(f"{twin.id}/"))
    channel = twin.channels.get(sample.tag)
    if channel is None:
        return []
    twin._count(sample.tag, "received")
    if twin.level is Level.MODEL and channel.binding.connection != MANUAL:
        twin._count(sample.tag, "ignored")
        return []
    if sample.value is None and sample.status == BAD_WAITING_FOR_INITIAL_DATA:
        twin._count(sample.tag, "ignored")
        return []
    if sample.key in twin._seen:
        twin._count(sample.tag, "duplicates")
        return []
    twin._seen[sample.key] = (sample.source_time, sample.tag)
    reading, effects = _believable(twin, channel, sample)
    if isinstance(reading, Rejected):
        twin._count(sample.tag, "rejected")
        twin.tally.note(
            sample.tag, "rejected", reason=reading.kind, example=reading.reason,
            time=sample.received_time,
        )  # fmt: skip
        text = f"{sample.tag}: {reading.reason}"
        annunciate.unusable(twin, reading)
        return effects + twin.alarms.raise_(
            f"rejected:{sample.tag}", "low", text, sample.received_time, sample.tag
        )
    effects += twin.alarms.clear(f"rejected:{sample.tag}", sample.received_time)
    _remember(twin, channel, reading, sample)
    if _folded(twin, channel):
        effects += _insert(
            twin,
            entry_of_reading(reading, channel.role, sample.received_time),
            sample.received_time,
        )
    else:
        twin._count(sample.tag, "accepted")
    return effects


def comes_late(twin: Twin, tag: str, time: int) -> bool:
    """Whether a sample of this time [ns] is too old for the belief, and goes to the history."""
    return _folded(twin, twin.channels[tag]) and time <= twin.fold.horizon


def _believable(
    twin: Twin, channel: Channel, sample: Sample
) -> tuple[Reading | Rejected, list[Effect]]:
    """The reading; a time stamp from the future becomes the time of reception.

    A clock of ours that was set back makes no stamp one from the future.
    """
    reading = channel.read(sample)
    key = f"clock-ahead:{sample.tag}"
    received = max(sample.received_time + twin.set_back, twin.now)
    ahead = seconds(sample.source_time - received)
    if ahead <= twin.definition.fold.future:
        return _gridded(twin, channel, reading), list(twin.alarms.clear(key, sample.received_time))
    twin._count(sample.tag, "future")
    text = f"{sample.tag}: time stamp {ahead:.1f} s in the future; taken as uncertain"
    alerts = twin.alarms.raise_(key, "medium", text, sample.received_time, sample.tag)
    if isinstance(reading, Reading):
        reading = clamped(reading, received)
    return _gridded(twin, channel, reading), list(alerts)


def _gridded(twin: Twin, channel: Channel, reading: Reading | Rejected) -> Reading | Rejected:
    if isinstance(reading, Rejected) or channel.role != "observation":
        return reading
    return replace(reading, time=twin.definition.fold.on_grid(reading.time))


def _remember(twin: Twin, channel: Channel, reading: Reading, sample: Sample) -> None:
    known = twin.latest.get(sample.tag)
    if known is not None and known.time > reading.time:
        return
    value = sample.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = channel.calibrated(sample)
    if value is not None:
        uncertain = sample.quality == Quality.UNCERTAIN or reading.uncertain
        twin.latest[sample.tag] = Latest(reading.time, value, uncertain)


def is_folded(twin: Twin, tag: str) -> bool:
    """Whether something of this tag can change the belief, the genealogy or the alarms.

    What is no tag is the target of an action.
    """
    channel = twin.channels.get(tag)
    return channel is None or _folded(twin, channel)


def _folded(twin: Twin, channel: Channel) -> bool:
    """Whether samples of this tag say anything to the belief, the genealogy or the alarms."""
    rules, alarming = twin.definition.genealogy, twin.mechanics.alarming
    return (
        channel.role != "watch"
        or (rules is not None and rules.watches(channel.tag))
        or (alarming is not None and channel.tag in alarming.tags)
    )


def _insert(twin: Twin, entry: Entry, received: int) -> list[Effect]:
    """Fold an entry, unless it comes too late or has been amended already."""
    amended = twin._amended.get(entry.key)
    if amended is not None:
        return _amend(twin, entry.key, entry)
    entry = _in_force(twin, entry)
    if entry.time <= twin.fold.horizon:
        return _too_late(twin, entry.tag, entry.key, entry.time, received)
    effects: list[Effect] = list(twin.alarms.clear(f"late:{entry.tag}", received))
    others = twin.fold.others(entry) if entry.action is None else []
    repeated = any(other.value == entry.value for other in others)
    twin._count(entry.tag, "duplicates" if repeated else "accepted")
    twin.fold.insert(entry)
    conflict = others and not repeated and entry.rank != INPUT
    return effects + (_conflict(twin, entry, others, received) if conflict else [])


def _folds_at(twin: Twin, time: int) -> int:
    """When something of this tag and source time takes effect in the fold.

    What was before the beginning never did, or holds from the beginning: it can be amended.
    """
    return max(time, twin.began)


def _in_force(twin: Twin, entry: Entry) -> Entry:
    """An input or lot set before the twin began holds from its beginning; the newest one counts."""
    if entry.rank not in (INPUT, WATCH) or entry.time >= twin.began:
        return entry
    return replace(entry, time=twin.began, received=entry.time - twin.began)


def _conflict(twin: Twin, entry: Entry, others: list[Entry], received: int) -> list[Effect]:
    """One tag, one time, two values: both are kept, both count less, people are told."""
    twin._count(entry.tag, "conflicts")
    keys = sorted([entry.key, *(other.key for other in others)])
    text = f"{entry.tag}: {len(keys)} different values with one time stamp"
    detail = {"tag": entry.tag, "time": entry.time, "keys": keys}
    return [
        *twin.alarms.raise_(f"integrity:{entry.tag}", "high", text, received, entry.tag),
        Record("integrity", received, twin.id, detail, reason=text),
    ]


def _too_late(twin: Twin, tag: str, key: str, time: int, received: int) -> list[Effect]:
    """Kept by the historian, flagged here, and not folded. One alert per run of late data."""
    twin._count(tag, "late")
    late = seconds(twin.fold.watermark - time)
    text = f"{tag}: data {late:.0f} s behind the newest; kept, but too late for the belief"
    twin.tally.note(
        tag, "late", reason="too late for the belief", example=f"{late:.0f} s behind", time=received
    )
    alerts = twin.alarms.raise_(f"late:{tag}", "low", text, received, tag)
    detail = {"tag": tag, "key": key, "time": time, "behind": late}
    return [*alerts, Record("late", received, twin.id, detail, reason=text)] if alerts else []


def action(twin: Twin, action: Action) -> list[Effect]:
    if action.key in twin._seen:
        twin._count(action.target, "duplicates")
        return []
    try:
        value = _action_value(twin, action)
    except GalenicError as error:
        return twin._refused(f"action on {action.target}", action.received_time, error)
    twin._seen[action.key] = (action.source_time, action.target)
    effects: list[Effect] = []
    holds = action.value is not None
    if action.amends:
        effects += _amendment(twin, action.amends, action.received_time, action.key, action)
        holds = holds and twin._amended.get(action.amends, (0, ""))[1] == action.key
    if holds:
        effects += _insert(twin, entry_of_action(action, value), action.received_time)
    record = Record(
        "action", action.received_time, twin.id, action.to_dict(), action.who, action.reason
    )
    return [*effects, record]


def _action_value(twin: Twin, action: Action) -> float | str | None:
    """The SI value of an action, checked against what it acts on."""
    if action.value is None or isinstance(action.value, str):
        return action.value
    known = {entry.path: entry for entry in (*twin.system.inputs, *twin.system.states)}
    if action.target not in known:
        raise UnknownName.among("input", action.target, known, where="action")
    entry, here = known[action.target], unit(action.unit)
    rate = action.what == "dose" and entry.kind == "input"
    declared = entry.unit * unit("s") if rate else entry.unit
    if here.dimension != declared.dimension:
        raise UnitError(
            f"the {action.what} of {action.target} is in [{action.unit}]",
            where="action",
            expected=f"a unit that converts to {declared.text}",
        )
    if not 0 <= action.duration < math.inf:
        raise DataError(f"a duration of {action.duration:g} s", where="action", expected=">= 0 s")
    if action.duration > 0 and not rate:
        raise DataError(
            f"a {action.what} of {action.target} over {action.duration:g} s",
            where="action",
            expected="a duration only for a dose through an input",
        )
    if action.what == "dose" and not 0 <= float(action.value) < math.inf:
        raise DataError(f"a dose of {action.value}", where="action", expected="0 or more")
    return float(to_si(float(action.value), here))


def correction(twin: Twin, correction: Correction) -> list[Effect]:
    detail = correction.to_dict()
    record = Record(
        "correction",
        correction.received_time,
        twin.id,
        detail,
        correction.who,
        correction.reason,
    )
    key = f"{correction.value!r}|{correction.unit}|{correction.who}"
    effects = _amendment(twin, correction.amends, correction.received_time, key, correction)
    return [record, *effects]


def _amendment(twin: Twin, key: str, received: int, by: str, event: Event) -> list[Effect]:
    """Note that ``key`` is replaced; of several amendments the one received last holds."""
    known = twin._amended.get(key)
    if known is not None and known[:2] >= (received, by):
        return []
    seen = twin._seen.get(key)
    if seen is not None and _folds_at(twin, seen[0]) <= twin.fold.horizon:
        return _too_late(twin, seen[1], key, seen[0], received)
    if known is not None and isinstance(known[2], Action):
        twin.fold.remove(known[1])
    twin._amended[key] = (received, by, event)
    if seen is None:
        return []
    return _amend(twin, key, twin.fold.remove(key))


def _amend(twin: Twin, key: str, entry: Entry | None) -> list[Effect]:
    """Put the amended version of an entry into the fold (an amended action comes by itself)."""
    received, _, event = twin._amended[key]
    if isinstance(event, Action) or event.value is None:  # type: ignore[attr-defined]
        return []
    seen = twin._seen.get(key)
    tag = entry.tag if entry is not None else seen[1] if seen else ""
    channel = twin.channels.get(tag)
    if channel is None or not isinstance(event, Correction):
        return []
    time = seen[0] if seen else received
    said = Sample(tag, event.value, event.unit, time, received, source_key=key)
    reading = _gridded(twin, channel, channel.read(said))
    if isinstance(reading, Rejected):
        error = DataError(reading.reason, where=f"correction of {tag}")
        return twin._refused(f"correction of {tag}", received, error)
    version = _in_force(twin, entry_of_reading(reading, channel.role, received))
    if version.time > twin.fold.horizon:
        twin.fold.insert(version)
    return []

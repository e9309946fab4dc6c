"""A recorded stretch of a twin, made again: its journal through a twin of its own.

The twin here is the pure one: it turns events into effects and has no connection, so nothing can be
written. It runs in a process of its own, which opens the site for reading only, and gives the
messages of the live feed. Estimates are those of that time; forecasts are not recorded, and are
made again from the belief of that time.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.app.views.aside import Aside
from galenic.clock import nanoseconds, seconds, to_iso
from galenic.errors import DataError
from galenic.signals import Alert, Effect, Event, Receipt, Record, Sample, Tick
from galenic.twin import look, resume
from galenic.twin.kept import Versions
from galenic.twin.snapshot import read, revive
from galenic.twin.twin import Twin

Message = dict[str, Any]

LONGEST = 2 * 3600.0  # seconds of one stretch
FORECAST_EVERY = 10.0
TOLD_EVERY = 500  # events between two words on how far the way to the stretch is
COLUMNS = ("value", "sd", "lower", "upper")


@dataclass(frozen=True)
class Stretch:
    """From when to when [ns] which twin is shown again."""

    twin: str
    start: int
    stop: int

    def __post_init__(self) -> None:
        length = seconds(self.stop - self.start)
        if not 0 < length <= LONGEST:
            raise DataError(
                f"a stretch of {length:g} s",
                expected=f"an end after the start, at most {LONGEST / 3600:g} h later",
            )


def messages(store: Any, spec: Any, stretch: Stretch) -> Iterator[Message]:
    """What the live feed said then; each message has the time ``at`` [ns] at which it was known.

    Parameters
    ----------
    store : Store
        Is only read.
    spec : TwinSpec, optional
        Gives the definition where the records do not have it.
    stretch : Stretch
    """
    twin, position, versions = begun(store, spec, stretch)
    first, due = twin.now, 0
    at = first
    for number, (_, event) in enumerate(store.applied_read(stretch.twin, position)):
        at = max(at, _time(event))
        if at > stretch.stop:
            return
        effects = resume.accepted(twin, versions.recalled(event))
        if at < stretch.start:
            if number % TOLD_EVERY == 0:
                share = (at - first) / max(1, stretch.start - first)
                yield {"type": "on the way", "share": share, "at": at}
            continue
        for message in _said(twin, event, effects):
            yield {**message, "at": at}
        if isinstance(event, Tick) and at >= due:
            due = at + nanoseconds(FORECAST_EVERY)
            yield {"type": "proposal", "id": twin.id, **look.recommend(twin), "at": at}
            foreseen = look.forecast(twin).to_dict()
            yield {"type": "forecast", "id": twin.id, "forecast": foreseen, "at": at}


def begun(store: Any, spec: Any, stretch: Stretch) -> tuple[Twin, int, Versions]:
    """The twin from which the way to the stretch is shortest, and its place in the journal."""
    lives = resume.lives(store, stretch.twin)
    before = [life for life in lives if life.start["time"] <= stretch.start]
    if not before:
        since = to_iso(lives[0].start["time"]) if lives else "never"
        raise DataError(
            f"nothing is recorded of {stretch.twin} at {to_iso(stretch.start)}",
            expected=f"a time after {since}, when its record begins",
        )
    life, versions = before[-1], Versions(store, stretch.twin)
    point = store.checkpoint(stretch.twin, stretch.start)
    if point is not None and life.is_present and point.position >= life.start["position"]:
        state = read(point.data)
        return revive(_definition(versions, spec, life, state), state), point.position, versions
    definition = _definition(versions, spec, life, life.start)
    return resume.first(definition, stretch.twin, life.start), life.start["position"], versions


def _definition(versions: Versions, spec: Any, life: resume.Life, state: Mapping[str, Any]) -> Any:
    """The recorded definition; that of the project where none was recorded and it is the same."""
    recorded = versions.find(state["identity"], state["values"])
    if recorded is not None:
        return recorded
    if spec is None:
        raise DataError(f"the definition of {life.twin} is not in the records")
    source = resume.source_of(spec, life.start)
    if source.identity(state["values"]) != state["identity"]:
        raise resume.changed(versions, spec, life.start, state)
    return source


def _time(event: Event) -> int:
    return int(getattr(event, "received_time", getattr(event, "time", 0)))


def _said(twin: Twin, event: Event, effects: list[Effect]) -> Iterator[Message]:
    """What the feed said about one event."""
    if isinstance(event, Sample):
        row = {
            "value": event.value,
            "unit": event.unit,
            "time": event.source_time,
            "quality": event.quality,
        }
        yield {"type": "samples", "samples": {event.tag: row}}
    elif isinstance(event, Receipt):
        yield {"type": "receipt", "id": twin.id, "receipt": event.to_dict()}
    for effect in effects:
        if isinstance(effect, Alert | Record):
            yield {"type": "effect", "id": twin.id, "effect": effect.to_dict()}
    if isinstance(event, Tick):
        yield _known(twin)


def _known(twin: Twin) -> Message:
    """The message ``twin`` of the live feed; its estimates are packed, as there are many."""
    rows = look.estimates(twin)
    newest = max((value.time for value in twin.latest.values()), default=twin.now)
    return {
        "type": "twin",
        "id": twin.id,
        "time": twin.now,
        "folded": twin.fold.state.folded,
        "level": twin.level.word,
        "health": twin.health.to_dict(),
        "packed": (tuple(rows), [[row[name] for name in COLUMNS] for row in rows.values()]),
        "units": tuple(row["unit"] for row in rows.values()),
        "alarms": [alarm.to_dict() for alarm in twin.alarms.standing()],
        "targets": dict(twin.targets),
        "age": max(0.0, seconds(twin.now - newest)),
    }


def unpacked(message: Message) -> Message:
    """A message as the live feed has it."""
    if "packed" not in message:
        return message
    names, numbers = message["packed"]
    rows = {
        name: {**dict(zip(COLUMNS, row, strict=True)), "unit": unit}
        for name, row, unit in zip(names, numbers, message["units"], strict=True)
    }
    kept = {key: value for key, value in message.items() if key not in ("packed", "units")}
    return {**kept, "estimates": rows}


@dataclass
class Recording:
    """The messages of a stretch as they come; ``ready`` [ns] is how far they have come."""

    stretch: Stretch
    messages: list[Message] = field(default_factory=list)
    ready: int = 0
    way: float = 0.0
    done: bool = False
    error: dict[str, str] | None = None

    def take(self, message: Message) -> None:
        """Take in the next message."""
        if message["type"] == "on the way":
            self.way = message["share"]
            return
        self.way = 1.0
        self.messages.append(message)
        self.ready = message["at"]

    def end(self, error: dict[str, str] | None = None) -> None:
        """No more messages will come."""
        self.error, self.done = error, True
        if error is None:
            self.ready = self.stretch.stop


def record(folder: str, spec: Any, recording: Recording) -> Aside:
    """Fill a recording, in a process of its own."""
    arguments = (_carried(spec), recording.stretch)
    return Aside(_messages, folder, arguments, recording.take, recording.end)


def _messages(store: Any, spec: bytes, stretch: Stretch) -> Iterator[Message]:
    return messages(store, pickle.loads(spec), stretch)


def _carried(spec: Any) -> bytes:
    """The project's twin for the other process; nothing where it cannot travel."""
    try:
        return pickle.dumps(spec)
    except (pickle.PicklingError, AttributeError, TypeError):
        return pickle.dumps(None)

"""A twin as bytes and back, bit for bit: restart, checkpoints, moving to another machine.

A snapshot names the definition's identity; it is refused by another one. What it does not hold
(the definition, the model) comes from the project, or from the records.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from galenic.connect.tally import Tally
from galenic.errors import DataError
from galenic.inference.packing import pack, unpack
from galenic.signals import Action, signal_from_dict
from galenic.twin.acting import Acting
from galenic.twin.alarms import Alarms
from galenic.twin.definition import TwinDefinition
from galenic.twin.events import Entry
from galenic.twin.health import Health, Reason
from galenic.twin.level import Levels
from galenic.twin.twin import Twin

FORMAT = 3

_quoted = json.encoder.encode_basestring_ascii


def snapshot(twin: Twin) -> bytes:
    """The twin's whole state."""
    twin.fold.prune()
    base = twin.fold.checkpoints[0]
    record = pack(
        {
            "format": FORMAT,
            "id": twin.id,
            "identity": twin.definition.identity(twin.values),
            "values": dict(twin.values),
            "now": twin.now,
            "heard": twin.heard,
            "set_back": twin.set_back,
            "began": twin.began,
            "watching": twin.watching,
            "base": base,
            "tip": twin.fold.state if twin.fold.state is not base else None,
            "entries": json.dumps([_row(entry) for entry in twin.fold.entries]),
            "bypasses": twin.fold.bypasses,
            "watermark": twin.fold.watermark,
            "latest": dict(twin.latest),
            "counters": dict(twin.counters),
            "tally": twin.tally.to_dict(),
            "levels": twin.levels.to_dict(),
            "alarms": twin.alarms.to_dict(),
            "health": _health_dict(twin.health),
            "targets": dict(twin.targets),
            "acting": twin.acting.to_dict(),
            "seen": _written(twin._seen),
            "amended": {
                key: [received, by, event.to_dict()]
                for key, (received, by, event) in twin._amended.items()
            },
        }
    )
    return zlib.compress(record, 1)


def _written(seen: Mapping[str, tuple[int, str]]) -> str:
    """JSON rows of key, time and tag; up to a million, so no list is made of each."""
    rows = [f"[{_quoted(key)}, {time}, {_quoted(tag)}]" for key, (time, tag) in seen.items()]
    return f"[{', '.join(rows)}]"


def _row(entry: Entry) -> list[Any]:
    """An entry as plain values: tens of thousands of them are kept."""
    action = entry.action.to_dict() if entry.action else None
    return [
        *(entry.time, entry.rank, entry.tag, entry.key, entry.quantity, entry.value),
        *(entry.sd, entry.uncertain, action, entry.received),
    ]


def _entry(row: list[Any]) -> Entry:
    time, rank, tag, key, quantity, value, sd, uncertain, given, received = row
    action = signal_from_dict(given) if given else None
    if not isinstance(action, Action | None):
        raise DataError(f"a {action.kind} among the actions of a snapshot")
    return Entry(time, rank, tag, key, quantity, value, sd, uncertain, action, received)


def restore(definition: TwinDefinition, data: bytes) -> Twin:
    """The twin that ``snapshot`` wrote; refuses a snapshot of another definition or version."""
    return revive(definition, read(data))


def read(data: bytes) -> dict[str, Any]:
    """What a snapshot says; ``identity`` and ``values`` tell which definition it needs."""
    try:
        record: dict[str, Any] = unpack(zlib.decompress(data))
    except zlib.error as error:
        raise DataError("these bytes are not a snapshot of a twin") from error
    if record.get("format") != FORMAT:
        raise DataError(f"snapshot format {record.get('format')}", expected=str(FORMAT))
    return record


def revive(definition: TwinDefinition, record: dict[str, Any]) -> Twin:
    """The twin of what ``read`` gave."""
    identity = definition.identity(record["values"])
    if record["identity"] != identity:
        raise DataError(
            "the snapshot belongs to another version of the definition",
            where=f"twin {record['id']}",
            expected=f"identity {identity[:12]}, found {record['identity'][:12]}",
            hint="replay the journal, or evolve the twin to the new version",
        )
    twin = Twin(definition, record["id"], record["values"], start=record["began"])
    twin.now, twin.watching = record["now"], record["watching"]
    twin.heard, twin.set_back = record.get("heard", twin.now), record.get("set_back", 0)
    entries, base = [_entry(row) for row in json.loads(record["entries"])], record["base"]
    twin.alarms = Alarms.from_dict(record["alarms"])
    if twin._know_alarms():
        base = replace(base, alarms=twin.alarms.book)
        record = {**record, "tip": None}
    twin.fold.mechanics = twin.mechanics
    twin.fold.restored(base, entries, record["watermark"], record.get("tip"))
    twin.fold.bypasses = tuple(record["bypasses"])
    twin.latest, twin.counters = dict(record["latest"]), dict(record["counters"])
    twin.tally = Tally.from_dict(record.get("tally", {}))
    twin.levels = Levels.from_dict(record["levels"])
    twin.health = _health(record["health"])
    twin.targets = dict(record["targets"])
    twin.acting = Acting.from_dict(record["acting"])
    twin._seen = {key: (time, tag) for key, time, tag in json.loads(record["seen"])}
    twin._amended = {
        key: (received, by, signal_from_dict(event))  # type: ignore[misc]
        for key, (received, by, event) in record["amended"].items()
    }
    return twin


def _health_dict(health: Health) -> dict[str, Any]:
    return {name: value for name, value in health.to_dict().items() if name != "words"}


def _health(record: dict[str, Any]) -> Health:
    reasons = tuple(Reason(**reason) for reason in record["reasons"])
    return Health(record["time"], record["score"], record["state"], reasons)

"""Coming back after a stop or a crash: checkpoint, then the journal after it, then the device.

The twin that comes back is the one that was there, bit for bit. What it decided after the last
commit before a crash is added to the ledger; writes that were not intended then are not made.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from galenic.clock import nanoseconds, seconds
from galenic.errors import DataError
from galenic.records.codec import canonical
from galenic.records.ledger import INTENDED, OUTCOMES, Entry, pending_intentions
from galenic.signals import Alert, Effect, Event, Receipt, Record, Write
from galenic.twin.alarms import entries_of
from galenic.twin.definition import TwinDefinition
from galenic.twin.earlier import EarlierDefinition
from galenic.twin.kept import Versions, keep
from galenic.twin.level import Level
from galenic.twin.project import TwinSpec
from galenic.twin.snapshot import read, revive
from galenic.twin.twin import Twin
from galenic.twin.versions import as_recorded

log = logging.getLogger(__name__)

BACK = 60.0
DECISIONS, BELIEFS, STARTS = "twin-decisions", "twin-belief", "twin-start"
LIVES = "twin-life"


@dataclass
class Decisions:
    """A running hash over what a twin decided, and how far the journal has been applied."""

    count: int = 0
    head: str = ""
    position: int = 0

    def add(self, decision: Record | Write) -> None:
        """Chain one more decision."""
        body = canonical(decision.to_dict())
        self.count += 1
        self.head = hashlib.sha256(self.head.encode() + body).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {"count": self.count, "head": self.head, "position": self.position}


def accepted(twin: Twin, event: Event) -> list[Effect]:
    """The effects of an event; one that breaks the twin is set aside with its reason."""
    try:
        return twin.accept(event)
    except Exception as error:
        log.exception("%s cannot take a %s", twin.id, event.kind)
        time = int(getattr(event, "received_time", getattr(event, "time", twin.now)))
        words = f"{type(error).__name__}: {error}"
        detail = {"event": event.kind, "error": words}
        return [
            Record("poison", time, twin.id, detail, reason=words),
            Alert(f"poison:{twin.id}", "high", f"an event was set aside: {words}", time, twin.id),
        ]


def decides(effect: Effect) -> TypeGuard[Record | Write]:
    """Whether an effect is a decision that the ledger has."""
    heartbeat = isinstance(effect, Write) and effect.who == "heartbeat"
    return isinstance(effect, Record | Write) and not heartbeat


@dataclass
class Return:
    """A twin that is back, and what has still to be told: to the ledger, and to the twin."""

    twin: Twin
    decisions: Decisions
    records: list[Record]
    receipts: list[Receipt] = field(default_factory=list)


def bring_back(store: Any, spec: TwinSpec, now: int) -> Return:
    """The twin as it was, or a new one."""
    point = store.checkpoint(spec.id)
    start = store.get(STARTS, spec.id)
    if start is None:
        return _fresh(store, spec, now, "first start")
    try:
        versions = Versions(store, spec.id)
        if point is not None and point.position >= start["position"]:
            state = read(point.data)
            twin, position = (
                revive(_definition(versions, spec, start, state), state),
                point.position,
            )
        else:
            twin = first(_definition(versions, spec, start, start), spec.id, start)
            position = start["position"]
        if twin.now > now + nanoseconds(BACK):
            behind = seconds(twin.now - now)
            raise DataError(f"the clock is {behind:.0f} s behind the records", where=spec.id)
    except DataError as error:
        log.warning("twin %s starts anew: %s", spec.id, error)
        return _fresh(store, spec, now, f"starts anew: {error.found}")
    return _caught_up(store, twin, position, now, versions)


def woken(store: Any, spec: TwinSpec) -> Return | None:
    """The twin as it was put away, when nothing has been applied since; else None."""
    point, decided = store.checkpoint(spec.id), store.get(DECISIONS, spec.id)
    if point is None or decided is None or decided["position"] != point.position:
        return None
    try:
        twin = revive(spec.definition, read(point.data))
    except DataError:  # it has evolved, or the project has: a question for bring_back
        return None
    return Return(twin, Decisions(**decided), [])


def _definition(
    versions: Versions, spec: TwinSpec, start: Mapping[str, Any], state: Mapping[str, Any]
) -> TwinDefinition:
    """The definition of the twin as it was last: the project's own, or one it has evolved to.

    One that the project has changed itself is refused.
    """
    source = source_of(spec, start)
    if source.identity(state["values"]) == state["identity"]:
        return source
    if source.identity(start["values"]) == start["identity"]:
        evolved = versions.find(state["identity"], state["values"])
        if evolved is not None:
            return evolved
    raise changed(versions, spec, start, state)


def changed(
    versions: Versions, spec: TwinSpec, start: Mapping[str, Any], state: Mapping[str, Any]
) -> DataError:
    """The error for a definition that is not the recorded one; says in what."""
    other = versions.differences(state["identity"], spec.definition)
    words = f" ({', '.join(other)})" if other else ""
    return DataError(f"the definition has changed since the twin began{words}", where=spec.id)


def source_of(spec: TwinSpec, start: Mapping[str, Any]) -> TwinDefinition:
    """The project's definition, in the form in which the twin has run since its start."""
    if "kept" not in start:
        return EarlierDefinition.of(spec.definition)
    return as_recorded(spec.definition)[0]


def first(definition: TwinDefinition, id: str, start: Mapping[str, Any]) -> Twin:
    """The twin as it began: from this its whole life can be replayed."""
    level = Level.of(start["level"])
    return Twin(definition, id, start["values"], start=start["time"], level=level)


def _fresh(store: Any, spec: TwinSpec, now: int, why: str) -> Return:
    with store.transaction() as tx:
        return begun(tx, spec, now, why, store.head().offset)


def begun(tx: Any, spec: TwinSpec, now: int, why: str, offset: int) -> Return:
    """A new twin after journal row ``offset``, noted in an open transaction."""
    begins = now - nanoseconds(spec.definition.history)
    definition, unkept = as_recorded(spec.definition)
    twin = Twin(definition, spec.id, spec.values, start=begins, level=spec.level)
    identity = definition.identity(spec.values)
    facts = {
        "time": begins,
        "level": spec.level.word,
        "values": dict(spec.values),
        "identity": identity,
        "position": offset,
        "definition": spec.name or spec.definition.name,
    }
    if unkept:
        log.warning("the definition of %s is not recorded: %s", spec.id, unkept)
        facts["not recorded"] = unkept
    decisions = Decisions(position=offset)
    _end_life(tx, spec.id)
    facts["kept"] = keep(tx, spec.id, identity, definition, now)
    tx.put(STARTS, spec.id, facts)
    tx.put(DECISIONS, spec.id, decisions.to_dict())
    return Return(twin, decisions, [Record("start", now, spec.id, facts, reason=why)])


@dataclass(frozen=True)
class Life:
    """What is recorded of a twin between two beginnings."""

    twin: str
    start: Mapping[str, Any]
    decisions: Mapping[str, Any]
    stopped: Mapping[str, Any]
    is_present: bool = True


def lives(store: Any, twin: str = "") -> list[Life]:
    """The lives of a twin (of all twins, when not named), oldest first."""
    found = []
    for id, start in store.list(STARTS).items():
        if id == twin or not twin:
            found += [
                Life(**said, is_present=False) for said in store.list(LIVES, f"{id}|").values()
            ]
            decisions, stopped = store.get(DECISIONS, id), store.get(BELIEFS, id)
            found.append(Life(id, start, decisions, stopped or {}))
    return found


def _end_life(tx: Any, id: str) -> None:
    """Keep what a replay of the life so far must reach, before a new one begins."""
    start, decisions = tx.get(STARTS, id), tx.get(DECISIONS, id)
    if start is None or decisions["position"] <= start["position"]:
        return
    stopped = tx.get(BELIEFS, id) or {}
    said = {"twin": id, "start": start, "decisions": decisions, "stopped": stopped}
    tx.put(LIVES, f"{id}|{start['position']:016d}", said)


def _caught_up(store: Any, twin: Twin, position: int, now: int, versions: Versions) -> Return:
    """Apply the journal after the checkpoint; decisions that were not committed come back."""
    versions.add(twin.definition, twin.values, now)
    decisions = Decisions(**store.get(DECISIONS, twin.id))
    committed = decisions.position
    records: list[Record] = []
    for at, event in store.applied_read(twin.id, position):
        event = versions.recalled(event)
        effects = [effect for effect in accepted(twin, event) if at > committed]
        records += entries_of(twin.id, effects)
        for effect in effects:
            if decides(effect):
                decisions.add(effect)
            if isinstance(effect, Record):
                records.append(effect)
        decisions.position = max(at, committed)
    facts = {"position": decisions.position, "belief": twin.belief.identity}
    records.append(Record("start", now, twin.id, facts, reason="restarted"))
    return Return(twin, decisions, records, _orphans(store, twin, now))


def _orphans(store: Any, twin: Twin, now: int) -> list[Receipt]:
    """Receipts for writes in flight that are not open in the ledger: closed, or never intended."""
    closed: dict[str, Entry] = {}
    waiting: set[str] = set()
    for entry in store.ledger_read(kinds=(INTENDED, *OUTCOMES)):
        key = str(entry.detail.get("key"))
        if entry.kind == INTENDED:
            waiting.add(key)
        else:
            waiting.discard(key)
            closed[key] = entry
    receipts = []
    for key, write in twin.acting.in_flight.items():
        if key in waiting:
            continue
        entry = closed.get(key)
        if entry is None:
            words = "restarted before it was performed"
            receipts.append(Receipt(key, write.tag, "failed", now, detail=words))
        else:
            held = entry.detail.get("read_back")
            receipts.append(Receipt(key, write.tag, entry.kind, now, held, "restarted"))
    return receipts


def open_intentions(store: Any) -> list[Entry]:
    """Intended writes without an outcome."""
    return pending_intentions(store.ledger_read(kinds=(INTENDED, *OUTCOMES)))

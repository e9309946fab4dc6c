"""Fleets: thousands of twins of one definition, of which those with events are in memory.

An instance (a patient, a vial, a shipment) is an id and values; it is registered before anything
happens to it and costs a line then. Its first event makes it a twin of its own, with journal,
belief, ledger entries and alarms. The least recently used are put away as snapshots, and come back
on their next event as they were, bit for bit. All share one definition: one model, one recorded
version.

All of this runs in the thread of the fold, but for overviews, which only read.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from galenic.clock import nanoseconds
from galenic.errors import DataError, UnknownName
from galenic.signals import Event, Record, Tick
from galenic.twin import look, resume
from galenic.twin.definition import TwinDefinition, with_values
from galenic.twin.project import FleetSpec, TwinSpec
from galenic.twin.twin import Twin
from galenic.twin.versions import as_recorded

if TYPE_CHECKING:
    from galenic.twin.keeper import Keeper

INSTANCES, SUMMARIES = "fleet-instance", "fleet-state"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
WATCHED = nanoseconds(600.0)  # how long a page that was opened keeps an instance in memory


@dataclass
class Fleet:
    """One fleet of a site: its definition as recorded, and the values of its instances."""

    spec: FleetSpec
    definition: TwinDefinition
    values: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def instance(self, name: str) -> str:
        """The id of an instance."""
        return f"{self.spec.id}:{name}"


class Fleets:
    """The fleets of a runner.

    Parameters
    ----------
    specs : sequence of FleetSpec
    present : dict of id to Twin
        The twins that are in memory; instances come and go here.
    keeper : Keeper
    """

    def __init__(self, specs: Iterable[FleetSpec], present: dict[str, Twin], keeper: Keeper):
        self.fleets = {spec.id: Fleet(spec, spec.definition) for spec in specs}
        self.summaries: dict[str, dict[str, Any]] = {}
        self.wakes = self.evictions = 0
        self._present = present
        self._keeper = keeper
        self._used: OrderedDict[str, int] = OrderedDict()
        self._watched: dict[str, int] = {}
        self._settled = -1  # until where the journal was applied when this process began
        self._unsettled = False
        self._looked: set[str] = set()

    # --- what there is -------------------------------------------------------------------

    def open(self, store: Any, now: int) -> None:
        """Read which instances there are, and add those of the tables."""
        for fleet in self.fleets.values():
            fleet.definition, _ = as_recorded(fleet.definition)
        for id, said in store.list(INSTANCES).items():
            name = id.partition(":")[0]
            if name in self.fleets:
                self.fleets[name].values[id] = said["values"]
        self.summaries = {id: said for id, said in store.list(SUMMARIES).items() if self.known(id)}
        decided = store.list(resume.DECISIONS).values()
        self._settled = max((said["position"] for said in decided), default=0)
        self._unsettled = store.head().offset > self._settled
        for fleet in self.fleets.values():
            if fleet.spec.rows:
                new = {
                    n: v for n, v in fleet.spec.rows.items() if not self.known(fleet.instance(n))
                }
                self.add(store, fleet.spec.id, new, "project", "table of the project", now)

    def known(self, id: str) -> bool:
        """Whether ``id`` is an instance of a fleet."""
        fleet = self.fleets.get(id.partition(":")[0])
        return fleet is not None and id in fleet.values

    def fleet(self, name: str) -> Fleet:
        """A fleet by its name."""
        if name not in self.fleets:
            raise UnknownName.among("fleet", name, self.fleets)
        return self.fleets[name]

    def ids(self, name: str) -> list[str]:
        """The ids of all instances of a fleet."""
        return list(self.fleet(name).values)

    def add(
        self,
        store: Any,
        name: str,
        rows: Mapping[str, Mapping[str, Any]],
        who: str,
        reason: str,
        now: int,
    ) -> list[str]:
        """Register instances: all of them, or none when one of them is wrong.

        Parameters
        ----------
        rows : mapping of name to values
            Parameters, inputs and start values by path, as text with unit or declared numbers.
        """
        fleet = self.fleet(name)
        system = fleet.definition.system()
        for key, values in rows.items():
            where = f"fleet {name}, instance {key}"
            if not NAME.fullmatch(key):
                raise DataError(
                    f"an instance called {key!r}", where=where, expected="letters, digits, _ . -"
                )
            if fleet.instance(key) in fleet.values:
                raise DataError(f"there is an instance {key!r} already", where=where)
            try:
                with_values(system, values)
            except Exception as error:
                if hasattr(error, "where"):
                    error.where = f"{where}, {error.where}"
                raise
        made = {fleet.instance(key): dict(values) for key, values in rows.items()}
        with store.transaction() as tx:
            for id, values in made.items():
                tx.put(INSTANCES, id, {"values": values, "fleet": name, "added": now})
                detail = {"fleet": name, "values": {p: str(v) for p, v in values.items()}}
                tx.ledger(Record("instance", now, id, detail, who, reason))
        fleet.values.update(made)
        return list(made)

    # --- coming and going ----------------------------------------------------------------

    def spec(self, id: str) -> TwinSpec:
        """The twin that an instance is."""
        fleet = self.fleets[id.partition(":")[0]]
        return TwinSpec(id, fleet.definition, fleet.values[id], fleet.spec.level, fleet.spec.name)

    def bring(self, ids: Iterable[str], now: int, used: bool = True) -> None:
        """Have these instances in memory; what is new among them begins in one commit."""
        store, fresh = self._keeper.store, []
        for id in dict.fromkeys(ids):
            if not self.known(id):
                continue
            if used or id not in self._used:
                self._used[id] = now
                self._used.move_to_end(id)
            if id in self._present:
                continue
            self.wakes += 1
            if store.get(resume.STARTS, id) is None:
                fresh.append(id)
                continue
            back = None if self._has_more(store, id) else resume.woken(store, self.spec(id))
            if back is None:
                back = resume.bring_back(store, self.spec(id), now)
                self._keeper.back(back)
            self._keeper.holds(back)
            self._present[id] = back.twin
        if fresh:
            offset = store.head().offset
            with store.transaction() as tx:
                for id in fresh:
                    back = resume.begun(tx, self.spec(id), now, "first event", offset)
                    self._keeper.backs(tx, back)
                    self._present[id] = back.twin

    def _has_more(self, store: Any, id: str) -> bool:
        """Whether a crash has left events of this instance that were not committed."""
        if not self._unsettled or id in self._looked:
            return False
        self._looked.add(id)
        return next(iter(store.applied_read(id, self._settled)), None) is not None

    def watch(self, id: str, now: int) -> None:
        """A page shows this instance: keep it in memory, and tell the page of it."""
        self._watched[id] = now + WATCHED

    def watched(self, now: int) -> list[str]:
        """The instances that pages show."""
        self._watched = {id: until for id, until in list(self._watched.items()) if until > now}
        return [id for id in self._watched if id in self._present]

    def victims(self, now: int) -> list[Twin]:
        """The instances that should leave memory: too many, or idle for long."""
        kept: dict[str, int] = {}
        for id in self._used:
            name = id.partition(":")[0]
            kept[name] = kept.get(name, 0) + 1
        found = []
        for id, used in self._used.items():
            fleet = self.fleets[id.partition(":")[0]]
            too_many = kept[fleet.spec.id] > fleet.spec.capacity
            idle = now - used > nanoseconds(fleet.spec.idle)
            if (too_many or idle) and self._may_leave(id, now):
                kept[fleet.spec.id] -= 1
                found.append(self._present[id])
        return found

    def _may_leave(self, id: str, now: int) -> bool:
        twin = self._present.get(id)
        if twin is None or self._watched.get(id, 0) > now:
            return False
        return not (twin.acting.in_flight or twin.acting.task or twin.alarms.asked)

    def gone(self, twins: Iterable[Twin]) -> None:
        """Twins have been put away."""
        for twin in twins:
            self._present.pop(twin.id, None)
            self._used.pop(twin.id, None)
            self._keeper.forget(twin.id)
            self.evictions += 1

    def touched(self, events: Iterable[tuple[str, Event]]) -> None:
        """Note what has become of the instances that events were for, for overviews."""
        moved: dict[str, bool] = {}
        for id, event in events:
            if id in self._used:
                moved[id] = moved.get(id, False) or not isinstance(event, Tick)
        for id, by_data in moved.items():
            known = self.summaries.get(id) if not by_data else None
            self.summaries[id] = summary(self._present[id], known["shown"] if known else None)

    def summarise(self, twin: Twin) -> dict[str, Any]:
        """What is kept of a twin that is put away, for overviews."""
        return self.summaries.get(twin.id) or summary(twin)

    # --- overview ------------------------------------------------------------------------

    def resident(self, name: str = "") -> list[str]:
        """The instances that are in memory."""
        return [id for id in list(self._used) if not name or id.startswith(f"{name}:")]

    def overview(self, name: str) -> list[dict[str, Any]]:
        """What is known of every instance; those without any event have only their values."""
        return [
            {
                **self.summaries.get(id, UNBEGUN),
                "id": id,
                "values": values,
                "in_memory": id in self._present,
            }
            for id, values in list(self.fleet(name).values.items())
        ]

    def standing(self) -> list[tuple[str, dict[str, Any]]]:
        """The alarms of all instances that are not normal, as of their last event or tick."""
        known = list(self.summaries.items())
        return [(id, alarm) for id, said in known for alarm in said.get("standing", ())]

    def to_dict(self) -> dict[str, Any]:
        """How many there are, and how often they came and went."""
        return {
            name: {"instances": len(fleet.values), "in memory": len(self.resident(name))}
            for name, fleet in self.fleets.items()
        }


UNBEGUN: dict[str, Any] = {
    "level": "", "health": "", "words": "no event yet", "alarms": {}, "fresh": 0, "standing": [],
    "time": 0, "shown": {},
}  # fmt: skip


def summary(twin: Twin, shown: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What an overview says of a twin; its key figures are ``shown`` where they are known."""
    standing = twin.alarms.standing()
    counts: dict[str, int] = {}
    for alarm in standing:
        if alarm.active:
            counts[alarm.severity] = counts.get(alarm.severity, 0) + 1
    return {
        "level": twin.level.word,
        "health": twin.health.state,
        "words": twin.health.words,
        "alarms": counts,
        "fresh": sum(not alarm.acknowledged for alarm in standing),
        "standing": [alarm.to_dict() for alarm in standing],
        "time": twin.fold.state.belief.time,
        "shown": _shown(twin) if shown is None else shown,
    }


def _shown(twin: Twin) -> dict[str, list[Any]]:
    """The first two shown quantities as last estimated."""
    paths = twin.definition.shown[:2]
    try:
        rows = look.estimates(twin, paths, twin.fold.state.belief.time)
    except (ArithmeticError, ValueError, RuntimeError):
        return {}
    return {path: [row["value"], row["unit"]] for path, row in rows.items()}

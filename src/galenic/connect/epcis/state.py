"""What goods are like now: a fold over events that come in the order in which they happened.

What contradicts what was known (shipped twice, seen after its end) is noted as a `Finding` and
applied all the same: the newest event is what is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.connect.epcis.event import (
    AggregationEvent,
    AssociationEvent,
    Event,
    ObjectEvent,
    Quantity,
    TransactionEvent,
    TransformationEvent,
)
from galenic.connect.epcis.keys import canonical, class_of, lot_of
from galenic.connect.epcis.uom import converted
from galenic.errors import GalenicError

LOTS = ("lotNumber", "lot", "batchNumber")
EXPIRIES = ("itemExpirationDate", "expirationDate", "expiryDate")
LEAVING = ("shipping", "departing")
ITEM, COUNTS = "H87", (None, "C62", "EA", "H87", "NAR")
MOST_FINDINGS = 10_000


@dataclass
class Thing:
    """What is known of one instance.

    ``location`` is its own; a thing in a parent is where the parent is (`State.location`).
    ``began`` and ``ended`` are times [ns]; ``how`` says what ended it. ``contents`` are amounts by
    class, each in the unit (a common code) that ``units`` says.
    """

    epc: str
    kind: str = ""
    location: str = ""
    read_point: str = ""
    disposition: str = ""
    step: str = ""
    conditions: frozenset[str] = frozenset()
    parent: str = ""
    children: dict[str, None] = field(default_factory=dict)
    contents: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    attached_to: str = ""
    attached: dict[str, None] = field(default_factory=dict)
    transactions: dict[str, str] = field(default_factory=dict)
    lot: str = ""
    expiry: str = ""
    began: int | None = None
    ended: int | None = None
    how: str = ""
    seen: int = 0
    event: str = ""
    shipped: bool = False


@dataclass(frozen=True)
class Finding:
    """Something in the events that cannot all be true."""

    time: int
    event: str
    epc: str
    text: str


@dataclass
class Making:
    """One transformation: amounts of inputs and outputs (1 for an instance).

    ``units`` has the unit (a common code) of each class; an instance has none.
    """

    key: str
    time: int
    inputs: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


class State:
    """Things, lots, and what was made of what, after the events that were applied.

    Attributes
    ----------
    things : dict of str to Thing
        By canonical EPC.
    stock : dict
        Amount by (class, location) of what is known by class only.
    units : dict of str to str
        The unit (a common code) of each class in ``stock``.
    makings : dict of str to Making
        Transformations by their id, or by that of their event.
    findings : list of Finding
    """

    def __init__(self) -> None:
        self.things: dict[str, Thing] = {}
        self.stock: dict[tuple[str, str], float] = {}
        self.makings: dict[str, Making] = {}
        self.findings: list[Finding] = []
        self.units: dict[str, str] = {}
        self._totals: dict[str, float] = {}
        self._uses: dict[str, set[str]] = {}
        self._sources: dict[str, set[str]] = {}

    def around(self, epc: str) -> list[str]:
        """What a thing is in, innermost first."""
        found = dict.fromkeys([canonical(epc)])
        thing = self.things.get(canonical(epc))
        while thing is not None and thing.parent and thing.parent not in found:
            found[thing.parent] = None
            thing = self.things.get(thing.parent)
        return list(found)[1:]

    def location(self, epc: str) -> str:
        """Where a thing is: where the outermost thing is that it is in; empty when not known."""
        outermost = self.things.get([canonical(epc), *self.around(epc)][-1])
        return outermost.location if outermost is not None else ""

    def at(self, location: str, kind: str = "") -> list[str]:
        """The things that are at a location now, of one class where it is given."""
        place, wanted = canonical(location), canonical(kind) if kind else ""
        return [
            epc
            for epc, thing in self.things.items()
            if thing.ended is None
            and (not wanted or thing.kind == wanted)
            and self.location(epc) == place
        ]

    def origins(self, epc: str) -> list[Making]:
        """Every transformation on the way back to the first inputs, nearest first."""
        return self._trace(epc, self._sources_of, lambda m: m.inputs)

    def uses(self, epc: str) -> list[Making]:
        """Every transformation that this thing or lot went into, directly or not, nearest first."""
        return self._trace(epc, self._uses_of, lambda m: m.outputs)

    def _sources_of(self, name: str) -> set[str]:
        return self._sources.get(name, set())

    def _uses_of(self, name: str) -> set[str]:
        return self._uses.get(name, set())

    def _trace(self, epc: str, edges: Any, ends: Any) -> list[Making]:
        found: dict[str, Making] = {}
        waiting, seen = [canonical(epc)], {canonical(epc)}
        while waiting:
            name = waiting.pop(0)
            for key in sorted(edges(name)):
                making = self.makings[key]
                found.setdefault(key, making)
                for end in ends(making):
                    if end not in seen:
                        seen.add(end)
                        waiting.append(end)
        return list(found.values())

    # -- folding ----------------------------------------------------------------------------------

    def apply(self, event: Event, name: str) -> None:
        """Take in an event that happened after all that were applied; ``name`` is its identity."""
        for kind, apply in APPLY.items():
            if type(event) is kind:
                apply(self, event, name)

    def _thing(self, epc: str) -> Thing:
        name = canonical(epc)
        thing = self.things.get(name)
        if thing is None:
            thing = self.things[name] = Thing(name, class_of(name))
        return thing

    def _find(self, event: Event, name: str, epc: str, text: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(event.time, name, epc, text))

    def _see(self, event: Event, name: str, thing: Thing) -> None:
        """What every event says of the things that it names: why and where."""
        if thing.ended is not None and event.time > thing.ended:
            self._find(event, name, thing.epc, f"{event.bizStep or 'seen'} after {thing.how}")
        if event.bizStep in LEAVING and thing.shipped and event.bizStep == "shipping":
            self._find(event, name, thing.epc, "shipped twice without being received")
        if event.bizStep:
            thing.step = event.bizStep
            thing.shipped = event.bizStep == "shipping" or (
                thing.shipped and event.bizStep not in ("receiving", "arriving", "void_shipping")
            )
        thing.disposition = event.disposition or thing.disposition
        if event.persistentDisposition is not None:
            gone = frozenset(event.persistentDisposition.unset or ())
            thing.conditions = (thing.conditions - gone) | frozenset(
                event.persistentDisposition.set or ()
            )
        if event.readPoint is not None:
            thing.read_point = canonical(event.readPoint.id)
        if event.bizLocation is not None:
            thing.location = canonical(event.bizLocation.id)
        elif event.bizStep in LEAVING:
            thing.location = ""
        thing.seen, thing.event = event.time, name

    def _begin(self, event: Event, name: str, thing: Thing, ilmd: Mapping[str, Any]) -> None:
        if thing.began is not None and thing.ended is None:
            self._find(event, name, thing.epc, "commissioned twice")
        thing.began, thing.ended, thing.how, thing.shipped = event.time, None, "", False
        thing.lot = _said(ilmd, LOTS) or thing.lot
        thing.expiry = _said(ilmd, EXPIRIES) or thing.expiry

    def _end(self, event: Event, thing: Thing, how: str) -> None:
        thing.ended, thing.how = event.time, how
        self._take_out(thing)

    def _object(self, event: ObjectEvent, name: str) -> None:
        for epc in event.epcList or ():
            thing = self._thing(epc)
            if event.action == "ADD":
                self._begin(event, name, thing, event.ilmd or {})
            self._see(event, name, thing)
            if event.action == "DELETE":
                self._end(event, thing, event.bizStep or "its end")
        if event.action != "OBSERVE":
            sign = 1.0 if event.action == "ADD" else -1.0
            for quantity in event.quantityList or ():
                self._move(event, name, quantity, sign)

    def _move(self, event: Event, name: str, quantity: Quantity, sign: float) -> None:
        """More or less of a class at the place of the event."""
        place = event.bizLocation or event.readPoint
        key = (canonical(quantity.epcClass), canonical(place.id) if place else "")
        amount = sign * self._amount(event, name, self.units, quantity)
        self.stock[key] = self.stock.get(key, 0.0) + amount
        if amount > 0 or key[0] in self._totals:  # what came from outside was never counted in
            left = self._totals[key[0]] = self._totals.get(key[0], 0.0) + amount
            if left < 0:
                self._find(event, name, key[0], f"{-left:g} more gone than came")

    def _amount(self, event: Event, name: str, units: dict[str, str], quantity: Quantity) -> float:
        """How much a quantity is in the unit that its class has here, the first that was told.

        Nothing, and a finding, where one cannot be made of the other.
        """
        kind, value = canonical(quantity.epcClass), float(quantity.quantity or 0.0)
        code = ITEM if quantity.uom in COUNTS else str(quantity.uom)
        known = units.setdefault(kind, code)
        if known == code:
            return value
        try:
            return converted(value, code, known)
        except GalenicError:
            self._find(event, name, kind, f"{value:g} {code} of what is told in {known}")
            return 0.0

    def _take_out(self, thing: Thing) -> None:
        parent = self.things.get(thing.parent)
        if parent is not None:
            parent.children.pop(thing.epc, None)
        thing.parent = ""

    def _aggregation(self, event: AggregationEvent, name: str) -> None:
        parent = self._thing(event.parentID) if event.parentID else None
        if parent is not None:
            self._see(event, name, parent)
        named = [self._thing(epc) for epc in event.childEPCs or ()]
        if event.action == "DELETE" and parent is not None and not event.childEPCs:
            if not event.childQuantityList:
                named = [self.things[epc] for epc in parent.children]
                parent.contents.clear()
        for child in named:
            self._child(event, name, parent, child)
        if parent is not None and event.action != "OBSERVE":
            sign = 1.0 if event.action == "ADD" else -1.0
            for quantity in event.childQuantityList or ():
                kind = canonical(quantity.epcClass)
                amount = self._amount(event, name, parent.units, quantity)
                left = parent.contents.get(kind, 0.0) + sign * amount
                parent.contents[kind] = left
                if left < 0:
                    self._find(event, name, parent.epc, f"{-left:g} more of {kind} out than in")

    def _child(self, event: Event, name: str, parent: Thing | None, child: Thing) -> None:
        action = getattr(event, "action", "OBSERVE")
        place = self._outer(child)
        self._see(event, name, child)
        if action == "ADD" and parent is not None:
            if child.parent and child.parent != parent.epc:
                self._find(event, name, child.epc, f"put into {parent.epc} while in {child.parent}")
            self._take_out(child)
            if self._is_inside(parent, child):
                self._find(event, name, child.epc, f"put into {parent.epc}, which is in it")
                return
            child.parent = parent.epc
            parent.children[child.epc] = None
        elif action == "DELETE":
            if parent is not None and child.parent != parent.epc:
                self._find(
                    event, name, child.epc, f"taken out of {parent.epc}, in which it was not"
                )
            self._take_out(child)
            if event.bizLocation is None:
                child.location = place
        elif parent is not None and child.parent != parent.epc:
            self._find(event, name, child.epc, f"seen in {parent.epc}, in which it was not")

    def _outer(self, thing: Thing) -> str:
        while thing.parent:
            thing = self.things[thing.parent]
        return thing.location

    def _is_inside(self, thing: Thing, outer: Thing) -> bool:
        while thing.epc != outer.epc:
            if not thing.parent:
                return False
            thing = self.things[thing.parent]
        return True

    def _association(self, event: AssociationEvent, name: str) -> None:
        parent = self._thing(event.parentID)
        self._see(event, name, parent)
        named = [self._thing(epc) for epc in event.childEPCs or ()]
        if event.action == "DELETE" and not named and not event.childQuantityList:
            named = [self.things[epc] for epc in parent.attached]
        for child in named:
            self._see(event, name, child)
            if event.action == "ADD":
                before = self.things.get(child.attached_to)
                if before is not None:
                    before.attached.pop(child.epc, None)
                child.attached_to = parent.epc
                parent.attached[child.epc] = None
            elif event.action == "DELETE":
                child.attached_to = ""
                parent.attached.pop(child.epc, None)

    def _transaction(self, event: TransactionEvent, name: str) -> None:
        named = [*([event.parentID] if event.parentID else []), *(event.epcList or ())]
        for epc in named:
            thing = self._thing(epc)
            self._see(event, name, thing)
            for one in event.bizTransactionList:
                if event.action == "ADD":
                    thing.transactions[one.bizTransaction] = one.type or ""
                elif event.action == "DELETE":
                    thing.transactions.pop(one.bizTransaction, None)

    def _transformation(self, event: TransformationEvent, name: str) -> None:
        key = canonical(event.transformationID) if event.transformationID else name
        making = self.makings.setdefault(key, Making(key, event.time))
        making.time = max(making.time, event.time)
        for epc in event.inputEPCList or ():
            thing = self._thing(epc)
            self._see(event, name, thing)
            self._end(event, thing, "its use")
            making.inputs[thing.epc] = 1.0
        for quantity in event.inputQuantityList or ():
            self._move(event, name, quantity, -1.0)
            kind = canonical(quantity.epcClass)
            amount = self._amount(event, name, making.units, quantity)
            making.inputs[kind] = making.inputs.get(kind, 0.0) + amount
        for epc in event.outputEPCList or ():
            thing = self._thing(epc)
            self._begin(event, name, thing, event.ilmd or {})
            self._see(event, name, thing)
            making.outputs[thing.epc] = 1.0
        for quantity in event.outputQuantityList or ():
            self._move(event, name, quantity, 1.0)
            kind = canonical(quantity.epcClass)
            amount = self._amount(event, name, making.units, quantity)
            making.outputs[kind] = making.outputs.get(kind, 0.0) + amount
        for one in making.inputs:
            self._uses.setdefault(one, set()).add(key)
        for one in making.outputs:
            self._sources.setdefault(one, set()).add(key)


def _said(ilmd: Mapping[str, Any], names: Iterable[str]) -> str:
    """The value of the first of some names in master data, whatever their prefix."""
    local = {str(key).rpartition(":")[2].rpartition("/")[2]: value for key, value in ilmd.items()}
    for name in names:
        value = local.get(name)
        if isinstance(value, Mapping):
            value = value.get("@value")
        if value is not None:
            return str(value)
    return ""


APPLY: dict[type[Event], Any] = {
    ObjectEvent: State._object, AggregationEvent: State._aggregation,
    AssociationEvent: State._association, TransactionEvent: State._transaction,
    TransformationEvent: State._transformation,
}  # fmt: skip


def lot_and_expiry(state: State, epc: str) -> tuple[str, str]:
    """Lot and expiry of a thing, the lot from the name of its class where nothing else says it."""
    thing = state.things.get(canonical(epc))
    if thing is None:
        return lot_of(epc), ""
    return thing.lot or lot_of(epc), thing.expiry

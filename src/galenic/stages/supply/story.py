"""The state of goods from events on record: of all of them, or of those that bear on one thing.

What became of one thing is told by the events that name it, and whatever it was in; so the answer
takes as long as that story is, not as the repository is large.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from galenic.connect.epcis.event import AggregationEvent, AssociationEvent, Event
from galenic.connect.epcis.identity import event_hash
from galenic.connect.epcis.keys import canonical
from galenic.connect.epcis.query import Recorded
from galenic.connect.epcis.state import State
from galenic.stages.supply.index import (
    INPUT,
    MAKING,
    OUTPUT,
    SIDES,
    THING,
    Index,
    Reader,
    classes_of,
    things_of,
)

JOINING = (AggregationEvent, AssociationEvent)


class Whole:
    """The state after all events, kept and carried on from one question to the next."""

    def __init__(self, index: Index, read: Reader) -> None:
        self._index, self._read = index, read
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._state = State()
        self._next, self._last = 0, (0, "")

    def state(self) -> State:
        """The state now; all is folded again where something came that belongs before the rest."""
        with self._lock:
            until = self._index.next
            new = [self._read(n) for n in range(self._next, until)] if self._next else []
            in_order = all(r.event.errorDeclaration is None for r in new)
            for r in new:
                in_order = in_order and (r.event.time, r.id) > self._last
                self._last = max(self._last, (r.event.time, r.id))
            if self._next and in_order:
                _fold(self._state, new, self._index.wrong())
            elif self._next < until:
                self._begin()
                every = (self._read(n) for n in self._index.in_time())
                _fold(self._state, self._noted(every), self._index.wrong())
            self._next = until
            return self._state

    def _noted(self, events: Iterable[Recorded]) -> Iterator[Recorded]:
        for r in events:
            self._last = (r.event.time, r.id)
            yield r


@dataclass(frozen=True)
class Story:
    """What became of one thing.

    Attributes
    ----------
    state : State
        As after all events, but only of this thing, and of where what it is in is.
    events : list of (Recorded, str)
        Those that name it, or what it was in at the time, in the order in which they happened;
        beside the latter, what it was in.
    """

    state: State
    events: list[tuple[Recorded, str]]


def of_thing(index: Index, read: Reader, name: str) -> Story:
    """From all events that name a thing, anything it was in, or what was in it."""
    known: dict[int, Recorded] = {}
    thing = canonical(name)
    seen, waiting = {thing}, {thing}
    while waiting:
        found = _naming(index, read, known, [THING], waiting)
        outer = {parent for r in found for parent in _parent(r.event, waiting)}
        waiting = outer - seen
        seen |= outer
    inner = {child for r in list(known.values()) for child in _children(r.event, thing)}
    _naming(index, read, known, [THING], inner)
    return _told(index, known, thing)


def _told(index: Index, known: dict[int, Recorded], thing: str) -> Story:
    state, wrong = State(), index.wrong()
    told: list[tuple[Recorded, str]] = []
    for r in _sorted(known):
        around = state.around(thing)
        if _counts(r, wrong):
            state.apply(r.event, r.id)
        named = things_of(r.event)
        if thing in named:
            told.append((r, ""))
        else:
            told += [(r, outer) for outer in around if outer in named][:1]
    return Story(state, told)


def of_making(index: Index, read: Reader, name: str) -> State:
    """The state after all transformations on the way to a thing or lot, and from it."""
    known: dict[int, Recorded] = {}
    for entering, leaving in ((OUTPUT, INPUT), (INPUT, OUTPUT)):
        seen = waiting = {canonical(name)}
        while waiting:
            found = _naming(index, read, known, [entering], waiting)
            ids = {i for r in found if (i := getattr(r.event, "transformationID", None))}
            found += _naming(index, read, known, [MAKING], {canonical(i) for i in ids})
            ends = {end for r in found for end in _ends(r.event, leaving)}
            waiting, seen = ends - seen, seen | ends
    return _in_order(index, known)


def _naming(
    index: Index, read: Reader, known: dict[int, Recorded], kinds: list[str], names: Iterable[str]
) -> list[Recorded]:
    """The events that name one of these, which are known from then on."""
    numbers = list(index.numbers(0, index.next, names=(kinds, list(names))))
    for number in numbers:
        if number not in known:
            known[number] = read(number)
    return [known[number] for number in numbers]


def _parent(event: Event, children: set[str]) -> Iterator[str]:
    """What an event puts one of these into, or takes it out of."""
    if isinstance(event, JOINING) and event.parentID:
        if any(canonical(one) in children for one in event.childEPCs or ()):
            yield canonical(event.parentID)


def _children(event: Event, parent: str) -> Iterator[str]:
    if isinstance(event, JOINING) and event.parentID and canonical(event.parentID) == parent:
        yield from map(canonical, event.childEPCs or ())


def _ends(event: Event, side: str) -> Iterator[str]:
    for name, instances, quantities in SIDES:
        if name == side:
            yield from map(canonical, getattr(event, instances, None) or ())
            yield from classes_of(event, [quantities])


def _in_order(index: Index, known: dict[int, Recorded]) -> State:
    state = State()
    _fold(state, _sorted(known), index.wrong())
    return state


def _sorted(known: dict[int, Recorded]) -> list[Recorded]:
    return sorted(known.values(), key=lambda r: (r.event.time, r.id))


def _fold(state: State, events: Iterable[Recorded], wrong: set[str]) -> None:
    """Apply what was not declared wrong."""
    for r in events:
        if _counts(r, wrong):
            state.apply(r.event, r.id)


def _counts(r: Recorded, wrong: set[str]) -> bool:
    """Whether an event tells something: it is no declaration, and was not declared wrong."""
    if r.event.errorDeclaration is not None or r.id in wrong:
        return False
    return not (wrong and event_hash(r.event) in wrong)

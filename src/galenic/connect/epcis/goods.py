"""Events of goods in any order, and the state that they tell.

`Goods` folds events in the order in which they happened, whatever the order in which they came:
equal events give an equal state. An event that was declared wrong counts no longer; it stays on
record.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from galenic.connect.epcis.event import Event
from galenic.connect.epcis.identity import event_hash, record_name
from galenic.connect.epcis.state import State


class Goods:
    """Events, each once, and the `State` after them."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events: list[tuple[int, str, Event]] = []
        self._known: set[str] = set()
        self._wrong: set[str] = set()
        self._late = False
        self._state = State()
        self.add(events)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_unsettled(self) -> bool:
        """Whether the next look has to fold everything again."""
        return self._late

    def add(self, events: Iterable[Event]) -> list[Event]:
        """Take events in; those that were new. The same event again changes nothing."""
        new = []
        for event in events:
            name = record_name(event)
            if name in self._known:
                continue
            self._known.add(name)
            new.append(event)
            if event.errorDeclaration is not None:
                self._declare(event)
                continue
            entry = (event.time, name, event)
            if self._events and entry[:2] < self._events[-1][:2]:
                insort(self._events, entry, key=lambda e: e[:2])
                self._late = True
            else:
                self._events.append(entry)
                if not self._late and not self._is_wrong(event, name):
                    self._state.apply(event, name)
        return new

    def _declare(self, event: Event) -> None:
        """An event was declared wrong: by its id, or by what it says."""
        if event.eventID is not None:
            self._wrong.add(event.eventID)
        self._wrong.add(event_hash(event))
        self._late = True

    def _is_wrong(self, event: Event, name: str) -> bool:
        return bool(self._wrong) and (name in self._wrong or event_hash(event) in self._wrong)

    @property
    def state(self) -> State:
        """The state now; all is folded again if something came that belongs before the rest."""
        if self._late:
            self._late = False
            self._state = State()
            for _, name, event in self._events:
                if not self._is_wrong(event, name):
                    self._state.apply(event, name)
        return self._state

"""The EPCIS repository of a site: events captured once, never changed, found again by queries.

Events are documents of the site's records, each capture one transaction with its ledger entry; the
document as it came is kept as an artefact, whose hash is in the ledger. A correction is one more
event. What a capture refused is a dead letter.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from galenic.clock import Clock, to_iso
from galenic.connect.epcis.document import events_of
from galenic.connect.epcis.event import Event, event_of, nanoseconds_of
from galenic.connect.epcis.identity import event_hash, record_name
from galenic.connect.epcis.keys import canonical
from galenic.connect.epcis.query import Query, Recorded
from galenic.connect.epcis.sensors import readings
from galenic.connect.epcis.state import State
from galenic.connect.tally import DeadLetter
from galenic.errors import DataError, GalenicError, UnknownName
from galenic.identity import content_hash
from galenic.signals import Correction, Record, Sample
from galenic.stages.supply import story
from galenic.stages.supply.index import CLASS, FOREVER, INPUT, OUTPUT, THING, Index, tail_of
from galenic.twin.quality import keep_letters

EVENT, ID, HEAD, QUERY = "epcis-event", "epcis-id", "epcis-head", "epcis-query"
SUBSCRIPTION = "epcis-subscription"
NEXT = "next"
DIGITS = 12
BEHAVIOURS = ("rollback", "proceed")
SOURCE = "epcis"
LARGEST = 64 * 1024 * 1024  # bytes of a document
MOST_EVENTS = 100_000
PARSED = 10_000
MOST_TOLD = 1000  # events of a class
OF_CLASS = (CLASS, INPUT, OUTPUT)
ONE = (THING, CLASS)  # a class stands for its instances and lots
NARROW: dict[str, tuple[str, ...]] = {
    "MATCH_epc": ONE, "MATCH_anyEPC": ONE, "MATCH_parentID": ONE, "MATCH_inputEPC": ONE,
    "MATCH_outputEPC": ONE, "MATCH_epcClass": ONE, "MATCH_anyEPCClass": ONE,
    "MATCH_inputEPCClass": ONE, "MATCH_outputEPCClass": ONE, "EQ_bizLocation": ("bizLocation",),
    "EQ_readPoint": ("readPoint",), "EQ_disposition": ("disposition",), "EQ_bizStep": ("bizStep",),
    "eventType": ("type",),
}  # fmt: skip
"""Parameters that the index answers, and the kinds of names that they are about; best first."""


@dataclass(frozen=True)
class Captured:
    """What became of a document: events on record now, known before, refused and why."""

    id: str
    time: int
    ids: tuple[str, ...] = ()
    duplicates: int = 0
    refused: tuple[str, ...] = ()
    samples: int = 0
    unusable: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        return not self.refused

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "captureID": self.id, "createdAt": to_iso(self.time), "success": self.success,
            "events": list(self.ids), "duplicates": self.duplicates,
            "errors": list(self.refused), "samples": self.samples,
            "sensor_values_refused": list(self.unusable),
        }  # fmt: skip


@lru_cache(maxsize=PARSED)
def _parsed(text: str) -> Event:
    import json

    return event_of(json.loads(text))


class Repository:
    """Events of one store.

    Parameters
    ----------
    store : Store
        The site's records; readers may have it open read-only.
    clock : Clock
        For times of record.
    """

    def __init__(self, store: Any, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.index = Index(store.folder, self.read)
        self._lock = threading.Lock()
        self._whole = story.Whole(self.index, self.read)

    # -- capture ----------------------------------------------------------------------------------

    def capture(self, data: bytes, who: str, behaviour: str = "rollback") -> Captured:
        """Take a document in. With "rollback" one wrong event refuses all of them.

        Raises
        ------
        DataError
            The document cannot be read, or (rollback) an event in it is wrong; nothing is kept but
            the dead letter.
        """
        if behaviour not in BEHAVIOURS:
            raise UnknownName.among("error behaviour", behaviour, BEHAVIOURS)
        now = self.clock.now()
        try:
            if len(data) > LARGEST:
                raise DataError(f"{len(data)} bytes", expected=f"at most {LARGEST}")
            events, unusable = events_of(data)
            if len(events) + len(unusable) > MOST_EVENTS:
                raise DataError(f"more than {MOST_EVENTS} events", hint="send them in parts")
        except GalenicError as error:
            self._refuse([DeadLetter.of(SOURCE, now, str(error), data)], who, now)
            raise
        with self._lock:
            self.catch_up()
            new, known, conflicts = self._sorted(events)
            wrong = [
                *(DeadLetter.of(SOURCE, now, str(u.error), u.raw, u.error.where) for u in unusable),
                *conflicts,
            ]
            if wrong and behaviour == "rollback":
                self._refuse(wrong, who, now)
                more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
                raise DataError(
                    f"{wrong[0].reason}{more}",
                    where="EPCIS capture",
                    hint="nothing was captured; with error behaviour proceed the rest is kept",
                )
            captured = self._keep(data, new, known, wrong, who, now)
            self.catch_up()
        return captured

    def _sorted(self, events: Iterable[Event]) -> tuple[dict[str, Event], int, list[DeadLetter]]:
        """Events that are new, by name; how many are known; those that would change a known one."""
        new: dict[str, Event] = {}
        known, conflicts = 0, []
        for event in events:
            name = record_name(event)
            before = new.get(name) or self._known(name)
            if before is None:
                new[name] = event
            elif event.errorDeclaration is None and event_hash(before) != event_hash(event):
                text = f"eventID {name} is that of another event; an event is never changed"
                raw = event.model_dump_json(by_alias=True, exclude_unset=True).encode()
                conflicts.append(DeadLetter.of(SOURCE, self.clock.now(), text, raw))
            else:
                known += 1
        return new, known, conflicts

    def _keep(
        self,
        data: bytes,
        new: Mapping[str, Event],
        known: int,
        wrong: Sequence[DeadLetter],
        who: str,
        now: int,
    ) -> Captured:
        samples, withdrawn, unusable = self._samples(new, now)
        with self.store.transaction() as tx:
            first = number = tx.get(HEAD, NEXT) or 0
            digest = tx.artefact(data, _media(data), {"what": "EPCIS document", "who": who}, now)
            for name, event in new.items():
                said = event.model_copy(update={"recordTime": to_iso(now)})
                text = said.model_dump_json(by_alias=True, exclude_unset=True)
                tx.put(EVENT, _key(number), {"id": name, "record": now, "event": text})
                tx.put(ID, name, number)
                number += 1
            tx.put(HEAD, NEXT, number)
            for correction, tag, time in withdrawn:
                tx.correct(correction, tag, time)
            tx.samples(samples)
            keep_letters(tx, wrong)
            id = f"{first}-{digest[:16]}"
            refused = tuple(letter.reason for letter in wrong)
            detail = {
                "document": digest, "first": first, "events": len(new), "duplicates": known,
                "refused": len(refused), "samples": len(samples), "withdrawn": len(withdrawn),
                "ids": content_hash(sorted(new)),
            }  # fmt: skip
            tx.ledger(Record("epcis", now, id, detail, who))
            captured = Captured(id, now, tuple(new), known, refused, len(samples), tuple(unusable))
            tx.put("epcis-capture", id, captured.to_dict())
        return captured

    def _samples(
        self, new: Mapping[str, Event], now: int
    ) -> tuple[list[Sample], list[tuple[Correction, str, int]], list[str]]:
        """Samples of the sensors; corrections of samples of events declared wrong; refusals."""
        found: list[Sample] = []
        withdrawn: list[tuple[Correction, str, int]] = []
        refused: list[str] = []
        for event in new.values():
            error = event.errorDeclaration
            named = event.eventID or event_hash(event)
            right = self._corrected(event, new) if error is not None else {}
            for reading in readings(event, now):
                if reading.sample is None:
                    refused.append(f"{reading.tag}: {reading.reason}")
                elif error is None:
                    found.append(reading.sample)
                elif self._known(named) is not None:
                    old = reading.sample
                    why = f"event {named} was declared wrong: {error.reason or 'an error'}"
                    value = right.get((old.tag, old.source_time))
                    new_version = Correction(old.key, value, old.unit, now, SOURCE, why)
                    withdrawn.append((new_version, old.tag, old.source_time))
        return found, withdrawn, refused

    def _corrected(
        self, declaration: Event, new: Mapping[str, Event]
    ) -> dict[tuple[str, int], Any]:
        """What the corrective events that a declaration names say, where they are on record."""
        error = declaration.errorDeclaration
        ids = (error.correctiveEventIDs or ()) if error is not None else ()
        events = [new.get(id) or self._known(id) for id in ids]
        return {
            (reading.sample.tag, reading.sample.source_time): reading.sample.value
            for event in events
            if event is not None
            for reading in readings(event, 0)
            if reading.sample is not None
        }

    def _refuse(self, letters: Sequence[DeadLetter], who: str, now: int) -> None:
        """Keep what was not captured, and say so."""
        detail = {"refused": len(letters), "why": letters[0].reason}
        with self.store.transaction() as tx:
            keep_letters(tx, letters)
            tx.ledger(Record("epcis", now, "refused", detail, who))

    def captures(self) -> list[dict[str, Any]]:
        """Every capture, oldest first."""
        return list(self.store.list("epcis-capture").values())

    def captured(self, id: str) -> dict[str, Any]:
        """One capture."""
        found = self.store.get("epcis-capture", id)
        if found is None:
            raise UnknownName.among("capture", id, [])
        return dict(found)

    # -- looking ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.catch_up()

    def catch_up(self) -> int:
        """Bring the index to what this or another process has captured; how many events it is."""
        return self.index.catch_up(self.store.get(HEAD, NEXT) or 0)

    def event(self, id: str) -> Recorded:
        """The event with this id, as it was recorded."""
        self.catch_up()
        number = self.index.number(id)
        if number is None:
            raise UnknownName.among("event", id, [])
        return self.read(number)

    def page(self, query: Query, per_page: int, token: str = "") -> tuple[list[Recorded], str]:
        """Events of a query from a token on, and the token of the next page; empty at the end.

        What is captured between two pages does not move what follows: a query sees the events
        that were there at its first page.
        """
        until = self.catch_up()
        start, offset = 0, 0
        if token:
            until, start, offset = _token(token, until)
        if not query.order or (query.order == "recordTime" and not query.descending):
            return self._in_order(query, per_page, start, offset, until)
        found = query.select(self._candidates(query, 0, until))[offset:]
        more = len(found) > per_page
        return found[:per_page], f"{until}.0.{offset + per_page}" if more else ""

    def _in_order(
        self, query: Query, per_page: int, start: int, given: int, until: int
    ) -> tuple[list[Recorded], str]:
        """In order of record: a page needs no more than its own events."""
        if query.most is not None and not given:
            query.select(self._candidates(query, 0, until))
        left = per_page if query.limit is None else min(per_page, query.limit - given)
        found = list(islice(self.matching(query, start, until), left + 1))
        page = found[:left]
        is_end = len(found) <= left or (query.limit is not None and given + left >= query.limit)
        return page, "" if is_end else f"{until}.{page[-1].number + 1}.{given + len(page)}"

    def select(self, query: Query) -> list[Recorded]:
        """All events of a query."""
        until = self.catch_up()
        return query.select(self._candidates(query, 0, until))

    def matching(self, query: Query, start: int, until: int) -> Iterator[Recorded]:
        """Events start <= number < until of a query, in the order of record."""
        return (r for r in self._candidates(query, start, until) if query.matches(r))

    def _candidates(self, query: Query, start: int, until: int) -> Iterator[Recorded]:
        """Events that may match, by number: narrowed by what the index knows."""
        given = query.given
        if "GE_recordTime" in given:
            start = max(start, self.index.recorded_from(_time(given["GE_recordTime"])))
        low, high = (
            _time(given[name]) if name in given else other
            for name, other in (("GE_eventTime", -FOREVER), ("LT_eventTime", FOREVER))
        )
        parameter = next((name for name in NARROW if name in given), None)
        names = None
        if parameter is not None:
            names = NARROW[parameter], query.wanted(parameter)
        yield from map(self.read, self.index.numbers(start, until, low, high, names))

    def read(self, number: int) -> Recorded:
        """The event of a number, from 0 in the order of capture."""
        said = self.store.get(EVENT, _key(number))
        return Recorded(_parsed(said["event"]), said["id"], said["record"], number)

    def names(self, kind: str) -> list[str]:
        """Every type, bizStep, disposition, bizLocation, readPoint or thing that events name."""
        self.catch_up()
        return self.index.names(kind)

    def state(self) -> State:
        """The state of all goods after all events: for what is asked of everything at once."""
        self.catch_up()
        return self._whole.state()

    def story(self, name: str) -> story.Story:
        """What became of one thing, of which all is as in `state`; the newest events of a class."""
        until = self.catch_up()
        if self.index.has(THING, canonical(name)):
            return story.of_thing(self.index, self.read, name)
        numbers = list(self.index.numbers(0, until, names=(OF_CLASS, [canonical(name)])))
        newest = sorted(map(self.read, numbers[-MOST_TOLD:]), key=lambda r: (r.event.time, r.id))
        return story.Story(State(), [(r, "") for r in newest])

    def lineage(self, name: str) -> State:
        """The state in which what a thing or lot was made of, and into, is as in `state`."""
        self.catch_up()
        return story.of_making(self.index, self.read, name)

    def find(self, text: str, most: int) -> list[tuple[str, int]]:
        """Things and classes whose last part or whole name begins with a text; events of each."""
        self.catch_up()
        return self.index.search(text, most)

    def unknown(self, name: str) -> UnknownName:
        """The error for a thing that no event names, with what is like it."""
        near = self.find(tail_of(canonical(name))[:4], 1000)
        return UnknownName.among("thing or lot", canonical(name), [found for found, _ in near])

    def _known(self, name: str) -> Event | None:
        number = self.index.number(name)
        return None if number is None else self.read(number).event

    # -- kept queries -----------------------------------------------------------------------------

    def queries(self) -> dict[str, Any]:
        """Named queries: their parameters, who made them and when."""
        return dict(self.store.list(QUERY))

    def query(self, name: str) -> Query:
        """A named query."""
        known = self.store.get(QUERY, name)
        if known is None:
            raise UnknownName.among("query", name, self.queries())
        return Query.of(known["parameters"])

    def keep_query(self, name: str, given: Mapping[str, Sequence[str]], who: str) -> None:
        """Keep a query under a name; one that is there is not replaced."""
        if not name or len(name) > 200 or "/" in name:
            raise DataError(f"query name {name!r}", expected="1 to 200 characters without /")
        Query.of(given)
        if self.store.get(QUERY, name) is not None:
            raise DataError(f"there is a query {name!r} already", hint="delete it first")
        now = self.clock.now()
        with self.store.transaction() as tx:
            tx.put(QUERY, name, {"parameters": dict(given), "who": who, "time": now})
            tx.ledger(Record("epcis", now, f"query {name}", {"parameters": dict(given)}, who))

    def forget_query(self, name: str, who: str) -> None:
        """Remove a named query; one that somebody subscribes to stays."""
        self.query(name)
        if any(said["query"] == name for said in self.store.list(SUBSCRIPTION).values()):
            raise DataError(f"{name} has subscriptions", hint="end them first")
        with self.store.transaction() as tx:
            tx.delete(QUERY, name)
            tx.ledger(Record("epcis", self.clock.now(), f"query {name}", {"deleted": True}, who))


def _key(number: int) -> str:
    return f"{number:0{DIGITS}d}"


def _token(token: str, until: int) -> tuple[int, int, int]:
    try:
        seen, start, offset = (int(part) for part in token.split("."))
    except ValueError:
        raise DataError(f"page token {token[:50]!r}", hint="follow the link of the page") from None
    if not (0 <= seen <= until and 0 <= start <= seen and 0 <= offset <= seen):
        raise DataError(f"page token {token[:50]!r}", hint="follow the link of the page")
    return seen, start, offset


def _time(values: Sequence[str]) -> int:
    return nanoseconds_of(values[0].replace(" ", "+"))


def _media(data: bytes) -> str:
    return "application/xml" if data.lstrip().startswith(b"<") else "application/ld+json"


OPEN: weakref.WeakKeyDictionary[Any, Repository] = weakref.WeakKeyDictionary()
_OPENING = threading.Lock()


def repository_of(store: Any, clock: Clock) -> Repository:
    """The repository of a store; the same one for every caller in this process."""
    with _OPENING:
        if store not in OPEN:
            OPEN[store] = Repository(store, clock)
        return OPEN[store]

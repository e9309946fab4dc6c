"""The EPCIS query language: which events are asked for, by the parameters of the standard.

All parameters must hold together; of the values of one, any. Values come as repeated parameters or
separated by ``|``. Parameters of the standard that are not here are refused by name, never passed
over: an answer that ignores half of a question is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from galenic.connect.epcis import vocabulary as words
from galenic.connect.epcis.event import TYPES, Event, nanoseconds_of
from galenic.connect.epcis.keys import DOMAIN, canonical
from galenic.connect.epcis.uom import comparable, converted, unit_of
from galenic.errors import DataError, GalenicError, UnknownName

MOST = 1000
PAGE = 30
Test = Callable[["Recorded"], bool]


@dataclass(frozen=True)
class Recorded:
    """An event as a repository holds it: with its identity and time of record [ns]."""

    event: Event
    id: str
    record_time: int
    number: int = 0


@dataclass(frozen=True)
class Query:
    """What is asked for: tests that must all hold, order and limits."""

    tests: tuple[Test, ...] = ()
    order: str = ""
    descending: bool = True
    limit: int | None = None
    most: int | None = None
    given: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, Sequence[str]], where: str = "EPCIS query") -> Query:
        """From parameters and their values, as of an address; DataError or UnknownName if wrong."""
        tests: list[Test] = []
        plain: dict[str, Any] = {}
        for name, raw in given.items():
            values = [part for text in raw for part in text.split("|")]
            try:
                if name in SETTINGS:
                    plain[SETTINGS[name][0]] = SETTINGS[name][1](values[0])
                else:
                    tests.append(_test(name, values))
            except (GalenicError, ValueError) as error:
                found = error.found if isinstance(error, GalenicError) else str(error)
                hint = error.hint if isinstance(error, GalenicError) else ""
                kind = UnknownName if isinstance(error, UnknownName) else DataError
                raise kind(found, where=f"{where}, {name}", hint=hint) from error
        if plain.get("limit") is not None and plain.get("most") is not None:
            raise DataError("eventCountLimit and maxEventCount together", where=where)
        return cls(tuple(tests), given=dict(given), **plain)

    def matches(self, recorded: Recorded) -> bool:
        """Whether an event is asked for."""
        return all(test(recorded) for test in self.tests)

    def wanted(self, parameter: str) -> list[str]:
        """The values of a parameter as events hold them: bare words and canonical names."""
        values = [part for text in self.given[parameter] for part in text.split("|")]
        vocabulary = VOCABULARIES.get(parameter)
        return [vocabulary.word(v) if vocabulary else canonical(v) for v in values]

    def select(self, events: Iterable[Recorded]) -> list[Recorded]:
        """The events asked for, in the order asked for."""
        found = [one for one in events if self.matches(one)]
        if self.order:
            found.sort(key=ORDERS[self.order], reverse=self.descending)
        if self.most is not None and len(found) > self.most:
            raise DataError(
                f"{len(found)} events", where="EPCIS query, maxEventCount",
                expected=f"at most {self.most}", hint="ask for less, or use eventCountLimit",
            )  # fmt: skip
        return found[: self.limit] if self.limit is not None else found


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is below 1")
    return number


def _choice(known: Mapping[str, Any]) -> Callable[[str], Any]:
    def choose(text: str) -> Any:
        if text not in known:
            raise UnknownName.among("value", text, known)
        return known[text]

    return choose


ORDERS: dict[str, Callable[[Recorded], Any]] = {
    "eventTime": lambda r: (r.event.time, r.number),
    "recordTime": lambda r: (r.record_time, r.number),
}
SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "orderBy": ("order", _choice({name: name for name in ORDERS})),
    "orderDirection": ("descending", _choice({"ASC": False, "DESC": True})),
    "eventCountLimit": ("limit", _count),
    "maxEventCount": ("most", _count),
}


def _test(name: str, values: list[str]) -> Test:
    """The test of one parameter."""
    if name in FIXED:
        return FIXED[name](values)
    for pattern, make in PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            return make(*match.groups(), values)
    raise UnknownName.among("query parameter", name, [*FIXED, *SETTINGS])


# -- what an event says ---------------------------------------------------------------------------


def _at(event: Event, path: str) -> Any:
    value: Any = event
    for part in path.split("."):
        value = getattr(value, part, None)
        if value is None:
            return None
    return value


def _epcs(event: Event, fields: Iterable[str]) -> Iterator[str]:
    for name in fields:
        value = getattr(event, name, None)
        for one in [value] if isinstance(value, str) else value or ():
            yield canonical(one if isinstance(one, str) else one.epcClass)


def _reports(event: Event, name: str) -> Iterator[Any]:
    """Values of a sensor field, of the report or of its element."""
    for metadata, report in event.sensors():
        for part in (report, metadata):
            value = getattr(part, name, None)
            if value is not None:
                yield value


# -- kinds of parameters -----------------------------------------------------------------------


def _time(path: str, compare: Callable[[int, int], bool]) -> Callable[[list[str]], Test]:
    def make(values: list[str]) -> Test:
        limit = nanoseconds_of(values[0].replace(" ", "+"))

        def test(r: Recorded) -> bool:
            if path == "recordTime":
                return compare(r.record_time, limit)
            text = _at(r.event, path)
            return text is not None and compare(nanoseconds_of(text), limit)

        return test

    return make


def _sensor_time(name: str, compare: Callable[[int, int], bool]) -> Callable[[list[str]], Test]:
    def make(values: list[str]) -> Test:
        limit = nanoseconds_of(values[0].replace(" ", "+"))
        return lambda r: any(compare(nanoseconds_of(t), limit) for t in _reports(r.event, name))

    return make


def _word(path: str, vocabulary: words.Vocabulary | None) -> Callable[[list[str]], Test]:
    """A value, or one of several, that equals one that is asked for."""

    def make(values: list[str]) -> Test:
        wanted = {vocabulary.word(v) if vocabulary else canonical(v) for v in values}

        def test(r: Recorded) -> bool:
            found = _at(r.event, path)
            several = found if isinstance(found, list) else [found]
            return any(
                (one if vocabulary or one is None else canonical(one)) in wanted for one in several
            )

        return test

    return make


def _plain(path: str) -> Callable[[list[str]], Test]:
    return lambda values: lambda r: _at(r.event, path) in values


def _identity(values: list[str]) -> Test:
    return lambda r: r.id in values or r.event.eventID in values


def _event_type(values: list[str]) -> Test:
    for value in values:
        if value not in TYPES:
            raise UnknownName.among("type of event", value, TYPES)
    return lambda r: r.event.type in values


def _match(*fields: str) -> Callable[[list[str]], Test]:
    """One of the things named, by EPC, class or pattern."""

    def make(values: list[str]) -> Test:
        whole = {canonical(v) for v in values}
        # a class (01/GTIN) stands for its instances and lots, as a pattern does
        starts = tuple(f"{v}/" for v in whole if re.fullmatch(re.escape(DOMAIN) + r"/01/\d{14}", v))
        return lambda r: any(
            epc in whole or (bool(starts) and epc.startswith(starts))
            for epc in _epcs(r.event, fields)
        )

    return make


def _exists(path: str) -> Callable[[list[str]], Test]:
    return lambda values: lambda r: bool(_at(r.event, path))


def _in_reports(name: str, vocabulary: words.Vocabulary | None) -> Callable[[list[str]], Test]:
    def make(values: list[str]) -> Test:
        wanted = {vocabulary.word(v) if vocabulary else canonical(v) for v in values}
        return lambda r: any(
            (v if vocabulary else canonical(v)) in wanted for v in _reports(r.event, name)
        )

    return make


def _text(name: str) -> Callable[[list[str]], Test]:
    return lambda values: lambda r: any(v in values for v in _reports(r.event, name))


def _boolean(values: list[str]) -> Test:
    wanted = {"true": True, "false": False}.get(values[0])
    if wanted is None:
        raise ValueError(f"{values[0]!r} is neither true nor false")
    return lambda r: any(v is wanted for v in _reports(r.event, "booleanValue"))


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "EQ": lambda a, b: abs(a - b) <= 1e-9 * max(1.0, abs(a), abs(b)),
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
}


def _measured(how: str, name: str, code: str, values: list[str]) -> Test:
    """A value of a report in a unit; values in other units of the same kind are converted."""
    unit_of(code)
    limits, compare = [float(v) for v in values], COMPARE[how]

    def test(r: Recorded) -> bool:
        for _, report in r.event.sensors():
            value = getattr(report, name)
            if value is None or report.uom is None:
                continue
            try:
                if not comparable(report.uom, code):
                    continue
                found = converted(float(value), report.uom, code)
            except GalenicError:
                continue  # a code that nobody knows equals nothing
            if any(compare(found, limit) for limit in limits):
                return True
        return False

    return test


def _rank(how: str, values: list[str]) -> Test:
    limits, compare = [float(v) for v in values], COMPARE[how]
    return lambda r: any(
        compare(float(v), limit) for v in _reports(r.event, "percRank") for limit in limits
    )


def _quantity(how: str, code: str | None, values: list[str]) -> Test:
    limits, compare = [float(v) for v in values], COMPARE[how]
    lists = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")
    return lambda r: any(
        compare(float(one.quantity), limit)
        for name in lists
        for one in getattr(r.event, name, None) or ()
        if one.quantity is not None and one.uom == code
        for limit in limits
    )


def _party(name: str, key: str, kind: str, values: list[str]) -> Test:
    vocabulary = words.TRANSACTION if key == "bizTransaction" else words.PARTY
    wanted, sort = {canonical(v) for v in values}, vocabulary.word(kind)
    return lambda r: any(
        one.type == sort and canonical(getattr(one, key)) in wanted
        for one in getattr(r.event, name, None) or ()
    )


def _extension(how: str, place: str | None, name: str, values: list[str]) -> Test:
    """A field of somebody's own, at the top of the event or in its master data."""

    def found(r: Recorded) -> Any:
        record = (
            getattr(r.event, "ilmd", None) or {} if place == "ILMD_" else r.event.model_extra or {}
        )
        spaces = r.event.namespaces
        for key, value in record.items():
            prefix, _, local = str(key).partition(":")
            full = f"{spaces.get(prefix, prefix)}{local}"
            if name in (key, full, full.replace(local, f"#{local}")):
                return value
        return None

    if how == "EXISTS":
        return lambda r: found(r) is not None
    if how == "EQ":
        return lambda r: str(found(r)) in values
    compare = COMPARE[how]

    def test(r: Recorded) -> bool:
        value = found(r)
        if value is None:
            return False
        try:
            return compare(float(value), float(values[0]))
        except (TypeError, ValueError):
            pass
        try:
            return compare(nanoseconds_of(str(value)), nanoseconds_of(values[0]))
        except GalenicError:
            return False

    return test


def _from(a: int, b: int) -> bool:
    return a >= b


def _before(a: int, b: int) -> bool:
    return a < b


VOCABULARIES = {"EQ_bizStep": words.BIZ_STEP, "EQ_disposition": words.DISPOSITION}

FIXED: dict[str, Callable[[list[str]], Test]] = {
    "eventType": _event_type,
    "GE_eventTime": _time("eventTime", _from), "LT_eventTime": _time("eventTime", _before),
    "GE_recordTime": _time("recordTime", _from), "LT_recordTime": _time("recordTime", _before),
    "EQ_action": _plain("action"),
    **{name: _word(name[3:], vocabulary) for name, vocabulary in VOCABULARIES.items()},
    "EQ_persistentDisposition_set": _word("persistentDisposition.set", words.DISPOSITION),
    "EQ_persistentDisposition_unset": _word("persistentDisposition.unset", words.DISPOSITION),
    "EQ_readPoint": _word("readPoint.id", None), "EQ_bizLocation": _word("bizLocation.id", None),
    "EQ_transformationID": _word("transformationID", None),
    "EQ_eventID": _identity,
    "MATCH_epc": _match("epcList", "childEPCs"),
    "MATCH_parentID": _match("parentID"),
    "MATCH_inputEPC": _match("inputEPCList"), "MATCH_outputEPC": _match("outputEPCList"),
    "MATCH_anyEPC": _match("epcList", "childEPCs", "parentID", "inputEPCList", "outputEPCList"),
    "MATCH_epcClass": _match("quantityList", "childQuantityList"),
    "MATCH_inputEPCClass": _match("inputQuantityList"),
    "MATCH_outputEPCClass": _match("outputQuantityList"),
    "MATCH_anyEPCClass": _match(
        "quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"
    ),
    "EXISTS_errorDeclaration": _exists("errorDeclaration"),
    "GE_errorDeclaration_Time": _time("errorDeclaration.declarationTime", _from),
    "LT_errorDeclaration_Time": _time("errorDeclaration.declarationTime", _before),
    "EQ_errorReason": _word("errorDeclaration.reason", words.REASON),
    "EQ_correctiveEventID": _word("errorDeclaration.correctiveEventIDs", None),
    "EXISTS_sensorElementList": _exists("sensorElementList"),
    "GE_time": _sensor_time("time", _from), "LT_time": _sensor_time("time", _before),
    "GE_startTime": _sensor_time("startTime", _from),
    "LT_startTime": _sensor_time("startTime", _before),
    "GE_endTime": _sensor_time("endTime", _from), "LT_endTime": _sensor_time("endTime", _before),
    "EQ_type": _in_reports("type", words.MEASUREMENT),
    "EQ_deviceID": _in_reports("deviceID", None),
    "EQ_dataProcessingMethod": _in_reports("dataProcessingMethod", None),
    "EQ_microorganism": _in_reports("microorganism", None),
    "EQ_chemicalSubstance": _in_reports("chemicalSubstance", None),
    "EQ_bizRules": _in_reports("bizRules", None),
    "EQ_uriValue": _in_reports("uriValue", None),
    "EQ_stringValue": _text("stringValue"), "EQ_hexBinaryValue": _text("hexBinaryValue"),
    "EQ_booleanValue": _boolean,
}  # fmt: skip

PATTERNS: tuple[tuple[re.Pattern[str], Callable[..., Test]], ...] = (
    (
        re.compile(
            "(EQ|GT|GE|LT|LE)_(value|minValue|maxValue|meanValue|sDev|percValue)_([A-Z0-9]{2,4})"
        ),
        _measured,
    ),
    (re.compile("(EQ|GT|GE|LT|LE)_percRank"), _rank),
    (re.compile("(EQ|GT|GE|LT|LE)_quantity(?:_([A-Z0-9]{2,4}))?"), _quantity),
    (re.compile("EQ_bizTransaction_(.+)"), partial(_party, "bizTransactionList", "bizTransaction")),
    (re.compile("EQ_source_(.+)"), partial(_party, "sourceList", "source")),
    (re.compile("EQ_destination_(.+)"), partial(_party, "destinationList", "destination")),
    (re.compile(r"(EQ|GT|GE|LT|LE|EXISTS)_(ILMD_)?([A-Za-z][^_]*[:#/].+)"), _extension),
)

"""Who an event is when it does not say: the hash of its canonical content.

The EPCIS Event Hash ID of CBV 2.0: content is written as one "pre-hash" string that does not
depend on how the event was written down (JSON or XML, order, URN or Digital Link), and hashed. The
event's own id, its record time and an error declaration are left out, so that a declaration has
the identity of the event that it declares wrong. Rules and order after the published description;
checked against the reference implementation (see the tests). Where that differs from the
description we follow the description: CURIEs are written out, true is "true", and
certificationInfo does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from galenic.clock import SECOND
from galenic.connect.epcis import vocabulary as words
from galenic.connect.epcis.event import Event, nanoseconds_of
from galenic.connect.epcis.keys import canonical

MDA = "urn:epcglobal:cbv:mda"
NAMESPACES = {"cbvmda": MDA, "gs1": words.GS1, "epcis": words.EPCIS, "cbv": words.CBV}
"""What the standard context defines; the namespace of master data as XML writes it."""

METADATA = (
    "time", "startTime", "endTime", "deviceID", "deviceMetadata", "rawData",
    "dataProcessingMethod", "bizRules",
)  # fmt: skip
REPORT = (
    "type", "exception", "deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "time",
    "microorganism", "chemicalSubstance", "value", "component", "stringValue", "booleanValue",
    "hexBinaryValue", "uriValue", "minValue", "maxValue", "meanValue", "sDev", "percRank",
    "percValue", "uom", "coordinateReferenceSystem",
)  # fmt: skip
WORDS: dict[str, words.Vocabulary] = {
    "bizStep": words.BIZ_STEP, "disposition": words.DISPOSITION, "exception": words.ALERT,
    "component": words.COMPONENT,
}  # fmt: skip
TIMES = ("eventTime", "time", "startTime", "endTime")
TEXTS = ("stringValue", "uom", "eventTimeZoneOffset", "action")


def event_hash(event: Event) -> str:
    """The Event Hash ID."""
    digest = hashlib.sha256(prehash(event).encode()).hexdigest()
    return f"ni:///sha-256;{digest}?ver=CBV2.0"


def identity(event: Event) -> str:
    """The event's own id, or its hash."""
    return event.eventID or event_hash(event)


def record_name(event: Event) -> str:
    """What tells events on record apart: a declaration is not the event that it declares wrong."""
    name, error = identity(event), event.errorDeclaration
    return name if error is None else f"error|{name}|{error.declarationTime}"


def prehash(event: Event) -> str:
    """The canonical content as one string."""
    said, spaces = event.to_dict(), {**NAMESPACES, **event.namespaces}
    steps = [f"eventType={event.type}"]
    for name, write in ORDER:
        if said.get(name) not in (None, [], {}):
            steps.append(write(name, said[name], spaces))
    if said.get("ilmd"):
        steps.append("ilmd" + _extensions(said["ilmd"], spaces, every=True))
    steps.append(_extensions(said, spaces))
    return "".join(steps)


Writer = Callable[[str, Any, Mapping[str, str]], str]


def _field(name: str, value: Any, _: Mapping[str, str]) -> str:
    return f"{name}={_value(name, value)}"


def _value(name: str, value: Any) -> str:
    """A value as it counts: times in UTC, words and keys written out, numbers without zeros."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(value)
    text = str(value).strip()
    if name in TIMES:
        return _milliseconds(text)
    if name in WORDS:
        return WORDS[name].expand(text)
    if name in TEXTS:
        return text
    return canonical(words.expanded(text))


def _number(value: float) -> str:
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)


def _milliseconds(text: str) -> str:
    whole, rest = divmod(nanoseconds_of(text), SECOND)
    stamp = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{rest // 1_000_000:03d}Z"


def _epcs(name: str, values: Iterable[str], _: Mapping[str, str]) -> str:
    return name + "".join(sorted(f"epc={_value('epc', value)}" for value in values))


def _quantities(name: str, values: Iterable[Mapping[str, Any]], spaces: Mapping[str, str]) -> str:
    order = ("epcClass", "quantity", "uom")
    return name + "".join(
        sorted("quantityElement" + _ordered(value, order, spaces) for value in values)
    )


def _ordered(record: Mapping[str, Any], order: Iterable[str], spaces: Mapping[str, str]) -> str:
    """Fields in a given order, then extensions."""
    given = [name for name in order if record.get(name) is not None]
    return "".join(_field(name, record[name], spaces) for name in given) + _extensions(
        record, spaces
    )


def _typed(vocabulary: words.Vocabulary, key: str) -> Writer:
    """Lists of something with a type, which goes before it."""

    def write(name: str, values: Iterable[Mapping[str, Any]], _: Mapping[str, str]) -> str:
        def one(value: Mapping[str, Any]) -> str:
            kind = value.get("type")
            first = f"type={vocabulary.expand(kind)}" if kind else ""
            return f"{first}{key}={_value(key, value[key])}"

        return name + "".join(sorted(map(one, values)))

    return write


def _place(name: str, value: Mapping[str, Any], spaces: Mapping[str, str]) -> str:
    return name + _ordered(value, ("id",), spaces)


def _persistent(name: str, value: Mapping[str, Any], _: Mapping[str, str]) -> str:
    expand = words.DISPOSITION.expand
    return name + "".join(
        part
        for key in ("set", "unset")
        for part in sorted(f"{key}={expand(one)}" for one in value.get(key) or ())
    )


def _sensors(name: str, values: Iterable[Mapping[str, Any]], spaces: Mapping[str, str]) -> str:
    return name + "".join(sorted(_sensor(value, spaces) for value in values))


def _sensor(element: Mapping[str, Any], spaces: Mapping[str, str]) -> str:
    metadata = element.get("sensorMetadata")
    first = "sensorMetadata" + _ordered(metadata, METADATA, spaces) if metadata else ""
    reports = sorted(_report(report, spaces) for report in element["sensorReport"])
    return "sensorElement" + first + "".join(reports) + _extensions(element, spaces)


def _report(report: Mapping[str, Any], spaces: Mapping[str, str]) -> str:
    kind = f"type={words.MEASUREMENT.expand(report['type'])}"
    return f"sensorReport{kind}" + _ordered(report, REPORT[1:], spaces)


def _extensions(record: Mapping[str, Any], spaces: Mapping[str, str], every: bool = False) -> str:
    """Extension fields, by full name, sorted; nested ones likewise."""
    found = [
        text
        for name, value in record.items()
        if (every or ":" in name) and name != "@context"
        for text in _extension(name, value, spaces)
    ]
    return "".join(sorted(found))


def _extension(name: str, value: Any, spaces: Mapping[str, str]) -> list[str]:
    full = _full(name, spaces)
    if isinstance(value, list):
        return [text for one in value for text in _extension(name, one, spaces)]
    if isinstance(value, Mapping):
        return [full + _extensions(value, spaces, every=True)]
    if value is None:
        return [full]
    return [f"{full}={_loose(value)}"]


def _loose(value: Any) -> str:
    """A value of unknown type: XML knows no numbers, so a text that is one counts as one."""
    if isinstance(value, str):
        try:
            return _number(float(value))
        except (ValueError, OverflowError):
            pass
    return _value("", value)


def _full(name: str, spaces: Mapping[str, str]) -> str:
    prefix, mark, local = name.partition(":")
    if not mark:
        return name
    return f"{{{spaces[prefix]}}}{local}" if prefix in spaces else name


ORDER: tuple[tuple[str, Writer], ...] = (
    ("eventTime", _field),
    ("eventTimeZoneOffset", _field),
    ("epcList", _epcs),
    ("parentID", _field),
    ("inputEPCList", _epcs),
    ("childEPCs", _epcs),
    ("quantityList", _quantities),
    ("childQuantityList", _quantities),
    ("inputQuantityList", _quantities),
    ("outputEPCList", _epcs),
    ("outputQuantityList", _quantities),
    ("action", _field),
    ("transformationID", _field),
    ("bizStep", _field),
    ("disposition", _field),
    ("persistentDisposition", _persistent),
    ("readPoint", _place),
    ("bizLocation", _place),
    ("bizTransactionList", _typed(words.TRANSACTION, "bizTransaction")),
    ("sourceList", _typed(words.PARTY, "source")),
    ("destinationList", _typed(words.PARTY, "destination")),
    ("sensorElementList", _sensors),
)

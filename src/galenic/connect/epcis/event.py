"""EPCIS 2.0 events, checked against what the standard demands of each of the five types.

Written after the EPCIS 2.0 JSON schema of GS1 (read, not copied). Standard words are kept bare
("in_transit"), times as they were written; names with a colon are extensions and are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    ValidationError,
    model_validator,
)

from galenic.connect.epcis import vocabulary as words
from galenic.errors import DataError, GalenicError, UnknownName

EPOCH_DIGITS = 9
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
OFFSET = re.compile(r"[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00)")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+")
UOM = re.compile(r"[A-Z0-9]{2,3}")


def nanoseconds_of(text: str) -> int:
    """Nanoseconds of an XML dateTime with zone; all digits of the second count.

    Examples
    --------
    >>> nanoseconds_of("1970-01-01T01:00:00.5+01:00")
    500000000
    """
    from galenic.clock import from_iso

    match = STAMP.fullmatch(text.strip())
    if match is None:
        raise DataError(f"{text!r} is not a time", expected="as 2026-01-31T08:00:00.000Z")
    whole, fraction, zone = match.groups()
    digits = f"{fraction or '':0<{EPOCH_DIGITS}}"[:EPOCH_DIGITS]
    return from_iso(whole + zone.upper().replace("Z", "+00:00")) + int(digits)


def _time(text: str) -> str:
    try:
        nanoseconds_of(text)
    except GalenicError as error:
        raise ValueError(f"{error.found}, expected a time as 2026-01-31T08:00:00.000Z") from error
    return text


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is not {what}")
        return text

    return AfterValidator(check)


def _word(vocabulary: words.Vocabulary) -> AfterValidator:
    def check(text: str) -> str:
        try:
            return vocabulary.word(text)
        except UnknownName as error:
            raise ValueError(f"{error.found}; {error.hint}".rstrip("; ")) from error

    return AfterValidator(check)


Time = Annotated[str, AfterValidator(_time)]
Uri = Annotated[str, _matching(URI, "a URI")]
Offset = Annotated[str, _matching(OFFSET, "an offset as +01:00")]
Uom = Annotated[str, _matching(UOM, "a unit code")]
LARGEST = 10**15
Number = Annotated[int, Field(ge=-LARGEST, le=LARGEST)] | FiniteFloat
Action = Literal["ADD", "OBSERVE", "DELETE"]
BizStep = Annotated[str, _word(words.BIZ_STEP)]
Disposition = Annotated[str, _word(words.DISPOSITION)]


class Part(BaseModel):
    """A piece of an event; unknown names are refused, extensions (with a colon) where allowed."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    extensible: ClassVar[bool] = False

    @model_validator(mode="after")
    def _refuse_unknown(self) -> Self:
        for name in self.model_extra or ():
            if not (type(self).extensible and ":" in name):
                known = [field.alias or key for key, field in type(self).model_fields.items()]
                error = UnknownName.among("field", name, known)
                raise ValueError(f"{error.found}; {error.hint}".rstrip("; "))
        return self

    def to_dict(self) -> dict[str, Any]:
        """As JSON, what was not given left out."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class Quantity(Part):
    """So much of a class (``epcClass``); a count of items where there is no ``uom``."""

    epcClass: Uri
    quantity: Number | None = None
    uom: Uom | None = None


class Place(Part):
    """A read point or business location."""

    extensible = True
    id: Uri


class Transaction(Part):
    """A business transaction, as a purchase order."""

    type: Annotated[str, _word(words.TRANSACTION)] | None = None
    bizTransaction: Uri


class Source(Part):
    """Where something is transferred from."""

    type: Annotated[str, _word(words.PARTY)]
    source: Uri


class Destination(Part):
    """Where something is transferred to."""

    type: Annotated[str, _word(words.PARTY)]
    destination: Uri


class Persistent(Part):
    """Conditions that hold until they are unset."""

    set: list[Disposition] | None = Field(None, min_length=1)
    unset: list[Disposition] | None = Field(None, min_length=1)


class ErrorDeclaration(Part):
    """That an earlier event, the same but for this, is wrong."""

    extensible = True
    declarationTime: Time
    reason: Annotated[str, _word(words.REASON)] | None = None
    correctiveEventIDs: list[Uri] | None = None


class SensorMetadata(Part):
    """What holds for all reports of an element."""

    extensible = True
    time: Time | None = None
    startTime: Time | None = None
    endTime: Time | None = None
    deviceID: Uri | None = None
    deviceMetadata: Uri | None = None
    rawData: Uri | None = None
    dataProcessingMethod: Uri | None = None
    bizRules: Uri | None = None


class SensorReport(Part):
    """One observed property."""

    extensible = True
    type: Annotated[str, _word(words.MEASUREMENT)]
    exception: Annotated[str, _word(words.ALERT)] | None = None
    deviceID: Uri | None = None
    deviceMetadata: Uri | None = None
    rawData: Uri | None = None
    dataProcessingMethod: Uri | None = None
    time: Time | None = None
    microorganism: Uri | None = None
    chemicalSubstance: Uri | None = None
    value: Number | None = None
    component: Annotated[str, _word(words.COMPONENT)] | None = None
    stringValue: str | None = None
    booleanValue: StrictBool | None = None
    hexBinaryValue: Annotated[str, _matching(re.compile("[0-9A-Fa-f]+"), "hexadecimal")] | None = (
        None
    )
    uriValue: Uri | None = None
    minValue: Number | None = None
    maxValue: Number | None = None
    meanValue: Number | None = None
    sDev: Number | None = None
    percRank: Number | None = None
    percValue: Number | None = None
    uom: str | None = None
    coordinateReferenceSystem: Uri | None = None


class SensorElement(Part):
    """Reports with what they have in common."""

    extensible = True
    sensorMetadata: SensorMetadata | None = None
    sensorReport: list[SensorReport] = Field(min_length=1)


class Event(Part):
    """What all events have."""

    extensible = True
    context: Any = Field(None, alias="@context")
    type: str
    eventTime: Time
    eventTimeZoneOffset: Offset
    recordTime: Time | None = None
    eventID: Uri | None = None
    certificationInfo: Uri | list[Uri] | None = None
    errorDeclaration: ErrorDeclaration | None = None
    bizStep: BizStep | None = None
    disposition: Disposition | None = None
    persistentDisposition: Persistent | None = None
    readPoint: Place | None = None
    bizLocation: Place | None = None
    bizTransactionList: list[Transaction] | None = None
    sourceList: list[Source] | None = None
    destinationList: list[Destination] | None = None
    sensorElementList: list[SensorElement] | None = None

    @property
    def time(self) -> int:
        """When it happened [ns]."""
        return nanoseconds_of(self.eventTime)

    @property
    def namespaces(self) -> dict[str, str]:
        """Prefixes of extensions that its context defines."""
        return prefixes(self.context)

    def sensors(self) -> Iterator[tuple[SensorMetadata, SensorReport]]:
        """Every report with what holds for its element."""
        for element in self.sensorElementList or ():
            for report in element.sensorReport:
                yield element.sensorMetadata or SensorMetadata(), report


def _need(what: bool, words: str) -> None:
    if not what:
        raise ValueError(words)


class ObjectEvent(Event):
    """Something happened to objects: they began (ADD), were seen (OBSERVE), ended (DELETE)."""

    type: Literal["ObjectEvent"]
    action: Action
    epcList: list[Uri] | None = None
    quantityList: list[Quantity] | None = None
    ilmd: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        seen = self.epcList is not None or bool(self.quantityList)
        sensed = bool(self.sensorElementList) and self.readPoint is not None
        _need(
            seen or sensed, "names no objects: epcList, quantityList, or sensors with a readPoint"
        )
        _need(self.ilmd is None or self.action == "ADD", "ilmd belongs to action ADD only")
        return self


class AggregationEvent(Event):
    """Children were put into a parent (ADD) or taken out (DELETE; without children, all)."""

    type: Literal["AggregationEvent"]
    action: Action
    parentID: Uri | None = None
    childEPCs: list[Uri] | None = None
    childQuantityList: list[Quantity] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = bool(self.childEPCs) or bool(self.childQuantityList)
        _need(named or self.action == "DELETE", "names no children")
        _need(self.action == "OBSERVE" or self.parentID is not None, "names no parentID")
        return self


class AssociationEvent(AggregationEvent):
    """Children were joined to a parent for good, as a sensor to a reusable box."""

    type: Literal["AssociationEvent"]  # type: ignore[assignment]
    parentID: Uri


class TransactionEvent(Event):
    """Objects were linked to business transactions."""

    type: Literal["TransactionEvent"]
    action: Action
    bizTransactionList: list[Transaction] = Field(min_length=1)
    parentID: Uri | None = None
    epcList: list[Uri] | None = None
    quantityList: list[Quantity] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = self.epcList is not None or bool(self.quantityList)
        _need(named or self.action == "DELETE", "names no objects: epcList or quantityList")
        return self


class TransformationEvent(Event):
    """Inputs were used up and outputs made of them."""

    type: Literal["TransformationEvent"]
    inputEPCList: list[Uri] | None = None
    inputQuantityList: list[Quantity] | None = None
    outputEPCList: list[Uri] | None = None
    outputQuantityList: list[Quantity] | None = None
    transformationID: Uri | None = None
    ilmd: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        used = bool(self.inputEPCList) or bool(self.inputQuantityList)
        made = bool(self.outputEPCList) or bool(self.outputQuantityList)
        _need(
            (used and made) or (self.transformationID is not None and (used or made)),
            "needs inputs and outputs, or one of them and a transformationID",
        )
        return self


TYPES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        ObjectEvent, AggregationEvent, TransactionEvent, TransformationEvent, AssociationEvent,
    )
}  # fmt: skip


def prefixes(context: Any) -> dict[str, str]:
    """Prefixes of extensions that a JSON-LD context defines."""
    found: dict[str, str] = {}
    for one in context if isinstance(context, list) else [context]:
        if isinstance(one, Mapping):
            found |= {str(k): v for k, v in one.items() if isinstance(v, str)}
    return found


def event_of(record: Any, where: str = "event") -> Event:
    """The event that a JSON object says, or a DataError that names the field and what is wrong."""
    if not isinstance(record, Mapping):
        raise DataError(f"a {type(record).__name__}", where=where, expected="a JSON object")
    kind = record.get("type")
    if kind not in TYPES:
        raise UnknownName.among("type of event", str(kind), TYPES, where=where)
    try:
        return TYPES[kind].model_validate(dict(record))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DataError(
            f"{first['msg'].removeprefix('Value error, ')}{more}",
            where=f"{where}, {kind}{', ' + place if place else ''}",
            expected="what EPCIS 2.0 allows there",
        ) from error

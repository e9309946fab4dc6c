"""Sensor reports of EPCIS events as samples: value, time, unit and quality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from galenic.connect.connector import Value
from galenic.connect.epcis.event import Event, SensorMetadata, SensorReport, nanoseconds_of
from galenic.connect.epcis.keys import canonical
from galenic.connect.epcis.uom import unit_of
from galenic.errors import DataError, GalenicError
from galenic.signals import Quality, Sample

BAD_DEVICE_FAILURE = 0x808B0000
ERROR = "ERROR_CONDITION"
FIELDS = {
    "value": "", "stringValue": "", "booleanValue": "", "hexBinaryValue": "", "uriValue": "",
    "minValue": "min", "maxValue": "max", "meanValue": "mean", "sDev": "sd", "percValue": "perc",
    "exception": "alert",
}  # fmt: skip
"""Fields of a report that carry a value, and what is appended to the name of its tag."""

COUNTS = ("Count", "Dimensionless")
DIFFERENCES = {"degC": "delta_degC", "degF": "delta_degF"}


@dataclass(frozen=True)
class Reading:
    """One value of a report, or why it cannot be used; ``tag`` is its default name.

    A default name is ``device/type``, with ``/min``, ``/max``, ``/mean``, ``/sd``, ``/perc`` and
    ``/alert``; component and substance stand before these. Where no device is named it is the read
    point, else the object.
    """

    tag: str
    device: str
    type: str
    field: str
    sample: Sample | None
    reason: str = ""


def readings(event: Event, received: int) -> Iterator[Reading]:
    """Every value that the sensors of an event report.

    The key of a sample is what it says (tag, time, value), so that a report that comes again in
    another event is known as the same.
    """
    for metadata, report in event.sensors():
        for field, suffix in FIELDS.items():
            value = getattr(report, field)
            if value is None:
                continue
            device = _device(event, metadata, report)
            tag = "/".join(part for part in (device, report.type, *_about(report), suffix) if part)
            yield _reading(tag, device, field, value, event, metadata, report, received)


def _reading(
    tag: str,
    device: str,
    field: str,
    value: Value,
    event: Event,
    metadata: SensorMetadata,
    report: SensorReport,
    received: int,
) -> Reading:
    try:
        unit = _unit(field, report)
    except GalenicError as error:
        return Reading(tag, device, report.type, field, None, f"{error.found}; {error.hint}")
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    broken = report.exception == ERROR and field != "exception"
    quality, status = (Quality.BAD, BAD_DEVICE_FAILURE) if broken else (Quality.GOOD, 0)
    time = _time(event, metadata, report)
    sample = Sample(tag, value, unit, time, received, quality, status)
    return Reading(tag, device, report.type, field, sample)


def _device(event: Event, metadata: SensorMetadata, report: SensorReport) -> str:
    named = report.deviceID or metadata.deviceID
    if named is None and event.readPoint is not None:
        named = event.readPoint.id
    if named is None:
        objects = getattr(event, "epcList", None) or [getattr(event, "parentID", None)]
        named = objects[0] or event.type
    return canonical(named)


def _about(report: SensorReport) -> Iterator[str]:
    """What else tells reports of one type apart."""
    yield report.component or ""
    for thing in (report.chemicalSubstance, report.microorganism):
        yield thing.rstrip("/").rpartition("/")[2].rpartition(":")[2] if thing else ""


def _time(event: Event, metadata: SensorMetadata, report: SensorReport) -> int:
    """When it was true: the report's time, that of its element, the end of its interval."""
    told = report.time or metadata.time or metadata.endTime
    return nanoseconds_of(told) if told else event.time


def _unit(field: str, report: SensorReport) -> str:
    if field in ("exception", "stringValue", "booleanValue", "hexBinaryValue", "uriValue"):
        return ""
    if report.uom is None:
        if report.type in COUNTS:
            return "1"
        raise DataError(f"a {report.type} without uom", hint="its unit is not guessed")
    unit = unit_of(report.uom)
    return DIFFERENCES.get(unit, unit) if field == "sDev" else unit

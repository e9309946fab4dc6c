"""Between Sparkplug's metric and galenic's Sample: data types, quality, times."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from galenic.clock import to_iso
from galenic.connect.connector import TagInfo, Value, clean_value
from galenic.connect.mqtt.payload import VALUE, Metric
from galenic.errors import DataError
from galenic.signals import Quality, Sample

MILLISECOND = 1_000_000
LAST = ((1 << 63) - 1) // MILLISECOND - 1  # ms; times are int64 ns


@dataclass(frozen=True)
class DataType:
    """A Sparkplug data type: its code, type of tag, field, and bits of an integer (negative:
    signed); ``item`` is the layout of one element of an array in `struct`'s letters.
    """

    code: int
    name: str
    type: str = ""
    field: str = ""
    bits: int = 0
    item: str = ""


_SCALARS = (
    DataType(1, "Int8", "int", "int_value", -8),
    DataType(2, "Int16", "int", "int_value", -16),
    DataType(3, "Int32", "int", "int_value", -32),
    DataType(4, "Int64", "int", "long_value", -64),
    DataType(5, "UInt8", "int", "int_value", 8),
    DataType(6, "UInt16", "int", "int_value", 16),
    DataType(7, "UInt32", "int", "int_value", 32),
    DataType(8, "UInt64", "int", "long_value", 64),
    DataType(9, "Float", "float", "float_value"),
    DataType(10, "Double", "float", "double_value"),
    DataType(11, "Boolean", "bool", "boolean_value"),
    DataType(12, "String", "str", "string_value"),
    DataType(13, "DateTime", "str", "long_value", 64),
    DataType(14, "Text", "str", "string_value"),
    DataType(15, "UUID", "str", "string_value"),
)
_REFUSED = (
    DataType(16, "DataSet"),
    DataType(17, "Bytes"),
    DataType(18, "File"),
    DataType(19, "Template"),
)
_ARRAYS = (
    DataType(22, "Int8Array", "int", "bytes_value", item="b"),
    DataType(23, "Int16Array", "int", "bytes_value", item="h"),
    DataType(24, "Int32Array", "int", "bytes_value", item="i"),
    DataType(25, "Int64Array", "int", "bytes_value", item="q"),
    DataType(26, "UInt8Array", "int", "bytes_value", item="B"),
    DataType(27, "UInt16Array", "int", "bytes_value", item="H"),
    DataType(28, "UInt32Array", "int", "bytes_value", item="I"),
    DataType(29, "UInt64Array", "int", "bytes_value", item="Q"),
    DataType(30, "FloatArray", "float", "bytes_value", item="f"),
    DataType(31, "DoubleArray", "float", "bytes_value", item="d"),
    DataType(32, "BooleanArray", "bool", "bytes_value", item="?"),
    DataType(33, "StringArray", "str", "bytes_value", item="s"),
    DataType(34, "DateTimeArray", "str", "bytes_value", item="t"),
)
DATA_TYPES = {each.code: each for each in (*_SCALARS, *_REFUSED, *_ARRAYS)}
DATE_TIMES = (13, 34)
TYPE_OF_TAG = {"float": 10, "int": 4, "bool": 11, "str": 12}
BOOLEAN, STRING, INT32, INT64 = 11, 12, 3, 4

# Values of the property Quality (Sparkplug 3.0, 6.4.14) beside the OPC UA codes they stand for.
# Many nodes send OPC DA qualities, whose bits 6 and 7 say the severity.
QUALITY_GOOD, QUALITY_STALE, QUALITY_BAD = 192, 500, 0
BAD = 0x80000000
UNCERTAIN = 0x40000000
BAD_NO_COMMUNICATION = 0x80310000

# Our own properties, so that nothing of a sample is lost between two of our ends; others skip them.
NANOSECONDS = "galenic/ns"
STATUS = "galenic/status"
SEVERITY = "galenic/quality"
KEY = "galenic/key"
REFUSED = "galenic/refused"
WRITABLE = "galenic/writable"
UNIT = "engUnit"
DESCRIPTION = "documentation"
QUALITY = "Quality"
_UNITS = (UNIT, "EngUnit", "Engineering Units", "engineeringUnits", "units", "unit")


def data_type(code: int) -> DataType:
    """The data type of ``code``; an unknown one has no type of tag."""
    return DATA_TYPES.get(code) or DataType(code, f"type {code}")


def value_of(metric: Any, kind: DataType) -> Value | tuple[Value, ...] | None:
    """What ``metric`` holds: a scalar, the elements of an array, or None for null.

    DataError where the value is not one of ``kind``.
    """
    if metric.is_null:
        return None
    held = metric.WhichOneof(VALUE)
    if held != kind.field or not held:
        raise DataError(f"holds {held or 'no value'}", expected=f"a {kind.name}")
    raw = getattr(metric, kind.field)
    if kind.item:
        return _elements(raw, kind)
    return _scalar(raw, kind)


def _scalar(raw: Any, kind: DataType) -> Value:
    if kind.code in DATE_TIMES:
        return _date_time(raw)
    if kind.type == "int":
        return _integer(raw, kind)
    value: Value = raw
    return value


def _integer(raw: int, kind: DataType) -> int:
    """Undo two's complement; small signed integers come in 8, 16 or 32 bits of the field."""
    size = abs(kind.bits)
    width = 64 if kind.field == "long_value" else 32
    if kind.bits < 0:
        if raw >> (width - 1):
            raw -= 1 << width
        elif raw >> size == 0 and raw >> (size - 1):
            raw -= 1 << size
    lowest, beyond = (-(1 << size - 1), 1 << size - 1) if kind.bits < 0 else (0, 1 << size)
    if not lowest <= raw < beyond:
        raise DataError(f"{raw} does not fit", expected=f"a value of {kind.name}")
    return raw


def _date_time(ms: int) -> str:
    try:
        return to_iso(ms * MILLISECOND)
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(f"{ms} ms is no date", expected="ms since 1970") from error


def _elements(raw: bytes, kind: DataType) -> tuple[Value, ...]:
    """Elements of an array (Sparkplug 3.0, 6.4.16): packed little-endian; bits from the highest,
    after a count; strings each closed by a zero byte.
    """
    try:
        if kind.item == "s":
            parts = raw.split(b"\0")
            if parts.pop():
                raise DataError("the last string is not closed", expected=f"a {kind.name}")
            return tuple(part.decode() for part in parts)
        if kind.item == "?":
            (count,) = struct.unpack_from("<I", raw)
            if len(raw) != 4 + (count + 7) // 8:
                raise DataError(f"{len(raw)} bytes for {count} bits", expected=f"a {kind.name}")
            return tuple(bool(raw[4 + i // 8] >> (7 - i % 8) & 1) for i in range(count))
        letter = "Q" if kind.item == "t" else kind.item
        size = struct.calcsize(f"<{letter}")
        numbers = struct.unpack(f"<{len(raw) // size}{letter}", raw)
    except (struct.error, UnicodeDecodeError) as error:
        raise DataError(f"{len(raw)} bytes", expected=f"a {kind.name}") from error
    return tuple(_date_time(n) for n in numbers) if kind.item == "t" else numbers


def set_value(metric: Any, value: Value | None, kind: DataType) -> None:
    """Put ``value`` into ``metric``; DataError where ``kind`` cannot hold it."""
    if value is None:
        metric.is_null = True
        return
    if kind.item or kind.code in DATE_TIMES or not kind.type:
        raise _unfit(value, kind)
    try:
        if kind.type == "int":
            size = abs(kind.bits)
            number = int(value)
            lowest, beyond = (-(1 << size - 1), 1 << size - 1) if kind.bits < 0 else (0, 1 << size)
            if number != value or not lowest <= number < beyond:
                raise _unfit(value, kind)
            value = number % (1 << (64 if kind.field == "long_value" else 32))
        if kind.name == "Float" and math.isinf(struct.unpack("f", struct.pack("f", value))[0]):
            raise _unfit(value, kind)
        setattr(metric, kind.field, value)
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise _unfit(value, kind) from error


def _unfit(value: Value, kind: DataType) -> DataError:
    return DataError(f"{value!r} cannot be sent", expected=f"a value of {kind.name}")


def properties_of(metric: Any) -> dict[str, Value | None]:
    """The scalar properties of ``metric`` by key; signed ones as such."""
    if not metric.HasField("properties"):
        return {}
    given = metric.properties
    return {key: _property(value) for key, value in zip(given.keys, given.values, strict=False)}


def _property(value: Any) -> Value | None:
    field = None if value.is_null else value.WhichOneof(VALUE)
    if field is None:
        return None
    raw: Value = getattr(value, field)
    if field in ("int_value", "long_value"):
        kind = data_type(value.type)
        return _integer(int(raw), kind) if kind.type == "int" else raw
    return raw


def set_properties(metric: Any, properties: Mapping[str, Value]) -> None:
    """Add ``properties`` in their order: Int32 or Int64, Boolean, or String."""
    for key, value in properties.items():
        if isinstance(value, bool):
            code = BOOLEAN
        elif isinstance(value, str):
            code = STRING
        else:
            code = INT32 if -(1 << 31) <= value < 1 << 31 else INT64
        metric.properties.keys.append(key)
        set_value(metric.properties.values.add(type=code), value, data_type(code))


def status_of(properties: Mapping[str, Value | None]) -> int:
    """OPC UA status code of the properties ``Quality`` and, more exactly, our own."""
    exact = properties.get(STATUS)
    if isinstance(exact, int) and not isinstance(exact, bool):
        return exact & 0xFFFFFFFF
    quality = properties.get(QUALITY)
    if quality is None or isinstance(quality, (bool, str)):
        return 0
    if quality == QUALITY_STALE:
        return BAD_NO_COMMUNICATION
    severity = int(quality) >> 6 if 0 <= quality < 256 else 0
    return {3: 0, 1: UNCERTAIN}.get(severity, BAD)


def unit_of(properties: Mapping[str, Value | None]) -> str:
    """Unit told by the node; Sparkplug names no property for it, so the usual ones are tried."""
    found = (properties.get(name) for name in _UNITS)
    return next((unit for unit in found if isinstance(unit, str)), "")


def to_sample(
    metric: Any,
    info: TagInfo,
    value: Value | None,
    payload_time: int,
    received: int,
    properties: Mapping[str, Value | None],
) -> Sample:
    """The sample that ``metric`` is.

    Parameters
    ----------
    metric
        With its own time stamp, or none.
    info : TagInfo
        Of the tag.
    value : float, bool, str or None
        As `value_of` gave it.
    payload_time : int [ms]
        Of the payload, for metrics without a time stamp; 0 if it has none either.
    received : int [ns]
        When it came.
    properties : mapping
        As `properties_of` gave them.

    Raises
    ------
    DataError
        Where the time is beyond the year 2262, as where it was given in ns.
    """
    status = status_of(properties)
    clean, usable = clean_value(value)
    quality = max(_severity(properties, status), Quality.GOOD if usable else Quality.BAD)
    time = metric.timestamp if metric.HasField("timestamp") else payload_time
    if time > LAST:
        raise DataError(f"has time {time} ms", expected="a time before the year 2262")
    rest = properties.get(NANOSECONDS)
    if time:
        time = time * MILLISECOND + (
            rest if isinstance(rest, int) and 0 < rest < MILLISECOND else 0
        )
    else:
        time, quality = received, max(quality, Quality.UNCERTAIN)
    key = properties.get(KEY)
    return Sample(
        info.tag, clean, info.unit, time, received, quality, status,
        key if isinstance(key, str) else "", historical=metric.is_historical,
    )  # fmt: skip


def _severity(properties: Mapping[str, Value | None], status: int) -> Quality:
    told = properties.get(SEVERITY)
    if isinstance(told, int) and told in (0, 1, 2):
        return Quality(told)
    return Quality.of_status(status)


def to_metric(sample: Sample, code: int, *, historical: bool = False) -> Any:
    """The metric that says what ``sample`` says, without name, alias and data type.

    Qualities that Sparkplug does not know are sent as bad, with the exact code beside it.
    """
    if sample.source_time < 0:
        raise DataError(f"source time {sample.source_time} ns", expected="a time after 1970")
    metric = Metric(timestamp=sample.source_time // MILLISECOND)
    if historical or sample.historical:
        metric.is_historical = True
    properties: dict[str, Value] = {}
    if sample.quality != Quality.GOOD:
        stale = sample.status == BAD_NO_COMMUNICATION
        properties[QUALITY] = QUALITY_STALE if stale else QUALITY_BAD
    if status_of(properties) != sample.status:
        properties[STATUS] = sample.status
    if Quality.of_status(sample.status) != sample.quality:
        properties[SEVERITY] = int(sample.quality)
    rest = sample.source_time % MILLISECOND
    if rest:
        properties[NANOSECONDS] = rest
    if sample.source_key:
        properties[KEY] = sample.source_key
    if properties:
        set_properties(metric, properties)
    set_value(metric, sample.value, data_type(code))
    return metric

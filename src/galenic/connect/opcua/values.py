"""Between OPC UA's DataValue and galenic's Sample."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from asyncua import ua

from galenic.connect.connector import TagInfo, Value, clean_value
from galenic.errors import DataError
from galenic.signals import Quality, Sample

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

VARIANTS = {
    "float": ua.VariantType.Double,
    "int": ua.VariantType.UInt32,
    "bool": ua.VariantType.Boolean,
    "str": ua.VariantType.String,
}
TYPES = {
    ua.VariantType.Boolean: "bool",
    ua.VariantType.String: "str",
    ua.VariantType.Float: "float",
    ua.VariantType.Double: "float",
    **{
        getattr(ua.VariantType, name): "int"
        for name in ("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")
    },
}

# A data value whose info type (bits 10-11) is 01 has its overflow flag in bit 7
# (OPC 10000-4, table "DataValue InfoBits").
INFO_TYPE_MASK = 0x0C00
INFO_TYPE_DATA_VALUE = 0x0400
OVERFLOW = 0x0080

# Common codes of UNECE Recommendation 20 for EUInformation.UnitId (OPC 10000-8, 5.6.4.3).
UNECE = {
    "kg/h": "E93", "kg": "KGM", "g": "GRM", "mg": "MGM", "mm": "MMT", "m": "MTR", "kN": "B47",
    "N": "NEW", "%": "P1", "rpm": "RPM", "degC": "CEL", "K": "KEL", "s": "SEC", "min": "MIN",
    "h": "HUR", "L": "LTR", "mL": "MLT", "bar": "BAR", "Pa": "PAL", "kW": "KWT", "MPa": "MPA",
}  # fmt: skip


def to_datetime(ns: int) -> datetime:
    """UTC time stamp of ``ns``; what is below a microsecond is lost."""
    return EPOCH + timedelta(microseconds=ns // 1000)


def to_nanoseconds(stamp: datetime, picoseconds: int | None = None) -> int:
    """Nanoseconds since 1970 of a time stamp and its picosecond field (in units of 10 ps)."""
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=UTC)
    return (stamp - EPOCH) // MICROSECOND * 1000 + (picoseconds or 0) // 100


def status_name(code: int) -> str:
    """Name and hexadecimal value of a status code, as ``BadNotWritable 0x803B0000``."""
    return f"{ua.StatusCode(code & 0xFFFF0000).name} 0x{code:08X}"


def has_overflowed(code: int) -> bool:
    """Whether the status says that the server's queue lost values before this one."""
    return code & INFO_TYPE_MASK == INFO_TYPE_DATA_VALUE and bool(code & OVERFLOW)


def to_sample(info: TagInfo, data: ua.DataValue, received: int, historical: bool = False) -> Sample:
    """The sample that ``data`` is; without a source time it is uncertain at best."""
    code = 0 if data.StatusCode is None else int(data.StatusCode.value)
    value, usable = clean_value(data.Value.Value if data.Value is not None else None)
    quality = max(Quality.of_status(code), Quality.GOOD if usable else Quality.BAD)
    if data.SourceTimestamp is not None:
        time = to_nanoseconds(data.SourceTimestamp, data.SourcePicoseconds)
    else:
        quality = max(quality, Quality.UNCERTAIN)
        time = received
        if data.ServerTimestamp is not None:
            time = to_nanoseconds(data.ServerTimestamp, data.ServerPicoseconds)
    return Sample(info.tag, value, info.unit, time, received, quality, code, historical=historical)


def to_variant(value: Value, kind: ua.VariantType) -> ua.Variant:
    """``value`` as a variant of ``kind``; DataError where that type cannot hold it."""
    variant = ua.Variant(value, kind)
    try:
        ua.ua_binary.variant_to_binary(variant)
    except (struct.error, OverflowError, ua.UaError) as error:
        raise DataError(f"{value!r} cannot be sent", expected=f"a value of {kind.name}") from error
    return variant


def to_data_value(sample: Sample, variant: ua.VariantType) -> ua.DataValue:
    """The data value that says what ``sample`` says."""
    value: Value | None = sample.value
    kind = ua.VariantType.Null if value is None else variant
    return ua.DataValue(
        Value=ua.Variant(value, kind),
        StatusCode=ua.StatusCode(sample.status or sample.quality << 30),
        SourceTimestamp=to_datetime(sample.source_time),
        ServerTimestamp=to_datetime(sample.received_time),
    )


def engineering_unit(unit: str) -> ua.EUInformation:
    """EUInformation of a unit; its display name is the unit as text."""
    code = UNECE.get(unit)
    known = "http://www.opcfoundation.org/UA/units/un/cefact"
    return ua.EUInformation(
        NamespaceUri=known if code else "urn:galenic:units",
        UnitId=int.from_bytes(code.encode(), "big") if code else -1,
        DisplayName=ua.LocalizedText(unit),
        Description=ua.LocalizedText(unit),
    )

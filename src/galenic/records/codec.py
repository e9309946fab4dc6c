"""Canonical bytes of signals and facts, and the way back.

The bytes are `galenic.identity.canonical_json`. What JSON cannot name is written so that it comes
back unchanged: a float that is not finite becomes ``{"$float": "nan"}``. A raw sample must be
kept whatever it says, so nothing a source can send is refused here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from galenic.errors import DataError
from galenic.identity import canonical_json
from galenic.signals import Sample, Signal, signal_from_dict

NOT_FINITE = "$float"

_quoted = json.encoder.encode_basestring


def canonical(value: Any) -> bytes:
    """Canonical JSON of ``value``, with mappings, arrays, dataclasses and NaN allowed."""
    try:
        return canonical_json(value)
    except (TypeError, ValueError):
        return canonical_json(plain(value))


def plain(value: Any) -> Any:
    """The same facts in dict, list, str, int, float, bool and None."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {NOT_FINITE: str(float(value))}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    raise DataError(
        f"a {type(value).__name__} cannot be recorded",
        expected="JSON values, mappings, dataclasses or arrays",
        hint="store bytes as an artefact and record its hash",
    )


def restore(data: bytes | str) -> Any:
    """The value that `canonical` wrote."""
    return json.loads(data, object_hook=_revive)


def encode(signal: Signal) -> bytes:
    """Canonical bytes of a signal."""
    if type(signal) is Sample and type(signal.value) is float and math.isfinite(signal.value):
        try:
            return _encode_number(signal).encode()
        except UnicodeEncodeError:
            pass
    return canonical({"kind": signal.kind, **vars(signal)})


def _encode_number(s: Sample) -> str:
    """The same text for the one signal that comes in thousands, in a fifth of the time."""
    return (
        f'{{"historical":{"true" if s.historical else "false"},"kind":"sample",'
        f'"quality":{s.quality:d},"received_time":{s.received_time:d},'
        f'"source_key":{_quoted(s.source_key)},"source_time":{s.source_time:d},'
        f'"status":{s.status:d},"tag":{_quoted(s.tag)},"unit":{_quoted(s.unit)},'
        f'"value":{s.value!r}}}'
    )


def decode(body: bytes) -> Signal:
    """The signal that `encode` wrote."""
    return signal_from_dict(restore(body))


def _revive(record: dict[str, Any]) -> Any:
    if len(record) == 1 and record.get(NOT_FINITE) in ("nan", "inf", "-inf"):
        return float(record[NOT_FINITE])
    return record

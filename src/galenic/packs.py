"""Many samples as one line of canonical JSON: a column for each of their fields.

A pack says what its samples say one by one, in a tenth of the room and of the time. Numbers are
little-endian arrays in base64, so that a few lines of any language read it back:

``{"count": 3, "data": {...}, "format": 1, "marks": [...], "tags": [...], "units": [...]}``

A column in ``data`` is one value, where all rows have the same; a list, for texts; or
``[base, step, width, base64]``, which stands for ``base + step * n`` with unsigned integers n of
``width`` bytes. ``tag`` and ``unit`` are positions in the lists of names. ``value`` are doubles
(width 8, in base64 alone); what they mean says ``type``: a number, a truth value, nothing, a text
of the list ``texts``, or a whole number. ``marks`` has 16 bits over the contents of each row: they
tell which row of a damaged pack was changed. That all of it is unchanged, a hash elsewhere says.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.signals import Sample, quick_sample

FORMAT = 1
MOST = 4096
"""Rows of a pack, at most: what damage can be located to if it goes beyond single rows."""

NUMBER, TRUTH, NOTHING, TEXT, WHOLE = range(5)
EXACT = 2**53  # whole numbers up to here are doubles
STEPS = (1_000_000_000, 1_000_000, 1_000)
_HEAD = b'{"count":'
_KINDS = {float: NUMBER, bool: TRUTH, type(None): NOTHING, str: TEXT, int: WHOLE}
_PLAIN = frozenset({int, bool})
_MIX = np.uint64(0x9E3779B97F4A7C15)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """The samples of a pack by field; ``tag`` and ``unit`` are positions in ``tags`` and ``units``.

    ``value`` holds numbers (n,), ``type`` what they are; ``keys`` is one text for all, or a list.
    """

    tags: list[str]
    units: list[str]
    tag: Ints
    unit: Ints
    value: npt.NDArray[np.float64]
    type: Ints
    texts: list[str]
    time: Ints
    received: Ints
    quality: Ints
    status: Ints
    historical: Ints
    keys: str | list[str]

    def __len__(self) -> int:
        return len(self.tag)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Columns:
        """The columns of samples.

        Raises
        ------
        ValueError, TypeError, OverflowError
            Where a sample has something that no column can hold.
        """
        # a list for each field takes a quarter of the time of a tuple for each sample
        tags, tag = _numbered([sample.tag for sample in samples])
        units, unit = _numbered([sample.unit for sample in samples])
        numbers, types, texts = _values([sample.value for sample in samples])
        keys = [sample.source_key for sample in samples]
        return cls(
            tags,
            units,
            tag,
            unit,
            numbers,
            types,
            texts,
            _whole([sample.source_time for sample in samples]),
            _whole([sample.received_time for sample in samples]),
            _whole([sample.quality for sample in samples]),
            _whole([sample.status for sample in samples]),
            np.array([sample.historical for sample in samples], dtype=bool).astype(np.int64),
            keys[0] if len(set(keys)) == 1 else keys,
        )

    def samples(self) -> list[Sample]:
        """The samples, as they were."""
        return self.at(slice(None))

    def at(self, rows: slice | Ints) -> list[Sample]:
        """The samples of some rows."""
        values: list[Any] = self.value[rows].tolist()
        if self.type.any():
            values = np.array(self.values(), dtype=object)[rows].tolist()
        count = len(values)
        keys = (
            repeat(self.keys, count)
            if isinstance(self.keys, str)
            else np.array(self.keys, dtype=object)[rows].tolist()
        )
        return list(
            map(
                quick_sample,
                [self.tags[i] for i in self.tag[rows].tolist()],
                values,
                [self.units[i] for i in self.unit[rows].tolist()],
                self.time[rows].tolist(),
                self.received[rows].tolist(),
                self.quality[rows].tolist(),
                self.status[rows].tolist(),
                keys,
                self.historical[rows].astype(bool).tolist(),
            )
        )

    def values(self) -> list[Any]:
        """The values, each of its own type."""
        found: list[Any] = self.value.tolist()
        if self.type.any():
            texts = iter(self.texts)
            for i, kind in enumerate(self.type.tolist()):
                if kind == TEXT:
                    found[i] = next(texts)
                elif kind != NUMBER:
                    found[i] = None if kind == NOTHING else (bool, int)[kind == WHOLE](found[i])
        return found

    def marks(self) -> npt.NDArray[np.uint16]:
        """16 bits over the contents of each row."""
        mixed = np.zeros(len(self), dtype=np.uint64)
        for column in self._contents():
            mixed = (mixed ^ column.view(np.uint64)) * _MIX
            mixed ^= mixed >> np.uint64(29)
        marks: npt.NDArray[np.uint16] = (mixed >> np.uint64(48)).astype("<u2")
        return marks

    def _contents(self) -> list[npt.NDArray[Any]]:
        texts = np.zeros(len(self), dtype=np.int64)
        texts[self.type == TEXT] = _sums(self.texts)
        keys = [self.keys] if isinstance(self.keys, str) else self.keys
        return [
            np.asarray(_sums(self.tags))[self.tag], np.asarray(_sums(self.units))[self.unit],
            np.ascontiguousarray(self.value), self.type, texts, self.time, self.received,
            self.quality, self.status, self.historical,
            np.resize(np.asarray(_sums(keys), dtype=np.int64), len(self)),
        ]  # fmt: skip


def _values(
    values: Sequence[Any],
) -> tuple[npt.NDArray[np.float64], Ints, list[str]]:
    kinds = set(map(type, values))
    if kinds == {float}:
        return np.array(values, dtype=np.float64), np.zeros(len(values), dtype=np.int64), []
    types = _whole([_KINDS[type(value)] for value in values])
    whole = [value for value in values if type(value) is int]
    if whole and max(map(abs, whole)) > EXACT:
        raise OverflowError("a whole number that no double holds")
    numbers = [0.0 if value is None or type(value) is str else float(value) for value in values]
    texts = [value for value in values if type(value) is str]
    return np.array(numbers, dtype=np.float64), types, texts


def _numbered(names: Sequence[str]) -> tuple[list[str], Ints]:
    """The different names in the order in which they come, and the position of each there."""
    positions = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(positions), np.fromiter(map(positions.__getitem__, names), np.int64, len(names))


def _whole(values: Sequence[int]) -> Ints:
    if not _PLAIN.issuperset(map(type, values)):
        values = [int(value) for value in values]
    return np.fromiter(values, np.int64, len(values))


def _sums(texts: Sequence[str]) -> Ints:
    return np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.int64)


def pack(samples: Sequence[Sample]) -> tuple[bytes, Columns] | None:
    """The line and the columns of samples; None where they cannot be packed without a change."""
    try:
        columns = Columns.of(samples)
        return to_bytes(columns), columns
    except (ValueError, TypeError, OverflowError, KeyError):
        return None  # journalled one by one, which takes everything


def to_bytes(columns: Columns) -> bytes:
    """The line that `unpack` reads."""
    data = {
        "historical": _written(columns.historical),
        "quality": _written(columns.quality),
        "received_time": _written(columns.received),
        "source_key": columns.keys,
        "source_time": _written(columns.time),
        "status": _written(columns.status),
        "tag": _written(columns.tag),
        "texts": columns.texts,
        "type": _written(columns.type),
        "unit": _written(columns.unit),
        "value": _base64(columns.value.astype("<f8")),
    }
    facts = {
        "count": len(columns),
        "data": data,
        "format": FORMAT,
        "marks": _base64(columns.marks()),
        "tags": columns.tags,
        "units": columns.units,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _base64(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _written(column: Ints) -> Any:
    """One number for all rows, or base, step, width and the unsigned integers that follow."""
    base = int(column.min())
    offsets = column.view(np.uint64) - np.uint64(base % 2**64)
    most = int(offsets.max())
    if most == 0:
        return base
    step = next((s for s in STEPS if s <= most and not (offsets % np.uint64(s)).any()), 1)
    most //= step
    width = next(w for w in (1, 2, 4, 8) if most < 1 << 8 * w)
    if step > 1:
        offsets = offsets // np.uint64(step)
    return [base, step, width, _base64(offsets.astype(f"<u{width}"))]


def count_of(line: bytes) -> int:
    """How many samples a pack has, without reading them."""
    if not line.startswith(_HEAD):
        raise ValueError("is no pack")
    return int(line[len(_HEAD) : line.index(b",", len(_HEAD))])


def unpack(line: bytes) -> Columns:
    """The columns of a pack; a ValueError, KeyError or TypeError where it is damaged."""
    return _read(json.loads(line))


def _read(facts: dict[str, Any]) -> Columns:
    if facts["format"] != FORMAT:
        raise ValueError(f"is a pack of format {facts['format']}, not {FORMAT}")
    count, data = int(facts["count"]), facts["data"]
    whole = {
        name: _column(data[name], count)
        for name in (
            "historical", "quality", "received_time", "source_time",
            "status", "tag", "type", "unit",
        )
    }  # fmt: skip
    value = np.frombuffer(base64.b64decode(data["value"]), dtype="<f8")
    if len(value) != count or max(whole["tag"], default=0) >= len(facts["tags"]):
        raise ValueError("has columns of different lengths")
    return Columns(
        facts["tags"],
        facts["units"],
        whole["tag"],
        whole["unit"],
        value,
        whole["type"],
        data["texts"],
        whole["source_time"],
        whole["received_time"],
        whole["quality"],
        whole["status"],
        whole["historical"],
        data["source_key"],
    )


def _column(written: Any, count: int) -> Ints:
    if isinstance(written, int):
        return np.full(count, written, dtype=np.int64)
    base, step, width, text = written
    numbers = np.frombuffer(base64.b64decode(text), dtype=f"<u{int(width)}").astype(np.uint64)
    if len(numbers) != count:
        raise ValueError("has columns of different lengths")
    column = numbers * np.uint64(step) + np.uint64(base % 2**64)
    return column.view(np.int64)


def damaged_rows(line: bytes) -> list[int] | None:
    """Which rows of a pack do not give their marks; None where that cannot be told."""
    try:
        facts = json.loads(line)
        columns = _read(facts)
        marks = np.frombuffer(base64.b64decode(facts["marks"]), dtype="<u2")
        found = np.flatnonzero(columns.marks() != marks)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return None
    return [int(row) for row in found] or None

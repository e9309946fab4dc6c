"""Rows of cells as samples, by a mapping; what cannot be read is counted with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from galenic.clock import read_stamp
from galenic.connect.connector import TagInfo, clean_value
from galenic.connect.files.mapping import EPOCH_FORMATS, CsvColumn, CsvMapping
from galenic.connect.tally import Tally
from galenic.errors import DataError, UnknownName
from galenic.signals import Quality, Sample

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_REJECTED = 100_000


@dataclass(frozen=True)
class Rejected:
    """One value, or a whole row where ``column`` is the time, that could not be read."""

    row: int
    column: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, column {self.column!r}: {self.text!r} {self.reason}"


class RowReader:
    """Turns rows into samples.

    Parameters
    ----------
    mapping : CsvMapping, mapping, or path of a TOML file
        What the columns mean.
    where : str
        Name of the source, for messages.

    Attributes
    ----------
    rejected : list of Rejected
        What could not be read since the last `begin`, at most 100,000; `tally` counts all.
    tally : Tally
        By tag: ``mapped``, ``converted``, ``rejected``, ``guessed``, ``empty``.
    read : int
        Rows read, empty ones left out.
    """

    def __init__(
        self, mapping: CsvMapping | Mapping[str, Any] | str | Any, where: str = "table"
    ) -> None:
        self.mapping = CsvMapping.of(mapping)
        self.where = where
        self.begin()

    def begin(self) -> None:
        """Forget what earlier passes have seen."""
        self.rejected: list[Rejected] = []
        self.tally = Tally()
        self.read = 0
        self._stamps = _Stamps(self.mapping)
        self._arrivals = _Stamps(self.mapping)

    def tags(self) -> list[TagInfo]:
        """The tags that the columns become."""
        return [column.info for column in self.mapping.columns.values()]

    def check_header(self, header: Sequence[str]) -> None:
        """Refuse a table that lacks a column which the mapping names."""
        mapping = self.mapping
        named = [mapping.tag, mapping.value] if mapping.tag else [*mapping.columns]
        for name in filter(None, [mapping.time, *named, mapping.quality, mapping.received]):
            if name not in header:
                self._check_delimiter(header)
                raise UnknownName.among("column", name, header, where=self.where)

    def _check_delimiter(self, header: Sequence[str]) -> None:
        """Say so where the head is one column because another delimiter stands in it."""
        others = [mark for mark in ";,\t|" if len(header) == 1 and mark in header[0]]
        if others:
            raise DataError(
                f"the head has one column: {header[0][:80]!r}", where=self.where,
                expected=f"columns with {self.mapping.delimiter!r} between",
                hint=f"set delimiter = {json.dumps(others[0])} in the mapping",
            )  # fmt: skip

    def read_row(self, row: int, header: Sequence[str], cells: Sequence[str]) -> list[Sample]:
        """The samples of one row; what cannot be read goes to ``rejected``."""
        if not any(cells):
            return []
        self.read += 1
        mapping = self.mapping
        if len(cells) != len(header):
            reason = f"has {len(cells)} cells instead of {len(header)}"
            return self._refuse_row(row, mapping.time, mapping.delimiter.join(cells), reason)
        values = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        try:
            time = self._stamps.nanoseconds(values[mapping.time])
        except ValueError as error:
            return self._refuse_row(row, mapping.time, values[mapping.time], str(error))
        quality = Quality.GOOD
        if mapping.quality:
            word = mapping.qualities.get(values[mapping.quality])
            if word is None:
                reason = f"is not one of {', '.join(mapping.qualities)}"
                return self._refuse_row(row, mapping.quality, values[mapping.quality], reason)
            quality = Quality[word.upper()]
        received = time
        if mapping.received:
            try:
                received = self._arrivals.nanoseconds(values[mapping.received])
            except ValueError as error:
                return self._refuse_row(row, mapping.received, values[mapping.received], str(error))
        return list(self._samples(row, values, time, received, quality))

    def _samples(
        self, row: int, values: Mapping[str, str], time: int, received: int, quality: Quality
    ) -> Iterable[Sample]:
        for name, column, text in self._cells(row, values):
            tag = column.tag
            if text in self.mapping.missing:
                self.tally.note(tag, "empty")
                continue
            try:
                value, worst = self._value(column, text, quality)
            except ValueError as error:
                self._reject(row, name, text, str(error), tag)
                continue
            self.tally.note(tag, "mapped")
            if self._stamps.assumed:
                reason = f"time zone: {self.mapping.zone}, not said"
                self.tally.note(tag, "guessed", reason=reason, example=values[self.mapping.time])
            unit = column.to or column.unit
            if unit != column.unit and isinstance(value, float | int):
                scale, offset = _affine(column.unit, unit)
                value = value * scale + offset
                self.tally.note(tag, "converted", reason=f"from {column.unit} to {unit}")
            status = int(worst) << 30
            yield Sample(tag, value, unit, time, received, worst, status)

    def _cells(self, row: int, values: Mapping[str, str]) -> list[tuple[str, CsvColumn, str]]:
        """Name, meaning and text of each value of a row."""
        mapping = self.mapping
        if not mapping.tag:
            return [(name, column, values[name]) for name, column in mapping.columns.items()]
        named = values[mapping.tag]
        column = mapping.columns.get(named)
        if column is None:
            self._reject(row, mapping.tag, named, "is not mapped", "")
            return []
        return [(mapping.value, column, values[mapping.value])]

    def _value(
        self, column: CsvColumn, text: str, quality: Quality
    ) -> tuple[float | bool | str | None, Quality]:
        if text in column.bad:
            return None, Quality.BAD
        if column.type == "str":
            return text, quality
        if column.type == "bool":
            if text in column.true or text in column.false:
                return text in column.true, quality
            raise ValueError("is neither true nor false")
        value, usable = clean_value(self._number(column, text))
        return value, quality if usable else Quality.BAD

    def _number(self, column: CsvColumn, text: str) -> float:
        parse = int if column.type == "int" else float
        decimal = self.mapping.decimal
        number = text.replace(decimal, ".") if decimal != "." else text
        try:
            if decimal != "." and "." in text:
                raise ValueError
            return parse(number)
        except ValueError:
            pass
        wanted = "a whole number" if column.type == "int" else "a number"
        other = "," if decimal == "." else "."
        try:
            found = parse(text.replace(other, ".")) if other in text else None
        except ValueError:
            found = None
        if found is None:
            raise ValueError(f"is not {wanted}")
        if "decimal" not in self.mapping.guess:
            raise ValueError(f"is not {wanted}; is {other!r} the decimal sign?")
        self.tally.note(column.tag, "guessed", reason=f"decimal sign {other!r}", example=text)
        return found

    def _refuse_row(self, row: int, column: str, text: str, reason: str) -> list[Sample]:
        """A whole row that cannot be read: each of its values is counted."""
        tags = [""] if self.mapping.tag else [c.tag for c in self.mapping.columns.values()]
        self._keep(Rejected(row, column, text, reason))
        for tag in tags:
            self.tally.note(
                tag, "rejected", reason=f"column {column!r} {reason}"[:200],
                example=f"row {row}: {text}",
            )  # fmt: skip
        return []

    def _reject(self, row: int, column: str, text: str, reason: str, tag: str) -> None:
        self._keep(Rejected(row, column, text, reason))
        self.tally.note(tag, "rejected", reason=reason, example=f"row {row}: {text}")

    def _keep(self, rejected: Rejected) -> None:
        if len(self.rejected) < MOST_REJECTED:
            self.rejected.append(rejected)


@lru_cache(maxsize=1000)
def _affine(unit: str, to: str) -> tuple[float, float]:
    """Factor and offset of a conversion; UnitError where there is none."""
    from galenic.units import convert

    offset = float(convert(0.0, unit, to))
    return float(convert(1.0, unit, to)) - offset, offset


class _Stamps:
    """Time stamps of one pass; local time that occurs twice is told apart by the row before."""

    def __init__(self, mapping: CsvMapping) -> None:
        self._format = mapping.format
        self._zone = ZoneInfo(mapping.zone)
        self._last: int | None = None
        self._told = mapping.zone_is_told
        self.assumed = False

    def nanoseconds(self, text: str) -> int:
        """Nanoseconds since 1970; ValueError says what is wrong with ``text``."""
        self.assumed = False
        if self._format in EPOCH_FORMATS:
            return self._epoch(text)
        try:
            stamp = read_stamp(text, self._format)
        except ValueError:
            raise ValueError(f"is not a time stamp ({self._format or 'ISO 8601'})") from None
        if stamp.tzinfo is None:
            self.assumed = not self._told
            stamp = self._localise(stamp)
        self._last = (stamp - EPOCH) // timedelta(microseconds=1) * 1000
        return self._last

    def _epoch(self, text: str) -> int:
        factor = EPOCH_FORMATS[self._format]
        whole, _, rest = text.partition(".")
        try:
            digits = f"{rest:0<9}"[:9]
            return int(whole) * factor + int(digits) * factor // 1_000_000_000
        except ValueError:
            raise ValueError(f"is not a {self._format} time") from None

    def _localise(self, stamp: datetime) -> datetime:
        first = stamp.replace(tzinfo=self._zone)
        if first.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != stamp:
            raise ValueError(f"does not exist in {self._zone.key} (clock put forward)")
        second = first.replace(fold=1)
        earlier = (first.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) * 1000
        repeated = second.utcoffset() != first.utcoffset()
        if repeated and self._last is not None and earlier < self._last:
            return second.astimezone(UTC)
        return first.astimezone(UTC)

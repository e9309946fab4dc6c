"""CSV rows as samples; what cannot be read is reported, never dropped silently."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from galenic.connect.connector import TagInfo, clean_value
from galenic.connect.files.mapping import EPOCH_FORMATS, CsvColumn, CsvMapping
from galenic.errors import DataError, UnknownName
from galenic.signals import Quality, Sample

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BAD_DATA = 0x80000000


@dataclass(frozen=True)
class Rejected:
    """One value, or a whole row where ``column`` is the time, that could not be read."""

    row: int
    column: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, column {self.column!r}: {self.text!r} {self.reason}"


class CsvReader:
    """Reads one file; iterate over it for samples row by row, in file order.

    Parameters
    ----------
    path : Path
        The file; its first row names the columns.
    mapping : CsvMapping, mapping, or path of a TOML file
        What the columns mean.

    Attributes
    ----------
    rejected : list of Rejected
        What the last pass could not read; rows are numbered as an editor does, the header is 1.
    """

    def __init__(
        self, path: str | Path, mapping: CsvMapping | Mapping[str, Any] | str | Path
    ) -> None:
        self.path = Path(path)
        self.mapping = CsvMapping.of(mapping)
        self.rejected: list[Rejected] = []
        self._stamps = _Stamps(self.mapping)

    def tags(self) -> list[TagInfo]:
        """The tags that the columns become."""
        return [column.info for column in self.mapping.columns.values()]

    def __iter__(self) -> Iterator[Sample]:
        for batch in self.rows():
            yield from batch

    def rows(self) -> Iterator[list[Sample]]:
        """The samples of each row; empty rows give none."""
        self.rejected = []
        self._stamps = _Stamps(self.mapping)
        try:
            with self.path.open(encoding=self.mapping.encoding, newline="") as file:
                lines = csv.reader(file, delimiter=self.mapping.delimiter)
                header = next(lines, [])
                self.check_header(header)
                for cells in lines:
                    yield self.read_row(lines.line_num, header, cells)
        except OSError as error:
            raise DataError(f"cannot read {str(self.path)!r}: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"not a {self.mapping.encoding} CSV file: {error}", where=str(self.path)
            ) from error

    def check_header(self, header: list[str]) -> None:
        """Refuse a file that lacks a column which the mapping names."""
        mapping = self.mapping
        asked = [mapping.time, *mapping.columns, mapping.quality, mapping.received]
        for name in filter(None, asked):
            if name not in header:
                raise UnknownName.among("column", name, header, where=str(self.path))

    def read_row(self, row: int, header: list[str], cells: list[str]) -> list[Sample]:
        """The samples of one row; what cannot be read goes to ``rejected``."""
        if not any(cells):
            return []
        mapping = self.mapping
        if len(cells) != len(header):
            reason = f"has {len(cells)} cells instead of {len(header)}"
            return self._reject(row, mapping.time, mapping.delimiter.join(cells), reason)
        values = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        try:
            time = self._stamps.nanoseconds(values[mapping.time])
        except ValueError as error:
            return self._reject(row, mapping.time, values[mapping.time], str(error))
        quality = Quality.GOOD
        if mapping.quality:
            word = mapping.qualities.get(values[mapping.quality])
            if word is None:
                reason = f"is not one of {', '.join(mapping.qualities)}"
                return self._reject(row, mapping.quality, values[mapping.quality], reason)
            quality = Quality[word.upper()]
        received = time
        if mapping.received:
            try:
                received = _Stamps(mapping).nanoseconds(values[mapping.received])
            except ValueError as error:
                return self._reject(row, mapping.received, values[mapping.received], str(error))
        return list(self._samples(row, values, time, received, quality))

    def _samples(
        self, row: int, values: dict[str, str], time: int, received: int, quality: Quality
    ) -> Iterable[Sample]:
        for name, column in self.mapping.columns.items():
            text = values[name]
            if text in self.mapping.missing:
                continue
            try:
                value, worst = self._value(column, text, quality)
            except ValueError as error:
                self._reject(row, name, text, str(error))
                continue
            status = int(worst) << 30
            yield Sample(column.tag, value, column.unit, time, received, worst, status)

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
        number = text.replace(self.mapping.decimal, ".") if self.mapping.decimal != "." else text
        try:
            if self.mapping.decimal != "." and "." in text:
                raise ValueError
            parsed = int(number) if column.type == "int" else float(number)
        except ValueError:
            wanted = "a whole number" if column.type == "int" else "a number"
            raise ValueError(f"is not {wanted}") from None
        value, usable = clean_value(parsed)
        return value, quality if usable else Quality.BAD

    def _reject(self, row: int, column: str, text: str, reason: str) -> list[Sample]:
        self.rejected.append(Rejected(row, column, text, reason))
        return []


class _Stamps:
    """Time stamps of one pass; local time that occurs twice is told apart by the row before."""

    def __init__(self, mapping: CsvMapping) -> None:
        self._format = mapping.format
        self._zone = ZoneInfo(mapping.zone)
        self._last: int | None = None

    def nanoseconds(self, text: str) -> int:
        """Nanoseconds since 1970; ValueError says what is wrong with ``text``."""
        if self._format in EPOCH_FORMATS:
            return self._epoch(text)
        try:
            if self._format:
                stamp = datetime.strptime(text, self._format)
            else:
                stamp = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"is not a time stamp ({self._format or 'ISO 8601'})") from None
        if stamp.tzinfo is None:
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

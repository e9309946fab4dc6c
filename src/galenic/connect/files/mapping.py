"""What the columns of a CSV file mean: declared once, in Python or TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from galenic.connect.connector import TagInfo
from galenic.errors import DataError, UnknownName
from galenic.signals import Quality

EPOCH_FORMATS = {"unix": 1_000_000_000, "unix_ms": 1_000_000, "unix_us": 1_000, "unix_ns": 1}


@dataclass(frozen=True)
class CsvColumn:
    """One column: the tag it becomes, its unit and type.

    ``bad`` lists texts that mark a bad value, as ``-999`` of a logger; the sample is kept with
    quality bad. ``true`` lists the texts that mean true for a bool.
    """

    tag: str
    unit: str = ""
    type: str = "float"
    description: str = ""
    bad: tuple[str, ...] = ()
    true: tuple[str, ...] = ("1", "true", "TRUE", "True", "on", "ON", "yes")
    false: tuple[str, ...] = ("0", "false", "FALSE", "False", "off", "OFF", "no")

    @property
    def info(self) -> TagInfo:
        """The tag, read-only."""
        return TagInfo(self.tag, self.unit, False, self.description, self.type)


@dataclass(frozen=True)
class CsvMapping:
    """How to read a CSV file of one time stamp and several tags per row.

    Parameters
    ----------
    time : str
        Name of the column with the source time.
    columns : mapping of str to CsvColumn
        By column name; columns that are not named are not read.
    zone : str
        IANA time zone of stamps without offset. It has no default other than UTC: a file in
        local time must say so.
    format : str
        strptime format; empty for ISO 8601 (``2019-09-06 04:08:23``); or ``unix``, ``unix_ms``,
        ``unix_us``, ``unix_ns``.
    delimiter, decimal : str
        Between columns, and in numbers. Group separators are not understood.
    missing : tuple of str
        Texts that mean no value: no sample is made.
    quality : str
        Column with the quality of the row; empty for none.
    qualities : mapping of str to str
        Text in that column to ``good``, ``uncertain`` or ``bad``; another text rejects the row.
    received : str
        Column with the time of arrival, for records that have it; else the source time.
    """

    time: str
    columns: Mapping[str, CsvColumn]
    zone: str = "UTC"
    format: str = ""
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8-sig"
    missing: tuple[str, ...] = ("", "NA", "N/A", "NaN", "nan", "null")
    quality: str = ""
    qualities: Mapping[str, str] = field(
        default_factory=lambda: {"good": "good", "uncertain": "uncertain", "bad": "bad"}
    )
    received: str = ""

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError("the CSV mapping names no columns", hint="add [columns.NAME] tables")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise DataError(
                f"there is no time zone {self.zone!r}", expected="UTC or as Europe/Ljubljana"
            ) from error
        for text in self.qualities.values():
            if text.upper() not in Quality.__members__:
                raise UnknownName.among("quality", text, ("good", "uncertain", "bad"))
        if (
            len(self.delimiter) != 1
            or self.decimal not in (".", ",")
            or (self.delimiter == self.decimal)
        ):
            raise DataError(
                f"delimiter {self.delimiter!r} with decimal {self.decimal!r}",
                expected="one character, and '.' or ',' that differs from it",
            )
        tags = [column.tag for column in self.columns.values()]
        for tag in tags:
            if tags.count(tag) > 1:
                raise DataError(f"two columns map to tag {tag!r}", where="CSV mapping")

    @classmethod
    def of(cls, source: CsvMapping | Mapping[str, Any] | str | Path) -> CsvMapping:
        """A mapping as it is, from plain values, or from the TOML file of that name."""
        if isinstance(source, CsvMapping):
            return source
        if isinstance(source, Mapping):
            return cls.from_dict(source)
        return cls.from_toml(Path(source))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "CSV mapping") -> CsvMapping:
        """From plain values, as of TOML; a mistyped name is refused with a suggestion."""
        _known(data, cls, where)
        columns = {}
        for name, entry in data.get("columns", {}).items():
            given = {"tag": entry} if isinstance(entry, str) else dict(entry)
            _known(given, CsvColumn, f"{where}, column {name}")
            columns[name] = CsvColumn(**_tuples({"tag": name, **given}))
        if "time" not in data:
            raise DataError("the time column is not named", where=where, hint='add time = "..."')
        return cls(**_tuples({**data, "columns": columns}))

    @classmethod
    def from_toml(cls, path: Path) -> CsvMapping:
        """From a TOML file of the same names, with one ``[columns.NAME]`` table per column."""
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"not valid TOML: {error}", where=str(path)) from error
        return cls.from_dict(data, where=str(path))


def _known(data: Mapping[str, Any], cls: type, where: str) -> None:
    names = [f.name for f in fields(cls)]
    for name in data:
        if name not in names:
            raise UnknownName.among("setting", name, names, where=where)


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}

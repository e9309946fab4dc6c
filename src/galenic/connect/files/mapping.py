"""What the columns of a CSV file mean: declared once, in Python or TOML."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from galenic.connect.connector import TYPES, TagInfo
from galenic.errors import DataError, GalenicError, UnitError, UnknownName
from galenic.signals import Quality
from galenic.units import unit

GUESSES = ("decimal",)
EPOCH_FORMATS = {"unix": 1_000_000_000, "unix_ms": 1_000_000, "unix_us": 1_000, "unix_ns": 1}


@dataclass(frozen=True)
class CsvColumn:
    """One column, or one name in a long table: the tag it becomes, its unit and type.

    ``to`` is the unit in which samples are made, ``unit`` (as it stands there) if left out.
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
    to: str = ""

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise DataError(f"tag {self.tag!r} has type {self.type!r}", expected=", ".join(TYPES))
        if self.unit:
            unit(self.unit)
        if not self.to:
            return
        if self.type not in ("float", "int") or not self.unit:
            raise DataError(
                f"column of tag {self.tag!r} is to be in {self.to!r}",
                expected="a number with a unit",
            )
        if unit(self.unit).dimension != unit(self.to).dimension:
            raise UnitError(
                f"tag {self.tag!r}: [{self.unit}] cannot become [{self.to}]",
                expected="units of the same dimension",
            )

    @property
    def info(self) -> TagInfo:
        """The tag, read-only."""
        kind = "float" if self.to and self.to != self.unit else self.type
        return TagInfo(self.tag, self.to or self.unit, False, self.description, kind)


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
    tag, value : str
        For a long table (time, tag, value): the columns with the name and with the value; then
        ``columns`` are by that name.
    guess : tuple of str
        What may be guessed, and is counted as such: ``decimal`` (the other decimal sign).
    zone_is_told : bool
        Whether the mapping says its zone; else UTC is a guess.
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
    tag: str = ""
    value: str = ""
    guess: tuple[str, ...] = ()
    zone_is_told: bool = True

    def __post_init__(self) -> None:
        if bool(self.tag) != bool(self.value):
            raise DataError(
                f"tag {self.tag!r} and value {self.value!r}", where="CSV mapping",
                expected="both columns of a long table, or none",
            )  # fmt: skip
        for word in self.guess:
            if word not in GUESSES:
                raise UnknownName.among("guess", word, GUESSES, where="CSV mapping")
        if not self.columns:
            raise DataError("the CSV mapping names no columns", hint="add [columns.NAME] tables")
        try:
            codecs.lookup(self.encoding)
        except (LookupError, ValueError) as error:
            raise DataError(
                f"there is no encoding {self.encoding!r}", expected="utf-8, cp1252, latin-1, ..."
            ) from error
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
            given = {"tag": entry} if isinstance(entry, str) else entry
            place = f"{where}, column {name}"
            if not isinstance(given, Mapping):
                raise DataError(f"{entry!r}", where=place, expected="a tag, or a table with tag")
            _known(given, CsvColumn, place)
            with _at(place):
                columns[name] = CsvColumn(**_tuples({"tag": name, **given}))
        if "time" not in data:
            raise DataError("the time column is not named", where=where, hint='add time = "..."')
        told = "zone" in data or data.get("format") in EPOCH_FORMATS
        with _at(where):
            return cls(**_tuples({"zone_is_told": told, **data, "columns": columns}))

    @classmethod
    def from_toml(cls, path: Path) -> CsvMapping:
        """From a TOML file of the same names, with one ``[columns.NAME]`` table per column."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
        return cls.from_text(text, str(path))

    @classmethod
    def from_text(cls, text: str, where: str) -> CsvMapping:
        """From the text of such a file."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"not valid TOML: {error}", where=where) from error
        return cls.from_dict(data, where=where)


SHAPES: dict[str, tuple[type, str]] = {
    "str": (str, "a text"), "bool": (bool, "true or false"),
    "tuple[str, ...]": (list | tuple, 'a list of texts, as ["-999"]'),  # type: ignore[dict-item]
    "Mapping[str, str]": (Mapping, "a table of texts"),
    "Mapping[str, CsvColumn]": (Mapping, "tables [columns.NAME]"),
}  # fmt: skip
"""What a setting of a type may be in TOML, and in words."""


def _known(data: Mapping[str, Any], cls: type, where: str) -> None:
    """Refuse settings that are none, or of another kind."""
    kinds = {f.name: str(f.type) for f in fields(cls)}
    for name, value in data.items():
        if name not in kinds:
            raise UnknownName.among("setting", name, kinds, where=where)
        kind, words = SHAPES[kinds[name]]
        inner = value.values() if isinstance(value, Mapping) else value
        texts = kinds[name] in ("tuple[str, ...]", "Mapping[str, str]")
        if not isinstance(value, kind) or (texts and not all(isinstance(v, str) for v in inner)):
            raise DataError(f"{name} = {value!r}", where=where, expected=words)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say where a setting stands that is refused."""
    try:
        yield
    except GalenicError as error:
        error.where = error.where or where
        raise


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}

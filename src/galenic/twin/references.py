"""What an argument may point to: tables, files, models, twins, beliefs, artefacts."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, ClassVar

from galenic.errors import DataError, GalenicError, UnknownName
from galenic.twin.arguments import ArgumentError, Kind, Scalar, Text, shown
from galenic.twin.result import Column, Table

if TYPE_CHECKING:
    from galenic.twin.run import Run

CELLS = 2_000_000  # largest table accepted, in cells
HEADER = re.compile(r"^\s*(?P<name>.+?)\s*(?:\[(?P<unit>[^\]]*)\])?\s*$")


@dataclass(frozen=True)
class Columns:
    """The columns of a table argument: ``Annotated[Table, Columns(time="h", site="text")]``."""

    units: tuple[tuple[str, str], ...]

    def __init__(self, **units: str) -> None:
        object.__setattr__(self, "units", tuple(units.items()))


@dataclass(frozen=True)
class File:
    """A file given to a service: its name and its content, or the path where it lies."""

    name: str
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None

    def read(self) -> bytes:
        """The content."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        return self.path.read_bytes()

    def text(self) -> str:
        """The content as UTF-8 text."""
        try:
            return self.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"file {self.name!r} is not UTF-8 text", where=f"byte {error.start}"
            ) from error


@dataclass(frozen=True)
class ModelRef:
    """A model by its name in the catalogue."""

    name: str
    entry: Any = field(default=None, repr=False, compare=False)

    def load(self) -> Any:
        """The model class; a file that cannot be imported is an error with its line."""
        try:
            return self.entry.load()
        except GalenicError:
            raise
        except Exception as error:
            raise load_error(self.name, self.entry.at.rpartition(":")[0], error) from error


def load_error(name: str, place: str, error: Exception) -> DataError:
    """The error of a model whose file or module cannot be imported, with its line."""
    return DataError(
        f"the model {name!r} cannot be loaded: {type(error).__name__}: {error}",
        where=_last_line(error, place),
        hint="run the file with Python to see the whole error",
    )


def _last_line(error: Exception, place: str) -> str:
    """File and line of ``error`` within the file at ``place``."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    lines = [f"{s.filename}:{s.lineno}" for s in extract_tb(error.__traceback__)]
    return next((line for line in reversed(lines) if Path(place).name in line), place)


@dataclass(frozen=True)
class TwinRef:
    """A twin of this site by its id."""

    id: str


@dataclass(frozen=True)
class BeliefRef:
    """What was known about a twin at a time [ns]; None is now."""

    twin: str
    time: int | None = None


@dataclass(frozen=True)
class ArtefactRef:
    """An artefact by the hash of its content."""

    hash: str


@dataclass(frozen=True)
class TableKind(Kind):
    """Rows with named columns. Plain: ``{column: [values in the declared unit]}``.

    Accepted as such, as a list of rows, as CSV text, or (command line) as the path of a CSV file.
    A CSV header may name another unit: ``time [min]``. The unit "text" marks a text column.
    """

    kind: ClassVar[str] = "table"
    units: Mapping[str, str] = field(default_factory=dict)

    def parse(self, text: str) -> Any:
        if text.lstrip().startswith(("{", "[")):
            try:
                return json.loads(text)
            except ValueError as error:
                raise ArgumentError("the table is not JSON", hint=str(error)) from error
        if "\n" in text:
            return text
        return _read(Path(text)).decode("utf-8-sig", errors="replace")

    def check(self, given: Any) -> dict[str, list[Any]]:
        columns = self._named(self._columns(given))
        lengths = {name: len(data) for name, (_, data) in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ArgumentError(f"the columns differ in length: {lengths}")
        if sum(lengths.values()) > CELLS:
            raise ArgumentError("the table is too large", expected=f"at most {CELLS} cells")
        return {name: self._cells(name, *columns[name]) for name in self.units}

    def _expected(self) -> str:
        names = ", ".join(f"{name} [{unit}]" for name, unit in self.units.items())
        return f"a table with the columns {names}"

    def _columns(self, given: Any) -> dict[str, list[Any]]:
        if isinstance(given, Table):
            return {
                f"{c.name} [{c.unit}]" if c.unit else c.name: list(c.data) for c in given.columns
            }
        if isinstance(given, str):
            rows = list(csv.reader(io.StringIO(given)))
            head, body = (rows[0], [row for row in rows[1:] if row]) if rows else ([], [])
            for number, row in enumerate(body, 2):
                if len(row) != len(head):
                    raise ArgumentError(
                        f"row {number} has {len(row)} cells", expected=f"{len(head)} cells"
                    )
            return {name: [row[i] for row in body] for i, name in enumerate(head)}
        if isinstance(given, list) and all(isinstance(row, dict) for row in given):
            names = list(dict.fromkeys(str(key) for row in given for key in row))
            return {name: [row.get(name) for row in given] for name in names}
        if isinstance(given, Mapping) and all(isinstance(c, list) for c in given.values()):
            return {str(name): list(data) for name, data in given.items()}
        raise ArgumentError(f"{shown(given)} is not a table", expected=self._expected())

    def _named(self, columns: dict[str, list[Any]]) -> dict[str, tuple[str, list[Any]]]:
        """Columns by declared name, each with the unit that its header gives."""
        named = {}
        for header, data in columns.items():
            match = HEADER.match(header)
            name, unit = (match["name"], match["unit"]) if match else (header, None)
            if name not in self.units:
                close = UnknownName.among("column", name, self.units)
                raise ArgumentError(close.found, expected=self._expected(), hint=close.hint)
            named[name] = (unit or self.units[name], data)
        missing = [name for name in self.units if name not in named]
        if missing:
            raise ArgumentError(
                f"column {', '.join(map(repr, missing))} is missing", expected=self._expected()
            )
        return named

    def _cells(self, name: str, unit: str, data: list[Any]) -> list[Any]:
        declared = self.units[name]
        cell: Kind = Text() if declared == "text" else Scalar(declared)
        checked = []
        for row, item in enumerate(data, 1):
            given = item
            if unit != declared and declared != "text":
                given = f"{item} {unit}"
            try:
                checked.append(cell.check(given))
            except ArgumentError as error:
                raise ArgumentError(
                    error.found,
                    where=f"column {name!r}, row {row}",
                    expected=error.expected,
                    hint=error.hint,
                ) from error
        return checked

    def value(self, given: Any, run: Run | None) -> Table:
        columns = [
            Column(name, data, "" if self.units[name] == "text" else self.units[name])
            for name, data in given.items()
        ]
        return Table("", tuple(columns))

    def schema(self) -> dict[str, Any]:
        properties = {
            name: {
                "type": "array",
                "items": {"type": "string" if unit == "text" else "number"},
                "x-unit": unit,
            }
            for name, unit in self.units.items()
        }
        table = {"type": "object", "properties": properties, "required": list(self.units)}
        rows = {"type": "array", "items": {"type": "object"}}
        return {"anyOf": [table, rows, {"type": "string", "description": "CSV with a header"}]}

    def widget(self) -> dict[str, Any]:
        columns = [{"name": name, "unit": unit} for name, unit in self.units.items()]
        return {"widget": "table", "columns": columns}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArgumentError(
            f"cannot read {str(path)!r}: {error.strerror or error}", expected="a readable file"
        ) from error
    except ValueError as error:  # a null byte in the path
        raise ArgumentError(f"{shown(str(path))} is not a path") from error


@dataclass(frozen=True)
class FileKind(Kind):
    """A file. Plain: ``{"name", "content"}`` with the content in base64, or ``{"path"}``.

    Only local calls may give a path; the session refuses one that comes over the network.
    """

    kind: ClassVar[str] = "file"

    def parse(self, text: str) -> Any:
        path = Path(text).expanduser().resolve()
        if not path.is_file():
            raise ArgumentError(f"there is no file {text!r}", expected="the path of a file")
        return {"path": str(path)}

    def check(self, given: Any) -> dict[str, str]:
        if isinstance(given, Path):
            found: dict[str, str] = self.parse(str(given))
            return found
        if isinstance(given, File):
            content = base64.b64encode(given.read()).decode()
            return {"name": given.name, "content": content}
        expected = "an object with 'name' and 'content' (base64)"
        texts = isinstance(given, dict) and all(isinstance(v, str) for v in given.values())
        if not texts or set(given) not in ({"name", "content"}, {"path"}):
            raise ArgumentError(f"{shown(given)} is not a file", expected=expected)
        if "content" in given:
            try:
                base64.b64decode(given["content"], validate=True)
            except (binascii.Error, ValueError) as error:
                raise ArgumentError("the content is not base64", expected=expected) from error
        return dict(given)

    def value(self, given: Any, run: Run | None) -> File:
        if "path" in given:
            path = Path(given["path"])
            return File(path.name, path=path)
        return File(given["name"], base64.b64decode(given["content"]))

    def record(self, given: Any) -> dict[str, Any]:
        file = self.value(given, None)
        data = file.read()
        return {"name": file.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def schema(self) -> dict[str, Any]:
        properties = {
            "name": {"type": "string"},
            "content": {"type": "string", "contentEncoding": "base64"},
        }
        return {"type": "object", "properties": properties, "required": ["name", "content"]}


@dataclass(frozen=True)
class ModelKind(Text):
    """A model of the catalogue by name; local calls may name a file: ``tanks.py`` or
    ``tanks.py:StirredTank``.
    """

    kind: ClassVar[str] = "model"

    def value(self, given: Any, run: Run | None) -> ModelRef:
        if run is None:
            raise DataError("a model can be resolved only within a run")
        return run.model(given)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "description": "name of a model, see /api/models"}


@dataclass(frozen=True)
class TwinKind(Text):
    """A twin of the site by id."""

    kind: ClassVar[str] = "twin"

    def value(self, given: Any, run: Run | None) -> TwinRef:
        return TwinRef(given)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "description": "id of a twin, see /api/twins"}


@dataclass(frozen=True)
class MomentKind(Kind):
    """A moment. Plain: an ISO 8601 stamp in UTC, or null for now. Received: ns, or None.

    ``now`` and stamps with any offset are taken; one without offset is refused as ambiguous.
    """

    kind: ClassVar[str] = "moment"

    def check(self, given: Any) -> str | None:
        from galenic.clock import from_iso, to_iso

        if given == "now":
            return None
        try:
            return to_iso(from_iso(Text().check(given)))
        except ArgumentError:
            raise
        except DataError as error:
            raise ArgumentError(error.found, expected=error.expected, hint=error.hint) from error
        except (OverflowError, ValueError, OSError) as error:
            raise ArgumentError(f"{shown(given)} is not a usable time") from error

    def value(self, given: Any, run: Run | None) -> int:
        from galenic.clock import from_iso

        return from_iso(given)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"], "format": "date-time"}


@dataclass(frozen=True)
class BeliefKind(Kind):
    """A twin's belief at a time. Plain: ``{"twin": id, "time": ISO stamp or null for now}``.

    Text form: ``line-1`` or ``line-1@2026-01-31T08:00:00Z``.
    """

    kind: ClassVar[str] = "belief"

    def check(self, given: Any) -> dict[str, Any]:
        if isinstance(given, BeliefRef):
            from galenic.clock import to_iso

            time = None if given.time is None else to_iso(given.time)
            return {"twin": given.twin, "time": time}
        if isinstance(given, str):
            twin, _, time = given.partition("@")
            given = {"twin": twin, "time": time or None}
        expected = "an object with 'twin' and 'time', or 'ID@2026-01-31T08:00:00Z'"
        if not isinstance(given, dict) or not {"twin"} <= set(given) <= {"twin", "time"}:
            raise ArgumentError(f"{shown(given)} is not a belief", expected=expected)
        twin = Text().check(given["twin"])
        time = given.get("time")
        if time is None or time == "now":
            return {"twin": twin, "time": None}
        return {"twin": twin, "time": MomentKind().check(time)}

    def value(self, given: Any, run: Run | None) -> BeliefRef:
        from galenic.clock import from_iso

        time = given["time"]
        return BeliefRef(given["twin"], None if time is None else from_iso(time))

    def schema(self) -> dict[str, Any]:
        time = {"type": ["string", "null"], "format": "date-time"}
        properties = {"twin": {"type": "string"}, "time": time}
        record = {"type": "object", "properties": properties, "required": ["twin"]}
        return {"anyOf": [record, {"type": "string"}]}


@dataclass(frozen=True)
class ArtefactKind(Kind):
    """An artefact by its SHA-256 hash, 64 hex digits."""

    kind: ClassVar[str] = "artefact"

    def check(self, given: Any) -> str:
        text = given.hash if isinstance(given, ArtefactRef) else given
        if not isinstance(text, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            raise ArgumentError(
                f"{shown(given)} is not the hash of an artefact", expected="64 hex digits"
            )
        return text.lower()

    def value(self, given: Any, run: Run | None) -> ArtefactRef:
        return ArtefactRef(given)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[0-9a-f]{64}$"}

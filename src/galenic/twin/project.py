"""Project files: one TOML file says which twins run on which data. Errors name file and line.

See docs/reference/project-file.md for every key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from galenic.clock import nanoseconds
from galenic.connect import registry
from galenic.errors import DataError, GalenicError
from galenic.records.places import EMBEDDED, check_place
from galenic.records.shelving import Rule
from galenic.twin.binding import MANUAL
from galenic.twin.definition import TwinDefinition, load
from galenic.twin.fleet_table import PATTERN, check_pattern, from_table
from galenic.twin.forwarding import ForwardRule
from galenic.twin.kinds import ConnectionSpec, RecordSpec, beside
from galenic.twin.level import Level
from galenic.twin.project_changes import alarm, binding, checked, first_level, overridden
from galenic.twin.project_place import Place, distinct, known, span, tables, typed
from galenic.twin.security import Security, read_security

SITE = {"name": str, "folder": str, "store": str, "heads": str, "address": str}
PLANT = {"kind": str, "endpoint": str, "truth": str, "scenario": str, "seed": int, "speed": float}
TWIN = {"id": str, "definition": str, "level": str, "connection": str, "values": dict,
        "binding": list, "targets": dict, "health": dict, "fold": dict, "alarm": list,
        "alarming": dict}  # fmt: skip
TOP = ("site", "server", "access", "plant", "connection", "twin", "record", "retention", "fleet",
       "forward")  # fmt: skip
RECORD = {"connection": str, "tags": list}
FORWARD = {"to": str, "token": str, "every": str, "ca": str}
RETENTION = {"keep": str, "tags": list, "journal": bool, "archive": str}
DAY = 86_400.0
FLEET = {"id": str, "definition": str, "level": str, "table": str, "capacity": int,
         "idle": object, "connection": str, "tags": str, "targets": dict, "health": dict,
         "fold": dict, "alarm": list, "alarming": dict}  # fmt: skip
LOCAL = r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]"  # nothing unencrypted leaves the machine


@dataclass(frozen=True)
class Site:
    """Where a project keeps its records and shows its pages.

    ``is_named`` is False where the file leaves the folder of the records to its default.
    """

    name: str
    folder: Path
    address: str = "127.0.0.1:8090"
    is_named: bool = True
    store: str = EMBEDDED
    heads: Path | None = None


@dataclass(frozen=True)
class TwinSpec:
    """A twin of the project: its definition with the project's changes, values, first level."""

    id: str
    definition: TwinDefinition
    values: Mapping[str, Any] = field(default_factory=dict)
    level: Level = Level.SHADOW
    name: str = ""


@dataclass(frozen=True)
class FleetSpec:
    """Many twins of one definition, of which at most ``capacity`` are in memory.

    ``idle`` [s] is how long one stays there without an event; ``rows`` are instances by name that
    the project's table gives, with their values. ``tags`` is how a tag of an instance is called at
    a connection; without it connections feed no instance.
    """

    id: str
    definition: TwinDefinition
    level: Level = Level.SHADOW
    name: str = ""
    capacity: int = 200
    idle: float = 600.0
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tags: str = ""


@dataclass(frozen=True)
class Project:
    """A site, its connections, its twins, and the virtual plant beside it, if there is one."""

    site: Site
    connections: tuple[ConnectionSpec, ...] = ()
    twins: tuple[TwinSpec, ...] = ()
    plant: Mapping[str, Any] | None = None
    path: Path | None = None
    security: Security = field(default_factory=Security)
    records: tuple[RecordSpec, ...] = ()
    retention: tuple[Rule, ...] = ()
    fleets: tuple[FleetSpec, ...] = ()
    forward: ForwardRule | None = None


def read_project(path: str | Path) -> Project:
    """The project that a TOML file describes; everything is checked against its models.

    Raises
    ------
    DataError, UnknownName, UnitError
        Each names ``file:line``.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no project file {str(path)!r}")
    text = path.read_text(encoding="utf-8")
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        where = f"{path}:{found[1]}" if found else str(path)
        raise DataError(f"not TOML: {error}", where=where) from error
    place = Place(path, text)
    for key in record:
        known("table", key, TOP, place.at(key))
    connections = tuple(
        _connection(table, i, place) for i, table in enumerate(tables(record, "connection", path))
    )
    twins, before = [], {"binding": 0, "alarm": 0}
    for i, table in enumerate(tables(record, "twin", path)):
        twins.append(_twin(table, i, dict(before), connections, place))
        for name in before:
            before[name] += len(table.get(name, ()))
    distinct("connection", [c.name for c in connections], path)
    distinct("twin", [t.id for t in twins], path)
    records = tuple(
        _record(table, i, connections, place)
        for i, table in enumerate(tables(record, "record", path))
    )
    site, plant = _site(record, place), _plant(record.get("plant"), place)
    security = read_security(record, site.address, place.at, place.folder)
    rules = tuple(
        _retention(table, i, place) for i, table in enumerate(tables(record, "retention", path))
    )
    return Project(
        *(site, connections, tuple(twins), plant, path, security, records, rules),
        fleets=_fleets(record, connections, place),
        forward=_forward(record, place),
    )


def _fleets(
    record: Mapping[str, Any], connections: tuple[ConnectionSpec, ...], place: Place
) -> tuple[FleetSpec, ...]:
    alarms, fleets = 0, []
    for i, table in enumerate(tables(record, "fleet", place.path)):
        fleets.append(_fleet(table, i, alarms, connections, place))
        alarms += len(table.get("alarm", ()))
    distinct("fleet", [f.id for f in fleets], place.path)
    return tuple(fleets)


def _forward(record: Mapping[str, Any], place: Place) -> ForwardRule | None:
    """Where the records are sent to."""
    table = record.get("forward")
    if table is None:
        return None
    typed(table, FORWARD, "forward", 0, place)
    for key in ("to", "token"):
        if key not in table:
            raise DataError(f"forward needs {key}", where=place.at("forward"))
    where = place.at("forward", 0, "to")
    if not table["to"].startswith("https://") and not re.match(LOCAL, table["to"]):
        raise DataError(f"to = {table['to']!r}", where=where, expected="https://host:port")
    token, ca = (
        Path(beside(place.folder, table[key], place.at("forward", 0, key)))
        if key in table
        else None
        for key in ("token", "ca")
    )
    assert token is not None
    every = span(table.get("every", "5 s"), place.at("forward", 0, "every"))
    return ForwardRule(table["to"].rstrip("/"), token, every, ca)


def _retention(table: dict[str, Any], index: int, place: Place) -> Rule:
    """How long samples of tags, or the journal, are kept."""
    typed(table, RETENTION, "retention", index, place)
    if "keep" not in table:
        raise DataError("a retention rule needs keep", where=place.at("retention", index))
    where = place.at("retention", index, "keep")
    keep = span(table["keep"], where)
    if keep < DAY:
        raise DataError(f"keep = {table['keep']!r}", where=where, expected="one day at least")
    if table.get("journal") and "tags" in table:
        raise DataError(
            "the journal is kept as a whole, not by tags",
            where=place.at("retention", index, "tags"),
        )
    archive = table.get("archive")
    if archive is not None:
        archive = Path(beside(place.folder, archive, place.at("retention", index, "archive")))
    tags = tuple(map(str, table.get("tags", ["*"])))
    return Rule(nanoseconds(keep), tags, bool(table.get("journal")), archive)


def _fleet(
    table: dict[str, Any],
    index: int,
    alarms_before: int,
    connections: tuple[ConnectionSpec, ...],
    place: Place,
) -> FleetSpec:
    """A fleet and the instances of its table; their values are checked when it is opened."""
    typed(table, FLEET, "fleet", index, place)
    for key in ("id", "definition"):
        if key not in table:
            raise DataError(f"a fleet needs its {key}", where=place.at("fleet", index))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_\-]*", table["id"]):
        raise DataError(
            f"a fleet called {table['id']!r}",
            where=place.at("fleet", index, "id"),
            expected="a letter, then letters, digits, _ -",
        )
    try:
        definition = load(table["definition"], place.folder)
    except GalenicError as error:
        error.where = place.at("fleet", index, "definition")
        raise
    definition = overridden(definition, table, index, place, "fleet")
    names = [*(c.name for c in connections), MANUAL]
    source, is_fed = table.get("connection", MANUAL), "connection" in table or "tags" in table
    known("connection", source, names, place.at("fleet", index, "connection"))
    filled = tuple(
        b if b.connection in names else replace(b, connection=source) for b in definition.bindings
    )
    definition = replace(definition, bindings=filled)
    alarms = {}
    for n, row in enumerate(table.get("alarm", ())):
        rule = alarm(row, alarms_before + n, place, "fleet.alarm")
        alarms[rule.name] = alarms_before + n
        definition = definition.with_alarms([rule])
    checked(definition, {}, index, place, {}, alarms, "fleet")
    rows, capacity = {}, table.get("capacity", 200)
    if capacity < 1:
        raise DataError(
            f"capacity = {capacity}",
            where=place.at("fleet", index, "capacity"),
            expected="1 or more",
        )
    if "table" in table:
        file = Path(beside(place.folder, table["table"], place.at("fleet", index, "table")))
        if not file.is_file():
            raise DataError(f"there is no file {file}", where=place.at("fleet", index, "table"))
        rows = from_table(file.read_text(encoding="utf-8"), str(file))
    idle = span(table.get("idle", 600.0), place.at("fleet", index, "idle"))
    level = first_level(table, index, place, "fleet")
    tags = check_pattern(table.get("tags", PATTERN), place.at("fleet", index, "tags"))
    return FleetSpec(
        table["id"], definition, level, table["definition"], capacity, idle, rows, tags * is_fed
    )


def _record(
    table: dict[str, Any], index: int, connections: tuple[ConnectionSpec, ...], place: Place
) -> RecordSpec:
    """The tags of a connection that are recorded without a twin."""
    typed(table, RECORD, "record", index, place)
    names = [one.name for one in connections]
    name = table.get("connection", names[0] if len(names) == 1 else "")
    known("connection", name, names, place.at("record", index, "connection"))
    tags = table.get("tags", ["*"])
    if not tags or not all(isinstance(tag, str) for tag in tags):
        raise DataError(
            f"tags = {tags!r}",
            where=place.at("record", index, "tags"),
            expected="names or patterns like Area1.*",
        )
    return RecordSpec(name, tuple(tags))


def _site(record: Mapping[str, Any], place: Place) -> Site:
    table = record.get("site", {})
    typed(table, SITE, "site", 0, place)
    folder = Path(beside(place.folder, table.get("folder", "site"), place.at("site")))
    address = table.get("address", Site.address)
    if not re.fullmatch(r"[\w.\-\[\]:]+:\d{1,5}", address):
        raise DataError(
            f"address = {address!r}", where=place.at("site", 0, "address"), expected="host:port"
        )
    store = table.get("store", EMBEDDED)
    try:
        check_place(store)
    except DataError as error:
        error.where = place.at("site", 0, "store")
        raise
    heads = table.get("heads")
    if heads is not None:
        heads = Path(beside(place.folder, heads, place.at("site", 0, "heads")))
    name = table.get("name", place.path.stem)
    return Site(name, folder, address, "folder" in table, store, heads)


def _plant(table: dict[str, Any] | None, place: Place) -> dict[str, Any] | None:
    """The virtual plant; a scenario of its own is a file beside the project."""
    if table is None:
        return None
    typed(table, PLANT, "plant", 0, place)
    scenario = table.get("scenario", "")
    if scenario.endswith(".toml"):
        return {**table, "scenario": beside(place.folder, scenario, place.at("plant"))}
    return table


def _connection(table: dict[str, Any], index: int, place: Place) -> ConnectionSpec:
    for key in ("name", "kind"):
        if not isinstance(table.get(key), str):
            raise DataError(f"a connection needs its {key}", where=place.at("connection", index))
    where = place.at("connection", index, "kind")
    known("kind of connection", table["kind"], registry.kinds(), where)
    options = {key: value for key, value in table.items() if key not in ("name", "kind")}
    line = place.at("connection", index)
    return ConnectionSpec(table["name"], table["kind"], options, line, place.folder)


def _twin(
    table: dict[str, Any],
    index: int,
    before: Mapping[str, int],
    connections: tuple[ConnectionSpec, ...],
    place: Place,
) -> TwinSpec:
    typed(table, TWIN, "twin", index, place)
    for key in ("id", "definition"):
        if key not in table:
            raise DataError(f"a twin needs its {key}", where=place.at("twin", index))
    names = [c.name for c in connections]
    default = table.get("connection", names[0] if len(names) == 1 else "")
    try:
        definition = load(table["definition"], place.folder)
    except GalenicError as error:
        error.where = place.at("twin", index, "definition")
        raise
    definition = overridden(definition, table, index, place)
    overrides = {}
    for n, row in enumerate(table.get("binding", ())):
        where = place.at("twin.binding", before["binding"] + n)
        overrides.update(binding(row, where, place, before["binding"] + n))
    definition = definition.with_bindings(overrides)
    alarms = {}
    for n, row in enumerate(table.get("alarm", ())):
        rule = alarm(row, before["alarm"] + n, place)
        alarms[rule.name] = before["alarm"] + n
        definition = definition.with_alarms([rule])
    filled = tuple(
        b if b.connection in (*names, MANUAL) else replace(b, connection=default)
        for b in definition.bindings
    )
    definition = replace(definition, bindings=filled)
    values = table.get("values", {})
    checked(definition, values, index, place, overrides, alarms)
    if default:
        known("connection", default, names, place.at("twin", index, "connection"))
    level = first_level(table, index, place)
    return TwinSpec(table["id"], definition, values, level, table["definition"])

"""Project files: one TOML file says which twins run on which data. Errors name file and line.

See docs/reference/project-file.md for every key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from galenic.clock import nanoseconds
from galenic.connect import registry
from galenic.errors import DataError, GalenicError, UnknownName
from galenic.records.places import EMBEDDED, check_place
from galenic.records.shelving import Rule
from galenic.twin.alarm.rule import AlarmRule
from galenic.twin.binding import MANUAL, Binding
from galenic.twin.definition import TwinDefinition, load
from galenic.twin.fleet_table import PATTERN, check_pattern, from_table
from galenic.twin.forwarding import ForwardRule
from galenic.twin.kinds import ConnectionSpec, RecordSpec, beside
from galenic.twin.level import Level
from galenic.twin.security import Security, read_security

SITE = {"name": str, "folder": str, "store": str, "heads": str, "address": str}
PLANT = {"kind": str, "endpoint": str, "truth": str, "scenario": str, "seed": int, "speed": float}
TWIN = {"id": str, "definition": str, "level": str, "connection": str, "values": dict,
        "binding": list, "targets": dict, "health": dict, "fold": dict, "alarm": list,
        "alarming": dict}  # fmt: skip
BINDING = {f.name for f in fields(Binding)} - {"level"} | {"level", "stale_after", "gain", "offset"}
TOP = ("site", "server", "access", "plant", "connection", "twin", "record", "retention", "fleet",
       "forward")  # fmt: skip
ALARM = {**{f.name: str for f in fields(AlarmRule)}, "latching": bool, "probability": float,
         "above": object, "below": object, "deadband": object, "respond": object,
         "on_delay": object, "off_delay": object, "within": object}  # fmt: skip
RECORD = {"connection": str, "tags": list}
FORWARD = {"to": str, "token": str, "every": str, "ca": str}
RETENTION = {"keep": str, "tags": list, "journal": bool, "archive": str}
DAY = 86_400.0
FLEET = {"id": str, "definition": str, "level": str, "table": str, "capacity": int,
         "idle": object, "connection": str, "tags": str, "targets": dict, "health": dict,
         "fold": dict, "alarm": list, "alarming": dict}  # fmt: skip
LOCAL = r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]"  # nothing unencrypted leaves the machine
SPANS = ("stale_after", "frozen_after", "lag")
ALARM_SPANS = ("respond", "on_delay", "off_delay", "within")


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


class _Place:
    """A file and the lines of its tables, for errors."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.folder = path.parent.resolve()
        self.lines = text.splitlines()

    def at(self, table: str, index: int = 0, key: str = "") -> str:
        """``file:line`` of a key in the n-th table of a name; of the table if there is no key."""
        head = re.compile(rf"\s*\[+\s*{re.escape(table)}\s*\]+")
        starts = [n for n, line in enumerate(self.lines) if head.match(line)]
        if index >= len(starts):
            return str(self.path)
        start = starts[index]
        if key:
            wanted = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""")
            for n in range(start + 1, len(self.lines)):
                if wanted.match(self.lines[n]):
                    return f"{self.path}:{n + 1}"
                if self.lines[n].lstrip().startswith("[") and table == self._name(n):
                    break
        return f"{self.path}:{start + 1}"

    def _name(self, n: int) -> str:
        return self.lines[n].strip().strip("[]").strip()


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
    place = _Place(path, text)
    for key in record:
        _known("table", key, TOP, place.at(key))
    connections = tuple(
        _connection(table, i, place) for i, table in enumerate(_tables(record, "connection", path))
    )
    twins, before = [], {"binding": 0, "alarm": 0}
    for i, table in enumerate(_tables(record, "twin", path)):
        twins.append(_twin(table, i, dict(before), connections, place))
        for name in before:
            before[name] += len(table.get(name, ()))
    _distinct("connection", [c.name for c in connections], path)
    _distinct("twin", [t.id for t in twins], path)
    records = tuple(
        _record(table, i, connections, place)
        for i, table in enumerate(_tables(record, "record", path))
    )
    site, plant = _site(record, place), _plant(record.get("plant"), place)
    security = read_security(record, site.address, place.at, place.folder)
    rules = tuple(
        _retention(table, i, place) for i, table in enumerate(_tables(record, "retention", path))
    )
    return Project(
        *(site, connections, tuple(twins), plant, path, security, records, rules),
        fleets=_fleets(record, connections, place),
        forward=_forward(record, place),
    )


def _fleets(
    record: Mapping[str, Any], connections: tuple[ConnectionSpec, ...], place: _Place
) -> tuple[FleetSpec, ...]:
    alarms, fleets = 0, []
    for i, table in enumerate(_tables(record, "fleet", place.path)):
        fleets.append(_fleet(table, i, alarms, connections, place))
        alarms += len(table.get("alarm", ()))
    _distinct("fleet", [f.id for f in fleets], place.path)
    return tuple(fleets)


def _forward(record: Mapping[str, Any], place: _Place) -> ForwardRule | None:
    """Where the records are sent to."""
    table = record.get("forward")
    if table is None:
        return None
    _typed(table, FORWARD, "forward", 0, place)
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
    every = _span(table.get("every", "5 s"), place.at("forward", 0, "every"))
    return ForwardRule(table["to"].rstrip("/"), token, every, ca)


def _retention(table: dict[str, Any], index: int, place: _Place) -> Rule:
    """How long samples of tags, or the journal, are kept."""
    _typed(table, RETENTION, "retention", index, place)
    if "keep" not in table:
        raise DataError("a retention rule needs keep", where=place.at("retention", index))
    where = place.at("retention", index, "keep")
    keep = _span(table["keep"], where)
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
    place: _Place,
) -> FleetSpec:
    """A fleet and the instances of its table; their values are checked when it is opened."""
    _typed(table, FLEET, "fleet", index, place)
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
    definition = _overridden(definition, table, index, place, "fleet")
    names = [*(c.name for c in connections), MANUAL]
    source, is_fed = table.get("connection", MANUAL), "connection" in table or "tags" in table
    _known("connection", source, names, place.at("fleet", index, "connection"))
    filled = tuple(
        b if b.connection in names else replace(b, connection=source) for b in definition.bindings
    )
    definition = replace(definition, bindings=filled)
    alarms = {}
    for n, row in enumerate(table.get("alarm", ())):
        rule = _alarm(row, alarms_before + n, place, "fleet.alarm")
        alarms[rule.name] = alarms_before + n
        definition = definition.with_alarms([rule])
    _checked(definition, {}, index, place, {}, alarms, "fleet")
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
    idle = _span(table.get("idle", 600.0), place.at("fleet", index, "idle"))
    level = _level(table, index, place, "fleet")
    tags = check_pattern(table.get("tags", PATTERN), place.at("fleet", index, "tags"))
    return FleetSpec(
        table["id"], definition, level, table["definition"], capacity, idle, rows, tags * is_fed
    )


def _record(
    table: dict[str, Any], index: int, connections: tuple[ConnectionSpec, ...], place: _Place
) -> RecordSpec:
    """The tags of a connection that are recorded without a twin."""
    _typed(table, RECORD, "record", index, place)
    names = [one.name for one in connections]
    name = table.get("connection", names[0] if len(names) == 1 else "")
    _known("connection", name, names, place.at("record", index, "connection"))
    tags = table.get("tags", ["*"])
    if not tags or not all(isinstance(tag, str) for tag in tags):
        raise DataError(
            f"tags = {tags!r}",
            where=place.at("record", index, "tags"),
            expected="names or patterns like Area1.*",
        )
    return RecordSpec(name, tuple(tags))


def _tables(record: Mapping[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    tables = record.get(name, [])
    if not isinstance(tables, list):
        raise DataError(f"[{name}] is a list of tables", where=str(path), expected=f"[[{name}]]")
    return tables


def _known(what: str, key: str, known: Iterable[str], where: str) -> None:
    if key not in known:
        raise UnknownName.among(what, key, known, where=where)


def _distinct(what: str, names: list[str], path: Path) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"two {what}s are called {name!r}", where=str(path))


def _typed(
    table: Mapping[str, Any], types: Mapping[str, type], name: str, index: int, place: _Place
) -> None:
    for key, value in table.items():
        _known("key", key, types, place.at(name, index, key))
        wanted = (int, float) if types[key] is float else types[key]
        if not isinstance(value, wanted):
            raise DataError(
                f"{key} = {value!r}",
                where=place.at(name, index, key),
                expected=f"a {types[key].__name__}",
            )


def _site(record: Mapping[str, Any], place: _Place) -> Site:
    table = record.get("site", {})
    _typed(table, SITE, "site", 0, place)
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


def _plant(table: dict[str, Any] | None, place: _Place) -> dict[str, Any] | None:
    """The virtual plant; a scenario of its own is a file beside the project."""
    if table is None:
        return None
    _typed(table, PLANT, "plant", 0, place)
    scenario = table.get("scenario", "")
    if scenario.endswith(".toml"):
        return {**table, "scenario": beside(place.folder, scenario, place.at("plant"))}
    return table


def _connection(table: dict[str, Any], index: int, place: _Place) -> ConnectionSpec:
    for key in ("name", "kind"):
        if not isinstance(table.get(key), str):
            raise DataError(f"a connection needs its {key}", where=place.at("connection", index))
    where = place.at("connection", index, "kind")
    _known("kind of connection", table["kind"], registry.kinds(), where)
    options = {key: value for key, value in table.items() if key not in ("name", "kind")}
    line = place.at("connection", index)
    return ConnectionSpec(table["name"], table["kind"], options, line, place.folder)


def _twin(
    table: dict[str, Any],
    index: int,
    before: Mapping[str, int],
    connections: tuple[ConnectionSpec, ...],
    place: _Place,
) -> TwinSpec:
    _typed(table, TWIN, "twin", index, place)
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
    definition = _overridden(definition, table, index, place)
    overrides = {}
    for n, row in enumerate(table.get("binding", ())):
        where = place.at("twin.binding", before["binding"] + n)
        overrides.update(_binding(row, where, place, before["binding"] + n))
    definition = definition.with_bindings(overrides)
    alarms = {}
    for n, row in enumerate(table.get("alarm", ())):
        rule = _alarm(row, before["alarm"] + n, place)
        alarms[rule.name] = before["alarm"] + n
        definition = definition.with_alarms([rule])
    filled = tuple(
        b if b.connection in (*names, MANUAL) else replace(b, connection=default)
        for b in definition.bindings
    )
    definition = replace(definition, bindings=filled)
    values = table.get("values", {})
    _checked(definition, values, index, place, overrides, alarms)
    if default:
        _known("connection", default, names, place.at("twin", index, "connection"))
    level = _level(table, index, place)
    return TwinSpec(table["id"], definition, values, level, table["definition"])


def _level(table: Mapping[str, Any], index: int, place: _Place, kind: str = "twin") -> Level:
    where = place.at(kind, index, "level")
    try:
        level = Level.of(table.get("level", "shadow"))
    except UnknownName as error:
        error.where = where
        raise
    if level is Level.TWIN:
        raise DataError(
            "a project cannot start a twin that acts",
            where=where,
            expected="model or shadow",
            hint="start as shadow; a named person raises the level and says why",
        )
    return level


def _overridden(
    definition: TwinDefinition,
    table: Mapping[str, Any],
    index: int,
    place: _Place,
    kind: str = "twin",
) -> TwinDefinition:
    """The definition with the rules and targets that the project changes."""
    for part in ("fold", "health", "alarming"):
        rules = getattr(definition, part)
        known = [f.name for f in fields(rules)]
        for key in table.get(part, {}):
            _known("key", key, known, place.at(f"{kind}.{part}", 0, key))
        definition = replace(definition, **{part: replace(rules, **table.get(part, {}))})
    return replace(definition, targets={**definition.targets, **table.get("targets", {})})


def _binding(
    row: dict[str, Any], where: str, place: _Place, index: int
) -> dict[str, dict[str, Any]]:
    if not isinstance(row.get("tag"), str):
        raise DataError("a binding needs its tag", where=where)
    for key in row:
        _known("key", key, BINDING, place.at("twin.binding", index, key))
    changed = {key: value for key, value in row.items() if key not in ("gain", "offset")}
    if "gain" in row or "offset" in row:
        changed["calibration"] = (float(row.get("gain", 1.0)), float(row.get("offset", 0.0)))
    for key in ("plausible", "calibration"):
        if key in changed:
            changed[key] = _pair(changed[key], key, place.at("twin.binding", index, key))
    for key in SPANS:
        if key in changed:
            changed[key] = _span(changed[key], place.at("twin.binding", index, key))
    if "level" in changed:
        changed["level"] = Level.of(changed["level"])
    return {row["tag"]: changed}


def _alarm(row: dict[str, Any], index: int, place: _Place, table: str = "twin.alarm") -> AlarmRule:
    """The alarm of a table; what it lacks is said when it is checked."""
    _typed(row, ALARM, table, index, place)
    said = {"name": "", "of": "", "cause": "", "consequence": "", "action": "", **row}
    for key in ALARM_SPANS:
        if key in said:
            said[key] = _span(said[key], place.at(table, index, key))
    if "respond" not in said:
        raise DataError(
            f"alarm {said['name']} has no time to respond",
            where=place.at(table, index),
            expected='respond = "10 min"',
            hint="what nobody can act on in time is an event, not an alarm",
        )
    return AlarmRule(**said)


def _pair(value: Any, key: str, where: str) -> tuple[float, float]:
    numbers = isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value)
    if not numbers or len(value) != 2:
        raise DataError(f"{key} = {value!r}", where=where, expected="two numbers")
    return float(value[0]), float(value[1])


def _span(value: Any, where: str) -> float:
    from galenic.units import duration

    try:
        return float(duration(value))
    except GalenicError as error:
        error.where = where
        raise


def _checked(
    definition: TwinDefinition,
    values: Mapping[str, Any],
    index: int,
    place: _Place,
    overrides: Mapping[str, Any],
    alarms: Mapping[str, int],
    kind: str = "twin",
) -> None:
    """Check against the model; an error about something the file says gets its line."""
    try:
        definition.check(values)
    except GalenicError as error:
        error.where = _line(error, values, index, place, overrides, alarms, kind) or error.where
        raise


def _line(
    error: GalenicError,
    values: Mapping[str, Any],
    index: int,
    place: _Place,
    overrides: Mapping[str, Any],
    alarms: Mapping[str, int],
    kind: str,
) -> str:
    about = f"{error.where} {error.found}"
    for name, n in alarms.items():
        if error.where == f"alarm {name}":
            return f"{place.at(f'{kind}.alarm', n)}, {error.where}"
    for path in values:
        if path in about:
            return place.at("twin.values", 0, path)
    for n, tag in enumerate(overrides):
        if error.where == f"binding {tag}":
            return f"{place.at('twin.binding', n)}, {error.where}"
    return f"{place.at(kind, index)}, {error.where}" if error.where else ""

"""What a project file changes in the definition of a twin or fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from galenic.errors import DataError, GalenicError, UnknownName
from galenic.twin.alarm.rule import AlarmRule
from galenic.twin.binding import Binding
from galenic.twin.definition import TwinDefinition
from galenic.twin.level import Level
from galenic.twin.project_place import Place, known, pair, span, typed

BINDING = {f.name for f in fields(Binding)} - {"level"} | {"level", "stale_after", "gain", "offset"}
ALARM = {**{f.name: str for f in fields(AlarmRule)}, "latching": bool, "probability": float,
         "above": object, "below": object, "deadband": object, "respond": object,
         "on_delay": object, "off_delay": object, "within": object}  # fmt: skip
SPANS = ("stale_after", "frozen_after", "lag")
ALARM_SPANS = ("respond", "on_delay", "off_delay", "within")


def first_level(table: Mapping[str, Any], index: int, place: Place, kind: str = "twin") -> Level:
    """The first level, which is never one that acts."""
    where = place.at(kind, index, "level")
    try:
        found = Level.of(table.get("level", "shadow"))
    except UnknownName as error:
        error.where = where
        raise
    if found is Level.TWIN:
        raise DataError(
            "a project cannot start a twin that acts",
            where=where,
            expected="model or shadow",
            hint="start as shadow; a named person raises the level and says why",
        )
    return found


def overridden(
    definition: TwinDefinition,
    table: Mapping[str, Any],
    index: int,
    place: Place,
    kind: str = "twin",
) -> TwinDefinition:
    """The definition with the rules and targets that the project changes."""
    for part in ("fold", "health", "alarming"):
        rules = getattr(definition, part)
        parts = [f.name for f in fields(rules)]
        for key in table.get(part, {}):
            known("key", key, parts, place.at(f"{kind}.{part}", 0, key))
        definition = replace(definition, **{part: replace(rules, **table.get(part, {}))})
    return replace(definition, targets={**definition.targets, **table.get("targets", {})})


def binding(row: dict[str, Any], where: str, place: Place, index: int) -> dict[str, dict[str, Any]]:
    """What a table changes of a binding, by its tag."""
    if not isinstance(row.get("tag"), str):
        raise DataError("a binding needs its tag", where=where)
    for key in row:
        known("key", key, BINDING, place.at("twin.binding", index, key))
    changed = {key: value for key, value in row.items() if key not in ("gain", "offset")}
    if "gain" in row or "offset" in row:
        changed["calibration"] = (float(row.get("gain", 1.0)), float(row.get("offset", 0.0)))
    for key in ("plausible", "calibration"):
        if key in changed:
            changed[key] = pair(changed[key], key, place.at("twin.binding", index, key))
    for key in SPANS:
        if key in changed:
            changed[key] = span(changed[key], place.at("twin.binding", index, key))
    if "level" in changed:
        changed["level"] = Level.of(changed["level"])
    return {row["tag"]: changed}


def alarm(row: dict[str, Any], index: int, place: Place, table: str = "twin.alarm") -> AlarmRule:
    """The alarm of a table; what it lacks is said when it is checked."""
    typed(row, ALARM, table, index, place)
    said = {"name": "", "of": "", "cause": "", "consequence": "", "action": "", **row}
    for key in ALARM_SPANS:
        if key in said:
            said[key] = span(said[key], place.at(table, index, key))
    if "respond" not in said:
        raise DataError(
            f"alarm {said['name']} has no time to respond",
            where=place.at(table, index),
            expected='respond = "10 min"',
            hint="what nobody can act on in time is an event, not an alarm",
        )
    return AlarmRule(**said)


def checked(
    definition: TwinDefinition,
    values: Mapping[str, Any],
    index: int,
    place: Place,
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
    place: Place,
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

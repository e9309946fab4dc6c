"""Fleets: adding instances, and finding those that need somebody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from galenic.clock import to_iso
from galenic.stages.twins.shared import Reason
from galenic.twin.service import (
    Column,
    File,
    Help,
    In,
    Result,
    Run,
    Table,
    TwinRef,
    Value,
    Values,
    service,
)

__all__ = ["add", "load", "overview"]

FleetName = Annotated[str, Help("Name of the fleet, as the project has it.")]
MOST = 1000
PRIORITIES = ("critical", "high", "medium", "low", "journal")
HEALTH = {"lost": 0, "degraded": 1, "good": 2, "": 3}
Row = Mapping[str, Any]


@service("Add an instance to a fleet", stage="fleets", effect="act", role="engineer")
def add(
    fleet: FleetName,
    name: Annotated[str, Help("Name of the instance, unique in the fleet.")],
    reason: Reason,
    values: Values | None = None,
    *,
    run: Run,
) -> Result:
    """Register one more twin of a fleet; it begins with its first event.

    Parameters
    ----------
    values : mapping
        Parameters, inputs and start values by path that differ from the definition's.
    """
    return _added(run, fleet, {name: dict(values or {})}, reason)


@service("Add the instances of a table to a fleet", stage="fleets", effect="act", role="engineer")
def load(
    fleet: FleetName,
    table: Annotated[File, Help("CSV: a column id, and one for each path, as weight [kg].")],
    reason: Reason,
    *,
    run: Run,
) -> Result:
    """Register a twin for each row of a table: all of them, or none when a row is wrong."""
    from galenic.twin.fleet_table import from_table

    return _added(run, fleet, from_table(table.text(), table.name), reason)


def _added(run: Run, fleet: str, rows: Mapping[str, Mapping[str, Any]], reason: str) -> Result:
    runner = run.runner
    made = runner.fleets.add(run.store, fleet, rows, run.who, reason, runner.clock.now())
    return Result(f"{len(made)} registered", tables=[Table("instances", (Column("id", made),))])


@service("Overview of a fleet", stage="fleets", effect="read")
def overview(
    fleet: FleetName,
    words: Annotated[str, Help("Part of the id, or of what is wrong.")] = "",
    health: Literal["any", "good", "degraded", "lost", "none"] = "any",
    level: Literal["any", "model", "shadow", "twin"] = "any",
    alarms: Annotated[bool, Help("Only instances with alarms.")] = False,
    order: Literal["id", "alarms", "health", "newest"] = "alarms",
    limit: Annotated[int, In(lower=1, upper=MOST)] = 100,
    skip: Annotated[int, In(lower=0, upper=1_000_000)] = 0,
    twin: Annotated[TwinRef | None, Help("This instance alone; all if left out.")] = None,
    *,
    run: Run,
) -> Result:
    """List instances of a fleet with level, health, alarms and key figures, by pages.

    Parameters
    ----------
    health : {"any", "good", "degraded", "lost", "none"}
        none: nothing has happened to it yet.
    level : {"any", "model", "shadow", "twin"}
        Level of the instance.
    order : {"id", "alarms", "health", "newest"}
        What comes first.
    limit, skip : int
        At most so many, after so many.
    """
    rows = run.runner.overview(fleet)
    found = chosen(rows, words, health, level, alarms, order)
    found = [row for row in found if twin is None or row["id"] == twin.id]
    values = {
        "instances": Value(len(rows), "1"),
        "found": Value(len(found), "1"),
        "in memory": Value(sum(row["in_memory"] for row in rows), "1"),
        "with alarms": Value(sum(bool(row["alarms"]) for row in rows), "1"),
    }
    return Result(values=values, tables=[_table(fleet, found[skip : skip + limit])])


def chosen(
    rows: Iterable[Row], words: str, health: str, level: str, alarms: bool, order: str
) -> list[Row]:
    """The rows of an overview that fit, in order; arguments as ``overview`` has them."""
    found = [
        row
        for row in rows
        if (not words or words.lower() in f"{row['id']} {row['words']}".lower())
        and (health == "any" or (row["health"] or "none") == health)
        and (level == "any" or row["level"] == level)
        and (not alarms or row["alarms"] or row["fresh"])
    ]
    return sorted(found, key=ORDERS[order])


def _worst(row: Row) -> tuple[int, ...]:
    return tuple(-row["alarms"].get(name, 0) for name in PRIORITIES)


ORDERS: dict[str, Callable[[Row], Any]] = {
    "id": lambda row: row["id"],
    "alarms": lambda row: (_worst(row), HEALTH[row["health"]], row["id"]),
    "health": lambda row: (HEALTH[row["health"]], _worst(row), row["id"]),
    "newest": lambda row: (-row["time"], row["id"]),
}


def _table(fleet: str, rows: list[Row]) -> Table:
    shown = list(dict.fromkeys(path for row in rows for path in row["shown"]))
    units = {path: unit for row in rows for path, (_, unit) in row["shown"].items()}
    columns = [
        Column("id", [row["id"] for row in rows]),
        Column("level", [row["level"] for row in rows]),
        Column("health", [row["health"] for row in rows]),
        Column("alarms", [alarm_words(row["alarms"]) for row in rows]),
        Column("unacknowledged", [row["fresh"] for row in rows]),
        Column("says", [row["words"] for row in rows]),
        Column("last", [to_iso(row["time"]) if row["time"] else "" for row in rows]),
        *(
            Column(path, [row["shown"].get(path, (None,))[0] for row in rows], units[path])
            for path in shown
        ),
    ]
    return Table(fleet, tuple(columns))


def alarm_words(counts: Mapping[str, int]) -> str:
    """How many alarms of each priority, in words.

    Examples
    --------
    >>> alarm_words({"low": 2, "high": 1})
    '1 high, 2 low'
    """
    return ", ".join(f"{counts[name]} {name}" for name in PRIORITIES if counts.get(name))

"""Looking at live twins; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from galenic.clock import to_iso
from galenic.stages.twins.shared import Horizon, Interval, OneTwin, Outputs
from galenic.twin.service import (
    Axis,
    Column,
    Duration,
    In,
    Moment,
    Plot,
    Result,
    Run,
    Series,
    Table,
    Value,
    Values,
    service,
)

LARGEST = 20_000  # rows of history in one answer


@service("Show a twin", stage="twins", effect="read")
def status(twin: OneTwin, run: Run) -> Result:
    """Show level, health, age of the data, alarms and bypasses of a twin."""
    from galenic.twin import look

    facts = run.runner.look(twin.id, look.status)
    health = facts["health"]
    values = {
        "level": Value(facts["level"]),
        "health": Value(health["state"], meaning=health.get("words", "")),
        "time": Value(facts["time"]),
        "data age": Value(facts["data_age"], "s", "since the newest sample"),
    }
    tables = [_alarms(facts["alarms"])] if facts["alarms"] else []
    levels = (Column("tag", list(facts["levels"])), Column("level", list(facts["levels"].values())))
    return Result(values=values, tables=[*tables, Table("writable bindings", levels)])


def _alarms(alarms: Sequence[Mapping[str, Any]]) -> Table:
    """Standing alarms: those that hold, then those that are over and not acknowledged."""
    state = ["holds" if one["active"] else "over, not acknowledged" for one in alarms]
    columns = (
        Column("severity", [one["severity"] for one in alarms]),
        Column("state", state),
        Column("since", [to_iso(one["since"]) for one in alarms]),
        Column("text", [one["text"] for one in alarms]),
    )
    return Table("alarms", columns)


def _verdicts(verdicts: Sequence[Mapping[str, Any]]) -> Table:
    """What the guard said of each move, in the unit of its tag."""
    columns = (
        Column("tag", [v["move"]["tag"] for v in verdicts]),
        Column("proposed", [_short(v["move"]["value"]) for v in verdicts]),
        Column("outcome", [v["outcome"] for v in verdicts]),
        Column("value", [_short(v["value"]) for v in verdicts]),
        Column("why", [v["why"] for v in verdicts]),
    )
    return Table("verdicts of the guard", columns)


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@service("Show what a twin knows", stage="twins", effect="read")
def estimates(twin: OneTwin, quantities: tuple[str, ...] = (), *, run: Run) -> Result:
    """Show estimated quantities with their 90 % interval.

    Parameters
    ----------
    quantities : list of str
        Paths of quantities; those that the definition shows, and all states, if left out.
    """
    from galenic.twin import look

    rows = run.runner.look(twin.id, look.estimates, quantities or None)
    return Result(
        values={
            path: Value(row["value"], row["unit"], "", row["lower"], row["upper"])
            for path, row in rows.items()
        }
    )


@service("Forecast", stage="twins", effect="read")
def forecast(
    twin: OneTwin,
    horizon: Horizon | None = None,
    every: Interval | None = None,
    outputs: Outputs = (),
    *,
    run: Run,
) -> Result:
    """Forecast quantities from what the twin knows now, with 90 % intervals."""
    made = run.runner.forecast(twin.id, horizon, every, outputs or None, run=run)
    return forecast_result(made)


@service("Try what would happen if", stage="twins", effect="read")
def what_if(
    twin: OneTwin,
    changes: Values,
    horizon: Horizon | None = None,
    every: Interval | None = None,
    outputs: Outputs = (),
    *,
    run: Run,
) -> Result:
    """Compare the running forecast with one under other inputs. Nothing is written.

    Parameters
    ----------
    changes : mapping
        Inputs by path or tag, as FeederAPI.Setpoint="2.1 kg/h".
    """
    both = run.runner.what_if(twin.id, changes, horizon, every, outputs or None, run=run)
    running, other = forecast_result(both.running), forecast_result(both.alternative)
    facts = both.to_dict()["differences"]
    table = Table(
        "difference at the end",
        (
            Column("quantity", list(facts)),
            Column("change", [row["change"] for row in facts.values()]),
            Column("unit", [row["unit"] for row in facts.values()]),
        ),
    )
    plots = [_beside(a, b) for a, b in zip(running.plots, other.plots, strict=True)]
    return Result(tables=[table], plots=plots)


def _beside(running: Plot, other: Plot) -> Plot:
    """The running forecast as the predicted curve, the alternative as a line."""
    (ours,), (theirs,) = running.y, other.y
    alternative = Series(
        f"{theirs.name}, changed", theirs.data, theirs.unit, "line", theirs.lower, theirs.upper
    )
    return Plot(running.title, running.x, (ours, alternative))


def forecast_result(forecast: Any) -> Result:
    """A forecast as a result: one plot per quantity, and a table of the means."""
    from galenic.clock import seconds

    facts = forecast.to_dict()["series"]
    times = [seconds(int(time) - int(forecast.times[0])) / 60.0 for time in forecast.times]
    axis = Axis("ahead", times, "min")
    plots, columns = [], [Column("ahead", times, "min")]
    for name, row in facts.items():
        low, high = row["quantiles"]["0.05"], row["quantiles"]["0.95"]
        line = Series(name, row["mean"], row["unit"], "predicted", low, high)
        plots.append(Plot(name, axis, (line,)))
        columns.append(Column(name, row["mean"], row["unit"]))
    text = f"from {to_iso(int(forecast.times[0]))}"
    return Result(text, tables=[Table("forecast", tuple(columns))], plots=plots)


@service("Show the last proposal", stage="twins", effect="read")
def proposal(twin: OneTwin, run: Run) -> Result:
    """Show what the controller proposed last, what the guard said, and what waits for approval."""
    from galenic.twin import look

    facts = run.runner.look(twin.id, look.recommend)
    waiting = [
        Column("key", list(facts["waiting"])),
        *(
            Column(name, [str(one[name]) for one in facts["waiting"].values()])
            for name in ("tag", "value", "reason")
        ),
    ]
    values = {
        f"target of {path}": Value(row["value"], row["unit"])
        for path, row in facts["targets"].items()
    }
    tables = [_verdicts(facts["verdicts"])] if facts["verdicts"] else []
    tables += [Table("waiting for approval", tuple(waiting))] if facts["waiting"] else []
    made = "nothing was proposed yet"
    if facts["time"]:
        reasons = facts["proposal"].get("reasons", ())
        made = "\n  ".join([f"proposed {to_iso(facts['time'])}", *map(str, reasons)])
    return Result(made, values, tables)


@service("Show the history of tags", stage="twins", effect="read")
def history(
    tags: tuple[str, ...],
    start: Moment | None = None,
    stop: Moment | None = None,
    every: Duration | None = None,
    limit: Annotated[int, In(lower=1, upper=LARGEST)] = 5000,
    *,
    run: Run,
) -> Result:
    """Give recorded values of tags, single samples or means over intervals.

    Parameters
    ----------
    tags : list of str
        Names of tags.
    start : time
        From when; an hour before the end if left out.
    stop : time
        Until when; the newest sample if left out.
    every : duration
        Length of the intervals; single samples if left out.
    limit : int
        At most so many rows.
    """
    from galenic.clock import nanoseconds

    newest = run.store.latest(tags)
    end = max((s.source_time + 1 for s in newest.values()), default=0) if stop is None else stop
    begin = end - nanoseconds(3600.0) if start is None else start
    step = None if every is None else nanoseconds(every)
    table = run.store.history(list(tags), begin, end, step, None if step else limit)
    return history_result(table.slice(0, limit), {t: s.unit for t, s in newest.items()})


def history_result(table: Any, units: dict[str, str]) -> Result:
    """Rows of the historian as a result: the table, and one plot per tag."""
    frame = table.to_pandas()
    columns = []
    for name in frame.columns:
        data = frame[name].tolist()
        if name in ("time", "source_time", "received_time", "start"):
            data = [to_iso(int(item)) for item in data]
        columns.append(Column(str(name), data))
    value = next((n for n in ("value", "mean") if n in frame.columns), None)
    when = next((n for n in ("time", "source_time", "start") if n in frame.columns), None)
    plots = []
    if value and when and "tag" in frame.columns:
        for tag, rows in frame.groupby("tag", sort=False):
            axis = Axis("time", [to_iso(int(t)) for t in rows[when]], "UTC")
            unit = units.get(str(tag), "")
            series = Series(str(tag), rows[value].tolist(), unit, "measured")
            plots.append(Plot(str(tag), axis, (series,)))
    return Result(tables=[Table("history", tuple(columns))], plots=plots)

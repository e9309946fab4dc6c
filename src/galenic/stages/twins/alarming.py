"""Alarms of live twins: looking at them, their journal and performance, and answering them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from galenic.clock import to_iso
from galenic.stages.twins.shared import OneTwin, Reason
from galenic.stages.twins.telling import command
from galenic.twin.service import (
    Axis,
    Column,
    Help,
    In,
    Moment,
    Plot,
    Result,
    Run,
    Series,
    Table,
    TwinRef,
    Value,
    service,
)

MOST = 20_000
Minutes = Annotated[float, In("min", lower=1, upper=1440)]
Key = Annotated[str, Help("The alarm, as twins alarms lists it.")]
Operators = Annotated[float, In("1", lower=0.1, upper=1000)]
SomeTwin = Annotated[TwinRef | None, Help("Id of the twin; all if left out.")]


@service("List the alarms", stage="twins", effect="read")
def alarms(twin: SomeTwin = None, *, run: Run) -> Result:
    """List all alarms that are not normal, the worst first, with what to do about them.

    Parameters
    ----------
    twin : twin
        Id of the twin; all if left out.
    """
    from galenic.twin import look
    from galenic.twin.alarms import Alarm

    ids = [twin.id] if twin is not None else list(run.runner.twins)
    rows = [(id, alarm) for id in ids for alarm in run.runner.look(id, look.standing)]
    if twin is None:
        rows += [(id, Alarm(**said)) for id, said in run.runner.fleets.standing()]
    rows.sort(key=lambda row: (not row[1].active, _rank(row[1].severity), -row[1].since))
    return Result(tables=[_listed("alarms", rows)])


@service("Show the alarms of a twin's definition", stage="twins", effect="read")
def alarm_rules(twin: OneTwin, run: Run) -> Result:
    """Show every declared alarm: cause, consequence, action, time to respond, priority, state."""
    from galenic.twin import look

    rules = run.runner.look(twin.id, look.alarm_rules)
    names = ("key", "text", "severity", "group", "cause", "consequence", "action", "state")
    heads = ("alarm", "comes when", "priority", "class", *names[4:])
    columns = [Column(h, [getattr(r, n) for r in rules]) for h, n in zip(heads, names, strict=True)]
    columns.insert(3, Column("respond", [r.respond / 60.0 for r in rules], "min"))
    return Result(tables=[Table("declared alarms", tuple(columns))])


def _rank(severity: str) -> int:
    from galenic.twin.alarms import SEVERITIES

    return SEVERITIES.index(severity)


def _listed(title: str, rows: Sequence[tuple[str, Any]]) -> Table:
    found = [alarm for _, alarm in rows]
    return Table(
        title,
        (
            Column("twin", [id for id, _ in rows]),
            Column("alarm", [a.key for a in found]),
            Column("priority", [a.severity for a in found]),
            Column("state", [a.state for a in found]),
            Column("since", [to_iso(a.since) for a in found]),
            Column("text", [a.text for a in found]),
            Column("consequence", [a.consequence for a in found]),
            Column("action", [a.action for a in found]),
            Column("respond", [a.respond / 60.0 for a in found], "min"),
            Column("by", [a.by or a.who for a in found]),
            Column("until", [to_iso(a.until) if a.until else "" for a in found]),
        ),
    )


@service("Show the journal of alarms", stage="twins", effect="read")
def alarm_history(
    twin: SomeTwin = None,
    alarm: str = "",
    start: Moment | None = None,
    stop: Moment | None = None,
    limit: Annotated[int, In(lower=1, upper=MOST)] = 1000,
    *,
    run: Run,
) -> Result:
    """Give every transition of alarms with its time, person and reason, newest first.

    Parameters
    ----------
    twin : twin
        Id of the twin; all if left out.
    alarm : str
        Name of one alarm; all if left out.
    start : time
        From when; the beginning if left out.
    stop : time
        Until when; now if left out.
    limit : int
        At most so many.
    """
    found = [
        one
        for one in journal(run.store, twin.id if twin is not None else "")
        if (not alarm or one.alarm == alarm)
        and (start is None or one.time >= start)
        and (stop is None or one.time < stop)
    ]
    found.sort(key=lambda one: one.time)
    found.reverse()
    return Result(f"{len(found)} transitions", tables=[_journal(found[:limit])])


def journal(store: Any, twin: str = "") -> Iterable[Any]:
    """The transitions that the ledger has, in the order in which they were told."""
    from galenic.twin.alarm.performance import Told
    from galenic.twin.alarms import JOURNALLED

    for entry in store.ledger_read(kinds=(JOURNALLED,)):
        if not twin or entry.subject == twin:
            yield Told.of(entry)


def _journal(rows: Sequence[Any]) -> Table:
    notes = [
        "withdrawn by late data"
        if r.withdrawn
        else "found out late"
        if r.detail.get("late")
        else ""
        for r in rows
    ]
    return Table(
        "journal of alarms",
        (
            Column("time", [to_iso(r.time) for r in rows]),
            Column("twin", [r.twin for r in rows]),
            Column("alarm", [r.alarm for r in rows]),
            Column("priority", [r.priority for r in rows]),
            Column("from", [r.was for r in rows]),
            Column("to", [r.state for r in rows]),
            Column("text", [r.text for r in rows]),
            Column("who", [r.who for r in rows]),
            Column("reason", [r.reason for r in rows]),
            Column("note", notes),
        ),
    )


@service("Judge the alarm system", stage="twins", effect="read")
def alarm_performance(
    start: Moment | None = None,
    stop: Moment | None = None,
    operators: Operators = 1.0,
    twin: SomeTwin = None,
    *,
    run: Run,
) -> Result:
    """Give the usual performance figures of an alarm system, each beside its target.

    Rates per operator, floods, chattering and stale alarms, priorities, the worst ten, times to
    acknowledge (ISA-18.2, EEMUA 191).

    Parameters
    ----------
    start : time
        From when; a day before the end if left out.
    stop : time
        Until when; now if left out.
    operators : float
        People among whom the alarms are shared.
    twin : twin
        Id of the twin; all if left out.
    """
    from galenic.clock import nanoseconds
    from galenic.twin.alarm.performance import performance

    end = run.runner.clock.now() if stop is None else stop
    begin = end - nanoseconds(86_400.0) if start is None else start
    if begin >= end:
        from galenic.twin.arguments import ArgumentError

        raise ArgumentError(
            f"{to_iso(begin)} is not before {to_iso(end)}", where="argument 'start'"
        )
    made = performance(
        journal(run.store, twin.id if twin is not None else ""), begin, end, operators
    )
    return performance_result(made)


def performance_result(made: Any) -> Result:
    """Figures with targets, the worst ten, what chatters and what is stale, and two pictures."""
    words = {True: "met", False: "missed", None: ""}
    figures = Table(
        "figures",
        (
            Column("figure", [f.name for f in made.figures]),
            Column("value", [f.value for f in made.figures]),
            Column("unit", [f.unit for f in made.figures]),
            Column("target", [f.target for f in made.figures]),
            Column("verdict", [words[f.met] for f in made.figures]),
        ),
    )
    total = max(1, made.annunciated)
    worst = Table(
        "the most frequent",
        (
            Column("twin", [twin for twin, _, _ in made.worst]),
            Column("alarm", [alarm for _, alarm, _ in made.worst]),
            Column("times", [n for *_, n in made.worst]),
            Column("share", [100 * n / total for *_, n in made.worst], "%"),
            Column("most in a minute", [made.chattering.get((t, a)) for t, a, _ in made.worst]),
        ),
    )
    stale = Table(
        "stale",
        (
            Column("twin", [twin for twin, _, _ in made.stale]),
            Column("alarm", [alarm for _, alarm, _ in made.stale]),
            Column("since", [to_iso(since) for *_, since in made.stale]),
        ),
    )
    axis = Axis("time", [to_iso(begin) for begin, _ in made.windows], "UTC")
    counts = [sum(by.values()) for _, by in made.windows]
    rate = Plot(
        "alarms in ten minutes",
        axis,
        (
            Series("alarms", counts, "1"),
            Series("flood", [10.0] * len(counts), "1", "setpoint"),
        ),
    )
    values = {
        "annunciated": Value(made.annunciated, "1", "alarms that became unacknowledged"),
        **{f"suppressed now: {state}": Value(n, "1") for state, n in made.suppressed.items()},
    }
    text = f"{to_iso(made.start)} to {to_iso(made.stop)}"
    tables = [figures, *([worst] if len(worst) else []), *([stale] if len(stale) else [])]
    return Result(text, values, tables, [rate])


# --- answering ----------------------------------------------------------------------------------


@service("Acknowledge all alarms", stage="twins", effect="act", role="operator")
def acknowledge_all(
    twin: OneTwin, reason: Reason = "seen", keys: tuple[str, ...] = (), *, run: Run
) -> Result:
    """Say that a person has seen alarms of a twin.

    Parameters
    ----------
    reason : str
        What is done about them.
    keys : list of str
        The alarms; all that are unacknowledged if left out.
    """
    from galenic.twin import look

    wanted = list(keys) or run.runner.look(twin.id, look.unacknowledged)
    if not wanted:
        return Result("nothing to acknowledge")
    return command(run, twin.id, "acknowledge", reason, keys=wanted)


@service("Shelve an alarm", stage="twins", effect="act", role="operator")
def shelve(twin: OneTwin, key: Key, reason: Reason, minutes: Minutes = 60.0, *, run: Run) -> Result:
    """Put an alarm aside for a limited time; it comes back by itself.

    Parameters
    ----------
    minutes : float [min]
        How long; at most as the twin's definition allows.
    """
    return command(run, twin.id, "shelve", reason, key=key, minutes=minutes / 60.0)


@service("Unshelve an alarm", stage="twins", effect="act", role="operator")
def unshelve(twin: OneTwin, key: Key, reason: Reason, run: Run) -> Result:
    """Bring a shelved alarm back before its time."""
    return command(run, twin.id, "unshelve", reason, key=key)


@service("Reset a latched alarm", stage="twins", effect="act", role="operator")
def reset_alarm(twin: OneTwin, key: Key, reason: Reason, run: Run) -> Result:
    """Release a latched alarm that is over and acknowledged."""
    return command(run, twin.id, "reset", reason, key=key)


@service("Take an alarm out of service", stage="twins", effect="act", role="engineer")
def out_of_service(twin: OneTwin, key: Key, reason: Reason, run: Run) -> Result:
    """Take an alarm out of service, as for repair, until somebody returns it."""
    return command(run, twin.id, "out-of-service", reason, key=key)


@service("Return an alarm to service", stage="twins", effect="act", role="engineer")
def in_service(twin: OneTwin, key: Key, reason: Reason, run: Run) -> Result:
    """Return an alarm to service."""
    return command(run, twin.id, "in-service", reason, key=key)

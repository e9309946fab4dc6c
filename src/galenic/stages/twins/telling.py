"""Telling live twins: commands, manual entries, corrections, actions. All need a reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from galenic.stages.twins.shared import OneTwin, Reason
from galenic.twin.service import (
    Column,
    Duration,
    In,
    Moment,
    Result,
    Run,
    Setting,
    Table,
    TwinRef,
    Value,
    Values,
    service,
)

Minutes = Annotated[float, In("min", lower=1, upper=1440)]


def command(run: Run, twin: str, name: str, reason: str, **arguments: Any) -> Result:
    """Give a command to a twin and say what came of it."""
    from galenic.signals import Command

    now = run.runner.clock.now()
    event = Command(name, now, run.who, reason, arguments)
    return told(run.runner.submit_from_thread(event, twin))


def told(effects: Iterable[Any]) -> Result:
    """What an event led to; a refusal of the twin is raised as the error that it was."""
    from galenic.errors import DataError, NotPermitted
    from galenic.signals import Alert, Record, Write

    rows = []
    for effect in effects:
        if isinstance(effect, Record) and effect.what == "refused":
            facts = {
                k: effect.detail[k] for k in ("where", "expected", "hint") if effect.detail.get(k)
            }
            kind = NotPermitted if effect.detail.get("error") == "NotPermitted" else DataError
            raise kind(str(effect.detail.get("found", effect.reason)), **facts)
        if isinstance(effect, Record):
            rows.append((effect.what, effect.subject, effect.reason))
        elif isinstance(effect, Write):
            rows.append(("write", effect.tag, f"{effect.value} {effect.unit}".strip()))
        elif isinstance(effect, Alert):
            rows.append(("alert" if effect.active else "alert ended", effect.subject, effect.text))
    names = ("what", "of", "says")
    columns = [Column(name, [row[i] for row in rows]) for i, name in enumerate(names)]
    return Result("recorded", tables=[Table("what followed", tuple(columns))] if rows else [])


@service("Change the level of a twin", stage="twins", effect="act", role="engineer")
def level(
    twin: OneTwin,
    to: Literal["model", "shadow", "twin"],
    reason: Reason,
    tags: tuple[str, ...] = (),
    *,
    run: Run,
) -> Result:
    """Change how far a twin is joined to its physical thing.

    Parameters
    ----------
    to : {"model", "shadow", "twin"}
        model: no automatic data flow; shadow: it listens; twin: it also writes.
    tags : list of str
        Only these writable bindings; all if left out.
    """
    return command(run, twin.id, "level", reason, level=to, tags=list(tags))


@service("Set a target", stage="twins", effect="act", role="operator")
def target(twin: OneTwin, quantity: str, to: Setting, reason: Reason, run: Run) -> Result:
    """Set what the controller aims at.

    Parameters
    ----------
    quantity : str
        Path of the quantity.
    to : setting
        The aim, as "10 %", or a number in the declared unit.
    """
    return command(run, twin.id, "target", reason, quantity=quantity, value=to)


@service("Write a setpoint", stage="twins", effect="act", role="operator")
def setpoint(twin: OneTwin, tag: str, to: Setting, reason: Reason, run: Run) -> Result:
    """Ask for a setpoint; guard and level decide whether it is written.

    Parameters
    ----------
    tag : str
        The tag to write.
    to : setting
        The value, as "12.4 kg/h", or a number in the tag's unit.
    """
    return command(run, twin.id, "setpoint", reason, tag=tag, value=to)


@service("Approve a move that waits", stage="twins", effect="act", role="operator")
def approve(twin: OneTwin, key: str, reason: Reason, run: Run) -> Result:
    """Approve a proposed move that waits for a person.

    Parameters
    ----------
    key : str
        The move, as twins proposal lists it.
    """
    from galenic.errors import NotPermitted
    from galenic.twin.acting import proposer

    if run.runner.look(twin.id, proposer, key) == run.who:
        raise NotPermitted("who proposed a move does not approve it", expected="a second person")
    return command(run, twin.id, "approve", reason, key=key)


@service("Reject a move that waits", stage="twins", effect="act", role="operator")
def reject(twin: OneTwin, key: str, reason: Reason, run: Run) -> Result:
    """Reject a proposed move that waits for a person.

    Parameters
    ----------
    key : str
        The move, as twins proposal lists it.
    """
    return command(run, twin.id, "reject", reason, key=key)


@service("Bypass a sensor", stage="twins", effect="act", role="operator")
def bypass(twin: OneTwin, tag: str, reason: Reason, minutes: Minutes = 60.0, *, run: Run) -> Result:
    """Leave a sensor out of the belief and of health for a while.

    Parameters
    ----------
    tag : str
        The sensor.
    minutes : float [min]
        How long; a day at most.
    """
    return command(run, twin.id, "bypass", reason, tag=tag, minutes=minutes / 60.0)


@service("End a bypass", stage="twins", effect="act", role="operator")
def end_bypass(twin: OneTwin, tag: str, reason: Reason, run: Run) -> Result:
    """Let a bypassed sensor count again.

    Parameters
    ----------
    tag : str
        The sensor.
    """
    return command(run, twin.id, "end-bypass", reason, tag=tag)


@service("Acknowledge an alarm", stage="twins", effect="act", role="operator")
def acknowledge(twin: OneTwin, key: str, reason: Reason = "seen", *, run: Run) -> Result:
    """Say that a person has seen an alarm.

    Parameters
    ----------
    key : str
        The alarm.
    reason : str
        What is done about it.
    """
    return command(run, twin.id, "acknowledge", reason, key=key)


@service("Write a note", stage="twins", effect="act", role="operator")
def note(twin: OneTwin, text: str, run: Run) -> Result:
    """Put a note into the ledger of a twin.

    Parameters
    ----------
    text : str
        The note.
    """
    return command(run, twin.id, "note", "note", text=text)


@service("Change parameters or version", stage="twins", effect="act", role="engineer")
def evolve(
    twin: OneTwin,
    reason: Reason,
    values: Values | None = None,
    definition: str | None = None,
    *,
    run: Run,
) -> Result:
    """Go over to new parameter values or a new definition, without a bump.

    Parameters
    ----------
    values : mapping
        New values of parameters by path.
    definition : str
        Name of the new definition.
    """
    arguments: dict[str, Any] = {"values": dict(values)} if values else {}
    if definition:
        arguments["definition"] = definition
    return command(run, twin.id, "evolve", reason, **arguments)


@service("Enter a value by hand", stage="twins", effect="act", role="operator")
def enter(
    tag: str,
    value: float,
    unit: str,
    time: Moment | None = None,
    reason: Reason = "",
    twin: TwinRef | None = None,
    *,
    run: Run,
) -> Result:
    """Enter a laboratory value or another manual reading.

    A reason is needed for a value that comes too late for the belief, and for a second one of the
    same time.

    Parameters
    ----------
    tag : str
        The manual entry, as Lab.Content.
    value : float
        The value.
    unit : str
        Its unit.
    time : time
        When it was true, such as when the sample was drawn; now if left out.
    twin : twin
        Id of the twin; all that use the tag if left out.
    """
    from galenic.signals import Record, Sample

    now = run.runner.clock.now()
    true_at = now if time is None else time
    key = f"{tag}|{true_at}|{run.who}|{now}"
    takers = _takers(run, tag, twin)
    if not reason.strip():
        _need_no_reason(run, takers, tag, true_at)
    facts = {"key": key, "tag": tag, "value": value, "unit": unit, "time": true_at}
    said = Record("entry", now, "", facts, run.who, reason)
    sample = Sample(tag, value, unit, true_at, now, source_key=key)
    result = told(run.runner.submit_from_thread(sample, "" if twin is None else twin.id, said))
    return Result(result.text, {"key": Value(key, meaning="name it to correct it")}, result.tables)


def _takers(run: Run, tag: str, twin: TwinRef | None) -> list[str]:
    """The twins to which a manual entry goes."""
    from galenic.errors import UnknownName
    from galenic.twin import look

    takers: list[str] = run.runner.takers(tag)
    if twin is None:
        return takers
    if run.runner.fleets.known(twin.id) and run.runner.look(twin.id, look.enters, tag):
        return [twin.id]
    if twin.id not in takers:
        channels = run.runner.twin(twin.id).channels
        known = [name for name in channels if twin.id in run.runner.takers(name)]
        raise UnknownName.among("manual entry", tag, known, where=twin.id)
    return [twin.id]


def _need_no_reason(run: Run, takers: list[str], tag: str, time: int) -> None:
    """Refuse an entry without a reason that changes what is on record of the past."""
    from galenic.clock import to_iso
    from galenic.twin.arguments import ArgumentError
    from galenic.twin.intake import comes_late

    why = ""
    if any(run.runner.look(id, comes_late, tag, time) for id in takers):
        why = f"a value of {to_iso(time)} comes too late for the belief"
    elif run.store.history([tag], time, time + 1).num_rows:
        why = f"there is a value of {tag} of {to_iso(time)} already"
    if why:
        raise ArgumentError(
            f"{why}, and no reason is given",
            where="argument 'reason'",
            expected="why it is entered",
            hint="to replace a value use correct, with its key",
        )


@service("Correct a value", stage="twins", effect="act", role="operator")
def correct(
    key: str,
    reason: Reason,
    value: Setting | None = None,
    unit: str = "",
    twin: TwinRef | None = None,
    *,
    run: Run,
) -> Result:
    """Correct an earlier sample or manual entry, or withdraw it; the old version is kept.

    Parameters
    ----------
    key : str
        The key of the sample.
    value : setting
        The right value; withdrawn if left out.
    unit : str
        Its unit.
    twin : twin
        Id of the twin; found by the key if left out.
    """
    from galenic.signals import Correction

    now = run.runner.clock.now()
    event = Correction(key, value, unit, now, run.who, reason)
    return told(run.runner.submit_from_thread(event, "" if twin is None else twin.id))


@service("Record an action", stage="twins", effect="act", role="operator")
def action(
    twin: OneTwin,
    target: str,
    unit: str,
    reason: Reason,
    value: float | None = None,
    what: Literal["dose", "set", "reset"] = "dose",
    time: Moment | None = None,
    duration: Duration = 0.0,
    amends: str = "",
    *,
    run: Run,
) -> Result:
    """Record what was done to the physical thing: a dose, a setting, a new lot.

    Parameters
    ----------
    target : str
        Path of the input or state that it acts on.
    unit : str
        Unit of the value.
    value : float
        The amount or value; withdraws an amended action if left out.
    what : {"dose", "set", "reset"}
        dose: an amount enters; set: a value holds from now on; reset: it starts anew.
    time : time
        When it was done; now if left out.
    duration : duration
        How long the dose took; at once if left out.
    amends : str
        Key of an earlier action that this one replaces.
    """
    from galenic.signals import Action

    now = run.runner.clock.now()
    event = Action(
        target,
        value,
        unit,
        now if time is None else time,
        now,
        what,
        duration,
        amends=amends,
        who=run.who,
        reason=reason,
    )
    result = told(run.runner.submit_from_thread(event, twin.id))
    return Result(
        result.text, {"key": Value(event.key, meaning="name it to amend it")}, result.tables
    )

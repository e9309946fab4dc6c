"""What a person or service may ask of a twin. Each command needs who and reason and is recorded.

level        level, tags (optional)          bypass       tag, minutes or until [ns]
target       quantity, value                 end-bypass   tag
setpoint     tag, value                      approve      key
evolve       values, definition (optional)   reject       key
acknowledge  key or keys                     note         text
reset        key                             shelve       key, minutes
out-of-service, in-service  key              unshelve     key
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from galenic.clock import nanoseconds
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.signals import Command, Effect, Record
from galenic.twin import acting, annunciate
from galenic.twin.binding import Bypass
from galenic.twin.definition import load, targets_si
from galenic.twin.evolve import evolve
from galenic.twin.guard import Move
from galenic.twin.level import Level

if TYPE_CHECKING:
    from galenic.twin.twin import Twin

LONGEST_BYPASS = 24 * 3600.0


def perform(twin: Twin, command: Command) -> list[Effect]:
    """Do what is asked, and record who asked and why; raises what speaks against it."""
    if command.name not in COMMANDS:
        raise UnknownName.among("command", command.name, COMMANDS)
    if not command.who.strip() or not command.reason.strip():
        raise NotPermitted(f"{command.name} needs a person and a reason", expected="who and reason")
    return COMMANDS[command.name](twin, command)


def _argument(command: Command, name: str) -> Any:
    if name not in command.arguments:
        raise DataError(
            f"{command.name} lacks its {name}",
            where=f"command {command.name}",
            expected=f"arguments with {name!r}",
        )
    return command.arguments[name]


def _record(twin: Twin, command: Command, what: str = "command", **detail: Any) -> Record:
    facts = {"name": command.name, **dict(command.arguments), **detail}
    if command.key:
        facts["key"] = command.key
    return Record(what, command.time, twin.id, facts, command.who, command.reason)


def _level(twin: Twin, command: Command) -> list[Effect]:
    wanted = Level.of(_argument(command, "level"))
    before, tags = twin.level, tuple(command.arguments.get("tags", ()))
    levels = twin.levels.changed(wanted, tags, who=command.who, reason=command.reason)
    if levels.shown is Level.TWIN and before is not Level.TWIN and not twin.health.credible:
        raise NotPermitted(
            f"{twin.id} is not credible: {twin.health.words}",
            where=twin.id,
            hint="mend what is wrong, or bypass the sensor, and try again",
        )
    twin.levels = levels
    if before is Level.MODEL:
        twin.watching = max(twin.watching, command.time)
    record = _record(twin, command, "level", **{"from": before.word, "to": twin.level.word})
    effects: list[Effect] = [record, *twin.alarms.clear(f"level:{twin.id}", command.time)]
    if twin.level < Level.TWIN:
        twin.acting.stopped()
    elif before < Level.TWIN:
        effects += acting.engage(twin)
    return effects


def _bypass(twin: Twin, command: Command) -> list[Effect]:
    tag = _argument(command, "tag")
    if tag not in twin.channels:
        raise UnknownName.among("tag", tag, twin.channels)
    span = nanoseconds(60.0 * float(command.arguments.get("minutes", 60.0)))
    until = int(command.arguments.get("until", command.time + span))
    if not command.time < until <= command.time + nanoseconds(LONGEST_BYPASS):
        raise DataError("a bypass ends", where=f"bypass of {tag}", expected="within 24 hours")
    bypass = Bypass(tag, command.time, until, command.who, command.reason)
    twin.fold.bypass(bypass)
    text = f"{tag} is bypassed by {command.who}: {command.reason}"
    return [
        _record(twin, command, "bypass", until=until),
        *twin.alarms.raise_(f"bypass:{tag}", "low", text, command.time, tag),
    ]


def _end_bypass(twin: Twin, command: Command) -> list[Effect]:
    tag = _argument(command, "tag")
    bypassed = [b.tag for b in twin.fold.bypasses if b.covers(command.time)]
    if tag not in bypassed:
        raise UnknownName.among("bypassed tag", tag, bypassed)
    twin.fold.end_bypass(tag, command.time)
    return [
        _record(twin, command, "bypass"),
        *twin.alarms.clear(f"bypass:{tag}", command.time),
    ]


def _target(twin: Twin, command: Command) -> list[Effect]:
    quantity, value = _argument(command, "quantity"), _argument(command, "value")
    before = twin.targets.get(quantity)
    twin.targets = {**twin.targets, **targets_si({quantity: value}, twin.system)}
    return [_record(twin, command, was=before)]


def _setpoint(twin: Twin, command: Command) -> list[Effect]:
    tag, value = _argument(command, "tag"), _argument(command, "value")
    if tag not in twin.channels:
        raise UnknownName.among("tag", tag, twin.channels)
    if isinstance(value, str):
        from galenic.units import from_si, unit, value_in

        here = unit(twin.channels[tag].binding.unit)
        value = float(from_si(value_in(value, here), here))
    move = Move(tag, value, command.reason, command.who, command.key)
    return [_record(twin, command), *acting.propose(twin, move)]


def _approve(twin: Twin, command: Command) -> list[Effect]:
    effects = acting.approve(twin, command, _argument(command, "key"))
    return [_record(twin, command), *effects]


def _reject(twin: Twin, command: Command) -> list[Effect]:
    return acting.reject(twin, command, _argument(command, "key"))


def _alarm(twin: Twin, command: Command) -> list[Effect]:
    keys = command.arguments.get("keys") or [_argument(command, "key")]
    return [_record(twin, command), *annunciate.asked(twin, command, [str(key) for key in keys])]


def _note(twin: Twin, command: Command) -> list[Effect]:
    return [_record(twin, command, text=str(_argument(command, "text")))]


def _evolve(twin: Twin, command: Command) -> list[Effect]:
    named = command.arguments.get("definition")
    definition = load(named) if named and isinstance(named, str) else named or None
    return evolve(twin, definition, command.arguments.get("values"), command)


COMMANDS: dict[str, Callable[[Twin, Command], list[Effect]]] = {
    "level": _level,
    "bypass": _bypass,
    "end-bypass": _end_bypass,
    "target": _target,
    "setpoint": _setpoint,
    "approve": _approve,
    "reject": _reject,
    "acknowledge": _alarm,
    "reset": _alarm,
    "shelve": _alarm,
    "unshelve": _alarm,
    "out-of-service": _alarm,
    "in-service": _alarm,
    "note": _note,
    "evolve": _evolve,
}

"""How a twin acts: controller runs, proposals, the guard, the gate, writes and their receipts.

Functions over a twin, called by it on ticks, computed results and receipts. A controller runs as a
Compute effect; while none has answered, the last written values hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from galenic.clock import nanoseconds, seconds
from galenic.errors import DataError, UnknownName
from galenic.signals import Command, Compute, Computed, Effect, Receipt, Record, Write
from galenic.twin.guard import Move, Value, Verdict
from galenic.twin.level import Level

if TYPE_CHECKING:
    from galenic.twin.twin import Twin

TWIN = "twin"
FAILURES = 3
# The runner answers at the deadline; this is for an answer that never comes, in plant time, which
# may run faster than the worker's.
LOST_AFTER = 120.0


@dataclass
class Waiting:
    """A move that a person has to approve, until it expires [ns]."""

    move: Move
    value: Value
    expires: int


@dataclass
class Acting:
    """What a twin remembers about its acting."""

    task: str = ""
    deadline: int = 0
    next_run: int = 0
    timeouts: int = 0
    runs: int = 0
    proposal: dict[str, Any] = field(default_factory=dict)
    proposed_at: int = 0
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    in_flight: dict[str, Write] = field(default_factory=dict)
    written: dict[str, tuple[int, Value]] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    beats: int = 0
    next_beat: int = 0
    engaged_at: int = 0
    confirmed: bool = False

    def stopped(self) -> None:
        """Nothing that was meant for a higher level survives a lowering."""
        self.task, self.waiting = "", {}
        self.engaged_at, self.confirmed = 0, False

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the opposite of ``from_dict``."""
        record = asdict(self)
        record["in_flight"] = {key: write.to_dict() for key, write in self.in_flight.items()}
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Acting:
        waiting = {
            key: Waiting(Move(**w["move"]), w["value"], w["expires"])
            for key, w in record["waiting"].items()
        }
        in_flight = {
            key: Write(**{name: value for name, value in w.items() if name != "kind"})
            for key, w in record["in_flight"].items()
        }
        written = {tag: (time, value) for tag, (time, value) in record["written"].items()}
        verdicts = [dict(verdict) for verdict in record["verdicts"]]
        changed = {
            "waiting": waiting, "in_flight": in_flight, "written": written, "verdicts": verdicts
        }  # fmt: skip
        return cls(**{**record, **changed})


def tick(twin: Twin) -> list[Effect]:
    """What is due at the twin's time: expiries, remote control, heartbeat, controller."""
    effects = _expired(twin)
    effects += _remote(twin)
    effects += _heartbeat(twin)
    return effects + _control(twin)


def _expired(twin: Twin) -> list[Effect]:
    effects: list[Effect] = []
    acting = twin.acting
    for key, waiting in list(acting.waiting.items()):
        if waiting.expires <= twin.now:
            del acting.waiting[key]
            detail = {"key": key, "tag": waiting.move.tag, "value": waiting.value}
            effects.append(Record("expired", twin.now, twin.id, detail, reason="not approved"))
            effects += twin.alarms.clear(f"approve:{key}", twin.now)
    effects += twin.alarms.expired(twin.now)
    for bypass in twin.fold.bypasses:
        if bypass.until <= twin.now:
            effects += twin.alarms.clear(f"bypass:{bypass.tag}", twin.now)
    return effects


def _remote(twin: Twin) -> list[Effect]:
    """Follow the plant's own switch: when it goes local, the twin steps down."""
    remote, acting = twin.definition.guard.remote, twin.acting
    if remote is None or not acting.engaged_at:
        return []
    latest = twin.latest.get(remote.tag)
    on = latest is not None and bool(latest.value) and latest.time >= acting.engaged_at
    if on:
        acting.confirmed = True
        return []
    newer = latest is not None and latest.time >= acting.engaged_at
    if acting.confirmed and newer:
        return twin.lower(f"{remote.tag} was switched to local at the plant")
    if seconds(twin.now - acting.engaged_at) > remote.grace and not acting.confirmed:
        return twin.lower(f"{remote.tag} was not confirmed within {remote.grace:g} s")
    return []


def engage(twin: Twin) -> list[Effect]:
    """Take over: the first heartbeat, then the switch to remote."""
    guard, acting = twin.definition.guard, twin.acting
    acting.next_beat, acting.next_run, acting.task = twin.now, twin.now, ""
    effects = _heartbeat(twin)
    if guard.remote is not None:
        acting.engaged_at, acting.confirmed = twin.now, False
        move = Move(guard.remote.tag, True, "take over remote control", TWIN)
        effects += _write(twin, move, True, 10.0)
    return effects


def _heartbeat(twin: Twin) -> list[Effect]:
    beat, acting = twin.definition.guard.heartbeat, twin.acting
    if beat is None or twin.level < Level.TWIN or twin.now < acting.next_beat:
        return []
    acting.beats += 1
    acting.next_beat = twin.now + nanoseconds(beat.every)
    move = Move(beat.tag, acting.beats, "heartbeat", "heartbeat")
    return _write(twin, move, acting.beats, beat.every)


def _control(twin: Twin) -> list[Effect]:
    control, acting = twin.definition.controller, twin.acting
    if control is None or twin.level is Level.MODEL or not twin.health.credible:
        return []
    effects: list[Effect] = []
    if acting.task:
        if twin.now <= acting.deadline:
            return []
        effects += _timed_out(twin, "no answer from the worker")
    if twin.now < acting.next_run:
        return effects
    acting.runs += 1
    acting.task = f"{twin.id}:control:{acting.runs}"
    acting.next_run = twin.now + nanoseconds(control.every)
    acting.deadline = twin.now + nanoseconds(max(LOST_AFTER, 30.0 * control.deadline))
    arguments = arguments_of(twin)
    return [
        *effects,
        Compute(acting.task, control.function, arguments, twin.now, control.deadline),
    ]


def arguments_of(twin: Twin) -> dict[str, Any]:
    """What a controller run in another process needs; SI by path, the model as its System."""
    control = twin.definition.controller
    state = twin.fold.state
    return {
        "factory": control.factory if control else "",
        "options": dict(control.options) if control else {},
        "system": twin.system,
        "belief": state.belief.to_bytes(),
        "inputs": dict(state.inputs),
        "targets": dict(twin.targets),
        "limits": limits_si(twin),
        "time": twin.now,
        "previous": dict(twin.acting.proposal),
    }


def limits_si(twin: Twin) -> dict[str, tuple[float, float, float]]:
    """Low, high and rate [1/s] of each writable input, SI, from the guard's rules."""
    limits = {}
    for rule in twin.definition.guard.rules:
        channel = twin.channels[rule.tag]
        if channel.role == "input":
            low, high = channel.value_si(rule.low), channel.value_si(rule.high)
            slope = abs(channel.value_si(1.0) - channel.value_si(0.0))
            limits[channel.binding.quantity] = (low, high, rule.rate * slope / 60.0)
    return limits


def computed(twin: Twin, outcome: Computed) -> list[Effect]:
    """Take in what a controller found, or that it found nothing in time."""
    acting = twin.acting
    if outcome.task != acting.task:
        return []
    acting.task = ""
    if outcome.error:
        return _timed_out(twin, outcome.error)
    try:
        moves = _moves(twin, outcome.result)
    except DataError as error:
        return _timed_out(twin, str(error))
    acting.timeouts = 0
    acting.proposal, acting.proposed_at = dict(outcome.result), twin.now
    acting.verdicts = []
    effects: list[Effect] = list(twin.alarms.clear(f"controller:{twin.id}", twin.now))
    for move in moves:
        effects += propose(twin, move)
    return effects


def _moves(twin: Twin, result: Any) -> list[Move]:
    if not isinstance(result, Mapping) or not isinstance(result.get("inputs"), Mapping):
        raise DataError("the controller gave no inputs", expected="{'inputs': {path: SI}}")
    tags = {
        channel.binding.quantity: channel
        for channel in twin.channels.values()
        if channel.binding.writable and channel.binding.quantity
    }
    reason = "; ".join(str(r) for r in result.get("reasons", ())) or "controller"
    moves = []
    for path, value in sorted(result["inputs"].items()):  # the journal keeps no order of keys
        if path not in tags:
            raise DataError(f"the controller moves {path}, which no tag is bound to")
        channel = tags[path]
        moves.append(Move(channel.tag, channel.value_of(float(value)), reason, "controller"))
    return moves


def _timed_out(twin: Twin, why: str) -> list[Effect]:
    """The previous safe action holds; after several in a row people are told and writing stops."""
    control, acting = twin.definition.controller, twin.acting
    acting.task = ""
    acting.timeouts += 1
    patience = control.patience if control else 1
    if acting.timeouts < patience:
        return []
    text = f"the controller failed {acting.timeouts} times in a row: {why}"
    effects: list[Effect] = list(
        twin.alarms.raise_(f"controller:{twin.id}", "high", text, twin.now, twin.id)
    )
    if acting.timeouts == patience:
        effects.append(Record("controller", twin.now, twin.id, {"error": why}, reason=text))
        effects += twin.lower(text) if twin.level is Level.TWIN else []
    return effects


def propose(twin: Twin, move: Move) -> list[Effect]:
    """Pass a move through the guard and the gate: writes, or an alert with what was not done."""
    if move.tag not in twin.channels:
        raise UnknownName.among("tag", move.tag, twin.channels)
    verdict = twin.definition.guard.judge(move, twin.view())
    if twin.level < Level.TWIN and move.who == "controller":
        advice = "same" if verdict.outcome == "same" else "advice"
        _note(twin, Verdict(move, advice, verdict.value, verdict.why))
        return []
    _note(twin, verdict)
    key = f"guard:{move.tag}"
    if verdict.outcome == "same":
        return []
    if verdict.outcome == "refuse":
        return _not_performed(twin, move, verdict.why)
    effects: list[Effect] = list(twin.alarms.clear(key, twin.now))
    if verdict.outcome == "wait":
        return effects + _ask(twin, move, verdict.value)
    rule = twin.definition.guard.rule(move.tag)
    return effects + _write(twin, move, verdict.value, rule.expires if rule else 10.0)


def _note(twin: Twin, verdict: Verdict) -> None:
    kept = [v for v in twin.acting.verdicts if v["move"]["tag"] != verdict.move.tag]
    twin.acting.verdicts = [*kept, {**verdict.to_dict(), "time": twin.now}]


def _not_performed(twin: Twin, move: Move, why: str) -> list[Effect]:
    """An alert with the proposal and the reason; the ledger has the first of a run."""
    detail = {"tag": move.tag, "value": move.value, "why": why, "proposed": move.reason}
    if move.key:
        detail["key"] = move.key
    text = f"{move.tag} = {_short(move.value)} was not written: {why}"
    alerts = twin.alarms.raise_(f"guard:{move.tag}", "medium", text, twin.now, move.tag)
    if not alerts and move.who in ("controller", "heartbeat"):
        return []
    alerts = [replace(alert, detail=detail) for alert in alerts]
    return [*alerts, Record("refused", twin.now, twin.id, detail, move.who, why)]


def _ask(twin: Twin, move: Move, value: Value) -> list[Effect]:
    rule = twin.definition.guard.rule(move.tag)
    key = f"{twin.id}:{move.tag}"
    expires = twin.now + nanoseconds(rule.expires if rule else 60.0)
    known = key in twin.acting.waiting
    twin.acting.waiting[key] = Waiting(move, value, expires)
    if known:
        return []
    text = f"approve {move.tag} = {_short(value)}? {move.reason}"
    return list(twin.alarms.raise_(f"approve:{key}", "medium", text, twin.now, move.tag))


def proposer(twin: Twin, key: str) -> str:
    """Who proposed a move that waits: a person, or ``controller``; empty where none waits."""
    waiting = twin.acting.waiting.get(key)
    return waiting.move.who if waiting is not None else ""


def approve(twin: Twin, command: Command, key: str) -> list[Effect]:
    """A person agrees: the guard looks once more, now."""
    waiting, effects = _taken(twin, key)
    verdict = twin.definition.guard.judge(waiting.move, twin.view())
    if verdict.outcome == "refuse":
        return effects + _not_performed(twin, waiting.move, verdict.why)
    move = Move(waiting.move.tag, waiting.value, waiting.move.reason, command.who, waiting.move.key)
    rule = twin.definition.guard.rule(move.tag)
    return effects + _write(twin, move, waiting.value, rule.expires if rule else 10.0)


def _taken(twin: Twin, key: str) -> tuple[Waiting, list[Effect]]:
    if key not in twin.acting.waiting:
        raise UnknownName.among("proposal that waits", key, twin.acting.waiting)
    over = twin.alarms.clear(f"approve:{key}", twin.now)
    return twin.acting.waiting.pop(key), list(over)


def reject(twin: Twin, command: Command, key: str) -> list[Effect]:
    """A person does not agree."""
    waiting, effects = _taken(twin, key)
    detail = {"key": key, "tag": waiting.move.tag, "value": waiting.value}
    refused = Record("refused", twin.now, twin.id, detail, command.who, command.reason)
    return [refused, *effects]


def _write(twin: Twin, move: Move, value: Value, expires: float) -> list[Effect]:
    """The one place where a Write is made; it passes the gate or is not performed."""
    latest = twin.latest.get(move.tag)
    channel = twin.channels[move.tag]
    write = Write(
        key=move.key or f"{twin.id}:{move.tag}:{twin.now}",
        tag=move.tag,
        value=value,
        unit="" if isinstance(value, bool | str) else channel.binding.unit,
        time=twin.now,
        expires=twin.now + nanoseconds(expires),
        reason=move.reason,
        who=move.who,
        expected=latest.value if latest and move.who != "heartbeat" else None,
    )
    refusal = twin.levels.refusal(write)
    if refusal:
        return _not_performed(twin, move, refusal)
    if write.key in twin.acting.in_flight:
        return []
    twin.acting.in_flight[write.key] = write
    if move.who != "heartbeat":
        twin.acting.written[move.tag] = (twin.now, value)
    return [write]


def receipt(twin: Twin, outcome: Receipt) -> list[Effect]:
    """What became of a write: the input takes effect, or people are told."""
    write = twin.acting.in_flight.pop(outcome.write, None)
    if write is None:
        return []
    failures, key = twin.acting.failures, f"write:{outcome.tag}"
    if outcome.outcome == "done":
        failures.pop(outcome.tag, None)
        value = outcome.read_back if outcome.read_back is not None else write.value
        twin.took_effect(outcome.tag, value, outcome.time, f"receipt|{outcome.write}")
        return list(twin.alarms.clear(key, outcome.time))
    failures[outcome.tag] = failures.get(outcome.tag, 0) + 1
    text = f"{outcome.tag} = {_short(write.value)}: {outcome.outcome}, {outcome.detail}"
    effects: list[Effect] = list(twin.alarms.raise_(key, "high", text, outcome.time, outcome.tag))
    if failures[outcome.tag] >= FAILURES or outcome.outcome == "unknown":
        effects += twin.lower(f"writing {outcome.tag} {outcome.outcome}: {outcome.detail}")
    return effects


def _short(value: Value) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.6g}" if is_number else str(value)

"""Events of SBML as rules of a model.

An event whose outcome cannot depend on its neighbours becomes one rule. Others (delays, priorities,
events that read or write what others write) are taken in two steps, as SBML means it: the trigger
notes time and values in a free place; the pending event of highest priority is executed alone, and
before the next one all triggers are looked at again.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from galenic.modeling.sbml.formula import Formulas, binary, constant
from galenic.modeling.sbml.quantities import Document, Quantity
from galenic.modeling.sbml.refusal import refused
from galenic.units import unit

PLACES = 4  # executions of one delayed event that can be pending at once
COMPARING = {"above", "at_least", "below", "at_most"}
_LATE = 1e-10
WIDTH = 92


def events_source(
    document: Document, formulas: Formulas, switches: list[str]
) -> tuple[list[str], list[str]]:
    """Declarations, and the lines of ``events``; ``switches`` are comparisons in equations."""
    events = [_Event(document, formulas, i, one) for i, one in enumerate(document.events)]
    events = [event for event in events if event.writes]
    for event in events:
        if isinstance(event.condition, ast.BinOp):  # true, perhaps, for a moment only
            moments = [text for text in event.comparisons() if _moment(text) is not None]
            switches = list(dict.fromkeys([*switches, *moments]))
    writer = _Writer(document, events)
    if _independent(events):
        for event in events:
            writer.at_once(event)
    else:
        writer.in_order()
    writer.stops(switches)
    return writer.declared, writer.lines


@dataclass
class _Event:
    """One event: its formulas as Python, what it reads and writes."""

    document: Document
    formulas: Formulas
    number: int
    one: Any
    name: str = ""
    attribute: str = ""
    writes: dict[str, ast.expr] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    watches: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        one, trigger = self.one, self.one.getTrigger()
        self.name = one.getId() or f"event {self.number + 1}"
        if trigger is None or trigger.getMath() is None:
            raise refused("an event without a trigger", self.name)
        self.condition = self.formulas.condition(trigger.getMath(), self.name)
        self.opposite = self.formulas.condition(trigger.getMath(), self.name, negated=True)
        self.watches = self.document.reaches(trigger.getMath())
        self._refuse_equalities()
        self.starts_true = trigger.isSetInitialValue() and not trigger.getInitialValue()
        self.persistent = not trigger.isSetPersistent() or trigger.getPersistent()
        self.delay = self._formula(one.getDelay())
        self.priority = self._formula(one.getPriority())
        self.values_of_trigger = one.getUseValuesFromTriggerTime()
        for i in range(one.getNumEventAssignments()):
            part = one.getEventAssignment(i)
            if part.getMath() is not None:
                where = f"{self.name}, {part.getVariable()}"
                self.writes[part.getVariable()] = self.formulas.number(part.getMath(), where=where)
                self.reads |= self.document.reaches(part.getMath())
                quantity = self.document.quantities.get(part.getVariable())
                if quantity is not None and quantity.has_amount_state and quantity.volume:
                    self.reads.add(quantity.volume.id)

    def comparisons(self) -> list[str]:
        """The comparisons that the trigger joins."""
        return [
            ast.unparse(node)
            for node in ast.walk(self.condition)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in COMPARING
        ]

    @property
    def needs_order(self) -> bool:
        """Whether the event by itself asks for the two steps."""
        return self.delay is not None or self.priority is not None

    @property
    def keeps_values(self) -> bool:
        """Whether values are computed when the event is triggered."""
        return bool(self.values_of_trigger)

    def _formula(self, part: Any) -> ast.expr | None:
        if part is None or part.getMath() is None:
            return None
        self.reads |= self.document.reaches(part.getMath())
        return self.formulas.number(part.getMath(), where=self.name)

    def _refuse_equalities(self) -> None:
        """An equality of quantities that move is met at single instants, which no solver sees."""
        moving = {q.id for q in self.document.quantities.values()
                  if q.how in ("rate", "flow", "implied")} | {" time"}  # fmt: skip
        used = {n.func.id for tree in (self.condition, self.opposite) for n in ast.walk(tree)
                if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
        if used & {"equal", "unequal"} and moving & self.watches:
            raise refused("a trigger that compares moving quantities for equality", self.name)

    def targets(self) -> list[tuple[str, str, ast.expr | None]]:
        """Per written variable: the state, its unit, and the factor from value to state."""
        found: list[tuple[str, str, ast.expr | None]] = []
        for name in self.writes:
            q = self._writable(name)
            if q.has_amount_state:
                assert q.volume is not None
                if q.volume.id in self.writes:
                    raise refused(
                        f"an event that assigns both the concentration {name} and the size of its "
                        "compartment", self.name,
                        "SBML does not say which size turns the concentration into an amount",
                    )  # fmt: skip
                found.append((q.base, q.base_unit, _attribute(q.volume.attribute)))
            else:
                found.append((q.attribute, q.unit, None))
        return found

    def _writable(self, name: str) -> Quantity:
        q = self.document.quantities.get(name)
        if q is None or q.how in ("constant", "rule", "implied"):
            raise refused(f"an event that assigns to {name!r}", self.name)
        return q


def _independent(events: list[_Event]) -> bool:
    """Whether the order of events that come together cannot matter."""
    if any(event.needs_order for event in events):
        return False
    for one in events:
        for other in events:
            if one is other:
                continue
            written = set(other.writes)
            if written & (one.reads | set(one.writes)):
                return False
            if written & one.watches and not one.persistent:
                return False
    return True


class _Writer:
    def __init__(self, document: Document, events: list[_Event]) -> None:
        self.document = document
        self.events = events
        self.declared: list[str] = []
        self.lines: list[str] = []

    # -- one rule --

    def at_once(self, event: _Event) -> None:
        """Assign where the trigger becomes true, or at the start if it counts as false before."""
        condition = ast.unparse(event.condition)
        resets, held = [], []
        for (state, unit_, factor), value in zip(
            event.targets(), event.writes.values(), strict=True
        ):
            new = ast.unparse(_scaled(value, factor))
            resets.append((state, f"as_unit({new}, {unit_!r})"))
            kept = f"where({condition}, {new}, m.{state})"
            held.append((state, f"as_unit({kept}, {unit_!r})"))
        self._rule("When", condition, resets, event.name)
        if event.starts_true:
            self._rule("At", "0", held, f"{event.name} at the start")

    def _rule(self, kind: str, when: str, resets: list[tuple[str, str]], name: str) -> None:
        """``yield kind(when, {resets}, name=name)``, on several lines if it is long."""
        pairs = [f"self.{state}: {value}" for state, value in resets]
        line = f"yield {kind}({when}, {{{', '.join(pairs)}}}, name={name!r})"
        if len(line) <= WIDTH:
            self.lines.append(line)
            return
        inner = [f"        {pair}," for pair in pairs]
        self.lines += [f"yield {kind}(", f"    {when},", "    {", *inner, "    },"]
        self.lines += [f"    name={name!r},", ")"]

    # -- two steps --

    def in_order(self) -> None:
        """Trigger all events into places, execute the pending ones one by one."""
        self.busy = self.document.attribute("events_busy")
        self.full = self.document.attribute("events_pending_too_many")
        self._state(self.busy, "an event has just been executed")
        self._state(self.full, "becomes nan where more executions are pending than can be kept")
        self.rows = [(event, place) for event in self.events for place in range(_places(event))]
        for event in self.events:
            event.attribute = self.document.attribute(f"{_plain(event.name)}_pending")
            for place in range(_places(event)):
                self._state(f"{event.attribute}_{place}", f"{event.name} waits")
                self._state(f"{event.attribute}_due_{place}", f"when {event.name} is due")
                for k in range(len(event.writes) if event.keeps_values else 0):
                    self._state(f"{event.attribute}_{place}_value_{k}", "a value to be assigned")
        for event in self.events:
            self._triggered(event)
        for event, place in self.rows:
            self._executed(event, place)
        settled = f"crossing(above(m.{self.busy}, 0.5))"
        self._rule("When", settled, [(self.busy, "0")], "events settled")

    def _state(self, attribute: str, meaning: str) -> None:
        self.declared.append(f"{attribute} = State(0, '1', {meaning!r}, discrete=True)")

    def _triggered(self, event: _Event) -> None:
        """Note when it is due, and its values, in the first free place."""
        resets = self._noted(event)
        condition = ast.unparse(event.condition)
        self._rule("When", condition, resets, f"{event.name} triggered")
        if event.starts_true:
            held = [(s, f"where({condition}, {v}, m.{s})") for s, v in resets]
            self._rule("At", "0", held, f"{event.name} triggered at the start")
        if not event.persistent:
            waits = [(f"{event.attribute}_{place}", "0") for place in range(_places(event))]
            self._rule("When", ast.unparse(event.opposite), waits, f"{event.name} off")

    def _noted(self, event: _Event) -> list[tuple[str, str]]:
        delay = ast.unparse(binary(ast.Name("t"), ast.Add(), event.delay)) if event.delay else "t"
        taken: list[str] = []
        resets: list[tuple[str, str]] = []
        for place in range(_places(event)):
            state = f"{event.attribute}_{place}"
            free = " & ".join([*taken, f"below(m.{state}, 0.5)"])
            resets.append((state, f"where({free}, 1, m.{state})"))
            due = f"{event.attribute}_due_{place}"
            resets.append((due, f"where({free}, {delay}, m.{due})"))
            for k, value in enumerate(event.writes.values() if event.keeps_values else ()):
                kept = f"{state}_value_{k}"
                resets.append((kept, f"where({free}, {ast.unparse(value)}, m.{kept})"))
            taken.append(f"above(m.{state}, 0.5)")
        full = " & ".join(taken)
        resets.append((self.full, f"where({full}, nan, m.{self.full})"))
        return resets

    def _executed(self, event: _Event, place: int) -> None:
        """Assign when it is due and nothing of higher priority is."""
        state = f"{event.attribute}_{place}"
        first = [f"above(m.{state}, 0.5)", f"below(m.{self.busy}, 0.5)"]
        mine = self.rows.index((event, place))
        for k, (other, at) in enumerate(self.rows):
            if k != mine:
                first.append(self._not_before(event, other, at, k < mine))
        level = f"where({' & '.join(first)}, t - m.{event.attribute}_due_{place}, -1)"
        values = list(event.writes.values())
        if event.keeps_values:
            values = [_attribute(f"{state}_value_{k}") for k in range(len(values))]
        resets = [
            (name, f"as_unit({ast.unparse(_scaled(value, factor))}, {of!r})")
            for (name, of, factor), value in zip(event.targets(), values, strict=True)
        ]
        resets += [(state, "0"), (self.busy, "1")]
        self._rule("When", level, resets, event.name)

    def _not_before(self, event: _Event, other: _Event, place: int, earlier: bool) -> str:
        """The condition that a pending execution does not come before this one."""
        waiting = f"below(m.{other.attribute}_{place}, 0.5)"
        due = f"m.{other.attribute}_due_{place}"
        later = f"above({due} - {_LATE} * (1 + absolute({due})), t)"
        mine, theirs = (ast.unparse(e.priority or constant(-1e300)) for e in (event, other))
        if other is event or mine == theirs:
            return f"({waiting} | {later})" if earlier else "truth(True)"
        lower = "below" if earlier else "at_most"
        return f"({waiting} | {later} | {lower}({theirs}, {mine}))"

    # -- conditions in equations --

    def stops(self, switches: list[str]) -> None:
        """Stop where a comparison changes on which an equation or a joined trigger depends."""
        if not switches:
            return
        counter = self.document.attribute("switched")
        self._state(counter, "how often a comparison has changed")
        count = [(counter, f"m.{counter} + 1")]
        second = unit(self.document.sizes.time).scale
        for k, condition in enumerate(switches):
            moment = _moment(condition)
            if moment is None:
                self._rule("When", f"crossing({condition})", count, f"comparison {k + 1} true")
                self._rule("When", f"-crossing({condition})", count, f"comparison {k + 1} false")
            elif moment > 0:
                self._rule("At", repr(moment * second), count, f"moment {k + 1}")


def _moment(comparison: str) -> float | None:
    """The number with which a comparison compares time, if it does."""
    node = ast.parse(comparison, mode="eval").body
    assert isinstance(node, ast.Call)
    sides = [ast.unparse(side) for side in node.args]
    if "t" not in sides:
        return None
    other = node.args[1 - sides.index("t")]
    value = other.value if isinstance(other, ast.Constant) else None
    return float(value) if isinstance(value, int | float) else None


def _places(event: _Event) -> int:
    return PLACES if event.delay is not None else 1


def _scaled(value: ast.expr, factor: ast.expr | None) -> ast.expr:
    return value if factor is None else binary(value, ast.Mult(), factor)


def _attribute(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("m"), name)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in name)

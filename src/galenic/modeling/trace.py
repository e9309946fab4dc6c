"""One walk over a model: symbols for what is declared, equations as the author yields them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import casadi as ca

from galenic.errors import ModelError, StructureError
from galenic.modeling import expression
from galenic.modeling.declare import (
    Declared,
    Input,
    Mode,
    Part,
    Size,
    State,
    element_paths,
)  # fmt: skip
from galenic.modeling.events import Event
from galenic.modeling.expression import Condition, Equation, Expression, Place, lift
from galenic.modeling.model import Model, _is_binding
from galenic.modeling.ports import Connection, Port, PortView
from galenic.modeling.system import Conserved
from galenic.units import unit

SECOND = unit("s")


@dataclass(eq=False)
class Slot:
    """An array (or scalar) quantity of the traced model."""

    path: str
    declared: Declared
    sx: ca.SX
    shape: tuple[int, int] | None
    value: Any
    owner: Model
    rate: ca.SX | None = None
    start: Expression | None = None

    @property
    def paths(self) -> list[str]:
        """The scalar paths."""
        return element_paths(self.path, self.shape)


@dataclass(eq=False)
class OpenPort:
    """A port of some part, with the slots of its members."""

    view: PortView
    owner: Model
    slots: dict[str, Slot]
    default: dict[str, Any]


@dataclass
class Trace:
    """What one walk over a model found."""

    root: Model
    states: list[Slot] = field(default_factory=list)
    inputs: list[Slot] = field(default_factory=list)
    parameters: list[Slot] = field(default_factory=list)
    variables: list[Slot] = field(default_factory=list)
    ports: list[OpenPort] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    events: list[tuple[str, Event]] = field(default_factory=list)
    conserved: list[Conserved] = field(default_factory=list)
    bound: list[tuple[Slot, Expression]] = field(default_factory=list)
    delays: list[tuple[Slot, Expression, Expression, Place]] = field(default_factory=list)
    time: Expression = field(default_factory=lambda: Expression(ca.SX.sym("t"), SECOND))
    current: Model | None = None
    chains: int = 0


class ModeView(Expression):
    """A mode while the model is traced: its number, and ``is_(name)``."""

    __slots__ = ("mode",)
    mode: Mode

    def is_(self, name: str) -> Condition:
        """The condition that the mode is ``name``."""
        number = self.mode.number(name)
        gap = 0.5 - ca.fabs(self.sx - number)
        return Condition(gap > 0, gap)


_active: Trace | None = None
_lock = RLock()


def tracing() -> Trace:
    """The walk that is under way."""
    if _active is None:
        raise ModelError("this works only inside of a model's equations")
    return _active


def trace(root: Model) -> Trace:
    """Walk over ``root`` and all its parts once."""
    global _active
    if root.__dict__["_parent"] is not None:
        raise ModelError(f"{root!r} is a part; flatten the whole model")
    with _lock:
        result = Trace(root)
        before, _active = _active, result
        try:
            _declare(result, root, "")
            _bind(result, root)
            for node in nodes(root):
                _collect(result, node)
        finally:
            _active = before
            for node in nodes(root):
                node.__dict__.pop("_scope", None)
    return result


def nodes(root: Model) -> Iterator[Model]:
    """The model and all its parts, outermost first."""
    yield root
    for _, child in root._children():
        yield from nodes(child)


def _declare(found: Trace, node: Model, prefix: str) -> None:
    """Make the symbols of one model and its parts."""
    scope: dict[str, Any] = {}
    for name, declared in type(node).declarations.items():
        if isinstance(declared, Declared):
            slot = _slot(declared, prefix + name, node, node._values.get(name, declared.value))
            scope[name] = _register(found, slot)
        elif isinstance(declared, Port):
            scope[name] = _open_port(found, declared, prefix + name, node)
        elif not isinstance(declared, (Part, Size)):
            scope[name] = declared.in_trace(node)
    node.__dict__["_scope"] = scope
    for label, child in node._children():
        _declare(found, child, f"{prefix}{label}.")


def _slot(declared: Declared, path: str, node: Model, value: Any) -> Slot:
    shape = declared.rows_and_columns(node.__dict__["_sizes"]) if declared.shape else None
    sx = ca.SX.sym(path) if shape is None else ca.SX.sym(path, *shape)
    slot = Slot(path, declared, sx, shape, value, node)
    if isinstance(declared, State) and not declared.discrete:
        slot.rate = ca.SX.sym(f"der({path})", *(shape or (1, 1)))
    return slot


def _register(found: Trace, slot: Slot) -> Expression:
    declared = slot.declared
    home = {"state": found.states, "input": found.inputs, "parameter": found.parameters}
    home.get(declared.kind, found.variables).append(slot)
    if isinstance(declared, Mode):
        view = ModeView(slot.sx, declared.unit, None, slot.path)
        view.mode = declared
        return view
    return Expression(slot.sx, declared.unit, slot.rate, slot.path)


def _open_port(found: Trace, port: Port, path: str, node: Model) -> PortView:
    members, slots = {}, {}
    for name, member in port.kind.members.items():
        slot = _slot(member, f"{path}.{name}", node, port.default.get(name, member.value))
        slots[name] = slot
        members[name] = Expression(slot.sx, member.unit, None, slot.path)
    view = PortView(port, node, path, members)
    found.ports.append(OpenPort(view, node, slots, port.default))
    return view


def _bind(found: Trace, root: Model) -> None:
    """Evaluate values that are functions of a model, or refer to the enclosing one."""
    for slot in found.states:
        if _is_binding(slot.value):
            slot.start = _bound_value(slot)
    bound = [slot for slot in found.parameters if _is_binding(slot.value)]
    found.bound = [(slot, _bound_value(slot)) for slot in bound]
    names = {id(slot) for slot in bound}
    found.parameters = [slot for slot in found.parameters if id(slot) not in names]


def _bound_value(slot: Slot) -> Expression:
    """An override is about the enclosing model, a default about the model itself."""
    scope = slot.owner
    if slot.declared.name in slot.owner.__dict__["_values"]:
        scope = slot.owner.__dict__["_parent"]
        if scope is None:
            raise ModelError(f"{slot.path} refers to an enclosing model, and there is none")
    if isinstance(slot.value, Declared):
        value: Expression = getattr(scope, slot.value.name)
    else:
        value = lift(slot.value(scope))
    expression.common_unit(f"give {slot.path} a value in", slot.declared.unit, value.unit)
    return value


def _collect(found: Trace, node: Model) -> None:
    """Run the author's functions of one model."""
    found.current = node
    for method in ("equations", "connections"):
        for item in _run(node, method, (Equation, Connection)):
            item.owner = node
            if isinstance(item, Equation):
                found.equations.append(item)
            else:
                found.connections.append(item)
    for event in _run(node, "events", (Event,)):
        label = event.name or f"{type(event).__name__.lower()} {event.place.line}"
        found.events.append((node.path_of(label), event))
    for balance in _run(node, "conserved", (Conserved,)):
        found.conserved.append(_balance(node, balance))


def _balance(node: Model, balance: Conserved) -> Conserved:
    amount, inflow = lift(balance.amount), balance.inflow
    if not isinstance(inflow, Expression) and inflow == 0:
        inflow = Expression(ca.SX(0.0), amount.unit / SECOND)
    inflow = lift(inflow)
    if not inflow.unit.same_dimension(amount.unit / SECOND):
        raise expression.mismatch(
            f"the amount of {balance.name!r} is [{amount.unit}], its inflow [{inflow.unit}]",
            amount.unit / SECOND,
            inflow.unit,
        )
    return Conserved(node.path_of(balance.name), amount.sx, inflow.sx, amount.unit)


def _run(node: Model, method: str, kinds: tuple[type, ...]) -> list[Any]:
    """What the author's function yields; everything it made must be among it."""
    with _recording() as made:
        items = list(_flat(getattr(node, method)() or (), node, method, kinds))
    yielded = {id(item) for item in items}
    lost = [item for item in made if id(item) not in yielded]
    if lost:
        kinds_made = {Equation: "an equation", Connection: "a connection"}
        raise StructureError(
            f"{kinds_made.get(type(lost[0]), 'an event')} was made but not yielded",
            where=lost[0].place.with_source(),
            hint="write yield before it",
        )
    return items


def _flat(items: Iterable[Any], node: Model, method: str, kinds: tuple[type, ...]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, kinds):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _flat(item, node, method, kinds)
        else:
            raise StructureError(
                f"{type(node).__name__}.{method} yields a {type(item).__name__}: {item!r}",
                expected=" or ".join(kind.__name__ for kind in kinds),
            )


@contextmanager
def _recording() -> Iterator[list[Any]]:
    made: list[Any] = []
    before = expression.record(made)
    try:
        yield made
    finally:
        expression.record(before)


def add_states(name: str, template: State, start: Expression) -> Expression:
    """New states of the model that is being traced, as ``delay`` needs them."""
    found = tracing()
    node = found.current
    assert node is not None
    slot = _slot(template, node.path_of(name), node, template.value)
    slot.start = start
    return _register(found, slot)


def add_delayed(name: str, template: Input, value: Expression, by: Expression) -> Expression:
    """A new input of the model that is being traced: ``value`` as it was ``by`` ago."""
    found = tracing()
    node = found.current
    assert node is not None
    slot = _slot(template, node.path_of(name), node, template.value)
    found.delays.append((slot, value, by, expression.here()))
    return _register(found, slot)


def add_equation(left: Expression, right: Expression, place: Place) -> None:
    """An equation that the language itself adds."""
    found = tracing()
    with _recording():
        equation = Equation(left, right, place)
    equation.owner = found.current
    found.equations.append(equation)


def numbers(slot: Slot) -> Sequence[float]:
    """The SI numbers of a slot's value, one per element."""
    return slot.declared.si(slot.value, slot.sx.numel(), slot.path)

"""What is known, what is sought, and the scalar equations between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import casadi as ca

from galenic.errors import StructureError
from galenic.modeling.blocks import Incidence
from galenic.modeling.expression import Equation, elements
from galenic.modeling.ports import Connection
from galenic.modeling.trace import Slot, Trace

Pair = tuple[ca.SX, ca.SX, Equation | Connection]


@dataclass
class Plan:
    """Which symbols are known, which are sought, and the scalar equations between them.

    ``rows`` holds the equation or connection of each scalar equation, ``columns`` the name of
    each unknown; the first ``rates`` of them are time derivatives. ``half_open`` are members
    left free of ports whose other members are given.
    """

    inputs: list[Slot]
    sought: list[Slot]
    open_ports: list[str]
    half_open: list[str]
    rows: list[Equation | Connection]
    columns: list[str]
    rates: int
    incidence: Incidence


def make_plan(found: Trace) -> Plan:
    """Decide what is input and what is unknown; collect scalar equations."""
    joined = _joined(found.connections)
    pairs: list[Pair] = [(e.left.sx, e.right.sx, e) for e in found.equations] + joined
    assigned = {h for left, _, _ in pairs if left.is_valid_input() for h in hashes(left)}
    inputs, driven = _inputs(found, assigned)
    open_inputs, members, (open_ports, half_open) = _port_members(found, assigned)
    sought = found.variables + members + driven
    rates = [slot for slot in found.states if slot.rate is not None]
    w = column([slot.rate for slot in rates] + [slot.sx for slot in sought])
    columns = [f"der({path})" for slot in rates for path in slot.paths]
    n_rates = len(columns)
    columns += [path for slot in sought for path in slot.paths]
    left, right, rows = _scalar(pairs)
    return Plan(
        inputs + open_inputs, sought, open_ports, half_open, rows, columns, n_rates,
        Incidence(left, right, w),
    )  # fmt: skip


def _joined(connections: Iterable[Connection]) -> list[Pair]:
    """The equations of connections; an outlet and an inlet may be joined once."""
    used: dict[tuple[str, str], Connection] = {}
    equations: list[Pair] = []
    for connection in connections:
        for end, path in (
            ("outlet", connection.source._path),
            ("inlet", connection.target._path),
        ):
            if (end, path) in used:
                raise StructureError(
                    f"{path} is connected a second time as {end}",
                    where=connection.place.with_source(),
                    hint="join streams with a Mixer, divide them with a Splitter",
                )
            used[end, path] = connection
        for name, member in connection.target._members.items():
            equations.append((member.sx, connection.source._members[name].sx, connection))
    return equations


def hashes(symbols: ca.SX) -> list[int]:
    """What identifies each symbol of a column."""
    if symbols.is_scalar():
        return [symbols.element_hash()]
    return [symbol.element_hash() for symbol in elements(symbols)]


def _inputs(found: Trace, assigned: set[int]) -> tuple[list[Slot], list[Slot]]:
    """Inputs that stay free, and those that an equation of an enclosing model drives."""
    free: list[Slot] = []
    driven: list[Slot] = []
    for slot in found.inputs:
        (driven if assigned.intersection(hashes(slot.sx)) else free).append(slot)
    return free, driven


def _port_members(
    found: Trace, assigned: set[int]
) -> tuple[list[Slot], list[Slot], tuple[list[str], list[str]]]:
    """Members of unconnected ports that nothing assigns become inputs; the others are sought."""
    feeding = {c.source._path for c in found.connections if c.owner is not c.source._owner}
    inputs: list[Slot] = []
    members: list[Slot] = []
    open_ports: list[str] = []
    half_open: list[str] = []
    for port in found.ports:
        free = [s for s in port.slots.values() if not assigned.intersection(hashes(s.sx))]
        if port.view._path in feeding:
            free = []
        inputs += free
        members += [slot for slot in port.slots.values() if slot not in free]
        if free and port.owner.__dict__["_parent"] is not None:
            open_ports.append(port.view._path)
        if 0 < len(free) < len(port.slots):
            half_open += [slot.path for slot in free]
    return inputs, members, (open_ports, half_open)


def _scalar(
    pairs: list[Pair],
) -> tuple[ca.SX, ca.SX, list[Equation | Connection]]:
    left, right, rows = [], [], []
    for a, b, item in pairs:
        count = max(a.numel(), b.numel())
        left.append(spread(a, count))
        right.append(spread(b, count))
        rows += [item] * count
    return column(left), column(right), rows


def spread(sx: ca.SX, count: int) -> ca.SX:
    """A column of ``count``, made of a column or of one value."""
    if sx.numel() == count:
        return sx if sx.is_column() else ca.vec(sx)
    return ca.repmat(sx, count, 1)


def column(parts: list[Any]) -> ca.SX:
    """All parts below each other, dense."""
    flat = [part if part.is_column() else ca.vec(part) for part in parts]
    return ca.densify(ca.vertcat(*flat)) if flat else ca.SX(0, 1)

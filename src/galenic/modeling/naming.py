"""Names for scalars: entries, and the tree of parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from galenic.modeling.declare import Declared, Input, Parameter, State
from galenic.modeling.model import Model
from galenic.modeling.ports import Port
from galenic.modeling.system import Entry, PartInfo
from galenic.modeling.trace import Slot, numbers


def entries(slots: Iterable[Slot], kind: str) -> tuple[Entry, ...]:
    """One Entry per element of each slot, with its declared value."""
    return tuple(entry for slot in slots for entry in of_slot(slot, kind, numbers(slot)))


def outputs(slots: Iterable[Slot]) -> tuple[Entry, ...]:
    """Entries without a value of their own."""
    nan = [math.nan]
    return tuple(
        entry for slot in slots for entry in of_slot(slot, "output", nan * slot.sx.numel())
    )


def of_slot(slot: Slot, kind: str, values: Sequence[float]) -> list[Entry]:
    """The entries of one slot."""
    declared = slot.declared
    low, high = declared.bounds
    spread = source = None
    if kind == "parameter" and isinstance(declared, Parameter):
        spread, source = declared.spread_si(), declared.source
    return [
        Entry(
            path, kind, declared.unit, declared.meaning, low, high, declared.nominal_for(value),
            value, _role(declared), spread, source or "",
        )
        for path, value in zip(slot.paths, values, strict=True)
    ]  # fmt: skip


def _role(declared: Declared) -> str:
    if isinstance(declared, State):
        return "discrete" if declared.discrete else ""
    return declared.role if isinstance(declared, Input) else ""


def part_info(node: Model) -> PartInfo:
    """The tree of parts, for flowsheets and cards."""
    ports = tuple(
        (name, declared.kind.__name__)
        for name, declared in type(node).declarations.items()
        if isinstance(declared, Port)
    )
    return PartInfo(
        node.path_of("").rstrip("."),
        type(node).__name__,
        (type(node).__doc__ or "").strip().partition("\n")[0],
        ports,
        tuple(part_info(child) for _, child in node._children()),
    )

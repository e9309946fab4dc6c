"""What events do to states, as indices and expressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import casadi as ca

from galenic.errors import ModelError, StructureError
from galenic.modeling.events import Event, When
from galenic.modeling.expression import Expression, common_unit, lift
from galenic.modeling.plan import hashes, spread
from galenic.modeling.system import EventRule
from galenic.modeling.trace import ModeView, Trace

Resets = list[tuple[int, ca.SX]]


def resets_of(found: Trace) -> list[Resets]:
    """Index of each state that an event sets, with its new value, event by event."""
    if not found.events:
        return []
    places = (h for slot in found.states for h in hashes(slot.sx))
    index = {h: i for i, h in enumerate(places)}
    return [_resets(event, index) for _, event in found.events]


def _resets(event: Event, index: Mapping[int, int]) -> Resets:
    resets: Resets = []
    for key, value in event.resets.items():
        symbols = hashes(key.sx) if isinstance(key, Expression) else [0]
        if not all(h in index for h in symbols):
            raise StructureError(
                f"an event resets {getattr(key, 'name', key)!r}, which is no state",
                where=event.place.with_source(),
            )
        new = spread(_new_value(key, value, event), len(symbols))
        resets += [(index[h], new[k]) for k, h in enumerate(symbols)]
    return resets


def _new_value(key: Expression, value: Any, event: Event) -> ca.SX:
    if isinstance(key, ModeView) and isinstance(value, str):
        return ca.SX(key.mode.number(value))
    if isinstance(value, (int, float)) and value == 0 and not key.unit.is_temperature_point:
        return ca.SX(0.0)
    value = lift(value)
    try:
        common_unit(f"reset {key.name} in", key.unit, value.unit)
    except ModelError as error:
        error.where = event.place.with_source()
        raise
    new: ca.SX = value.sx
    return new


def rules(found: Trace, resets: list[Resets], values: Iterator[ca.SX]) -> tuple[EventRule, ...]:
    """Event rules; ``values`` gives all triggers, then all reset values, substituted."""
    triggers = [next(values) if isinstance(e, When) else None for _, e in found.events]
    return tuple(
        EventRule(
            name,
            trigger,
            getattr(event, "period", None),
            getattr(event, "first", None),
            tuple((i, next(values)) for i, _ in group),
            event.terminal,
        )
        for (name, event), trigger, group in zip(found.events, triggers, resets, strict=True)
    )

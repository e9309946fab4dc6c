"""Events: what happens at a crossing, at a time, or periodically."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galenic.errors import ModelError, StructureError
from galenic.modeling.expression import Condition, Equation, Place, here, made
from galenic.units import duration


class Event:
    """Base of the events; ``resets`` maps states to new values."""

    def __init__(
        self, resets: Mapping[Any, Any] | None, name: str = "", terminal: bool = False
    ) -> None:
        self.resets = dict(resets or {})
        self.name = name
        self.terminal = terminal
        self.place: Place = here()
        if not self.resets and not terminal:
            raise StructureError(
                "an event that changes nothing", where=self.place.with_source(),
                hint="give resets as {m.state: value}, or terminal=True",
            )  # fmt: skip
        made(self)


class When(Event):
    """Fires when a condition becomes true: ``When(m.level > m.limit, {m.mode: "drain"})``.

    An expression in place of the condition fires where it crosses zero upward. The instant is
    located exactly; the condition must become false again before the event can fire again.
    """

    def __init__(self, trigger: Any, resets: Mapping[Any, Any] | None = None, *, name: str = "",
                 terminal: bool = False) -> None:  # fmt: skip
        super().__init__(resets, name, terminal)
        if isinstance(trigger, Equation):
            raise ModelError(
                "an equation is not a condition", where=here().with_source(),
                hint="compare with < or >",
            )  # fmt: skip
        self.trigger = trigger.gap if isinstance(trigger, Condition) else trigger.sx


class Every(Event):
    """Fires at ``first``, then once per ``period``: ``Every("60 s", {m.n: m.n + 1})``."""

    def __init__(self, period: Any, resets: Mapping[Any, Any] | None = None, *, first: Any = None,
                 name: str = "", terminal: bool = False) -> None:  # fmt: skip
        super().__init__(resets, name, terminal)
        self.period: float | None = duration(period)
        self.first = self.period if first is None else duration(first)
        if self.period <= 0:
            raise StructureError(f"a period of {period}", where=self.place.with_source())


class At(Event):
    """Fires once, at ``time``: ``At("20 min", {m.c: 0})``."""

    def __init__(self, time: Any, resets: Mapping[Any, Any] | None = None, *, name: str = "",
                 terminal: bool = False) -> None:  # fmt: skip
        super().__init__(resets, name, terminal)
        self.period = None
        self.first = duration(time)

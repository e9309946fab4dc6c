"""Derivatives, time, and delays."""

from __future__ import annotations

import math
from typing import Any

from galenic.errors import ModelError, StructureError
from galenic.modeling.declare import DELAYED, Input, State
from galenic.modeling.expression import Expression, here, lift
from galenic.modeling.functions import vertcat
from galenic.modeling.trace import SECOND, add_delayed, add_equation, add_states, tracing


def der(x: Expression) -> Expression:
    """The time derivative of a state."""
    if not isinstance(x, Expression) or x.rate is None:
        name = getattr(x, "name", "") or "this expression"
        raise ModelError(
            f"{name} has no derivative of its own",
            where=here().with_source(),
            expected="a State (not a Mode or a discrete one)",
        )
    return Expression(x.rate, x.unit / SECOND, None, f"der({x.name})")


def time() -> Expression:
    """The time since the start of the simulation."""
    return tracing().time


def delay(x: Any, by: Any, *, stages: int = 20, name: str = "", exact: bool = False) -> Expression:
    """``x`` as it was ``by`` ago, smeared by a chain of ``stages`` equal first-order lags.

    The chain has the mean delay exactly and a standard deviation of ``by / sqrt(stages)``: with
    20 stages a step rises from 10 % to 90 % within 0.72 to 1.30 of the delay. Every solver and
    estimator can run it, and its states belong to the belief. It starts as if ``x`` had always
    had its first value.

    Parameters
    ----------
    x : expression
        What is delayed.
    by : expression or text [s]
        The delay; may depend on states, but must stay positive. An exact one may depend on
        parameters only.
    stages : int
        Number of lags; more are sharper and stiffer.
    name : str, optional
        Name of the chain's states, by default ``delay1``, ``delay2``, ...
    exact : bool
        Smear nothing: simulation looks the value up in what it has computed before. Such a model
        has no finite state, so estimators, controllers, sensitivities and exports refuse it.
    """
    x, by = lift(x), lift(by)
    if not by.unit.same_dimension(SECOND):
        raise StructureError(
            f"a delay of [{by.unit}]", where=here().with_source(), expected="a time"
        )
    if not x.sx.is_scalar():
        return vertcat(*(delay(x[i], by, stages=stages, name=name and f"{name}_{i}", exact=exact)
                         for i in range(len(x))))  # fmt: skip
    found = tracing()
    found.chains += not name
    if exact:
        return _looked_up(x, by, name or f"delay{found.chains}")
    template = State(0.0, x.unit.text, "chain of a delay", shape=stages)
    chain = add_states(name or f"delay{found.chains}", template, x)
    before = vertcat(x, chain[: stages - 1]) if stages > 1 else x
    add_equation(der(chain), (before - chain) * (stages / by), here())
    return chain[stages - 1]


def _looked_up(x: Expression, by: Expression, name: str) -> Expression:
    meaning = f"{x.name or 'an expression'}, earlier; given by the solver"
    template = Input(math.nan, x.unit.text, meaning)
    template.role = DELAYED
    return add_delayed(name, template, x, by)

"""What models imported from SBML are written in: plain numbers, SBML's functions and comparisons.

SBML's formulas work on numbers, whatever their units are said to be. An imported model computes
with numbers in declared units, and gives results their unit where they become quantities again.
"""

from __future__ import annotations

import math
from typing import Any

import casadi as ca

from galenic.errors import ModelError
from galenic.modeling.declare import Declared
from galenic.modeling.delays import delay, time
from galenic.modeling.expression import Condition, Expression, here, lift
from galenic.modeling.model import Model
from galenic.units import unit

AVOGADRO = 6.02214179e23  # as SBML Level 3 fixes it
_ROUNDING = 1e-13


class Plain:
    """A model while it is traced, with every quantity as a number in its declared unit."""

    def __init__(self, model: Model, time_unit: str) -> None:
        self._model = model
        self._second = 1.0 / unit(time_unit).scale

    def __getattr__(self, name: str) -> Expression:
        declared = type(self._model).declarations[name]
        found: Expression = getattr(self._model, name)
        assert isinstance(declared, Declared)
        scale = declared.unit.scale
        rate = None if found.rate is None else found.rate / (scale * self._second)
        return Expression(found.sx / scale, rate=rate, name=name)


def plain(model: Model, time_unit: str = "s") -> tuple[Plain, Expression]:
    """The model's quantities as plain numbers, and the time; rates are per ``time_unit``."""
    numbers = Plain(model, time_unit)
    return numbers, Expression(time().sx * numbers._second)


def delayed(m: Plain, x: Any, by: Any) -> Expression:
    """``x`` as it was ``by`` units of the model's time ago, exactly."""
    seconds = Expression(lift(by).sx / m._second, unit("s"))
    return delay(lift(x), seconds, exact=True)


def der(x: Expression) -> Expression:
    """The rate of a state, as a number."""
    if x.rate is None:
        raise ModelError(f"{x.name} has no rate of its own", where=here().with_source())
    return Expression(x.rate)


def above(a: Any, b: Any) -> Condition:
    """Whether a > b; from equality on, the difference has to exceed rounding."""
    left, right = lift(a).sx, lift(b).sx
    slack = _ROUNDING * (ca.fabs(left) + ca.fabs(right)) + 1e-300
    return Condition(left > right, left - right - slack)


def at_least(a: Any, b: Any) -> Condition:
    """Whether a >= b."""
    left, right = lift(a).sx, lift(b).sx
    return Condition(left >= right, left - right)


def below(a: Any, b: Any) -> Condition:
    """Whether a < b."""
    return above(b, a)


def at_most(a: Any, b: Any) -> Condition:
    """Whether a <= b."""
    return at_least(b, a)


def equal(a: Any, b: Any) -> Condition:
    """Whether a == b; of numbers that change by events only."""
    left, right = lift(a).sx, lift(b).sx
    return Condition(left == right, ca.if_else(left == right, 1.0, -1.0))


def unequal(a: Any, b: Any) -> Condition:
    """Whether a != b; of numbers that change by events only."""
    left, right = lift(a).sx, lift(b).sx
    return Condition(left != right, ca.if_else(left == right, -1.0, 1.0))


def truth(value: bool) -> Condition:
    """A condition that always or never holds."""
    return Condition(ca.SX(float(value)), ca.SX(1.0 if value else -1.0))


def crossing(condition: Condition) -> Expression:
    """What crosses zero upward when the condition becomes true."""
    return Expression(condition.gap)


def floor(x: Any) -> Expression:
    """The largest whole number not above ``x``."""
    return Expression(ca.floor(lift(x).sx))


def ceiling(x: Any) -> Expression:
    """The smallest whole number not below ``x``."""
    return Expression(ca.ceil(lift(x).sx))


def quotient(a: Any, b: Any) -> Expression:
    """The whole part of a / b, towards zero."""
    ratio = lift(a).sx / lift(b).sx
    return Expression(ca.sign(ratio) * ca.floor(ca.fabs(ratio)))


def remainder(a: Any, b: Any) -> Expression:
    """What is left of ``a`` after :func:`quotient`; it has the sign of ``a``."""
    return lift(a) - lift(b) * quotient(a, b)


def factorial(n: int) -> float:
    """n!, of a number that is written out."""
    return float(math.factorial(n))


def arsinh(x: Any) -> Expression:
    """Inverse of sinh."""
    return Expression(ca.asinh(lift(x).sx))


def arcosh(x: Any) -> Expression:
    """Inverse of cosh."""
    return Expression(ca.acosh(lift(x).sx))


def artanh(x: Any) -> Expression:
    """Inverse of tanh."""
    return Expression(ca.atanh(lift(x).sx))
